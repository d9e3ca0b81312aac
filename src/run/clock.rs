//! `--reset-clock`: derives a clock from the plays of a lake, and sets the lake's clock back to it.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use reprise_dataflows::rules::definition::Definitions;
use reprise_dataflows::time::instant_name;
use tracing::{info, warn};

use super::tick::clock_of_plays;
use crate::lake::store::Place;
use crate::lake::{Committer, Snapshot};
use crate::source::lake::latest_times;

/// The clock that the plays of `lake` give by the rule in [`super::tick`], limited to the wall
/// clock, in µs since 1970. `None` if the lake has no plays.
///
/// # Errors
/// If the lake, or the event times of its plays, cannot be read.
pub fn of_plays(lake: &Place, definitions: &Definitions) -> Result<Option<i64>> {
    let snapshot = Snapshot::open(lake, None)?;
    let times = latest_times(snapshot.files(), definitions);
    let times = times.context("--reset-clock needs the times of the lake's plays, which cannot be read")?;
    let wall_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
    Ok(clock_of_plays(&times).map(|clock_us| clock_us.min(wall_us)))
}

/// Sets the clock of the lake back to `clock_us`, in µs since 1970, if it is ahead of that. Logs
/// what it does.
///
/// # Errors
/// If the commit fails.
pub fn set_back(committer: &mut Committer, clock_us: i64) -> Result<()> {
    match committer.progress().clock_us {
        Some(before_us) if clock_us < before_us => {
            committer.reset_clock(clock_us)?;
            let [from, to] = [before_us, clock_us].map(instant_name);
            warn!(from, to, "--reset-clock: the lake's clock was set back to the time of its plays");
        }
        before_us => {
            let clock = before_us.map(instant_name);
            info!(clock, "--reset-clock changes nothing: the lake's clock is not ahead of its plays");
        }
    }
    Ok(())
}
