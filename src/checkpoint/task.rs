//! The maintenance task of a run that makes checkpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reprise_dataflows::rules::plan::Plan;
use tracing::info;

use super::{Made, make};
use crate::lake::maintenance::Task;
use crate::lake::store::Place;
use crate::state::State;

/// Makes a checkpoint of `lake` for charts of `plan` at the first call, and again when `interval`
/// has passed.
pub fn task(lake: Place, plan: Plan, interval: Duration, state: Arc<State>) -> Task {
    let mut made_at: Option<Instant> = None;
    Box::new(move |stop| {
        if made_at.is_some_and(|at| at.elapsed() < interval) {
            return Ok(());
        }
        made_at = Some(Instant::now());
        if let Made::New { version, plays } = make(&lake, &plan, stop, |_, _| ())? {
            info!(version, plays, "made a checkpoint");
            state.status_mut().checkpoint_version = Some(version);
        }
        Ok(())
    })
}
