//! Several processes are one: they give the charts and the lake that one gives, end together, and are started again together.

use std::time::{Duration, Instant};

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::cluster::{Table, all_gone, cluster, cluster_to_end, members};
use crate::support::fixture::{Traffic, folder};
use crate::support::oracle::Printed;
use crate::support::plays::Play;
use crate::support::program::{Ended, Program, reprise, succeed};
use crate::support::running::{Running, run, run_on};
use crate::support::{broker, eventually, heavy, lake, log, unique};

/// Processes and the workers of each.
const SHAPES: [(&str, &str); 4] = [("1", "1"), ("1", "4"), ("2", "2"), ("4", "1")];
/// A process ends within 5 s of losing a peer. A busy machine gets some more.
const END_MAX: Duration = Duration::from_secs(8);

/// A million plays, of which each shape makes a lake and charts.
#[test]
fn any_number_of_processes_gives_the_same_charts_and_the_same_lake() {
    let _heavy = heavy();
    let options = "--seed 7 --start 2025-12-27T06:00:00Z --history 7d --history-plays 900000 --count 1000000 \
        --rate 100000 --songs 20000 --late 0.05 --duplicates 0.01 --malformed 0.001";
    let traffic = Traffic::generate(&unique("cluster"), &options.split_whitespace().collect::<Vec<_>>());
    let mut first: Option<(Vec<String>, Vec<String>)> = None;
    for (processes, workers) in SHAPES {
        let folder = folder();
        let live = cluster_to_end(&traffic.topic, folder.path(), processes, workers);
        let mut rows: Vec<String> = lake::plays(folder.path())
            .iter()
            .map(|row| format!("{}/{} {}", row.partition, row.offset, row.play.line()))
            .collect();
        rows.sort_unstable();
        match &first {
            None => {
                live.assert_equals(&traffic.plays, &default_charts());
                lake::assert_holds(folder.path(), &traffic.plays);
                first = Some((live.lines, rows));
            }
            Some((lines, expected)) => {
                assert!(live.lines == *lines, "the charts of {processes}×{workers}");
                assert!(rows == *expected, "the lake of {processes}×{workers}");
            }
        }
    }
}

/// Stopped, and started with other numbers of processes and workers: the lake does not know how many wrote it.
#[test]
fn a_lake_goes_on_with_other_processes_and_replays_with_any() {
    let topic = broker::topic("rescale", 3);
    let folder = folder();
    let _heavy = heavy();
    let mut all = Vec::new();
    for (turn, (processes, workers)) in
        [("3", "1"), ("1", "3"), ("2", "2"), ("4", "1"), ("2", "1")].into_iter().enumerate()
    {
        let plays = plays(turn, 900);
        for partition in 0..3 {
            broker::produce(&topic, partition, plays.iter().skip(partition as usize).step_by(3).map(Play::json));
        }
        all.extend(plays);
        let live = cluster_to_end(&topic, folder.path(), processes, workers);
        live.assert_equals(&all, &default_charts());
        let replay = ["replay", "--lake", folder.path().to_str().unwrap(), "--format", "json", "-w", processes];
        let replayed = succeed(cluster(workers, replay.map(str::to_owned).into()));
        assert!(Printed::parse(&replayed.stdout).lines == live.lines, "the replay");
        // A checkpoint that one process makes is what all processes begin with.
        succeed(["lake", "checkpoint", "--lake", folder.path().to_str().unwrap()]);
    }
    assert_every_offset_once(folder.path(), &topic);
    log::account(folder.path());
}

pub fn plays(turn: usize, count: usize) -> Vec<Play> {
    let first = Play::new("S", "2025-05-05T05:05:00Z");
    let play = |number: usize| Play {
        song_id: format!("S{}", (number * number + turn) % 300),
        time: first.time + jiff::Span::new().seconds((turn * 1000 + number) as i64),
        country: ["US", "DE", "JP"][number % 3].to_owned(),
        ..first.clone()
    };
    (0..count).map(play).collect()
}

/// One partition, so that all workers but one own none; a process is killed again and again, and once the supervisor is.
#[test]
fn the_dead_are_started_again_together_and_nothing_is_lost() {
    let topic = broker::topic("resurrection", 1);
    let folder = folder();
    let _heavy = heavy();
    let options = ["--commit-interval", "50ms", "-w", "2"];
    let program = reprise(cluster("3", run(&topic, folder.path(), &options)));
    let supervisor = program.id();
    let mut running = Running::of(program);
    let mut all = Vec::new();
    for victim in 0..3 {
        let more = plays(victim, 300);
        broker::produce(&topic, 0, more.iter().map(Play::json));
        all.extend(more);
        running.caught_up(&topic);
        let before = members(supervisor);
        assert_eq!(before.len(), 3);
        signal(before[victim], "KILL");
        running = again(running, victim + 1);
        let after = members(supervisor);
        assert!(before.iter().all(|id| !after.contains(id)), "all are started again: {before:?}, {after:?}");
    }
    let last = members(supervisor);
    running.program.signal("KILL");
    all_gone(&last);
    let live = cluster_to_end(&topic, folder.path(), "2", "1");
    live.assert_equals(&all, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
}

/// The run that is served after so many restarts.
fn again(running: Running, restarts: usize) -> Running {
    let address = eventually("the cluster is started again", || {
        let stderr = running.program.stderr();
        let addresses: Vec<&str> = stderr.split(" address=").skip(1).collect();
        addresses.get(restarts).and_then(|rest| rest.split_once(char::is_whitespace)).map(|(word, _)| word.to_owned())
    });
    running.at(address)
}

#[test]
fn a_cluster_that_keeps_dying_is_given_up() {
    let folder = folder();
    let cluster = |topic: &str, more: &[&str]| {
        let words = run(topic, folder.path(), &[&["--join-timeout", "20s", "-w", "1"], more].concat());
        reprise([&["cluster", "-n", "2", "--restarts", "2", "--"].map(str::to_owned)[..], &words].concat()).end()
    };
    let ended = cluster("test-that-nobody-has-made", &[]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("restart 2 of 2") && ended.stderr.contains("has not helped 2 times"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("[0] error") && ended.stderr.contains("does not exist"), "{}", ended.stderr);
    // A command that is wrong will not be right the next time.
    let ended = cluster(&broker::topic("given-up", 1), &["-X", "no.such.option=1"]);
    assert!(!ended.status.success() && !ended.stderr.contains("starting all again"), "{}", ended.stderr);
    assert!(ended.stderr.contains("[0] error") && ended.stderr.contains("no.such.option"), "{}", ended.stderr);
}

/// Followers say that they live, and send people to who has the charts.
#[test]
fn all_processes_answer_and_one_of_them_serves() {
    let topic = broker::topic("redirect", 2);
    let (folder, table) = (folder(), Table::of(2));
    broker::produce(&topic, 0, plays(0, 10).iter().map(Play::json));
    let mut second = table.start(1, &topic, folder.path(), &["-w", "1"]);
    let first = Running::of(table.start(0, &topic, folder.path(), &["-w", "1"]));
    let status = first.caught_up(&topic);
    assert_eq!((&status["processes"], &status["workers"]), (&2.into(), &2.into()));
    let second_address = second.word_after("listening=");
    let second = Running::with(second, second_address);
    assert_eq!(second.get("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(second.get("/readyz").0, 200);
    let chart = "/v1/charts/weekly?scope=global";
    assert_eq!(second.json(chart)["entries"], first.json(chart)["entries"], "by a redirect");
    first.program.signal("TERM");
    for ended in [first.program.end(), second.program.end()] {
        assert!(ended.status.success(), "{}", ended.stderr);
    }
    assert_every_offset_once(folder.path(), &topic);
}

/// By whatever process, or by their supervisor, at once and after a while: what was read is committed, and nobody has failed.
#[test]
fn all_stop_when_one_is_asked_to() {
    let topic = broker::topic("asked", 3);
    let folder = folder();
    let _heavy = heavy();
    let mut all = Vec::new();
    for asked in [0, 1, 2] {
        let more = plays(asked, 90);
        broker::produce(&topic, asked as i32, more.iter().map(Play::json));
        all.extend(more);
        let table = Table::of(3);
        let start = |process| table.start(process, &topic, folder.path(), &["-w", "1"]);
        let mut programs: Vec<Program> = (0..3).map(start).collect();
        let first = Running::of(programs.remove(0));
        first.caught_up(&topic);
        programs.insert(0, first.program);
        programs[asked].signal("TERM");
        for ended in programs.into_iter().map(Program::end) {
            assert!(ended.status.success(), "process {asked} was asked: {}", ended.stderr);
        }
    }
    for (delay_ms, servers) in [(0, broker::servers()), (400, "127.0.0.1:1"), (700, broker::servers())] {
        let program = reprise(cluster("3", run_on(servers, &topic, folder.path(), &["-w", "1"])));
        std::thread::sleep(Duration::from_millis(delay_ms));
        let ids = members(program.id());
        program.signal("TERM");
        let ended = program.end();
        let unheard = ended.status.code().is_none() && ended.stderr.is_empty();
        assert!(ended.status.success() || unheard, "after {delay_ms} ms: {}\n{}", ended.status, ended.stderr);
        assert!(!ended.stderr.contains("starting all again"), "{}", ended.stderr);
        all_gone(&ids);
    }
    let live = cluster_to_end(&topic, folder.path(), "2", "1");
    live.assert_equals(&all, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
}

/// A process that dies, is frozen, or panics on a thread of timely's own takes the others with it, soon, and each says why.
#[test]
fn the_others_end_soon_when_one_is_lost() {
    let topic = broker::topic("lost", 3);
    let folder = folder();
    let _heavy = heavy();
    for (victim, how) in [(1, "KILL"), (0, "KILL"), (2, "STOP"), (0, "STOP"), (1, "panic")] {
        let table = Table::of(3);
        let panics = [("REPRISE_FAILPOINT", "link*40=panic".to_owned())];
        let start = |process| {
            let variables: &[_] = if how == "panic" && process == victim { &panics } else { &[] };
            table.start_with(process, &topic, folder.path(), &["-w", "1", "--commit-interval", "100ms"], variables)
        };
        let mut programs: Vec<Program> = (0..3).map(start).collect();
        if how != "panic" {
            programs[1].word_after("running");
            programs[0].word_after("address=");
            programs[victim].signal(how);
        }
        let lost = Instant::now();
        let victim_program = programs.remove(victim);
        let others: Vec<Ended> = programs.into_iter().map(Program::end).collect();
        if how != "panic" {
            assert!(lost.elapsed() < END_MAX, "process {victim}, {how}: the others took {:?}", lost.elapsed());
        }
        for ended in &others {
            assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
            assert!(ended.stderr.contains("error: process "), "{}", ended.stderr);
        }
        let named = others.iter().filter(|ended| ended.stderr.contains(&format!("error: process {victim} "))).count();
        assert!(named > 0, "nobody says that it was process {victim}: {others:#?}");
        match how {
            "panic" => {
                let ended = victim_program.end();
                assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
                assert!(ended.stderr.contains("the failpoint link is set"), "{}", ended.stderr);
            }
            "STOP" => {
                victim_program.signal("CONT");
                let ended = victim_program.end();
                assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
            }
            _ => drop(victim_program.end()),
        }
    }
    assert_every_offset_once(folder.path(), &topic);
}

fn signal(id: u32, name: &str) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
    assert!(sent.success(), "kill -{name} {id}");
}
