//! The clock that the plays of a lake give by themselves, and setting a lake's clock back to it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use reprise_dataflows::calendar::instant_name;
use reprise_dataflows::definition::Definitions;
use tracing::{info, warn};

use crate::lake::{Committer, Snapshot};
use crate::source::lake::latest_times;
use crate::tick::clock_of_plays;

/// Sets the clock of the lake back to what its plays say by the rule of `tick.rs`, and not past this machine's, if it is ahead of
/// that. Returns whether the lake has got a version by it.
pub fn set_back(committer: &mut Committer, snapshot: &Snapshot, definitions: &Definitions) -> Result<bool> {
    let Some(before_us) = snapshot.progress().clock_us else { return Ok(false) };
    let times = latest_times(snapshot.files(), definitions).context("the times of the lake's plays cannot be read")?;
    let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
    match clock_of_plays(&times).map(|clock_us| clock_us.min(wall_us)) {
        Some(clock_us) if clock_us < before_us => {
            committer.reset_clock(clock_us)?;
            let [from, to] = [before_us, clock_us].map(instant_name);
            warn!(from, to, "the clock was set back to where the plays of the lake are, as --reset-clock says");
            Ok(true)
        }
        _ => {
            info!(clock = instant_name(before_us), "--reset-clock changes nothing: the plays of the lake are as late");
            Ok(false)
        }
    }
}
