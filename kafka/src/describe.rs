//! The id that the cluster gave to a topic: it tells a topic from a later one of the same name.
//! rdkafka does not expose it.

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

/// The all-zero id, which stands for "no id".
const NONE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
/// How much longer the queue is polled than the request may take.
const POLL_LONGER_MS: i32 = 500;

/// An object that librdkafka allocated, with the function that frees it. The pointer is never null.
struct Lent<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Lent<T> {
    /// Owns `given`, and frees it by `back`. `None` if it is null.
    ///
    /// # Safety
    /// `given` is null, or we own it and must pass it to `back` exactly once.
    unsafe fn new(given: *mut T, back: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        (!given.is_null()).then_some(Self(given, back))
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        // SAFETY: we own it, it is not null, and it is not used again.
        unsafe { (self.1)(self.0) };
    }
}

/// The id of a topic, in the form that Kafka's own tools print, as the broker `broker_id` knows it.
/// `None` if the cluster gives topics no ids (Kafka before 2.8).
///
/// # Errors
/// The error code that the broker answers with, or `OperationTimedOut` if it does not answer within
/// `timeout`.
pub fn topic_id<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    broker_id: i32,
    timeout: Duration,
) -> Result<Option<String>, RDKafkaErrorCode> {
    let event = describe(client, topic, broker_id, timeout)?;
    // SAFETY: the event is alive.
    check(unsafe { rd_kafka_event_error(event.0) })?;
    // SAFETY: as above. The result belongs to the event, and is null if the event is of another
    // type.
    let result = unsafe { rd_kafka_event_DescribeTopics_result(event.0) };
    if result.is_null() {
        return Err(RDKafkaErrorCode::Unknown);
    }
    let mut count = 0;
    // SAFETY: the result is alive, and `count` is valid for writes.
    let described = unsafe { rd_kafka_DescribeTopics_result_topics(result, &raw mut count) };
    if described.is_null() || count == 0 {
        return Err(RDKafkaErrorCode::UnknownTopicOrPartition);
    }
    // SAFETY: the array has `count > 0` elements, and lives as long as the event.
    let described = unsafe { *described };
    // SAFETY: the description is alive.
    let error = unsafe { rd_kafka_TopicDescription_error(described) };
    // SAFETY: librdkafka takes null as "no error".
    check(unsafe { rd_kafka_error_code(error) })?;
    // SAFETY: as above.
    let id = unsafe { rd_kafka_TopicDescription_topic_id(described) };
    if id.is_null() {
        return Ok(None);
    }
    // SAFETY: the id lives as long as the description.
    let text = unsafe { rd_kafka_Uuid_base64str(id) };
    // SAFETY: the pointer is null, or a C string that lives as long as the id.
    let text = unsafe { queue::text(text) };
    // librdkafka prints standard base64, Kafka's tools the URL-safe alphabet.
    let text = text.replace('+', "-").replace('/', "_");
    Ok(Some(text).filter(|text| !text.is_empty() && text != NONE))
}

/// Sends the request, and waits for the answer.
fn describe<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    broker_id: i32,
    timeout: Duration,
) -> Result<Lent<rd_kafka_event_t>, RDKafkaErrorCode> {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    let name = CString::new(topic).map_err(|_| RDKafkaErrorCode::InvalidTopic)?;
    let (rk, mut names) = (client.native_ptr(), [name.as_ptr()]);
    // SAFETY: the client outlives this function.
    let queue = unsafe { rd_kafka_queue_new(rk) };
    // SAFETY: we own the new queue.
    let queue = unsafe { Lent::new(queue, rd_kafka_queue_destroy) }.ok_or(RDKafkaErrorCode::Fail)?;
    // SAFETY: the client is alive.
    let options = unsafe { rd_kafka_AdminOptions_new(rk, rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS) };
    // SAFETY: we own the new options.
    let options = unsafe { Lent::new(options, rd_kafka_AdminOptions_destroy) }.ok_or(RDKafkaErrorCode::Fail)?;
    // SAFETY: there is one name; it ends with a zero byte, and librdkafka copies it.
    let topics = unsafe { rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len()) };
    // SAFETY: we own the new collection.
    let topics = unsafe { Lent::new(topics, rd_kafka_TopicCollection_destroy) }.ok_or(RDKafkaErrorCode::Fail)?;
    // SAFETY: the options are alive; the buffer for an error text is null, with length 0.
    check(unsafe { rd_kafka_AdminOptions_set_request_timeout(options.0, timeout_ms, ptr::null_mut(), 0) })?;
    // SAFETY: as above.
    check(unsafe { rd_kafka_AdminOptions_set_broker(options.0, broker_id, ptr::null_mut(), 0) })?;
    // SAFETY: all four are alive, and librdkafka copies or retains what the request needs of them.
    unsafe { rd_kafka_DescribeTopics(rk, topics.0, options.0, queue.0) };
    // Poll a little longer than the request's own timeout, so that its error, which has a reason,
    // comes first.
    // SAFETY: the queue is alive.
    let event = unsafe { rd_kafka_queue_poll(queue.0, timeout_ms.saturating_add(POLL_LONGER_MS)) };
    // SAFETY: the event is null, or we own it.
    unsafe { Lent::new(event, rd_kafka_event_destroy) }.ok_or(RDKafkaErrorCode::OperationTimedOut)
}

fn check(code: rd_kafka_resp_err_t) -> Result<(), RDKafkaErrorCode> {
    if code == rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR { Ok(()) } else { Err(code.into()) }
}
