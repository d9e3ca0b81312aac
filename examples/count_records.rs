//! The limit of reading: one consumer on one thread that only counts.
//!
//! `count_records BROKERS TOPIC` reads a topic from its first offsets to its current end, and
//! prints a JSON object: the number of records, the bytes of their values, and the seconds from the
//! assignment to the last record, without connecting to the broker. `scripts/bench live` compares
//! it with the program and its peers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(10);

#[expect(clippy::print_stdout, reason = "it prints its measurements for the caller")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [brokers, topic] = &arguments[..] else { bail!("usage: count_records BROKERS TOPIC") };
    let consumer = consumer(brokers)?;
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).context("the broker does not answer")?;
    let partitions = metadata.topics().first().map_or(&[][..], |topic| topic.partitions());
    let (mut assignment, mut expected) = (TopicPartitionList::new(), 0);
    for partition in partitions {
        let (first, end) = consumer.fetch_watermarks(topic, partition.id(), PATIENCE)?;
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(first))?;
        expected += end - first;
    }
    let began = Instant::now();
    consumer.assign(&assignment)?;
    let (mut records, mut bytes) = (0, 0);
    while records < expected {
        let record = consumer.poll(PATIENCE).with_context(|| format!("only {records} of {expected} records came"))?;
        bytes += record?.payload().map_or(0, <[u8]>::len);
        records += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(r#"{{"records":{records},"bytes":{bytes},"seconds":{seconds:.4}}}"#);
    Ok(())
}

/// Options with which the queue of librdkafka, and not the pause before the next fetch, is the
/// limit.
fn consumer(brokers: &str) -> Result<BaseConsumer> {
    let consumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reprise-count-records")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "2097152")
        .set("queued.min.messages", "200000")
        .set("queued.max.messages.kbytes", "65536")
        .create()?;
    Ok(consumer)
}
