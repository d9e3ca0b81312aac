//! Owner of a topic handle of librdkafka, and the call that sends a batch to it.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};

use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_resp_err_t, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

/// A topic handle of a client. The client must outlive it.
pub struct Topic(NonNull<rd_kafka_topic_t>);

impl Topic {
    /// The handle of the topic `name`. `None` if no topic can have that name.
    pub fn new<C: ClientContext>(client: &Client<C>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client is alive, and the name ends with a zero byte. A null configuration
        // means the client's default for topics.
        NonNull::new(unsafe { rd_kafka_topic_new(client.native_ptr(), name.as_ptr(), ptr::null_mut()) }).map(Self)
    }

    /// Copies messages (key and value) into librdkafka's queue for `partition` until the queue is
    /// full. Returns how many it has taken; they are the first ones.
    ///
    /// # Errors
    /// The code of the first message that was refused for another reason than a full queue.
    pub fn produce<'a>(
        &self,
        partition: i32,
        messages: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<usize, RDKafkaErrorCode> {
        let mut messages: Vec<rd_kafka_message_t> = messages.map(|(key, value)| message(key, value)).collect();
        let count = i32::try_from(messages.len()).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
        // SAFETY: the topic is alive, and so are the `count` messages and the bytes that they point
        // to; librdkafka copies the bytes.
        unsafe {
            rd_kafka_produce_batch(self.0.as_ptr(), partition, RD_KAFKA_MSG_F_COPY, messages.as_mut_ptr(), count)
        };
        let refused =
            messages.iter().position(|message| message.err != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR);
        match refused.map(|at| (at, messages[at].err.into())) {
            None => Ok(messages.len()),
            Some((taken, RDKafkaErrorCode::QueueFull)) => Ok(taken),
            Some((_, error)) => Err(error),
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: we own the reference, and it is not used again. Queued messages hold their own.
        unsafe { rd_kafka_topic_destroy(self.0.as_ptr()) };
    }
}

/// The message as librdkafka's batch call wants it. An empty value is not null, so it is no
/// tombstone.
fn message(key: &[u8], value: Option<&[u8]>) -> rd_kafka_message_t {
    let start = |bytes: &[u8]| bytes.as_ptr().cast_mut().cast::<c_void>();
    rd_kafka_message_t {
        err: rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: 0,
        payload: value.map_or(ptr::null_mut(), start),
        len: value.map_or(0, <[u8]>::len),
        key: start(key),
        key_len: key.len(),
        offset: 0,
        _private: ptr::null_mut(),
    }
}
