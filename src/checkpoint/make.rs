//! Makes a checkpoint: tallies(V′) = tallies(V) + the plays committed since.
//!
//! Plays are counted by the same [`Summariser`] as in a run. Its counts are merged into the buckets
//! of the previous checkpoint, in several rounds if there are many, so memory is bounded except for
//! the names of the items.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail, ensure};
use reprise_dataflows::count::summarise::Summariser;
use reprise_dataflows::keys::interner::Interner;
use reprise_dataflows::keys::item::ItemKey;
use reprise_dataflows::names::catalogue::Naming;
use reprise_dataflows::rules::plan::{Key, Plan};

use super::bucket::{self, BUCKETS, Row, Tallies};
use super::manifest::{self, Manifest, Part};
use super::opened::{Checkpoint, PREFIX, folder, list};
use crate::lake::store::Place;
use crate::lake::{Snapshot, check_is_lake};
use crate::process::failpoint;
use crate::source::lake::{Reader, Selection};

/// The maximum number of tallies in memory, of 32 bytes each, before they are merged with those on
/// disk.
const UNMERGED_MAX: usize = 4 << 20;
/// The number of plays after which the summariser's counts are taken out of it.
const ROUND_ROWS: u64 = 4 << 20;
/// The number of checkpoints that are kept: the newest, and the one before in case the newest is
/// damaged.
const KEPT: usize = 2;
const LOCK: &str = "lock";
const MAKING: &str = "_making-";

/// The outcome of [`make`].
#[derive(Debug, PartialEq, Eq)]
pub enum Made {
    /// A new checkpoint of `version`, which has counted `plays` plays.
    New { version: u64, plays: u64 },
    /// The newest version already has a checkpoint.
    Nothing,
    /// Another process is making a checkpoint of the lake.
    Busy,
    /// `stop` was set.
    Stopped,
}

/// Makes a checkpoint of the newest version of `lake` for charts of `plan`, unless there is one,
/// and deletes old ones.
///
/// Calls `progress` with the plays counted so far and their total. Setting `stop` ends it early.
///
/// # Errors
/// If `lake` is not a lake or was imported, or if it cannot be read or written.
pub fn make(lake: &Place, plan: &Plan, stop: &AtomicBool, progress: impl FnMut(u64, u64)) -> Result<Made> {
    check_is_lake(lake)?;
    let folder = folder(lake);
    folder.create_folder()?;
    let lock = folder.join(LOCK);
    let lease = lock.lease().with_context(|| format!("cannot write to {folder}"))?;
    if !lease.try_take().with_context(|| format!("cannot lock {lock}"))? {
        return Ok(Made::Busy);
    }
    remove_unfinished(&folder)?;
    let snapshot = Snapshot::open(lake, None)?;
    ensure!(snapshot.topic().is_some(), "the lake {lake} was imported: runs cannot use it, so it needs no checkpoint");
    let base = base(lake, &snapshot, plan)?;
    if base.as_ref().is_some_and(|base| base.manifest.offsets == snapshot.progress().offsets) {
        return Ok(Made::Nothing);
    }
    let made = Maker::new(&folder, plan, base).and_then(|maker| maker.make(&snapshot, plan, stop, progress));
    // On a full disk the unfinished files must not take up the space that commits need.
    remove_unfinished(&folder)?;
    remove_old(lake)?;
    made
}

/// The newest usable checkpoint that has the same groupings as `plan`: its tallies can be merged in
/// their order.
fn base(lake: &Place, snapshot: &Snapshot, plan: &Plan) -> Result<Option<Checkpoint>> {
    let same = |checkpoint: &Checkpoint| checkpoint.manifest.counted_by == plan.counted_by();
    let candidates = list(lake)?.into_iter().rev().filter(|(version, _)| *version <= snapshot.version());
    Ok(candidates.filter_map(|(_, folder)| Checkpoint::open(&folder, snapshot).ok()).find(same))
}

/// Removes what crashed or stopped processes left unfinished. Requires the lock.
fn remove_unfinished(folder: &Place) -> Result<()> {
    let names = folder.names()?;
    names.iter().filter(|name| name.starts_with(MAKING)).try_for_each(|name| folder.join(name).remove_folder())
}

/// Deletes all but the newest checkpoints. Deletes the manifest first, so that a partly deleted
/// checkpoint is not one.
fn remove_old(lake: &Place) -> Result<()> {
    let checkpoints = list(lake)?;
    for (_, folder) in &checkpoints[..checkpoints.len().saturating_sub(KEPT)] {
        folder.join(manifest::FILE).remove()?;
        folder.remove_folder()?;
    }
    Ok(())
}

/// A checkpoint in progress.
struct Maker {
    checkpoints: Place,
    /// The folder with the buckets of the last round; at first that of the base.
    current: Option<Place>,
    base: Option<Checkpoint>,
    keys: Interner<Key>,
    tallies: Vec<Vec<Row>>,
    names: Vec<BTreeMap<ItemKey, Naming>>,
    unmerged: usize,
    plays: u64,
}

impl Maker {
    fn new(checkpoints: &Place, plan: &Plan, base: Option<Checkpoint>) -> Result<Self> {
        debug_assert!(base.as_ref().is_none_or(|base| base.manifest.counted_by == plan.counted_by()));
        let mut names: Vec<BTreeMap<ItemKey, Naming>> = vec![BTreeMap::new(); BUCKETS];
        if let Some(base) = &base {
            for (bucket, names) in names.iter_mut().enumerate() {
                for piece in base.namings(bucket)? {
                    names.extend(piece?.into_iter().map(|naming| (naming.item, naming)));
                }
            }
        }
        Ok(Self {
            checkpoints: checkpoints.clone(),
            current: base.as_ref().map(|base| base.folder.clone()),
            keys: base.iter().flat_map(|base| &base.keys).cloned().collect(),
            plays: base.as_ref().map_or(0, |base| base.manifest.plays),
            base,
            tallies: vec![Vec::new(); BUCKETS],
            names,
            unmerged: 0,
        })
    }

    fn make(self, snapshot: &Snapshot, plan: &Plan, stop: &AtomicBool, progress: impl FnMut(u64, u64)) -> Result<Made> {
        let Some(maker) = self.count(snapshot, plan, stop, progress)? else { return Ok(Made::Stopped) };
        let plays = maker.plays;
        maker.publish(snapshot, plan)?;
        Ok(Made::New { version: snapshot.version(), plays })
    }

    /// Counts the plays of `snapshot` that the base has not counted. `None` if it was stopped.
    fn count(
        mut self,
        snapshot: &Snapshot,
        plan: &Plan,
        stop: &AtomicBool,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<Option<Self>> {
        let counted = self.base.as_ref().map(|base| base.counted(snapshot));
        let selection = Selection {
            times_us: i64::MIN..i64::MAX,
            window_us: None,
            is_window_fixed: false,
            times: None,
            counted,
            late_titles: None,
        };
        let plan = plan.clone().without_window();
        let files: Vec<_> = snapshot.files().iter().filter(|file| selection.wants(file)).cloned().collect();
        let total = files.iter().map(|file| file.rows).sum();
        let mut reader = Reader::new(files, plan.clone(), selection);
        let mut summariser = Summariser::new(&plan);
        let (mut read, mut round) = (0, 0);
        while let Some(piece) = reader.next_piece()? {
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            read += piece.rows;
            round += piece.rows;
            for plays in piece.plays {
                self.plays += plays.rows() as u64;
                summariser.count(&plays);
            }
            progress(read, total);
            if round >= ROUND_ROWS {
                round = 0;
                self.take(&mut summariser)?;
            }
        }
        self.take(&mut summariser)?;
        self.merge()?;
        let rows: u64 = snapshot.files().iter().map(|file| file.rows).sum();
        if self.plays != rows {
            bail!(
                "version {} of the lake has {rows} plays, but {} were counted: another program has added or deleted plays; \
                 delete the folder {} and make a new checkpoint",
                snapshot.version(),
                self.plays,
                self.checkpoints
            );
        }
        Ok(Some(self))
    }

    /// Takes the counts out of the summariser.
    fn take(&mut self, summariser: &mut Summariser) -> Result<()> {
        let Self { keys, tallies, unmerged, .. } = self;
        summariser.drain(|_, (key, item), plays| {
            tallies[bucket::of(&item)].push((keys.number(&key), item, plays));
            *unmerged += 1;
        });
        for naming in summariser.drain_namings() {
            let known = self.names[bucket::of(&naming.item)].entry(naming.item).or_insert_with(|| naming.clone());
            if known.info < naming.info {
                known.info = naming.info;
            }
        }
        if self.unmerged >= UNMERGED_MAX { self.merge() } else { Ok(()) }
    }

    /// Merges the tallies in memory with the buckets on disk, into new buckets.
    fn merge(&mut self) -> Result<()> {
        let next = self.checkpoints.join(&format!("{MAKING}{:016x}", rand::random::<u64>()));
        next.create_folder()?;
        for bucket in 0..BUCKETS {
            failpoint::reach("checkpoint-writing")?;
            let mut new = std::mem::take(&mut self.tallies[bucket]);
            new.sort_unstable_by_key(|(key, item, _)| (*key, *item));
            let old = self.current.as_ref().map(|folder| Tallies::open(folder, bucket)).transpose()?;
            let old = old.into_iter().flatten().flat_map(rows);
            bucket::write_tallies(&next, bucket, Merged { old: old.peekable(), new: new.into_iter().peekable() })?;
        }
        self.unmerged = 0;
        if let Some(last) = self.current.replace(next).filter(|last| !last.name().starts_with(PREFIX)) {
            last.remove_folder()?;
        }
        Ok(())
    }

    /// Completes the folder of the last round, and moves it to the checkpoint's name.
    fn publish(self, snapshot: &Snapshot, plan: &Plan) -> Result<()> {
        let making = self.current.context("nothing was counted")?;
        for (bucket, names) in self.names.into_iter().enumerate() {
            bucket::write_names(&making, bucket, names.into_values())?;
        }
        let files: Vec<&str> = snapshot.files().iter().map(|file| file.place.key()).collect();
        making.join(manifest::KEYS).replace(&serde_json::to_vec(self.keys.all())?)?;
        making.join(manifest::FILES).replace(&serde_json::to_vec(&files)?)?;
        let parts = |name: fn(usize) -> String| {
            (0..BUCKETS).map(|bucket| Part::of(&making.join(&name(bucket)))).collect::<Result<Vec<_>>>()
        };
        let progress = snapshot.progress();
        let manifest = Manifest {
            format: manifest::FORMAT,
            topic: snapshot.topic().map(str::to_owned),
            cluster_id: snapshot.cluster_id().map(str::to_owned),
            version: snapshot.version(),
            plays: self.plays,
            offsets: progress.offsets.clone(),
            starts: progress.starts.clone(),
            counted_by: plan.counted_by(),
            keys: Part::of(&making.join(manifest::KEYS))?,
            files: Part::of(&making.join(manifest::FILES))?,
            tallies: parts(bucket::tallies_file)?,
            names: parts(bucket::names_file)?,
        };
        manifest.write(&making)?;
        failpoint::reach("checkpoint-written")?;
        // An existing one of this version is damaged or was made for other charts, otherwise it
        // would have been the base.
        let place = self.checkpoints.join(&format!("{PREFIX}{:020}", snapshot.version()));
        making.publish_folder(place.key(), manifest::FILE)?;
        failpoint::reach("checkpoint-renamed")?;
        Ok(())
    }
}

fn rows(piece: Result<Vec<Row>>) -> Box<dyn Iterator<Item = Result<Row>>> {
    match piece {
        Ok(rows) => Box::new(rows.into_iter().map(Ok)),
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

/// Merges two sorted sequences, adding up the counts of the same key and item.
struct Merged<A: Iterator<Item = Result<Row>>, B: Iterator<Item = Row>> {
    old: Peekable<A>,
    new: Peekable<B>,
}

impl<A: Iterator<Item = Result<Row>>, B: Iterator<Item = Row>> Iterator for Merged<A, B> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        let place = |(key, item, _): &Row| (*key, *item);
        let old = match self.old.peek() {
            Some(Ok(row)) => Some(place(row)),
            Some(Err(_)) => return self.old.next(),
            None => None,
        };
        let new = self.new.peek().map(place);
        let (key, item) = match (old, new) {
            (Some(old), Some(new)) => old.min(new),
            (old, new) => old.or(new)?,
        };
        let mut sum = 0;
        if old == Some((key, item))
            && let Some(Ok((.., plays))) = self.old.next()
        {
            sum += plays;
        }
        while let Some((.., plays)) = self.new.next_if(|row| place(row) == (key, item)) {
            sum += plays;
        }
        Some(Ok((key, item, sum)))
    }
}
