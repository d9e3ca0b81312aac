//! librdkafka's topics, owned, and its call that takes many messages.

use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};

use rdkafka::bindings::{
    RD_KAFKA_MSG_F_COPY, rd_kafka_message_t, rd_kafka_produce_batch, rd_kafka_resp_err_t, rd_kafka_topic_destroy,
    rd_kafka_topic_new, rd_kafka_topic_t,
};
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

/// A topic of a client, which must not end before it.
pub struct Topic(NonNull<rd_kafka_topic_t>);

impl Topic {
    /// `None` for a name that no topic can have.
    pub fn new<C: ClientContext>(client: &Client<C>, name: &str) -> Option<Self> {
        let name = CString::new(name).ok()?;
        // SAFETY: the client is alive, the name ends with a zero byte, and without a configuration the client's own counts.
        NonNull::new(unsafe { rd_kafka_topic_new(client.native_ptr(), name.as_ptr(), ptr::null_mut()) }).map(Self)
    }

    /// Queues copies of messages, given as key and value, on their way to a partition, until the queue is full. How many it
    /// has taken, which are the first ones.
    pub fn produce<'a>(
        &self,
        partition: i32,
        messages: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    ) -> Result<usize, RDKafkaErrorCode> {
        let mut messages: Vec<rd_kafka_message_t> = messages.map(|(key, value)| message(key, value)).collect();
        let count = i32::try_from(messages.len()).map_err(|_| RDKafkaErrorCode::InvalidArgument)?;
        // SAFETY: the topic is alive, and so are `count` messages with all that they point to, which is copied.
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
        // SAFETY: the reference was ours, and is not used again. Messages on their way have their own.
        unsafe { rd_kafka_topic_destroy(self.0.as_ptr()) };
    }
}

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
