//! All metrics at one moment: those that are observed as things happen, and those that are read
//! from the state of the run.

#[cfg(test)]
mod tests;

use crate::intake::Rejection;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use crate::process::memory;
use crate::state::{PartitionStatus, Phase, State, Status};

/// The state from which the values of the metrics below are read.
struct Seen<'a> {
    state: &'a State,
    status: Status,
    cells: u64,
    titles: u64,
}

const MEMORY: &str = "reprise_resident_memory_bytes";
const MEMORY_HELP: &str = "Memory that this process holds, without files.";

/// The name of a metric, its help, and how its value is read.
type Metric = (&'static str, &'static str, fn(&Seen<'_>) -> u64);
/// The same for a metric with one series for each partition, which may have no value yet.
type ByPartition = (&'static str, &'static str, fn(&PartitionStatus) -> Option<i64>);

const COUNTERS: [Metric; 15] = [
    ("reprise_restarts_total", "Starts that wrote to this lake before this one.", |seen| {
        u64::try_from(seen.state.incarnation() - 1).unwrap_or(0)
    }),
    ("reprise_records_total", "Records that were read from Kafka.", |seen| {
        seen.status.accepted + seen.status.dead_letters.values().sum::<u64>()
    }),
    ("reprise_plays_total", "Records that are plays.", |seen| seen.status.accepted),
    ("reprise_window_misses_total", "Plays that were too old for the trending window when they were read.", |seen| {
        seen.state.metrics.totals.window_misses.load()
    }),
    ("reprise_holes_total", "Offsets without a record.", |seen| seen.status.holes),
    ("reprise_missing_offsets_total", "Offsets that Kafka had deleted before they were read.", |seen| {
        seen.status.missing
    }),
    ("reprise_epochs_total", "Epochs that are complete.", |seen| seen.state.metrics.totals.epochs.load()),
    ("reprise_commits_total", "Commits to the lake.", |seen| seen.state.metrics.totals.commits.load()),
    ("reprise_commit_plays_total", "Plays in these commits.", |seen| seen.state.metrics.totals.commit_plays.load()),
    ("reprise_commit_files_total", "Files in these commits.", |seen| seen.state.metrics.totals.commit_files.load()),
    ("reprise_commit_bytes_total", "Bytes of these files.", |seen| seen.state.metrics.totals.commit_bytes.load()),
    ("reprise_exchanged_bytes_total", "Bytes that the processes of a cluster sent each other.", |seen| {
        seen.status.exchanged_bytes
    }),
    ("reprise_stream_reloads_total", "Clients of /v1/stream that were too slow.", |seen| {
        seen.state.metrics.http.stream_reloads.load()
    }),
    ("reprise_changelog_published_total", "Messages that were published to the changelog topic.", |seen| {
        seen.state.changelog_published.load(std::sync::atomic::Ordering::Relaxed)
    }),
    ("reprise_queries_total", "Queries that the workers have answered.", |seen| seen.state.queries.answered()),
];

const GAUGES: [Metric; 17] = [
    ("reprise_start_time_seconds", "When this process began to run, since 1970.", |seen| {
        seen.status.started_at_us.and_then(|us| u64::try_from(us / 1_000_000).ok()).unwrap_or(0)
    }),
    ("reprise_workers", "Workers of the dataflow, in all processes.", |seen| seen.status.workers as u64),
    ("reprise_lake_version", "The newest version of the lake.", |seen| seen.status.lake_version.unwrap_or(0)),
    ("reprise_lake_plays", "Plays in the lake.", |seen| seen.status.lake_plays),
    ("reprise_lake_dead_letters", "Dead letters in the lake.", |seen| seen.status.lake_dead_letters),
    ("reprise_uncommitted_plays", "Plays that were read and are not yet in the lake.", |seen| {
        seen.status.uncommitted_plays
    }),
    ("reprise_cells", "Cells of charts that are served.", |seen| seen.cells),
    ("reprise_chart_titles", "Tracks in these cells.", |seen| seen.titles),
    (MEMORY, MEMORY_HELP, |_| held_bytes().unsigned_abs()),
    ("reprise_memory_limit_bytes", "How much it may hold.", |seen| seen.state.memory_max_bytes()),
    ("reprise_caught_up", "1 once every partition has been read to its end.", |seen| seen.status.caught_up.into()),
    ("reprise_ready", "1 once the charts of the lake are served.", |seen| seen.status.ready.into()),
    ("reprise_paused", "1 while nothing can be committed.", |seen| seen.status.paused.is_some().into()),
    ("reprise_kafka_silent", "1 while Kafka does not answer.", |seen| seen.status.kafka_silent.is_some().into()),
    ("reprise_clock_ahead_seconds", "How far the clock is ahead of the wall clock.", |seen| {
        seen.status.clock_ahead_ms.map_or(0, |ms| ms.unsigned_abs().div_ceil(1000))
    }),
    ("reprise_open_transaction_records", "Records behind a transaction that has not ended.", |seen| {
        seen.status.open_transaction.map_or(0, |open| open.records.unsigned_abs())
    }),
    ("reprise_stream_clients", "Clients of /v1/stream.", |seen| {
        seen.state.metrics.http.stream_clients.load(std::sync::atomic::Ordering::Relaxed)
    }),
];

const BY_PARTITION: [ByPartition; 3] = [
    ("reprise_partition_lag", "Records that wait to be read.", |partition| partition.lag),
    ("reprise_partition_next_offset", "The next offset to read.", |partition| Some(partition.next_offset)),
    ("reprise_partition_committed_offset", "The next offset after those in the lake.", |partition| {
        partition.committed_offset
    }),
];

/// The metrics of a process that serves no charts.
///
/// # Errors
/// None in practice: the names of metrics are unique and have valid characters.
pub fn process() -> prometheus::Result<Vec<MetricFamily>> {
    let registry = Registry::new();
    let memory = IntGauge::new(MEMORY, MEMORY_HELP)?;
    memory.set(held_bytes());
    registry.register(Box::new(memory))?;
    registry.register(Box::new(build_info()?))?;
    Ok(registry.gather())
}

fn held_bytes() -> i64 {
    memory::held_bytes().and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(0)
}

fn build_info() -> prometheus::Result<IntGaugeVec> {
    let info = IntGaugeVec::new(Opts::new("reprise_build_info", "Always 1; the label says what runs."), &["version"])?;
    info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    Ok(info)
}

/// The dead letters by reason. Each reason has a series from the start: a counter that appears with
/// its first records has no increase that an alert could see.
fn dead_letters(status: &Status) -> prometheus::Result<IntCounterVec> {
    let options = Opts::new("reprise_dead_letters_total", "Records that are no plays, by the reason.");
    let counters = IntCounterVec::new(options, &["reason"])?;
    for reason in Rejection::ALL {
        let _ = counters.with_label_values(&[reason.as_str()]);
    }
    for (reason, count) in &status.dead_letters {
        counters.with_label_values(&[reason]).inc_by(*count);
    }
    Ok(counters)
}

fn phase(now: Phase) -> prometheus::Result<IntGaugeVec> {
    let options = Opts::new("reprise_phase", "1 for the phase that the run is in, 0 for the others.");
    let gauges = IntGaugeVec::new(options, &["phase"])?;
    for phase in Phase::ALL {
        gauges.with_label_values(&[phase.as_str()]).set((phase == now).into());
    }
    Ok(gauges)
}

/// All metrics, each with its samples.
///
/// # Errors
/// None in practice: the names of metrics are unique and have valid characters.
pub fn families(state: &State) -> prometheus::Result<Vec<MetricFamily>> {
    let (cells, titles) = state.charts().sizes();
    let status = state.status_now();
    let seen = Seen { state, status, cells: cells as u64, titles: titles as u64 };
    let registry = Registry::new();
    for (name, help, value) in COUNTERS {
        let counter = IntCounter::new(name, help)?;
        counter.inc_by(value(&seen));
        registry.register(Box::new(counter))?;
    }
    for (name, help, value) in GAUGES {
        let gauge = IntGauge::new(name, help)?;
        gauge.set(i64::try_from(value(&seen)).unwrap_or(i64::MAX));
        registry.register(Box::new(gauge))?;
    }
    for (name, help, value) in BY_PARTITION {
        let gauges = IntGaugeVec::new(Opts::new(name, help), &["partition"])?;
        for partition in &seen.status.partitions {
            if let Some(value) = value(partition) {
                gauges.with_label_values(&[&partition.partition.to_string()]).set(value);
            }
        }
        registry.register(Box::new(gauges))?;
    }
    registry.register(Box::new(dead_letters(&seen.status)?))?;
    registry.register(Box::new(phase(seen.status.phase)?))?;
    registry.register(Box::new(build_info()?))?;

    let mut families = state.metrics.registry.gather();
    families.append(&mut registry.gather());
    Ok(families)
}
