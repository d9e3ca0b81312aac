//! `reprise trending` and `reprise chart`.

#[derive(clap::Args)]
pub struct TrendingOptions {}

#[derive(clap::Args)]
pub struct ChartOptions {}

pub fn trending(_options: TrendingOptions) -> anyhow::Result<()> {
    Ok(())
}

pub fn chart(_options: ChartOptions) -> anyhow::Result<()> {
    Ok(())
}
