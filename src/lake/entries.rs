//! The files that a table's log names, with the fields of their log entries. Maintenance works on
//! these.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, StringArray, StructArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int64Type;
use delta_kernel::engine::arrow_data::{ArrowEngineData, EngineDataArrowExt};
use delta_kernel::scan::StatsOptions;
use delta_kernel::{FilteredEngineData, KernelError};
use serde::Deserialize;
use url::Url;

use crate::lake::damage::explained;
use crate::lake::layout::MERGED;
use crate::lake::listing::resolve;
use crate::lake::store::Place;
use crate::lake::table::Table;

/// A file of a table, as its log entry describes it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The path in the log: relative to the table, and escaped as in a URL.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// The values of the partition columns, sorted by column; `None` is a null.
    pub partition: Vec<(String, Option<String>)>,
    /// The size of the file.
    pub size_bytes: u64,
    /// The number of rows; `None` if the log does not have it.
    pub rows: Option<u64>,
    /// When it was written, in ms since 1970.
    pub modified_ms: i64,
    /// Whether a deletion vector marks some of its rows as deleted.
    pub has_deletions: bool,
}

/// All files of `table`, sorted by name. A lake of several years has hundreds of thousands;
/// [`for_each`] visits them without holding them in memory.
///
/// # Errors
/// If the log cannot be read, or names a file outside the table.
pub fn entries(table: &Table) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for_each(table, |entry| {
        entries.push(entry);
        Ok(())
    })?;
    entries.sort_by(|a: &Entry, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Calls `visit` with each file of `table`, in no particular order.
///
/// # Errors
/// As for [`entries`], and those of `visit`.
pub fn for_each(table: &Table, mut visit: impl FnMut(Entry) -> Result<()>) -> Result<()> {
    let root = table.root.url()?;
    scan(table, |data| {
        let batch = data.apply_selection_vector()?.try_into_record_batch()?;
        let columns = Columns::new(&batch)?;
        (0..batch.num_rows()).try_for_each(|row| visit(columns.entry(row, &root, table)?))
    })
}

/// The data with which a Delta transaction removes the files `names`; `None` if the log lacks one
/// of them.
pub fn removals(table: &Table, names: &BTreeSet<&str>) -> Result<Option<Vec<FilteredEngineData>>> {
    let mut found = 0;
    let mut removals = Vec::new();
    scan(table, |data| {
        let (data, selected) = data.into_parts();
        let batch = data.try_into_record_batch()?;
        let paths = Columns::new(&batch)?.paths;
        let is_removed = |row: usize| selected.get(row).copied().unwrap_or(true) && names.contains(paths.value(row));
        let removed: Vec<bool> = (0..batch.num_rows()).map(is_removed).collect();
        let count = removed.iter().filter(|removed| **removed).count();
        if count > 0 {
            found += count;
            // Only these rows are kept, because whole batches would contain the log of all
            // partitions.
            let batch = filter_record_batch(&batch, &BooleanArray::from(removed))?;
            let selected = vec![true; batch.num_rows()];
            removals.push(FilteredEngineData::try_new(Box::new(ArrowEngineData::new(batch)), selected)?);
        }
        Ok(())
    })?;
    Ok((found == names.len()).then_some(removals))
}

/// Calls `visit` with each batch of the kernel's listing of `table`.
fn scan(table: &Table, mut visit: impl FnMut(FilteredEngineData) -> Result<()>) -> Result<()> {
    let scan = table.snapshot().clone().scan_builder().with_stats(StatsOptions::json_only()).without_row_transforms();
    let context = || format!("cannot list the files of {}", table.root);
    let because = |error: KernelError| explained(&table.root, error.into()).context(context());
    let scan = scan.build().map_err(because)?;
    for found in scan.scan_metadata(table.engine()).map_err(because)? {
        visit(found.map_err(because)?.scan_files)?;
    }
    Ok(())
}

/// A batch of the kernel's listing, with its columns downcast.
struct Columns<'a> {
    paths: &'a StringArray,
    sizes: &'a [i64],
    modified: &'a [i64],
    statistics: &'a StringArray,
    partitions: &'a StructArray,
    deletions: &'a StructArray,
}

/// The part of a file's statistics that is used.
#[derive(Default, Deserialize)]
struct Statistics {
    #[serde(rename = "numRecords")]
    rows: Option<u64>,
}

impl Entry {
    /// The folder of its partition, relative to the table and with a slash at the end, for example
    /// `date=2026-11-20/hour=14/`. `None` if the values are not ones that our writers use: such
    /// values must not become the name of a folder.
    pub fn folder(&self) -> Option<String> {
        let is_ours =
            |value: &str| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let parts = self.partition.iter().map(|(column, value)| {
            let value = value.as_ref().filter(|value| is_ours(value))?;
            Some(format!("{column}={value}/"))
        });
        parts.collect()
    }

    /// Partition columns and their values, without nulls.
    pub fn partition_values(&self) -> Vec<(String, String)> {
        self.partition.iter().filter_map(|(column, value)| Some((column.clone(), value.clone()?))).collect()
    }

    /// The final path of a merged file that is not published yet, relative to the table; `None` for
    /// any other file.
    pub fn final_name(&self) -> Option<&str> {
        let name = self.name.strip_prefix(MERGED)?.strip_prefix('/')?;
        let file = name.strip_prefix(self.folder()?.as_str())?;
        // The log is untrusted input: only a name that our compaction gives may become a name
        // outside `_merged`.
        (file.ends_with(".parquet") && !file.contains(['/', '%'])).then_some(name)
    }
}

impl<'a> Columns<'a> {
    fn new(batch: &'a RecordBatch) -> Result<Self> {
        let column = |name: &str| batch.column_by_name(name).with_context(|| format!("the listing lacks {name}"));
        let texts = |name: &str| column(name)?.as_string_opt().with_context(|| format!("{name} is not a text"));
        let numbers = |name: &str| {
            let numbers = column(name)?.as_primitive_opt::<Int64Type>();
            numbers.map(|numbers| &numbers.values()[..]).with_context(|| format!("{name} is not a number"))
        };
        let structure = |name: &str| column(name)?.as_struct_opt().with_context(|| format!("{name} has no fields"));
        Ok(Self {
            paths: texts("path")?,
            sizes: numbers("size")?,
            modified: numbers("modificationTime")?,
            statistics: texts("stats")?,
            partitions: structure("fileConstantValues")?,
            deletions: structure("deletionVector")?,
        })
    }

    fn entry(&self, row: usize, root: &Url, table: &Table) -> Result<Entry> {
        let name = self.paths.value(row).to_owned();
        // Statistics are a hint: another tool may have written something else.
        let statistics = self.statistics.is_valid(row).then(|| serde_json::from_str(self.statistics.value(row)).ok());
        let statistics: Statistics = statistics.flatten().unwrap_or_default();
        Ok(Entry {
            place: resolve(&name, root, &table.root)?,
            partition: self.partition(row)?,
            size_bytes: self.sizes[row] as u64,
            rows: statistics.rows,
            modified_ms: self.modified[row],
            has_deletions: self.deletions.column_by_name("storageType").is_some_and(|kinds| kinds.is_valid(row)),
            name,
        })
    }

    fn partition(&self, row: usize) -> Result<Vec<(String, Option<String>)>> {
        let maps = self.partitions.column_by_name("partitionValues").and_then(|maps| maps.as_map_opt());
        let entries = maps.context("the listing lacks partitions")?.value(row);
        let keys = entries.column(0).as_string_opt::<i32>().context("partition columns are not texts")?;
        let values = entries.column(1).as_string_opt::<i32>().context("partition values are not texts")?;
        let pairs = keys.iter().zip(values);
        let mut partition: Vec<_> =
            pairs.filter_map(|(key, value)| Some((key?.to_owned(), value.map(str::to_owned)))).collect();
        // Sorted, so that `date` comes before `hour` as in the folders. The order in the log has no
        // meaning.
        partition.sort();
        Ok(partition)
    }
}
