//! `reprise generate`.

#[derive(clap::Args)]
pub struct Options {}

pub fn run(_options: Options) -> anyhow::Result<()> {
    Ok(())
}
