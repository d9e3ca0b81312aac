//! A network that is cut makes no two clusters of one, and no play is committed twice: each process runs on a machine of its
//! own, and cables are pulled while Kafka and the lake stay in reach of all.

use std::fs::File;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::cluster::{Table, is_alive};
use crate::support::fixture::folder;
use crate::support::network::{HTTP, Network};
use crate::support::program::{Ended, Program, reprise};
use crate::support::running::{replay, run, run_to_end};
use crate::support::{broker, eventually, heavy, lake, log, plays};

/// The stall timeout is 4 s. A busy machine gets some more.
const END_MAX: Duration = Duration::from_secs(10);
/// Of one writer, to see that it goes on.
const COMMITS: usize = 3;

/// Machines, a lake that all of them see, and plays that come in all the time.
struct Scene {
    generator: Program,
    network: Network,
    topic: String,
    lake: PathBuf,
    folder: TempDir,
    _heavy: MutexGuard<'static, ()>,
}

impl Scene {
    fn set(machines: usize) -> Option<Self> {
        let network = Network::of(machines)?;
        let (topic, folder) = (broker::topic("cut", 3), folder());
        let out = folder.path().join("plays.jsonl");
        // It is stopped much earlier.
        let options = "--seed 9 --start 2025-10-01T00:00:00Z --rate 60 --duration 10m --malformed 0.02";
        let to = ["generate", "--brokers", broker::servers(), "--topic", &topic, "--out", out.to_str().unwrap()];
        let _heavy = heavy();
        let generator = reprise(to.into_iter().chain(options.split_whitespace()));
        Some(Self { generator, network, topic, lake: folder.path().join("lake"), folder, _heavy })
    }

    /// Starts the process of a cluster on a machine.
    fn start(
        &self,
        table: &Table,
        process: usize,
        machine: usize,
        options: &[&str],
        variables: &[(&str, String)],
    ) -> Program {
        let seat = table.seat(process);
        let ours = ["--commit-interval", "200ms", "-w", "1", "--listen", HTTP];
        let options: Vec<&str> = seat.iter().map(String::as_str).chain(ours).chain(options.iter().copied()).collect();
        self.network.reprise(machine, &run(&self.topic, &self.lake, &options), variables)
    }

    fn start_all(&self, table: &Table, machines: [usize; 3]) -> Vec<Program> {
        // All machines have one kernel here, so a lock that a process holds which is cut off is seen.
        let mut programs: Vec<Program> =
            (0..3).map(|process| self.start(table, process, machines[process], &["--take-over"], &[])).collect();
        programs[0].word_after(" address=");
        eventually("the cluster is ready", || (self.network.get(machines[0], "/readyz") == Some(200)).then_some(()));
        programs
    }

    /// Waits for more commits of the newest writer, and gives its incarnation.
    #[track_caller]
    fn goes_on(&self, programs: &[Program]) -> i64 {
        let before = log::incarnations(&self.lake).len();
        let writers = eventually("commits", || {
            let writers = log::incarnations(&self.lake);
            (writers.len() >= before + COMMITS).then_some(writers)
        });
        for program in programs {
            assert!(is_alive(program.id()), "it has ended: {}", program.transcript());
        }
        writers[writers.len() - 1]
    }

    /// Looks at what so many writers have left in the lake, one after the other.
    fn end(self, writers: usize) {
        self.generator.signal("TERM");
        self.generator.succeed();
        let plays = plays::read(&self.folder.path().join("plays.jsonl"));
        let live = run_to_end(&self.topic, &self.lake, &["-w", "2"]);
        live.assert_equals(&plays, &default_charts());
        assert!(replay(&self.lake, &[]).lines == live.lines, "the replay");
        assert_every_offset_once(&self.lake, &self.topic);
        lake::assert_holds(&self.lake, &plays);
        log::account(&self.lake);
        let mut incarnations = log::incarnations(&self.lake);
        assert!(incarnations.is_sorted(), "who had been overtaken has committed: {incarnations:?}");
        incarnations.dedup();
        // And the last run.
        assert_eq!(incarnations.len(), writers + 1, "{incarnations:?}");
    }
}

/// Whether a process says that it has lost the process `peer` of `table`, of which nothing came any more.
fn misses(ended: &Ended, table: &Table, peer: usize) -> bool {
    let error = format!("error: process {peer} ({}) has not been heard for", table.addresses[peer]);
    ended.stderr.contains(&error)
}

/// All processes end because one cable is pulled, also that behind which the lake and Kafka are still in reach.
#[test]
fn a_short_cut_is_outlived_and_a_long_one_ends_all() {
    let Some(scene) = Scene::set(3) else { return };
    let table = Table::at(Network::addresses([0, 1, 2]));
    let programs = scene.start_all(&table, [0, 1, 2]);
    let first = scene.goes_on(&programs);
    scene.network.cut(1);
    std::thread::sleep(Duration::from_millis(300));
    scene.network.heal(1);
    assert_eq!(scene.goes_on(&programs), first);

    scene.network.cut(1);
    let cut = Instant::now();
    let ended: Vec<Ended> = programs.into_iter().map(Program::end).collect();
    assert!(cut.elapsed() < END_MAX, "they took {:?}", cut.elapsed());
    for ended in &ended {
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("error: process "), "{}", ended.stderr);
    }
    // Of the two that still hear each other, one may end first, and is what the other has lost then.
    assert!(misses(&ended[0], &table, 1) || misses(&ended[2], &table, 1), "{ended:#?}");
    assert!(misses(&ended[1], &table, 0) || misses(&ended[1], &table, 2), "{ended:#?}");

    scene.network.heal(1);
    let programs = scene.start_all(&table, [0, 1, 2]);
    assert!(scene.goes_on(&programs) > first);
    stop(programs);
    scene.end(2);
}

/// The committer is cut off and sleeps. Another cluster takes its place, and it wakes up.
#[test]
fn a_committer_that_was_cut_off_finds_no_way_back() {
    let Some(scene) = Scene::set(4) else { return };
    let (old, new) = (Table::at(Network::addresses([0, 1, 2])), Table::at(Network::addresses([3, 1, 2])));
    let (left, first) = cut_off(&scene, &old, &[]);
    let programs = scene.start_all(&new, [3, 1, 2]);
    let second = scene.goes_on(&programs);
    assert!(second > first && is_alive(left.id()), "{}", left.transcript());
    scene.network.heal(0);
    left.signal("CONT");
    let ended = left.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    // Whichever it notices first.
    let reasons = ["is gone; its own log says why", "has taken over this lake"];
    assert!(reasons.iter().any(|reason| ended.stderr.contains(reason)), "{}", ended.stderr);

    // Nor when it is started again: those it waits for belong to another now, and alone it leaves the lake to them.
    let again = scene.start(&old, 0, 0, &["--join-timeout", "3s"], &[]).end();
    assert_eq!(again.status.code(), Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("did not come together"), "{}", again.stderr);
    assert_eq!(scene.goes_on(&programs), second);
    let said = programs[0].stderr();
    assert!(!said.contains("refused") && !said.contains("dropped"), "nobody else has knocked: {said}");
    stop(programs);
    scene.end(2);
}

/// It has a commit in hand even, between the intent and the log, and goes on with it when another has taken over.
#[test]
fn a_committer_that_wakes_up_with_a_commit_in_hand_does_not_make_it() {
    let Some(scene) = Scene::set(4) else { return };
    let (old, new) = (Table::at(Network::addresses([0, 1, 2])), Table::at(Network::addresses([3, 1, 2])));
    let points = ["intended", "renamed"];
    for point in points {
        let room = scene.folder.path().join(point);
        let set =
            [("REPRISE_FAILPOINT", format!("{point}*8=full")), ("REPRISE_FAILPOINT_UNTIL", room.display().to_string())];
        let (left, first) = cut_off(&scene, &old, &set);
        let programs = scene.start_all(&new, [3, 1, 2]);
        let second = scene.goes_on(&programs);
        assert!(second > first && is_alive(left.id()), "{}", left.transcript());
        let said = programs[0].stderr();
        assert!(said.contains("finished an interrupted commit"), "{point}: {said}");
        File::create(room).expect("there is room now");
        left.signal("CONT");
        let ended = left.end();
        assert_eq!(ended.status.code(), Some(1), "{point}: {}", ended.stderr);
        assert!(ended.stderr.contains("has taken over this lake"), "{point}: {}", ended.stderr);
        assert_eq!(scene.goes_on(&programs), second);
        stop(programs);
        scene.network.heal(0);
    }
    scene.end(2 * points.len());
}

/// Starts a cluster whose process 0 is patient, pulls its cable, waits until the others have ended, and freezes it: awake it would
/// see in the lake that it is overtaken. Gives process 0, and its incarnation. With `set`, its disk is full by then.
fn cut_off(scene: &Scene, table: &Table, set: &[(&str, String)]) -> (Program, i64) {
    let mut left = scene.start(table, 0, 0, &["--stall-timeout", "60s"], set);
    let others = [1, 2].map(|process| scene.start(table, process, process, &[], &[]));
    left.word_after(" address=");
    if set.is_empty() {
        scene.goes_on(&others);
    } else {
        eventually("it waits for room", || left.stderr().contains("the disk is full").then_some(()));
    }
    let first = log::incarnations(&scene.lake).last().copied().expect("a commit");
    scene.network.cut(0);
    let ended = others.map(Program::end);
    assert!(ended.iter().all(|ended| ended.status.code() == Some(1)), "{ended:#?}");
    // One of them may have lost the other, which had lost process 0.
    assert!(ended.iter().any(|ended| misses(ended, table, 0)), "{ended:#?}");
    left.signal("STOP");
    (left, first)
}

/// Stops a cluster as a supervisor would.
fn stop(programs: Vec<Program>) {
    programs[0].signal("TERM");
    programs.into_iter().for_each(|program| drop(program.succeed()));
}
