//! The options for access to an HTTP server: on the side of the server, and on that of a client.

use std::env::VarError;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use axum::http::HeaderValue;

use super::usage::WrongUsage;
use crate::serve::access::{Access, Token, parse_host, parse_origin, token_text};

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
            tracing::warn!("{listen} can be reached from other machines, and requires no token: give --token-file");
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
