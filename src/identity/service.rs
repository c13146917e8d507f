//! The token service of a job's platform: one request with the job's own token gives an ID token. It
//! works at any time of the job, so these tokens can be asked for anew.

use std::time::Instant;

use reqwest::header::{ACCEPT, AUTHORIZATION};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use super::error::{IdentityError, Place, Provider};
use crate::env::Env;
use crate::error::printable;
use crate::http::{Client, Method, Request, Response, is_loopback};
use crate::source::field::SecretText;

/// How one platform's service is asked.
pub(super) struct Dialect {
    /// Whose it is.
    pub(super) provider: Provider,
    /// The variable that says where to ask.
    pub(super) address: &'static str,
    /// The variable that holds what to ask with.
    pub(super) token: &'static str,
    /// GET, or POST of an empty JSON object.
    pub(super) method: Method,
    /// Header beside the token.
    pub(super) accept: &'static str,
    /// Why an answer without the token is none.
    pub(super) missing: &'static str,
}

/// The token service as the job's environment describes it.
pub(super) struct TokenService {
    dialect: Dialect,
    /// The whole address, audience included.
    pub(super) url: Url,
    /// The job's request token.
    request_token: SecretString,
}

impl TokenService {
    /// `query` is what is asked for.
    pub(super) fn new(
        who: &str,
        env: &Env,
        dialect: Dialect,
        query: &[(&str, &str)],
    ) -> Result<Self, IdentityError> {
        let provider = dialect.provider;
        let missing = |variable: &str| IdentityError::VariableMissing {
            who: who.to_owned(),
            variable: variable.to_owned(),
            provider,
        };
        let address = env.filled(dialect.address).ok_or_else(|| missing(dialect.address))?;
        let request_token = env.filled(dialect.token).ok_or_else(|| missing(dialect.token))?;
        let variable = dialect.address;
        let mut url = Url::parse(address).map_err(|_| IdentityError::NoAddress {
            who: who.to_owned(),
            variable,
            provider,
        })?;
        // Security: the request token gives an identity to whoever reads it on the way.
        if !is_private(&url) {
            let host = host(&url);
            return Err(IdentityError::Cleartext { who: who.to_owned(), host, variable, provider });
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(Self { dialect, url, request_token: SecretString::from(request_token.trim()) })
    }

    pub(super) fn host(&self) -> String {
        host(&self.url)
    }

    pub(super) async fn token(
        &self,
        who: &str,
        client: &Client,
        deadline: Instant,
    ) -> Result<SecretString, IdentityError> {
        let failed = |cause| IdentityError::Http { who: who.to_owned(), cause };
        let mut request = Request::new(self.dialect.method.clone(), self.url.clone(), deadline)
            .header(ACCEPT, self.dialect.accept)
            .and_then(|request| request.secret_header(AUTHORIZATION, "Bearer ", &self.request_token))
            .map_err(failed)?;
        if self.dialect.method == Method::POST {
            request = request.body("application/json", Zeroizing::new(b"{}".to_vec()));
            // Another token more does no harm.
            request.repeatable = true;
        }
        let response = client.send(request).await.map_err(failed)?;
        self.read(who, &response)
    }

    pub(super) fn read(&self, who: &str, response: &Response) -> Result<SecretString, IdentityError> {
        #[derive(Deserialize)]
        struct Issued {
            #[serde(alias = "oidcToken")]
            value: SecretText,
        }
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        if response.status != 200 {
            let words = serde_json::from_slice::<Refusal>(&response.body).ok();
            return Err(IdentityError::Refused {
                who: who.to_owned(),
                host: self.host(),
                status: response.status,
                words: words.map(|refusal| printable(&refusal.message)),
                provider: self.dialect.provider,
            });
        }
        // The parser's own words are left out: they could quote the token.
        match serde_json::from_slice::<Issued>(&response.body) {
            Ok(issued) => Ok(issued.value.0),
            Err(_) => Err(IdentityError::Malformed {
                who: who.to_owned(),
                place: Place::Answer(self.host()),
                why: self.dialect.missing,
            }),
        }
    }
}

fn host(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// TLS, or it does not leave this machine.
fn is_private(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}
