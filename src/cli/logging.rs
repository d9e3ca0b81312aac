//! The log on stderr, and the messages when a command is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::terminal::output::colours;
use crate::text::log::{self, Escaping, Form};

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
        log::note(&format!("stopping: {doing}; press Ctrl-C again to exit at once"));
    };
    ctrlc::set_handler(handler).context("Ctrl-C cannot be listened for")?;
    Ok(stop)
}
