//! A cluster of processes gives the charts and the lake of a single process, ends as a whole, and
//! is restarted as a whole.

use std::time::{Duration, Instant};

use crate::restart::assert_every_offset_once;
use crate::support::charts::default_charts;
use crate::support::cluster::{HostFiles, all_gone, cluster, cluster_to_end, members};
use crate::support::fixture::{Traffic, folder};
use crate::support::oracle::Printed;
use crate::support::plays::Play;
use crate::support::program::{Ended, Program, reprise, succeed};
use crate::support::running::{Running, run, run_on};
use crate::support::{broker, eventually, heavy, lake, log, unique};

/// Numbers of processes, and of workers per process.
const SHAPES: [(&str, &str); 4] = [("1", "1"), ("1", "4"), ("2", "2"), ("4", "1")];
/// A process ends within 5 s of losing a peer; the rest is for a busy machine.
const END_MAX: Duration = Duration::from_secs(8);

/// A million plays, from which each shape makes a lake and charts.
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

/// A lake does not depend on the numbers of processes and workers that wrote it.
#[test]
fn a_lake_continues_and_replays_with_any_number_of_processes() {
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
        // All processes start from a checkpoint that one process made.
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

/// The topic has one partition, so all workers but one own none. Each process is killed in turn,
/// and finally the supervisor.
#[test]
fn a_killed_process_restarts_the_whole_cluster_and_nothing_is_lost() {
    let topic = broker::topic("restarts", 1);
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
        running = after_restarts(running, victim + 1);
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

/// The run at its new address after the given number of restarts.
fn after_restarts(running: Running, restarts: usize) -> Running {
    let address = eventually("the cluster is started again", || {
        let stderr = running.program.stderr();
        let addresses: Vec<&str> = stderr.split(" address=").skip(1).collect();
        addresses.get(restarts).and_then(|rest| rest.split_once(char::is_whitespace)).map(|(word, _)| word.to_owned())
    });
    running.at(address)
}

#[test]
fn the_supervisor_gives_up_after_its_restarts_and_on_wrong_usage() {
    let folder = folder();
    let cluster = |topic: &str, more: &[&str]| {
        let arguments = run(topic, folder.path(), &[&["--join-timeout", "20s", "-w", "1"], more].concat());
        reprise([&["cluster", "-n", "2", "--restarts", "2", "--"].map(str::to_owned)[..], &arguments].concat()).end()
    };
    let ended = cluster("test-no-such-topic", &[]);
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("restart 2 of 2") && ended.stderr.contains("2 restarts in a row did not help"),
        "{}",
        ended.stderr
    );
    assert!(ended.stderr.contains("[0] error") && ended.stderr.contains("does not exist"), "{}", ended.stderr);
    // A restart cannot fix wrong usage.
    let ended = cluster(&broker::topic("given-up", 1), &["-X", "no.such.option=1"]);
    assert!(!ended.status.success() && !ended.stderr.contains("starting all again"), "{}", ended.stderr);
    assert!(ended.stderr.contains("[0] error") && ended.stderr.contains("no.such.option"), "{}", ended.stderr);
}

/// Other processes than 0 answer health checks and redirect queries to process 0.
#[test]
fn followers_answer_health_checks_and_redirect_queries() {
    let topic = broker::topic("redirect", 2);
    let (folder, hosts) = (folder(), HostFiles::local(2));
    broker::produce(&topic, 0, plays(0, 10).iter().map(Play::json));
    let mut second = hosts.start(1, &topic, folder.path(), &["-w", "1"]);
    let first = Running::of(hosts.start(0, &topic, folder.path(), &["-w", "1"]));
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

/// A signal to any process, or to the supervisor at any time, stops all: everything read is
/// committed, and all exit with success.
#[test]
fn a_signal_to_one_process_stops_all() {
    let topic = broker::topic("signalled", 3);
    let folder = folder();
    let _heavy = heavy();
    let mut all = Vec::new();
    for signalled in [0, 1, 2] {
        let more = plays(signalled, 90);
        broker::produce(&topic, signalled as i32, more.iter().map(Play::json));
        all.extend(more);
        let hosts = HostFiles::local(3);
        let start = |process| hosts.start(process, &topic, folder.path(), &["-w", "1"]);
        let mut programs: Vec<Program> = (0..3).map(start).collect();
        let first = Running::of(programs.remove(0));
        first.caught_up(&topic);
        programs.insert(0, first.program);
        programs[signalled].signal("TERM");
        for ended in programs.into_iter().map(Program::end) {
            assert!(ended.status.success(), "after a signal to process {signalled}: {}", ended.stderr);
        }
    }
    for (delay_ms, servers) in [(0, broker::servers()), (400, "127.0.0.1:1"), (700, broker::servers())] {
        let program = reprise(cluster("3", run_on(servers, &topic, folder.path(), &["-w", "1"])));
        std::thread::sleep(Duration::from_millis(delay_ms));
        let ids = members(program.id());
        program.signal("TERM");
        let ended = program.end();
        let killed_by_signal = ended.status.code().is_none() && ended.stderr.is_empty();
        assert!(ended.status.success() || killed_by_signal, "after {delay_ms} ms: {}\n{}", ended.status, ended.stderr);
        assert!(!ended.stderr.contains("starting all again"), "{}", ended.stderr);
        all_gone(&ids);
    }
    let live = cluster_to_end(&topic, folder.path(), "2", "1");
    live.assert_equals(&all, &default_charts());
    assert_every_offset_once(folder.path(), &topic);
}

/// If a process dies, is frozen, or panics on a thread of timely, the others end soon, and each
/// names the lost process.
#[test]
fn the_others_end_soon_when_one_is_lost() {
    let topic = broker::topic("lost", 3);
    let folder = folder();
    let _heavy = heavy();
    for (victim, how) in [(1, "KILL"), (0, "KILL"), (2, "STOP"), (0, "STOP"), (1, "panic")] {
        let hosts = HostFiles::local(3);
        let panics = [("REPRISE_FAILPOINT", "link*40=panic".to_owned())];
        let start = |process| {
            let variables: &[_] = if how == "panic" && process == victim { &panics } else { &[] };
            hosts.start_with(process, &topic, folder.path(), &["-w", "1", "--commit-interval", "100ms"], variables)
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
        assert!(named > 0, "no process names process {victim}: {others:#?}");
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
