//! What HTTP answers from, and what bounds it.

use std::sync::Arc;

use super::budget::Budget;
use super::readers::Readers;
use super::snapshot::{LIST_READERS_MAX, READERS_MAX};
use super::stream::Streams;
use crate::state::State;

/// What a run knows, and what belongs to HTTP alone. The servers of a process share it.
pub struct Http {
    pub state: Arc<State>,
    /// Clients that read a snapshot.
    pub snapshots: Readers,
    /// Clients that read a long list.
    pub lists: Readers,
    /// What answers hold that wait to be sent.
    pub budget: Budget,
    pub streams: Arc<Streams>,
}

impl Http {
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

    /// What answers from `charts`, for tests.
    #[cfg(test)]
    pub fn over(charts: crate::state::charts::Charts) -> Arc<Self> {
        Arc::new(Self::new(Arc::new(State::new(charts))))
    }
}
