//! The name of the machine that this process runs on.

use anyhow::{Context, Result};

/// The name of this host: from `HOSTNAME`, or from the kernel.
///
/// # Errors
/// If neither gives one.
pub fn host_name() -> Result<String> {
    // Kubernetes and most shells set it.
    if let Some(name) = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    std::fs::read_to_string("/proc/sys/kernel/hostname").context("the name of this host is not known: give -p")
}
