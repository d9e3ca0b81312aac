//! Scenarios of the clock: which plays move it, and how it advances with time.

use proptest::prelude::*;

use super::*;

const SECOND_US: i64 = 1_000_000;
const MINUTE_US: i64 = 60 * SECOND_US;
const MINUTE: Duration = Duration::from_secs(60);

impl Scenario {
    /// Reads one play on each worker, both to the end, and returns the clock after them.
    fn clock_after(&mut self, events_us: [i64; 2]) -> i64 {
        (0..2).for_each(|worker| self.read(worker, events_us[worker], true));
        self.clock()
    }

    /// The clock of the next epoch, a second later.
    fn clock(&mut self) -> i64 {
        self.tick_after(SECOND).unwrap().clock_us.unwrap()
    }

    /// Two plays a second that are late by `late_us`, for this many seconds. Returns the clock.
    fn stream(&mut self, late_us: i64, seconds: usize) -> i64 {
        (0..seconds).fold(0, |_, _| {
            let event_us = self.now.wall_us - late_us;
            self.clock_after([event_us, event_us - SECOND_US / 2])
        })
    }
}

/// The clock follows the plays, stays behind the wall clock, never goes back, and advances with
/// time when idle.
#[test]
fn the_clock_follows_plays_and_time() {
    let mut scenario = Scenario::live(Pace::default());
    assert_eq!(scenario.tick_after(SECOND).unwrap().clock_us, None);
    assert_eq!(scenario.clock_after([WALL_US - 60 * SECOND_US; 2]), WALL_US - 60 * SECOND_US);
    assert_eq!(scenario.clock_after([WALL_US - 90 * SECOND_US; 2]), WALL_US - 60 * SECOND_US);
    // The report came a second before the last tick.
    let idle_us = Pace::default().idle.as_micros() as i64;
    let idle = scenario.tick_after(Pace::default().idle).unwrap();
    assert_eq!(idle.clock_us, Some(WALL_US - 60 * SECOND_US + idle_us + SECOND_US));
    let behind_us = scenario.now.wall_us - idle.clock_us.unwrap();
    let later = scenario.tick_after(10 * MINUTE).unwrap();
    assert_eq!(
        later.clock_us,
        Some(scenario.now.wall_us - behind_us),
        "as fast as the wall clock, and as late as before"
    );
    scenario.read(1, scenario.now.wall_us + 3600 * SECOND_US, true);
    scenario.read(1, scenario.now.wall_us + 3601 * SECOND_US, true);
    assert_eq!(scenario.clock(), scenario.now.wall_us);
}

/// The wall clock is wrong by a day for a while. The clock does not follow it, neither without
/// plays nor with them.
#[test]
fn a_wall_clock_of_tomorrow_moves_nothing() {
    const DAY_US: i64 = 24 * 60 * MINUTE_US;
    let mut scenario = Scenario::live(Pace::default());
    let before_us = scenario.stream(0, 60);
    scenario.now.wall_us += DAY_US;
    let idle_us = (0..100).fold(0, |_, _| scenario.clock());
    // The last play came a second before the last epoch.
    assert_eq!(idle_us, before_us + 101 * SECOND_US);
    scenario.now.wall_us -= DAY_US;
    let after_us = scenario.stream(0, 60);
    assert_eq!(after_us, scenario.now.wall_us - SECOND_US, "it is where the plays are");
}

/// A stream that is 20 minutes late is idle for half a minute.
#[test]
fn an_idle_half_minute_moves_a_late_stream_by_half_a_minute() {
    const LATE_US: i64 = 20 * MINUTE_US;
    let mut scenario = Scenario::live(Pace::default());
    let before_us = scenario.stream(LATE_US, 60);
    scenario.wait(Pace::default().idle);
    let idle_us = scenario.clock();
    assert_eq!(idle_us, before_us + Pace::default().idle.as_micros() as i64 + 2 * SECOND_US);
    assert!(scenario.stream(LATE_US, 60) > idle_us, "the plays that come next are in the window");
}

/// The clock does not advance while Kafka holds plays that cannot be read.
#[test]
fn the_clock_waits_for_unread_plays() {
    let mut scenario = Scenario::live(Pace::default());
    let before_us = scenario.stream(0, 10);
    scenario.now.unread = true;
    assert_eq!((0..1000).fold(0, |_, _| scenario.clock()), before_us);
    scenario.now.unread = false;
    assert_eq!(scenario.clock(), before_us + 1002 * SECOND_US, "nothing came after all");
}

/// A phone is half an hour ahead in a stream that is 20 minutes late. Alone it does not move the
/// clock, however often it sends its play.
#[test]
fn a_play_that_is_far_ahead_needs_support() {
    const LATE_US: i64 = 20 * MINUTE_US;
    let mut scenario = Scenario::live(Pace::default());
    scenario.stream(LATE_US, 120);
    let ahead_us = scenario.now.wall_us + 10 * MINUTE_US;
    for _ in 0..20 {
        scenario.read(0, ahead_us, true);
        let clock_us = scenario.stream(LATE_US, 1);
        assert_eq!(clock_us, scenario.now.wall_us - LATE_US - SECOND_US);
    }
    // Another single play does not help, nor does one play in each minute.
    for minute in 0..15 {
        scenario.read(1, scenario.now.wall_us - (minute % 10) * MINUTE_US, true);
        let clock_us = scenario.stream(LATE_US, 60);
        assert!(clock_us < scenario.now.wall_us - LATE_US + 6 * MINUTE_US, "{minute}");
    }
    let alone_us = scenario.stream(LATE_US, 60);
    // The stream catches up at once: one play in ten is enough, and the window moves to the plays.
    (0..40).for_each(|play| scenario.read(0, scenario.now.wall_us - play * SECOND_US, true));
    let clock_us = scenario.clock();
    assert_eq!(clock_us, scenario.now.wall_us - SECOND_US, "{alone_us}");
}

/// A phone that is half an hour ahead plays one song after another in a small crowd that is 20
/// minutes late, and sends each three times. The clock reaches its first songs by itself, and each
/// of them may then move it by the lead.
#[test]
fn the_songs_of_one_phone_are_no_support() {
    const LATE_US: i64 = 20 * MINUTE_US;
    for (plays_a_minute, song_s) in [(3, 150), (6, 120), (30, 90), (60, 45), (120, 30)] {
        let mut scenario = Scenario::live(Pace::default());
        for second in 0..3600 {
            if second % (60 / plays_a_minute.min(60)) == 0 {
                scenario.read(0, scenario.now.wall_us - LATE_US, true);
            }
            if second > 600 && second % song_s < 3 {
                scenario.read(1, scenario.now.wall_us - LATE_US + 30 * MINUTE_US - second % song_s * SECOND_US, true);
            }
            let clock_us = scenario.clock();
            let ahead_us = clock_us - (scenario.now.wall_us - LATE_US);
            assert!(
                ahead_us <= 6 * MINUTE_US,
                "{plays_a_minute} plays a minute, {second} s: {} s ahead",
                ahead_us / SECOND_US
            );
        }
    }
}

/// With a window of one minute the buckets are short, and plays up to an hour ahead fill more
/// buckets than are kept.
#[test]
fn strays_do_not_displace_the_crowd_of_a_short_window() {
    const LATE_US: i64 = 20 * MINUTE_US;
    let mut scenario = Scenario::live(Pace { window_us: MINUTE_US, ..Pace::default() });
    for second in 0..7200 {
        let now_us = scenario.now.wall_us - LATE_US;
        let mut all = EventTimes::new(MINUTE_US);
        (0..50).for_each(|play| all.add(now_us + play * 20_000));
        if second % 10 == 0 {
            all.add(now_us + second * 7919 % 3600 * SECOND_US);
        }
        let report = KafkaReport { moved: true, times: all, caught_up: true, ..KafkaReport::default() };
        scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
        let clock_us = scenario.clock();
        assert!((now_us..now_us + MINUTE_US).contains(&clock_us), "{second}: {}", clock_us - now_us);
    }
}

/// One in five hundred of many plays is up to an hour ahead.
#[test]
fn a_great_crowd_is_not_led_by_a_few() {
    let mut scenario = Scenario::live(Pace::default());
    for second in 0..1800 {
        let now_us = scenario.now.wall_us - 20 * MINUTE_US;
        let plays = (0..200).map(|play| now_us + play * 5000);
        let ahead = (second % 5 < 2).then_some(now_us + second * 7919 % 3600 * SECOND_US);
        let all: Vec<i64> = plays.chain(ahead).collect();
        let report = KafkaReport { moved: true, times: times(&all), caught_up: true, ..KafkaReport::default() };
        scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
        let clock_us = scenario.clock();
        assert!((now_us..now_us + 6 * MINUTE_US).contains(&clock_us), "{second}: {}", clock_us - now_us);
    }
}

/// Where plays are few the clock is that of the last one, however far apart they are.
#[test]
fn few_plays_are_exact() {
    for gap in [MINUTE_US, 7 * MINUTE_US, 61 * MINUTE_US, 1441 * MINUTE_US] {
        let mut scenario = Scenario::live(Pace { until_caught_up: true, ..Pace::default() });
        for play in 0..20 {
            let event_us = WALL_US - (20 - play) * gap;
            scenario.read(0, event_us, false);
            assert_eq!(scenario.clock(), event_us);
        }
    }
}

/// In a history one partition is a month ahead of the other. The result does not depend on which
/// worker reads it or which is read first.
#[test]
fn partitions_that_are_far_apart() {
    const MONTH_US: i64 = 30 * 1440 * MINUTE_US;
    for (swapped, together) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut scenario = Scenario::live(Pace { until_caught_up: true, ..Pace::default() });
        let history = |end_us: i64| (0..600).map(|play| end_us - play * 3 * SECOND_US).collect::<Vec<i64>>();
        for (worker, end_us) in [(0, WALL_US - 2 * MONTH_US), (1, WALL_US - MONTH_US)] {
            let worker = if swapped { 1 - worker } else { worker };
            let times = times(&history(end_us));
            let report = KafkaReport { worker, moved: true, times, ..KafkaReport::default() };
            scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
            if !together {
                scenario.clock();
            }
        }
        assert_eq!(scenario.clock(), WALL_US - MONTH_US);
    }
}

/// After a busy evening plays become rare. It takes a few of them until the clock follows.
#[test]
fn a_stream_that_becomes_thin_is_followed() {
    let mut scenario = Scenario::live(Pace { idle: 600 * MINUTE, ..Pace::default() });
    let evening: Vec<i64> = (0..60_000).map(|play| WALL_US - 3600 * SECOND_US + play * 10_000).collect();
    let report = KafkaReport { moved: true, times: times(&evening), caught_up: true, ..KafkaReport::default() };
    scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
    scenario.read(1, evening[0], true);
    let evening_us = scenario.clock();
    assert_eq!(Some(&evening_us), evening.last());
    for play in 1..=11 {
        scenario.wait(8 * MINUTE);
        scenario.read(0, evening_us + play * 8 * MINUTE_US, true);
        scenario.clock();
    }
    assert_eq!(scenario.clock(), evening_us + 11 * 8 * MINUTE_US);
}

/// A run begins with the plays in its lake's window, which give the size of the crowd and the
/// outliers that still lack support.
#[test]
fn a_start_knows_the_crowd_of_its_lake() {
    let clock_us = WALL_US - 20 * MINUTE_US;
    for is_known in [false, true] {
        let mut scenario = Scenario::begin(Pace::default(), Some(7), Some(clock_us));
        scenario.tick_after(Duration::ZERO);
        let ahead_us = WALL_US - 5 * MINUTE_US;
        let stored: Vec<i64> = (0..100).map(|play| clock_us - play * SECOND_US).chain([ahead_us]).collect();
        let known = if is_known { times(&stored) } else { EventTimes::default() };
        let report = LakeReport { worker: 0, rows: 101, times: known, done: false };
        scenario.ticker.report(&Report::Lake(report), scenario.now.instant);
        scenario.rebuilt();
        assert_eq!(scenario.clock_after([clock_us - SECOND_US; 2]), clock_us);
        scenario.read(0, ahead_us + SECOND_US, true);
        assert_eq!(scenario.clock(), if is_known { clock_us } else { ahead_us + SECOND_US });
        let near: Vec<i64> = (2..10).map(|second| ahead_us + second * SECOND_US).collect();
        let report = KafkaReport { moved: true, times: times(&near), caught_up: true, ..KafkaReport::default() };
        scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
        assert_eq!(scenario.clock(), ahead_us + 9 * SECOND_US, "nine and the one of the lake are a tenth");
    }
}

/// An outlier that finds support later moves the clock, and the silence before that does not count
/// again.
#[test]
fn silence_before_an_outlier_is_not_counted_twice() {
    let mut scenario = Scenario::live(Pace::default());
    let start_us = scenario.now.wall_us;
    scenario.read(0, start_us - 802 * SECOND_US, true);
    scenario.tick_after(Duration::from_secs(1));
    scenario.read(0, start_us - SECOND_US, true);
    let tick = scenario.tick_after(Duration::from_secs(5)).unwrap();
    assert_eq!(tick.clock_us, Some(start_us - SECOND_US));
    for worker in 0..2 {
        let report = KafkaReport { worker, moved: true, caught_up: true, ..KafkaReport::default() };
        scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
    }
    let tick = scenario.tick_after(Duration::from_secs(24)).unwrap();
    assert_eq!(tick.clock_us, Some(start_us + 23 * SECOND_US));
}

/// A lake's clock that is ahead of all plays stays until the wall clock reaches it.
#[test]
fn a_clock_that_is_ahead_waits() {
    let mut scenario = Scenario::begin(Pace::default(), Some(7), Some(WALL_US + 1440 * MINUTE_US));
    scenario.tick_after(Duration::ZERO);
    scenario.rebuilt();
    assert_eq!(scenario.stream(0, 100), WALL_US + 1440 * MINUTE_US);
    scenario.wait(10 * MINUTE);
    assert_eq!(scenario.clock(), WALL_US + 1440 * MINUTE_US);
}

proptest! {
    /// For any input: the clock never goes back and never passes the wall clock; without plays it
    /// moves no faster than time; and it does not depend on which worker reads a play.
    #[test]
    fn the_clock_is_sane(
        steps in prop::collection::vec((0u64..90, prop::collection::vec((-4000i64..4000, 0usize..2), 0..6)), 1..60),
    ) {
        let mut scenarios = [0, 1].map(|_| Scenario::live(Pace::default()));
        let mut last: Option<i64> = None;
        // When the clock last moved, or slightly before.
        let mut moved_at = scenarios[0].now.instant;
        // An outlier may come within the lead later.
        let mut all = Vec::new();
        for (seconds, plays) in steps {
            all.extend(plays.iter().map(|(late_s, _)| scenarios[0].now.wall_us - late_s * SECOND_US));
            let clocks = [false, true].map(|together| {
                let scenario = &mut scenarios[usize::from(together)];
                let now_us = scenario.now.wall_us;
                for worker in 0..2 {
                    let of = |(_, owner): &&(i64, usize)| if together { worker == 0 } else { *owner == worker };
                    let read: Vec<i64> = plays.iter().filter(of).map(|(late_s, _)| now_us - late_s * SECOND_US).collect();
                    let times = times(&read);
                    let report = KafkaReport { worker, moved: true, times, caught_up: true, ..KafkaReport::default() };
                    scenario.ticker.report(&Report::Kafka(report), scenario.now.instant);
                }
                let tick = scenario.tick_after(Duration::from_secs(seconds + 1)).unwrap();
                (tick.clock_us, scenario.now.wall_us)
            });
            prop_assert!(clocks[0].0.max(last) == clocks[0].0 && clocks[0].0 <= Some(clocks[0].1));
            let now = scenarios[0].now.instant;
            if let (Some(before_us), Some(clock_us), true) = (last, clocks[0].0, plays.is_empty()) {
                let is_of_a_play = all.contains(&clock_us) || clock_us == clocks[0].1;
                prop_assert!(is_of_a_play || clock_us - before_us <= (now - moved_at).as_micros() as i64);
            }
            prop_assert_eq!(clocks[0], clocks[1]);
            if last != clocks[0].0 {
                (last, moved_at) = (clocks[0].0, now - Duration::from_secs(seconds + 1));
            }
        }
    }

    /// A crowd advances evenly with any delay, and a few plays are up to an hour ahead of the wall
    /// clock. The clock is never before the crowd, and never more than the lead and a bucket ahead
    /// of it.
    #[test]
    fn outliers_do_not_lead(
        late_s in 0i64..7200,
        outliers in prop::collection::btree_map(400usize..600, -7000i64..3600, 0..12),
    ) {
        let mut scenario = Scenario::live(Pace::default());
        for second in 0..600 {
            let wall_us = scenario.now.wall_us;
            let crowd_us = wall_us - late_s * SECOND_US;
            if let Some(ahead_s) = outliers.get(&second) {
                scenario.read(0, wall_us + ahead_s * SECOND_US, true);
            }
            let clock_us = scenario.clock_after([crowd_us, crowd_us - SECOND_US / 3]);
            prop_assert!(clock_us >= crowd_us && clock_us < crowd_us + 6 * MINUTE_US + SECOND_US);
        }
    }
}
