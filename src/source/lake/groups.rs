//! The reader of files that reprise wrote: one row group at a time, by way of
//! [`pages`](super::pages).

use std::sync::Arc;

use anyhow::{Context, Result};
use arrow::array::{Array, AsArray, RecordBatch};
use reprise_dataflows::play::{LateTitles, PlayBatch, Texts};

use super::opened::Opened;
use super::pages::{Column, Values};
use crate::lake::{LakeFile, ROW_GROUP_ROWS_MAX};

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
    next: usize,
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
        let about = self.metadata.row_group(group);
        let bytes = self.checksum.read_column(&self.content, &self.metadata, group, index)?;
        let rows = usize::try_from(about.num_rows()).context("a row group of less than no rows")?;
        Ok(Column { bytes, about: about.column(index).clone(), rows })
    }

    /// The column `name`, if it has the encoding of our writer.
    fn wanted(&self, name: &'static str) -> Option<Wanted> {
        let index = self.index_of(name)?;
        let schema = crate::intake::schema();
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
        Ok(Self { opened, day: file.day, columns, late, next: 0 })
    }

    /// The plays of the next row group; `None` after the last.
    pub fn next(&mut self) -> Result<Option<PlayBatch>> {
        let group = self.next;
        if group == self.opened.metadata.num_row_groups() {
            return Ok(None);
        }
        self.next += 1;
        let arrays = self.columns.iter().map(|Wanted { name, index, holds }| {
            let column = self.opened.column(group, *index)?;
            Ok((*name, column.decoded(*holds)?))
        });
        let batch = RecordBatch::try_from_iter(arrays.collect::<Result<Vec<_>>>()?)?;
        let plays = PlayBatch::new(batch, Some(self.day));
        Ok(Some(match &self.late {
            Some((file, fail)) => plays.with_late_titles(Arc::new(Titles { file: file.clone(), group, fail: *fail })),
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
            opened.column(self.group, opened.index_of(name).with_context(|| format!("there is no column {name}"))?)
        };
        let ids = column("song_id")?.coded_texts()?;
        let id_texts = ids.values().as_string::<i32>();
        let wanted: Vec<bool> = id_texts.iter().map(|id| id.is_some_and(wanted)).collect();
        let keys = ids.keys().values();
        let rows: Vec<u32> = (0..).zip(keys).filter(|(_, key)| wanted[**key as usize]).map(|(row, _)| row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let (titles, artists) = (column(TITLES[0])?.texts_of(&rows)?, column(TITLES[1])?.texts_of(&rows)?);
        let texts = Texts::of_dictionary(&titles).zip(Texts::of_dictionary(&artists));
        let (title_texts, artist_texts) = texts.context("titles are not texts")?;
        // The title and artist that were last passed to `visit` for each track.
        let mut last = vec![None; id_texts.len()];
        for (place, row) in rows.into_iter().enumerate() {
            let key = keys[row as usize] as usize;
            let pair = (titles.keys().value(place), artists.keys().value(place));
            if last[key].replace(pair) != Some(pair) {
                visit(id_texts.value(key), title_texts.get(place), artist_texts.get(place));
            }
        }
        Ok(())
    }
}
