//! `reprise generate`: its options, and its progress display.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;

use super::logging::{start_log, stop_flag};
use super::parsers::{brokers, parse_duration, parse_moment, parse_option};
use super::run::topic_name;
use super::usage::{WrongUsage, wrong};
use crate::generate::plays::{LongTail, Mix, Period};
use crate::generate::{self, SONGS_MAX, SendProgress, Summary, Traffic};
use crate::kafka::{DEFAULT_SERVERS, check_options};
use crate::text::log;

/// Records of a history without `--history-plays` and `--count`.
const HISTORY_PLAYS: u64 = 1_000_000;
/// How often a line of progress is printed without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

const EXPLANATION: &str = "\
A play is a JSON object with song_id, title, artist, user_id, timestamp (UTC), duration_ms, completed (70 %), device and \
country. The key of its Kafka record is the song_id, and the record's timestamp is the time of sending. Songs are drawn by \
their popularity, and countries by the hour of the day in ten countries. Ctrl-C stops, once the records sent so far are \
delivered.

Examples:
  A thousand plays a second, until Ctrl-C:
    reprise generate --brokers localhost:9092

  A month of days and nights, then live plays on top of it:
    reprise generate --history 30d

  As fast as the broker takes them, with a long tail of songs:
    reprise generate --rate max --count 3000000 --songs 100000 --skew 1.1

  A topic with malformed records, the same at every run, and a copy to compare charts with:
    reprise generate --seed 42 --start 2026-11-01 --history 7d --count 200000 \\
        --late 0.05 --duplicates 0.02 --malformed 0.01 --out plays.jsonl

  A broker that wants TLS and a password:
    reprise generate --brokers kafka.example:9093 -X security.protocol=SASL_SSL \\
        -X sasl.mechanism=PLAIN -X sasl.username=me -X sasl.password=secret";

/// The options of `reprise generate`.
#[derive(clap::Args)]
#[command(after_long_help = EXPLANATION, after_help = "More, with examples: reprise generate --help")]
pub struct Options {
    /// The addresses of Kafka brokers: host:port, separated by commas
    #[arg(long, value_name = "HOST:PORT", env = "KAFKA_BOOTSTRAP_SERVERS", default_value = DEFAULT_SERVERS)]
    #[arg(value_parser = brokers, help_heading = "Kafka")]
    brokers: String,
    /// The topic to write to; it is created if it does not exist
    #[arg(long, env = "REPRISE_TOPIC", default_value = "song-plays", value_parser = topic_name, help_heading = "Kafka")]
    topic: String,
    /// The number of partitions of the topic if it has to be created
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=10_000))]
    #[arg(help_heading = "Kafka")]
    partitions: i32,
    /// An option of librdkafka, for example compression.type=none; may be given several times
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = parse_option, help_heading = "Kafka")]
    client_options: Vec<(String, String)>,

    /// Live plays a second, or "max"
    #[arg(long, value_name = "N|max", default_value = "1000", value_parser = rate, help_heading = "How much")]
    rate: Rate,
    /// Stop after this many records, the history included
    #[arg(long, value_name = "N", help_heading = "How much")]
    count: Option<u64>,
    /// Stop after this long, for example 90s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "How much")]
    duration: Option<Duration>,

    /// First send a history of plays of this length up to now, for example 30d or 12h, as fast as
    /// possible; then live plays
    #[arg(long, value_name = "TIME", value_parser = parse_duration, help_heading = "When the plays happen")]
    history: Option<Duration>,
    /// The number of plays in the history [default: all of --count, or 1000000]
    #[arg(long, value_name = "N", requires = "history", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(help_heading = "When the plays happen")]
    history_plays: Option<u64>,
    /// Skip the history if the topic has records already, so that a restart does not send it twice
    #[arg(long, requires = "history", help_heading = "When the plays happen")]
    history_once: bool,
    /// The first event time (UTC), for example 2026-11-01 or 2026-11-01T18:30:00Z, instead of times
    /// relative to now
    ///
    /// The history begins at this time, and live plays follow it 1/RATE s apart (with "max": 1 µs),
    /// whatever the clock shows. Together with --seed, every byte of every play is then the same at
    /// each run.
    #[arg(long, value_name = "TIME", value_parser = parse_moment, help_heading = "When the plays happen")]
    start: Option<i64>,
    /// Share of plays that come 1 min to 6 h late, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share, help_heading = "When the plays happen")]
    late: f64,

    /// The number of songs in a long tail, with ids S000001, S000002 … [default: 50 songs with ids
    /// 1 … 50]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(SONGS_MAX)))]
    #[arg(help_heading = "What is played")]
    songs: Option<u32>,
    /// How steep the long tail is: song r is played 1/r^S times as often as song 1
    #[arg(long, value_name = "S", default_value_t = 1.0, requires = "songs", value_parser = skew)]
    #[arg(help_heading = "What is played")]
    skew: f64,
    /// The number of users, with ids U1000, U1001 …
    #[arg(long, value_name = "N", default_value_t = 9000, value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(help_heading = "What is played")]
    users: u64,
    /// The seed of the random numbers: the same seed and options give the same plays, with --start
    /// also the same timestamps
    #[arg(long, value_name = "N", help_heading = "What is played")]
    seed: Option<u64>,

    /// Share of records that repeat the value of an earlier play, from 0 to 1
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share, help_heading = "What is wrong with them")]
    duplicates: f64,
    /// Share of records that are malformed, from 0 to 1
    ///
    /// Kinds: not JSON, not UTF-8, wrong types, missing fields, empty, no value, times before 2000
    /// or far ahead, bad durations, long texts; and at most three of 2 MB and three that nest
    /// 10,000 deep.
    #[arg(long, value_name = "P", default_value_t = 0.0, value_parser = share, help_heading = "What is wrong with them")]
    malformed: f64,

    /// Write a copy of all records: plays to FILE, one a line, and malformed records to FILE.bad
    ///
    /// FILE has the values in the order sent, and duplicates as often as they were sent. FILE.bad
    /// has a JSON object for each malformed record: the reason, the partition, the key, and the
    /// value in base64 (null: no value).
    #[arg(long, value_name = "FILE.jsonl", help_heading = "Copy")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy)]
enum Rate {
    PerSecond(f64),
    Max,
}

/// Sends the traffic, and prints a summary.
///
/// # Errors
/// If the options contradict each other, or the traffic cannot be sent.
pub fn run(options: Options) -> Result<()> {
    let traffic = options.traffic()?;
    check_options(&traffic.client_options).wrong_usage()?;
    start_log("warn");
    let stop = stop_flag("delivering what was sent")?;
    let mut screen = Screen::new();
    let sent = generate::send(&traffic, &options.brokers, &stop, |_| false, |progress| screen.show(progress));
    screen.close();
    log::note(&describe(&sent?, &traffic));
    Ok(())
}

impl Options {
    fn traffic(&self) -> Result<Traffic> {
        if self.duplicates + self.malformed > 1.0 {
            return Err(wrong(
                "--duplicates and --malformed are shares of all records; together they may not be more than 1",
            ));
        }
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        if let Some(start_us) = self.start {
            let end_us = start_us.saturating_add(micros(self.history.unwrap_or_default()));
            if start_us < START_MIN_US || end_us > Timestamp::now().as_microsecond() {
                return Err(wrong("--start must be after 2000-01-01, and not less than --history before now"));
            }
        }
        let history_plays = self.history_plays.or(self.count).unwrap_or(HISTORY_PLAYS).max(1);
        if self.history_plays > self.count.or(self.history_plays) {
            return Err(wrong("--history-plays is more than --count, so the history would never be complete"));
        }
        let period = |length| Period { length_us: micros(length), records: history_plays };
        Ok(Traffic {
            topic: self.topic.clone(),
            partitions: self.partitions,
            mix: Mix {
                seed: self.seed.unwrap_or_else(any_seed),
                long_tail: self.songs.map(|songs| LongTail { songs, skew: self.skew }),
                cycle_plays: None,
                users: self.users,
                history: self.history.map(period),
                start_us: self.start,
                late: self.late,
                duplicates: self.duplicates,
                malformed: self.malformed,
            },
            rate: match self.rate {
                Rate::PerSecond(rate) => Some(rate),
                Rate::Max => None,
            },
            history_once: self.history_once,
            count: self.count,
            duration: self.duration,
            out: self.out.clone(),
            client_options: self.client_options.clone(),
        })
    }
}

/// The earliest `--start`, 2000-01-02, in µs since 1970: a day after the earliest valid event time.
const START_MIN_US: i64 = 946_771_200_000_000;

/// A random seed below a million, so that it is easy to type.
fn any_seed() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::from(since.subsec_nanos()) / 1000)
}

fn describe(summary: &Summary, traffic: &Traffic) -> String {
    let count = |number: u64| HumanCount(number).to_string();
    let rate = summary.sent as f64 / summary.elapsed.as_secs_f64().max(1e-9);
    let partitions: Vec<String> = summary.partitions.iter().map(|&records| count(records)).collect();
    format!(
        "sent {} records to '{}' in {:.1} s: {}/s, {:.1} MB/s; {} late, {} duplicates, {} malformed\n\
         by partition: {}; seed: {}",
        count(summary.sent),
        traffic.topic,
        summary.elapsed.as_secs_f64(),
        count(rate as u64),
        summary.value_bytes as f64 / 1e6 / summary.elapsed.as_secs_f64().max(1e-9),
        count(summary.late),
        count(summary.duplicates),
        count(summary.malformed),
        partitions.join(" | "),
        traffic.mix.seed,
    )
}

/// The progress display: a spinner on a terminal, otherwise a line every [`LINE_EVERY`].
struct Screen {
    bar: Option<ProgressBar>,
    line_due: Instant,
    last: (u64, Duration),
}

impl Screen {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, line_due: Instant::now() + LINE_EVERY, last: (0, Duration::ZERO) }
    }

    fn show(&mut self, progress: &SendProgress) {
        let line_due = Instant::now() >= self.line_due;
        if self.bar.is_none() && !line_due {
            return;
        }
        let rate = (progress.sent - self.last.0) as f64 / (progress.elapsed - self.last.1).as_secs_f64().max(1e-3);
        let text = status(progress, rate);
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None => log::note(&text),
        }
        if line_due || self.bar.is_some() && progress.elapsed > self.last.1 + Duration::from_secs(1) {
            self.line_due = Instant::now() + LINE_EVERY;
            self.last = (progress.sent, progress.elapsed);
        }
    }

    fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn status(progress: &SendProgress, rate: f64) -> String {
    let of = progress.count.map_or_else(String::new, |count| format!(" of {}", HumanCount(count)));
    let phase = if progress.history_left > 0 { "history" } else { "live" };
    format!("{phase}: {}{of} records sent, {}/s", HumanCount(progress.sent), HumanCount(rate as u64))
}

fn rate(text: &str) -> Result<Rate, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Rate::Max),
        Ok(rate) if rate.is_finite() && rate >= 0.001 => Ok(Rate::PerSecond(rate)),
        _ => Err("give plays a second, at least 0.001, or max".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|share| (0.0..=1.0).contains(share)).ok_or("give a share from 0 to 1".to_owned())
}

fn skew(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|skew| (0.0..=5.0).contains(skew)).ok_or("give a number from 0 to 5".to_owned())
}
