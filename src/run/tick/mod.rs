//! Worker 0's decisions: when an epoch begins, which clock it has, which source reads, and where a
//! commit cuts.
//!
//! [`Ticker`] does no I/O and reads no clock, so tests can drive it with any sequence of reports
//! and times.
//!
//! - An epoch begins when the one before the last is complete and something has arrived, so epochs
//!   are as short as the system can sustain. On average at most one begins each
//!   [`Pace::epoch_min`], with bursts of up to [`EPOCHS_AT_ONCE`], so that arrivals at irregular
//!   times rarely wait. When nothing arrives, one begins each [`Pace::epoch_max`], except in a
//!   replay.
//! - The clock follows the event times of the plays. It never passes the wall clock and never goes
//!   back in a run.
//!   - Event time is counted in buckets of a tenth of the trending window. The *home* is the bucket
//!     that the crowd has reached, and the *lead* is half a window. The home moves up to a bucket
//!     when enough plays support it, in that bucket or within the lead after it: half as many as
//!     lie within the lead before the home, where five always suffice in a small crowd and one in
//!     ten is required in a large one. That is more than one phone plays. Plays with the same event
//!     time count once until a bucket has five different times, so a record that is sent again does
//!     not support itself. The first plays of an empty lake set the home.
//!   - The clock is the latest event time that is at most the lead beyond the home. A single play
//!     therefore empties at most half of the window, and where plays are few the clock is that of
//!     the last one. A play beyond the lead is an *outlier*: it is remembered until others
//!     support it or the clock comes near. Ten consecutive reports with only outliers move the home
//!     too.
//!   - The clock also advances while nothing is played: after [`Pace::idle`] without a play other
//!     than outliers, it advances by the monotonic time since the last one, so a wall clock that is
//!     wrong for a moment cannot move it. It stops while Kafka may hold unread plays
//!     ([`Now::unread`]), because silence does not mean that nothing is played then.
//!   - A lake holds the clock of its last commit, and a run begins there. The plays in its window
//!     give the size of the crowd.
//! - The last epoch of a replay begins when everything that was read is in the charts, so that it
//!   can query the titles of their tracks.
//! - At most one commit is in flight. The next cut comes after [`Pace::commit_interval`], or when a
//!   worker holds [`Pace::buffer_bytes`] of uncommitted data.
//! - While history is read, the first cuts after a start come sooner and hold fewer files
//!   ([`files_max`]); each may take four times as long and hold four times as many files as the one
//!   before. A process that crashes again and again within seconds still makes progress this way;
//!   with a commit too large for it, every start would begin the same commit and none would finish
//!   it. One cut comes as soon as everything has been read.

use std::time::{Duration, Instant};

use reprise_dataflows::{CutPoint, Epoch, Stage, Tick};

use crate::intake::{CUT_GROWTH, files_max};
use crate::report::Report;
use crate::run::mode::Mode;
use crowd::Crowd;

mod crowd;

pub use crowd::clock_of_plays;

/// The size of a burst of epochs after a pause.
const EPOCHS_AT_ONCE: u32 = 4;

/// The time of the first cut after a start while history is read. Later ones grow by
/// [`CUT_GROWTH`].
const FIRST_CUT_AFTER: Duration = Duration::from_millis(250);

/// The intervals of epochs and commits.
#[derive(Clone, Debug)]
pub struct Pace {
    /// The average time from one epoch to the next at full load. Bursts of up to [`EPOCHS_AT_ONCE`]
    /// epochs come faster.
    pub epoch_min: Duration,
    /// Replaces `epoch_min` while the sources are behind: results cannot be fresh then, and longer
    /// epochs cost less.
    pub epoch_min_behind: Duration,
    /// The time from one epoch to the next when nothing arrives.
    pub epoch_max: Duration,
    /// The time from one cut to the next.
    pub commit_interval: Duration,
    /// The uncommitted bytes of one worker at which a cut is due.
    pub buffer_bytes: u64,
    /// The time without plays after which the clock advances by itself.
    pub idle: Duration,
    /// The length of the trending window in µs, which sets the width of the buckets of event time.
    pub window_us: i64,
    /// Stop when every partition has been read to its end. The clock then stays that of the last
    /// play.
    pub until_caught_up: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            epoch_min: Duration::from_millis(2),
            epoch_min_behind: Duration::from_millis(100),
            epoch_max: Duration::from_millis(200),
            commit_interval: Duration::from_secs(60),
            buffer_bytes: 64 << 20,
            idle: Duration::from_secs(30),
            window_us: 600_000_000,
            until_caught_up: false,
        }
    }
}

/// The inputs of a decision at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic time.
    pub instant: Instant,
    /// The wall clock, in µs since 1970.
    pub wall_us: i64,
    /// All epochs before this one are complete.
    pub complete_before: Epoch,
    /// No commit is in flight.
    pub committed: bool,
    /// A query waits for an epoch to answer it.
    pub has_queries: bool,
    /// Kafka may hold unread plays: it does not answer, records are waiting, or an open transaction
    /// hides them.
    pub unread: bool,
    /// A shutdown is requested.
    pub stop: bool,
}

/// Issues the ticks, from the reports of the workers and the time.
pub struct Ticker {
    mode: Mode,
    pace: Pace,
    last: Option<Tick>,
    before_last: Option<Epoch>,
    ticked_at: Option<Instant>,
    /// The time at which a full burst is available again: a token bucket, stored as the time when
    /// it is full.
    burst_full_at: Option<Instant>,
    cut_at: Option<Instant>,
    /// The number of cuts since the start.
    cuts: u32,
    /// A cut has been made after everything was read.
    has_cut_all: bool,
    played_at: Option<Instant>,
    /// The instant that the clock accounts for, whether it moved by plays or by time.
    clocked_at: Option<Instant>,
    first_epoch: Epoch,
    clock_us: Option<i64>,
    crowd: Crowd,
    workers: Vec<Worker>,
}

/// The last reports of a worker's sources.
#[derive(Clone, Default)]
struct Worker {
    rebuilt: bool,
    caught_up: bool,
    /// Plays were read or positions moved since the open epoch began.
    pending: bool,
    uncommitted: bool,
    uncommitted_bytes: u64,
    uncommitted_files: u64,
}

impl Ticker {
    /// Begins after `last_epoch`, at `clock_us`, the clock of the last commit in µs since 1970.
    pub fn new(mode: Mode, pace: Pace, workers: usize, last_epoch: Option<Epoch>, clock_us: Option<i64>) -> Self {
        let crowd = Crowd::new(pace.window_us, clock_us);
        Self {
            mode,
            pace,
            last: None,
            before_last: None,
            ticked_at: None,
            burst_full_at: None,
            cut_at: None,
            cuts: 0,
            has_cut_all: false,
            played_at: None,
            clocked_at: None,
            first_epoch: last_epoch.map_or(0, |epoch| epoch + 1),
            clock_us,
            crowd,
            workers: vec![Worker::default(); workers],
        }
    }

    /// Applies one report.
    pub fn report(&mut self, report: &Report, now: Instant) {
        match report {
            Report::Lake(lake) => {
                let worker = &mut self.workers[lake.worker];
                worker.rebuilt |= lake.done;
                // The last report of a worker does not call for another epoch.
                worker.pending |= lake.rows > 0 && !lake.done;
                self.crowd.remember(&lake.times);
            }
            Report::Kafka(kafka) => {
                let worker = &mut self.workers[kafka.worker];
                worker.caught_up = kafka.caught_up;
                worker.pending |= kafka.moved;
                worker.uncommitted = kafka.uncommitted;
                worker.uncommitted_bytes = kafka.uncommitted_bytes;
                worker.uncommitted_files = kafka.uncommitted_files;
                if self.crowd.take(&kafka.times) || self.played_at.is_none() {
                    (self.played_at, self.clocked_at) = (Some(now), Some(now));
                }
            }
            Report::Process(_) => {}
        }
    }

    /// Whether all partitions have been read to their ends.
    pub fn caught_up(&self) -> bool {
        self.stage() == Stage::Live && self.workers.iter().all(|worker| worker.caught_up)
    }

    /// The stage of the last tick.
    pub fn stage(&self) -> Stage {
        self.last.map_or(Stage::Rebuild, |tick| tick.stage)
    }

    /// When the next commit is due. A past instant if it is late or in flight, `None` if there is
    /// nothing to commit.
    pub fn commit_due(&self, now: &Now) -> Option<Instant> {
        let uncommitted = self.workers.iter().any(|worker| worker.uncommitted);
        let due = || self.cut_at.unwrap_or(now.instant) + self.cut_interval();
        uncommitted.then(due).or_else(|| (!now.committed).then_some(now.instant))
    }

    /// Whether the last tick has been issued. Except in a replay it commits all that was read;
    /// nothing follows.
    pub fn is_over(&self) -> bool {
        self.last.is_some_and(|tick| tick.stage == Stage::Stop && (tick.cut.is_some() || self.mode.is_replay()))
    }

    /// The longest time after `now` that the caller may sleep without missing an epoch, unless a
    /// source reports or an epoch completes. A new query may wait this long.
    pub fn park_max(&self, now: Instant) -> Duration {
        let throttle = self.throttle(now);
        if self.is_pending() && self.caught_up() && !throttle.is_zero() { throttle } else { self.pace.epoch_max / 10 }
    }

    /// The time after `now` until the token bucket permits another epoch.
    fn throttle(&self, now: Instant) -> Duration {
        let full = self.burst_full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        full.saturating_sub(self.pace.epoch_min * (EPOCHS_AT_ONCE - 1))
    }

    /// Whether anything has arrived in the open epoch.
    fn is_pending(&self) -> bool {
        self.workers.iter().any(|worker| worker.pending)
    }

    /// The next tick, if it is due.
    pub fn next(&mut self, now: Now) -> Option<Tick> {
        if self.is_over() || !self.is_due(&now) {
            return None;
        }
        let stage = self.next_stage(now.stop);
        let clock_us = self.next_clock(stage, &now);
        let wall_ms = u64::try_from(now.wall_us / 1000).unwrap_or(0);
        let after = self.last.map_or(self.first_epoch, |last| last.epoch + 1);
        let tick = Tick { epoch: after.max(wall_ms), clock_us, stage, cut: self.next_cut(stage, &now) };
        self.before_last = self.last.map(|last| last.epoch);
        self.last = Some(tick);
        self.clock_us = clock_us;
        self.ticked_at = Some(now.instant);
        self.burst_full_at =
            Some(self.burst_full_at.map_or(now.instant, |at| at.max(now.instant)) + self.pace.epoch_min);
        self.workers.iter_mut().for_each(|worker| worker.pending = false);
        Some(tick)
    }

    fn is_due(&self, now: &Now) -> bool {
        let (Some(last), Some(ticked_at)) = (self.last, self.ticked_at) else { return true };
        if self.before_last.is_some_and(|epoch| now.complete_before <= epoch) {
            return false;
        }
        if last.stage == Stage::Stop {
            return now.committed;
        }
        let leaving = self.next_stage(now.stop) != last.stage;
        if leaving && self.mode.is_replay() && !now.stop && now.complete_before <= last.epoch {
            return false;
        }
        let pending = now.has_queries || self.is_pending();
        let wait = match (leaving, pending) {
            (true, _) => Duration::ZERO,
            (false, true) if self.caught_up() => return self.throttle(now.instant).is_zero(),
            (false, true) => self.pace.epoch_min_behind,
            // A replay needs only the final result; each extra epoch would rank everything again.
            (false, false) if self.mode.is_replay() => return false,
            (false, false) => self.pace.epoch_max,
        };
        now.instant.duration_since(ticked_at) >= wait
    }

    fn next_stage(&self, stop: bool) -> Stage {
        let rebuilt = self.workers.iter().all(|worker| worker.rebuilt);
        match self.stage() {
            Stage::Stop => Stage::Stop,
            Stage::Rebuild if self.last.is_none() || !rebuilt => {
                if stop {
                    Stage::Stop
                } else {
                    Stage::Rebuild
                }
            }
            Stage::Rebuild if self.mode.is_replay() => Stage::Stop,
            _ if stop || (self.pace.until_caught_up && self.caught_up()) => Stage::Stop,
            _ => Stage::Live,
        }
    }

    fn next_clock(&mut self, stage: Stage, now: &Now) -> Option<i64> {
        if stage == Stage::Rebuild || self.mode.is_replay() || self.stage() == Stage::Stop {
            return self.clock_us;
        }
        let before_us = self.crowd.latest_us();
        self.crowd.follow();
        if self.crowd.latest_us() > before_us {
            // Outliers have found support. The time before they did has not passed at their clock.
            self.clocked_at = Some(now.instant);
        }
        let idle = self.played_at.is_some_and(|at| now.instant.duration_since(at) >= self.pace.idle);
        let advances = idle && stage == Stage::Live && self.caught_up() && !self.pace.until_caught_up && !now.unread;
        if advances && let (Some(clock_us), Some(since)) = (self.clock_us, self.clocked_at.replace(now.instant)) {
            let passed_us = i64::try_from(now.instant.duration_since(since).as_micros()).unwrap_or(i64::MAX);
            let advanced_us = clock_us.saturating_add(passed_us).min(now.wall_us).max(clock_us);
            self.crowd.advanced(advanced_us);
            self.clock_us = Some(advanced_us);
        }
        self.clock_us.max(self.crowd.latest_us().map(|event_us| event_us.min(now.wall_us)))
    }

    /// Whether a worker holds the most that one commit may hold.
    fn is_full(&self) -> bool {
        let files_max = files_max(self.cuts);
        let is_full = |worker: &Worker| {
            worker.uncommitted_bytes >= self.pace.buffer_bytes || worker.uncommitted_files >= files_max
        };
        self.workers.iter().any(is_full)
    }

    /// The time from the last cut to the next one.
    fn cut_interval(&self) -> Duration {
        if self.has_cut_all {
            return self.pace.commit_interval;
        }
        if self.caught_up() {
            return Duration::ZERO;
        }
        let growth = CUT_GROWTH.saturating_pow(self.cuts);
        FIRST_CUT_AFTER.saturating_mul(growth).min(self.pace.commit_interval)
    }

    /// A cut, if there is something to commit and it is due, and always before the run ends.
    fn next_cut(&mut self, stage: Stage, now: &Now) -> Option<CutPoint> {
        let last = self.last.filter(|last| last.stage != Stage::Rebuild)?;
        let cut_at = *self.cut_at.get_or_insert(now.instant);
        let uncommitted = self.workers.iter().any(|worker| worker.uncommitted);
        // Everything is committed already, so the cut that follows the end of the history is not
        // needed.
        self.has_cut_all |= self.caught_up() && !uncommitted && self.cuts > 0;
        let due = self.is_full() || now.instant.duration_since(cut_at) >= self.cut_interval();
        let leaving = last.stage == Stage::Stop;
        // Plays are not committed without a clock: a replay could not determine the window that was
        // served.
        let clockless = last.clock_us.is_none() && self.crowd.latest_us().is_some();
        if !now.committed
            || (clockless && !leaving)
            || self.mode.is_replay()
            || !(leaving || (uncommitted && due && stage == Stage::Live))
        {
            return None;
        }
        self.cut_at = Some(now.instant);
        self.cuts = self.cuts.saturating_add(1);
        self.has_cut_all |= self.caught_up();
        Some(CutPoint { epoch: last.epoch, clock_us: last.clock_us })
    }
}

#[cfg(test)]
mod tests;
