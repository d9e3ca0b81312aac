//! Kafka → plays: an operator over ticks that reads the partitions that its worker owns.
//!
//! It holds the capability of the newest tick, stamps with it what it reads, and gives it back at the next tick. So a cut
//! is the same for all workers: what was read before its tick is in, and what is read after it is out.
//!
//! Every offset is accounted for: it is a play, a dead letter, or a hole. At the end of a partition the consumer's
//! position tells of the holes that no record comes after.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};
use reprise_dataflows::{Epoch, Stage, Tick};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use tracing::warn;

use super::json::{Decoder, Record};
use super::{Intake, KafkaReport, PartitionReport, Report, Source};
use crate::broker::{Broker, Consumer};
use crate::lake::DeadLetter;

/// Rows of one batch: enough to spread its cost, few enough to stay in the processor's cache.
const BATCH_ROWS_MAX: usize = 16 << 10;
const BATCH_BYTES_MAX: usize = 8 << 20;
/// What one epoch may bring, on one worker.
const EPOCH_ROWS_MAX: u64 = 200_000;
const EPOCH_BYTES_MAX: u64 = 64 << 20;
/// What a play takes beside its texts: numbers, and where each text begins.
const ROW_BYTES: u64 = 64;
/// One turn of the operator, so that the worker's other operators get theirs.
const TURN_RECORDS_MAX: usize = 4096;
const TURN_BYTES_MAX: u64 = 4 << 20;
const TURN_MAX: Duration = Duration::from_millis(10);
/// How long to wait for records that have not come, at first and at most.
const WAIT_MIN: Duration = Duration::from_micros(500);
const WAIT_MAX: Duration = Duration::from_millis(8);
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// What one worker reads, and how much of it may be on the way to the lake.
#[derive(Clone, Debug)]
pub struct Share {
    pub worker: usize,
    /// Owned partitions, with the offset at which to begin.
    pub starts: Vec<(i32, i64)>,
    /// Reading waits for the next cut when so many bytes have been read since the last one.
    pub uncommitted_bytes_max: u64,
}

/// Reads a worker's `share` of `broker`'s topic, in the epochs that `ticks` begin. A partition that cannot be read goes to
/// `fail`, which does not return.
pub fn kafka<'scope>(
    ticks: StreamVec<'scope, Epoch, Tick>,
    broker: &Broker,
    share: Share,
    fail: impl Fn(anyhow::Error) + 'static,
) -> Result<Source<'scope>> {
    let mut reader = Reader::new(broker, share)?;
    let scope = ticks.scope();
    let mut builder = OperatorBuilder::new("Kafka".to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let mut input = builder.new_input(ticks, Pipeline);
    let (intakes_output, intakes) = builder.new_output::<Vec<Arc<Intake>>>();
    let (reports_output, reports) = builder.new_output::<Vec<Report>>();
    builder.build(move |_capabilities| {
        let mut intakes_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(intakes_output);
        let mut reports_output = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(reports_output);
        let mut open: Option<(Tick, Capability<Epoch>, Capability<Epoch>)> = None;
        let mut wait = WAIT_MIN;
        move |frontiers| {
            let mut ticked = Vec::new();
            input.for_each_stamp(|capability, data| {
                if let (Some(intake), Some(report)) = (capability.retain_least(0), capability.retain_least(1)) {
                    ticked.extend(
                        data.flat_map(|data| data.drain(..)).map(|tick| (tick, intake.clone(), report.clone())),
                    );
                }
            });
            ticked.sort_by_key(|(tick, ..)| tick.epoch);
            let (mut intakes, mut reports) = (intakes_output.activate(), reports_output.activate());
            for next in ticked {
                if let Some((tick, intake, report)) = open.take() {
                    intakes.session(&intake).give_iterator(reader.take().into_iter());
                    if tick.stage != Stage::Rebuild {
                        reports.session(&report).give(reader.report());
                    }
                }
                reader.begin(&next.0);
                open = Some(next);
            }
            if frontiers[0].is_empty() {
                open = None;
            }
            let Some((tick, intake, report)) = &open else { return };
            if tick.stage != Stage::Live || reader.is_full() {
                return;
            }
            let more = match reader.read() {
                Ok(more) => more,
                Err(error) => return fail(error),
            };
            if reader.decoder.rows() >= BATCH_ROWS_MAX || reader.decoder.bytes() >= BATCH_BYTES_MAX {
                intakes.session(intake).give_iterator(reader.take().into_iter());
            }
            if reader.moved && !std::mem::replace(&mut reader.announced, true) {
                reports.session(report).give(reader.report());
            }
            wait = if more { WAIT_MIN } else { (wait * 2).min(WAIT_MAX) };
            if more { activator.activate() } else { activator.activate_after(wait) }
        }
    });
    Ok(Source { intakes, reports })
}

/// A consumer of a worker's partitions, and what it has read of the open epoch.
struct Reader {
    consumer: Consumer,
    topic: String,
    share: Share,
    partitions: Vec<Partition>,
    decoder: Decoder,
    dead_letters: Vec<DeadLetter>,
    max_event_us: Option<i64>,
    /// Offsets have been passed since the last report.
    moved: bool,
    /// Worker 0 has been told that the open epoch has brought something.
    announced: bool,
    /// Offsets have been passed since positions were last taken.
    untaken: bool,
    epoch_rows: u64,
    epoch_bytes: u64,
    uncommitted: bool,
    uncommitted_bytes: u64,
    warned_at: Option<Instant>,
}

struct Partition {
    report: PartitionReport,
    /// The end has been reached at least once.
    ended: bool,
}

impl Reader {
    fn new(broker: &Broker, share: Share) -> Result<Self> {
        let consumer = broker.consumer()?;
        let mut assignment = TopicPartitionList::new();
        for (partition, start) in &share.starts {
            assignment.add_partition_offset(&broker.topic, *partition, Offset::Offset(*start))?;
        }
        consumer
            .assign(&assignment)
            .with_context(|| format!("cannot read the partitions of topic {}", broker.topic))?;
        let partition =
            |&(partition, start)| Partition { report: PartitionReport::new(partition, start), ended: false };
        let partitions = share.starts.iter().map(partition).collect();
        Ok(Self {
            consumer,
            topic: broker.topic.clone(),
            share,
            partitions,
            decoder: Decoder::new(),
            dead_letters: Vec::new(),
            max_event_us: None,
            moved: false,
            announced: false,
            untaken: false,
            epoch_rows: 0,
            epoch_bytes: 0,
            uncommitted: false,
            uncommitted_bytes: 0,
            warned_at: None,
        })
    }

    fn begin(&mut self, tick: &Tick) {
        (self.epoch_rows, self.epoch_bytes, self.announced) = (0, 0, false);
        if tick.cut.is_some() {
            (self.uncommitted, self.uncommitted_bytes) = (false, 0);
        }
    }

    fn is_full(&self) -> bool {
        self.epoch_rows >= EPOCH_ROWS_MAX
            || self.epoch_bytes >= EPOCH_BYTES_MAX
            || self.uncommitted_bytes >= self.share.uncommitted_bytes_max
    }

    /// Reads for a turn. Whether there was anything to read.
    fn read(&mut self) -> Result<bool> {
        let began = Instant::now();
        let (bytes, rows, mut rejected_bytes) = (self.decoder.bytes(), self.epoch_rows, 0);
        for record in 0..TURN_RECORDS_MAX {
            // Looking at the clock costs as much as a small record.
            let read_bytes = (self.decoder.bytes() - bytes) as u64 + rejected_bytes;
            if read_bytes > TURN_BYTES_MAX || (record % 256 == 255 && began.elapsed() > TURN_MAX) {
                break;
            }
            match self.consumer.poll(Duration::ZERO) {
                None => break,
                Some(Ok(message)) => {
                    let place = place(&self.partitions, message.partition());
                    let state = &mut self.partitions[place];
                    let max_event_us = &mut self.max_event_us;
                    rejected_bytes += accept(&message, state, &mut self.decoder, &mut self.dead_letters, max_event_us);
                    self.epoch_rows += 1;
                    (self.moved, self.untaken) = (true, true);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => self.end(partition)?,
                Some(Err(error)) => self.judge(error)?,
            }
        }
        let rows = self.epoch_rows - rows;
        let bytes = (self.decoder.bytes() - bytes) as u64 + rejected_bytes + rows * ROW_BYTES;
        self.epoch_bytes += bytes;
        self.uncommitted_bytes += bytes;
        Ok(rows > 0)
    }

    /// Takes note of the end of a partition, and of the holes before it.
    fn end(&mut self, partition: i32) -> Result<()> {
        let place = place(&self.partitions, partition);
        let state = &mut self.partitions[place];
        state.ended = true;
        let positions = self.consumer.position().context("cannot ask the consumer for its position")?;
        let position = positions.find_partition(&self.topic, partition).map(|found| found.offset());
        if let Some(Offset::Offset(position)) = position
            && position > state.report.next
        {
            state.report.skip_to(position);
            (self.moved, self.untaken) = (true, true);
        }
        Ok(())
    }

    /// Errors that pass are logged now and then, and librdkafka goes on trying; the others end the run.
    fn judge(&mut self, error: KafkaError) -> Result<()> {
        let topic = &self.topic;
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Err(anyhow!(
                "topic {topic} no longer has the offsets that the lake needs next ({error}): its retention has deleted \
                 plays that were not read, or the topic was made anew; give it more retention, and begin a new lake"
            )),
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::Fatal,
            ) => Err(anyhow!("topic {topic} cannot be read: {error}")),
            _ => {
                if self.warned_at.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                    let reason = self.consumer.context().explain(&error);
                    warn!(topic, reason, "Kafka does not answer as it should; trying on");
                    self.warned_at = Some(Instant::now());
                }
                Ok(())
            }
        }
    }

    /// What has been read and not been taken yet.
    fn take(&mut self) -> Option<Arc<Intake>> {
        if !std::mem::take(&mut self.untaken) {
            return None;
        }
        self.uncommitted = true;
        let plays = (self.decoder.rows() > 0).then(|| self.decoder.finish());
        let positions = self.partitions.iter().map(|state| (state.report.partition, state.report.next)).collect();
        Some(Arc::new(Intake { plays, dead_letters: std::mem::take(&mut self.dead_letters), positions }))
    }

    fn report(&mut self) -> Report {
        Report::Kafka(KafkaReport {
            worker: self.share.worker,
            moved: std::mem::take(&mut self.moved),
            max_event_us: self.max_event_us,
            caught_up: self.partitions.iter().all(|state| state.ended),
            uncommitted: self.uncommitted || self.untaken,
            uncommitted_bytes: self.uncommitted_bytes,
            partitions: self.partitions.iter().map(|state| state.report.clone()).collect(),
        })
    }
}

/// Where a partition's state is. Only owned partitions are assigned, so only they are heard of.
fn place(partitions: &[Partition], partition: i32) -> usize {
    partitions.iter().position(|state| state.report.partition == partition).unwrap_or(0)
}

/// Makes a play or a dead letter of a record. Gives the bytes that a dead letter keeps.
fn accept(
    message: &BorrowedMessage<'_>,
    state: &mut Partition,
    decoder: &mut Decoder,
    dead_letters: &mut Vec<DeadLetter>,
    max_event_us: &mut Option<i64>,
) -> u64 {
    let (partition, offset) = (message.partition(), message.offset());
    let timestamp_ms = message.timestamp().to_millis();
    state.report.pass(offset);
    match decoder.push(&Record { partition, offset, timestamp_ms, value: message.payload() }) {
        Ok(event_us) => {
            state.report.accepted += 1;
            *max_event_us = (*max_event_us).max(Some(event_us));
            0
        }
        Err(rejected) => {
            state.report.reject(rejected.reason);
            dead_letters.push(DeadLetter {
                partition,
                offset,
                kafka_timestamp_ms: timestamp_ms,
                reason: rejected.reason,
                detail: rejected.detail,
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
            });
            (message.key_len() + message.payload_len()) as u64
        }
    }
}
