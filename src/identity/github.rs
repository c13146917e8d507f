//! The token service of GitHub Actions (and of Forgejo, which copies it): one GET with the job's
//! request token gives an ID token for the audience asked for. It works at any time of the job, so
//! these tokens can be renewed. See GitHub's "OpenID Connect reference".

use std::time::Instant;

use reqwest::header::{ACCEPT, AUTHORIZATION};
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::error::{IdentityError, Place, Provider};
use crate::env::Env;
use crate::error::printable;
use crate::http::{Client, Method, Request, Response, is_loopback};
use crate::source::field::SecretText;

/// Where to ask.
pub(super) const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
/// What to ask with.
pub(super) const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// The token service as the job's environment describes it.
pub(super) struct TokenService {
    /// The whole address, audience included.
    pub(super) url: Url,
    /// The job's request token.
    request_token: SecretString,
}

impl TokenService {
    pub(super) fn new(who: &str, env: &Env, audience: Option<&str>) -> Result<Self, IdentityError> {
        let missing = |variable: &str| IdentityError::VariableMissing {
            who: who.to_owned(),
            variable: variable.to_owned(),
            provider: Provider::Github,
        };
        let address = env.filled(URL).ok_or_else(|| missing(URL))?;
        let request_token = env.filled(TOKEN).ok_or_else(|| missing(TOKEN))?;
        let mut url = Url::parse(address)
            .map_err(|_| IdentityError::NoAddress { who: who.to_owned(), variable: URL })?;
        // Security: the request token gives an identity to whoever reads it on the way.
        if !is_private(&url) {
            return Err(IdentityError::Cleartext { who: who.to_owned(), host: host(&url) });
        }
        if let Some(audience) = audience {
            url.query_pairs_mut().append_pair("audience", audience);
        }
        Ok(Self { url, request_token: SecretString::from(request_token.trim()) })
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
        let request = Request::new(Method::GET, self.url.clone(), deadline)
            .header(ACCEPT, "application/json; api-version=2.0")
            .and_then(|request| request.secret_header(AUTHORIZATION, "Bearer ", &self.request_token))
            .map_err(failed)?;
        let response = client.send(request).await.map_err(failed)?;
        self.read(who, &response)
    }

    pub(super) fn read(&self, who: &str, response: &Response) -> Result<SecretString, IdentityError> {
        #[derive(Deserialize)]
        struct Issued {
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
            });
        }
        // The parser's own words are left out: they could quote the token.
        match serde_json::from_slice::<Issued>(&response.body) {
            Ok(issued) => Ok(issued.value.0),
            Err(_) => Err(IdentityError::Malformed {
                who: who.to_owned(),
                place: Place::Answer(self.host()),
                why: "it has no `value` that is text",
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
