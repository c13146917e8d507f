//! The metadata service of Databricks' SDKs: one request, one answer. It decides who may have a token,
//! and opens no socket.
//!
//! What a server must do stands in databricks-sdk-go `config/auth_metadata_service.go` (version 1): 4xx
//! for another version and for another host, and for one path always tokens of the same hosts. The
//! Python SDK reads JSON out of every answer.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use zeroize::Zeroizing;

use super::Host;
use super::request::{BadHead, Head};
use crate::error::{Calling, Error, ExitCode, printable};
use crate::token::{Timestamp, Token};

/// The version of the service that we speak.
const VERSION: &str = "1";

/// The one place where tokens are handed out: an address on loopback and a path that nobody guesses.
pub struct Place {
    /// `127.0.0.1:PORT`.
    authority: String,
    path: SecretString,
}

impl Place {
    /// A place at this port.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(port: u16) -> Result<Self, Error> {
        let random = ring::rand::generate::<[u8; 32]>(&ring::rand::SystemRandom::new());
        let random = random.map_err(|_| Error::Fault("no random numbers".into()))?;
        let path = format!("/{}", URL_SAFE_NO_PAD.encode(random.expose()));
        Ok(Self { authority: format!("127.0.0.1:{port}"), path: path.into() })
    }

    /// The whole address, for the variable of the SDKs.
    #[must_use]
    pub fn url(&self) -> SecretString {
        format!("http://{}{}", self.authority, self.path.expose_secret()).into()
    }

    /// Security: how long a comparison takes must not tell how much was right.
    fn is_path(&self, target: &str) -> bool {
        let (path, target) = (self.path.expose_secret().as_bytes(), target.as_bytes());
        path.len() == target.len()
            && path.iter().zip(target).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
    }

    /// `localhost` is the same place to the SDKs.
    fn is_here(&self, host: &str) -> bool {
        let port = self.authority.rsplit_once(':').map(|(_, port)| port);
        let theirs = host.rsplit_once(':');
        theirs.is_some_and(|(name, theirs)| {
            Some(theirs) == port && (name == "127.0.0.1" || name.eq_ignore_ascii_case("localhost"))
        })
    }
}

/// An answer, ready for the socket.
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The JSON document.
    pub body: Zeroizing<String>,
}

impl Answer {
    /// A refusal, in words for a person.
    pub(super) fn refusal(status: u16, message: &str) -> Self {
        let text = json!({"error": printable(message)}).to_string();
        Self { status, body: Zeroizing::new(text) }
    }

    /// A token, as the SDKs read it.
    pub(super) fn token(token: &Token) -> Self {
        let end = token.reported_end().timestamp();
        match serde_json::to_string(token.secret.expose_secret()).map(Zeroizing::new) {
            Ok(quoted) => Self {
                status: 200,
                body: Zeroizing::new(format!(
                    "{{\"access_token\":{},\"token_type\":\"Bearer\",\"expires_on\":{end}}}",
                    quoted.as_str()
                )),
            },
            Err(error) => Self::refusal(500, &error.to_string()),
        }
    }

    /// Why there is no token.
    pub(super) fn failure(error: &Error, calling: &Calling) -> Self {
        let status = match error.exit_code() {
            ExitCode::LoginRequired => 401,
            ExitCode::Usage | ExitCode::Refused | ExitCode::Withheld => 403,
            ExitCode::Unusable => 502,
            ExitCode::Unreachable | ExitCode::Interrupted | ExitCode::Terminated => 503,
            ExitCode::Done | ExitCode::Fault | ExitCode::NoStore => 500,
        };
        Self::refusal(status, &error.report(calling).replace('\n', "; "))
    }
}

/// The host that a request wants a token for, or the answer that it gets instead of one.
pub(super) fn judge(place: &Place, head: &Head<'_>) -> Result<Host, Answer> {
    let once = |name: &str| {
        head.field(name).map_err(|_| Answer::refusal(400, &format!("the header {name} is there twice")))
    };
    // Security: whoever does not know the path learns nothing else, not even what else is wrong.
    if !place.is_path(head.target) {
        return Err(Answer::refusal(404, "nothing is here"));
    }
    // Security: a page in a browser whose name was made to lead here sends that name (DNS rebinding),
    // and any page says where it is from.
    if !once("Host")?.is_some_and(|host| place.is_here(host)) {
        return Err(Answer::refusal(403, "the Host header names another place"));
    }
    if head.has("Origin") || head.has("Sec-Fetch-Site") || head.has("Sec-Fetch-Mode") {
        return Err(Answer::refusal(403, "tokens are not for pages in a browser"));
    }
    if head.method != "GET" {
        return Err(Answer::refusal(405, "only GET is answered"));
    }
    match once("X-Databricks-Metadata-Version")? {
        Some(VERSION) => {}
        Some(other) => {
            let words = format!("version {other} of the metadata service is not spoken here, only {VERSION}");
            return Err(Answer::refusal(400, &words));
        }
        None => {
            return Err(Answer::refusal(400, "the header X-Databricks-Metadata-Version is missing"));
        }
    }
    let Some(host) = once("X-Databricks-Host")? else {
        return Err(Answer::refusal(400, "the header X-Databricks-Host is missing"));
    };
    Host::parse(host).ok_or_else(|| Answer::refusal(400, &format!("`{host}` is no host of Databricks")))
}

impl From<BadHead> for Answer {
    fn from(flaw: BadHead) -> Self {
        match flaw {
            BadHead::Malformed => Self::refusal(400, "this is no request of HTTP/1.1"),
            BadHead::Twice => Self::refusal(400, "a header is there twice"),
        }
    }
}

/// What a verbose caller is told of a token that was handed out; nothing of it is secret.
pub(super) fn told(host: &Host, profile: &str, end: Timestamp) -> String {
    format!("{profile}: a token for {host} was handed out, usable until {}", end.format("%Y-%m-%d %H:%M:%SZ"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        Place { authority: "127.0.0.1:4711".into(), path: "/s3cret".to_owned().into() }
    }

    const GOOD: [&str; 4] = [
        "GET /s3cret HTTP/1.1",
        "Host: 127.0.0.1:4711",
        "X-Databricks-Metadata-Version: 1",
        "X-Databricks-Host: https://dbc-1.example/",
    ];

    /// The host or the status for these lines.
    fn judged(lines: &[&str]) -> Result<String, u16> {
        let text = lines.join("\r\n");
        let head = Head::parse(text.as_bytes()).unwrap();
        judge(&place(), &head).map(|host| host.to_string()).map_err(|answer| answer.status)
    }

    fn with(line: usize, other: &'static str) -> Vec<&'static str> {
        let mut lines = GOOD.to_vec();
        lines[line] = other;
        lines.retain(|line| !line.is_empty());
        lines
    }

    #[test]
    fn only_the_request_of_an_sdk_at_this_place_is_answered() {
        assert_eq!(judged(&GOOD).as_deref(), Ok("https://dbc-1.example"));
        assert!(judged(&with(1, "Host: LocalHost:4711")).is_ok());
        for (line, other, status) in [
            (0, "GET / HTTP/1.1", 404),
            (0, "GET /s3cre HTTP/1.1", 404),
            (0, "GET /s3cret/ HTTP/1.1", 404),
            (0, "GET /s3cret?x HTTP/1.1", 404),
            (0, "GET http://127.0.0.1:4711/s3cret HTTP/1.1", 404),
            (0, "POST /s3cret HTTP/1.1", 405),
            (0, "OPTIONS /s3cret HTTP/1.1", 405),
            (0, "HEAD /s3cret HTTP/1.1", 405),
            (1, "", 403),
            (1, "Host: evil.example", 403),
            (1, "Host: evil.example:4711", 403),
            (1, "Host: 127.0.0.1", 403),
            (1, "Host: 127.0.0.1:4712", 403),
            (1, "Host: 127.0.0.1:4711\r\nHost: 127.0.0.1:4711", 400),
            (1, "Host: 127.0.0.1:4711\r\nOrigin: null", 403),
            (1, "Host: 127.0.0.1:4711\r\nSec-Fetch-Site: none", 403),
            (2, "", 400),
            (2, "X-Databricks-Metadata-Version: 2", 400),
            (2, "X-Databricks-Metadata-Version: 1.0", 400),
            (3, "", 400),
            (3, "X-Databricks-Host:", 400),
            (3, "X-Databricks-Host: https://me:pw@dbc-1.example", 400),
            (3, "X-Databricks-Host: https://a\r\nX-Databricks-Host: https://b", 400),
        ] {
            assert_eq!(judged(&with(line, other)), Err(status), "{other}");
        }
    }

    #[test]
    fn a_refusal_is_json_of_one_line_and_says_nothing_of_the_place() {
        let mut lines = GOOD.to_vec();
        lines[3] = "X-Databricks-Host: \u{202e}evil\"";
        let text = lines.join("\r\n");
        let Err(answer) = judge(&place(), &Head::parse(text.as_bytes()).unwrap()) else {
            panic!("it is one")
        };
        let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(body["error"], "`\u{fffd}evil\"` is no host of Databricks");
        assert!(!answer.body.contains("s3cret"));
    }

    #[test]
    fn a_place_has_a_path_of_its_own_that_nobody_guesses() {
        let (one, other) = (Place::new(1).unwrap(), Place::new(1).unwrap());
        assert_ne!(one.url().expose_secret(), other.url().expose_secret());
        assert_eq!(one.url().expose_secret().len(), "http://127.0.0.1:1/".len() + 43);
    }
}
