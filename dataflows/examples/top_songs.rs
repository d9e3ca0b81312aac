//! A weekly chart of four plays, without Kafka and without a lake: `build` turns plays into a
//! chart.
//!
//! Run it with `cargo run --release -p reprise-dataflows --example top_songs`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use differential_dataflow::input::InputSession;
use reprise_dataflows::play::PlayBatch;
use reprise_dataflows::query::Query;
use reprise_dataflows::rules::definition::{Definitions, Scope};
use reprise_dataflows::{Stage, Tallied, Tally, Tick, build};
use timely::dataflow::operators::vec::ToStream;
use timely::dataflow::operators::{Input, Inspect};

/// Three plays of one song and one of another, all in the week of 2026-11-16.
fn plays() -> PlayBatch {
    let texts = |texts: [&str; 4]| -> ArrayRef { Arc::new(StringArray::from_iter_values(texts)) };
    let minutes = [0, 1, 2, 3].map(|minute| 1_795_185_700_000_000 + minute * 60_000_000);
    let times = TimestampMicrosecondArray::from_iter_values(minutes).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 6] = [
        ("song_id", texts(["S1", "S2", "S1", "S1"])),
        ("title", texts(["Moon", "Rain", "Moon", "Moon"])),
        ("artist", texts(["Ana", "Bo", "Ana", "Ana"])),
        ("timestamp", Arc::new(times)),
        ("completed", Arc::new(BooleanArray::from(vec![true; 4]))),
        ("country", texts(["PT", "PT", "US", "PT"])),
    ];
    PlayBatch::new(RecordBatch::try_from_iter(columns).expect("columns of one length"), None)
}

fn main() {
    let definitions = Arc::new(Definitions::builtin());
    let counts = Arc::new(Mutex::new(BTreeMap::new()));
    let (rules, sums) = (definitions.clone(), counts.clone());
    timely::execute_directly(move |worker| {
        let mut tallies = InputSession::<u64, Tally, i64>::new();
        let mut inputs = worker.dataflow(|scope| {
            let ((ticks, tick_stream), (plays, play_stream)) = (scope.new_input(), scope.new_input());
            // There is no checkpoint and no query.
            let tallied = Tallied { tallies: tallies.to_collection(scope), namings: None.to_stream(scope) };
            let charts = build(&rules, tick_stream, play_stream, tallied, None::<Query>.to_stream(scope), None);
            // A chart is a collection: the sum of the changes of an entry is its count.
            charts.ranked.inner.inspect(move |(entry, _epoch, change)| {
                *sums.lock().expect("one thread").entry(entry.clone()).or_insert(0) += change;
            });
            (ticks, plays)
        });
        // One epoch: a tick with the clock, and the plays.
        inputs.0.send(Tick { epoch: 0, clock_us: Some(1_795_185_900_000_000), stage: Stage::Live, cut: None });
        inputs.1.send(plays());
    });
    let counts = counts.lock().expect("one thread");
    let weekly = counts.iter().filter(|((cell, _), plays)| {
        **plays > 0 && definitions.name(cell.chart) == "weekly" && cell.scope == Scope::Global
    });
    let mut weekly: Vec<_> = weekly.map(|((_, song), plays)| (plays, song)).collect();
    weekly.sort_by(|a, b| b.cmp(a));
    for (rank, (plays, song)) in (1..).zip(weekly) {
        #[expect(clippy::print_stdout, reason = "an example prints")]
        {
            println!("{rank}. {song}: {plays} plays");
        }
    }
}
