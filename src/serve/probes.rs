//! The paths by which supervisors and monitoring check the process.

/// Whether a path is answered even when all connection slots are taken.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/metrics" | "/healthz" | "/readyz")
}
