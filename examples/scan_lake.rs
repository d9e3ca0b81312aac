//! The limit of a replay: threads that decode the columns of the default charts, and add them up in
//! memory.
//!
//! `scan_lake LAKE [THREADS]` counts the completed plays by track, country, week and month in dense
//! arrays, which suffices for weekly, monthly and all-time charts, and prints a JSON object. It
//! does not rank, resolve titles, read the log, or verify checksums. `scripts/bench replay`
//! compares it with the program and its peers.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use jiff::civil::Date;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Includes titles and artists, since a chart shows them.
const COLUMNS: [&str; 5] = ["song_id", "title", "artist", "country", "completed"];
const BATCH_ROWS: usize = 64 << 10;

/// The first day of a week, and of a month.
type Span = (Date, Date);

/// A file, with the week and the month of its plays.
struct Input {
    path: PathBuf,
    span: Span,
}

/// Texts → numbers, the same on all threads.
#[derive(Default)]
struct Numbers(Mutex<HashMap<String, usize>>);

impl Numbers {
    /// The number of each text of a dictionary.
    fn of(&self, texts: &dyn Array) -> Vec<usize> {
        let mut numbers = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let number = |text: Option<&str>| {
            let text = text.unwrap_or_default();
            numbers.get(text).copied().unwrap_or_else(|| {
                let next = numbers.len();
                numbers.insert(text.to_owned(), next);
                next
            })
        };
        texts.as_string::<i32>().iter().map(number).collect()
    }

    fn len(&self) -> usize {
        self.0.lock().map_or(0, |numbers| numbers.len())
    }
}

/// The counts of a thread: an array by track for each span and country.
#[derive(Default)]
struct Counts {
    plays: usize,
    of: BTreeMap<Span, Vec<Vec<u32>>>,
}

#[expect(clippy::print_stdout, reason = "it prints its measurements for the caller")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lake, rest @ ..] = &arguments[..] else { bail!("usage: scan_lake LAKE [THREADS]") };
    let threads = rest.first().map_or(Ok(2), |text| text.parse()).context("THREADS is a number")?;
    let began = Instant::now();
    let inputs = inputs(Path::new(lake))?;
    let (tracks, countries, next) = (Numbers::default(), Numbers::default(), AtomicUsize::new(0));
    let work = || -> Result<Counts> {
        let mut counts = Counts::default();
        while let Some(input) = inputs.get(next.fetch_add(1, Ordering::Relaxed)) {
            scan(input, &tracks, &countries, &mut counts).with_context(|| input.path.display().to_string())?;
        }
        Ok(counts)
    };
    let parts = std::thread::scope(|scope| -> Result<Vec<Counts>> {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| bail!("a thread died"))).collect()
    })?;
    let plays: usize = parts.iter().map(|part| part.plays).sum();
    let completed = completed(parts);
    let seconds = began.elapsed().as_secs_f64();
    let tracks = tracks.len();
    println!(r#"{{"plays":{plays},"completed":{completed},"tracks":{tracks},"seconds":{seconds:.4}}}"#);
    Ok(())
}

/// The files of a lake, by the names of its folders.
fn inputs(lake: &Path) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for day in children(&lake.join("song_plays"))? {
        let name = day.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(date) = name.strip_prefix("date=") else { continue };
        let date: Date = date.parse()?;
        let since_monday = i64::from(date.weekday().to_monday_zero_offset());
        let span = (date - jiff::Span::new().days(since_monday), date.first_of_month());
        for path in children(&day)?.iter().map(|hour| children(hour)).collect::<Result<Vec<_>>>()?.concat() {
            if path.extension().is_some_and(|extension| extension == "parquet") {
                inputs.push(Input { path, span });
            }
        }
    }
    Ok(inputs)
}

fn children(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn scan(input: &Input, tracks: &Numbers, countries: &Numbers, counts: &mut Counts) -> Result<()> {
    let file = File::open(&input.path)?;
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = metadata.schema().fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), dictionary.clone(), field.is_nullable()),
        _ => field.as_ref().clone(),
    });
    let options = ArrowReaderOptions::new().with_schema(Schema::new(fields.collect::<Vec<_>>()).into());
    let metadata = ArrowReaderMetadata::try_new(metadata.metadata().clone(), options)?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
    let by_country = counts.of.entry(input.span).or_default();
    let mut known = None;
    for batch in builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()? {
        let batch = black_box(batch?);
        counts.plays += batch.num_rows();
        add(&batch, tracks, countries, &mut known, by_country)?;
    }
    Ok(())
}

/// The dictionary of tracks of the last batch, and their numbers.
type Known = Option<(arrow::array::ArrayRef, Vec<usize>)>;

fn add(
    batch: &RecordBatch,
    tracks: &Numbers,
    countries: &Numbers,
    known: &mut Known,
    by_country: &mut Vec<Vec<u32>>,
) -> Result<()> {
    let column = |name| batch.column_by_name(name).with_context(|| format!("there is no column {name}"));
    let songs = column("song_id")?.as_dictionary::<Int32Type>();
    let places = column("country")?.as_dictionary::<Int32Type>();
    let completed = column("completed")?.as_boolean().values();
    let place_numbers = countries.of(places.values());
    // A row group has one dictionary for all its batches.
    if known.as_ref().is_none_or(|(values, _)| !std::sync::Arc::ptr_eq(values, songs.values())) {
        *known = Some((songs.values().clone(), tracks.of(songs.values())));
    }
    let song_numbers = known.as_ref().map_or(&[][..], |(_, numbers)| numbers);
    by_country.resize(by_country.len().max(countries.len()), Vec::new());
    for array in by_country.iter_mut() {
        array.resize(array.len().max(tracks.len()), 0);
    }
    let rows = songs.keys().values().iter().zip(places.keys().values()).zip(completed);
    for ((song, place), completed) in rows {
        by_country[place_numbers[*place as usize]][song_numbers[*song as usize]] += u32::from(completed);
    }
    Ok(())
}

/// Adds up the counts of the threads.
fn completed(parts: Vec<Counts>) -> u64 {
    let mut all: BTreeMap<Span, Vec<Vec<u32>>> = BTreeMap::new();
    for (span, by_country) in parts.into_iter().flat_map(|part| part.of) {
        let sums = all.entry(span).or_default();
        sums.resize(sums.len().max(by_country.len()), Vec::new());
        for (sum, array) in sums.iter_mut().zip(by_country) {
            sum.resize(sum.len().max(array.len()), 0);
            sum.iter_mut().zip(array).for_each(|(sum, plays)| *sum += plays);
        }
    }
    black_box(all).into_values().flatten().flatten().map(u64::from).sum()
}
