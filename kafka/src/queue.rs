//! Owners of librdkafka's queues and messages: each one is released exactly once, on drop.

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

/// A counted reference to a queue of a client. The client must outlive it.
pub struct Queue(NonNull<rd_kafka_queue_t>);

impl Queue {
    /// The queue at which a consumer's messages arrive, and errors that concern its partitions.
    /// `None` if the client has no `group.id`.
    pub fn of_consumer<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: the client is alive. The result is null, or a reference that we own.
        NonNull::new(unsafe { rd_kafka_queue_get_consumer(client.native_ptr()) }).map(Self)
    }

    /// The main queue, at which a client's other events arrive. Ends its forwarding to the
    /// consumer's queue, so that from now on these events arrive only here.
    pub fn of_events<C: ClientContext>(client: &Client<C>) -> Option<Self> {
        // SAFETY: as above.
        let queue = Self(NonNull::new(unsafe { rd_kafka_queue_get_main(client.native_ptr()) })?);
        queue.forward(None);
        Some(queue)
    }

    /// Forwards what arrives here to another queue of the client; `None` ends the forwarding.
    pub fn forward(&self, to: Option<&Self>) {
        let to = to.map_or(std::ptr::null_mut(), |to| to.0.as_ptr());
        // SAFETY: this queue is alive. The other one is alive or null, and null ends the
        // forwarding.
        unsafe { rd_kafka_queue_forward(self.0.as_ptr(), to) };
    }

    /// Appends up to `max` waiting messages to `batch`. Does not block.
    pub fn take(&mut self, batch: &mut Vec<Owned>, max: usize) {
        batch.reserve(max);
        let length = batch.len();
        let room = batch.as_mut_ptr().wrapping_add(length).cast::<*mut rd_kafka_message_t>();
        // SAFETY: there is capacity for `max` more pointers, and `Owned` is a pointer
        // (`repr(transparent)`). The queue is alive.
        let taken = unsafe { rd_kafka_consume_batch_queue(self.0.as_ptr(), 0, room, max) };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: librdkafka wrote `taken` pointers there. None is null, and we own each message.
        unsafe { batch.set_len(length + taken) };
    }

    /// The next error among the waiting events; drops events of other types. Does not block.
    pub fn error(&mut self) -> Option<KafkaNotice> {
        loop {
            // SAFETY: the queue is alive.
            let event = unsafe { rd_kafka_queue_poll(self.0.as_ptr(), 0) };
            // SAFETY: librdkafka takes null as an event of type NONE.
            let kind = unsafe { rd_kafka_event_type(event) };
            let found = (kind == RD_KAFKA_EVENT_ERROR).then(|| {
                // SAFETY: the event is alive, and of type ERROR.
                let code = unsafe { rd_kafka_event_error(event) };
                // SAFETY: as above.
                let reason = unsafe { rd_kafka_event_error_string(event) };
                // SAFETY: the string is null or ends with a zero byte, and lives as long as the
                // event.
                KafkaNotice::Error { code: code.into(), reason: unsafe { text(reason) } }
            });
            // SAFETY: we own the event, and no borrow of it is left. librdkafka ignores null.
            unsafe { rd_kafka_event_destroy(event) };
            if found.is_some() || kind == RD_KAFKA_EVENT_NONE {
                return found;
            }
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: we own the reference, and it is not used again.
        unsafe { rd_kafka_queue_destroy(self.0.as_ptr()) };
    }
}

/// A message, or an error in the place of a message, that librdkafka has handed over to us.
#[repr(transparent)]
pub struct Owned(NonNull<rd_kafka_message_t>);

impl Owned {
    /// The message, borrowed from librdkafka's memory.
    ///
    /// # Errors
    /// The notice, if librdkafka delivered an error or the end of a partition instead.
    #[inline]
    pub fn read(&self) -> Result<Message<'_>, KafkaNotice> {
        // SAFETY: librdkafka wrote the message before handing it over, and does not touch it
        // afterwards.
        let message = unsafe { self.0.as_ref() };
        // SAFETY: pointer and length describe bytes that live as long as the message.
        let value = unsafe { bytes(message.payload, message.len) };
        if message.err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(notice(message, value));
        }
        // SAFETY: as above.
        let key = unsafe { bytes(message.key, message.key_len) };
        let mut kind = rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and `kind` is valid for writes.
        let timestamp = unsafe { rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        let timed = kind != rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp != -1;
        let timestamp_ms = timed.then_some(timestamp);
        Ok(Message { partition: message.partition, offset: message.offset, timestamp_ms, key, value })
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: we own the message, and no borrow of it outlives it.
        unsafe { rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// The end offset of a partition as of its last fetch response, from librdkafka's cache: no request
/// is made. `None` if nothing has been fetched from it yet.
pub fn fetched_end<C: ClientContext>(client: &Client<C>, topic: &str, partition: i32) -> Option<i64> {
    let topic = CString::new(topic).ok()?;
    let (mut first, mut end) = (-1, -1);
    // SAFETY: the client is alive, the name ends with a zero byte, and both offsets are valid for
    // writes.
    let code = unsafe {
        rd_kafka_get_watermark_offsets(client.native_ptr(), topic.as_ptr(), partition, &raw mut first, &raw mut end)
    };
    // An unknown offset is negative.
    (code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && end >= 0).then_some(end)
}

/// The notice in an error message. librdkafka puts the error's text where a message has its value.
#[cold]
fn notice(error: &rd_kafka_message_t, text: Option<&[u8]>) -> KafkaNotice {
    match error.err.into() {
        RDKafkaErrorCode::PartitionEOF => KafkaNotice::End { partition: error.partition, offset: error.offset },
        code => KafkaNotice::Error { code, reason: String::from_utf8_lossy(text.unwrap_or_default()).into_owned() },
    }
}

/// The `length` bytes at `start`; `None` if it is null.
///
/// # Safety
/// `start` is null, or points to `length` bytes that are valid for reads during `'a`.
#[inline]
unsafe fn bytes<'a>(start: *const c_void, length: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller guarantees it.
    NonNull::new(start.cast_mut()).map(|start| unsafe { slice::from_raw_parts(start.cast::<u8>().as_ptr(), length) })
}

/// A copy of a C string; an empty one for null.
///
/// # Safety
/// `start` is null, or points to a string that ends with a zero byte.
pub unsafe fn text(start: *const c_char) -> String {
    // SAFETY: the caller guarantees it.
    let text = (!start.is_null()).then(|| unsafe { CStr::from_ptr(start) });
    text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}
