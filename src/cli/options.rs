//! Options that several subcommands have.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use reprise_dataflows::rules::charts_toml::FILE_BYTES_MAX;
use reprise_dataflows::rules::definition::Definitions;

use super::usage::WrongUsage;

/// The option for the definitions of the charts.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ChartsFile {
    /// A TOML file that defines the charts, instead of the built-in trending, weekly, monthly and
    /// all-time charts.
    #[arg(long = "charts", value_name = "FILE", env = "REPRISE_CHARTS")]
    pub path: Option<PathBuf>,
}

impl ChartsFile {
    /// The definitions in the file, or the built-in ones.
    ///
    /// # Errors
    /// If the file cannot be read, or is not valid.
    pub fn load(&self) -> Result<Arc<Definitions>> {
        let Some(path) = &self.path else { return Ok(Arc::new(Definitions::builtin())) };
        let read = || -> Result<Definitions> {
            let bytes = std::fs::metadata(path)?.len();
            if bytes > FILE_BYTES_MAX as u64 {
                bail!("it has {bytes} bytes, and a charts file has {FILE_BYTES_MAX} at most");
            }
            Ok(Definitions::parse(&std::fs::read_to_string(path)?)?)
        };
        read().map(Arc::new).with_context(|| format!("cannot use the charts file {}", path.display())).wrong_usage()
    }
}

/// The option for the memory limit.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct MemoryMax {
    /// The memory limit of this process in MiB: above it, the process ends with a reason. The
    /// default is nine tenths of the memory of the machine or its container, so set a share for
    /// each of several processes on one machine.
    #[arg(long = "memory-max", value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30), env = "REPRISE_MEMORY_MAX")]
    mib: Option<u64>,
}

impl MemoryMax {
    /// The limit in bytes, if it is given.
    pub fn bytes(self) -> Option<u64> {
        self.mib.map(|mib| mib << 20)
    }
}

/// The default number of workers: one per processor, up to eight.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().min(8))
}
