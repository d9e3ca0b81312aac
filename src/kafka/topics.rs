//! Topics that we write to: finding or creating them, and the partition of a key.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::creation_error;

/// How long a broker may take to answer before it counts as unreachable.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Limit for requests of the admin API.
const ADMIN_MAX: Duration = Duration::from_secs(5);

/// The number of partitions of `topic`. A missing topic is created with this many `partitions`, and
/// these topic `options`.
///
/// `client` is connected with the broker; `config` configures the admin client for it.
///
/// # Errors
/// If the broker does not answer, the topic cannot be created, or a partition has no leader in
/// time.
pub fn ensure(
    client: &Client<impl ClientContext>,
    config: &ClientConfig,
    topic: &str,
    partitions: i32,
    options: &[(&str, &str)],
) -> Result<usize> {
    let brokers = config.get("bootstrap.servers").unwrap_or_default();
    // Request the metadata of all topics: a request for one by name makes many brokers create it,
    // with their own number of partitions.
    let cluster = client.fetch_metadata(None, ANSWER_MAX).map_err(|error| {
        let reason = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        anyhow!(
            "cannot reach Kafka at {brokers} within {} s ({reason}); check the address (--brokers or KAFKA_BOOTSTRAP_SERVERS), \
             start a broker with `scripts/kafka start`, or try `reprise demo`, which brings its own",
            ANSWER_MAX.as_secs()
        )
    })?;
    if !cluster.topics().iter().any(|known| known.name() == topic) {
        create(config, topic, partitions, options)
            .with_context(|| format!("cannot create topic '{topic}' at {brokers}"))?;
    }
    wait_for_leaders(client, topic).with_context(|| format!("topic '{topic}' at {brokers} cannot be written to"))
}

fn create(config: &ClientConfig, topic: &str, partitions: i32, options: &[(&str, &str)]) -> Result<()> {
    let admin = admin(config)?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let new = options.iter().fold(new, |new, (option, value)| new.set(option, value));
    let created = block_on(admin.create_topics([&new], &admin_options()))?;
    match created.map(|results| results.into_iter().next()) {
        // librdkafka's mock cluster does not answer admin requests, but creates a topic when
        // metadata is requested by its name.
        Err(KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut)) => Ok(()),
        Err(error) => Err(error.into()),
        // Another client may have created it meanwhile.
        Ok(None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => Ok(()),
        Ok(Some(Err((_, code)))) => bail!("{code}"),
    }
}

/// The broker's value of the option `name` of `topic`; `None` if it does not return one.
///
/// # Errors
/// If the broker does not answer, or refuses the request.
pub fn option(config: &ClientConfig, topic: &str, name: &str) -> Result<Option<String>> {
    let admin = admin(config)?;
    let topic = ResourceSpecifier::Topic(topic);
    let described = block_on(admin.describe_configs([&topic], &admin_options()))??.into_iter().next();
    let described = described.transpose().map_err(|code| anyhow!("{code}"))?;
    Ok(described.and_then(|options| options.get(name)?.value.clone()))
}

fn admin(config: &ClientConfig) -> Result<AdminClient<DefaultClientContext>> {
    config.create().map_err(creation_error)
}

fn admin_options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ADMIN_MAX)).operation_timeout(Some(ADMIN_MAX))
}

fn block_on<T>(answer: impl Future<Output = T>) -> Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(answer))
}

/// Waits until each partition has a leader, and returns their number: a new topic exists for some
/// time before its partitions can be written to.
fn wait_for_leaders(client: &Client<impl ClientContext>, topic: &str) -> Result<usize> {
    let started = Instant::now();
    loop {
        let metadata = client.fetch_metadata(Some(topic), ANSWER_MAX)?;
        let partitions = metadata.topics().first().map(|topic| topic.partitions()).unwrap_or_default();
        if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0) {
            return Ok(partitions.len());
        }
        if started.elapsed() > ANSWER_MAX {
            let error = metadata.topics().first().and_then(|topic| topic.error());
            bail!("it has no leader for {} of its partitions (broker says {error:?})", partitions.len());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The partition of a key: by murmur2, as Kafka's Java clients choose it.
///
/// We choose it, and not librdkafka, so that we know how many records each partition has received.
pub fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, &byte| tail << 8 | u32::from(byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are from Apache Kafka's own tests.
    #[test]
    fn keys_hash_as_in_kafka() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
    }
}
