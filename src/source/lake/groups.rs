//! The reader of files that reprise wrote, a row group after the other, by way of
//! [`pages`](super::pages).

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use reprise_dataflows::play::{LateTitles, PlayBatch};

use super::opened::Opened;
use super::pages::{Column, ColumnReader, Values};
use crate::lake::{LakeFile, ROW_GROUP_ROWS_MAX};

/// The rows of a batch: few enough for the processor's cache, and enough that the cost of a batch is
/// small.
const BATCH_ROWS: usize = 64 << 10;
const TITLES: [&str; 2] = ["title", "artist"];

/// Called with the error if a file cannot be read when its titles are requested. Ends the process.
pub type Fail = fn(anyhow::Error);

/// Reads columns of a file with checksums.
pub struct Groups {
    opened: Opened,
    day: i32,
    columns: Vec<Wanted>,
    /// The file to read titles and artists from on request, if they are not among `columns`.
    late: Option<(LakeFile, Fail)>,
    /// The next row group.
    next: usize,
    /// The readers of the columns of the row group before, and its rows that are left.
    open: (Vec<ColumnReader>, usize),
}

/// A column to read, and its index in the file.
struct Wanted {
    name: &'static str,
    index: usize,
    holds: Values,
}

impl Opened {
    fn index_of(&self, name: &str) -> Option<usize> {
        let schema = self.metadata.file_metadata().schema_descr();
        schema.columns().iter().position(|column| column.path().string() == name)
    }

    fn column(&self, group: usize, index: usize) -> Result<Column> {
        let bytes = self.checksum.read_column(&self.content, &self.metadata, group, index)?;
        let about = self.metadata.row_group(group).column(index).clone();
        Ok(Column { bytes, about, rows: self.rows(group)? })
    }

    fn rows(&self, group: usize) -> Result<usize> {
        usize::try_from(self.metadata.row_group(group).num_rows()).context("a row group with a negative number of rows")
    }

    /// The column `name`, if it has the encoding of our writer.
    fn wanted(&self, name: &'static str) -> Option<Wanted> {
        let index = self.index_of(name)?;
        let schema = crate::lake::rows::schema();
        let data_type = schema.field_with_name(name).ok()?.data_type();
        let mut groups = self.metadata.row_groups().iter().map(|group| Values::of(group.column(index), data_type));
        let holds = groups.next().unwrap_or(None)?;
        groups.all(|other| other == Some(holds)).then_some(Wanted { name, index, holds })
    }
}

impl Groups {
    /// A reader of `columns`. With `late`, titles and artists are read on request, and an error
    /// then goes to `late`.
    ///
    /// # Errors
    /// Returns the file if it is not in our layout, so that it needs a general reader.
    pub fn new(opened: Opened, file: &LakeFile, columns: &[&'static str], late: Option<Fail>) -> Result<Self, Opened> {
        let is_short = |rows: i64| (0..=ROW_GROUP_ROWS_MAX as i64).contains(&rows);
        let groups_are_short = opened.metadata.row_groups().iter().all(|group| is_short(group.num_rows()));
        let columns: Option<Vec<Wanted>> = columns.iter().map(|name| opened.wanted(name)).collect();
        let Some(mut columns) = columns.filter(|_| opened.checksum.is_there() && groups_are_short) else {
            return Err(opened);
        };
        if late.is_some() {
            columns.retain(|column| !TITLES.contains(&column.name));
        }
        let late = late.map(|fail| (file.clone(), fail));
        Ok(Self { opened, day: file.day, columns, late, next: 0, open: Default::default() })
    }

    /// The next plays; `None` after the last.
    pub fn next(&mut self) -> Result<Option<PlayBatch>> {
        let mut titles = None;
        while self.open.1 == 0 {
            let group = self.next;
            if group == self.opened.metadata.num_row_groups() {
                return Ok(None);
            }
            self.next += 1;
            let reader = |wanted: &Wanted| self.opened.column(group, wanted.index)?.reader(wanted.holds);
            let readers = self.columns.iter().map(reader).collect::<Result<Vec<_>>>()?;
            self.open = (readers, self.opened.rows(group)?);
            titles = self.late.as_ref().map(|(file, fail)| Titles { file: file.clone(), group, fail: *fail });
        }
        let (readers, left) = &mut self.open;
        let rows = BATCH_ROWS.min(*left);
        *left -= rows;
        let arrays = self.columns.iter().zip(readers).map(|(wanted, reader)| Ok((wanted.name, reader.next(rows)?)));
        let batch = RecordBatch::try_from_iter(arrays.collect::<Result<Vec<_>>>()?)?;
        let plays = PlayBatch::new(batch, Some(self.day));
        // The first batch has the dictionary of all ids of the row group.
        Ok(Some(match titles {
            Some(titles) => plays.with_late_titles(Arc::new(titles)),
            None => plays,
        }))
    }
}

/// The titles and artists of a row group, read on request.
#[derive(Debug)]
struct Titles {
    file: LakeFile,
    group: usize,
    fail: Fail,
}

impl LateTitles for Titles {
    fn each(&self, wanted: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(&str, &str, &str)) {
        let place = &self.file.place;
        if let Err(error) =
            self.read(wanted, visit).with_context(|| format!("cannot read titles from {place}, a file of the lake"))
        {
            (self.fail)(error);
        }
    }
}

impl Titles {
    fn read(&self, wanted: &dyn Fn(&str) -> bool, visit: &mut dyn FnMut(&str, &str, &str)) -> Result<()> {
        let opened = Opened::new(&self.file)?;
        let column = |name| {
            let index = opened.index_of(name).with_context(|| format!("there is no column {name}"))?;
            opened.column(self.group, index)
        };
        let mut ids = column("song_id")?.reader(Values::Coded)?;
        let mut titles_and_artists = None;
        let mut is_wanted = Vec::new();
        // The keys of the title and artist that were last passed to `visit` for each track.
        let mut last = Vec::new();
        let mut left = opened.rows(self.group)?;
        while left > 0 {
            let rows = BATCH_ROWS.min(left);
            left -= rows;
            let ids = ids.next(rows)?;
            let ids = ids.as_dictionary::<Int32Type>();
            let id_texts = ids.values().as_string::<i32>();
            let (titles, artists) = match &mut titles_and_artists {
                Some(readers) => readers,
                None => {
                    is_wanted = id_texts.iter().map(|id| id.is_some_and(wanted)).collect::<Vec<_>>();
                    if !is_wanted.contains(&true) {
                        return Ok(());
                    }
                    last = vec![None; is_wanted.len()];
                    titles_and_artists.insert((column(TITLES[0])?.keys()?, column(TITLES[1])?.keys()?))
                }
            };
            let (title_keys, artist_keys) = (titles.next(rows)?, artists.next(rows)?);
            let (title_keys, artist_keys) = (values(&title_keys), values(&artist_keys));
            let rows = ids.keys().values().iter().map(|key| *key as usize).enumerate();
            for (row, key) in rows.filter(|(_, key)| is_wanted[*key]) {
                let pair = (title_keys[row], artist_keys[row]);
                if last[key].replace(pair) != Some(pair) {
                    let (title, artist) =
                        (titles.decoder.text(pair.0 as usize)?, artists.decoder.text(pair.1 as usize)?);
                    visit(id_texts.value(key), title, artist);
                }
            }
        }
        Ok(())
    }
}

fn values(keys: &ArrayRef) -> &[i32] {
    keys.as_primitive::<Int32Type>().values()
}
