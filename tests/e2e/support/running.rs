//! `reprise run` in its two modes: to the end of the topic, and until it is stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::oracle::Printed;
use super::program::{Program, reprise, succeed};
use super::{broker, eventually};

/// The arguments of a `reprise run` of `topic` into `lake`.
pub fn run(topic: &str, lake: &Path, options: &[&str]) -> Vec<String> {
    run_on(broker::servers(), topic, lake, options)
}

/// Like [`run`], with another broker.
pub fn run_on(servers: &str, topic: &str, lake: &Path, options: &[&str]) -> Vec<String> {
    let lake = lake.to_str().expect("folders of tests are UTF-8");
    let arguments = ["run", "--brokers", servers, "--topic", topic, "--lake", lake, "--listen", "127.0.0.1:0"];
    arguments.iter().chain(options).map(|&argument| argument.to_owned()).collect()
}

/// Reads `topic` to its end, and returns all charts.
#[track_caller]
pub fn run_to_end(topic: &str, lake: &Path, options: &[&str]) -> Printed {
    let options = [&["--until-caught-up", "--format", "json"], options].concat();
    Printed::parse(&succeed(run(topic, lake, &options)).stdout)
}

/// Replays `lake`, and returns all charts.
#[track_caller]
pub fn replay(lake: &Path, options: &[&str]) -> Printed {
    let lake = lake.to_str().expect("folders of tests are UTF-8");
    let arguments = ["replay", "--lake", lake, "--format", "json"];
    Printed::parse(&succeed(arguments.iter().chain(options)).stdout)
}

/// A running `reprise`, with an HTTP client for it.
pub struct Running {
    /// The process.
    pub program: Program,
    /// The base URL, such as `http://127.0.0.1:7878`.
    pub address: String,
    client: reqwest::blocking::Client,
}

impl Running {
    /// Starts a run, and waits until it answers HTTP.
    #[track_caller]
    pub fn start(topic: &str, lake: &Path, options: &[&str]) -> Self {
        Self::of(reprise(run(topic, lake, options)))
    }

    /// Waits until `program` logs its HTTP address.
    #[track_caller]
    pub fn of(mut program: Program) -> Self {
        let address = program.word_after(" address=");
        Self::with(program, address)
    }

    /// A program that answers at `address`.
    pub fn with(program: Program, address: String) -> Self {
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        Self { program, address, client: client.expect("an HTTP client") }
    }

    /// The same program at a new address.
    pub fn at(self, address: String) -> Self {
        Self { address, ..self }
    }

    /// The status and the body of the answer to a GET request.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client.get(format!("{}{path}", self.address)).send();
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.program.transcript()));
        (answer.status().as_u16(), answer.text().expect("the body is text"))
    }

    /// The body as JSON. Fails unless the status is 200.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }

    /// The answer of `/v1/status`.
    pub fn status(&self) -> Value {
        self.json("/v1/status")
    }

    /// Waits until the run has read all records that the topic holds now, and returns its status.
    #[track_caller]
    pub fn caught_up(&self, topic: &str) -> Value {
        let ends: BTreeMap<i64, i64> =
            broker::ends(topic).into_iter().map(|(partition, end)| (partition.into(), end)).collect();
        eventually("the run has read everything", || {
            let status = self.status();
            (status["caught_up"] == true && offsets(&status, "next_offset") == ends).then_some(status)
        })
    }

    /// Stops the run with SIGTERM, as a supervisor would. Fails unless it exits with success.
    #[track_caller]
    pub fn stop(self) {
        self.program.signal("TERM");
        self.program.succeed();
    }
}

/// The field `name` of each partition in a status, by partition.
pub fn offsets(status: &Value, name: &str) -> BTreeMap<i64, i64> {
    let partitions = status["partitions"].as_array().map_or(&[][..], Vec::as_slice);
    let number = |partition: &Value, name: &str| partition[name].as_i64().unwrap_or(-1);
    partitions.iter().map(|partition| (number(partition, "partition"), number(partition, name))).collect()
}
