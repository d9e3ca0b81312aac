//! Checkpoints that a run makes by itself, as one of its caretaker's chores.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reprise_dataflows::plan::Plan;
use tracing::info;

use super::{Made, make};
use crate::lake::care::Chore;
use crate::serve::Shared;

/// Makes a checkpoint of `lake` for charts of `plan` at first, and again whenever `interval` has passed.
pub fn chore(lake: PathBuf, plan: Plan, interval: Duration, shared: Arc<Shared>) -> Chore {
    let mut made_at: Option<Instant> = None;
    Box::new(move |stop| {
        if made_at.is_some_and(|at| at.elapsed() < interval) {
            return Ok(());
        }
        made_at = Some(Instant::now());
        if let Made::New { version, plays } = make(&lake, &plan, stop, |_, _| ())? {
            info!(version, plays, "made a checkpoint");
            shared.status_mut().checkpoint_version = Some(version);
        }
        Ok(())
    })
}
