//! What makes a topic a different one from its namesake: the id that the cluster gave it. rdkafka does not ask for it.

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use rdkafka::bindings::{
    rd_kafka_AdminOptions_destroy, rd_kafka_AdminOptions_new, rd_kafka_AdminOptions_set_broker,
    rd_kafka_AdminOptions_set_request_timeout, rd_kafka_DescribeTopics, rd_kafka_DescribeTopics_result_topics,
    rd_kafka_TopicCollection_destroy, rd_kafka_TopicCollection_of_topic_names, rd_kafka_TopicDescription_error,
    rd_kafka_TopicDescription_topic_id, rd_kafka_Uuid_base64str, rd_kafka_admin_op_t, rd_kafka_error_code,
    rd_kafka_event_DescribeTopics_result, rd_kafka_event_destroy, rd_kafka_event_error, rd_kafka_event_t,
    rd_kafka_queue_destroy, rd_kafka_queue_new, rd_kafka_queue_poll, rd_kafka_resp_err_t,
};
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::RDKafkaErrorCode;

use super::queue;

/// The id that stands for none.
const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const POLL_LONGER_MS: i32 = 500;

/// Something of librdkafka's, with the function that takes it back. None of it is null.
struct Lent<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Lent<T> {
    /// `None` of null.
    ///
    /// # Safety
    /// What was `given` is null, or ours to give `back` once.
    unsafe fn new(given: *mut T, back: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        (!given.is_null()).then_some(Self(given, back))
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        // SAFETY: it was ours, is not null, and is not used again.
        unsafe { (self.1)(self.0) };
    }
}

/// The id of a topic, as Kafka's own tools write it, by what the broker `broker_id` knows. `None` if the cluster gives topics no ids,
/// as Kafka before 2.8 did.
///
/// # Errors
/// What the broker says against it, or that it says nothing within `timeout`.
pub fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    broker_id: i32,
    timeout: Duration,
) -> Result<Option<String>, RDKafkaErrorCode> {
    let event = describe(client, topic, broker_id, timeout)?;
    // SAFETY: the event is alive.
    check(unsafe { rd_kafka_event_error(event.0) })?;
    // SAFETY: as above. What comes belongs to it, and is null if it is no such answer.
    let result = unsafe { rd_kafka_event_DescribeTopics_result(event.0) };
    if result.is_null() {
        return Err(RDKafkaErrorCode::Unknown);
    }
    let mut count = 0;
    // SAFETY: the result is alive, and `count` is to be written.
    let described = unsafe { rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
    if described.is_null() || count == 0 {
        return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
    }
    // SAFETY: so many are there, for as long as the event is.
    let described = unsafe { *described };
    // SAFETY: the description is alive.
    let error = unsafe { rd_kafka_TopicDescription_error(described) };
    // SAFETY: null counts as no error.
    check(unsafe { rd_kafka_error_code(error) })?;
    // SAFETY: as above.
    let id = unsafe { rd_kafka_TopicDescription_topic_id(described) };
    if id.is_null() {
        return Ok(None);
    }
    // SAFETY: the id lives as long as the description.
    let text = unsafe { rd_kafka_Uuid_base64str(id) };
    // SAFETY: it is null, or a text that lives as long as the id.
    let text = unsafe { queue::text(text) };
    // librdkafka uses the letters of plain base64, Kafka those that a URL may have.
    let text = text.replace('+', "-").replace('/', "_");
    Ok(Some(text).filter(|text| !text.is_empty() && text != NONE))
}

/// Asks, and waits for the answer.
fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    broker_id: i32,
    timeout: Duration,
) -> Result<Lent<rd_kafka_event_t>, RDKafkaErrorCode> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let (rk, mut names) = (client.native_ptr(), [name.as_ptr()]);
    // SAFETY: the client is alive for as long as this function runs.
    let queue = unsafe { rd_kafka_queue_new(rk) };
    // SAFETY: it is ours.
    let queue = unsafe { Lent::new(queue, rd_kafka_queue_destroy) }.ok_or(RDKafkaErrorCode::Fail)?;
    // SAFETY: the client is alive.
    let options = unsafe { rd_kafka_AdminOptions_new(rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS) };
    // SAFETY: they are ours.
    let options = unsafe { Lent::new(options, rd_kafka_AdminOptions_destroy) }.ok_or(RDKafkaErrorCode::Fail)?;
    // SAFETY: there is one name, which ends with a zero byte and is copied.
    let topics = unsafe { rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()) };
    // SAFETY: they are ours.
    let topics = unsafe { Lent::new(topics, rd_kafka_TopicCollection_destroy) }.ok_or(RDKafkaErrorCode::Fail)?;
    // SAFETY: the options are alive, and there is no room to say what is wrong with them.
    check(unsafe { rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, ptr::null_mut(), 0) })?;
    // SAFETY: as above.
    check(unsafe { rd_kafka_AdminOptions_set_broker(options.0, broker_id, ptr::null_mut(), 0) })?;
    // SAFETY: all are alive, and librdkafka keeps what it needs of them while it asks.
    unsafe { rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0) };
    // The request has its own end, and a reason, a little before.
    // SAFETY: the queue is alive.
    let event = unsafe { rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(POLL_LONGER_MS)) };
    // SAFETY: it is ours.
    unsafe { Lent::new(event, rd_kafka_event_destroy) }.ok_or(RDKafkaErrorCode::OperationTimedOut)
}

fn check(code: rd_kafka_resp_err_t) -> Result<(), RDKafkaErrorCode> {
    if code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(code.into()) }
}
