//! Shows a run to people: as a live table in a terminal, or as a line of the log when something has
//! changed.

mod lines;

mod transactions;
mod window;

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;
use reprise_dataflows::time::instant_name;
use tracing::{info, warn};

use lines::Lines;

use super::output::table::fitted;
use super::output::{emphasised, screen_size};
use super::screen::{in_place, live_screen};
use crate::kafka::{Consumer, Extent, TopicConfig};
use crate::process::threads::Background;
use crate::source::lake::ReadProgress;
use crate::state::{State, Status};
use crate::text::grouped;
use transactions::Transactions;
pub use transactions::warn_of_rest;
use window::{Counts, WindowWatch};

const INTERVAL: Duration = Duration::from_secs(1);
/// Kafka counts as silent once it has not answered for this long: a broker that restarts or moves
/// its partitions may not answer for a moment.
const SILENT_MIN: Duration = Duration::from_secs(5);
/// After this number of partitions without an answer no more are asked, since each one takes its
/// whole timeout.
const FAILURES_MAX: usize = 3;

/// Whether standard error is a terminal on which a live table can be drawn. A dumb terminal cannot
/// be drawn on.
pub fn has_screen() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Starts a thread that shows a run over `broker`'s topic once a second, until the result is
/// dropped. `progress` is how far the run has read its lake; `notes` are lines below the live
/// table.
///
/// # Errors
/// If the thread cannot be started.
pub fn monitor(
    state: Arc<State>,
    broker: TopicConfig,
    progress: Arc<ReadProgress>,
    notes: Vec<String>,
) -> Result<Background> {
    let watch = move |stop: &AtomicBool| {
        let (consumer, transactions, silent, window, last, lines) = Default::default();
        Monitor { state, broker, progress, notes, consumer, transactions, silent, window, last, lines }.run(stop);
    };
    Background::start("reprise-monitor", watch)
}

struct Monitor {
    state: Arc<State>,
    broker: TopicConfig,
    progress: Arc<ReadProgress>,
    notes: Vec<String>,
    consumer: Option<Consumer>,
    transactions: Transactions,
    /// Since when Kafka has not answered; none if it answers.
    silent: Option<(Instant, Timestamp)>,
    window: WindowWatch,
    /// When plays were last counted, and how many there were.
    last: Option<(Instant, u64)>,
    lines: Lines,
}

impl Monitor {
    fn run(&mut self, done: &AtomicBool) {
        let has_screen = has_screen();
        if has_screen {
            eprint!("\x1b[2J");
        }
        while !done.load(Ordering::Relaxed) {
            self.fetch_ends();
            self.measure();
            self.show(has_screen, false);
            std::thread::park_timeout(INTERVAL);
        }
        self.measure();
        self.show(has_screen, true);
    }

    fn show(&mut self, has_screen: bool, is_last: bool) {
        if has_screen {
            self.draw();
        } else {
            self.log(is_last);
        }
    }

    /// Asks the brokers where the partitions end, and notes the answer in the status.
    fn fetch_ends(&mut self) {
        let partitions: Vec<i32> = self.state.status().partitions.iter().map(|state| state.partition).collect();
        if self.consumer.is_none() {
            self.consumer = self.broker.metadata_consumer().ok();
        }
        let Some(consumer) = &self.consumer else { return };
        match self.extents(consumer, &partitions) {
            Ok(extents) => {
                if self.silent.take().is_some_and(|(since, _)| since.elapsed() >= SILENT_MIN) {
                    info!("Kafka answers again");
                }
                let open = self.transactions.look(&self.broker, &extents, INTERVAL / 2);
                let all_answer = partitions.iter().all(|partition| extents.contains_key(partition));
                let all_seen = all_answer && !partitions.is_empty() && !self.transactions.any_hidden();
                self.state.set_extents(&extents, open, all_seen);
            }
            Err(error) => {
                self.state.set_all_seen(false);
                let (since, at) = *self.silent.get_or_insert_with(|| (Instant::now(), Timestamp::now()));
                if since.elapsed() >= SILENT_MIN {
                    let reason = format!("Kafka has not answered since {at:.0}: {error:#}");
                    if self.state.status().kafka_silent.is_none() {
                        warn!("{reason}");
                    }
                    self.state.set_kafka_silent(reason);
                }
            }
        }
    }

    /// The extents of the partitions that answer. Fails if none of them answers.
    fn extents(&self, consumer: &Consumer, partitions: &[i32]) -> Result<BTreeMap<i32, Extent>> {
        let (mut extents, mut failures) = (BTreeMap::new(), Vec::new());
        for partition in partitions {
            match self.broker.extents(consumer, &[*partition], INTERVAL / 2) {
                Ok(extent) => extents.extend(extent),
                Err(error) => failures.push(error),
            }
            if failures.len() == FAILURES_MAX {
                break;
            }
        }
        match failures.into_iter().next() {
            Some(error) if extents.is_empty() => Err(error),
            _ => Ok(extents),
        }
    }

    fn measure(&mut self) {
        let mut status = self.state.status_mut();
        let now = (Instant::now(), status.accepted);
        let last = self.last.replace(now).unwrap_or(now);
        let seconds = now.0.duration_since(last.0).as_secs_f64();
        status.plays_per_second = if seconds > 0.0 { (now.1 - last.1) as f64 / seconds } else { 0.0 };
        let totals = &self.state.metrics.totals;
        let (missed, missed_by_us) = (totals.window_misses.load(), totals.missed_by_us.load());
        self.window.look(&mut status, Counts { plays: now.1, missed, missed_by_us });
        if now.1 == last.1 {
            // Without new plays, the charts are neither fresh nor stale.
            status.freshness_ms = None;
        }
    }

    fn draw(&self) {
        let (width, height) = screen_size().unwrap_or((80, 24));
        let height = height.saturating_sub(self.notes.len() as u16 + 1);
        let screen = live_screen(&self.state.charts(), &self.state.status(), width, height);
        let mut screen = emphasised(screen, &std::io::stderr());
        if let Some(rebuilding) = self.rebuilding() {
            screen.push_str(&rebuilding);
            screen.push('\n');
        }
        let status = self.state.status();
        let waiting = status
            .open_transaction
            .map(|open| format!("{} records wait behind a transaction that has not ended", open.records));
        let ahead = status
            .clock_ahead_ms
            .map(|ms| format!("the clock is {} s ahead of this machine's: see --reset-clock", ms / 1000));
        let [paused, silent, no_plays] = [&status.paused, &status.kafka_silent, &status.no_plays].map(Clone::clone);
        drop(status);
        for reason in [paused, silent, no_plays, waiting, ahead].iter().flatten() {
            screen.push_str(&fitted(reason, Some(width)));
            screen.push('\n');
        }
        for note in &self.notes {
            screen.push_str(&fitted(note, Some(width)));
            screen.push('\n');
        }
        let _ = std::io::stderr().write_all(in_place(&screen).as_bytes());
    }

    fn log(&mut self, is_last: bool) {
        let (now, status) = (Instant::now(), self.state.status().clone());
        if self.lines.warning_is_due(now, &status) {
            self.warn_of_dead_letters(&status);
        }
        let (rows, of) = (self.progress.rows.load(Ordering::Relaxed), self.progress.rows_total);
        if !self.lines.line_is_due(now, &status, rows, is_last) {
            return;
        }
        if !status.ready && of > 0 {
            info!(plays = rows, of, "reading the charts from the lake");
            return;
        }
        info!(
            plays_per_second = status.plays_per_second.round() as u64,
            accepted = status.accepted,
            dead_letters = status.dead_letters.values().sum::<u64>(),
            lag = status.lag,
            lake_plays = status.lake_plays,
            lake_version = status.lake_version,
            clock = status.clock_us.map(instant_name),
            exchanged_bytes = (status.processes > 1).then_some(status.exchanged_bytes),
            "counted"
        );
    }

    fn warn_of_dead_letters(&self, status: &Status) {
        const NEXT: &str = "`LAKE/dead_letters` keeps them; docs/your-own-events.md says what a valid play is";
        if let Some(no_plays) = &status.no_plays {
            return warn!("{no_plays}. {NEXT}");
        }
        if let Some(most) = self.state.most_rejected(status) {
            let dead_letters = status.dead_letters.values().sum::<u64>();
            warn!(dead_letters, accepted = status.accepted, "some records are no plays: mostly {}. {NEXT}", most.text);
        }
    }

    fn rebuilding(&self) -> Option<String> {
        let rows = self.progress.rows.load(Ordering::Relaxed);
        let ready = self.state.ready.load(Ordering::Relaxed);
        let total = self.progress.rows_total;
        (!ready && total > 0)
            .then(|| format!("reading the charts from the lake: {} of {} plays", grouped(rows), grouped(total)))
    }
}
