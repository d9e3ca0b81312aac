//! `reprise lake checkpoint`: makes a checkpoint of a lake now, so that the next start is quick.

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressDrawTarget};
use reprise_dataflows::rules::plan::Plan;

use super::lake_folder::LakeFolder;
use super::logging::{start_log, stop_flag};
use super::options::ChartsFile;
use super::replay::bar_of_plays;
use crate::checkpoint::{self, Made};
use crate::text::grouped;
use crate::text::log;

/// The options of `reprise lake checkpoint`.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reprise lake checkpoint ./lake
  reprise lake checkpoint ./lake --charts my-charts.toml

A running instance makes a checkpoint by itself every --checkpoint-interval. What is counted depends
on the charts, so give the same --charts as to `reprise run`.")]
pub struct Options {
    /// The lake.
    #[command(flatten)]
    pub lake: LakeFolder,
    #[command(flatten)]
    charts: ChartsFile,
}

/// Makes the checkpoint.
///
/// # Errors
/// If it cannot be made, another process is making one, or it was stopped.
pub fn run(options: &Options) -> Result<()> {
    start_log("warn");
    let plan = Plan::new(&*options.charts.load()?);
    let lake = options.lake.to_write()?;
    let stop = stop_flag("the checkpoint that is being made is given up")?;
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(bar_of_plays());
    let made = checkpoint::make(&lake, &plan, &stop, |read, total| {
        bar.set_length(total);
        bar.set_position(read);
    });
    bar.finish_and_clear();
    match made? {
        Made::New { version, plays } => {
            log::note(&format!("made a checkpoint of version {version} with {} plays", grouped(plays)));
        }
        Made::Nothing => log::note("there is a checkpoint of the newest version already"),
        Made::Busy => bail!("another process is making a checkpoint of this lake: wait until it is done"),
        Made::Stopped => bail!("stopped; what was begun is removed when the next checkpoint is made"),
    }
    Ok(())
}
