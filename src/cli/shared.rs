//! Options, parsers and set-up that several subcommands share.

use std::env::VarError;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::http::HeaderValue;
use reprise_dataflows::rules::charts_toml::FILE_BYTES_MAX;
use reprise_dataflows::rules::definition::Definitions;

use super::usage::WrongUsage;
use crate::lake::disk::{refuse_ambiguous, refuse_object_store};
use crate::serve::access::{Access, Token, parse_host, parse_origin, token_text};
use crate::terminal::output::{self, Format, colours};
use crate::text::log::{self, Escaping, Form};

/// Limit of a librdkafka option's value in a file.
const OPTION_BYTES_MAX: u64 = 1 << 20;

/// The option for the definitions of the charts.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ChartsFile {
    /// A TOML file that defines the charts, instead of the built-in trending, weekly, monthly and
    /// all-time charts.
    #[arg(long = "charts", value_name = "FILE", env = "REPRISE_CHARTS")]
    pub path: Option<PathBuf>,
}

impl ChartsFile {
    /// The definitions in the file, or the built-in ones.
    ///
    /// # Errors
    /// If the file cannot be read, or is not valid.
    pub fn load(&self) -> Result<Arc<Definitions>> {
        let Some(path) = &self.path else { return Ok(Arc::new(Definitions::builtin())) };
        let read = || -> Result<Definitions> {
            let bytes = std::fs::metadata(path)?.len();
            if bytes > FILE_BYTES_MAX as u64 {
                bail!("it has {bytes} bytes, and a charts file has {FILE_BYTES_MAX} at most");
            }
            Ok(Definitions::parse(&std::fs::read_to_string(path)?)?)
        };
        read().map(Arc::new).with_context(|| format!("cannot use the charts file {}", path.display())).wrong_usage()
    }
}

/// The option for the memory limit.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct MemoryMax {
    /// The memory limit of this process in MiB: above it, the process ends with a reason. The
    /// default is nine tenths of the memory of the machine or its container, so set a share for
    /// each of several processes on one machine.
    #[arg(long = "memory-max", value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 30), env = "REPRISE_MEMORY_MAX")]
    mib: Option<u64>,
}

impl MemoryMax {
    /// The limit in bytes, if it is given.
    pub fn bytes(self) -> Option<u64> {
        self.mib.map(|mib| mib << 20)
    }
}

/// The options for access to the HTTP server.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ServerAccess {
    #[command(flatten)]
    token: TokenFile,
    /// Allow web pages of this origin to read the answers (CORS), as in https://charts.example; *
    /// allows any origin.
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin, env = "REPRISE_CORS")]
    cors: Option<HeaderValue>,
    /// The public host name of a proxy in front of this server, such as charts.example; may be
    /// given several times. Without a token, only requests to these names and to those of this
    /// machine are answered, and connections are not limited by client address: the proxy has to do
    /// that.
    #[arg(long = "allowed-host", value_name = "HOST", value_delimiter = ',', value_parser = parse_host, env = "REPRISE_ALLOWED_HOST")]
    allowed_hosts: Vec<String>,
}

impl ServerAccess {
    /// The access rules for a server that listens at `listen`.
    ///
    /// # Errors
    /// If the token cannot be read, or is not valid.
    pub fn load(&self, listen: SocketAddr) -> Result<Access> {
        let token = match &self.token.token_file {
            Some(path) => Some(Token::read(path).wrong_usage()?),
            None => {
                let text = token_from_environment().wrong_usage()?;
                text.map(|text| Token::new(&text)).transpose().context(TOKEN_VARIABLE).wrong_usage()?
            }
        };
        let is_local = listen.ip().is_loopback();
        if token.is_none() && !is_local {
            tracing::warn!(
                "{listen} can be reached from elsewhere, and answers anybody: --token-file asks for a token"
            );
        }
        let allowed_hosts = self.allowed_hosts.clone();
        let checks_host = token.is_none() && (is_local || !allowed_hosts.is_empty());
        Ok(Access { checks_host, allowed_hosts, token, cors: self.cors.clone() })
    }
}

/// The option for the token of a server.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct TokenFile {
    /// A file with the token that the server requires. The environment variable REPRISE_TOKEN may
    /// hold the token itself instead.
    #[arg(long, value_name = "FILE", env = "REPRISE_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

const TOKEN_VARIABLE: &str = "REPRISE_TOKEN";

impl TokenFile {
    /// The token for a client to send, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read, or the token is not valid.
    pub fn text(&self) -> Result<Option<String>> {
        self.token_file.as_deref().map_or_else(token_from_environment, |path| token_text(path).map(Some))
    }
}

/// The token in the environment. Not read by clap, which would show it in `--help`.
fn token_from_environment() -> Result<Option<String>> {
    match std::env::var(TOKEN_VARIABLE) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{TOKEN_VARIABLE} is not UTF-8"),
    }
}

/// The default number of workers: one per processor, up to eight.
pub fn default_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().min(8))
}

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

/// Checks, before long work begins, that its result can be written in this format to this path.
///
/// # Errors
/// If it cannot. That a format needs a file and none is named is wrong usage.
pub fn check_output(format: Format, path: Option<&Path>) -> Result<()> {
    let checked = output::check(format, path);
    if path.is_none() { checked.wrong_usage() } else { checked }
}

/// A flag that the first Ctrl-C or SIGTERM sets. The second one exits with status 130, which shells
/// use for Ctrl-C. `doing` says in the message what happens until the end.
///
/// # Errors
/// If the signal handler cannot be installed.
pub fn stop_flag(doing: &'static str) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    let handler = move || {
        if flag.swap(true, Ordering::Relaxed) {
            log::print_left_behind();
            std::process::exit(130);
        }
        log::note(&format!("stopping: {doing}; again to leave at once"));
    };
    ctrlc::set_handler(handler).context("Ctrl-C cannot be listened for")?;
    Ok(stop)
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Starts the log on stderr. Its filter is `RUST_LOG`, or else our own messages from `level` on and
/// warnings of other crates. Messages of librdkafka and of the Delta kernel are left out, since we
/// also get them as errors, which are reported once where they matter.
pub fn start_log(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(format!("warn,librdkafka=off,delta_kernel=off,reprise={level}"))
    });
    let ansi = colours(&std::io::stderr());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_target(false);
    // Without this, tracing would report a closed stderr on stderr, and panic.
    let form = match ansi {
        _ if log::is_json() => Form::Json,
        true => Form::Coloured,
        false => Form::Plain,
    };
    let log = log.log_internal_errors(false).with_writer(move || Escaping { out: std::io::stderr(), form });
    let _ = if form == Form::Json { log.json().flatten_event(true).try_init() } else { log.try_init() };
}

/// The absolute path of a lake's folder as given by the user.
///
/// # Errors
/// If it cannot be the folder of a lake: it is a URL, which would become a folder of that name, or
/// a path in which the log would not be found.
pub fn absolute(path: &Path) -> Result<PathBuf> {
    refuse_object_store(path).wrong_usage()?;
    let lake = std::path::absolute(path).with_context(|| format!("there is no way to {}", path.display()))?;
    refuse_ambiguous(&lake).wrong_usage()?;
    Ok(lake)
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
