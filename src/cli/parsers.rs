//! Parsers of option values.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Limit of a librdkafka option's value in a file.
const OPTION_BYTES_MAX: u64 = 1 << 20;

/// Parses an address to listen on.
///
/// # Errors
/// If it is not an IP address and a port.
pub fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it must be an IP address and a port, as in 127.0.0.1:7878 or [::1]:7878".to_owned())
}

/// Parses the addresses of brokers: host:port, separated by commas. They are checked here, because
/// librdkafka treats a broker whose port is not a number as one that does not answer, and waits.
///
/// # Errors
/// If there is no address, or a port is not a number from 1 to 65535.
pub fn brokers(text: &str) -> Result<String, String> {
    let mut addresses = text.split([',', ' ']).filter(|address| !address.is_empty()).peekable();
    if addresses.peek().is_none() {
        return Err("it must be host:port, as in localhost:9092".to_owned());
    }
    let is_possible = |address: &&str| match address.rsplit_once(':') {
        // The colon of `SSL://host`, or one in an IPv6 address without a port.
        Some((_, rest)) if rest.starts_with("//") || rest.ends_with(']') => true,
        Some((_, port)) => port.parse::<u16>().is_ok_and(|port| port > 0),
        None => true,
    };
    match addresses.find(|address| !is_possible(address)) {
        Some(address) => Err(format!("`{address}` is no host:port, as in localhost:9092")),
        None => Ok(text.to_owned()),
    }
}

/// Parses `name=value`, or `name=@FILE`, whose value is in a file so that other users cannot see
/// it.
///
/// # Errors
/// If there is no `=`, or the file cannot be read.
pub fn parse_option(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it must be written name=value, as in socket.timeout.ms=10000")?;
    let value = match value.strip_prefix('@') {
        None => value.to_owned(),
        Some(path) => {
            value_in_file(Path::new(path)).map_err(|error| format!("{name} cannot be read from {path}: {error}"))?
        }
    };
    Ok((name.to_owned(), value))
}

/// The text of a file without its last line break.
fn value_in_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(OPTION_BYTES_MAX).read_to_string(&mut text)?;
    let value = text.strip_suffix('\n').unwrap_or(&text);
    Ok(value.strip_suffix('\r').unwrap_or(value).to_owned())
}

const SPAN_MAX: Duration = Duration::from_secs(3660 * 24 * 3600);

/// Parses a span of time such as `500ms`, `10s`, `5m` or `30d`; a day has 24 hours.
///
/// # Errors
/// If it is not one, or is longer than ten years.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let span = text.parse::<jiff::Span>().and_then(|span| span.to_duration(days));
    match span.map(Duration::try_from) {
        Ok(Ok(span)) if span <= SPAN_MAX => Ok(span),
        _ => Err("it must be a span of time such as 500ms, 10s, 5m or 30d, ten years at most".to_owned()),
    }
}

/// Parses a point in time, as µs since 1970.
///
/// # Errors
/// If it is not one.
pub fn parse_moment(text: &str) -> Result<i64, String> {
    reprise_dataflows::time::parse_instant(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_have_ports_that_are_numbers() {
        for text in
            ["localhost:9092", "a:1, b:65535,", "kafka", "[::1]:9092", "[::1]", "SSL://kafka.example:9093", "SSL://a"]
        {
            assert_eq!(brokers(text).as_deref(), Ok(text));
        }
        for text in ["foo:bar", "", ",", "a:0", "a:65536", "a:", "a:1,b:-1"] {
            assert!(brokers(text).is_err_and(|error| error.contains("host:port")), "{text}");
        }
    }
}
