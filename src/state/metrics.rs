//! Counters since the start, and histograms of durations. `publish::exposition` reads both.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};
use reprise_dataflows::Epoch;

/// The most epochs that are kept: open ones, and served ones whose reports are still to come.
const EPOCHS_MAX: usize = 1024;

/// After this many later epochs all reports of an epoch have arrived.
const REPORTED_AFTER: usize = 8;

/// Upper bounds of the histograms' buckets, in seconds: from half a millisecond to a minute.
const SECONDS: [f64; 16] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// Counters since the start.
#[derive(Default)]
pub struct Totals {
    /// Epochs that were served.
    pub epochs: Total,
    /// Commits to the lake that added a version.
    pub commits: Total,
    /// Plays in those commits.
    pub commit_plays: Total,
    /// Parquet files in those commits.
    pub commit_files: Total,
    /// Bytes of those files.
    pub commit_bytes: Total,
    /// Plays that were too old for the trending window when they were read.
    pub window_misses: Total,
    /// The sum of the times by which those plays were behind the clock, in µs.
    pub missed_by_us: Total,
}

/// Gauges and counters of the HTTP server.
#[derive(Default)]
pub struct HttpValues {
    /// Bytes of responses that clients have not read yet.
    pub held_bytes: AtomicU64,
    /// Connected clients of `/v1/stream`.
    pub stream_clients: Arc<AtomicU64>,
    /// Times that a client of `/v1/stream` was too slow and had to reload.
    pub stream_reloads: Total,
}

/// A counter that only grows.
#[derive(Default)]
pub struct Total(AtomicU64);

impl Total {
    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The current value.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All metrics that are updated when an event happens, not when they are read.
pub struct Metrics {
    /// Counters since the start.
    pub totals: Totals,
    /// Gauges and counters of the HTTP server.
    pub http: HttpValues,
    /// The Prometheus registry that holds the histograms and the counter of requests.
    pub registry: Registry,
    epochs: Mutex<VecDeque<OpenEpoch>>,
    /// When the last cut began; `None` once it is committed.
    cut_began: Mutex<Option<Instant>>,
    epoch_duration: Histogram,
    freshness: Histogram,
    commit_duration: Histogram,
    requests: IntCounterVec,
    request_duration: Histogram,
}

struct OpenEpoch {
    epoch: Epoch,
    began: Instant,
    /// When the oldest record of the epoch was produced, in ms since 1970.
    oldest_ms: Option<i64>,
    /// When the epoch was served, in ms since 1970.
    served_ms: Option<i64>,
}

impl OpenEpoch {
    fn freshness_ms(&self) -> Option<i64> {
        Some(self.served_ms?.saturating_sub(self.oldest_ms?).max(0))
    }
}

impl Default for Metrics {
    #[expect(clippy::expect_used, reason = "the names are ours, each is there once, and a test makes all of them")]
    fn default() -> Self {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str| {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()));
            let histogram = histogram.expect("a histogram of this name");
            registry.register(Box::new(histogram.clone())).expect("a name that is free");
            histogram
        };
        let requests = Opts::new("reprise_http_requests_total", "Requests that were answered.");
        let requests = IntCounterVec::new(requests, &["path", "status"]).expect("a counter of this name");
        registry.register(Box::new(requests.clone())).expect("a name that is free");
        Self {
            totals: Totals::default(),
            http: HttpValues::default(),
            epochs: Mutex::default(),
            cut_began: Mutex::default(),
            epoch_duration: histogram(
                "reprise_epoch_duration_seconds",
                "From the beginning of an epoch until it is served.",
            ),
            freshness: histogram(
                "reprise_freshness_seconds",
                "How long ago the oldest record of an epoch had been produced when it was served.",
            ),
            commit_duration: histogram("reprise_commit_duration_seconds", "From a cut until it is in the lake's log."),
            requests,
            request_duration: histogram(
                "reprise_http_request_duration_seconds",
                "From a request until its answer begins.",
            ),
            registry,
        }
    }
}

impl Metrics {
    /// Notes that worker 0 has begun an epoch, and with `cuts` a cut.
    pub fn began(&self, epoch: Epoch, cuts: bool) {
        let mut epochs = lock(&self.epochs);
        if epochs.len() >= EPOCHS_MAX {
            epochs.pop_front();
        }
        epochs.push_back(OpenEpoch { epoch, began: Instant::now(), oldest_ms: None, served_ms: None });
        if cuts {
            *lock(&self.cut_began) = Some(Instant::now());
        }
    }

    /// Notes that a source has closed an epoch whose oldest record was produced at `oldest_ms`
    /// since
    /// 1970. Returns the epoch's freshness in ms if it is already served.
    pub fn closed(&self, epoch: Epoch, oldest_ms: i64) -> Option<i64> {
        let mut epochs = lock(&self.epochs);
        let open = epochs.iter_mut().find(|open| open.epoch == epoch)?;
        open.oldest_ms = Some(open.oldest_ms.map_or(oldest_ms, |other| other.min(oldest_ms)));
        open.freshness_ms()
    }

    /// Notes that `epoch` and all earlier ones are served, at `now_ms` since 1970. Returns the
    /// newest freshness in ms, if a source has reported the age of the records.
    pub fn served(&self, epoch: Epoch, now_ms: i64) -> Option<i64> {
        let mut epochs = lock(&self.epochs);
        let mut freshness_ms = None;
        for open in epochs.iter_mut().filter(|open| open.epoch <= epoch && open.served_ms.is_none()) {
            open.served_ms = Some(now_ms);
            self.epoch_duration.observe(open.began.elapsed().as_secs_f64());
            freshness_ms = open.freshness_ms().or(freshness_ms);
        }
        // Reports may arrive after the epoch itself, so its freshness is observed some epochs
        // later.
        while epochs.len() > REPORTED_AFTER && epochs.front().is_some_and(|open| open.served_ms.is_some()) {
            if let Some(freshness_ms) = epochs.pop_front().and_then(|open| open.freshness_ms()) {
                self.freshness.observe(freshness_ms as f64 / 1000.0);
            }
        }
        freshness_ms
    }

    /// Notes that the last cut is in the lake's log.
    pub fn committed(&self) {
        if let Some(began) = lock(&self.cut_began).take() {
            self.commit_duration.observe(began.elapsed().as_secs_f64());
        }
    }

    /// Counts a response. `path` is the router's pattern, not the path of the request.
    pub fn answered(&self, path: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[path, &status.to_string()]).inc();
        self.request_duration.observe(took.as_secs_f64());
    }

    /// The number of responses to `path` with `status`.
    #[cfg(test)]
    pub fn answers(&self, path: &str, status: u16) -> u64 {
        self.requests.with_label_values(&[path, &status.to_string()]).get()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report may come before its epoch is served, or after.
    #[test]
    fn freshness_is_that_of_the_oldest_record() {
        let metrics = Metrics::default();
        metrics.began(1, false);
        metrics.began(2, false);
        assert_eq!(metrics.closed(1, 1000), None);
        assert_eq!(metrics.closed(1, 900), None);
        assert_eq!(metrics.served(1, 1010), Some(110));
        assert_eq!(metrics.served(2, 1030), None);
        assert_eq!(metrics.closed(2, 1020), Some(10));
        assert_eq!(metrics.closed(99, 1020), None);
        for epoch in 3..3 + REPORTED_AFTER as u64 {
            metrics.began(epoch, false);
            metrics.served(epoch, 2000);
        }
        assert_eq!(metrics.freshness.get_sample_count(), 2);
        assert!((metrics.freshness.get_sample_sum() - 0.12).abs() < 1e-9);
    }

    #[test]
    fn a_commit_lasts_from_its_cut() {
        let metrics = Metrics::default();
        metrics.committed();
        metrics.began(1, true);
        metrics.committed();
        metrics.committed();
        assert_eq!(metrics.commit_duration.get_sample_count(), 1);
    }
}
