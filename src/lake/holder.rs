//! Which process writes to a lake, so that a second one that is started by mistake is refused before it does any harm.
//!
//! The process that writes holds a lock of the operating system on `LAKE/song_plays/_staging/writer.lock`, and the file says
//! which process that is. The lock ends with its process, however that dies, so a restart never waits for a dead one. Between
//! machines a lock is seen only where the file system passes locks on; elsewhere there is only the record, which the process
//! erases when it ends in good order.
//!
//! All of this is a courtesy to people. That a lake has one writer rests on the incarnation alone (`fenced.rs`).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};

use tracing::{debug, warn};

use super::disk::{self, STAGING};
use super::table::PLAYS;
use super::writer_process::{NAME, RECORD_BYTES_MAX, WriterProcess, parse};
use super::{LakeProgress, SuccessorWatch};
use crate::process::shutdown::fail;
use crate::process::threads::Background;

/// How long to wait for a process that is ending: it lets the lock go when it is gone.
const ENDING_MAX: Duration = Duration::from_secs(2);
/// How often to try a lock that another process holds.
const TRY_INTERVAL: Duration = Duration::from_millis(50);
/// How soon a process learns that it has been overtaken.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The lock of a lake, and the record of this process beside it. Dropping it erases the record and lets the lock go.
pub struct Holder {
    path: PathBuf,
    file: File,
    this: WriterProcess,
    lock: Lock,
    /// What was recorded before, until this process has become the writer.
    before: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Ours,
    AnOthers,
    /// The file system has no locks.
    Missing,
}

impl Holder {
    /// Takes the lock of `lake` for this process, and records it as the writer that it is about to become. If another one holds
    /// the lock and this one is to `take_over`, it goes on without, and [`Holder::watch`] takes the lock later.
    ///
    /// # Errors
    /// When another process holds the lock, and this one is not to take over.
    pub fn take(lake: &Path, this: WriterProcess, take_over: bool) -> Result<Self> {
        let folder = lake.join(PLAYS.folder).join(STAGING);
        disk::create_folder(&folder)
            .with_context(|| format!("cannot make a lake in {}: give --lake a writable folder", lake.display()))?;
        let path = folder.join(NAME);
        let file = disk::open_lock(&path)?;
        let mut holder = Self { path, file, this, lock: Lock::AnOthers, before: None };
        let began = Instant::now();
        holder.try_lock();
        while holder.lock == Lock::AnOthers && !take_over {
            if began.elapsed() >= ENDING_MAX {
                return Err(holder.refusal(lake));
            }
            std::thread::sleep(TRY_INTERVAL);
            holder.try_lock();
        }
        holder.warn_of_predecessor(lake);
        holder.sign();
        Ok(holder)
    }

    fn try_lock(&mut self) {
        self.lock = match disk::try_lock(&self.file) {
            Ok(true) => Lock::Ours,
            Ok(false) => Lock::AnOthers,
            Err(error) => {
                warn!(
                    lock = %self.path.display(), %error,
                    "the file system of the lake has no locks: a second `reprise run` by mistake would not be refused"
                );
                Lock::Missing
            }
        }
    }

    fn refusal(&self, lake: &Path) -> Error {
        let lake = lake.display();
        let by = self.recorded().map_or_else(|| "another process".to_owned(), |writer| writer.to_string());
        anyhow!(
            "the lake {lake} is in use: it is written by {by}. Stop that one first, or start with --take-over \
             (REPRISE_TAKE_OVER=true), and that one ends within seconds. Nothing was changed"
        )
    }

    /// Says which process was there, if that one has not ended in good order and nothing shows whether it is dead: it ran on
    /// another machine, or still holds the lock.
    fn warn_of_predecessor(&self, lake: &Path) {
        if let Some(writer) = self.recorded()
            && (self.lock != Lock::Ours || writer.host != self.this.host)
        {
            warn!(
                lake = %lake.display(), host = writer.host, process = writer.pid,
                "taking the lake over from {writer}; if it still runs it can commit nothing more, and ends within seconds"
            );
        }
    }

    /// Records this process as the writer. Before it takes the lake over, so that the process which is overtaken can name it.
    fn sign(&mut self) {
        self.before = self.record();
        let record = serde_json::to_vec(&self.this).map_err(Error::from);
        let written = record.and_then(|record| Ok(self.write(&record)?));
        if let Err(error) = written {
            warn!(path = %self.path.display(), "cannot record that this process writes to the lake: {error:#}");
        }
    }

    /// Starts a thread that holds the lock until it is dropped. Every second it looks at the log of `lake`, which had come to
    /// `progress`, and ends the process when another one has taken over. If the lock was still another's, it takes it later.
    pub fn watch(mut self, lake: &Path, progress: &LakeProgress) -> Result<Background> {
        self.before = None;
        let mut successor = SuccessorWatch::new(lake, progress.version, progress.incarnation);
        Background::start("reprise-holder", move |stop| {
            loop {
                std::thread::park_timeout(if self.lock == Lock::AnOthers { TRY_INTERVAL } else { WATCH_INTERVAL });
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                match successor.look() {
                    Ok(None) => {}
                    Ok(Some(overtaken)) => fail(overtaken),
                    Err(error) => debug!("it is not known whether another process has taken over the lake: {error:#}"),
                }
                if self.lock == Lock::AnOthers {
                    self.try_lock();
                }
            }
        })
    }

    fn recorded(&self) -> Option<WriterProcess> {
        parse(&self.record()?)
    }

    fn record(&self) -> Option<Vec<u8>> {
        let mut record = vec![0; RECORD_BYTES_MAX];
        let length = self.file.read_at(&mut record, 0).ok()?;
        record.truncate(length);
        Some(record)
    }

    /// In place: the lock belongs to the file, not to its name. A reader that comes between the two steps finds no record.
    fn write(&self, record: &[u8]) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(record, 0)
    }
}

impl Drop for Holder {
    /// A record that is another's stays: this process has been overtaken. If it has not become the writer, the one before still is.
    fn drop(&mut self) {
        if self.recorded().as_ref() == Some(&self.this) {
            let before = self.before.take();
            let _ = self.write(before.as_deref().unwrap_or_default());
        }
    }
}
