//! The memory limit: a run that would need more ends with a reason, before the kernel kills it
//! without one.
//!
//! Memory grows with what is counted: the distinct pairs of a track and a cell, and the names of
//! the tracks (ARCHITECTURE.md says how much each takes). So a thread measures every 100 ms
//! what this process holds; above the limit the run stops reading and commits what it has read.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};

use super::threads::Background;

/// How often memory is measured. It grows by some hundred MB a second at most.
const INTERVAL: Duration = Duration::from_millis(100);
const MIB: u64 = 1 << 20;

/// The memory limit of this process: `max_bytes`, or by default nine tenths of what the machine or
/// its control group has. `None` if that is not known.
pub fn limit_bytes(max_bytes: Option<u64>) -> Option<u64> {
    max_bytes.or_else(|| Some(available_bytes()? / 10 * 9))
}

/// The parts of a process's memory that are measured. The rest is charts and counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Parts {
    /// HTTP responses that their clients have not read yet.
    pub answers_bytes: u64,
    /// Plays that were read from Kafka and are not in the lake yet.
    pub uncommitted_bytes: u64,
}

/// The message for a process that ends because it holds `held_bytes`: the largest part, and how to
/// reduce it.
fn reason(held_bytes: u64, max_bytes: u64, parts: Parts) -> String {
    let Parts { answers_bytes, uncommitted_bytes } = parts;
    let counted_bytes = held_bytes.saturating_sub(answers_bytes + uncommitted_bytes);
    let (cause, advice) = if answers_bytes > counted_bytes.max(uncommitted_bytes) {
        (
            "most of it is answers that HTTP clients do not read",
            "Find the clients (/metrics counts requests by path), and limit them with a proxy",
        )
    } else if uncommitted_bytes > counted_bytes {
        (
            "most of it is what was read and is not in the lake yet",
            "Lower --buffer or --commit-interval, use fewer workers (-w), or give it more (--memory-max, or the limit of its \
             container)",
        )
    } else {
        (
            "what it counts does not fit",
            "Give it more (--memory-max, or the limit of its container), count fewer charts (--charts), or share the work among \
             more machines",
        )
    };
    format!(
        "this process holds {} MiB, and may hold {}: {cause} (charts and counts {} MiB, read and not committed {}, answers that \
         wait {}). {advice}",
        held_bytes / MIB,
        max_bytes / MIB,
        counted_bytes / MIB,
        uncommitted_bytes / MIB,
        answers_bytes / MIB
    )
}

/// Calls `over` once, from a thread of its own, when this process holds more than its limit
/// ([`limit_bytes`]). The error names the largest of the `parts`. Does nothing on a system that
/// does not report memory in `/proc`.
///
/// # Errors
/// If the thread cannot be started.
pub fn watch(
    max_bytes: Option<u64>,
    parts: impl Fn() -> Parts + Send + 'static,
    over: impl Fn(Error) + Send + 'static,
) -> Result<Background> {
    let max_bytes = limit_bytes(max_bytes);
    Background::start("reprise-memory", move |stop: &AtomicBool| {
        let Some(max_bytes) = max_bytes else { return };
        while !stop.load(Ordering::Relaxed) {
            let Some(held_bytes) = held_bytes() else { return };
            if held_bytes > max_bytes {
                return over(anyhow!(reason(held_bytes, max_bytes, parts())));
            }
            std::thread::park_timeout(INTERVAL);
        }
    })
}

/// Anonymous memory of this process in bytes: it is not backed by a file, so the kernel cannot
/// reclaim it. `None` if `/proc` does not report it.
pub fn held_bytes() -> Option<u64> {
    kilobytes(&std::fs::read_to_string("/proc/self/status").ok()?, "RssAnon:")
}

/// The memory of the machine, or the limit of the control group if that is less.
fn available_bytes() -> Option<u64> {
    let machine = kilobytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:");
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    machine.into_iter().chain(group_bytes(Path::new("/sys/fs/cgroup"), &groups)).min()
}

/// The number of a line such as `MemTotal: 24689092 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The lowest memory limit of the control groups (version 1 or 2) that a process is in. They are
/// mounted at `root`; a container sees its own group there. `groups` is the text of
/// `/proc/self/cgroup`.
fn group_bytes(root: &Path, groups: &str) -> Option<u64> {
    let limit = |path: &Path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let second = root.join(own).ancestors().filter_map(|group| limit(&group.join("memory.max"))).min();
    let first = limit(&root.join("memory/memory.limit_in_bytes"));
    second.into_iter().chain(first).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        let text = "Name:\treprise\nVmRSS:\t  4096 kB\nRssAnon:\t    2048 kB\nThreads:\t9\n";
        assert_eq!(kilobytes(text, "RssAnon:"), Some(2048 * 1024));
        assert_eq!(kilobytes(text, "Threads:"), None);
        assert_eq!(kilobytes(text, "Swap:"), None);
        assert_eq!(kilobytes("A: 18446744073709551615 kB", "A:"), None);
    }

    #[test]
    fn the_least_limit_of_the_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, limit: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, limit).unwrap();
        };
        let found = |groups| group_bytes(root.path(), groups);
        assert_eq!(found("0::/system.slice/reprise.service\n"), None);
        write("system.slice/reprise.service/memory.max", "max\n");
        assert_eq!(found("0::/system.slice/reprise.service\n"), None);
        write("system.slice/memory.max", "5000\n");
        assert_eq!(found("0::/system.slice/reprise.service\n"), Some(5000));
        assert_eq!(found("0::/user.slice\n"), None);
        write("memory/memory.limit_in_bytes", "4000\n");
        assert_eq!(found("9:memory:/\n"), Some(4000));
    }

    #[test]
    fn the_reason_names_the_largest_part() {
        let message = |answers: u64, uncommitted: u64| {
            reason(1000 * MIB, 900 * MIB, Parts { answers_bytes: answers * MIB, uncommitted_bytes: uncommitted * MIB })
        };
        assert!(
            message(0, 0)
                .contains("holds 1000 MiB, and may hold 900: what it counts does not fit (charts and counts 1000")
        );
        assert!(message(300, 300).contains("what it counts") && message(300, 300).contains("counts 400 MiB"));
        assert!(message(600, 100).contains("HTTP clients do not read"));
        assert!(message(100, 600).contains("--buffer"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn exceeding_the_limit_is_reported_once() {
        let (send, told) = std::sync::mpsc::channel();
        let over = move |error: Error| send.send(error.to_string()).unwrap();
        let watched = watch(Some(MIB), Parts::default, over).unwrap();
        let message = told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(message.contains("may hold 1:"), "{message}");
        drop(watched);
        assert!(told.recv().is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn staying_below_the_limit_is_not_reported() {
        assert!(held_bytes().unwrap() < available_bytes().unwrap());
        let (send, told) = std::sync::mpsc::channel();
        let watched = watch(None, Parts::default, move |_| send.send(()).unwrap()).unwrap();
        assert!(told.recv_timeout(3 * INTERVAL).is_err());
        drop(watched);
    }
}
