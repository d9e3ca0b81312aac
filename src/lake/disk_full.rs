//! Waits while the disk is full, instead of ending the run: the writing thread reports the full
//! disk once, retries until there is space, and continues.
//!
//! Only the threads that write the lake wait, so the dataflow continues to serve. Reading from
//! Kafka stops at its limit of uncommitted data; later records stay in Kafka.

use std::error::Error as StdError;
use std::io::{self, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Chain, Error, Result};
use delta_kernel::KernelError;
use tracing::{info, warn};

/// How long to wait between two attempts.
const TRY_INTERVAL: Duration = Duration::from_secs(1);
/// How often a waiting thread checks whether the run is to stop.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// Retries writes while the disk is full. Clones share their state, and all threads that write to
/// one lake use clones of one. A [`DiskFullRetry::default`] waits without limit, and reports only
/// to the log.
#[derive(Clone, Default)]
pub struct DiskFullRetry {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Set from outside when the run is to end: then no thread waits any longer.
    stop: Arc<AtomicBool>,
    /// Called with the reason when the run pauses, and with `None` when it continues.
    notify: Option<Box<dyn Fn(Option<String>) + Send + Sync>>,
    /// How many threads wait.
    waiting: Mutex<usize>,
}

impl DiskFullRetry {
    /// A retry that gives up once `stop` is set. It calls `notify` with the reason when the first
    /// thread begins to wait, and with `None` when the last one continues.
    pub fn new(stop: Arc<AtomicBool>, notify: impl Fn(Option<String>) + Send + Sync + 'static) -> Self {
        let waiting = Mutex::default();
        Self { inner: Arc::new(Inner { stop, notify: Some(Box::new(notify)), waiting }) }
    }

    /// Returns the result of `attempt`, and repeats it every second while it fails because the disk
    /// is full. Each attempt must start from scratch, whatever the last one left behind.
    ///
    /// # Errors
    /// Any other error of `attempt`, with advice if the lake is no longer writable. If the run is
    /// to stop while the disk is full, the error of the last attempt.
    pub fn wait_for<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut waits = None;
        loop {
            match attempt() {
                Err(error) if is_full(&error) => {
                    if self.inner.stop.load(Ordering::Relaxed) {
                        return Err(error.context(
                            "stopped while the disk of the lake is full; what was not committed is still in Kafka, and \
                             the next run reads it again",
                        ));
                    }
                    waits.get_or_insert_with(|| Waiting::begin(&self.inner, &error));
                    self.pause();
                }
                Err(error) => return Err(explain(error)),
                Ok(outcome) => return Ok(outcome),
            }
        }
    }

    fn pause(&self) {
        let began = Instant::now();
        while began.elapsed() < TRY_INTERVAL && !self.inner.stop.load(Ordering::Relaxed) {
            std::thread::sleep(STOP_INTERVAL);
        }
    }
}

/// A waiting thread. The first one reports the full disk, and the last one that there is space
/// again.
struct Waiting<'a>(&'a Inner);

impl<'a> Waiting<'a> {
    fn begin(inner: &'a Inner, error: &Error) -> Self {
        let mut waiting = inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting += 1;
        if *waiting == 1 {
            let reason = format!(
                "the disk is full, so nothing can be committed: {error:#}; make room, and the run continues by itself"
            );
            warn!("{reason}");
            inner.tell(Some(reason));
        }
        Self(inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting -= 1;
        if *waiting == 0 && !self.0.stop.load(Ordering::Relaxed) {
            info!("there is room on the disk again: the run continues");
            self.0.tell(None);
        }
    }
}

impl Inner {
    fn tell(&self, reason: Option<String>) {
        if let Some(notify) = &self.notify {
            notify(reason);
        }
    }
}

/// Whether `error` is caused by a full disk or an exhausted quota.
pub fn is_full(error: &Error) -> bool {
    kinds(error).any(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// Adds advice to `error` if the lake has become unwritable.
fn explain(error: Error) -> Error {
    let is_refused = |kind| matches!(kind, ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied);
    if !kinds(&error).any(is_refused) {
        return error;
    }
    error.context(
        "the lake can no longer be written: look at its mount and at the rights of its folders, then start again; what \
         was not committed is still in Kafka",
    )
}

/// The kinds of all I/O errors in the chain of `error`.
fn kinds(error: &Error) -> impl Iterator<Item = ErrorKind> {
    error.chain().flat_map(|cause| match cause.downcast_ref::<KernelError>() {
        // The kernel does not return these two as error sources.
        Some(KernelError::IOError(error)) => vec![error.kind()],
        Some(KernelError::ObjectStore(error)) => Chain::new(error).filter_map(kind).collect(),
        _ => kind(cause).into_iter().collect(),
    })
}

fn kind(cause: &(dyn StdError + 'static)) -> Option<ErrorKind> {
    cause.downcast_ref::<io::Error>().map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn full() -> Error {
        Error::new(io::Error::from(ErrorKind::StorageFull)).context("cannot write part-1")
    }

    #[test]
    fn a_full_disk_is_seen_through_what_wraps_it() {
        let kernel = KernelError::IOError(io::Error::from(ErrorKind::StorageFull));
        assert!(is_full(&Error::new(kernel).context("cannot commit")));
        let parquet = parquet::errors::ParquetError::from(io::Error::from(ErrorKind::QuotaExceeded));
        assert!(is_full(&Error::new(parquet).context("cannot write")));
        let store = delta_kernel::object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(io::Error::from_raw_os_error(28)),
        };
        assert!(is_full(&Error::new(KernelError::from(store)).context("cannot commit")));
        assert!(!is_full(&Error::new(io::Error::from(ErrorKind::NotFound))));
    }

    #[test]
    fn goes_on_when_there_is_room_and_says_both_once() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = said.clone();
        let room = DiskFullRetry::new(Arc::default(), move |reason| heard.lock().unwrap().push(reason));
        let mut left = 2;
        let outcome = room.wait_for(|| {
            left -= 1;
            if left >= 0 { Err(full()) } else { Ok("written") }
        });
        assert_eq!(outcome.unwrap(), "written");
        let said = said.lock().unwrap();
        assert!(said[0].as_ref().unwrap().contains("part-1"), "{said:?}");
        assert_eq!(said[1..], [None]);
    }

    #[test]
    fn does_not_wait_when_the_run_is_to_stop() {
        let room = DiskFullRetry::new(Arc::new(AtomicBool::new(true)), |_| {});
        let said = format!("{:#}", room.wait_for(|| -> Result<()> { Err(full()) }).unwrap_err());
        assert!(said.contains("still in Kafka") && said.contains("part-1"), "{said}");
    }

    #[test]
    fn other_errors_end_it() {
        let outcome = DiskFullRetry::default().wait_for(|| -> Result<()> {
            Err(io::Error::from(ErrorKind::ReadOnlyFilesystem)).context("cannot write part-1")
        });
        assert!(format!("{:#}", outcome.unwrap_err()).contains("can no longer be written"));
        assert!(DiskFullRetry::default().wait_for(|| -> Result<()> { anyhow::bail!("damaged") }).is_err());
    }
}
