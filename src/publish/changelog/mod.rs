//! The changelog: publishes what each commit changes in the charts, as messages of a compacted
//! topic.
//!
//! ```text
//!  key                 value
//!  weekly/US/2026-W47  the cell, as in /v1/charts/weekly?scope=US&period=2026-W47&durable=true
//!  trending/US         the same; the window slides, so the key has no period
//!  weekly/DE/2026-W47  none (a tombstone): the cell no longer exists
//! ```
//! The changes of a commit are one transaction. So a consumer that reads the topic from its start
//! with `read_committed`, and keeps the last value of each key, holds the charts of one commit. If
//! several commits have been made since the last transaction, only the newest is published. The
//! `as_of` of a value is that of the commit that changed it.
//!
//! Nothing records which changes are still to be published: they are the difference between the
//! durable charts and the topic, which each process reads from its start when it begins. So changes
//! that a kill or a broker's failure has kept from being published are still in the difference at
//! the next attempt.
//!
//! **Invariant:** after each transaction the topic holds the durable charts of one version of the
//! lake, and versions go forward.
//!
//! A process whose lake another has taken over must not publish its charts. The producer that
//! starts last fences out the others (by the transactional id), and only the writer of the lake may
//! start one. A process may lose the lake between its check of the lake and the start of its
//! producer, and then fence out the writer; the writer takes the topic back.
//!
//! Like everything in `publish/`, the changelog never keeps the run from going on, nor from ending.

mod client;
mod ledger;
mod publish_error;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use tracing::{info, warn};

use crate::kafka::TopicConfig;
use crate::lake::store::Place;
use crate::process::threads::Closing;
use crate::state::State;
use client::Client;
use publish_error::PublishError;
use session::{Session, Writer};

/// The time between two looks for a new commit.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long publishing the last changes may take when the run is over.
const LAST_MAX: Duration = Duration::from_secs(10);
/// The number of attempts to publish them.
const LAST_ATTEMPTS: u32 = 3;
/// The pause after the first failed attempt; it doubles with each further one.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// The longest pause between two attempts.
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(30);
/// The number of failures in a row at which a warning is logged. Fewer are normal: brokers start,
/// and coordinators move.
const FAILURES_MAX: u32 = 3;
/// How often to take back the topic from another producer. A process that is losing the lake may
/// take the topic over once, by a race; a producer that does so again and again belongs to another
/// instance, with a lake of its own.
const FENCED_MAX: u32 = 5;

/// Starts a thread that publishes the durable charts of `state` to `topic`, on the brokers of
/// `plays`, until the result is dropped, and then once more. It publishes only as long as this
/// process is the writer of `lake`.
///
/// # Errors
/// If the thread cannot be started.
pub fn start(state: Arc<State>, plays: &TopicConfig, topic: &str, lake: &Place) -> Result<Closing> {
    let writer = Writer { lake: lake.clone(), incarnation: state.incarnation() };
    let client = Client::new(plays, topic);
    let changelog = Changelog { state, client, writer, session: None, failures: 0, fenced: 0, is_known: false };
    let topic = topic.to_owned();
    let left_behind = move || behind(&topic);
    Closing::start("reprise-changelog", LAST_MAX, left_behind, move |done| changelog.repeat(done))
}

fn behind(topic: &str) {
    warn!(topic, "the last changes of the charts were not published to the changelog; the next start publishes them");
}

struct Changelog {
    state: Arc<State>,
    client: Client,
    writer: Writer,
    session: Option<Session>,
    /// The number of failed attempts in a row.
    failures: u32,
    /// How often another producer has taken the topic over.
    fenced: u32,
    /// Whether the topic's options have been checked.
    is_known: bool,
}

impl Changelog {
    fn repeat(mut self, done: &AtomicBool) {
        loop {
            // Read before the charts, so that everything that is committed before the end is
            // published.
            let is_last = done.load(Ordering::Relaxed);
            if let Err(failure) = self.publish() {
                // The next session finds out what has become of the transaction.
                self.session = None;
                if let Some(error) = self.fail(failure) {
                    let topic = self.client.topic();
                    return warn!(topic, "nothing more is published to the changelog: {error:#}");
                }
                if is_last && self.failures >= LAST_ATTEMPTS {
                    return behind(self.client.topic());
                }
            } else if is_last {
                return;
            }
            std::thread::park_timeout(self.pause(is_last));
        }
    }

    fn pause(&self, is_last: bool) -> Duration {
        match self.failures {
            0 => INTERVAL,
            _ if is_last => RETRY_INTERVAL,
            failures => RETRY_INTERVAL_MAX.min(RETRY_INTERVAL * 2_u32.saturating_pow(failures - 1)),
        }
    }

    /// Brings the topic to the charts of the last commit, if there are any yet.
    fn publish(&mut self) -> Result<(), PublishError> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&self.client, &self.writer)?,
        };
        if !std::mem::replace(&mut self.is_known, true) {
            self.client.warn_unless_compacted();
        }
        let session = self.session.insert(session);
        if let Some(charts) = self.state.durable_charts()
            && Some(charts.as_of()) != session.as_of()
        {
            let messages = session.publish(&charts)?;
            self.state.changelog_published.fetch_add(messages as u64, Ordering::Relaxed);
        }
        if self.failures >= FAILURES_MAX {
            info!(topic = self.client.topic(), "the changelog has caught up with the charts");
        }
        self.failures = 0;
        Ok(())
    }

    /// Counts a failure, and warns of it. Returns an error if nothing more can be published.
    fn fail(&mut self, failure: PublishError) -> Option<Error> {
        self.failures = self.failures.saturating_add(1);
        let topic = self.client.topic();
        match failure {
            PublishError::Final(error) => return Some(error),
            PublishError::Fenced if self.fenced == FENCED_MAX => {
                return Some(anyhow!(
                    "another instance, with another lake, publishes to the same topic: give each its own topic"
                ));
            }
            PublishError::Fenced => {
                self.fenced += 1;
                warn!(topic, "another producer has taken the changelog over; taking it back, since the lake is ours");
            }
            PublishError::Passing(error) if self.failures == FAILURES_MAX => {
                warn!(topic, "changes of the charts cannot be published to the changelog: {error:#}; retrying");
            }
            PublishError::Passing(_) => {}
        }
        None
    }
}
