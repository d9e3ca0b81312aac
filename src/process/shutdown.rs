//! How a run ends by itself: it stops reading, commits what it has, and says why.
//!
//! That is for what goes wrong with Kafka: the topic is deleted, its retention has run out. What was read before is
//! whole, and Kafka may not have it any more, so it must reach the lake. Where the lake itself fails the process ends at
//! once instead, and Kafka still has everything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Error, Result, anyhow};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::text::log;

/// That a process is to commit what it has read, and to end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Somebody wants it to.
    Stop,
    /// It cannot go on, for this reason.
    Fail(String),
}

/// Whether a run is to stop, and the reason if it is not that somebody wants it to.
#[derive(Clone, Default)]
pub struct Shutdown {
    /// Somebody wants it to.
    asked: Arc<AtomicBool>,
    /// It cannot go on. Not the same flag: a full disk is waited for then, since Kafka may not have what was read any more.
    forced: Arc<AtomicBool>,
    reason: Arc<Mutex<Option<Error>>>,
}

impl Shutdown {
    /// An ending that the flag `asked` brings about as well.
    pub fn new(asked: Arc<AtomicBool>) -> Self {
        Self { asked, ..Self::default() }
    }

    /// The flag that says that somebody wants it to end.
    pub fn asked(&self) -> Arc<AtomicBool> {
        self.asked.clone()
    }

    /// Ends the run because of `error`, unless it ends already: the first reason is the one to look at.
    pub fn because(&self, error: Error) {
        if self.is_due() || self.forced.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::error!("{error:#}; committing what was read");
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    pub fn is_due(&self) -> bool {
        self.asked.load(Ordering::Relaxed) || self.forced.load(Ordering::Relaxed)
    }

    /// What other processes of a cluster are to be told, if this one is to end.
    pub fn order(&self) -> Option<Order> {
        if let Some(reason) = &*self.reason.lock().unwrap_or_else(PoisonError::into_inner) {
            return Some(Order::Fail(format!("{reason:#}")));
        }
        self.asked.load(Ordering::Relaxed).then_some(Order::Stop)
    }

    /// Ends the run as another process of the cluster says.
    pub fn obey(&self, order: Order) {
        match order {
            Order::Fail(reason) => self.because(anyhow!(reason)),
            Order::Stop if !self.asked.swap(true, Ordering::Relaxed) => {
                info!("stopping with the other processes of the cluster");
            }
            Order::Stop => {}
        }
    }

    /// The reason, once everything is committed.
    pub fn outcome(&self) -> Result<()> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }
}

/// Ends the process because of `error`, which a thread other than the main one has met. What is committed is safe, and
/// what is not, Kafka still has.
pub fn fail(error: Error) {
    log::print_error("error:", &format!("{error:#}"));
    std::process::exit(1);
}
