//! The orderly end of a run: it stops reading, commits what it has read, and reports the reason.
//!
//! Errors of Kafka end a run in this way: the topic was deleted, or its retention deleted records.
//! What was read before is intact, and Kafka may not have it any more, so it must reach the lake.
//! After an error of the lake the process ends at once instead ([`fail`]): Kafka still has
//! everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Error, Result, anyhow};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::text::log;

/// An order to a process to commit what it has read, and to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// A stop was requested.
    Stop,
    /// The run cannot continue, for this reason.
    Fail(String),
}

/// Whether a run is to end, and the reason, if it is not a requested stop. Clones share the state.
#[derive(Clone, Default)]
pub struct Shutdown {
    /// A stop was requested.
    requested: Arc<AtomicBool>,
    /// The run cannot continue. A separate flag: in this case the end waits until a full disk has
    /// space again, since Kafka may not have the uncommitted records any more.
    forced: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<Error>>>,
}

impl Shutdown {
    /// A shutdown that setting the flag `requested` requests as well.
    pub fn new(requested: Arc<AtomicBool>) -> Self {
        Self { requested, ..Self::default() }
    }

    /// The flag that requests a stop.
    pub fn requested(&self) -> Arc<AtomicBool> {
        self.requested.clone()
    }

    /// Ends the run because of `error`, unless it is ending already: only the first reason is kept
    /// and logged.
    pub fn because(&self, error: Error) {
        if self.is_due() || self.forced.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!("{error:#}; committing what was read");
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    /// Whether the run is to end, for any reason.
    pub fn is_due(&self) -> bool {
        self.requested.load(Ordering::Relaxed) || self.forced.load(Ordering::Relaxed)
    }

    /// The order for the other processes of a cluster, if this one is to end.
    pub fn order(&self) -> Option<Order> {
        if let Some(reason) = &*self.reason.lock().unwrap_or_else(PoisonError::into_inner) {
            return Some(Order::Fail(format!("{reason:#}")));
        }
        self.requested.load(Ordering::Relaxed).then_some(Order::Stop)
    }

    /// Ends the run as another process of the cluster orders.
    pub fn apply(&self, order: Order) {
        match order {
            Order::Fail(reason) => self.because(anyhow!(reason)),
            Order::Stop if !self.requested.swap(true, Ordering::Relaxed) => {
                info!("stopping with the other processes of the cluster");
            }
            Order::Stop => {}
        }
    }

    /// The result of the run, to be taken once everything is committed.
    ///
    /// # Errors
    /// The reason, if the run could not continue.
    pub fn outcome(&self) -> Result<()> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Prints `error` and exits with status 1, from any thread. Committed plays are safe, and Kafka
/// still has the others.
pub fn fail(error: Error) {
    log::print_error("error:", &format!("{error:#}"));
    std::process::exit(1);
}
