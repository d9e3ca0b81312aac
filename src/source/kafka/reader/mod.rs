//! A worker's consumer, and what it has read in the open epoch.
//!
//! Every offset is accounted for: it is a play, a dead letter, a hole, or missing. The end of a
//! partition reveals the holes that no record follows.
//!
//! librdkafka does not report which partition has lost its offset, and stops reading that one. The
//! reader therefore compares all partitions with what the broker holds, and assigns all of them
//! again at their current positions.

mod recheck;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use reprise_dataflows::{Epoch, Tick};
use reprise_kafka::{KafkaNotice, Receiver};
use tracing::{info, warn};

use super::held::HeldRecord;
use super::partition::{Batch, Partition};
use super::share::Share;
use super::spread::{FILE_BYTES, Spread};
use crate::intake::Gap;
use crate::intake::Intake;
use crate::intake::files_max;
use crate::kafka::{Listener, TopicConfig};
use crate::report::rejected::NewestRejected;
use crate::report::times::EventTimes;
use crate::report::{KafkaReport, Report};
use crate::source::event::Decoder;

/// The maximum number of rows of a batch: enough to amortise its cost, few enough to stay in the
/// processor's cache.
const BATCH_ROWS_MAX: usize = 16 << 10;
const BATCH_BYTES_MAX: usize = 8 << 20;
/// The maximum rows and bytes of one worker in an epoch.
const EPOCH_ROWS_MAX: u64 = 200_000;
const EPOCH_BYTES_MAX: u64 = 64 << 20;
/// The approximate size of a play besides its texts: numbers, and text offsets.
const ROW_BYTES: u64 = 64;
/// The limits of one turn of the operator, so that the worker's other operators get their turns.
const TURN_RECORDS_MAX: usize = 4096;
const TURN_BYTES_MAX: u64 = 4 << 20;
const TURN_MAX: Duration = Duration::from_millis(10);
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
const UNANSWERED: &str = "Kafka does not answer as expected; retrying";

/// Reads a worker's partitions in turns.
pub struct Reader {
    broker: TopicConfig,
    receiver: Receiver<Listener>,
    share: Share,
    /// The number of added partitions that have been handled.
    found: usize,
    /// The number of reappearances of the topic that have been handled.
    returns: usize,
    partitions: Vec<Partition>,
    batch: Batch,
    /// The number of cuts since the start.
    cuts: u32,
    /// The maximum number of files of this worker in the next cut.
    files_max: u64,
    gaps: Vec<Gap>,
    /// The newest dead letters since the last report.
    rejected: NewestRejected,
    /// A record that its format could not read yet. It is tried again before any other record is
    /// read.
    held: Option<HeldRecord>,
    /// The position of a partition has moved since the last report.
    moved: bool,
    /// Worker 0 has been told that something arrived in the open epoch.
    announced: bool,
    /// The position of a partition has moved since the last [`Reader::take`].
    untaken: bool,
    epoch_rows: u64,
    epoch_bytes: u64,
    /// When the oldest record of the epoch was produced, in ms since 1970.
    oldest_ms: Option<i64>,
    uncommitted: bool,
    uncommitted_bytes: u64,
    /// When to check which offsets Kafka still has, if that is in doubt.
    recheck_at: Option<Instant>,
    /// The topic was missing for a while, so it may be another one now.
    has_returned: bool,
    warned_at: Option<Instant>,
}

impl Reader {
    /// Begins to read `share`. A thread of the client calls `wake` when records arrive after the
    /// queue was empty.
    ///
    /// # Errors
    /// If the consumer cannot be started.
    pub fn new(broker: &TopicConfig, share: Share, wake: impl Fn() + Send + Sync + 'static) -> Result<Self> {
        let mut consumer = broker.consumer()?;
        consumer.set_nonempty_callback(wake);
        let window_us = share.trending.window_us;
        let owned = share.starts.iter().filter(|(partition, _)| share.owns(*partition));
        let new = |&(partition, start)| Partition::new(partition, start, share.seen_us.get(&partition).copied());
        let partitions = owned.map(new).collect();
        let mut this = Self {
            broker: broker.clone(),
            receiver: Receiver::new(consumer).context("the Kafka consumer has no queue to receive from")?,
            share,
            found: 0,
            returns: 0,
            partitions,
            batch: Batch {
                decoder: Decoder::new(),
                dead_letters: Vec::new(),
                times: EventTimes::new(window_us),
                spread: Spread::default(),
            },
            cuts: 0,
            files_max: files_max(0),
            gaps: Vec::new(),
            rejected: NewestRejected::default(),
            held: None,
            moved: false,
            announced: false,
            untaken: false,
            epoch_rows: 0,
            epoch_bytes: 0,
            oldest_ms: None,
            uncommitted: false,
            uncommitted_bytes: 0,
            recheck_at: None,
            has_returned: false,
            warned_at: None,
        };
        this.assign()?;
        Ok(this)
    }

    /// Assigns each partition to the consumer at its current position.
    fn assign(&mut self) -> Result<()> {
        // The consumer delivers it again.
        self.held = None;
        let topic = &self.broker.topic;
        let mut assignment = TopicPartitionList::new();
        for state in &self.partitions {
            assignment.add_partition_offset(topic, state.report.partition, Offset::Offset(state.report.next))?;
        }
        self.receiver.assign(&assignment).with_context(|| format!("cannot read the partitions of topic {topic}"))
    }

    /// Begins the epoch of `tick`. If the tick has a cut, what was read before belongs to it.
    pub fn begin(&mut self, tick: &Tick) {
        (self.epoch_rows, self.epoch_bytes, self.announced) = (0, 0, false);
        if let Some(clock_us) = tick.clock_us {
            self.batch.times.at(clock_us, self.share.trending.window(clock_us).0);
        }
        if tick.cut.is_some() {
            (self.uncommitted, self.uncommitted_bytes) = (false, 0);
            self.batch.spread = Spread::default();
            self.cuts = self.cuts.saturating_add(1);
            self.files_max = files_max(self.cuts);
        }
    }

    /// Whether reading must wait for the next epoch or cut.
    pub fn is_full(&self) -> bool {
        self.epoch_rows >= EPOCH_ROWS_MAX
            || self.epoch_bytes >= EPOCH_BYTES_MAX
            || self.held_bytes() >= self.share.uncommitted_bytes_max
            || self.is_spread_too_far()
    }

    /// Whether the next cut already needs as many files as it may have. Checked after every record,
    /// so that a commit is bounded however widely the plays of one turn are spread over time.
    #[inline]
    fn is_spread_too_far(&self) -> bool {
        self.batch.spread.files() >= self.files_max
    }

    /// The bytes that wait for the next cut, those of its files included.
    fn held_bytes(&self) -> u64 {
        self.uncommitted_bytes + self.batch.spread.files() * FILE_BYTES
    }

    /// Whether the batch should be handed over with [`Reader::take`].
    pub fn is_batch_full(&self) -> bool {
        self.batch.decoder.rows() >= BATCH_ROWS_MAX || self.batch.decoder.bytes() >= BATCH_BYTES_MAX
    }

    /// Whether to report at once that something arrived in the open epoch. True once in an epoch.
    pub fn announces(&mut self) -> bool {
        self.moved && !std::mem::replace(&mut self.announced, true)
    }

    /// Reads for one turn. Returns whether it read any records.
    ///
    /// # Errors
    /// Permanent errors of Kafka, a topic that was recreated, and missing offsets unless they are
    /// accepted.
    pub fn read_on(&mut self) -> Result<bool> {
        self.add_found_partitions()?;
        self.check_offsets()?;
        let (began, now_us) = (Instant::now(), Timestamp::now().as_microsecond());
        let (bytes, rows, mut rejected_bytes) = (self.batch.decoder.bytes(), self.epoch_rows, 0);
        for record in 0..TURN_RECORDS_MAX {
            // Reading the clock costs as much as a small record.
            let read_bytes = (self.batch.decoder.bytes() - bytes) as u64 + rejected_bytes;
            if read_bytes > TURN_BYTES_MAX || (record % 256 == 255 && began.elapsed() > TURN_MAX) {
                break;
            }
            let held = self.held.take();
            let received = match &held {
                Some(held) => Some(Ok(held.message())),
                None => self.receiver.receive(),
            };
            match received {
                None => break,
                Some(Ok(message)) => {
                    let Some(state) = find(&mut self.partitions, message.partition) else { continue };
                    // Records that were fetched before a new assignment must not be counted twice.
                    if message.offset < state.report.next {
                        continue;
                    }
                    if let Some(timestamp_ms) = message.timestamp_ms {
                        self.oldest_ms =
                            Some(self.oldest_ms.map_or(timestamp_ms, |oldest_ms| oldest_ms.min(timestamp_ms)));
                    }
                    match state.accept(&message, &mut self.batch, now_us) {
                        Ok(bytes) => rejected_bytes += bytes,
                        Err(what) => {
                            self.held = Some(HeldRecord::of(&message));
                            self.warn("a record cannot be read yet, and all later ones wait for it", &what);
                            break;
                        }
                    }
                    self.epoch_rows += 1;
                    (self.moved, self.untaken) = (true, true);
                    if self.is_spread_too_far() {
                        break;
                    }
                }
                Some(Err(KafkaNotice::End { partition, offset })) => self.reach_end(partition, offset),
                Some(Err(KafkaNotice::Error { code, reason })) => self.handle_error(code, &reason)?,
            }
        }
        let rows = self.epoch_rows - rows;
        if rows > 0 {
            self.look_for_ends();
        }
        let bytes = (self.batch.decoder.bytes() - bytes) as u64 + rejected_bytes + rows * ROW_BYTES;
        self.epoch_bytes += bytes;
        self.uncommitted_bytes += bytes;
        Ok(rows > 0)
    }

    /// Handles the end of a partition, with the holes before it.
    fn reach_end(&mut self, partition: i32, offset: i64) {
        let Some(state) = find(&mut self.partitions, partition) else { return };
        state.ended = true;
        if state.skip_to(offset) {
            (self.moved, self.untaken) = (true, true);
        }
    }

    /// A fetch carries the end of its partition. librdkafka's end-of-partition event comes only
    /// with the next fetch, for which the broker waits half a second.
    fn look_for_ends(&mut self) {
        for state in self.partitions.iter_mut().filter(|state| !state.ended) {
            let end = self.receiver.fetched_end(&self.broker.topic, state.report.partition);
            state.ended = end.is_some_and(|end| state.is_at(end));
        }
    }

    /// Begins to read partitions that were added to the topic.
    fn add_found_partitions(&mut self) -> Result<()> {
        let found = self.share.found.since(&mut self.found);
        let (before, topic) = (self.partitions.len(), &self.broker.topic);
        for (partition, start) in found.into_iter().filter(|(partition, _)| self.share.owns(*partition)) {
            info!(topic, partition, start, "a partition was added to the topic; reading it too");
            self.partitions.push(Partition::new(partition, start, None));
            // Even an empty partition counts as progress, so that the lake records its start.
            (self.moved, self.untaken) = (true, true);
        }
        if self.partitions.len() > before { self.assign() } else { Ok(()) }
    }

    /// Logs errors that may pass, at most once an interval, while librdkafka retries. Fails on
    /// permanent ones. `discovery.rs` determines whether the topic is deleted.
    fn handle_error(&mut self, code: RDKafkaErrorCode, reason: &str) -> Result<()> {
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                self.recheck_at.get_or_insert_with(Instant::now);
            }
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::Authentication | RDKafkaErrorCode::Fatal => {
                return Err(anyhow!("topic {} cannot be read: {code}; {reason}", self.broker.topic));
            }
            // This error gives no cause; the other errors do.
            RDKafkaErrorCode::AllBrokersDown => {}
            _ => self.warn(UNANSWERED, &format!("{code}; {reason}")),
        }
        Ok(())
    }

    fn warn(&mut self, problem: &str, reason: &str) {
        if self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
            warn!(topic = self.broker.topic, reason, "{problem}");
            self.warned_at = Some(Instant::now());
        }
    }

    /// Removes and returns what was read since the last call. `None` if nothing was.
    pub fn take(&mut self) -> Option<Arc<Intake>> {
        if !std::mem::take(&mut self.untaken) {
            return None;
        }
        self.uncommitted = true;
        self.rejected.note(&self.batch.dead_letters);
        let plays = (self.batch.decoder.rows() > 0).then(|| self.batch.decoder.finish());
        Some(Arc::new(Intake {
            plays,
            dead_letters: std::mem::take(&mut self.batch.dead_letters),
            positions: self.partitions.iter().map(Partition::position).collect(),
            gaps: std::mem::take(&mut self.gaps),
        }))
    }

    /// Removes and returns when the oldest record since the last call was produced, in ms since
    /// 1970.
    pub fn take_oldest_ms(&mut self) -> Option<i64> {
        self.oldest_ms.take()
    }

    /// The report to worker 0 since the last one. `closed` as in [`KafkaReport::closed`].
    pub fn report(&mut self, closed: Option<(Epoch, i64)>) -> Report {
        Report::Kafka(KafkaReport {
            worker: self.share.worker,
            closed,
            moved: std::mem::take(&mut self.moved),
            times: self.batch.times.take(),
            caught_up: self.partitions.iter().all(|state| state.ended),
            uncommitted: self.uncommitted || self.untaken,
            uncommitted_bytes: self.held_bytes(),
            uncommitted_files: self.batch.spread.files(),
            partitions: self.partitions.iter().map(|state| state.report.clone()).collect(),
            rejected: self.rejected.take(),
        })
    }
}

/// The state of a partition, if it is owned. Only owned partitions are assigned.
fn find(partitions: &mut [Partition], partition: i32) -> Option<&mut Partition> {
    partitions.iter_mut().find(|state| state.report.partition == partition)
}
