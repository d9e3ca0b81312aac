//! The id of a topic, from librdkafka's mock cluster. The program's own tests delete and recreate a
//! topic on a real broker.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaErrorCode;
use reprise_kafka::topic_id;

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_topic_keeps_its_id_and_no_other_has_it() {
    let cluster = MockCluster::new(1).unwrap();
    ["a", "b"].iter().for_each(|topic| cluster.create_topic(topic, 1, 1).unwrap());
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    let id = |topic| topic_id(consumer.client(), topic, 1, PATIENCE);
    let [a, b] = ["a", "b"].map(|topic| id(topic).unwrap().expect("an id"));
    assert_ne!(a, b);
    assert_eq!(id("a"), Ok(Some(a.clone())));
    assert!(a.len() == 22 && a.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{a}");
    assert_eq!(id("with\0zero"), Err(RDKafkaErrorCode::InvalidTopic));
}

#[test]
fn a_request_without_an_answer_times_out() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("a", 1, 1).unwrap();
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
    cluster.broker_down(1).unwrap();
    assert_eq!(
        topic_id(consumer.client(), "a", 1, Duration::from_millis(300)),
        Err(RDKafkaErrorCode::OperationTimedOut)
    );
}
