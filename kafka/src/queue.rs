//! librdkafka's queues and messages, owned: whatever is held here is given back exactly once.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;
use std::slice;

use rdkafka::bindings::{
    RD_KAFKA_EVENT_ERROR, RD_KAFKA_EVENT_NONE, rd_kafka_consume_batch_queue, rd_kafka_event_destroy,
    rd_kafka_event_error, rd_kafka_event_error_string, rd_kafka_event_type, rd_kafka_get_watermark_offsets,
    rd_kafka_message_destroy, rd_kafka_message_t, rd_kafka_message_timestamp, rd_kafka_queue_destroy,
    rd_kafka_queue_forward, rd_kafka_queue_get_consumer, rd_kafka_queue_get_main, rd_kafka_queue_poll,
    rd_kafka_queue_t, rd_kafka_resp_err_t, rd_kafka_timestamp_type_t,
};
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

use super::{KafkaNotice, Message};

/// A reference to a queue of a client, which must not end before it.
pub struct Queue(NonNull<rd_kafka_queue_t>);

impl Queue {
    /// Where a consumer's messages arrive, and errors that concern its partitions.
    pub fn of_consumer<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive. The reference that comes, if any, is ours to give back.
        NonNull::new(unsafe { rd_kafka_queue_get_consumer(client.native_ptr()) }).map(Self)
    }

    /// Where a client's other events arrive, from now on there alone.
    pub fn of_events<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: as above.
        let queue = Self(NonNull::new(unsafe { rd_kafka_queue_get_main(client.native_ptr()) })?);
        queue.forward(None);
        Some(queue)
    }

    /// Has what arrives here go on to another queue of the client, or no longer.
    pub fn forward(&self, to: Option<&Self>) {
        let to = to.map_or(std::ptr::null_mut(), |to| to.0.as_ptr());
        // SAFETY: this queue is alive, and so is the other one, or it is null, which ends the forwarding.
        unsafe { rd_kafka_queue_forward(self.0.as_ptr(), to) };
    }

    /// Moves up to `max` messages that are there into the spare room of `batch`.
    pub fn take(&mut self, batch: &mut Vec<Owned>, max: usize) {
        batch.reserve(max);
        let length = batch.len();
        let room = batch.as_mut_ptr().wrapping_add(length).cast::<*mut rd_kafka_message_t>();
        // SAFETY: there is room for `max` pointers, and `Owned` is one (`repr(transparent)`). The queue is alive.
        let taken = unsafe { rd_kafka_consume_batch_queue(self.0.as_ptr(), 0, room, max) };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: so many have been written there. None is null, and each is ours to give back.
        unsafe { batch.set_len(length + taken) };
    }

    /// The next error among the events; other events are passed over.
    pub fn error(&mut self) -> Option<KafkaNotice> {
        loop {
            // SAFETY: the queue is alive.
            let event = unsafe { rd_kafka_queue_poll(self.0.as_ptr(), 0) };
            // SAFETY: null counts as an event of no type.
            let kind = unsafe { rd_kafka_event_type(event) };
            let found = (kind == RD_KAFKA_EVENT_ERROR).then(|| {
                // SAFETY: the event is alive, and an error.
                let code = unsafe { rd_kafka_event_error(event) };
                // SAFETY: as above.
                let reason = unsafe { rd_kafka_event_error_string(event) };
                // SAFETY: it is null or ends with a zero byte, and lives as long as the event.
                KafkaNotice::Error { code: code.into(), reason: unsafe { text(reason) } }
            });
            // SAFETY: the event was ours, and nothing borrowed from it is left. Null is passed over.
            unsafe { rd_kafka_event_destroy(event) };
            if found.is_some() || kind == RD_KAFKA_EVENT_NONE {
                return found;
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference was ours, and is not used again.
        unsafe { rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// A message, or an error in the place of one, that librdkafka has handed over.
#[repr(transparent)]
pub struct Owned(NonNull<rd_kafka_message_t>);

impl Owned {
    #[inline]
    pub fn read(&self) -> Result<Message<'_>, KafkaNotice> {
        // SAFETY: librdkafka wrote it before handing it over, and leaves it alone from then on.
        let message = unsafe { self.0.as_ref() };
        // SAFETY: the two fields describe bytes that live as long as the message.
        let value = unsafe { bytes(message.payload, message.len) };
        if message.err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(trouble(message, value));
        }
        // SAFETY: as above.
        let key = unsafe { bytes(message.key, message.key_len) };
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and `kind` is to be written.
        let timestamp = unsafe { rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        let timed = kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp != -1;
        let timestamp_ms = timed.then_some(timestamp);
        Ok(Message { partition: message.partition, offset: message.offset, timestamp_ms, key, value })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it was ours, and nothing that was borrowed from it outlives it.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// Where a partition ended when it was last fetched from.
pub fn fetched_end<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut first, mut end) = (-1, -1);
    // SAFETY: the client is alive, the text ends with a zero byte, and the other two are to be written.
    let code = unsafe {
        rd_kafka_get_watermark_offsets(client.native_ptr(), topic.as_ptr(), partition, &raw mut first, &raw mut end)
    };
    // What is not known is negative.
    (code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && end >= 0).then_some(end)
}

/// What an error says, whose text is where a message has its value.
#[cold]
fn trouble(error: &rd_kafka_message_t, text: Option<&[u8]>) -> KafkaNotice {
    match error.err.into() {
        RDKafkaErrorCode::PartitionEOF => KafkaNotice::End { partition: error.partition, offset: error.offset },
        code => KafkaNotice::Error { code, reason: String::from_utf8_lossy(text.unwrap_or_default()).into_owned() },
    }
}

/// # Safety
/// `start` is null, or `length` bytes are there for as long as `'a`.
#[inline]
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    NonNull::new(start.cast_mut()).map(|start| unsafe { slice::from_raw_parts(start.cast::<u8>().as_ptr(), length) })
}

/// A copy of a C text; of null, an empty one.
///
/// # Safety
/// `start` is null, or there is a zero byte at the end of what is there.
pub unsafe fn text(start: *const c_char) -> String {
    // SAFETY: the caller's promise.
    let text = (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) });
    text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}
