//! The state from which HTTP answers, and the limits that bound it.

use std::sync::Arc;

use super::budget::Budget;
use super::readers::Readers;
use super::snapshot::{LIST_READERS_MAX, READERS_MAX};
use super::stream::Streams;
use crate::state::State;

/// The state of the run, and the state of HTTP itself. The servers of a process share it.
pub struct Http {
    /// The state of the run: charts, status, metrics.
    pub state: Arc<State>,
    /// Seats for clients that read a snapshot.
    pub snapshots: Readers,
    /// Seats for clients that read a long list of cells.
    pub lists: Readers,
    /// The memory for answers that wait to be sent.
    pub budget: Budget,
    /// The lists that clients of `/v1/stream` watch.
    pub streams: Arc<Streams>,
}

impl Http {
    /// HTTP over `state`, without clients.
    pub fn new(state: Arc<State>) -> Self {
        let budget = Budget::new(state.clone());
        Self {
            snapshots: Readers::new(READERS_MAX),
            lists: Readers::new(LIST_READERS_MAX),
            streams: Streams::new(state.clone(), budget.clone()),
            budget,
            state,
        }
    }

    /// HTTP over `charts`, for tests.
    #[cfg(test)]
    pub fn over(charts: crate::state::charts::Charts) -> Arc<Self> {
        Arc::new(Self::new(Arc::new(State::new(charts))))
    }
}
