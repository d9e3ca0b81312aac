//! Who may ask: anybody who reaches the server, or who knows a token; and which pages of other origins may read the answers.
//!
//! Loopback needs no token. Who listens where others can reach it gives one, and better puts TLS in front.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem::Problem;

/// Shorter ones could be guessed.
const TOKEN_BYTES_MIN: usize = 16;
const FILE_BYTES_MAX: u64 = 4096;
const SCHEME: &str = "Bearer";
/// For how long a browser need not ask again, in seconds.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// What the server asks of those who ask.
#[derive(Clone, Default)]
pub struct Access {
    pub token: Option<Token>,
    /// The origin whose pages may read the answers, such as `https://charts.example`, or `*`.
    pub cors: Option<HeaderValue>,
    /// Whether it answers only to the names of this machine, and to `allowed_hosts`. A web site can give its own name the address
    /// of loopback (DNS rebinding), and its pages would read there what only programs of this machine may read.
    pub checks_host: bool,
    /// The public names under which a proxy in front of this server is asked.
    pub allowed_hosts: Vec<String>,
}

/// A bearer token (RFC 6750). It is never printed.
#[derive(Clone)]
pub struct Token(Digest);

impl Token {
    /// # Errors
    /// When it is too short, or has what a header cannot.
    pub fn new(text: &str) -> Result<Self> {
        let text = text.trim();
        ensure!(
            text.len() >= TOKEN_BYTES_MIN,
            "it has {} bytes, and needs {TOKEN_BYTES_MIN} at least: `openssl rand -hex 32` makes a good one",
            text.len()
        );
        ensure!(text.bytes().all(|byte| byte.is_ascii_graphic()), "it has characters that a header cannot have");
        Ok(Self(digest(&SHA256, text.as_bytes())))
    }

    /// Reads the token in the file `path`, without the white space around it.
    ///
    /// # Errors
    /// When the file cannot be read, or its text is no token.
    pub fn read(path: &Path) -> Result<Self> {
        Self::new(&token_text(path)?).with_context(|| format!("cannot use the token in {}", path.display()))
    }

    /// Takes the same time for every wrong token.
    fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(self.0.as_ref(), digest(&SHA256, text.as_bytes()).as_ref()).is_ok()
    }
}

/// The text in a file with a token, for who presents it.
///
/// # Errors
/// When the file cannot be read.
pub fn token_text(path: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        ensure!(text.len() as u64 <= FILE_BYTES_MAX, "it is larger than {FILE_BYTES_MAX} bytes");
        Ok(text.trim().to_owned())
    };
    read().with_context(|| format!("cannot read the token in {}", path.display()))
}

/// Reads an origin as `--cors` takes it.
///
/// # Errors
/// What it should look like.
pub fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let is_origin =
        |url: url::Url| matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text;
    let fits = text == "*" || url::Url::parse(text).is_ok_and(is_origin);
    let value = fits.then(|| HeaderValue::from_str(text).ok()).flatten();
    value.ok_or_else(|| "it must be an origin such as https://charts.example, or *".to_owned())
}

/// Reads a host's name as `--allowed-host` takes it.
///
/// # Errors
/// What it should look like.
pub fn parse_host(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let name = text.trim_end_matches('.');
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(is_legal) {
        return Ok(name.to_owned());
    }
    Err("it must be the name of a host without a port, such as charts.example".to_owned())
}

impl Access {
    /// Why a request is not let through, if it is not.
    pub fn refuse(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        if self.checks_host && !headers.get(header::HOST).is_none_or(|host| self.is_known(host)) {
            let detail = "this server does not go by the name that it was asked by: ask it as localhost, or start it with \
                          --allowed-host and the name that clients use";
            return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, detail).into_response());
        }
        let token = self.token.as_ref().filter(|_| needs_token(path))?;
        let sent = headers.get(header::AUTHORIZATION);
        let given = sent.and_then(|value| value.to_str().ok()).and_then(|given| given.split_once(' '));
        let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
        if given.is_some_and(|(_, text)| token.is(text.trim())) {
            return None;
        }
        // What was sent is not repeated: it may be the token of another server.
        let detail = match sent {
            Some(_) => {
                "the token that was sent is not the one of this server: the header is `Authorization: Bearer …`; reprise's own \
                 commands take the token from --token-file or REPRISE_TOKEN"
            }
            None => {
                "a token is needed here: send the header `Authorization: Bearer …`; reprise's own commands take --token-file \
                 or REPRISE_TOKEN"
            }
        };
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        Some((challenge, Problem::new(StatusCode::UNAUTHORIZED, detail)).into_response())
    }

    /// Whether clients reach this server through a proxy, so that many of them have one address.
    pub fn is_behind_proxy(&self) -> bool {
        !self.allowed_hosts.is_empty()
    }

    /// Whether a `Host` is `localhost`, an address and no name, or an allowed name. The port does not matter.
    fn is_known(&self, host: &HeaderValue) -> bool {
        let Ok(authority) = host.to_str().unwrap_or_default().parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let is = |other: &str| name.trim_end_matches('.').eq_ignore_ascii_case(other);
        is("localhost") || address.parse::<IpAddr>().is_ok() || self.allowed_hosts.iter().any(|allowed| is(allowed))
    }

    /// The answer to a browser that asks whether a page of another origin may ask.
    pub fn preflight(&self, method: &Method) -> Option<Response> {
        self.cors.as_ref().filter(|_| method == Method::OPTIONS)?;
        let allowed = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD")),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("Authorization, Last-Event-ID, If-None-Match"),
            ),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE),
        ];
        Some((StatusCode::NO_CONTENT, allowed).into_response())
    }

    /// Adds to an answer which origin may read it.
    pub fn share(&self, headers: &mut HeaderMap) {
        if let Some(origin) = &self.cors {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag"));
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// The page itself tells nothing, and who watches over processes has no token.
fn needs_token(path: &str) -> bool {
    !(matches!(path, "/" | "/healthz" | "/readyz") || path.starts_with("/web/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0123456789abcdef";

    fn refused(header: Option<&str>, path: &str) -> bool {
        let access = Access { token: Some(Token::new(TEXT).unwrap()), ..Access::default() };
        let value = header.map(|text| (header::AUTHORIZATION, HeaderValue::from_str(text).unwrap()));
        access.refuse(path, &value.into_iter().collect()).is_some()
    }

    #[test]
    fn only_the_token_opens_what_tells_something() {
        for path in ["/v1/trending", "/v1/stream", "/metrics"] {
            assert!(!refused(Some(&format!("Bearer {TEXT}")), path) && !refused(Some(&format!("bearer {TEXT}")), path));
            for wrong in [
                None,
                Some(""),
                Some(TEXT),
                Some("Bearer "),
                Some("Bearer 0123456789abcdeF"),
                Some("Basic 0123456789abcdef"),
            ] {
                assert!(refused(wrong, path), "{wrong:?}");
            }
        }
        for path in ["/", "/healthz", "/readyz", "/web/app.js"] {
            assert!(!refused(None, path));
        }
        assert!(Access::default().refuse("/v1/trending", &HeaderMap::new()).is_none());
    }

    #[test]
    fn a_name_that_leads_here_from_elsewhere_is_refused() {
        let allowed_hosts = vec!["charts.example".to_owned()];
        let access = Access { checks_host: true, allowed_hosts, ..Access::default() };
        let refused = |host: &'static str| {
            access.refuse("/", &[(header::HOST, HeaderValue::from_static(host))].into_iter().collect()).is_some()
        };
        for host in [
            "localhost",
            "localhost:7878",
            "LOCALHOST",
            "127.0.0.1:7878",
            "[::1]:7878",
            "10.0.0.1",
            "charts.example",
            "Charts.Example.:443",
        ] {
            assert!(!refused(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:7878",
            "localhost.evil.example",
            "charts.example.evil.example",
            "evil-charts.example",
            "127.0.0.1.evil.example",
            "",
            "a b",
        ] {
            assert!(refused(host), "{host}");
        }
    }

    #[test]
    fn tokens_that_could_be_guessed_or_cannot_be_sent_are_refused() {
        assert!(Token::new(&format!("  {TEXT}\n")).unwrap().is(TEXT));
        let said = |text| Token::new(text).err().unwrap().to_string();
        assert!(said("0123456789abcde").contains("15 bytes"));
        assert!(said("0123456789 abcdef").contains("characters"));
    }

    #[test]
    fn hosts() {
        assert_eq!(parse_host("charts.example.").unwrap(), "charts.example");
        for wrong in ["", ".", "https://charts.example", "charts.example:443", "*", "a b", "ä.example"] {
            assert!(parse_host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn origins() {
        for origin in ["*", "https://charts.example", "http://localhost:3000"] {
            assert_eq!(parse_origin(origin).unwrap(), origin);
        }
        for wrong in [
            "",
            "charts.example",
            "https://charts.example/",
            "https://a.example,https://b.example",
            "null",
            "file:///x",
        ] {
            assert!(parse_origin(wrong).is_err(), "{wrong}");
        }
    }
}
