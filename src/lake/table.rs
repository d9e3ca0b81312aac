//! One Delta table: opening it, reading its transaction ids, appending to it.
//!
//! Incarnations and intents are the business of `fenced.rs`; nothing here depends on them.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::snapshot::{IncrementalReplay, Snapshot, SnapshotBuilder, SnapshotRef};
use delta_kernel::transaction::{CommitResult, CommittedTransaction, UpdateTableOperation};
use delta_kernel::{Engine, KernelError};
use reprise_dataflows::time::instant_name;
use serde_json::Value;

use super::damage::explained;
use super::layout::LOG;
use super::store::Place;
use super::{Account, LakeProgress, NewFile, statistics};

pub use super::kind::{DEAD_LETTERS, PLAYS, TableKind};

/// Identifies the writer in the log and in the files.
pub const WRITTEN_BY: &str = concat!("reprise/", env!("CARGO_PKG_VERSION"));

/// The table property with the name of the topic.
pub const TOPIC: &str = "reprise.topic";
/// The table property with the topic's id.
pub const TOPIC_ID: &str = "reprise.topic_id";
/// The table property with the id of the Kafka cluster in lakes of format 1.
pub const CLUSTER_ID: &str = "reprise.cluster_id";
/// The table property with the id of the Kafka cluster.
pub const KAFKA_CLUSTER_ID: &str = "reprise.kafka_cluster_id";
/// The table property with the format; lakes of format 1 lack it.
pub const FORMAT: &str = "reprise.format";
/// The format that is written: the rows have `cut` and `seen` since format 2.
pub const FORMAT_NOW: u64 = 2;
/// The transaction id of the epoch of the last cut.
const EPOCH: &str = "reprise:epoch";
/// The transaction id of the clock, in µs since 1970.
const CLOCK: &str = "reprise:clock";
/// The transaction id of the writer's incarnation.
pub const INCARNATION: &str = "reprise:incarnation";
/// How many partitions the topic was ever known to have.
const PARTITIONS: &str = "reprise:partitions";
/// More partitions than any cluster has: a log with a greater number is damaged.
const PARTITIONS_MAX: i32 = 1_000_000;
/// Prefixes of the transaction ids of each partition: see [`LakeProgress`].
const OFFSET: &str = "kafka";
const START: &str = "kafka-start";
const HOLES: &str = "kafka-holes";
const MISSING: &str = "kafka-missing";
const TIME: &str = "kafka-time";
const SEEN: &str = "kafka-seen";

/// How many commits lie between two checkpoints of the log. Because there is a checksum after each
/// commit, only other readers need checkpoints.
const COMMITS_PER_CHECKPOINT: u64 = 100;

/// How often opening a table may collide with a commit of another process.
const RACES_MAX: usize = 3;

/// What an append records besides files. Each value becomes the version of a transaction id of the
/// table.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    /// The incarnation of the writer.
    pub incarnation: i64,
    /// The epoch of the cut; `None` leaves the last one in place.
    pub epoch: Option<u64>,
    /// The clock of the cut, in µs since 1970; `None` leaves the last one in place.
    pub clock_us: Option<i64>,
    /// The previous clock, in µs since 1970, if the clock is reset by hand. Recorded for people
    /// only.
    pub clock_before_us: Option<i64>,
    /// The next offset of each Kafka partition.
    pub offsets: BTreeMap<i32, i64>,
    /// How the offsets before `offsets` are accounted for.
    pub account: Account,
}

/// A Delta table at one version.
pub struct Table {
    /// Which of the two tables it is.
    pub kind: &'static TableKind,
    /// The lake that it belongs to.
    pub lake: Place,
    /// The table, as a store of its own: the keys of its files are relative to it.
    pub root: Place,
    engine: Arc<dyn Engine>,
    snapshot: SnapshotRef,
}

/// The file name of the log entry of `version`.
pub fn entry_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// Retries `build`. Another process may commit while the kernel lists the log, and the kernel fails
/// on a checksum whose entry it has not listed.
fn despite_commits(build: impl Fn() -> Result<SnapshotRef>) -> Result<SnapshotRef> {
    for _ in 0..RACES_MAX {
        if let Ok(built) = build() {
            return Ok(built);
        }
    }
    build()
}

impl Table {
    /// Opens the table of `kind` in `lake` at `version`, or at its newest version. Fails if there
    /// is no table, or if its log lacks the version or cannot be read.
    pub fn open(lake: &Place, kind: &'static TableKind, engine: Arc<dyn Engine>, version: Option<u64>) -> Result<Self> {
        let folder = lake.join(kind.folder);
        let root = folder.resolved().with_context(|| format!("cannot open the table {folder}"))?;
        let built = despite_commits(|| {
            let builder = builder(&root)?;
            let builder = if let Some(version) = version { builder.at_version(version) } else { builder };
            Ok(builder.build(engine.as_ref())?)
        });
        let built = built.map_err(|error| explained(&root, error));
        let snapshot = built.with_context(|| match version {
            Some(version) => format!("cannot open version {version} of the table {root}"),
            None => format!("cannot open the table {root}"),
        })?;
        Ok(Self { kind, lake: lake.clone(), root, engine, snapshot })
    }

    /// Moves to the newest version. Fails if the log cannot be read.
    pub fn refresh(&mut self) -> Result<()> {
        if self.is_newest()? {
            return Ok(());
        }
        let built = despite_commits(|| {
            let builder = Snapshot::builder_from(self.snapshot.clone());
            Ok(builder.with_incremental_crc_replay(IncrementalReplay::Unlimited).build(self.engine.as_ref())?)
        });
        let built = built.map_err(|error| explained(&self.root, error));
        self.snapshot = built.with_context(|| format!("cannot read the newest version of the table {}", self.root))?;
        Ok(())
    }

    /// Whether the loaded version is the newest. Does not list the log, because that takes longer
    /// with every version.
    ///
    /// The log is cleaned up from its oldest version on. So if the entry of this version exists
    /// after the entry of the next one was found missing, the next one has never existed.
    fn is_newest(&self) -> Result<bool> {
        let version = self.snapshot.version();
        let exists = |version: u64| {
            let entry = self.log().join(&entry_name(version));
            entry.about().map(|about| about.is_some()).with_context(|| format!("cannot look at {entry}"))
        };
        Ok(!exists(version + 1)? && exists(version)?)
    }

    /// The folder of the log.
    pub fn log(&self) -> Place {
        self.root.join(LOG)
    }

    /// The kernel's view of the loaded version.
    pub fn snapshot(&self) -> &SnapshotRef {
        &self.snapshot
    }

    /// The engine that the table was opened with.
    pub fn engine(&self) -> &dyn Engine {
        self.engine.as_ref()
    }

    /// The name of the topic; `None` if the table was not made by `reprise run`.
    pub fn topic(&self) -> Option<&str> {
        self.property(TOPIC)
    }

    /// The topic's id; `None` also if an earlier release created the lake, or the cluster had no
    /// ids.
    pub fn topic_id(&self) -> Option<&str> {
        self.property(TOPIC_ID)
    }

    /// The id of the Kafka cluster; `None` if the table was not made by `reprise run`.
    pub fn cluster_id(&self) -> Option<&str> {
        self.property(KAFKA_CLUSTER_ID).or_else(|| self.property(CLUSTER_ID))
    }

    /// The format of the table.
    ///
    /// # Errors
    /// If it is newer than this program, or damaged.
    pub fn format(&self) -> Result<u64> {
        let Some(text) = self.property(FORMAT) else { return Ok(1) };
        let format = text.parse().ok().filter(|format| *format >= 1);
        let format = format.with_context(|| format!("the table {} has the format {text:?}", self.root))?;
        ensure!(
            format <= FORMAT_NOW,
            "the table {} has format {format}, and this version of reprise knows formats up to {FORMAT_NOW}: install a newer one",
            self.root
        );
        Ok(format)
    }

    /// The table's metadata, as in its log.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn metadata(&self) -> Result<Value> {
        // The kernel keeps its own copy to itself. A checksum of the log has it word for word.
        let place = self.log().join(&format!("{:020}.crc", self.snapshot.version()));
        if !place.exists() {
            self.snapshot.write_checksum(self.engine.as_ref())?;
        }
        let mut checksum: Value =
            serde_json::from_slice(&place.read()?).with_context(|| format!("{place} is damaged"))?;
        Ok(checksum["metadata"].take())
    }

    /// Appends an entry of `actions`, without files, as the next version. Returns false, and changes
    /// nothing, if that version already exists. After an error it may exist or not.
    pub fn append_actions(&mut self, actions: &[Value]) -> Result<bool> {
        let before = self.snapshot.version();
        let entry: String = actions.iter().map(|action| action.to_string() + "\n").collect();
        if !self.log().join(&entry_name(before + 1)).put_if_absent(entry.as_bytes())? {
            return Ok(false);
        }
        self.refresh()?;
        self.accelerate(before);
        Ok(true)
    }

    fn property(&self, key: &str) -> Option<&str> {
        self.snapshot.table_properties().unknown_properties.get(key).map(String::as_str)
    }

    /// The progress that the log records; a table without a topic has no offsets. Fails if the log
    /// cannot be read or is damaged.
    pub fn progress(&self) -> Result<LakeProgress> {
        let partitions = self.partitions()?;
        let of_partitions = |name: &str| {
            let mut values = BTreeMap::new();
            let Some(topic) = self.topic() else { return anyhow::Ok(values) };
            for partition in 0..partitions {
                values.extend(self.mark(&partition_mark(name, topic, partition))?.map(|value| (partition, value)));
            }
            Ok(values)
        };
        Ok(LakeProgress {
            version: self.snapshot.version(),
            epoch: self.mark(EPOCH)?.map(|epoch| epoch as u64),
            clock_us: self.mark(CLOCK)?,
            incarnation: self.mark(INCARNATION)?.unwrap_or(0),
            offsets: of_partitions(OFFSET)?,
            starts: of_partitions(START)?,
            holes: of_partitions(HOLES)?,
            missing: of_partitions(MISSING)?,
            times_ms: of_partitions(TIME)?.into_iter().filter(|(_, time_ms)| *time_ms >= 0).collect(),
            seen_us: of_partitions(SEEN)?,
        })
    }

    /// The greatest number of partitions that the topic was ever known to have. The log has no list
    /// of partitions, but Kafka numbers them from 0.
    fn partitions(&self) -> Result<i32> {
        let Some(known) = self.mark(PARTITIONS)? else { return Ok(0) };
        let partitions = i32::try_from(known).ok().filter(|partitions| *partitions <= PARTITIONS_MAX);
        partitions.with_context(|| format!("the log of {} speaks of {known} partitions", self.root))
    }

    /// The version of the transaction id `id`; `None` if the log does not have it. Fails if the log
    /// cannot be read.
    pub fn mark(&self, id: &str) -> Result<Option<i64>> {
        self.snapshot
            .get_app_id_version(id, self.engine.as_ref())
            .map_err(|error| explained(&self.root, error.into()))
            .with_context(|| format!("cannot read {id} from the log of {}", self.root))
    }

    /// Appends `files` and `marks` as the next version. Returns false, and changes nothing, if that
    /// version already exists. After an error it may exist or not.
    pub fn append(&mut self, files: &[NewFile], marks: &Marks) -> Result<bool> {
        let context = || format!("cannot commit to the table {}", self.root);
        let engine = self.engine.clone();
        let mut parameters = vec![("offsets".to_owned(), Some(serde_json::to_string(&marks.offsets)?))];
        if !marks.account.gaps.is_empty() {
            parameters.push(("gaps".to_owned(), Some(serde_json::to_string(&marks.account.gaps)?)));
        }
        if let (Some(before_us), Some(clock_us)) = (marks.clock_before_us, marks.clock_us) {
            let reset = format!("from {} to {}", instant_name(before_us), instant_name(clock_us));
            parameters.push(("clock_reset".to_owned(), Some(reset)));
        }
        let mut transaction = self
            .snapshot
            .clone()
            .update_table(UpdateTableOperation::StreamingUpdate, WRITTEN_BY, true)
            .with_operation_parameters(parameters);
        if !files.is_empty() {
            transaction = transaction.with_blind_append();
        }
        for (id, version) in self.transactions(marks)? {
            transaction = transaction.with_transaction_id(id, version);
        }
        let mut transaction =
            transaction.build(engine.as_ref(), Box::new(FileSystemCommitter::new())).with_context(context)?;
        if !files.is_empty() {
            let actions = statistics::add_actions(files, self.kind)?;
            transaction.add_files(Box::new(ArrowEngineData::new(actions)));
        }
        match transaction.commit(engine.as_ref()).with_context(context)? {
            CommitResult::Committed(committed) => self.adopt(&committed).map(|()| true),
            CommitResult::Conflicted(_) => Ok(false),
            CommitResult::Retryable(failed) => Err(failed.error).with_context(context),
        }
    }

    /// Moves to the version that this process has just committed, and writes its checksum. Fails if
    /// the log cannot be read.
    pub fn adopt(&mut self, committed: &CommittedTransaction) -> Result<()> {
        let before = self.snapshot.version();
        match committed.post_commit_snapshot() {
            Some(snapshot) => self.snapshot = snapshot.clone(),
            None => self.refresh()?,
        }
        self.accelerate(before);
        Ok(())
    }

    fn transactions(&self, marks: &Marks) -> Result<Vec<(String, i64)>> {
        let topic = self.topic().unwrap_or_default();
        let mut ids = vec![(INCARNATION.to_string(), marks.incarnation)];
        ids.extend(marks.epoch.map(|epoch| (EPOCH.to_string(), epoch as i64)));
        ids.extend(marks.clock_us.map(|clock_us| (CLOCK.to_string(), clock_us)));
        if let Some(last) = marks.offsets.keys().last() {
            ids.push((PARTITIONS.to_string(), self.partitions()?.max(last.saturating_add(1)).into()));
        }
        let account = &marks.account;
        let of_partitions = [
            (OFFSET, &marks.offsets),
            (START, &account.starts),
            (HOLES, &account.holes),
            (MISSING, &account.missing),
            (TIME, &account.times_ms),
            (SEEN, &account.seen_us),
        ];
        for (name, values) in of_partitions {
            ids.extend(values.iter().map(|(partition, value)| (partition_mark(name, topic, *partition), *value)));
        }
        Ok(ids)
    }

    /// Writes a checksum that does not depend on the previous one. After some commits of other
    /// tools, such as a VACUUM, the kernel cannot derive the number of files from the previous
    /// checksum, and after that commit it never can again. A checkpoint lists all files, so they
    /// are counted from one, once, and later checksums derive the number again.
    fn recount(&self) -> Result<SnapshotRef> {
        let engine = self.engine.as_ref();
        self.snapshot.checkpoint(engine, None)?;
        // At this version, because a later one may be that of another process that has taken over.
        let counted = builder(&self.root)?.at_version(self.snapshot.version()).build(engine)?;
        let (_, counted) = counted.write_checksum(engine)?;
        tracing::info!(
            table = %self.root,
            version = counted.version(),
            "another tool has committed to the table, so its files have been counted again"
        );
        Ok(counted)
    }

    /// Writes a checksum, and every [`COMMITS_PER_CHECKPOINT`] versions a checkpoint, so that the
    /// time to open the table does not grow with the log. The commit is already done, so a failure
    /// here only costs time.
    fn accelerate(&mut self, before: u64) {
        let written = match self.snapshot.write_checksum(self.engine.as_ref()) {
            Err(KernelError::ChecksumWriteUnsupported(_)) => self.recount(),
            written => written.map(|(_, snapshot)| snapshot).map_err(Into::into),
        };
        match written {
            Ok(snapshot) => self.snapshot = snapshot,
            Err(error) => tracing::warn!(table = %self.root, "cannot write a checksum of the log: {error:#}"),
        }
        if self.snapshot.version() / COMMITS_PER_CHECKPOINT == before / COMMITS_PER_CHECKPOINT {
            return;
        }
        match self.snapshot.checkpoint(self.engine.as_ref(), None) {
            Ok((_, snapshot)) => self.snapshot = snapshot,
            Err(error) => tracing::warn!(%error, table = %self.root, "cannot write a checkpoint of the log"),
        }
    }
}

/// Builds the kernel's snapshot so that the newest checksum, updated by the entries after it,
/// replaces all earlier commits.
fn builder(root: &Place) -> Result<SnapshotBuilder> {
    Ok(Snapshot::builder_for(root.url()?).with_incremental_crc_replay(IncrementalReplay::Unlimited))
}

fn partition_mark(name: &str, topic: &str, partition: i32) -> String {
    format!("{name}:{topic}:{partition}")
}
