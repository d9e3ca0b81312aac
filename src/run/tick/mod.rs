//! Worker 0's decisions: when an epoch begins, what its clock is, which source reads, and where a commit cuts.
//!
//! [`Ticker`] does no I/O and looks at no clock of its own, so that its rules can be tested by telling it stories.
//!
//! - An epoch begins when the one before the last is complete and something has arrived, so epochs are as short as the system can
//!   keep up with. On average at most one begins each [`Pace::epoch_min`], but some may follow each other at once: what arrives at
//!   no steady beat seldom waits. When nothing arrives, one begins each [`Pace::epoch_max`], but not in a replay.
//! - The clock follows the event times of the plays. Nothing moves it past the wall clock, and it never goes back in a run.
//!   - Event time is counted in buckets of a tenth of the trending window. The *home* is the bucket that the crowd has reached. It moves
//!     up to a bucket when enough plays lie there or within the *lead*, half a window, beyond it: half as many as lie within the lead
//!     before the home, where five are always enough in a small crowd and one in ten is needed in a great one: more than one
//!     phone plays. Plays of the same time are one, until there are five times: a record that is sent again is no company for
//!     itself. The first plays of an empty lake set it.
//!   - The clock is the latest event time up to the lead beyond the home. So a single play takes away half of the window at most, and
//!     where there are few plays the clock is that of the last one. A play beyond the lead is *astray*: it is remembered until
//!     others keep it company or the clock comes near by itself. Ten reports in a row with nothing else move the home too.
//!   - The clock also moves while nothing is played: after [`Pace::idle`] without a play that is not astray it advances by the
//!     monotonic time since the last one. So a wall clock that is wrong for a moment cannot move it. It stays where Kafka
//!     may hold plays that have not been read ([`Now::unread`]): silence is not idleness then.
//!   - A lake holds the clock of its last commit, and a run begins there; the plays of its window say how large the crowd is.
//! - A replay's last epoch begins when all that it has read is in the charts, so that one can ask what their tracks are called.
//! - One commit is in flight at most. The next cut comes after [`Pace::commit_interval`], or when a worker holds
//!   [`Pace::buffer_bytes`] that are not committed.
//! - While history is read the first cuts after a start come sooner and hold fewer files ([`files_max`]), and each may take four
//!   times as long and as many as the one before. So a process that dies again and again within seconds gets on: a commit that
//!   is too large for it would be begun by each and finished by none. One cut comes as soon as everything has been read.

use std::time::{Duration, Instant};

use reprise_dataflows::{CutPoint, Epoch, Stage, Tick};

use crate::intake::{CUT_GROWTH, files_max};
use crate::report::Report;
use crowd::Crowd;

mod crowd;

pub use crowd::clock_of_plays;

/// Epochs that may begin one right after the other when there was none for a while.
const EPOCHS_AT_ONCE: u32 = 4;

/// The first cut after a start, while history is read: after so long, or when a worker has plays of so many hours.
const FIRST_CUT_AFTER: Duration = Duration::from_millis(250);

/// How often things happen.
#[derive(Clone, Debug)]
pub struct Pace {
    /// From one epoch to the next, on average; up to [`EPOCHS_AT_ONCE`] that have not been needed may follow each other sooner.
    pub epoch_min: Duration,
    /// Instead of `epoch_min` while the sources are behind: freshness is out of reach then, and longer epochs cost less.
    pub epoch_min_behind: Duration,
    pub epoch_max: Duration,
    pub commit_interval: Duration,
    /// Of one worker.
    pub buffer_bytes: u64,
    /// How long there must be no play before the clock advances by itself.
    pub idle: Duration,
    /// The length of the trending window, which says what is far in event time.
    pub window_us: i64,
    /// Stop when every partition has been read to its end. The clock stays that of the last play then.
    pub until_caught_up: bool,
    /// Read the lake only, at a fixed clock.
    pub replay: bool,
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
            replay: false,
        }
    }
}

/// What the ticker has to know of the moment at which it is asked.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub instant: Instant,
    pub wall_us: i64,
    /// All epochs before this one are complete.
    pub complete_before: Epoch,
    /// No commit is in flight.
    pub committed: bool,
    /// Somebody has asked something, and an epoch will answer it.
    pub asked: bool,
    /// Kafka may hold plays that have not been read, as far as is known: it does not answer, they wait, or a transaction hides them.
    pub unread: bool,
    /// The user wants to leave.
    pub stop: bool,
}

pub struct Ticker {
    pace: Pace,
    last: Option<Tick>,
    before_last: Option<Epoch>,
    ticked_at: Option<Instant>,
    /// When as many epochs as may follow each other at once have not been needed (a token bucket, kept as the time at which it is full).
    rested_at: Option<Instant>,
    cut_at: Option<Instant>,
    /// Since the start.
    cuts: u32,
    /// A cut has been made after everything had been read.
    has_cut_all: bool,
    played_at: Option<Instant>,
    /// Up to when the clock has followed the time that passes, by plays or without.
    clocked_at: Option<Instant>,
    first_epoch: Epoch,
    clock_us: Option<i64>,
    crowd: Crowd,
    workers: Vec<Worker>,
}

/// What a worker's sources have last reported.
#[derive(Clone, Default)]
struct Worker {
    rebuilt: bool,
    caught_up: bool,
    /// Plays or positions have moved since the open epoch began.
    pending: bool,
    uncommitted: bool,
    uncommitted_bytes: u64,
    uncommitted_files: u64,
}

impl Ticker {
    /// Begins after `last_epoch`, at the clock of the last commit.
    pub fn new(pace: Pace, workers: usize, last_epoch: Option<Epoch>, clock_us: Option<i64>) -> Self {
        let crowd = Crowd::new(pace.window_us, clock_us);
        Self {
            pace,
            last: None,
            before_last: None,
            ticked_at: None,
            rested_at: None,
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

    /// Takes in what has been reported.
    pub fn report(&mut self, report: &Report, now: Instant) {
        match report {
            Report::Lake(lake) => {
                let worker = &mut self.workers[lake.worker];
                worker.rebuilt |= lake.done;
                // What has been read to its end does not wait for an epoch.
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

    pub fn stage(&self) -> Stage {
        self.last.map_or(Stage::Rebuild, |tick| tick.stage)
    }

    /// When the next commit is due: a moment that has passed while it is late or under way, `None` when there is nothing to
    /// commit.
    pub fn commit_due(&self, now: &Now) -> Option<Instant> {
        let uncommitted = self.workers.iter().any(|worker| worker.uncommitted);
        let due = || self.cut_at.unwrap_or(now.instant) + self.cut_interval();
        uncommitted.then(due).or_else(|| (!now.committed).then_some(now.instant))
    }

    /// Whether the last tick has been minted: what was read is to be committed, and nothing more is to come.
    pub fn is_over(&self) -> bool {
        self.last.is_some_and(|tick| tick.stage == Stage::Stop && (tick.cut.is_some() || self.pace.replay))
    }

    /// How long nothing will be due after `now`, unless a source reports or an epoch is complete. Who asks something may wait as long.
    pub fn patience(&self, now: Instant) -> Duration {
        let rest = self.rest(now);
        if self.is_pending() && self.caught_up() && !rest.is_zero() { rest } else { self.pace.epoch_max / 10 }
    }

    /// How long after `now` epochs have been too many for another.
    fn rest(&self, now: Instant) -> Duration {
        let full = self.rested_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        full.saturating_sub(self.pace.epoch_min * (EPOCHS_AT_ONCE - 1))
    }

    /// Whether the open epoch has brought something.
    fn is_pending(&self) -> bool {
        self.workers.iter().any(|worker| worker.pending)
    }

    /// The next tick, if it is time for it.
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
        self.rested_at = Some(self.rested_at.map_or(now.instant, |at| at.max(now.instant)) + self.pace.epoch_min);
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
        if leaving && self.pace.replay && !now.stop && now.complete_before <= last.epoch {
            return false;
        }
        let pending = now.asked || self.is_pending();
        let wait = match (leaving, pending) {
            (true, _) => Duration::ZERO,
            (false, true) if self.caught_up() => return self.rest(now.instant).is_zero(),
            (false, true) => self.pace.epoch_min_behind,
            // A replay is one epoch: each one more would rank again what the one before has ranked.
            (false, false) if self.pace.replay => return false,
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
            Stage::Rebuild if self.pace.replay => Stage::Stop,
            _ if stop || (self.pace.until_caught_up && self.caught_up()) => Stage::Stop,
            _ => Stage::Live,
        }
    }

    fn next_clock(&mut self, stage: Stage, now: &Now) -> Option<i64> {
        if stage == Stage::Rebuild || self.pace.replay || self.stage() == Stage::Stop {
            return self.clock_us;
        }
        self.crowd.follow();
        let idle = self.played_at.is_some_and(|at| now.instant.duration_since(at) >= self.pace.idle);
        let drains = idle && stage == Stage::Live && self.caught_up() && !self.pace.until_caught_up && !now.unread;
        if drains && let (Some(clock_us), Some(since)) = (self.clock_us, self.clocked_at.replace(now.instant)) {
            let passed_us = i64::try_from(now.instant.duration_since(since).as_micros()).unwrap_or(i64::MAX);
            let drained_us = clock_us.saturating_add(passed_us).min(now.wall_us).max(clock_us);
            self.crowd.drained(drained_us);
            self.clock_us = Some(drained_us);
        }
        self.clock_us.max(self.crowd.latest_us().map(|event_us| event_us.min(now.wall_us)))
    }

    /// Whether a worker holds as much as a commit is to have.
    fn is_full(&self) -> bool {
        let files_max = files_max(self.cuts);
        let is_full = |worker: &Worker| {
            worker.uncommitted_bytes >= self.pace.buffer_bytes || worker.uncommitted_files >= files_max
        };
        self.workers.iter().any(is_full)
    }

    /// How long after the last cut the next one is due.
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

    /// A cut, if there is something to commit and it is time, and always before leaving.
    fn next_cut(&mut self, stage: Stage, now: &Now) -> Option<CutPoint> {
        let last = self.last.filter(|last| last.stage != Stage::Rebuild)?;
        let cut_at = *self.cut_at.get_or_insert(now.instant);
        let uncommitted = self.workers.iter().any(|worker| worker.uncommitted);
        // Nothing is left for the cut that comes as soon as everything has been read.
        self.has_cut_all |= self.caught_up() && !uncommitted && self.cuts > 0;
        let due = self.is_full() || now.instant.duration_since(cut_at) >= self.cut_interval();
        let leaving = last.stage == Stage::Stop;
        // Plays are not committed without a clock: a replay could not tell which window was served.
        let clockless = last.clock_us.is_none() && self.crowd.latest_us().is_some();
        if !now.committed
            || (clockless && !leaving)
            || self.pace.replay
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
