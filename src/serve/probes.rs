//! The paths that tell how the process is.

/// Whether a path is answered even when there is no room.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/metrics" | "/healthz" | "/readyz")
}
