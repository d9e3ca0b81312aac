//! The live path and replay beside their limit: a consumer that only counts, in the same minutes on the same topic.
//!
//! `cargo bench --bench live` makes the plays, wide ones (100,000 songs), on the broker that `KAFKA_BOOTSTRAP_SERVERS` names,
//! and then takes turns: the consumer, `reprise run --until-caught-up` with its lake and all charts, and `reprise replay`
//! of that lake. Machines are noisy, so what counts are the ratios of one round. `REPRISE_BENCH_PLAYS` is how many plays
//! (5,000,000), `REPRISE_BENCH_ROUNDS` how many rounds (3).

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

const REPRISE: &str = env!("CARGO_BIN_EXE_reprise");
const PARTITIONS: i32 = 4;
const WORKERS: &str = "2";

/// What a turn took.
struct Turn {
    plays_per_second: f64,
    memory_max_bytes: u64,
}

#[expect(clippy::print_stdout, reason = "a benchmark's table is for people")]
fn main() {
    let Ok(brokers) = std::env::var("KAFKA_BOOTSTRAP_SERVERS") else {
        eprintln!("this needs a broker: scripts/kafka start && eval \"$(scripts/kafka env)\"");
        std::process::exit(2);
    };
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (plays, rounds) = (number("REPRISE_BENCH_PLAYS", 5_000_000), number("REPRISE_BENCH_ROUNDS", 3));
    let topic = format!("bench-wide-{plays}-{}", std::process::id());
    generate(&brokers, &topic, plays);
    let folder = tempfile::tempdir().expect("a temporary folder");
    println!("| round | consumer alone | run | of it | memory | replay | against run | memory |");
    println!("|---|---|---|---|---|---|---|---|");
    for round in 1..=rounds {
        let lake = folder.path().join(format!("lake-{round}"));
        let limit = count(&brokers, &topic, plays);
        let run = run(&brokers, &topic, &lake, plays);
        let replay = replay(&lake, plays);
        println!(
            "| {round} | {:.0}k/s | {:.0}k/s | {:.2} | {} MB | {:.1} M/s | {:.1}× | {} MB |",
            limit / 1e3,
            run.plays_per_second / 1e3,
            run.plays_per_second / limit,
            run.memory_max_bytes >> 20,
            replay.plays_per_second / 1e6,
            replay.plays_per_second / run.plays_per_second,
            replay.memory_max_bytes >> 20,
        );
    }
}

fn generate(brokers: &str, topic: &str, plays: u64) {
    let arguments = ["generate", "--brokers", brokers, "--topic", topic, "--rate", "max", "--seed", "1"];
    let songs = ["--songs", "100000", "--skew", "1.1", "--users", "100000"];
    let status = Command::new(REPRISE).args(arguments).args(songs).arg(format!("--count={plays}")).status();
    assert!(status.is_ok_and(|status| status.success()), "the plays could not be made");
}

/// Plays per second of one consumer on one thread that only counts.
fn count(brokers: &str, topic: &str, plays: u64) -> f64 {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "reprise-bench")
        .set("enable.auto.commit", "false")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.message.max.bytes", "2097152")
        .set("queued.min.messages", "200000")
        .set("queued.max.messages.kbytes", "65536")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).expect("an offset");
    }
    let began = Instant::now();
    consumer.assign(&assignment).expect("an assignment");
    let mut seen = 0;
    while seen < plays {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(_)) => seen += 1,
            Some(Err(error)) => panic!("the consumer failed: {error}"),
            None => panic!("only {seen} of {plays} plays came"),
        }
    }
    plays as f64 / began.elapsed().as_secs_f64()
}

fn run(brokers: &str, topic: &str, lake: &Path, plays: u64) -> Turn {
    let mut command = Command::new(REPRISE);
    command.args([
        "run",
        "--brokers",
        brokers,
        "--topic",
        topic,
        "--until-caught-up",
        "--listen",
        "127.0.0.1:0",
        "-w",
        WORKERS,
    ]);
    measure(command.arg("--lake").arg(lake), plays)
}

fn replay(lake: &Path, plays: u64) -> Turn {
    let mut command = Command::new(REPRISE);
    measure(command.args(["replay", "--format", "json", "-w", WORKERS]).arg("--lake").arg(lake), plays)
}

/// Runs a command to its end. Its start and its exit count.
fn measure(command: &mut Command, plays: u64) -> Turn {
    let began = Instant::now();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the command starts");
    let mut memory_max_bytes = 0;
    let status = loop {
        memory_max_bytes = memory_max_bytes.max(memory_bytes(&child));
        if let Some(status) = child.try_wait().expect("the command can be waited for") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{command:?} failed: {status}");
    Turn { plays_per_second: plays as f64 / began.elapsed().as_secs_f64(), memory_max_bytes }
}

/// The most memory that a process has had so far.
fn memory_bytes(child: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).map_or(0, |kilobytes| kilobytes << 10)
}
