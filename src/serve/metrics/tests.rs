//! What `/metrics` says, as a client reads it.

use std::collections::{BTreeMap, BTreeSet};

use reprise_dataflows::play::Rejection;
use reprise_dataflows::{Stage, Tick};

use super::*;
use crate::charts::{Changes, tests as fixtures};
use crate::serve::Shared;
use crate::source::{KafkaReport, PartitionReport, Report};

/// The value of each sample, by its name and labels.
fn samples(shared: &Shared) -> BTreeMap<String, f64> {
    let text = prometheus::TextEncoder::new().encode_to_string(&families(shared).unwrap()).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn says_what_the_run_knows() {
    let shared = Shared::new(fixtures::filled());
    let mut partition = PartitionReport::new(3, 100);
    (partition.next, partition.accepted) = (150, 48);
    partition.dead_letters = vec![("not_json".to_owned(), 2)];
    let report = KafkaReport { partitions: vec![partition], closed: Some((7, 5)), ..KafkaReport::default() };
    shared.metrics.began(7, false);
    shared.reported(Report::Kafka(report));
    let tick = Tick { epoch: 7, clock_us: None, stage: Stage::Live, cut: None };
    shared.advance(7, Some(tick), Changes::default(), Vec::new());
    shared.metrics.answered("/v1/trending", 200, Duration::from_millis(3));

    let samples = samples(&shared);
    let is = |name: &str, value: f64| assert_eq!(samples.get(name), Some(&value), "{name}");
    is("reprise_records_total", 50.0);
    is("reprise_plays_total", 48.0);
    is("reprise_dead_letters_total{reason=\"not_json\"}", 2.0);
    is("reprise_partition_next_offset{partition=\"3\"}", 150.0);
    is("reprise_uncommitted_plays", 48.0);
    is("reprise_epochs_total", 1.0);
    is("reprise_epoch_duration_seconds_count", 1.0);
    is("reprise_http_requests_total{path=\"/v1/trending\",status=\"200\"}", 1.0);
    is("reprise_http_request_duration_seconds_bucket{le=\"0.005\"}", 1.0);
    is("reprise_http_request_duration_seconds_bucket{le=\"0.0025\"}", 0.0);
    assert!(samples["reprise_cells"] > 0.0 && samples["reprise_resident_memory_bytes"] > 0.0);
    assert!(shared.status().freshness_ms.is_some());
}

/// An alert looks at how a counter grows, so each series that it looks at exists before the first record.
#[test]
fn series_of_alerts_exist_from_the_start() {
    let shared = Shared::new(fixtures::charts());
    let samples = samples(&shared);
    for reason in Rejection::ALL {
        let name = format!("reprise_dead_letters_total{{reason=\"{}\"}}", reason.as_str());
        assert_eq!(samples.get(&name), Some(&0.0), "{name}");
    }
    let alerts = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/compose/alerts.yml"));
    let words = alerts.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let names: BTreeSet<&str> = words.filter(|word| word.starts_with("reprise_")).collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names.into_iter().filter(|name| *name != "reprise_partition_lag") {
        assert!(samples.keys().any(|sample| sample.split('{').next() == Some(name)), "{name} has no series");
    }
    assert_eq!(samples["reprise_phase{phase=\"opening\"}"], 1.0);
    assert_eq!(samples["reprise_phase{phase=\"live\"}"], 0.0);
}

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
