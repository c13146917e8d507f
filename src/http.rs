//! The only maker of HTTP clients: whom to believe, what to present, which proxy, how long, how
//! often, how much. It knows nothing of Vault or OpenID, follows no redirect and prints nothing.

mod connector;
mod error;
mod names;
mod retry;
#[cfg(test)]
pub(crate) mod scripted;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use reqwest::Method;
pub use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

pub use connector::is_loopback;
use connector::{Connector, Proxies};
pub use error::{ConnectCause, HttpError, TlsCause};
use retry::Retries;
pub(crate) use retry::Tries;
pub(crate) use tls::{is_own_authority, system_certificates};

use crate::config::{TlsSettings, Transport};
use crate::token::Timestamp;

/// The largest answer that is read. The largest legitimate one, a list of every key of a KV mount,
/// stays far below.
pub const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// Whether a request without TLS to a Vault on this machine would leave it through Vault's proxy.
#[must_use]
pub fn proxied_in_clear(transport: &Transport) -> bool {
    let proxy = transport.vault_proxy.as_ref();
    proxy.is_some_and(|proxy| connector::leaves_this_machine(proxy.expose_secret()))
}

/// Something to ask of a server.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// Headers; values that are secret are marked so.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body, wiped after use (but for the copy that the HTTP library sends).
    pub body: Option<Zeroizing<Vec<u8>>>,
    /// Whether asking twice does no harm: only then is a request repeated whose fate is unknown.
    pub repeatable: bool,
    /// When the whole exchange, repetitions and all, must be over.
    pub deadline: Instant,
}

impl Request {
    /// A request without headers and body; repeatable where the method is safe (GET, HEAD …).
    #[must_use]
    pub fn new(method: Method, url: Url, deadline: Instant) -> Self {
        let repeatable = method.is_safe();
        Self { method, url, headers: Vec::new(), body: None, repeatable, deadline }
    }

    /// Adds a header that holds nothing secret.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, HttpError> {
        let value = HeaderValue::from_str(value).map_err(|_| HttpError::Header { name: name.to_string() })?;
        self.headers.push((name, value));
        Ok(self)
    }

    /// Adds a header with a secret after `prefix` (`Bearer `, or nothing).
    pub fn secret_header(
        mut self,
        name: HeaderName,
        prefix: &str,
        secret: &SecretString,
    ) -> Result<Self, HttpError> {
        let text = Zeroizing::new(format!("{prefix}{}", secret.expose_secret()));
        // Security: a line break in a token would write a header of its own.
        if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return Err(HttpError::Header { name: name.to_string() });
        }
        let mut value =
            HeaderValue::from_str(&text).map_err(|_| HttpError::Header { name: name.to_string() })?;
        value.set_sensitive(true);
        self.headers.push((name, value));
        Ok(self)
    }

    /// Gives it a body.
    #[must_use]
    pub fn body(mut self, content_type: &'static str, body: Zeroizing<Vec<u8>>) -> Self {
        self.headers.push((reqwest::header::CONTENT_TYPE, HeaderValue::from_static(content_type)));
        self.body = Some(body);
        self
    }
}

/// What a server answered, whole.
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, wiped after use (but for the buffers of the HTTP library).
    pub body: Zeroizing<Vec<u8>>,
    /// The `Date` header: the server's clock.
    pub date: Option<Timestamp>,
}

impl Response {
    /// A header's value, where it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After` in seconds; its other form, a date, is not used by the servers we ask.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.header("retry-after")?.trim().parse().ok().map(Duration::from_secs)
    }
}

/// A client for the servers that share one way of trusting and one route. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    connector: Arc<Connector>,
    retries: Retries,
    /// The longest that one try may take, whatever the deadline.
    longest: Option<Duration>,
}

impl Client {
    /// A client by the standard proxies of `transport`, or through a Unix `socket`. No connection
    /// is made and no file read before the first request.
    pub fn new(tls: &TlsSettings, transport: &Transport, socket: Option<&Path>) -> Result<Self, HttpError> {
        Self::by(tls, transport, socket, Proxies::standard(transport)?)
    }

    /// As [`Self::new`], for a Vault: `VAULT_PROXY_ADDR` counts, and wins, and `VAULT_CLIENT_TIMEOUT`
    /// bounds each request.
    pub fn for_vault(
        tls: &TlsSettings,
        transport: &Transport,
        socket: Option<&Path>,
    ) -> Result<Self, HttpError> {
        let proxies = match &transport.vault_proxy {
            Some(proxy) => Proxies::everything(proxy.expose_secret())?,
            None => Proxies::standard(transport)?,
        };
        Ok(Self { longest: transport.timeout, ..Self::by(tls, transport, socket, proxies)? })
    }

    fn by(
        tls: &TlsSettings,
        transport: &Transport,
        socket: Option<&Path>,
        proxies: Proxies,
    ) -> Result<Self, HttpError> {
        if cfg!(not(unix)) && socket.is_some() {
            return Err(HttpError::Settings {
                what: "an address of the form `unix://`".into(),
                why: "this system has no Unix sockets".into(),
            });
        }
        let connector = Connector::new(tls.clone(), transport, socket, proxies);
        let retries = Retries::new(transport.max_retries);
        Ok(Self { connector: Arc::new(connector), retries, longest: None })
    }

    /// One exchange. Repeats by itself what is safe to repeat: a connection that was never made,
    /// a 429; for repeatable requests also a cut-off answer and 502, 503 and 504. Where no try is
    /// left the last answer is returned.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let mut tries = self.tries(request.deadline);
        loop {
            let outcome = self.send_once(&request).await;
            let again = match &outcome {
                Ok(response) if response.status == 429 => tries.again(response.retry_after()).await,
                Ok(response) if request.repeatable && matches!(response.status, 502..=504) => {
                    tries.again(response.retry_after()).await
                }
                Ok(_) => false,
                Err(error) => tries.after(error, request.repeatable).await,
            };
            if !again {
                return outcome;
            }
        }
    }

    /// The tries of one exchange, for a caller that judges the answers itself.
    pub(crate) fn tries(&self, deadline: Instant) -> Tries {
        self.retries.start(deadline)
    }

    /// One try.
    pub async fn send_once(&self, request: &Request) -> Result<Response, HttpError> {
        let host = self.connector.display_host(&request.url);
        // Whether a request that ran out of time had arrived is not knowable from outside.
        let late = HttpError::Deadline { host: host.clone(), sent: true };
        let now = Instant::now();
        if request.deadline <= now {
            return Err(HttpError::Deadline { host, sent: false });
        }
        let longest = self.longest.and_then(|longest| now.checked_add(longest));
        let deadline = longest.map_or(request.deadline, |longest| longest.min(request.deadline));
        let (client, outgoing) = self.connector.prepare(request)?;
        let exchange = async {
            let answer = client.execute(outgoing).await;
            let answer = answer.map_err(|error| self.connector.explain(&request.url, &error))?;
            self.read(answer, &request.url).await
        };
        tokio::time::timeout_at(deadline.into(), exchange).await.unwrap_or(Err(late))
    }

    async fn read(&self, mut answer: reqwest::Response, url: &Url) -> Result<Response, HttpError> {
        let too_large =
            || HttpError::TooLarge { host: self.connector.display_host(url), limit: LARGEST_BODY };
        let expected = answer.content_length().unwrap_or(0);
        let expected = usize::try_from(expected).map_err(|_| too_large())?;
        // Security: neither what is announced nor what comes may fill the memory.
        if expected > LARGEST_BODY {
            return Err(too_large());
        }
        // Whole from the start: a buffer that grows leaves copies of secrets behind.
        let mut body = Zeroizing::new(Vec::with_capacity(expected.max(16 * 1024)));
        loop {
            let chunk = answer.chunk().await.map_err(|error| self.connector.explain(url, &error))?;
            let Some(chunk) = chunk else { break };
            if body.len() + chunk.len() > LARGEST_BODY {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let headers = std::mem::take(answer.headers_mut());
        let date = date(&headers);
        Ok(Response { status: answer.status().as_u16(), headers, body, date })
    }

    /// The same client with waits that a test can afford.
    #[cfg(test)]
    pub(crate) fn impatient(mut self) -> Self {
        self.retries = self.retries.impatient();
        self
    }
}

/// The `Date` header: the server's clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(reqwest::header::DATE)?.to_str().ok()?;
    Some(chrono::DateTime::parse_from_rfc2822(text).ok()?.to_utc())
}

#[cfg(test)]
mod tests;
