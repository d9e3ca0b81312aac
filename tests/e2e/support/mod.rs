//! What the tests have in common: a broker, the program, the lake's files, and the brute force.

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

/// How long anything here may take before the test gives up on it: much longer than it does on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A name that no other test, and no other run of the tests, has.
pub fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let since_1970 = std::time::UNIX_EPOCH.elapsed().expect("a clock after 1970");
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("test-{name}-{}-{}-{count}", since_1970.as_millis(), std::process::id())
}

/// Held by a test while it reads many plays, so that two cores are not asked for everything at once.
pub fn heavy() -> MutexGuard<'static, ()> {
    static HEAVY: Mutex<()> = Mutex::new(());
    HEAVY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks until there is an answer. Fails the test when there is none for [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not after {} s", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The checkout.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder of downloads, which `scripts/kafka` uses too.
pub fn cache() -> PathBuf {
    let cache = std::env::var_os("REPRISE_CACHE").filter(|cache| !cache.is_empty());
    repository().join(cache.unwrap_or_else(|| ".cache".into()))
}
