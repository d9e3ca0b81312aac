//! The changelog: what a commit has changed in the charts, as messages of a compacted topic.
//!
//! ```text
//!  key                    value
//!  weekly/US/2026-W47     the cell, as /v1/charts/weekly?scope=US&period=2026-W47&durable=true answers
//!  trending/US            likewise; the window slides, so it has no part in the key
//!  weekly/DE/2026-W47     nothing (a tombstone): there is no such cell any more
//! ```
//! Who reads the topic from its start, what is committed only, and keeps the last value of each key, holds the charts of one
//! commit: the changes of a commit are one transaction. Where several commits have passed meanwhile, the newest is published.
//! `as_of` of a value is that of the commit which changed it.
//!
//! Nothing is remembered of what is still to be published. It is the difference between the durable charts and what the topic
//! has, which is read from its start when a process begins. So what a kill or a broker in trouble has kept from being published
//! is still a difference at the next attempt.
//!
//! **Invariant:** after each transaction the topic holds the durable charts of one version of the lake, and versions go forward.
//!
//! Who has been overtaken must not publish what it holds: the producer that comes last shuts out the others (by the transactional
//! id), and it is the lake that says who may come: its writer. A writer that was shut out, by a process that has been overtaken
//! between its look at the lake and its coming, say, takes the topic over again.
//!
//! Like all that is told to others, it never keeps the run from going on, nor from ending.

mod client;
mod ledger;
mod session;
mod setback;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use tracing::{info, warn};

use crate::kafka::TopicConfig;
use crate::process::threads::Closing;
use crate::state::State;
use client::Client;
use session::{Session, Writer};
use setback::Setback;

/// How often to look for a commit.
const INTERVAL: Duration = Duration::from_millis(200);
/// How long the last changes may take when the run is over.
const LAST_MAX: Duration = Duration::from_secs(10);
/// How often to try then.
const LAST_ATTEMPTS: u32 = 3;
/// Between attempts, at first and at most.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
const RETRY_INTERVAL_MAX: Duration = Duration::from_secs(30);
/// How often in a row something may fail before it is said: brokers start, and coordinators move.
const FAILURES_MAX: u32 = 3;
/// How often to take back a topic that is taken over by others. It happens once after an accident; who does it again and again
/// is another instance, with a lake of its own.
const FENCED_MAX: u32 = 5;

/// Starts a thread that publishes the durable charts of `state` to `topic`, on the brokers of the plays, until it is dropped; then
/// it does so once more. It may do so as long as this process is the writer of `lake`.
pub fn start(state: Arc<State>, plays: &TopicConfig, topic: &str, lake: &Path) -> Result<Closing> {
    let writer = Writer { lake: lake.to_owned(), incarnation: state.incarnation() };
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
    /// How often in a row an attempt has failed.
    failures: u32,
    /// How often another producer has taken the topic over.
    fenced: u32,
    /// Whether the topic's options have been looked at.
    is_known: bool,
}

impl Changelog {
    fn repeat(mut self, done: &AtomicBool) {
        loop {
            // Before the look at the charts: what is committed before the end is published.
            let is_last = done.load(Ordering::Relaxed);
            if let Err(setback) = self.publish() {
                // What has become of it is the next session's to find out.
                self.session = None;
                if let Some(error) = self.fail(setback) {
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

    /// Makes the topic hold the charts of the last commit, if there are any yet.
    fn publish(&mut self) -> Result<(), Setback> {
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

    /// Takes note of a setback. Returns why it was the last one.
    fn fail(&mut self, setback: Setback) -> Option<Error> {
        self.failures = self.failures.saturating_add(1);
        let topic = self.client.topic();
        match setback {
            Setback::Final(error) => return Some(error),
            Setback::Fenced if self.fenced == FENCED_MAX => {
                return Some(anyhow!(
                    "another instance publishes to the topic too, and each has a lake of its own: give each a topic of its own"
                ));
            }
            Setback::Fenced => {
                self.fenced += 1;
                warn!(topic, "another producer has taken the changelog over; taking it back, since the lake is ours");
            }
            Setback::Passing(error) if self.failures == FAILURES_MAX => {
                warn!(topic, "changes of the charts cannot be published to the changelog: {error:#}; trying on");
            }
            Setback::Passing(_) => {}
        }
        None
    }
}
