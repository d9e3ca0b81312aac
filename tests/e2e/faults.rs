//! Temporary faults: brokers that stop and return, leaders that move, requests that fail. A run
//! survives all of them.

use std::time::Duration;

use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Errors};

use crate::support::fixture::folder;
use crate::support::mock::{Mock, PARTITIONS, TOPIC, has_read, survives};
use crate::support::{eventually, lake};

const WARNING: &str = "Kafka does not answer as expected; retrying";

/// Long enough for librdkafka to notice a fault and to retry a few times.
fn wait_for_retries() {
    std::thread::sleep(Duration::from_millis(1500));
}

#[test]
fn one_broker_of_three_stops_and_returns() {
    survives(3, "", |mock, running| {
        for broker in 1..=3 {
            mock.cluster.broker_down(broker).unwrap();
            mock.send(200);
            wait_for_retries();
            mock.cluster.broker_up(broker).unwrap();
            mock.arrived();
        }
        has_read(running, 1100);
    });
}

#[test]
fn all_brokers_stop_and_return() {
    survives(3, WARNING, |mock, running| {
        (1..=3).for_each(|broker| mock.cluster.broker_down(broker).unwrap());
        mock.send(300);
        eventually("the log says so", || running.program.stderr().contains(WARNING).then_some(()));
        let silent = || running.status()["kafka_silent"].clone();
        eventually("the status says so", || silent().as_str()?.contains("has not answered since").then_some(()));
        (1..=3).for_each(|broker| mock.cluster.broker_up(broker).unwrap());
        mock.arrived();
        has_read(running, 800);
        eventually("the status no longer says so", || silent().is_null().then_some(()));
    });
}

#[test]
fn moving_leaders_are_followed() {
    survives(3, "", |mock, running| {
        for (round, broker) in (1..).zip([1, 2, 3, 1]) {
            for partition in 0..PARTITIONS {
                // Some leaders move while plays are in flight.
                mock.send(50);
                mock.cluster.partition_leader(TOPIC, partition, Some(broker)).unwrap();
            }
            mock.arrived();
            has_read(running, 500 + 150 * round);
        }
    });
}

/// Errors of brokers that are starting, moving or overloaded. None of them means that the topic is
/// gone.
#[test]
fn failed_requests_are_retried() {
    use Errors::*;
    let temporary = [
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        RD_KAFKA_RESP_ERR_UNKNOWN,
        RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    survives(1, WARNING, |mock, running| {
        for (round, api) in (1..).zip([Api::Fetch, Api::Metadata, Api::ListOffsets]) {
            mock.cluster.request_errors(api, &temporary);
            mock.send(200);
            mock.arrived();
            has_read(running, 500 + 200 * round);
        }
    });
}

/// The broker reports an offset as out of range although it exists. Nothing is missing, so nothing
/// may be skipped.
#[test]
fn a_false_offset_out_of_range_error_skips_nothing() {
    survives(1, "but the offset exists; resuming there", |mock, running| {
        for round in 1..=3 {
            mock.cluster.request_errors(Api::Fetch, &[Errors::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE; 2]);
            mock.send(200);
            mock.arrived();
            has_read(running, 500 + 200 * round);
        }
    });
}

#[test]
fn slow_answers_are_survived() {
    survives(1, "", |mock, running| {
        mock.cluster.broker_round_trip_time(1, Duration::from_millis(700)).unwrap();
        mock.send(300);
        mock.arrived();
        has_read(running, 800);
        mock.cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    });
}

/// A broker that has just started may not know the topic yet.
#[test]
fn a_topic_that_is_briefly_unknown_does_not_end_the_run() {
    survives(1, "Kafka says that the topic does not exist", |mock, running| {
        mock.cluster.topic_error(TOPIC, Errors::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
        eventually("the run notices", || running.program.stderr().contains("does not exist").then_some(()));
        mock.cluster.topic_error(TOPIC, Errors::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
        mock.send(300);
        mock.arrived();
        has_read(running, 800);
    });
}

/// While the group's coordinator fails, only the committed group offsets lag behind.
#[test]
fn a_failing_group_coordinator_does_not_affect_the_run() {
    survives(3, "", |mock, running| {
        let coordinator = |broker| mock.cluster.coordinator(MockCoordinator::Group("reprise".to_owned()), broker);
        coordinator(1).unwrap();
        let refusals = [
            Errors::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            Errors::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
            Errors::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            Errors::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            Errors::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        ];
        mock.cluster.request_errors(Api::OffsetCommit, &refusals);
        coordinator(2).unwrap();
        mock.send(300);
        mock.arrived();
        has_read(running, 800);
    });
}

/// Stopping does not wait for a broker, and everything read so far is committed.
#[test]
fn a_run_can_be_stopped_while_no_broker_answers() {
    let mut mock = Mock::new(2);
    let folder = folder();
    let running = mock.run(folder.path(), &["--commit-interval", "1h"]);
    mock.send(300);
    mock.arrived();
    has_read(&running, 300);
    (1..=2).for_each(|broker| mock.cluster.broker_down(broker).unwrap());
    eventually("the run notices", || running.program.stderr().contains(WARNING).then_some(()));
    running.stop();
    assert_eq!(lake::plays(folder.path()).len(), 300);
}
