//! The cost of each stage per play, alone and on one thread, compared with a straightforward way to
//! do the same.
//!
//! `cargo bench` alternates between both and prints medians. Machines are noisy, so only the ratio
//! within one run counts. `cargo bench -- decode` runs the stages whose names contain that text.
//! `scripts/bench` compares whole runs with other programs.

#![expect(clippy::print_stdout, reason = "the table of figures is the output")]

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fs::File;
use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use differential_dataflow::AsCollection;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use reprise::stages::{
    Cuts, Decoder, Encoded, Encoder, LakeFile, LongTail, Mix, Plays, Reader, Record, Selection, open_store,
};
use reprise_dataflows::count::summarise::Summariser;
use reprise_dataflows::keys::item::ItemKey;
use reprise_dataflows::play::{DAY_US, HOUR_US, PlayBatch};
use reprise_dataflows::rank::{Counted, RankRules, rank};
use reprise_dataflows::rules::definition::{Cell as ChartCell, Definitions};
use reprise_dataflows::rules::plan::{Key, Plan};
use reprise_dataflows::window::window;
use reprise_dataflows::{Epoch, Stage, Tally, Tick};
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::vec::ToStream;
use timely::dataflow::operators::{Input, Inspect};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PLAYS: u64 = 400_000;
const BATCH_ROWS: usize = 16 << 10;
const ROUNDS: usize = 9;
/// 2026-01-05T00:00:00Z, a Monday.
const START_US: i64 = 1_767_571_200_000_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let bench = Bench(wanted);
    println!("{PLAYS} plays, one thread, the median of {ROUNDS} rounds");
    println!("| stage | plays | ns/play | compared with | ns/play | ratio |");
    println!("|---|---|---|---|---|---|");
    for (kind, long_tail) in [("narrow", None), ("wide", Some(LongTail { songs: 100_000, skew: 1.1 }))] {
        let records = records(long_tail);
        let batches: Vec<_> = decode(&records).collect();
        let tallies = tally(&batches);
        bench.compare(
            "decode",
            kind,
            "serde_json, to a struct",
            || decode(&records).map(|batch| batch.rows()).sum::<usize>(),
            || to_structs(&records),
        );
        bench.compare("tally", kind, "a hash map", || tally(&batches), || in_hash_map(&batches));
        bench.compare("rank", kind, "sums sorted", || ranked(&tallies), || sorted(&tallies));
        bench.compare("window", kind, "sums of each window", || slid(&tallies), || summed(&tallies));
        bench.compare("write", kind, "ArrowWriter by default", || encode(&batches), || write_by_default(&batches));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = files(folder.path(), &batches);
        bench.compare("scan", kind, "plain texts", || scan(&files), || scan_plain(&files));
    }
}

/// Parts of the names of the stages to run; all stages, if there are none.
struct Bench(Vec<String>);

impl Bench {
    fn compare<A, B>(&self, stage: &str, kind: &str, name: &str, ours: impl Fn() -> A, theirs: impl Fn() -> B) {
        if !self.0.is_empty() && !self.0.iter().any(|wanted| stage.contains(wanted.as_str())) {
            return;
        }
        let (mut us, mut them) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            us.push(time(&ours));
            them.push(time(&theirs));
        }
        let (us, them) = (median(us), median(them));
        println!("| {stage} | {kind} | {us:.0} | {name} | {them:.0} | {:.2} |", them / us);
    }
}

/// The time of `work`, in ns per play.
fn time<R>(work: impl Fn() -> R) -> f64 {
    let began = Instant::now();
    let result = black_box(work());
    let took: Duration = began.elapsed();
    drop(result);
    took.as_nanos() as f64 / PLAYS as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Live traffic of 2,000 plays per second.
fn records(long_tail: Option<LongTail>) -> Vec<Vec<u8>> {
    let mix = Mix { long_tail, users: 100_000, start_us: Some(START_US), ..Mix::default() };
    let mut plays = Plays::new(mix, START_US, 500.0);
    let mut record = || {
        let mut value = Vec::new();
        plays.next(START_US, &mut value);
        value
    };
    (0..PLAYS).map(|_| record()).collect()
}

fn decode(records: &[Vec<u8>]) -> impl Iterator<Item = PlayBatch> {
    let mut decoder = Decoder::new();
    let batch_of = move |records: &[Vec<u8>]| {
        for (value, offset) in records.iter().zip(0..) {
            let record = Record { partition: 0, offset, timestamp_ms: None, seen_us: 0, value: Some(value) };
            assert!(decoder.push(&record).is_ok(), "the generator makes valid plays");
        }
        decoder.finish()
    };
    records.chunks(BATCH_ROWS).map(batch_of)
}

#[derive(serde::Deserialize)]
#[expect(dead_code, reason = "to read them is the work")]
struct Event<'a> {
    song_id: &'a str,
    title: &'a str,
    artist: &'a str,
    user_id: &'a str,
    timestamp: &'a str,
    duration_ms: i32,
    completed: bool,
    device: &'a str,
    country: &'a str,
}

fn to_structs(records: &[Vec<u8>]) -> usize {
    records.iter().filter(|value| black_box(serde_json::from_slice::<Event<'_>>(value)).is_ok()).count()
}

fn plan() -> Plan {
    Plan::new(&Definitions::builtin())
}

/// The counts of all plays: whether each is of a pane or of a day, its key and item, and the count.
fn tally(batches: &[PlayBatch]) -> Vec<(bool, Tally, i64)> {
    let mut summariser = Summariser::new(&plan());
    batches.iter().for_each(|batch| summariser.count(batch));
    let mut tallies = Vec::new();
    summariser.drain(|is_pane, tally, count| tallies.push((is_pane, tally, count)));
    tallies
}

fn in_hash_map(batches: &[PlayBatch]) -> usize {
    let mut counts = HashMap::<(String, String, i64), u64>::new();
    for batch in batches {
        let text = |name| batch.columns().column_by_name(name).map(arrow::array::AsArray::as_string::<i32>);
        let columns = (text("song_id"), text("country"), batch.timestamps_us());
        let (Some(songs), Some(countries), Some(times_us)) = columns else { continue };
        for ((song, country), time_us) in songs.iter().zip(countries).zip(times_us) {
            let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
            *counts.entry((text(song), text(country), time_us.div_euclid(DAY_US))).or_default() += 1;
        }
    }
    counts.len()
}

fn ranked(tallies: &[(bool, Tally, i64)]) -> usize {
    run(tallies, |is_pane, stream, _| {
        if is_pane {
            return stream;
        }
        let no_queries = None::<()>.to_stream(stream.scope());
        let rules = ByKey { plan: plan(), definitions: Definitions::builtin() };
        let tops = rank("Rank", stream.as_collection(), Pipeline, no_queries, rules).tops;
        tops.map(|(_, item)| (reprise_dataflows::rules::plan::Key::default(), item)).inner
    })
}

/// Breaks ties by item keys: comparing texts is another stage.
struct ByKey {
    plan: Plan,
    definitions: Definitions,
}

impl RankRules for ByKey {
    type Key = Key;
    type Item = ItemKey;
    type Cell = ChartCell;
    type Query = ();
    type Answer = ();

    fn cells(&self, key: &Key) -> Vec<ChartCell> {
        self.plan.cells(key)
    }

    fn top(&self, cell: &ChartCell) -> usize {
        self.definitions.top(cell.chart)
    }

    fn order(&self, a: &ItemKey, b: &ItemKey) -> Ordering {
        a.cmp(b)
    }

    fn answer(&self, (): (), _counted: &dyn Counted<ItemKey, ChartCell>) -> Vec<()> {
        Vec::new()
    }
}

fn slid(tallies: &[(bool, Tally, i64)]) -> usize {
    run(tallies, |is_pane, stream, ticks| match is_pane {
        true => {
            let names = reprise_dataflows::names::catalogue::Names::default();
            let queries = None.to_stream(stream.scope());
            window(stream.as_collection(), ticks, queries, &Definitions::builtin(), &names).0.inner
        }
        false => stream,
    })
}

type Updates<'scope> = timely::dataflow::StreamVec<'scope, Epoch, (Tally, Epoch, i64)>;
type Ticks<'scope> = timely::dataflow::StreamVec<'scope, Epoch, Tick>;

/// Runs `graph` over the tallies of days and over those of panes. All tallies are in the first
/// epoch; then the clock advances by a minute per epoch until all panes have left the window.
/// Returns the number of updates in the output.
fn run(
    tallies: &[(bool, Tally, i64)],
    graph: impl for<'scope> Fn(bool, Updates<'scope>, Ticks<'scope>) -> Updates<'scope> + Send + Sync + 'static,
) -> usize {
    let tallies = tallies.to_vec();
    timely::execute_directly(move |worker| {
        let out = Rc::new(Cell::new(0));
        let (mut inputs, mut ticks) = worker.dataflow(|scope| {
            let ((days, day_stream), (panes, pane_stream)) = (scope.new_input(), scope.new_input());
            let (ticks, tick_stream) = scope.new_input();
            for (is_pane, stream) in [(false, day_stream), (true, pane_stream)] {
                let out = out.clone();
                graph(is_pane, stream, tick_stream.clone()).inspect(move |_| out.set(out.get() + 1));
            }
            ([days, panes], ticks)
        });
        for (is_pane, tally, count) in tallies {
            inputs[usize::from(is_pane)].send((tally, 0, count));
        }
        let minutes = PLAYS as i64 / 2000 / 60 + 12;
        for epoch in 0..minutes as u64 {
            let clock_us = Some(START_US + 60_000_000 * epoch as i64);
            ticks.send(Tick { epoch, clock_us, stage: Stage::Live, cut: None });
            ticks.advance_to(epoch + 1);
            inputs.iter_mut().for_each(|input| input.advance_to(epoch + 1));
            worker.step();
        }
        inputs.into_iter().for_each(timely::dataflow::InputHandle::close);
        ticks.close();
        while worker.step() {}
        out.get()
    })
}

fn sorted(tallies: &[(bool, Tally, i64)]) -> usize {
    let plan = plan();
    let mut cells = HashMap::new();
    for (_, (key, item), count) in tallies.iter().filter(|(is_pane, ..)| !is_pane) {
        for cell in plan.cells(key) {
            *cells.entry(cell).or_insert_with(HashMap::new).entry(*item).or_insert(0i64) += count;
        }
    }
    let top = |counts: HashMap<_, i64>| {
        let mut counts: Vec<_> = counts.into_iter().map(|(item, count)| (-count, item)).collect();
        counts.sort_unstable();
        counts.truncate(100);
        counts.len()
    };
    cells.into_values().map(top).sum()
}

/// Counts each window separately, which panes avoid.
fn summed(tallies: &[(bool, Tally, i64)]) -> usize {
    let mut windows = HashMap::<_, i64>::new();
    for (_, (key, item), count) in tallies.iter().filter(|(is_pane, ..)| *is_pane) {
        for end in 0..10 {
            *windows.entry((key.bucket + end, key.labels.get(0), *item)).or_default() += count;
        }
    }
    windows.len()
}

fn encode(batches: &[PlayBatch]) -> usize {
    let (mut encoder, mut cuts) = (Encoder::default(), Cuts::after(None));
    for batch in batches {
        let rows = cuts.add(batch.columns()).expect("these are plays");
        encoder.add(rows).expect("these are plays");
    }
    ended(encoder).map(|(_, file)| file.bytes.len()).sum()
}

fn ended(mut encoder: Encoder) -> impl Iterator<Item = (i64, Encoded)> {
    std::iter::from_fn(move || encoder.next_file().expect("memory does not fail"))
}

fn write_by_default(batches: &[PlayBatch]) -> usize {
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batches[0].columns().schema(), None).expect("the columns have Parquet types");
    batches.iter().for_each(|batch| writer.write(batch.columns()).expect("memory does not fail"));
    writer.into_inner().expect("memory does not fail").len()
}

fn files(folder: &std::path::Path, batches: &[PlayBatch]) -> Vec<LakeFile> {
    let (mut encoder, mut cuts) = (Encoder::default(), Cuts::after(None));
    for batch in batches {
        let rows = cuts.add(batch.columns()).expect("these are plays");
        encoder.add(rows).expect("these are plays");
    }
    let file = |(hour, file): (i64, Encoded)| {
        let place = open_store(folder).expect("it has a plain name").join(&format!("{hour}.parquet"));
        std::fs::write(place.to_string(), &file.bytes).expect("there is room");
        LakeFile {
            day: hour.div_euclid(24) as i32,
            hour: hour.rem_euclid(24) as u8,
            filing: reprise::stages::Filing::ByHour,
            place,
            size_bytes: file.bytes.len() as u64,
            rows: file.metadata.file_metadata().num_rows() as u64,
            min_timestamp_us: Some(hour * HOUR_US),
            max_timestamp_us: Some((hour + 1) * HOUR_US - 1),
            cuts: None,
        }
    };
    ended(encoder).map(file).collect()
}

fn scan(files: &[LakeFile]) -> u64 {
    let selection = Selection {
        times_us: i64::MIN..i64::MAX,
        window_us: None,
        is_window_fixed: false,
        counted: None,
        late_titles: None,
        times: None,
    };
    let mut reader = Reader::new(files.to_vec(), plan(), selection);
    let mut rows = 0;
    while let Some(piece) = reader.next_piece().expect("the files are whole") {
        rows += piece.rows;
        black_box(piece);
    }
    rows
}

fn scan_plain(files: &[LakeFile]) -> usize {
    let rows_of = |file: &LakeFile| {
        let builder =
            ParquetRecordBatchReaderBuilder::try_new(File::open(file.place.to_string()).expect("it is there"));
        let builder = builder.expect("the file is whole");
        let mask = ProjectionMask::columns(builder.parquet_schema(), plan().columns(false));
        let batches = builder.with_projection(mask).with_batch_size(64 << 10).build().expect("the columns are there");
        batches.map(|batch| black_box(batch).map_or(0, |batch: RecordBatch| batch.num_rows())).sum::<usize>()
    };
    files.iter().map(rows_of).sum()
}
