//! The machine that this process runs on.

use anyhow::{Context, Result};

/// The name of this host.
pub fn host_name() -> Result<String> {
    // Kubernetes sets it, and most shells.
    if let Some(name) = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    std::fs::read_to_string("/proc/sys/kernel/hostname").context("the name of this host is not known: give -p")
}
