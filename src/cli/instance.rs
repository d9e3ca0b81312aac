//! Which running instance a command asks, and how its answer is printed.

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use url::Url;

use super::client::{Client, Failure};
use super::shared::TokenFile;
use super::usage::{WrongUsage, wrong};
use crate::serve;
use crate::terminal::output;

/// The instance to ask.
#[derive(clap::Args)]
pub struct Instance {
    /// The instance to ask.
    #[arg(long, env = "REPRISE_URL", default_value_t = format!("http://{}", serve::DEFAULT_ADDRESS))]
    url: String,
    #[command(flatten)]
    token: TokenFile,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON object.
    Json,
}

/// The option that names the instance.
const OPTION: &str = "--url";

/// A client that presents the token, if there is one, and asks the instance that `option` names.
pub fn client(token: &TokenFile, option: &'static str) -> Result<Client> {
    Client::new(token.text().wrong_usage()?.as_deref(), option)
}

/// The URL of a path of the instance that was `given` with `option`, with those of the `parameters` that have a value.
pub fn url(option: &str, given: &str, path: &[&str], parameters: &[(&str, Option<&str>)]) -> Result<Url> {
    let absolute = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
    let mut url = Url::parse(&absolute).with_context(|| format!("{option} {given} is not a URL")).wrong_usage()?;
    if url.scheme() != "http" {
        return Err(wrong(format!("{option} {given}: reprise answers plain http://, nothing else")));
    }
    // Only a URL that has no host could not have a path.
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
    /// A client that presents the token, if there is one.
    pub fn client(&self) -> Result<Client> {
        client(&self.token, OPTION)
    }

    /// The URL of a path of the instance, with those of the `parameters` that have a value.
    pub fn url(&self, path: &[&str], parameters: &[(&str, Option<&str>)]) -> Result<Url> {
        url(OPTION, &self.url, path, parameters)
    }

    /// Asks for JSON, and prints it: as it came, or as `table` shows it to people in a terminal of that many columns.
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
