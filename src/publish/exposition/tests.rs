//! What `/metrics` says, as a client reads it.

use std::collections::{BTreeMap, BTreeSet};

use crate::intake::Rejection;
use reprise_dataflows::{Stage, Tick};

use std::time::Duration;

use super::*;
use crate::report::{KafkaReport, PartitionReport, Report};
use crate::state::State;
use crate::state::charts::{Changes, tests as fixtures};

/// The value of each sample, by its name and labels.
fn samples(state: &State) -> BTreeMap<String, f64> {
    let text = prometheus::TextEncoder::new().encode_to_string(&families(state).unwrap()).unwrap();
    let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap());
    samples.map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
}

#[test]
fn metrics_have_the_values_of_the_run() {
    let state = State::new(fixtures::filled());
    let mut partition = PartitionReport::new(3, 100);
    (partition.next, partition.accepted) = (150, 48);
    partition.dead_letters = vec![("not_json".to_owned(), 2)];
    let report = KafkaReport { partitions: vec![partition], closed: Some((7, 5)), ..KafkaReport::default() };
    state.metrics.began(7, false);
    state.reported(Report::Kafka(report));
    let tick = Tick { epoch: 7, clock_us: None, stage: Stage::Live, cut: None };
    state.advance(7, Some(tick), Changes::default(), Vec::new());
    state.metrics.answered("/v1/trending", 200, Duration::from_millis(3));

    let samples = samples(&state);
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
    assert!(state.status().freshness_ms.is_some());
}

/// Alerts watch the increase of counters, so every series that an alert watches exists before the
/// first record.
#[test]
fn series_of_alerts_exist_from_the_start() {
    let state = State::new(fixtures::charts());
    let samples = samples(&state);
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
