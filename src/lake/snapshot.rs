//! The content of a lake at one version: its files, and how far it had come.

use anyhow::{Context, Result, bail, ensure};
use delta_kernel::table_features::ColumnMappingMode;

use super::LakeProgress;
use super::layout::LOG;
use super::listing::{self, LakeFile};
use super::store::Place;
use super::table::{PLAYS, Table};

/// The plays of a lake at one version.
pub struct Snapshot {
    topic: Option<String>,
    cluster_id: Option<String>,
    progress: LakeProgress,
    files: Vec<LakeFile>,
}

impl Snapshot {
    /// Opens `lake` at `version`, or at the newest version.
    ///
    /// # Errors
    /// If there is no lake, if the version does not exist, if the log cannot be read, or if the
    /// table lacks the time column.
    pub fn open(lake: &Place, version: Option<u64>) -> Result<Self> {
        check_is_lake(lake)?;
        let table = Table::open(lake, &PLAYS, lake.engine()?, version)?;
        table.format()?;
        check_columns(&table)?;
        let progress = table.progress()?;
        let files = listing::list(&table).with_context(|| format!("cannot list the files of the lake {lake}"))?;
        let [topic, cluster_id] = [table.topic(), table.cluster_id()].map(|text| text.map(str::to_owned));
        Ok(Self { topic, cluster_id, progress, files })
    }

    /// The topic that the plays came from; `None` if the lake was imported.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }

    /// The Kafka cluster that the plays came from; `None` if the lake was imported.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The version of the Delta table.
    pub fn version(&self) -> u64 {
        self.progress.version
    }

    /// How far the lake had come. It has no clock and no epoch if it was imported, or if nothing
    /// has been committed yet.
    pub fn progress(&self) -> &LakeProgress {
        &self.progress
    }

    /// All files, sorted by day, hour and place.
    pub fn files(&self) -> &[LakeFile] {
        &self.files
    }

    /// The files that may contain plays of the event times `[from_us, to_us)`, in µs since 1970.
    pub fn files_between(&self, from_us: i64, to_us: i64) -> impl Iterator<Item = &LakeFile> {
        self.files.iter().filter(move |file| file.may_hold(from_us, to_us))
    }
}

/// Refuses a table without the time column, and one whose files use other column names than the
/// table (column mapping).
fn check_columns(table: &Table) -> Result<()> {
    ensure!(
        table.snapshot().schema().field(PLAYS.time_column).is_some(),
        "the table {} lacks the column `{}`: it holds the times of plays, and every chart needs it",
        table.root,
        PLAYS.time_column
    );
    let mode = table.snapshot().table_properties().column_mapping_mode;
    ensure!(
        matches!(mode, None | Some(ColumnMappingMode::None)),
        "the table {} maps the names of its columns (delta.columnMapping.mode), which reprise does not read: write its rows \
         to a table without column mapping",
        table.root
    );
    Ok(())
}

/// The incarnation of the lake: how many times a process has become its writer.
///
/// # Errors
/// If the lake cannot be read.
pub fn incarnation(lake: &Place) -> Result<i64> {
    Ok(Table::open(lake, &PLAYS, lake.engine()?, None)?.progress()?.incarnation)
}

/// Refuses a folder that is not a lake.
///
/// # Errors
/// An error with advice that depends on what the folder contains.
pub fn check_is_lake(lake: &Place) -> Result<()> {
    if lake.join(PLAYS.folder).join(LOG).is_folder() {
        return Ok(());
    }
    ensure!(lake.exists(), "there is no lake {lake}: `reprise run --lake {lake}` makes one");
    ensure!(lake.is_folder(), "{lake} is a file: --lake takes the folder of a lake");
    if lake.join(LOG).is_folder() {
        bail!("{lake} is one table of a lake: give --lake the folder above it");
    }
    if lake.names()?.is_empty() {
        bail!("the folder {lake} is empty, so it is not a lake yet: `reprise run --lake {lake}` makes it one");
    }
    bail!("{lake} is not a lake: it has no folder {}/_delta_log", PLAYS.folder)
}
