//! Shared by the tests: a broker, the program, readers of the lake's files, and the brute-force
//! oracle.

pub mod broker;
pub mod charts;
pub mod cluster;
pub mod fixture;
pub mod lake;
pub mod log;
pub mod mock;
pub mod network;
pub mod oracle;
pub mod plays;
pub mod program;
pub mod python;
pub mod running;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The timeout of every wait: much longer than any step takes, even on a busy machine.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// A name that is unique across tests and across runs of the tests.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test-{name}-{}-{}-{count}", since_1970.as_millis(), std::process::id())
}

/// A lock that a test holds while it reads many plays, so that only one such test at a time loads
/// the machine's two cores.
pub fn heavy() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::new(());
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `answer` until it returns a value. Fails the test after [`TIMEOUT`].
#[track_caller]
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(began.elapsed() < TIMEOUT, "{what}: not after {} s", TIMEOUT.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cache for downloads, shared with `scripts/kafka`.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("REPRISE_CACHE").filter(|cache| !cache.is_empty());
    repository().join(cache.unwrap_or_else(|| ".cache".into()))
}
