//! Records which process writes to a lake, so that a second one that is started by mistake is
//! refused before it does any harm.
//!
//! The writing process holds an operating system lock on `LAKE/song_plays/_staging/writer.lock`,
//! and the content of the file names that process. The lock is released when its process ends, in
//! whatever way, so a restart never waits for a dead process. Another machine sees the lock only if
//! the file system propagates locks; elsewhere there is only the record, which the process erases
//! when it shuts down cleanly.
//!
//! This lock only helps people. That a lake has one writer is ensured by the incarnation alone
//! (`fenced.rs`).

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};

use tracing::{debug, warn};

use super::layout::STAGING;
use super::store::{Lease, Place};
use super::table::PLAYS;
use super::writer_process::{NAME, RECORD_BYTES_MAX, WriterProcess, parse};
use super::{LakeProgress, SuccessorWatch};
use crate::process::shutdown::fail;
use crate::process::threads::Background;

/// How long to wait for a process that is shutting down: it holds the lock until it has ended.
const ENDING_MAX: Duration = Duration::from_secs(2);
/// How often to try a lock that another process holds.
const TRY_INTERVAL: Duration = Duration::from_millis(50);
/// How often a process checks whether it has been overtaken.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// The lock of a lake, and the record of this process in its file. Dropping it erases the record
/// and releases the lock.
pub struct Holder {
    place: Place,
    lease: Box<dyn Lease>,
    this: WriterProcess,
    lock: Lock,
    /// The previous content of the file, which dropping restores; `None` once this process has
    /// become the writer.
    before: Option<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lock {
    Ours,
    AnOthers,
    /// The file system does not support locks.
    Missing,
}

impl Holder {
    /// Takes the lock of `lake` for this process, and records it as the writer that it is about to
    /// become. If another process holds the lock and `take_over` is set, it continues without the
    /// lock, and [`Holder::watch`] takes the lock later.
    ///
    /// # Errors
    /// If another process holds the lock and `take_over` is not set, or if the lock file cannot be
    /// created.
    pub fn take(lake: &Place, this: WriterProcess, take_over: bool) -> Result<Self> {
        let folder = lake.join(PLAYS.folder).join(STAGING);
        folder
            .create_folder()
            .with_context(|| format!("cannot make a lake in {lake}: give --lake a writable folder"))?;
        let place = folder.join(NAME);
        let lease = place.lease().with_context(|| format!("cannot open {place}"))?;
        let mut holder = Self { place, lease, this, lock: Lock::AnOthers, before: None };
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
        self.lock = match self.lease.try_take() {
            Ok(true) => Lock::Ours,
            Ok(false) => Lock::AnOthers,
            Err(error) => {
                warn!(
                    lock = %self.place, %error,
                    "the file system of the lake has no locks: a second `reprise run` that is started by mistake would not be refused"
                );
                Lock::Missing
            }
        }
    }

    fn refusal(&self, lake: &Place) -> Error {
        let by = self.recorded().map_or_else(|| "another process".to_owned(), |writer| writer.to_string());
        anyhow!(
            "the lake {lake} is in use: it is written by {by}. Stop that one first, or start with --take-over \
             (REPRISE_TAKE_OVER=true), and that one ends within seconds. Nothing was changed"
        )
    }

    /// Warns about the recorded process, if that did not shut down cleanly and nothing shows that
    /// it is dead: it ran on another machine, or still holds the lock.
    fn warn_of_predecessor(&self, lake: &Place) {
        if let Some(writer) = self.recorded()
            && (self.lock != Lock::Ours || writer.host != self.this.host)
        {
            warn!(
                %lake, host = writer.host, process = writer.pid,
                "taking the lake over from {writer}; if it still runs it can no longer commit, and ends within seconds"
            );
        }
    }

    /// Records this process as the writer. This happens before the takeover, so that the overtaken
    /// process can name its successor.
    fn sign(&mut self) {
        self.before = self.record();
        let record = serde_json::to_vec(&self.this).map_err(Error::from);
        let written = record.and_then(|record| Ok(self.lease.write(&record)?));
        if let Err(error) = written {
            warn!(path = %self.place, "cannot record that this process writes to the lake: {error:#}");
        }
    }

    /// Starts a thread that holds the lock until it is dropped. Every second the thread reads the
    /// log of `lake` from `progress` on, and ends the process if another one has taken over. If
    /// another process still holds the lock, the thread takes it once it is released.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn watch(mut self, lake: &Place, progress: &LakeProgress) -> Result<Background> {
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
                    Err(error) => debug!("cannot tell whether another process has taken over the lake: {error:#}"),
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
        self.lease.record(RECORD_BYTES_MAX).ok()
    }
}

impl Drop for Holder {
    /// Erases the record, or restores the previous one if this process never became the writer,
    /// because the previous process still is. The record of another process stays: that one has
    /// overtaken this process.
    fn drop(&mut self) {
        if self.recorded().as_ref() == Some(&self.this) {
            let before = self.before.take();
            let _ = self.lease.write(before.as_deref().unwrap_or_default());
        }
    }
}
