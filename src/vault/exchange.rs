//! One question to Vault and its answer: headers, the one redirect, what is repeated, and the
//! failures that mean the same whatever was asked. It knows no session.

use std::time::Instant;

use secrecy::SecretString;
use url::Url;
use zeroize::Zeroizing;

use super::redirect::{Redirects, Refused, is_redirect, origin};
use super::wire::Envelope;
use super::{VaultError, printables};
use crate::config::{TlsSettings, Transport, VaultAddress, VaultSettings};
use crate::http::{
    Client, HeaderName, HttpError, Method, Request, Response, TlsCause, is_loopback, is_own_authority,
    proxied_in_clear,
};

/// The way to one Vault and one namespace of it.
pub(super) struct Exchange {
    client: Client,
    /// With the address's path prefix, without a slash at its end.
    base: Url,
    redirects: Redirects,
    tls: TlsSettings,
    namespace: Option<String>,
    /// The address, for messages.
    pub(super) origin: String,
}

/// A question.
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Below `/v1/`, percent-encoded.
    pub(super) path: &'a str,
    pub(super) query: Option<Zeroizing<String>>,
    pub(super) token: Option<&'a SecretString>,
    /// JSON.
    pub(super) body: Option<Zeroizing<Vec<u8>>>,
    pub(super) repeatable: bool,
    pub(super) deadline: Instant,
}

impl<'a> Ask<'a> {
    /// A read that does no harm.
    pub(super) fn get(path: &'a str, token: Option<&'a SecretString>, deadline: Instant) -> Self {
        Self { method: Method::GET, path, query: None, token, body: None, repeatable: true, deadline }
    }

    /// A write whose fate matters.
    pub(super) fn post(path: &'a str, body: Zeroizing<Vec<u8>>, deadline: Instant) -> Self {
        Self {
            method: Method::POST,
            path,
            query: None,
            token: None,
            body: Some(body),
            repeatable: false,
            deadline,
        }
    }
}

/// An answer in Vault's own form, whatever its status.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) envelope: Envelope,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// Whether it is 200 or 204.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The server's `errors`, printable.
    pub(super) fn messages(&self) -> Vec<String> {
        printables(self.envelope.errors.as_deref())
    }
}

impl Exchange {
    /// Checks that a secret may go to the address at all.
    pub(super) fn new(settings: &VaultSettings, transport: &Transport) -> Result<Self, VaultError> {
        let (base, socket, shown) = match &settings.address {
            VaultAddress::Url(url) => {
                let mut shown = url.clone();
                // Security: an address has no user information, and if it has, nobody sees it.
                let _ = (shown.set_username(""), shown.set_password(None));
                (url.clone(), None, shown.as_str().trim_end_matches('/').to_owned())
            }
            VaultAddress::UnixSocket(path) => {
                let shown = format!("unix://{}", path.display());
                let base = Url::parse("http://localhost").map_err(|error| VaultError::Settings {
                    what: format!("the address `{shown}`"),
                    why: error.to_string(),
                    hint: None,
                })?;
                (base, Some(path.as_path()), shown)
            }
        };
        // Security: who listens on the wire would have password and token.
        if socket.is_none() && base.scheme() == "http" && (!is_loopback(&base) || proxied_in_clear(transport))
        {
            return Err(VaultError::Cleartext { vault: shown });
        }
        let further = settings.addresses.iter().filter_map(|address| match address {
            VaultAddress::Url(url) => Some(url.clone()),
            VaultAddress::UnixSocket(_) => None,
        });
        let redirects = Redirects {
            listed: std::iter::once(base.clone()).chain(further).collect(),
            socket: socket.is_some(),
        };
        let tls = settings.tls.clone();
        let client = Client::for_vault(&settings.tls, transport, socket)?;
        Ok(Self { client, base, redirects, tls, namespace: settings.namespace.clone(), origin: shown })
    }

    /// Asks, follows at most one redirect, and repeats what may be repeated.
    pub(super) async fn ask(&self, ask: Ask<'_>) -> Result<Reply, VaultError> {
        let request = self.request(&ask)?;
        let mut tries = self.client.tries(ask.deadline);
        let response = loop {
            let (outcome, sent_on) = self.follow(&request, ask.path).await;
            let again = match &outcome {
                Ok(response) => match prospects(response, ask.repeatable) {
                    Prospects::Final => false,
                    Prospects::Passing => tries.again(response.retry_after()).await,
                    Prospects::Electing => tries.again_patiently().await,
                },
                // A standby that does not know yet that its leader is dead; it will in some seconds.
                Err(VaultError::Http(HttpError::Connect { .. })) if sent_on => tries.again_patiently().await,
                Err(VaultError::Unavailable { .. }) => tries.again_patiently().await,
                Err(VaultError::Http(error)) => tries.after(error, ask.repeatable).await,
                Err(_) => false,
            };
            if !again {
                break outcome?;
            }
        };
        self.read(response, ask.path)
    }

    fn request(&self, ask: &Ask<'_>) -> Result<Request, VaultError> {
        let mut url = self.base.clone();
        let path = format!("{}/v1/{}", self.base.path().trim_end_matches('/'), ask.path);
        url.set_path(&path);
        // Security: the URL's own rules (`..`, `%2e`) must not make another path of it.
        if url.path() != path {
            return Err(VaultError::Path { part: ask.path.to_owned() });
        }
        url.set_query(ask.query.as_ref().map(|query| query.as_str()));
        let mut request = Request::new(ask.method.clone(), url, ask.deadline)
            // Agents and proxies may insist on it, against forged requests from browsers.
            .header(HeaderName::from_static("x-vault-request"), "true")?;
        if let Some(namespace) = &self.namespace {
            request = request.header(HeaderName::from_static("x-vault-namespace"), namespace)?;
        }
        if let Some(token) = ask.token {
            request = request.secret_header(HeaderName::from_static("x-vault-token"), "", token)?;
        }
        if let Some(body) = &ask.body {
            request = request.body("application/json", body.clone());
        }
        request.repeatable = ask.repeatable;
        Ok(request)
    }

    /// One try with its redirect; whether it was sent on.
    async fn follow(&self, request: &Request, path: &str) -> (Result<Response, VaultError>, bool) {
        let first = match self.client.send_once(request).await {
            Ok(response) if is_redirect(response.status) => response,
            other => return (other.map_err(VaultError::from), false),
        };
        let target = match self.target(&request.url, &first, path) {
            Ok(target) => target,
            Err(error) => return (Err(error), false),
        };
        let onward = Request { url: target, ..request.clone() };
        let second = match self.client.send_once(&onward).await {
            // One is all that an active node takes. Two in a row are standbys that take each other
            // for it, as in the moment after it stepped down, or a loop.
            Ok(response) if is_redirect(response.status) => {
                self.target(&onward.url, &response, path).and_then(|_| {
                    let messages = vec!["its nodes redirect to one another".to_owned()];
                    let (vault, status) = (self.origin.clone(), response.status);
                    Err(VaultError::Unavailable { vault, status, messages })
                })
            }
            // Security: nothing was sent. Whoever holds no certificate of the vault's own authority is
            // none of its nodes, so this was a redirect elsewhere.
            Err(HttpError::Tls { cause: TlsCause::UnknownIssuer, .. })
                if !self.redirects.is_named(&onward.url) =>
            {
                let why = "it shows no certificate of the authority by which this vault is trusted";
                Err(VaultError::Redirect { vault: self.origin.clone(), target: origin(&onward.url), why })
            }
            other => other.map_err(VaultError::from),
        };
        (second, true)
    }

    fn target(&self, from: &Url, response: &Response, path: &str) -> Result<Url, VaultError> {
        // Read only now: hardly any call is redirected.
        let own_authority = is_own_authority(&self.tls);
        self.redirects.target(from, response, own_authority).map_err(|refused| match refused {
            Refused::Malformed(why) => self.unusable(path, why),
            Refused::Withheld { target, why } => {
                VaultError::Redirect { vault: self.origin.clone(), target, why }
            }
        })
    }

    /// One try, whatever it answers: for who wants to know how the server is.
    pub(super) async fn once(&self, ask: Ask<'_>) -> Result<Response, VaultError> {
        let request = self.request(&ask)?;
        self.follow(&request, ask.path).await.0
    }

    pub(super) fn unusable(&self, path: &str, why: impl Into<String>) -> VaultError {
        VaultError::Unusable { vault: self.origin.clone(), path: path.to_owned(), why: why.into() }
    }

    /// Puts the failures that have nothing to do with the question into our terms.
    fn read(&self, response: Response, path: &str) -> Result<Reply, VaultError> {
        let Response { status, headers, body, .. } = response;
        let envelope = if body.is_empty() { Ok(Envelope::default()) } else { serde_json::from_slice(&body) };
        let vault = || self.origin.clone();
        let messages = || printables(envelope.as_ref().ok().and_then(|it: &Envelope| it.errors.as_deref()));
        match status {
            503 if says(&body, "is sealed") => return Err(VaultError::Sealed { vault: vault() }),
            429 => return Err(VaultError::Busy { vault: vault(), messages: messages() }),
            502..=504 => {
                return Err(VaultError::Unavailable { vault: vault(), status, messages: messages() });
            }
            412 | 500 if is_between_leaders(status, &body) => {
                return Err(VaultError::Unavailable { vault: vault(), status, messages: messages() });
            }
            404 if says(&body, "namespace not found") => {
                let namespace = self.namespace.clone().unwrap_or_default();
                return Err(VaultError::NamespaceUnknown { vault: vault(), namespace });
            }
            _ => {}
        }
        match envelope {
            Ok(envelope) => Ok(Reply { status, envelope, body }),
            Err(_) if says(&body, "Client sent an HTTP request to an HTTPS server") => {
                Err(self.unusable(path, "it speaks TLS: its address must begin with `https://`"))
            }
            // Security: of a body that is not Vault's nothing is shown; it may echo what was sent.
            Err(_) => {
                let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok());
                let kind = crate::error::printable(kind.unwrap_or("no content type"));
                Err(self.unusable(path, format!("status {status} with `{kind}` is not the JSON of a Vault")))
            }
        }
    }

    /// Tests do not wait.
    #[cfg(test)]
    pub(super) fn impatient(mut self) -> Self {
        self.client = self.client.impatient();
        self
    }
}

/// Whether the same request, sent again, may fare better.
enum Prospects {
    /// It would not, or it might do harm: this one was perhaps heard.
    Final,
    /// It may, after a while.
    Passing,
    /// It will, once there is a leader.
    Electing,
}

fn prospects(response: &Response, repeatable: bool) -> Prospects {
    match response.status {
        status if is_between_leaders(status, &response.body) => Prospects::Electing,
        // Refused before it was looked at.
        429 => Prospects::Passing,
        // A sealed Vault stays sealed until an operator comes.
        503 if says(&response.body, "is sealed") => Prospects::Final,
        502..=504 if repeatable => Prospects::Passing,
        _ => Prospects::Final,
    }
}

/// A node that knows no leader at the moment, or has not caught up with it (Vault Enterprise); they
/// refuse before they act. The other 412 is a missing `X-Vault-Request`.
fn is_between_leaders(status: u16, body: &[u8]) -> bool {
    match status {
        412 => !says(body, "X-Vault-Request"),
        500 => says(body, "active cluster node not found"),
        503 => says(body, "no active Vault instance") || says(body, "no active OpenBao instance"),
        _ => false,
    }
}

fn says(body: &[u8], words: &str) -> bool {
    body.windows(words.len()).any(|window| window == words.as_bytes())
}
