//! Determines where each partition resumes, whether Kafka still has the next records, and whether
//! the topic is the one that the lake was made from.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, bail};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use tracing::warn;

use super::retry::retry_for;
use crate::intake::Gap;
use crate::kafka::{ANSWER_TIMEOUT, Consumer, Extent, TopicConfig};
use crate::lake::LakeProgress;

/// The log message about a gap that was accepted.
pub const PASSED: &str = "--accept-gap: continuing past offsets that Kafka deleted before they were read; \
                          the lake records them as missing";
/// The advice in errors about a lake whose topic no longer exists.
pub const KEEP: &str = "Keep this lake: it is complete, and `reprise replay` reads it. A topic that was created again needs a lake of its own (--lake)";
/// How long a broker may report less of the topic than was read of it, and how often it is asked
/// again.
const BEHIND_MAX: Duration = Duration::from_secs(5);
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The maximum number of gaps that a message lists.
const NAMED_MAX: usize = 8;

/// Where a run resumes.
#[derive(Debug, PartialEq, Eq)]
pub struct Resumption {
    /// The first offset to read of every partition, after its gap if it has one.
    pub starts: BTreeMap<i32, i64>,
    /// Offsets that the lake needs next and that Kafka no longer has.
    pub gaps: Vec<Gap>,
}

/// Determines where each partition resumes: where the lake ends, or at the first offset if the lake
/// has none for it. With `from_latest` a new lake begins at the ends of the partitions. Refuses
/// nothing: `extents` may be older than `lake`, which another process has written to meanwhile.
pub fn resume(extents: &BTreeMap<i32, Extent>, lake: &LakeProgress, from_latest: bool) -> Resumption {
    // Partitions that were found after `extents` are in the lake alone.
    let (mut starts, mut gaps) = (lake.offsets.clone(), Vec::new());
    for (&partition, &Extent { first, end }) in extents {
        let start = match lake.offsets.get(&partition) {
            // Not for partitions that were added later: their records until now would be lost.
            None if from_latest && lake.offsets.is_empty() => end,
            None => first,
            Some(&next) if next < first => {
                gaps.push(Gap { partition, first: next, end: first });
                first
            }
            Some(&next) => next,
        };
        starts.insert(partition, start);
    }
    Resumption { starts, gaps }
}

/// The extents of all partitions of the topic, which must reach as far as `lake` has been read. The
/// lake's offsets must be read before this call. A broker that has just become a partition's leader
/// may report less, so it is asked again for up to [`BEHIND_MAX`].
///
/// # Errors
/// If these cannot be the offsets of the topic that the lake was made from, or the broker does not
/// answer.
pub fn extents(broker: &TopicConfig, consumer: &Consumer, lake: &LakeProgress) -> Result<BTreeMap<i32, Extent>> {
    let began = Instant::now();
    loop {
        // A partition without a leader does not answer; that lasts only a moment.
        let extents = retry_for(ANSWER_TIMEOUT, || {
            let partitions = broker.partitions(consumer)?;
            broker.extents(consumer, &partitions, ANSWER_TIMEOUT)
        })?;
        match check_reach(&broker.topic, &extents, lake) {
            Ok(()) => return Ok(extents),
            Err(error) if began.elapsed() >= BEHIND_MAX => return Err(error),
            Err(_) => std::thread::sleep(RETRY_INTERVAL),
        }
    }
}

/// Fails if the topic has less than was read of it.
fn check_reach(topic: &str, extents: &BTreeMap<i32, Extent>, lake: &LakeProgress) -> Result<()> {
    if let Some(partition) = lake.offsets.keys().find(|partition| !extents.contains_key(partition)) {
        bail!(
            "the lake holds plays of {topic}/{partition}, a partition that the topic does not have: was the topic deleted and \
             created again? {KEEP}"
        );
    }
    let short = extents.iter().find_map(|(&partition, extent)| {
        let next = *lake.offsets.get(&partition)?;
        (next > extent.end).then(|| ends_before(topic, partition, next, extent.end))
    });
    short.map_or(Ok(()), Err)
}

/// The error for a partition of which Kafka has less than was read.
pub fn ends_before(topic: &str, partition: i32, next: i64, end: i64) -> Error {
    anyhow!(
        "{topic}/{partition} has been read up to offset {next}, and Kafka ends at {end}: has a broker lost records, as by an unclean \
         election of a leader, or was the topic deleted and created again? If the brokers are still recovering, start again when they \
         are done. {KEEP}"
    )
}

/// The error for `gaps` that are not accepted.
pub fn lost(topic: &str, gaps: &[Gap]) -> Error {
    let offsets: i64 = gaps.iter().map(Gap::length).sum();
    let named = gaps.iter().take(NAMED_MAX).map(|gap| {
        let (partition, first, last, length) = (gap.partition, gap.first, gap.end - 1, gap.length());
        format!("{topic}/{partition}: {first} … {last} ({length})")
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let others =
        if gaps.len() > NAMED_MAX { format!(" and of {} more", gaps.len() - NAMED_MAX) } else { String::new() };
    anyhow!(
        "{offsets} offsets are missing, which the lake needs next: {named}{others}. Kafka has deleted them before they were \
         read: give the topic more retention. To continue without them, start with --accept-gap; the lake records them as \
         missing"
    )
}

/// Offset and timestamp of a record in Kafka, in ms since 1970.
type Record = (i64, Option<i64>);

/// The last record before the offset at which a partition resumes, by which the topic is
/// recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    offset: i64,
    time_ms: i64,
}

/// Compares the last record that the lake has of each partition with the record in Kafka. A
/// recreated topic may have as many offsets, but its records have other timestamps.
///
/// # Errors
/// If a record differs, or the records cannot be requested.
pub fn check_recreated(broker: &TopicConfig, extents: &BTreeMap<i32, Extent>, lake: &LakeProgress) -> Result<()> {
    let tails = tails(extents, lake);
    let found = find(broker, &tails)?;
    let mut slow = Vec::new();
    for (partition, tail) in tails {
        match found.get(&partition) {
            Some(Some(found)) => check_tail(&broker.topic, partition, tail, *found)?,
            Some(None) => {}
            None => slow.push(partition),
        }
    }
    if !slow.is_empty() {
        warn!(
            topic = broker.topic,
            partitions = ?slow,
            "Kafka did not answer in time, so it was not checked that these partitions are those of the lake"
        );
    }
    Ok(())
}

/// Whether everything up to `read` certainly belongs to an earlier topic than the one with these
/// `extents`: the last record of each partition lies beyond the end, or Kafka has another record in
/// its place.
///
/// # Errors
/// If the records cannot be requested.
pub fn is_of_another(broker: &TopicConfig, extents: &BTreeMap<i32, Extent>, read: &LakeProgress) -> Result<bool> {
    let reaches = |partition: &i32| Some((read.offsets.get(partition)? - 1, extents.get(partition)?.end));
    let within = |partition: &&i32| reaches(partition).is_some_and(|(offset, end)| offset < end);
    let tails = tails(extents, read);
    let found = find(broker, &tails)?;
    Ok(read.times_ms.keys().filter(within).all(|partition| {
        let tail = tails.get(partition).zip(found.get(partition));
        tail.is_some_and(|(tail, found)| time_of_another(*tail, *found).is_some())
    }))
}

/// The timestamp of `found`, if it is another record in the place of `tail`. An empty place or
/// another offset proves nothing, because retention and compaction leave holes; neither does an
/// unknown timestamp.
fn time_of_another(tail: Tail, found: Option<Record>) -> Option<i64> {
    let (_, time_ms) = found.filter(|(offset, _)| *offset == tail.offset)?;
    time_ms.filter(|time_ms| tail.time_ms >= 0 && *time_ms != tail.time_ms)
}

/// The first record at or after each of the `tails`, `None` if there is none. Partitions for which
/// Kafka does not answer in time are absent.
fn find(broker: &TopicConfig, tails: &BTreeMap<i32, Tail>) -> Result<BTreeMap<i32, Option<Record>>> {
    let mut all = BTreeMap::new();
    if tails.is_empty() {
        return Ok(all);
    }
    // One record of each partition suffices.
    let consumer = broker.consumer_with(&[("queued.min.messages", "1"), ("queued.max.messages.kbytes", "1024")])?;
    let mut assignment = TopicPartitionList::new();
    for (partition, tail) in tails {
        assignment.add_partition_offset(&broker.topic, *partition, Offset::Offset(tail.offset))?;
    }
    consumer.assign(&assignment).with_context(|| format!("cannot read the partitions of topic {}", broker.topic))?;
    let began = Instant::now();
    while all.len() < tails.len() && began.elapsed() <= ANSWER_TIMEOUT {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let found = (message.offset(), message.timestamp().to_millis());
                all.entry(message.partition()).or_insert(Some(found));
            }
            // The record is gone, and none follows it.
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(all.entry(partition).or_insert(None)),
            Some(Err(_)) | None => {}
        }
    }
    Ok(all)
}

/// The records to compare: those that Kafka still has.
fn tails(extents: &BTreeMap<i32, Extent>, lake: &LakeProgress) -> BTreeMap<i32, Tail> {
    let tail = |(partition, time_ms): (&i32, &i64)| {
        let offset = lake.offsets.get(partition)? - 1;
        let extent = extents.get(partition)?;
        let is_there = extent.first <= offset && offset < extent.end;
        is_there.then_some((*partition, Tail { offset, time_ms: *time_ms }))
    };
    lake.times_ms.iter().filter_map(tail).collect()
}

/// Fails if `found` is another record than `tail`.
fn check_tail(topic: &str, partition: i32, tail: Tail, found: Record) -> Result<()> {
    if let Some(time_ms) = time_of_another(tail, Some(found)) {
        bail!(
            "topic {topic} is not the one that the lake was made from: the record at {topic}/{partition} offset {} was of {}, and \
             now it is of {}. Was the topic deleted and created again? {KEEP}",
            tail.offset,
            moment(tail.time_ms),
            moment(time_ms)
        );
    }
    Ok(())
}

fn moment(time_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(time_ms).map_or_else(|_| format!("{time_ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(of: &[(i64, i64)]) -> BTreeMap<i32, Extent> {
        (0..).zip(of.iter().map(|&(first, end)| Extent { first, end })).collect()
    }

    fn lake(offsets: &[i64]) -> LakeProgress {
        LakeProgress { offsets: (0..).zip(offsets.iter().copied()).collect(), ..LakeProgress::default() }
    }

    fn refusal(of: &[(i64, i64)], offsets: &[i64]) -> String {
        check_reach("t", &extents(of), &lake(offsets)).expect_err("an error").to_string()
    }

    #[test]
    fn a_start_resumes_where_the_lake_ends() {
        let topic = extents(&[(5, 20), (0, 10), (3, 9)]);
        let starts = |lake: &LakeProgress, latest| resume(&topic, lake, latest).starts;
        assert_eq!(starts(&lake(&[]), false), [(0, 5), (1, 0), (2, 3)].into());
        assert_eq!(starts(&lake(&[]), true), [(0, 20), (1, 10), (2, 9)].into());
        assert_eq!(starts(&lake(&[20, 5]), true), [(0, 20), (1, 5), (2, 3)].into(), "an added partition");
    }

    #[test]
    fn missing_offsets_are_named() {
        let found = resume(&extents(&[(5, 20), (7, 9)]), &lake(&[2, 7]), false);
        let gap = Gap { partition: 0, first: 2, end: 5 };
        assert_eq!(found, Resumption { starts: [(0, 5), (1, 7)].into(), gaps: vec![gap] });
        let message = lost("t", &[gap, Gap { partition: 4, first: 10, end: 11 }]).to_string();
        assert!(
            message.starts_with("4 offsets are missing") && message.contains("t/0: 2 … 4 (3), t/4: 10 … 10 (1)"),
            "{message}"
        );
        assert!(message.contains("--accept-gap"), "{message}");
    }

    /// The previous writer commits until the takeover, and may have found partitions.
    #[test]
    fn commits_after_the_request_to_kafka_are_accepted() {
        let found = resume(&extents(&[(0, 4), (0, 7)]), &lake(&[9, 7, 3]), true);
        assert_eq!(found, Resumption { starts: [(0, 9), (1, 7), (2, 3)].into(), gaps: vec![] });
    }

    /// The error must not lead anybody to delete the lake.
    #[test]
    fn refuses_a_topic_that_is_shorter_than_the_lake() {
        let (short, fewer) = (refusal(&[(0, 4)], &[5]), refusal(&[(0, 4)], &[4, 0]));
        assert!(short.contains("t/0 has been read up to offset 5") && short.contains("Keep this lake"), "{short}");
        assert!(fewer.contains("t/1, a partition") && fewer.contains("Keep this lake"), "{fewer}");
        check_reach("t", &extents(&[(7, 9), (0, 0)]), &lake(&[9, 0])).unwrap();
    }

    #[test]
    fn compares_the_last_record_where_kafka_has_it() {
        let times_ms = [(0, 100), (1, 200), (2, 300), (3, 400)].into();
        let lake = LakeProgress { times_ms, ..lake(&[5, 5, 5]) };
        let found = tails(&extents(&[(0, 5), (5, 9), (4, 9)]), &lake);
        let tail = |time_ms| Tail { offset: 4, time_ms };
        assert_eq!(found, [(0, tail(100)), (2, tail(300))].into());
        let message = check_tail("t", 0, tail(100), (4, Some(101))).unwrap_err().to_string();
        assert!(message.contains("1970-01-01T00:00:00.1Z") && message.contains("offset 4"), "{message}");
        for found in [(4, Some(100)), (5, Some(101)), (4, None)] {
            check_tail("t", 0, tail(100), found).unwrap();
        }
        for (time_ms, found, another) in [
            (100, Some((4, Some(100))), false),
            (100, Some((4, Some(101))), true),
            (100, Some((5, Some(101))), false),
            (100, Some((4, None)), false),
            (100, None, false),
            (-1, Some((4, Some(100))), false),
        ] {
            assert_eq!(time_of_another(tail(time_ms), found).is_some(), another, "{time_ms} {found:?}");
        }
    }
}
