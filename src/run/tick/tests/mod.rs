//! Scenarios for a ticker: a sequence of reports and times, and the ticks that follow.

mod clock;

use super::*;
use crate::report::times::EventTimes;
use crate::report::{KafkaReport, LakeReport};

const SECOND: Duration = Duration::from_secs(1);
const WALL_US: i64 = 1_795_400_000_000_000;

/// A ticker with two workers, and the inputs of its next decision.
struct Scenario {
    ticker: Ticker,
    now: Now,
}

fn times(of_us: &[i64]) -> EventTimes {
    let mut times = EventTimes::default();
    of_us.iter().for_each(|event_us| times.add(*event_us));
    times
}

impl Scenario {
    fn begin(pace: Pace, last_epoch: Option<Epoch>, clock_us: Option<i64>) -> Self {
        Self::of(Mode::Run(()), pace, last_epoch, clock_us)
    }

    fn of(mode: Mode, pace: Pace, last_epoch: Option<Epoch>, clock_us: Option<i64>) -> Self {
        let now = Now {
            instant: Instant::now(),
            wall_us: WALL_US,
            complete_before: 0,
            committed: true,
            has_queries: false,
            unread: false,
            stop: false,
        };
        Self { ticker: Ticker::new(mode, pace, 2, last_epoch, clock_us), now }
    }

    fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall_us += time.as_micros() as i64;
    }

    /// The next tick after `time`, with all earlier epochs complete.
    fn tick_after(&mut self, time: Duration) -> Option<Tick> {
        self.wait(time);
        self.now.complete_before = Epoch::MAX;
        self.ticker.next(self.now)
    }

    fn rebuilt(&mut self) {
        for worker in 0..2 {
            let report = Report::Lake(LakeReport { worker, rows: 0, times: EventTimes::default(), done: true });
            self.ticker.report(&report, self.now.instant);
        }
    }

    fn read(&mut self, worker: usize, event_us: i64, caught_up: bool) {
        let times = times(&[event_us]);
        let report = KafkaReport { worker, moved: true, times, caught_up, uncommitted: true, ..KafkaReport::default() };
        self.ticker.report(&Report::Kafka(report), self.now.instant);
    }

    fn live(pace: Pace) -> Self {
        let mut scenario = Self::begin(pace, None, None);
        assert_eq!(scenario.tick_after(Duration::ZERO).unwrap().stage, Stage::Rebuild);
        scenario.rebuilt();
        assert_eq!(scenario.tick_after(SECOND).unwrap().stage, Stage::Live);
        scenario
    }
}

/// An epoch is at least the wall clock in ms, and always greater than every committed epoch.
#[test]
fn epochs_grow() {
    let later = (WALL_US / 1000) as u64 + 5_000_000;
    let mut scenario = Scenario::begin(Pace::default(), Some(later), None);
    assert_eq!(scenario.tick_after(Duration::ZERO).unwrap().epoch, later + 1);
    scenario.rebuilt();
    assert_eq!(scenario.tick_after(SECOND).unwrap().epoch, later + 2);
}

/// The machine's clock is set back by an hour: epochs keep growing one by one and no clock goes
/// back. Once the hour has passed, both follow the wall clock again.
#[test]
fn the_wall_clock_is_set_back() {
    const HOUR: Duration = Duration::from_secs(3600);
    let mut scenario = Scenario::live(Pace { commit_interval: SECOND, idle: 2 * HOUR, ..Pace::default() });
    scenario.read(0, WALL_US, true);
    let mut last = scenario.tick_after(SECOND).unwrap();
    scenario.now.wall_us -= HOUR.as_micros() as i64;
    let mut cuts = 0;
    for _ in 0..100 {
        // The players' clocks are right, so their plays are ahead of this machine.
        scenario.read(1, last.clock_us.unwrap() + 1_000_000, true);
        let tick = scenario.tick_after(SECOND).unwrap();
        assert_eq!((tick.epoch, tick.clock_us), (last.epoch + 1, last.clock_us));
        if let Some(cut) = tick.cut {
            assert_eq!((cut.epoch, cut.clock_us), (last.epoch, last.clock_us));
            cuts += 1;
        }
        last = tick;
    }
    assert!(cuts > 50, "plays are committed as before: {cuts}");
    scenario.wait(HOUR);
    scenario.read(0, scenario.now.wall_us - 5, true);
    let tick = scenario.tick_after(SECOND).unwrap();
    assert_eq!(
        (tick.epoch, tick.clock_us),
        ((scenario.now.wall_us / 1000) as u64, Some(scenario.now.wall_us - 1_000_005))
    );
    assert!(tick.clock_us > last.clock_us);
}

/// No epoch begins while the one before the last is in progress.
#[test]
fn waits_for_the_epoch_before_the_last() {
    let mut scenario = Scenario::live(Pace::default());
    let first = scenario.tick_after(SECOND).unwrap();
    scenario.wait(SECOND);
    scenario.now.complete_before = first.epoch;
    let second = scenario.ticker.next(scenario.now).unwrap();
    scenario.wait(SECOND);
    assert_eq!(scenario.ticker.next(scenario.now), None);
    scenario.now.complete_before = second.epoch;
    assert!(scenario.ticker.next(scenario.now).is_some());
}

/// After a pause a burst of epochs follows at once. On average one begins every `epoch_min`
/// whatever arrives, and `park_max` lasts exactly until the next.
#[test]
fn epochs_come_in_bursts() {
    let mut scenario = Scenario::live(Pace::default());
    let epoch_min = Pace::default().epoch_min;
    [0, 1].into_iter().for_each(|worker| scenario.read(worker, WALL_US, true));
    scenario.tick_after(SECOND).unwrap();
    for round in 0..5 {
        scenario.wait(SECOND);
        for _ in 0..EPOCHS_AT_ONCE {
            scenario.read(0, WALL_US, true);
            assert!(scenario.tick_after(Duration::ZERO).is_some(), "round {round}");
        }
        for _ in 0..3 {
            scenario.read(1, WALL_US, true);
            assert_eq!(scenario.tick_after(Duration::ZERO), None);
            let wait = scenario.ticker.park_max(scenario.now.instant);
            assert_eq!(wait, epoch_min);
            assert_eq!(scenario.tick_after(wait - Duration::from_nanos(1)), None);
            assert!(scenario.tick_after(Duration::from_nanos(1)).is_some());
        }
        assert!(scenario.ticker.park_max(scenario.now.instant) >= Pace::default().epoch_max / 10, "nothing is pending");
    }
}

/// A cut comes when the interval is over or a buffer is full, but not while a commit is in flight
/// or nothing is new.
#[test]
fn cuts() {
    let pace = Pace { commit_interval: 10 * SECOND, ..Pace::default() };
    let mut scenario = Scenario::live(pace.clone());
    assert_eq!(scenario.tick_after(20 * SECOND).unwrap().cut, None);
    scenario.read(0, WALL_US, true);
    assert_eq!(scenario.tick_after(20 * SECOND).unwrap().cut, None, "plays without a clock");
    scenario.read(0, WALL_US, true);
    let before = scenario.ticker.last.unwrap();
    let cut = scenario.tick_after(20 * SECOND).unwrap().cut;
    assert_eq!(cut, Some(CutPoint { epoch: before.epoch, clock_us: before.clock_us }));
    scenario.read(0, WALL_US, true);
    scenario.now.committed = false;
    assert_eq!(scenario.tick_after(20 * SECOND).unwrap().cut, None);
    scenario.now.committed = true;
    assert!(scenario.tick_after(SECOND).unwrap().cut.is_some());
    let report = KafkaReport { uncommitted: true, uncommitted_bytes: pace.buffer_bytes, ..KafkaReport::default() };
    scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
    assert!(scenario.tick_after(SECOND).unwrap().cut.is_some());
}

/// While history is read the first cuts come early, each later than the one before. After that they
/// come at the commit interval.
#[test]
fn the_first_cuts_come_early() {
    let mut scenario = Scenario::live(Pace { commit_interval: 30 * SECOND, ..Pace::default() });
    scenario.read(0, WALL_US, false);
    assert_eq!(scenario.tick_after(SECOND).unwrap().cut, None, "there is a clock now");
    for after in [FIRST_CUT_AFTER, SECOND, 4 * SECOND, 16 * SECOND, 30 * SECOND, 30 * SECOND] {
        scenario.read(0, WALL_US, false);
        assert_eq!(scenario.tick_after(after - Duration::from_millis(100)).unwrap().cut, None, "{after:?}");
        scenario.read(0, WALL_US, false);
        assert!(scenario.tick_after(Duration::from_millis(100)).unwrap().cut.is_some(), "{after:?}");
    }
    let mut scenario = Scenario::live(Pace { commit_interval: 30 * SECOND, ..Pace::default() });
    let mut cut_after = |time: Duration| {
        [0, 1].into_iter().for_each(|worker| scenario.read(worker, WALL_US, true));
        scenario.tick_after(time).unwrap().cut.is_some()
    };
    assert!(!cut_after(SECOND), "there is a clock now");
    assert!(cut_after(SECOND), "everything has been read for the first time");
    assert!(!cut_after(29 * SECOND));
    assert!(cut_after(SECOND));
}

/// A commit has a bounded number of files, four times as many as the one before.
#[test]
fn a_cut_is_due_when_it_needs_many_files() {
    let mut scenario = Scenario::live(Pace::default());
    let read = |scenario: &mut Scenario, uncommitted_files: u64| {
        [0, 1].into_iter().for_each(|worker| scenario.read(worker, WALL_US, true));
        let report = KafkaReport {
            caught_up: true,
            uncommitted: true,
            uncommitted_files,
            times: times(&[WALL_US]),
            ..KafkaReport::default()
        };
        scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
        scenario.tick_after(Duration::from_millis(100)).unwrap().cut.is_some()
    };
    assert!(!read(&mut scenario, 0), "there is a clock now");
    assert!(read(&mut scenario, 0), "everything has been read for the first time");
    for cuts in 1..9 {
        assert!(!read(&mut scenario, files_max(cuts) - 1), "{cuts}");
        assert!(read(&mut scenario, files_max(cuts)), "{cuts}");
    }
    assert!(files_max(0) < 100 && files_max(1000) == 8192);
}

/// To end a run the sources are stopped first; then everything is cut, at the clock that is served.
#[test]
fn leaves() {
    let mut scenario = Scenario::live(Pace { until_caught_up: true, ..Pace::default() });
    scenario.read(0, WALL_US - 5, true);
    assert_eq!(scenario.tick_after(SECOND).unwrap().stage, Stage::Live);
    scenario.read(1, WALL_US - 7, true);
    let stop = scenario.tick_after(SECOND).unwrap();
    assert_eq!((stop.stage, stop.clock_us), (Stage::Stop, Some(WALL_US - 5)));
    assert!(!scenario.ticker.is_over());
    scenario.now.committed = false;
    assert_eq!(scenario.tick_after(SECOND), None);
    scenario.now.committed = true;
    let last = scenario.tick_after(SECOND).unwrap();
    assert_eq!(last.cut, Some(CutPoint { epoch: stop.epoch, clock_us: stop.clock_us }));
    assert_eq!(last.clock_us, stop.clock_us);
    assert!(scenario.ticker.is_over());
    assert_eq!(scenario.tick_after(SECOND), None);
}

/// A replay reads the lake at its own clock, and ends.
#[test]
fn replays() {
    let mut scenario = Scenario::of(Mode::Replay, Pace::default(), None, Some(42));
    let first = scenario.tick_after(Duration::ZERO).unwrap();
    assert_eq!(first.stage, Stage::Rebuild);
    let lake = |rows, done| Report::Lake(LakeReport { worker: 0, rows, times: EventTimes::default(), done });
    assert_eq!(scenario.tick_after(100 * SECOND), None, "an epoch lasts until its reports arrive");
    scenario.ticker.report(&lake(5, false), scenario.now.instant);
    let first = scenario.tick_after(SECOND).unwrap();
    scenario.ticker.report(&lake(5, true), scenario.now.instant);
    assert_eq!(scenario.tick_after(SECOND), None, "a worker that is done waits for the others");
    scenario.rebuilt();
    scenario.wait(SECOND);
    scenario.now.complete_before = first.epoch;
    assert_eq!(scenario.ticker.next(scenario.now), None, "not all is in the charts");
    let last = scenario.tick_after(SECOND).unwrap();
    assert_eq!((last.stage, last.clock_us, last.cut), (Stage::Stop, Some(42), None));
    assert!(scenario.ticker.is_over());
}

/// A run that is stopped while it reads the lake ends without a commit.
#[test]
fn stops_while_rebuilding() {
    let mut scenario = Scenario::begin(Pace::default(), Some(7), Some(42));
    scenario.tick_after(Duration::ZERO);
    scenario.now.stop = true;
    assert_eq!(scenario.tick_after(SECOND).unwrap().stage, Stage::Stop);
    let last = scenario.tick_after(SECOND).unwrap();
    assert!(last.clock_us == Some(42) && scenario.ticker.is_over());
}

/// A client that waits for a commit is told when it is due: an interval after the last cut, and at
/// once while one is in flight.
#[test]
fn says_when_the_next_commit_is_due() {
    let mut scenario = Scenario::live(Pace { commit_interval: 10 * SECOND, ..Pace::default() });
    assert_eq!(scenario.ticker.commit_due(&scenario.now), None);
    let read = |scenario: &mut Scenario| [0, 1].into_iter().for_each(|worker| scenario.read(worker, WALL_US, true));
    read(&mut scenario);
    scenario.tick_after(SECOND).unwrap();
    assert_eq!(scenario.ticker.commit_due(&scenario.now), Some(scenario.now.instant), "everything has been read");
    read(&mut scenario);
    assert!(scenario.tick_after(SECOND).unwrap().cut.is_some());
    read(&mut scenario);
    assert_eq!(scenario.ticker.commit_due(&scenario.now), Some(scenario.now.instant + 10 * SECOND));
    assert_eq!(scenario.tick_after(SECOND).unwrap().cut, None);
    assert_eq!(scenario.ticker.commit_due(&scenario.now), Some(scenario.now.instant + 9 * SECOND));
    assert!(scenario.tick_after(9 * SECOND).unwrap().cut.is_some());
    for worker in 0..2 {
        let report = KafkaReport { worker, caught_up: true, ..KafkaReport::default() };
        scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
    }
    let writing = Now { committed: false, ..scenario.now };
    assert_eq!(scenario.ticker.commit_due(&writing), Some(writing.instant));
    assert_eq!(scenario.ticker.commit_due(&scenario.now), None);
}
