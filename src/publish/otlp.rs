//! Metrics for an OpenTelemetry collector: the same as `/metrics`, sent to it at a fixed interval.
//!
//! The protocol is OTLP over HTTP in its JSON form, which needs only a few fields around the
//! metrics of `/metrics`; the SDK would be as large as the rest of the server. See
//! <https://opentelemetry.io/docs/specs/otlp/>.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use prometheus::proto::{Metric, MetricFamily, MetricType};
use reqwest::blocking::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use tracing::{info, warn};
use url::Url;

use super::exposition;
use crate::process::threads::Closing;
use crate::state::State;

const INTERVAL: Duration = Duration::from_secs(15);
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long sending the last metrics may take when the run is over.
const LAST_MAX: Duration = Duration::from_secs(2);
const SERVICE: &str = "reprise";
/// The environment variable with headers that a collector asks for, such as a key, in the notation
/// of OpenTelemetry: `name=value,name=value`.
const HEADERS_VARIABLE: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// The environment variable with the name of the service, which is [`SERVICE`] by default.
const SERVICE_VARIABLE: &str = "OTEL_SERVICE_NAME";
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`: sums count from the start of the run.
const CUMULATIVE: u8 = 2;

/// Parses the URL of a collector.
///
/// # Errors
/// If it is not such a URL: a text that says what one looks like.
pub fn parse_endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "it must be a URL such as http://localhost:4318".to_owned())
}

/// Starts a thread that sends the metrics of `state` to the collector at `endpoint` at a fixed
/// interval, and once more when the result is dropped.
///
/// # Errors
/// If the headers in the environment are not valid, or the thread cannot be started.
pub fn export(endpoint: &Url, state: Arc<State>) -> Result<Closing> {
    let mut url = endpoint.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(["v1", "metrics"]);
    }
    let headers = std::env::var(HEADERS_VARIABLE).unwrap_or_default();
    let headers = parse_headers(&headers).context("OTEL_EXPORTER_OTLP_HEADERS must be name=value,name=value")?;
    let client =
        Client::builder().no_proxy().redirect(Policy::none()).timeout(TIMEOUT).default_headers(headers).build()?;
    let service =
        std::env::var(SERVICE_VARIABLE).ok().filter(|name| !name.is_empty()).unwrap_or_else(|| SERVICE.to_owned());
    let left_behind = || warn!("the OpenTelemetry collector has not got the last metrics");
    Closing::start("reprise-otlp", LAST_MAX, left_behind, move |stop: &AtomicBool| {
        let mut is_away = false;
        loop {
            let stopped = stop.load(Ordering::Relaxed);
            let sent = send(&client, &url, &state, &service);
            match &sent {
                Err(error) if !is_away => warn!("the OpenTelemetry collector gets no metrics: {error:#}; retrying"),
                Ok(()) if is_away => info!("the OpenTelemetry collector gets metrics again"),
                _ => {}
            }
            is_away = sent.is_err();
            if stopped {
                return;
            }
            std::thread::park_timeout(INTERVAL);
        }
    })
}

fn send(client: &Client, url: &Url, state: &State, service: &str) -> Result<()> {
    let request = request(&exposition::families(state)?, state.status().started_at_us, service);
    let answer = client.post(url.clone()).json(&request).send().map_err(reqwest::Error::without_url)?;
    ensure!(answer.status().is_success(), "it answers {}", answer.status());
    Ok(())
}

fn parse_headers(text: &str) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        // Errors do not repeat the text: it may hold a key.
        let (name, value) = pair.split_once('=').context("a part of it has no `=`")?;
        let name =
            HeaderName::from_bytes(name.trim().as_bytes()).ok().context("a name in it cannot be that of a header")?;
        let mut value = HeaderValue::from_str(value.trim()).ok().context("a value in it cannot be that of a header")?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The body of a request to the collector: an `ExportMetricsServiceRequest`.
fn request(families: &[MetricFamily], started_at_us: Option<i64>, service: &str) -> Value {
    let times = Times {
        start: nanoseconds(started_at_us.unwrap_or(0)),
        now: nanoseconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)),
    };
    let metrics: Vec<Value> = families.iter().map(|family| times.metric(family)).collect();
    let resource = json!({"attributes": [
        attribute("service.name", service),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
    ]});
    let scope = json!({"name": SERVICE, "version": env!("CARGO_PKG_VERSION")});
    json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"scope": scope, "metrics": metrics}]}]})
}

/// `us` in nanoseconds, as a string: the JSON form of OTLP writes integers of 64 bits as strings.
fn nanoseconds(us: i64) -> String {
    us.saturating_mul(1000).to_string()
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

struct Times {
    start: String,
    now: String,
}

impl Times {
    fn metric(&self, family: &MetricFamily) -> Value {
        let points: Vec<Value> = family.get_metric().iter().map(|metric| self.point(family, metric)).collect();
        let (name, description) = (family.name(), family.help());
        match family.get_field_type() {
            MetricType::COUNTER => json!({"name": name, "description": description,
                "sum": {"dataPoints": points, "aggregationTemporality": CUMULATIVE, "isMonotonic": true}}),
            MetricType::HISTOGRAM => json!({"name": name, "description": description,
                "histogram": {"dataPoints": points, "aggregationTemporality": CUMULATIVE}}),
            _ => json!({"name": name, "description": description, "gauge": {"dataPoints": points}}),
        }
    }

    fn point(&self, family: &MetricFamily, metric: &Metric) -> Value {
        let labels = metric.get_label().iter().map(|label| attribute(label.name(), label.value()));
        let mut point = json!({"attributes": labels.collect::<Vec<_>>(), "timeUnixNano": self.now});
        let mut set =
            |name: &str, value: Value| drop(point.as_object_mut().map(|point| point.insert(name.to_owned(), value)));
        match family.get_field_type() {
            MetricType::COUNTER => {
                set("startTimeUnixNano", json!(self.start));
                set("asDouble", json!(metric.get_counter().get_value()));
            }
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let buckets = histogram.get_bucket();
                let bounds: Vec<f64> = buckets.iter().map(|bucket| bucket.upper_bound()).collect();
                // Prometheus buckets are cumulative, and the last one is only in the count of all
                // samples. OTLP has a separate count for each bucket.
                let below =
                    buckets.iter().map(|bucket| bucket.cumulative_count()).chain([histogram.get_sample_count()]);
                let apart = below.scan(0, |before, below| Some((below - std::mem::replace(before, below)).to_string()));
                set("startTimeUnixNano", json!(self.start));
                set("count", json!(histogram.get_sample_count().to_string()));
                set("sum", json!(histogram.get_sample_sum()));
                set("explicitBounds", json!(bounds));
                set("bucketCounts", json!(apart.collect::<Vec<_>>()));
            }
            _ => set("asDouble", json!(metric.get_gauge().get_value())),
        }
        point
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::charts::tests as fixtures;

    #[test]
    fn metrics_become_a_request() {
        let state = State::new(fixtures::filled());
        state.metrics.answered("/v1/trending", 200, Duration::from_millis(3));
        let request = request(&exposition::families(&state).unwrap(), Some(5), "ours");
        let resource = &request["resourceMetrics"][0];
        assert_eq!(resource["resource"]["attributes"][0], attribute("service.name", "ours"));
        let metrics = resource["scopeMetrics"][0]["metrics"].as_array().unwrap();
        let find = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
        let requests = &find("reprise_http_requests_total")["sum"];
        assert_eq!((&requests["isMonotonic"], &requests["dataPoints"][0]["asDouble"]), (&json!(true), &json!(1.0)));
        assert_eq!(requests["dataPoints"][0]["startTimeUnixNano"], "5000");
        let took = &find("reprise_http_request_duration_seconds")["histogram"]["dataPoints"][0];
        let counts = took["bucketCounts"].as_array().unwrap();
        assert_eq!(counts.len(), took["explicitBounds"].as_array().unwrap().len() + 1);
        assert_eq!((counts.iter().filter(|count| **count == "1").count(), &took["count"]), (1, &json!("1")));
        assert!(find("reprise_cells")["gauge"]["dataPoints"][0]["asDouble"].as_f64().unwrap() > 0.0);
    }

    #[test]
    fn headers_and_addresses() {
        let headers = parse_headers("api-key=abc=, x = y").unwrap();
        assert_eq!(
            (&headers["api-key"], &headers["x"]),
            (&HeaderValue::from_static("abc="), &HeaderValue::from_static("y"))
        );
        assert!(parse_headers("").unwrap().is_empty());
        for wrong in ["secret", "a b=c", "a=\u{1}"] {
            assert!(!format!("{:#}", parse_headers(wrong).unwrap_err()).contains("secret"), "{wrong}");
        }
        assert!(parse_endpoint("http://localhost:4318").is_ok());
        assert!(parse_endpoint("localhost:4318").is_err());
    }
}
