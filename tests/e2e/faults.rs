//! Brokers that go and come back, leaders that move, requests that fail: whatever passes is lived through.

use std::time::Duration;

use rdkafka::mocking::MockCoordinator;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr as Errors};

use crate::support::fixture::folder;
use crate::support::mock::{Mock, PARTITIONS, TOPIC, has_read, survives};
use crate::support::{eventually, lake};

const WARNING: &str = "Kafka does not answer as expected; retrying";

/// Long enough for librdkafka to notice, and to try again a few times.
fn a_while() {
    std::thread::sleep(Duration::from_millis(1500));
}

#[test]
fn one_broker_of_three_goes_and_comes_back() {
    survives(3, "", |mock, running| {
        for broker in 1..=3 {
            mock.cluster.broker_down(broker).unwrap();
            mock.send(200);
            a_while();
            mock.cluster.broker_up(broker).unwrap();
            mock.arrived();
        }
        has_read(running, 1100);
    });
}

#[test]
fn all_brokers_go_and_come_back() {
    survives(3, WARNING, |mock, running| {
        (1..=3).for_each(|broker| mock.cluster.broker_down(broker).unwrap());
        mock.send(300);
        eventually("it says so", || running.program.stderr().contains(WARNING).then_some(()));
        let silent = || running.status()["kafka_silent"].clone();
        eventually("its status says so", || silent().as_str()?.contains("has not answered since").then_some(()));
        (1..=3).for_each(|broker| mock.cluster.broker_up(broker).unwrap());
        mock.arrived();
        has_read(running, 800);
        eventually("nor does it any more", || silent().is_null().then_some(()));
    });
}

#[test]
fn leaders_move() {
    survives(3, "", |mock, running| {
        for (round, broker) in (1..).zip([1, 2, 3, 1]) {
            for partition in 0..PARTITIONS {
                // Part of them while plays are on the way.
                mock.send(50);
                mock.cluster.partition_leader(TOPIC, partition, Some(broker)).unwrap();
            }
            mock.arrived();
            has_read(running, 500 + 150 * round);
        }
    });
}

/// What brokers say when they are starting, moving or overloaded. None of it is the end of a topic.
#[test]
fn requests_that_fail_are_made_again() {
    use Errors::*;
    let passing = [
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
            mock.cluster.request_errors(api, &passing);
            mock.send(200);
            mock.arrived();
            has_read(running, 500 + 200 * round);
        }
    });
}

/// The broker claims that an offset is out of range which is not: nothing is missing, so nothing is skipped.
#[test]
fn an_offset_that_is_only_said_to_be_out_of_range() {
    survives(1, "does not have an offset that it has; reading on", |mock, running| {
        for round in 1..=3 {
            mock.cluster.request_errors(Api::Fetch, &[Errors::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE; 2]);
            mock.send(200);
            mock.arrived();
            has_read(running, 500 + 200 * round);
        }
    });
}

#[test]
fn slow_answers() {
    survives(1, "", |mock, running| {
        mock.cluster.broker_round_trip_time(1, Duration::from_millis(700)).unwrap();
        mock.send(300);
        mock.arrived();
        has_read(running, 800);
        mock.cluster.broker_round_trip_time(1, Duration::ZERO).unwrap();
    });
}

/// A broker that has just been started may not know of the topic yet.
#[test]
fn a_topic_that_is_unknown_for_a_moment() {
    survives(1, "Kafka says that the topic does not exist", |mock, running| {
        mock.cluster.topic_error(TOPIC, Errors::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
        eventually("it notices", || running.program.stderr().contains("does not exist").then_some(()));
        mock.cluster.topic_error(TOPIC, Errors::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
        mock.send(300);
        mock.arrived();
        has_read(running, 800);
    });
}

/// Lag tools are behind while the group's coordinator is in trouble. Nothing else is.
#[test]
fn the_groups_coordinator_moves_and_refuses() {
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

/// What cannot be read is not waited for, and what was read is not lost by that.
#[test]
fn whoever_wants_to_leave_while_no_broker_answers_is_let_go() {
    let mut mock = Mock::new(2);
    let folder = folder();
    let running = mock.run(folder.path(), &["--commit-interval", "1h"]);
    mock.send(300);
    mock.arrived();
    has_read(&running, 300);
    (1..=2).for_each(|broker| mock.cluster.broker_down(broker).unwrap());
    eventually("it notices", || running.program.stderr().contains(WARNING).then_some(()));
    running.stop();
    assert_eq!(lake::plays(folder.path()).len(), 300);
}
