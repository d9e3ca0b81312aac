//! Realistic traffic: plays of invented songs, sent to a Kafka topic.
//!
//! [`Plays`](plays::Plays) generates the records and is pure: they depend on a seed and on the
//! given times alone. [`send`] sends them to Kafka at a rate, pauses while it is told to hold, and
//! stops on request.

mod catalogue;
mod flaws;
mod names;
mod pace;
pub mod plays;
mod popularity;
mod producer;
mod random;
#[cfg(test)]
mod tests;
mod timeline;
mod traffic;
mod transcript;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

pub use catalogue::SONGS_MAX;
use pace::Pace;
use plays::{Plays, RecordKind};
use producer::Producer;
pub use traffic::{BURST_MAX, SendProgress, Summary, Traffic};
use transcript::Transcript;

use crate::kafka::topics as topic;

/// The event-time distance of live plays in µs when the mix has a start and there is no rate limit.
/// No sender reaches a million plays a second, so event time advances more slowly than the wall
/// clock, as it does with a rate limit.
const STEP_WITHOUT_RATE_US: f64 = 1.0;
/// The interval of progress reports.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// The longest sleep, so that a stop is noticed soon.
const SLEEP_MAX: Duration = Duration::from_millis(20);
const SLEEP_MIN: Duration = Duration::from_millis(1);

/// Sends `traffic` to `brokers` until it is complete or `stop` is set, and returns once all records
/// that were sent are delivered.
///
/// `hold` is called before each burst of at most [`BURST_MAX`] records, with the number of records
/// sent to each partition so far: while it returns true, nothing is sent. `progress` is called some
/// five times a second.
///
/// # Errors
/// If the brokers cannot be reached, the topic cannot be created, a record cannot be delivered, or
/// the copy cannot be written.
pub fn send(
    traffic: &Traffic,
    brokers: &str,
    stop: &AtomicBool,
    mut hold: impl FnMut(&[u64]) -> bool,
    mut progress: impl FnMut(&SendProgress),
) -> Result<Summary> {
    let mut run = Run::start(traffic, brokers)?;
    let (started, mut told) = (Instant::now(), Instant::now());
    let mut pace = Pace::new(traffic.rate);
    while !stop.load(Ordering::Relaxed) && !run.producer.failed() {
        let now = Instant::now();
        if now - told >= PROGRESS_EVERY {
            told = now;
            progress(&run.progress(now - started));
        }
        let left = traffic.count.map_or(u64::MAX, |count| count.saturating_sub(run.summary.sent));
        if left == 0 || traffic.duration.is_some_and(|duration| now - started >= duration) {
            break;
        }
        run.producer.poll();
        if hold(&run.summary.partitions) {
            std::thread::sleep(SLEEP_MIN);
            continue;
        }
        let history = run.plays.history_left();
        let due = if history > 0 { history } else { pace.due(now) };
        let burst = due.min(left).min(BURST_MAX);
        if burst == 0 {
            std::thread::sleep(pace.wait(now).clamp(SLEEP_MIN, SLEEP_MAX));
        } else if history == 0 {
            pace.give(burst);
        }
        run.burst(burst)?;
    }
    let last = run.progress(started.elapsed());
    let summary = run.finish(started)?;
    progress(&SendProgress { elapsed: summary.elapsed, ..last });
    Ok(summary)
}

/// The state of a run.
struct Run {
    producer: Producer,
    plays: Plays,
    /// The partition of each song, by its index in the catalogue.
    partitions: Vec<u32>,
    transcript: Option<Transcript>,
    value: Vec<u8>,
    count: Option<u64>,
    summary: Summary,
}

impl Run {
    fn start(traffic: &Traffic, brokers: &str) -> Result<Self> {
        let producer = Producer::connect(brokers, traffic)?;
        let transcript = traffic.out.as_deref().map(Transcript::create).transpose()?;
        let live_step_us = traffic.rate.map_or(STEP_WITHOUT_RATE_US, |rate| 1e6 / rate);
        let mut mix = traffic.mix.clone();
        if traffic.history_once && mix.history.is_some() && producer.has_records()? {
            tracing::warn!("topic '{}' has records already, so the history is left out", traffic.topic);
            mix.history = None;
        }
        let plays = Plays::new(mix, now_us(), live_step_us);
        let partition = |song| topic::partition_of(plays.catalogue().id(song), producer.partitions()) as u32;
        Ok(Self {
            partitions: (0..plays.catalogue().songs()).map(partition).collect(),
            summary: Summary { partitions: vec![0; producer.partitions()], ..Summary::default() },
            producer,
            plays,
            transcript,
            value: Vec::new(),
            count: traffic.count,
        })
    }

    fn burst(&mut self, records: u64) -> Result<()> {
        // The clock is read once for the whole burst, which is sent within a millisecond.
        let now_us = now_us();
        for _ in 0..records {
            let record = self.plays.next(now_us, &mut self.value);
            let partition = self.partitions[record.song] as usize;
            let key = self.plays.catalogue().id(record.song);
            let value = (record.kind != RecordKind::Tombstone).then_some(self.value.as_slice());
            self.producer.push(partition, key, value);
            if let Some(transcript) = &mut self.transcript {
                transcript.record(record.kind, partition, key, &self.value)?;
            }
            self.summary.add(record.kind, partition, value.map_or(0, <[u8]>::len));
        }
        self.producer.send()
    }

    fn progress(&self, elapsed: Duration) -> SendProgress {
        SendProgress { sent: self.summary.sent, count: self.count, history_left: self.plays.history_left(), elapsed }
    }

    fn finish(self, started: Instant) -> Result<Summary> {
        self.producer.finish(self.summary.sent)?;
        let elapsed = started.elapsed();
        self.transcript.map(Transcript::finish).transpose()?;
        Ok(Summary { elapsed, ..self.summary })
    }
}

/// The wall clock, in µs since 1970.
fn now_us() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
