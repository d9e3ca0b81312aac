//! The HTTP client for a running instance.

use std::fmt;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::serve::problem::Problem;
use crate::state::Phase;
use crate::state::charts::{CellAnswer, ChartCell};
use crate::text::{grouped, printable};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit for receiving a whole response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Limit for receiving a snapshot of all cells.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);
/// The largest snapshot: it must fit in memory beside a replay.
const SNAPSHOT_BYTES_MAX: u64 = 4 << 30;
/// Limit for a probe. It is short, because whatever probes an instance tries again.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest response to a probe.
const PROBE_BYTES_MAX: u64 = 64 << 10;
/// The largest response: several times what the server would send, and small enough for memory.
const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// A client for one or several instances.
pub struct Client {
    http: reqwest::blocking::Client,
    /// The option that names the instance, for error messages.
    option: &'static str,
}

/// The part of an instance's status that tells what it has committed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Committed {
    /// The phase that the instance is in.
    #[serde(default)]
    phase: Phase,
    /// The newest version that the instance has committed.
    pub lake_version: Option<u64>,
    /// Plays in that version.
    #[serde(default)]
    pub lake_plays: u64,
    /// Plays that were read and are not committed yet.
    #[serde(default)]
    pub uncommitted_plays: u64,
    /// The time until the next commit is due, in ms; `None` if the instance does not know.
    #[serde(default)]
    next_commit_ms: Option<u64>,
}

impl Committed {
    /// Whether the instance has caught up with Kafka.
    pub fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }
}

/// Says how many plays are not committed yet, and when they will be.
impl fmt::Display for Committed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plays = grouped(self.uncommitted_plays);
        let are = if self.uncommitted_plays == 1 { "play is" } else { "plays are" };
        write!(formatter, "{plays} {are} not committed yet")?;
        match self.next_commit_ms {
            Some(ms) => write!(formatter, "; the next commit is in {} ms", grouped(ms)),
            None => Ok(()),
        }
    }
}

/// Why a request failed.
#[derive(Debug)]
pub enum Failure {
    /// The instance does not answer, or cannot answer now: trying again later may help.
    Unavailable(anyhow::Error),
    /// The instance refuses the request: trying again does not help.
    Refused(anyhow::Error),
}

impl Failure {
    /// The error, for a caller that does not try again.
    pub fn into_error(self) -> anyhow::Error {
        match self {
            Self::Unavailable(error) | Self::Refused(error) => error,
        }
    }
}

impl Client {
    /// A client that sends `token`, if there is one. `option` is the option that names the
    /// instance.
    ///
    /// # Errors
    /// If the token cannot be in a header, or the client cannot be set up.
    pub fn new(token: Option<&str>, option: &'static str) -> Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(token) = token {
            let value = HeaderValue::from_str(&format!("Bearer {token}"));
            let mut value = value.map_err(|_| anyhow!("the token has characters that a header cannot have"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        // No proxy: an instance is on this machine or network, where a proxy for the internet does
        // not reach.
        let builder = reqwest::blocking::Client::builder().no_proxy().redirect(Policy::none()).default_headers(headers);
        let client = builder.connect_timeout(CONNECT_TIMEOUT).timeout(ANSWER_TIMEOUT).build();
        let http = client.context("the HTTP client cannot be started")?;
        Ok(Self { http, option })
    }

    /// The chart cells at `url`.
    ///
    /// # Errors
    /// A [`Failure`], as for all requests.
    pub fn cells(&self, url: &Url) -> Result<Vec<ChartCell>, Failure> {
        self.json::<CellAnswer>(url).map(CellAnswer::into_cells)
    }

    /// The JSON document at `url`.
    ///
    /// # Errors
    /// A [`Failure`]: `Refused` also if the document is not a `T`.
    pub fn json<T: DeserializeOwned>(&self, url: &Url) -> Result<T, Failure> {
        let answer = serde_json::from_slice(&self.get(url)?);
        let context = || format!("{} answers with other JSON than a reprise of this version: is it one?", origin(url));
        answer.with_context(context).map_err(Failure::Refused)
    }

    /// The response body at `url`.
    ///
    /// # Errors
    /// A [`Failure`]: `Refused` also if the body is too large.
    pub fn get(&self, url: &Url) -> Result<Vec<u8>, Failure> {
        self.body(url, ANSWER_TIMEOUT, ANSWER_BYTES_MAX, "set a --limit")
    }

    /// Checks that the probe at `url` is answered by the line `expected`, as reprise answers it.
    ///
    /// # Errors
    /// A [`Failure`]: `Refused` also if the answer is another one.
    pub fn probe(&self, url: &Url, expected: &str) -> Result<(), Failure> {
        let answer = self.body(url, PROBE_TIMEOUT, PROBE_BYTES_MAX, "is it a reprise?")?;
        match answer.trim_ascii() == expected.as_bytes() {
            true => Ok(()),
            false => Err(Failure::Refused(anyhow!("{} does not answer as reprise does: is it one?", origin(url)))),
        }
    }

    /// The snapshot at `url`, undecoded. It is received as a whole before it is used, so that the
    /// instance does not have to wait for a replay while it sends.
    ///
    /// # Errors
    /// A [`Failure`]: `Refused` also if the snapshot is too large.
    pub fn snapshot(&self, url: &Url) -> Result<Vec<u8>, Failure> {
        self.body(url, SNAPSHOT_TIMEOUT, SNAPSHOT_BYTES_MAX, "its charts are too many to compare")
    }

    /// The body of a successful response, of `bytes_max` bytes at most; the error for a larger one
    /// ends with `hint`.
    fn body(&self, url: &Url, timeout: Duration, bytes_max: u64, hint: &str) -> Result<Vec<u8>, Failure> {
        let response = self.http.get(url.clone()).timeout(timeout).send();
        let response = response.map_err(|error| self.no_answer(url, error))?;
        let status = response.status();
        let location = response.headers().get(LOCATION).and_then(|location| Url::parse(location.to_str().ok()?).ok());
        let body = body(url, response, bytes_max, hint)?;
        match location.filter(|_| status.is_redirection()) {
            Some(leader) => Err(Failure::Refused(anyhow!(
                "{} serves no charts, and redirects to {}: use that one",
                origin(url),
                origin(&leader)
            ))),
            None if status.is_success() => Ok(body),
            None => Err(refusal(url, status, &body)),
        }
    }

    fn no_answer(&self, url: &Url, error: reqwest::Error) -> Failure {
        let (origin, option) = (origin(url), self.option);
        Failure::Unavailable(if error.is_timeout() {
            anyhow!("{origin} does not answer in time")
        } else if error.is_connect() {
            anyhow!(
                "no reprise answers at {origin}; start one with `reprise run …` or `reprise demo`, or name it with {option}"
            )
        } else {
            anyhow!(error.without_url()).context(format!("{origin} gives an invalid answer"))
        })
    }
}

fn body(url: &Url, response: Response, bytes_max: u64, hint: &str) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = response.take(bytes_max + 1).read_to_end(&mut body);
    read.map_err(|error| {
        Failure::Unavailable(anyhow!(error).context(format!("{} broke off its answer", origin(url))))
    })?;
    if body.len() as u64 > bytes_max {
        let bound = format!("{} answers with more than {} MiB: {hint}", origin(url), bytes_max >> 20);
        return Err(Failure::Refused(anyhow!(bound)));
    }
    Ok(body)
}

fn refusal(url: &Url, status: StatusCode, body: &[u8]) -> Failure {
    let error = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => anyhow!("{}", printable(&problem.detail)),
        Err(_) => anyhow!("{} answers {status}: is it a reprise?", origin(url)),
    };
    if status.is_server_error() { Failure::Unavailable(error) } else { Failure::Refused(error) }
}

/// Scheme, host and port of `url`, for error messages.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener;

    use super::*;
    use crate::serve::tests::server;

    fn cells(address: impl std::fmt::Display, path: &str) -> Result<Vec<ChartCell>, Failure> {
        Client::new(None, "--url").unwrap().cells(&Url::parse(&format!("http://{address}{path}")).unwrap())
    }

    #[test]
    fn one_cell_or_several() {
        let (server, http) = server();
        let answer = cells(server.address, "/v1/charts/weekly").unwrap();
        assert_eq!(answer[..], http.state.charts().cells(&filter("2026-W47", "global")));
        assert_eq!(cells(server.address, "/v1/charts/weekly?scope=*&period=*").unwrap().len(), 3);
    }

    fn filter(period: &str, scope: &str) -> crate::state::charts::Filter {
        let scope = reprise_dataflows::rules::definition::Scope::parse(scope).ok();
        crate::state::charts::Filter { scope, period: Some(period.to_owned()), ..Default::default() }
    }

    /// The error is the detail of the problem. A server error may pass; a refused request stays
    /// refused.
    #[test]
    fn refusals_say_why() {
        let (server, http) = server();
        http.state.ready.store(false, std::sync::atomic::Ordering::Release);
        let Err(Failure::Refused(error)) = cells(server.address, "/v1/charts/daily") else { panic!("not refused") };
        assert!(error.to_string().contains("the charts are `trending`"), "{error}");
        let Err(Failure::Unavailable(error)) = cells(server.address, "/readyz") else { panic!("not away") };
        assert!(error.to_string().contains("still catching up"), "{error}");
    }

    #[test]
    fn no_server_answers() {
        let (server, _) = server();
        let address = server.address;
        drop(server);
        let Err(Failure::Unavailable(error)) = cells(address, "/v1/trending") else { panic!("not away") };
        let error = error.to_string();
        let expected = format!("no reprise answers at http://{address}; start one with `reprise run …`");
        assert!(error.starts_with(&expected) && error.ends_with("name it with --url"), "{error}");
    }

    /// Another program on the port gives an error, without the escape sequences that it sends.
    #[test]
    fn another_server_answers() {
        let answers =
            ["HTTP/1.1 200 OK\r\n\r\n<html>", "HTTP/1.1 404 Not Found\r\n\r\n", "\x1b[2J nonsense\r\n\r\n", ""];
        for answer in answers {
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            let other = std::thread::spawn(move || {
                let (mut stream, _) = socket.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]);
                stream.write_all(answer.as_bytes()).unwrap();
            });
            let error = cells(address, "/v1/trending").unwrap_err().into_error();
            let text = format!("{error:#}");
            assert!(text.contains(&address.to_string()) && !text.contains('\x1b'), "{answer:?}: {text}");
            other.join().unwrap();
        }
    }
}
