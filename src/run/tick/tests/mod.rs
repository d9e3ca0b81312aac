//! Stories told to a ticker: what it sees of the moment, and the ticks that follow.

mod clock;

use super::*;
use crate::report::times::EventTimes;
use crate::report::{KafkaReport, LakeReport};

const SECOND: Duration = Duration::from_secs(1);
const WALL_US: i64 = 1_795_400_000_000_000;

/// A ticker with two workers, and the moment at which its story has arrived.
struct Story {
    ticker: Ticker,
    now: Now,
}

fn times(of_us: &[i64]) -> EventTimes {
    let mut times = EventTimes::default();
    of_us.iter().for_each(|event_us| times.add(*event_us));
    times
}

impl Story {
    fn begin(pace: Pace, last_epoch: Option<Epoch>, clock_us: Option<i64>) -> Self {
        let now = Now {
            instant: Instant::now(),
            wall_us: WALL_US,
            complete_before: 0,
            committed: true,
            asked: false,
            unread: false,
            stop: false,
        };
        Self { ticker: Ticker::new(pace, 2, last_epoch, clock_us), now }
    }

    fn wait(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall_us += time.as_micros() as i64;
    }

    /// The next tick after `time`, all epochs so far being complete.
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
        let mut story = Self::begin(pace, None, None);
        assert_eq!(story.tick_after(Duration::ZERO).unwrap().stage, Stage::Rebuild);
        story.rebuilt();
        assert_eq!(story.tick_after(SECOND).unwrap().stage, Stage::Live);
        story
    }
}

/// Epochs follow the wall clock, and every epoch that was ever committed, whatever the wall clock says.
#[test]
fn epochs_grow() {
    let later = (WALL_US / 1000) as u64 + 5_000_000;
    let mut story = Story::begin(Pace::default(), Some(later), None);
    assert_eq!(story.tick_after(Duration::ZERO).unwrap().epoch, later + 1);
    story.rebuilt();
    assert_eq!(story.tick_after(SECOND).unwrap().epoch, later + 2);
}

/// Somebody sets the machine's clock back by an hour: epochs grow on, one by one, and no clock goes back; when the hour
/// is over both follow the wall clock again.
#[test]
fn the_wall_clock_is_set_back() {
    const HOUR: Duration = Duration::from_secs(3600);
    let mut story = Story::live(Pace { commit_interval: SECOND, idle: 2 * HOUR, ..Pace::default() });
    story.read(0, WALL_US, true);
    let mut last = story.tick_after(SECOND).unwrap();
    story.now.wall_us -= HOUR.as_micros() as i64;
    let mut cuts = 0;
    for _ in 0..100 {
        // The players' clocks are right, so their plays are ahead of ours.
        story.read(1, last.clock_us.unwrap() + 1_000_000, true);
        let tick = story.tick_after(SECOND).unwrap();
        assert_eq!((tick.epoch, tick.clock_us), (last.epoch + 1, last.clock_us));
        if let Some(cut) = tick.cut {
            assert_eq!((cut.epoch, cut.clock_us), (last.epoch, last.clock_us));
            cuts += 1;
        }
        last = tick;
    }
    assert!(cuts > 50, "plays are committed as before: {cuts}");
    story.wait(HOUR);
    story.read(0, story.now.wall_us - 5, true);
    let tick = story.tick_after(SECOND).unwrap();
    assert_eq!((tick.epoch, tick.clock_us), ((story.now.wall_us / 1000) as u64, Some(story.now.wall_us - 1_000_005)));
    assert!(tick.clock_us > last.clock_us);
}

/// No epoch begins while the one before the last is under way.
#[test]
fn waits_for_the_epoch_before_the_last() {
    let mut story = Story::live(Pace::default());
    let first = story.tick_after(SECOND).unwrap();
    story.wait(SECOND);
    story.now.complete_before = first.epoch;
    let second = story.ticker.next(story.now).unwrap();
    story.wait(SECOND);
    assert_eq!(story.ticker.next(story.now), None);
    story.now.complete_before = second.epoch;
    assert!(story.ticker.next(story.now).is_some());
}

/// After a rest some epochs follow each other at once; whatever arrives, they come every `epoch_min` on average, and patience lasts
/// just until the next.
#[test]
fn epochs_come_in_bursts() {
    let mut story = Story::live(Pace::default());
    let epoch_min = Pace::default().epoch_min;
    [0, 1].into_iter().for_each(|worker| story.read(worker, WALL_US, true));
    story.tick_after(SECOND).unwrap();
    for round in 0..5 {
        story.wait(SECOND);
        for _ in 0..EPOCHS_AT_ONCE {
            story.read(0, WALL_US, true);
            assert!(story.tick_after(Duration::ZERO).is_some(), "round {round}");
        }
        for _ in 0..3 {
            story.read(1, WALL_US, true);
            assert_eq!(story.tick_after(Duration::ZERO), None);
            let wait = story.ticker.patience(story.now.instant);
            assert_eq!(wait, epoch_min);
            assert_eq!(story.tick_after(wait - Duration::from_nanos(1)), None);
            assert!(story.tick_after(Duration::from_nanos(1)).is_some());
        }
        assert!(story.ticker.patience(story.now.instant) >= Pace::default().epoch_max / 10, "nothing is pending");
    }
}

/// A cut comes when it is time, when a buffer is full, and never while a commit is in flight or nothing is new.
#[test]
fn cuts() {
    let pace = Pace { commit_interval: 10 * SECOND, ..Pace::default() };
    let mut story = Story::live(pace.clone());
    assert_eq!(story.tick_after(20 * SECOND).unwrap().cut, None);
    story.read(0, WALL_US, true);
    assert_eq!(story.tick_after(20 * SECOND).unwrap().cut, None, "plays without a clock");
    story.read(0, WALL_US, true);
    let before = story.ticker.last.unwrap();
    let cut = story.tick_after(20 * SECOND).unwrap().cut;
    assert_eq!(cut, Some(CutPoint { epoch: before.epoch, clock_us: before.clock_us }));
    story.read(0, WALL_US, true);
    story.now.committed = false;
    assert_eq!(story.tick_after(20 * SECOND).unwrap().cut, None);
    story.now.committed = true;
    assert!(story.tick_after(SECOND).unwrap().cut.is_some());
    let report = KafkaReport { uncommitted: true, uncommitted_bytes: pace.buffer_bytes, ..KafkaReport::default() };
    story.ticker.report(&Report::Kafka(report), story.now.instant);
    assert!(story.tick_after(SECOND).unwrap().cut.is_some());
}

/// While history is read the first cuts come early, and each takes longer than the one before; when it has been read they come as
/// they were asked for.
#[test]
fn the_first_cuts_come_early() {
    let mut story = Story::live(Pace { commit_interval: 30 * SECOND, ..Pace::default() });
    story.read(0, WALL_US, false);
    assert_eq!(story.tick_after(SECOND).unwrap().cut, None, "there is a clock now");
    for after in [FIRST_CUT_AFTER, SECOND, 4 * SECOND, 16 * SECOND, 30 * SECOND, 30 * SECOND] {
        story.read(0, WALL_US, false);
        assert_eq!(story.tick_after(after - Duration::from_millis(100)).unwrap().cut, None, "{after:?}");
        story.read(0, WALL_US, false);
        assert!(story.tick_after(Duration::from_millis(100)).unwrap().cut.is_some(), "{after:?}");
    }
    let mut story = Story::live(Pace { commit_interval: 30 * SECOND, ..Pace::default() });
    let mut cut_after = |time: Duration| {
        [0, 1].into_iter().for_each(|worker| story.read(worker, WALL_US, true));
        story.tick_after(time).unwrap().cut.is_some()
    };
    assert!(!cut_after(SECOND), "there is a clock now");
    assert!(cut_after(SECOND), "everything has been read for the first time");
    assert!(!cut_after(29 * SECOND));
    assert!(cut_after(SECOND));
}

/// A commit has a bounded number of files, four times as many as the one before.
#[test]
fn a_cut_is_due_when_it_needs_many_files() {
    let mut story = Story::live(Pace::default());
    let read = |story: &mut Story, uncommitted_files: u64| {
        [0, 1].into_iter().for_each(|worker| story.read(worker, WALL_US, true));
        let report = KafkaReport {
            caught_up: true,
            uncommitted: true,
            uncommitted_files,
            times: times(&[WALL_US]),
            ..KafkaReport::default()
        };
        story.ticker.report(&Report::Kafka(report), story.now.instant);
        story.tick_after(Duration::from_millis(100)).unwrap().cut.is_some()
    };
    assert!(!read(&mut story, 0), "there is a clock now");
    assert!(read(&mut story, 0), "everything has been read for the first time");
    for cuts in 1..9 {
        assert!(!read(&mut story, files_max(cuts) - 1), "{cuts}");
        assert!(read(&mut story, files_max(cuts)), "{cuts}");
    }
    assert!(files_max(0) < 100 && files_max(1000) == 8192);
}

/// To leave, the sources are stopped first; then everything is cut, at the clock that is served.
#[test]
fn leaves() {
    let mut story = Story::live(Pace { until_caught_up: true, ..Pace::default() });
    story.read(0, WALL_US - 5, true);
    assert_eq!(story.tick_after(SECOND).unwrap().stage, Stage::Live);
    story.read(1, WALL_US - 7, true);
    let stop = story.tick_after(SECOND).unwrap();
    assert_eq!((stop.stage, stop.clock_us), (Stage::Stop, Some(WALL_US - 5)));
    assert!(!story.ticker.is_over());
    story.now.committed = false;
    assert_eq!(story.tick_after(SECOND), None);
    story.now.committed = true;
    let last = story.tick_after(SECOND).unwrap();
    assert_eq!(last.cut, Some(CutPoint { epoch: stop.epoch, clock_us: stop.clock_us }));
    assert_eq!(last.clock_us, stop.clock_us);
    assert!(story.ticker.is_over());
    assert_eq!(story.tick_after(SECOND), None);
}

/// A replay reads the lake at its own clock, and ends.
#[test]
fn replays() {
    let mut story = Story::begin(Pace { replay: true, ..Pace::default() }, None, Some(42));
    let first = story.tick_after(Duration::ZERO).unwrap();
    assert_eq!(first.stage, Stage::Rebuild);
    let lake = |rows, done| Report::Lake(LakeReport { worker: 0, rows, times: EventTimes::default(), done });
    assert_eq!(story.tick_after(100 * SECOND), None, "an epoch is as long as there is something to read in it");
    story.ticker.report(&lake(5, false), story.now.instant);
    let first = story.tick_after(SECOND).unwrap();
    story.ticker.report(&lake(5, true), story.now.instant);
    assert_eq!(story.tick_after(SECOND), None, "who has no more waits for the others");
    story.rebuilt();
    story.wait(SECOND);
    story.now.complete_before = first.epoch;
    assert_eq!(story.ticker.next(story.now), None, "not all is in the charts");
    let last = story.tick_after(SECOND).unwrap();
    assert_eq!((last.stage, last.clock_us, last.cut), (Stage::Stop, Some(42), None));
    assert!(story.ticker.is_over());
}

/// Who is asked to stop while the lake is read, stops, and commits nothing.
#[test]
fn stops_while_rebuilding() {
    let mut story = Story::begin(Pace::default(), Some(7), Some(42));
    story.tick_after(Duration::ZERO);
    story.now.stop = true;
    assert_eq!(story.tick_after(SECOND).unwrap().stage, Stage::Stop);
    let last = story.tick_after(SECOND).unwrap();
    assert!(last.clock_us == Some(42) && story.ticker.is_over());
}

/// Whoever waits for a commit is told when it is due: an interval after the last cut, and at once while it is under way.
#[test]
fn says_when_the_next_commit_is_due() {
    let mut story = Story::live(Pace { commit_interval: 10 * SECOND, ..Pace::default() });
    assert_eq!(story.ticker.commit_due(&story.now), None);
    let read = |story: &mut Story| [0, 1].into_iter().for_each(|worker| story.read(worker, WALL_US, true));
    read(&mut story);
    story.tick_after(SECOND).unwrap();
    assert_eq!(story.ticker.commit_due(&story.now), Some(story.now.instant), "everything has been read");
    read(&mut story);
    assert!(story.tick_after(SECOND).unwrap().cut.is_some());
    read(&mut story);
    assert_eq!(story.ticker.commit_due(&story.now), Some(story.now.instant + 10 * SECOND));
    assert_eq!(story.tick_after(SECOND).unwrap().cut, None);
    assert_eq!(story.ticker.commit_due(&story.now), Some(story.now.instant + 9 * SECOND));
    assert!(story.tick_after(9 * SECOND).unwrap().cut.is_some());
    for worker in 0..2 {
        let report = KafkaReport { worker, caught_up: true, ..KafkaReport::default() };
        story.ticker.report(&Report::Kafka(report), story.now.instant);
    }
    let writing = Now { committed: false, ..story.now };
    assert_eq!(story.ticker.commit_due(&writing), Some(writing.instant));
    assert_eq!(story.ticker.commit_due(&story.now), None);
}
