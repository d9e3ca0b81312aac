//! Access control: whether a request needs a token or a known host name, and which pages of other
//! origins may read the answers.
//!
//! Without a token the server answers every client that reaches it, which is meant for loopback. A
//! server that other machines can reach should have a token, and TLS in front.

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

/// A shorter token could be guessed.
const TOKEN_BYTES_MIN: usize = 16;
/// The most bytes of a file with a token.
const FILE_BYTES_MAX: u64 = 4096;
const SCHEME: &str = "Bearer";
/// The seconds for which a browser may keep the answer to a preflight request.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// The checks that a request has to pass.
#[derive(Clone, Default)]
pub struct Access {
    /// The token that a request has to carry; none if no request needs one.
    pub token: Option<Token>,
    /// The origin whose pages may read the answers, such as `https://charts.example`, or `*`.
    pub cors: Option<HeaderValue>,
    /// Whether the `Host` of a request must be a name of this machine or one of `allowed_hosts`.
    /// Otherwise a web site could give its own name the address of loopback (DNS rebinding), and
    /// its pages could read what only programs on this machine may read.
    pub checks_host: bool,
    /// The public names by which clients reach a proxy in front of this server.
    pub allowed_hosts: Vec<String>,
}

/// A bearer token (RFC 6750). It is never printed.
#[derive(Clone)]
pub struct Token(Digest);

impl Token {
    /// The token in `text`, without the white space around it.
    ///
    /// # Errors
    /// If the token is too short, or has characters that a header cannot have.
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
    /// If the file cannot be read, or its text is not a valid token.
    pub fn read(path: &Path) -> Result<Self> {
        Self::new(&token_text(path)?).with_context(|| format!("cannot use the token in {}", path.display()))
    }

    /// Whether `text` is this token. The comparison takes constant time, so that timing does not
    /// help to guess the token.
    fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(self.0.as_ref(), digest(&SHA256, text.as_bytes()).as_ref()).is_ok()
    }
}

/// The text of the token in the file `path`, for a client that has to send it.
///
/// # Errors
/// If the file cannot be read or is too large.
pub fn token_text(path: &Path) -> Result<String> {
    let read = || -> Result<String> {
        let mut text = String::new();
        File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
        ensure!(text.len() as u64 <= FILE_BYTES_MAX, "it is larger than {FILE_BYTES_MAX} bytes");
        Ok(text.trim().to_owned())
    };
    read().with_context(|| format!("cannot read the token in {}", path.display()))
}

/// Parses an origin, the value of `--cors`.
///
/// # Errors
/// If it is not an origin: a text that says what one looks like.
pub fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let is_origin =
        |url: url::Url| matches!(url.scheme(), "http" | "https") && url.origin().ascii_serialization() == text;
    let fits = text == "*" || url::Url::parse(text).is_ok_and(is_origin);
    let value = fits.then(|| HeaderValue::from_str(text).ok()).flatten();
    value.ok_or_else(|| "it must be an origin such as https://charts.example, or *".to_owned())
}

/// Parses the name of a host, the value of `--allowed-host`.
///
/// # Errors
/// If it is not such a name: a text that says what one looks like.
pub fn parse_host(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let name = text.trim_end_matches('.');
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(is_legal) {
        return Ok(name.to_owned());
    }
    Err("it must be the name of a host without a port, such as charts.example".to_owned())
}

impl Access {
    /// The response that refuses a request; none if the request is let through.
    pub fn refuse(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        if self.checks_host && !headers.get(header::HOST).is_none_or(|host| self.is_known(host)) {
            let detail = "this server does not accept the host name of the request: use localhost, or start it with \
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
        // The answer does not repeat what was sent: it may be the token of another server.
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

    /// Whether a `Host` is `localhost`, an IP address, or an allowed name. The port does not
    /// matter.
    fn is_known(&self, host: &HeaderValue) -> bool {
        let Ok(authority) = host.to_str().unwrap_or_default().parse::<Authority>() else { return false };
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let is = |other: &str| name.trim_end_matches('.').eq_ignore_ascii_case(other);
        is("localhost") || address.parse::<IpAddr>().is_ok() || self.allowed_hosts.iter().any(|allowed| is(allowed))
    }

    /// The answer to a CORS preflight request; none for other requests, and if no origin is
    /// allowed.
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

    /// Adds the headers that allow the origin in `cors` to read an answer.
    pub fn share(&self, headers: &mut HeaderMap) {
        if let Some(origin) = &self.cors {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag"));
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
        }
    }
}

/// Whether a path needs the token. The files of the page contain no data, and supervisors of the
/// process have no token.
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
    fn only_the_token_gives_access_to_data() {
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
        let message = |text| Token::new(text).err().unwrap().to_string();
        assert!(message("0123456789abcde").contains("15 bytes"));
        assert!(message("0123456789 abcdef").contains("characters"));
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
