//! Network partitions do not split a cluster in two, and no play is committed twice. Each process
//! runs on its own simulated machine; links are cut while Kafka and the lake stay reachable for
//! all.

use std::fs::File;
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::cluster::{HostFiles, is_alive};
use crate::support::fixture::folder;
use crate::support::network::{HTTP, Network};
use crate::support::program::{Ended, Program, reprise};
use crate::support::running::{replay, run, run_to_end};
use crate::support::{broker, eventually, heavy, lake, log, plays};

/// The stall timeout is 4 s; the rest is for a busy machine.
const END_MAX: Duration = Duration::from_secs(10);
/// Commits by one writer that show that it continues.
const COMMITS: usize = 3;

/// Machines, a lake that all of them see, and a generator that keeps producing plays.
struct Scenario {
    generator: Program,
    network: Network,
    topic: String,
    lake: PathBuf,
    folder: TempDir,
    _heavy: MutexGuard<'static, ()>,
}

impl Scenario {
    fn new(machines: usize) -> Option<Self> {
        let network = Network::of(machines)?;
        let (topic, folder) = (broker::topic("cut", 3), folder());
        let out = folder.path().join("plays.jsonl");
        // The test stops it much earlier.
        let options = "--seed 9 --start 2025-10-01T00:00:00Z --rate 60 --duration 10m --malformed 0.02";
        let arguments = ["generate", "--brokers", broker::servers(), "--topic", &topic, "--out", out.to_str().unwrap()];
        let _heavy = heavy();
        let generator = reprise(arguments.into_iter().chain(options.split_whitespace()));
        Some(Self { generator, network, topic, lake: folder.path().join("lake"), folder, _heavy })
    }

    /// Starts process number `process` of a cluster on a machine.
    fn start(
        &self,
        hosts: &HostFiles,
        process: usize,
        machine: usize,
        options: &[&str],
        variables: &[(&str, String)],
    ) -> Program {
        let own = hosts.options(process);
        let common = ["--commit-interval", "200ms", "-w", "1", "--listen", HTTP];
        let options: Vec<&str> = own.iter().map(String::as_str).chain(common).chain(options.iter().copied()).collect();
        self.network.reprise(machine, &run(&self.topic, &self.lake, &options), variables)
    }

    fn start_all(&self, hosts: &HostFiles, machines: [usize; 3]) -> Vec<Program> {
        // All machines share one kernel here, so file locks of a process that is cut off are still
        // seen.
        let mut programs: Vec<Program> =
            (0..3).map(|process| self.start(hosts, process, machines[process], &["--take-over"], &[])).collect();
        programs[0].word_after(" address=");
        eventually("the cluster is ready", || (self.network.get(machines[0], "/readyz") == Some(200)).then_some(()));
        programs
    }

    /// Waits for more commits of the newest writer, checks that `programs` are alive, and returns
    /// the writer's incarnation.
    #[track_caller]
    fn keeps_committing(&self, programs: &[Program]) -> i64 {
        let before = log::incarnations(&self.lake).len();
        let writers = eventually("commits", || {
            let writers = log::incarnations(&self.lake);
            (writers.len() >= before + COMMITS).then_some(writers)
        });
        for program in programs {
            assert!(is_alive(program.id()), "the process has ended: {}", program.transcript());
        }
        writers[writers.len() - 1]
    }

    /// Stops the generator, and checks the lake that `writers` writers have left, one after the
    /// other.
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
        assert!(incarnations.is_sorted(), "an overtaken writer has committed: {incarnations:?}");
        incarnations.dedup();
        // One more for the run to the end above.
        assert_eq!(incarnations.len(), writers + 1, "{incarnations:?}");
    }
}

/// Whether a process reports that it lost the process `peer` because nothing arrived from it.
fn has_lost(ended: &Ended, hosts: &HostFiles, peer: usize) -> bool {
    let error = format!("error: process {peer} ({}) has sent nothing for", hosts.addresses[peer]);
    ended.stderr.contains(&error)
}

/// All processes end when one link is cut, including the process behind the cut, which still
/// reaches the lake and Kafka.
#[test]
fn a_cluster_survives_a_short_cut_and_ends_on_a_long_one() {
    let Some(scenario) = Scenario::new(3) else { return };
    let hosts = HostFiles::at(Network::addresses([0, 1, 2]));
    let programs = scenario.start_all(&hosts, [0, 1, 2]);
    let first = scenario.keeps_committing(&programs);
    scenario.network.cut(1);
    std::thread::sleep(Duration::from_millis(300));
    scenario.network.heal(1);
    assert_eq!(scenario.keeps_committing(&programs), first);

    scenario.network.cut(1);
    let cut = Instant::now();
    let ended: Vec<Ended> = programs.into_iter().map(Program::end).collect();
    assert!(cut.elapsed() < END_MAX, "they took {:?}", cut.elapsed());
    for ended in &ended {
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("error: process "), "{}", ended.stderr);
    }
    // One of the two connected processes may end first, and is then the one that the other reports
    // as lost.
    assert!(has_lost(&ended[0], &hosts, 1) || has_lost(&ended[2], &hosts, 1), "{ended:#?}");
    assert!(has_lost(&ended[1], &hosts, 0) || has_lost(&ended[1], &hosts, 2), "{ended:#?}");

    scenario.network.heal(1);
    let programs = scenario.start_all(&hosts, [0, 1, 2]);
    assert!(scenario.keeps_committing(&programs) > first);
    stop(programs);
    scenario.end(2);
}

/// The committer is cut off and frozen. Another cluster takes over the lake, and the committer is
/// resumed.
#[test]
fn a_committer_that_was_cut_off_ends_and_cannot_rejoin() {
    let Some(scenario) = Scenario::new(4) else { return };
    let (old, new) = (HostFiles::at(Network::addresses([0, 1, 2])), HostFiles::at(Network::addresses([3, 1, 2])));
    let (isolated, first) = cut_off(&scenario, &old, &[]);
    let programs = scenario.start_all(&new, [3, 1, 2]);
    let second = scenario.keeps_committing(&programs);
    assert!(second > first && is_alive(isolated.id()), "{}", isolated.transcript());
    scenario.network.heal(0);
    isolated.signal("CONT");
    let ended = isolated.end();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    // It reports whichever it notices first.
    let reasons = ["has closed the connection; its log says why", "has taken over this lake"];
    assert!(reasons.iter().any(|reason| ended.stderr.contains(reason)), "{}", ended.stderr);

    // Restarted, it cannot join either: the other processes belong to another cluster now, and
    // without them it does not touch the lake.
    let again = scenario.start(&old, 0, 0, &["--join-timeout", "3s"], &[]).end();
    assert_eq!(again.status.code(), Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("did not form"), "{}", again.stderr);
    assert_eq!(scenario.keeps_committing(&programs), second);
    let stderr = programs[0].stderr();
    assert!(!stderr.contains("refused") && !stderr.contains("dropped"), "no other process has connected: {stderr}");
    stop(programs);
    scenario.end(2);
}

/// The committer is frozen in the middle of a commit, between the intent and the log, and is
/// resumed after another one has taken over.
#[test]
fn a_committer_resumed_in_the_middle_of_a_commit_does_not_finish_it() {
    let Some(scenario) = Scenario::new(4) else { return };
    let (old, new) = (HostFiles::at(Network::addresses([0, 1, 2])), HostFiles::at(Network::addresses([3, 1, 2])));
    let points = ["intended", "renamed"];
    for point in points {
        let release = scenario.folder.path().join(point);
        let failpoint = [
            ("REPRISE_FAILPOINT", format!("{point}*8=full")),
            ("REPRISE_FAILPOINT_UNTIL", release.display().to_string()),
        ];
        let (isolated, first) = cut_off(&scenario, &old, &failpoint);
        let programs = scenario.start_all(&new, [3, 1, 2]);
        let second = scenario.keeps_committing(&programs);
        assert!(second > first && is_alive(isolated.id()), "{}", isolated.transcript());
        let stderr = programs[0].stderr();
        assert!(stderr.contains("finished an interrupted commit"), "{point}: {stderr}");
        File::create(release).expect("the file can be created");
        isolated.signal("CONT");
        let ended = isolated.end();
        assert_eq!(ended.status.code(), Some(1), "{point}: {}", ended.stderr);
        assert!(ended.stderr.contains("has taken over this lake"), "{point}: {}", ended.stderr);
        assert_eq!(scenario.keeps_committing(&programs), second);
        stop(programs);
        scenario.network.heal(0);
    }
    scenario.end(2 * points.len());
}

/// Starts a cluster whose process 0 has a long stall timeout, cuts its link, waits until the others
/// have ended, and freezes it, because awake it would see in the lake that it is overtaken. Returns
/// process 0 and its incarnation. With a `failpoint`, its disk is full by then.
fn cut_off(scenario: &Scenario, hosts: &HostFiles, failpoint: &[(&str, String)]) -> (Program, i64) {
    let mut isolated = scenario.start(hosts, 0, 0, &["--stall-timeout", "60s"], failpoint);
    let others = [1, 2].map(|process| scenario.start(hosts, process, process, &[], &[]));
    isolated.word_after(" address=");
    if failpoint.is_empty() {
        scenario.keeps_committing(&others);
    } else {
        eventually("the committer waits for room", || isolated.stderr().contains("the disk is full").then_some(()));
    }
    let first = log::incarnations(&scenario.lake).last().copied().expect("a commit");
    scenario.network.cut(0);
    let ended = others.map(Program::end);
    assert!(ended.iter().all(|ended| ended.status.code() == Some(1)), "{ended:#?}");
    // One of them may instead report the other, which had lost process 0.
    assert!(ended.iter().any(|ended| has_lost(ended, hosts, 0)), "{ended:#?}");
    isolated.signal("STOP");
    (isolated, first)
}

/// Stops a cluster with SIGTERM to process 0.
fn stop(programs: Vec<Program>) {
    programs[0].signal("TERM");
    programs.into_iter().for_each(|program| drop(program.succeed()));
}
