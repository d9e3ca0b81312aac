//! A disk that is full or becomes read-only: a real one, mounted for the test, and a simulated one
//! at each step of a commit.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::charts::default_charts;
use crate::support::fixture::{Traffic, folder};
use crate::support::plays::Play;
use crate::support::program::reprise_with;
use crate::support::running::{Running, replay, run, run_to_end};
use crate::support::{broker, eventually, heavy, lake, unique};

/// If set to 1, these tests are skipped where no disk can be mounted. Nothing else skips them.
const WITHOUT_MOUNT: &str = "REPRISE_TEST_WITHOUT_MOUNT";
/// Set when a test has restarted itself in a namespace in which it may mount.
const INSIDE: &str = "REPRISE_TEST_INSIDE_NAMESPACE";

/// A small tmpfs, unmounted when it is dropped.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(path).expect("a folder can be made");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "reprise-test"]).arg(path).output();
        match mounted {
            Ok(mounted) if mounted.status.success() => Ok(Self { path: path.to_owned() }),
            Ok(mounted) => Err(String::from_utf8_lossy(&mounted.stderr).into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Fills the disk completely.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file can be created");
        let mut length = 1 << 20;
        while length > 0 {
            if ballast.write_all(&vec![7; length]).is_err() {
                length /= 2;
            }
        }
    }

    /// Deletes the ballast of [`Disk::fill`].
    fn empty(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast can be removed");
    }

    /// Bind-mounts the folder over itself, read-only. The tmpfs itself cannot become read-only
    /// while a run has files open for writing.
    fn make_read_only(&self) {
        let mount = |options: &[&str]| {
            let status = Command::new("mount").args(options).arg(&self.path).status();
            assert!(status.is_ok_and(|status| status.success()), "mount {options:?}");
        };
        let path = self.path.to_str().expect("a path of UTF-8");
        mount(&["--bind", path]);
        mount(&["-o", "remount,bind,ro"]);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // There are two mounts if the disk was made read-only. A failure to unmount is ignored.
        for _ in 0..2 {
            let _ = Command::new("umount").args(["-q", "-l"]).arg(&self.path).status();
        }
    }
}

/// Runs `body` with a disk. Where mounting is not permitted, runs the test `name` again in a
/// namespace of its own.
fn with_disk(name: &str, body: impl FnOnce(&Disk)) {
    let folder = folder();
    let why = match Disk::mount(&folder.path().join("disk")) {
        Ok(disk) => return body(&disk),
        Err(why) => why,
    };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg("-Urm");
        command
    };
    if std::env::var_os(INSIDE).is_none() && unshare().arg("true").status().is_ok_and(|status| status.success()) {
        let program = std::env::current_exe().expect("the test has a path");
        // The new process must use the broker that this process uses.
        let mut again = unshare();
        again.arg(program).args(["--exact", name, "--nocapture"]).env(INSIDE, "1");
        let status = again.env("KAFKA_BOOTSTRAP_SERVERS", broker::servers()).status().expect("unshare runs");
        assert!(status.success(), "{name}, in a namespace of its own");
    } else if std::env::var(WITHOUT_MOUNT).is_ok_and(|value| value == "1") {
        eprintln!("SKIPPED, because {WITHOUT_MOUNT}=1: {name}");
    } else {
        panic!("no disk can be mounted here ({why}), nor in a namespace; {WITHOUT_MOUNT}=1 skips this test");
    }
}

fn generate(topic: &str, seed: &str) -> Vec<Play> {
    let options = ["--seed", seed, "--start", "2025-10-01T00:00:00Z", "--rate", "max", "--count", "30000"];
    Traffic::generate(topic, &options).plays
}

fn wait_until_committed(running: &Running, plays: usize) {
    eventually("everything is in the lake", || (running.status()["lake_plays"] == plays).then_some(()));
}

#[test]
fn a_full_disk_pauses_a_run_until_there_is_room() {
    with_disk("disk::a_full_disk_pauses_a_run_until_there_is_room", |disk| {
        let (topic, lake) = (unique("full"), disk.path.join("lake"));
        let _heavy = heavy();
        let mut plays = generate(&topic, "1");
        let running = Running::start(&topic, &lake, &["-w", "2", "--commit-interval", "300ms"]);
        wait_until_committed(&running, plays.len());
        assert!(running.status()["paused"].is_null());

        disk.fill();
        let before = plays.len();
        plays.extend(generate(&topic, "2"));
        let paused = eventually("the run is paused", || running.status()["paused"].as_str().map(str::to_owned));
        assert!(paused.contains("make room"), "{paused}");
        // Charts are still updated, but nothing is committed.
        running.caught_up(&topic);
        assert_eq!(running.status()["lake_plays"], before);

        disk.empty();
        wait_until_committed(&running, plays.len());
        assert!(running.status()["paused"].is_null());
        let stderr = running.program.stderr();
        assert_eq!(stderr.matches("the disk is full").count(), 1, "{stderr}");
        assert_eq!(stderr.matches("there is room").count(), 1, "{stderr}");
        running.stop();
        replay(&lake, &[]).assert_equals(&plays, &default_charts());
        lake::assert_holds(&lake, &plays);
    });
}

#[test]
fn a_run_on_a_full_disk_can_be_stopped() {
    with_disk("disk::a_run_on_a_full_disk_can_be_stopped", |disk| {
        let (topic, lake) = (unique("stopped-full"), disk.path.join("lake"));
        let _heavy = heavy();
        let mut plays = generate(&topic, "3");
        let running = Running::start(&topic, &lake, &["-w", "2", "--commit-interval", "300ms"]);
        wait_until_committed(&running, plays.len());
        disk.fill();
        plays.extend(generate(&topic, "4"));
        eventually("the run is paused", || running.status()["paused"].as_str().map(str::to_owned));
        running.program.signal("TERM");
        let ended = running.program.end();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("still in Kafka"), "{}", ended.stderr);

        disk.empty();
        run_to_end(&topic, &lake, &["-w", "3"]).assert_equals(&plays, &default_charts());
        lake::assert_holds(&lake, &plays);
    });
}

#[test]
fn a_lake_that_can_no_longer_be_written_ends_a_run() {
    with_disk("disk::a_lake_that_can_no_longer_be_written_ends_a_run", |disk| {
        let (topic, lake) = (unique("read-only"), disk.path.join("lake"));
        let _heavy = heavy();
        let plays = generate(&topic, "5");
        let running = Running::start(&topic, &lake, &["--commit-interval", "300ms"]);
        wait_until_committed(&running, plays.len());
        disk.make_read_only();
        generate(&topic, "6");
        let ended = running.program.end();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains("can no longer be written"), "{}", ended.stderr);
    });
}

/// At each step of a commit: the steps before it are not repeated, and the steps after it are
/// completed once there is room.
#[test]
fn a_commit_survives_a_full_disk_at_any_step() {
    let play = |song: &str| Play::new(song, "2025-05-05T05:05:00Z");
    let plays: Vec<Play> = (0..50).map(|number| play(&(number % 7).to_string())).collect();
    let later: Vec<Play> =
        plays.iter().map(|play| Play { time: play.time + jiff::Span::new().hours(1), ..play.clone() }).collect();
    let plays = [plays, later].concat();
    let topic = broker::topic("full-step", 2);
    broker::produce(&topic, 0, plays[..60].iter().map(Play::json));
    broker::produce(&topic, 1, plays[60..].iter().map(Play::json).chain([b"no play".to_vec()]));
    for point in ["staged", "intended", "renaming", "renamed", "appended"] {
        let folder = folder();
        let (lake, release) = (folder.path().join("lake"), folder.path().join("release"));
        let failpoint = [
            ("REPRISE_FAILPOINT", format!("{point}=full")),
            ("REPRISE_FAILPOINT_UNTIL", release.display().to_string()),
        ];
        let options = ["-w", "2", "--commit-interval", "200ms", "--until-caught-up"];
        let running = Running::of(reprise_with(run(&topic, &lake, &options), &failpoint));
        eventually(point, || running.status()["paused"].as_str().map(str::to_owned));
        File::create(&release).expect("the file can be created");
        let ended = running.program.succeed();
        assert!(ended.stderr.contains("there is room"), "{point}: {}", ended.stderr);
        replay(&lake, &[]).assert_equals(&plays, &default_charts());
        lake::assert_holds(&lake, &plays);
        assert_eq!(lake::dead_letters(&lake).len(), 1, "{point}");
    }
}
