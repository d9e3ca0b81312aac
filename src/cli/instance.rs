//! The running instance that a command asks, and how its answer is printed.

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use url::Url;

use super::access::TokenFile;
use super::client::{Client, Failure};
use super::usage::{WrongUsage, wrong};
use crate::serve;
use crate::terminal::output;

/// The instance to ask.
#[derive(clap::Args)]
pub struct Instance {
    /// The URL of the instance to ask.
    #[arg(long, env = "REPRISE_URL", default_value_t = format!("http://{}", serve::DEFAULT_ADDRESS))]
    url: String,
    #[command(flatten)]
    token: TokenFile,
}

/// The format of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table for reading.
    Table,
    /// The JSON object that the instance returns.
    Json,
}

/// The option that names the instance.
const OPTION: &str = "--url";

/// A client that sends the token, if there is one, to the instance that `option` names.
///
/// # Errors
/// If the token cannot be read, or the client cannot be set up.
pub fn client(token: &TokenFile, option: &'static str) -> Result<Client> {
    Client::new(token.text().wrong_usage()?.as_deref(), option)
}

/// The URL of `path` on the instance that was `given` with `option`, with those of the `parameters`
/// that have a value.
///
/// # Errors
/// If `given` is not a plain http URL.
pub fn url(option: &str, given: &str, path: &[&str], parameters: &[(&str, Option<&str>)]) -> Result<Url> {
    let absolute = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let mut url = Url::parse(&absolute).with_context(|| format!("{option} {given} is not a URL")).wrong_usage()?;
    if url.scheme() != "http" {
        return Err(wrong(format!("{option} {given}: reprise answers plain http://, nothing else")));
    }
    // This is `Err` only for a URL without a host, which an http URL has.
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    url.set_query(None);
    for (name, value) in parameters {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Ok(url)
}

impl Instance {
    /// A client that sends the token, if there is one.
    ///
    /// # Errors
    /// If the token cannot be read, or the client cannot be set up.
    pub fn client(&self) -> Result<Client> {
        client(&self.token, OPTION)
    }

    /// The URL of `path` on the instance, with those of the `parameters` that have a value.
    ///
    /// # Errors
    /// If `--url` is not a plain http URL.
    pub fn url(&self, path: &[&str], parameters: &[(&str, Option<&str>)]) -> Result<Url> {
        url(OPTION, &self.url, path, parameters)
    }

    /// Requests a JSON document, and prints it as it is, or as a table. `table` formats it for a
    /// terminal of the given width in columns.
    ///
    /// # Errors
    /// If the instance does not answer or refuses, or standard output cannot be written.
    pub fn print<T: DeserializeOwned>(
        &self,
        path: &[&str],
        parameters: &[(&str, Option<&str>)],
        format: Format,
        table: impl FnOnce(T, Option<u16>) -> String,
    ) -> Result<()> {
        let (client, url) = (self.client()?, self.url(path, parameters)?);
        let text = match format {
            Format::Json => {
                let body = client.get(&url).map_err(Failure::into_error)?;
                String::from_utf8(body).context("the answer is not UTF-8")? + "\n"
            }
            Format::Table => {
                let mut text = table(client.json(&url).map_err(Failure::into_error)?, output::screen_width());
                text.push('\n');
                output::emphasised(text, &std::io::stdout())
            }
        };
        output::print_text(&text)
    }
}
