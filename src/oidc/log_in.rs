//! A person's log-in at a provider: by a browser (OpenID Connect Core 1.0 section 3.1 with PKCE, RFC
//! 7636, as RFC 8252 asks of programs), or by a code on another device (RFC 8628). It ends with a
//! session that is kept; who opens the browser and where its answer arrives is done elsewhere.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::OidcError;
use super::callback::{Arrived, Callback, CallbackError, Listen, Loopback, Port};
use super::client::Client;
use super::metadata::Metadata;
use super::session::ProviderSession;
use super::token_endpoint::{ClientAuthentication, Form, TokenAnswer};
use crate::browser;
use crate::config::ProviderToken;
use crate::error::printable;
use crate::person::{self, LogInHow, Person};
use crate::source::field::SecretText;
use crate::token::{Claims, Timestamp};

/// RFC 8628 section 3.2: where the provider names none.
const USUAL_PAUSE: u64 = 5;
/// RFC 8628 section 3.5: what `slow_down` adds, for good.
const SLOWER: u64 = 5;
/// The longest pause between two questions.
const LONGEST_PAUSE: u64 = 60;
/// How long a device's code is good where the provider does not say.
const USUAL_LIFE: u64 = 600;
/// How long one question whether the person is done may take.
const ONE_POLL: Duration = Duration::from_secs(15);

/// The scope for a session that outlives the browser's (OpenID Connect Core 1.0 section 11).
const OFFLINE_ACCESS: &str = "offline_access";

/// What a log-in gave, and what its ID token must say.
struct Given {
    answer: TokenAnswer,
    asked_at: Timestamp,
    nonce: Option<String>,
}

/// What a device shows (RFC 8628 section 3.2).
#[derive(Deserialize)]
struct DeviceAnswer {
    device_code: SecretText,
    user_code: String,
    /// The second name is Google's.
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: Option<u64>,
    interval: Option<u64>,
}

impl Client {
    /// Logs a person in, in the way that they want, and keeps the session. `forget` drops what was had
    /// in the name of the session before; it is called once the new one is had and before it is kept.
    ///
    /// # Errors
    /// What the provider or the person said instead.
    pub async fn login(
        &self,
        person: &dyn Person,
        forget: &(dyn Fn() + Sync),
    ) -> Result<ProviderSession, OidcError> {
        let metadata = self.metadata().await?;
        let authentication = self.authentication(metadata)?;
        let attempt = Attempt { client: self, metadata, authentication, person };
        let given = match person.wants() {
            LogInHow::DeviceCode => attempt.by_device().await?,
            LogInHow::Browser | LogInHow::NoBrowser => attempt.by_browser().await?,
        };
        let session = self.begun(given).await?;
        // Nobody refreshes the session before meanwhile, and puts it in the place of this one. Whoever
        // does not come to an end is not waited for: this one is new.
        let _turn = self.take_turn().await;
        forget();
        self.keep(&session);
        if session.refresh_token.is_none() && metadata.offers_scope(OFFLINE_ACCESS) && !self.asks_offline() {
            person.tell("this log-in cannot be renewed; with `offline_access` among `scopes` it could be");
        }
        Ok(session)
    }

    /// The session that a log-in begins: its ID token is believed, or there is none.
    async fn begun(&self, given: Given) -> Result<ProviderSession, OidcError> {
        let Given { answer, asked_at, nonce } = given;
        let answer = self.heard(answer);
        let believed = match (&answer.id_token, self.parts.settings.token) {
            (Some(token), _) => {
                let expected = self.expected(nonce.as_deref(), None, answer.access_token.as_ref());
                Some(self.believe(token, &expected).await?)
            }
            (None, ProviderToken::Access) => None,
            (None, ProviderToken::Id) => {
                return Err(answer.need_id_token().err().unwrap_or_else(|| self.lacks(ProviderToken::Id)));
            }
        };
        if self.parts.settings.token == ProviderToken::Access && answer.access_token.is_none() {
            return Err(self.lacks(ProviderToken::Access));
        }
        let mut session = ProviderSession::empty(asked_at);
        session.take_over(answer, believed, asked_at);
        if !self.is_openid() {
            // Not verified: for a person to recognise themselves by.
            session.name = session.access_token.as_ref().and_then(|token| Claims::of(token)?.subject);
        }
        // Whether a refresh brings one is not known yet.
        session.refreshes_id_token = true;
        Ok(session)
    }

    /// Where the browser may end. Databricks compares all of it but one of these ports; see
    /// `credentials/u2m` of databricks-sdk-go.
    fn listens_at(&self) -> Listen {
        if !self.is_openid() {
            let port = Port::Among { first: 8020, last: 8040 };
            return Listen { host: Loopback::Localhost, port, path: "/" };
        }
        let port = self.parts.settings.redirect_port.map_or(Port::Free, Port::Exactly);
        Listen { host: Loopback::Addresses, port, path: "/callback" }
    }

    fn asks_offline(&self) -> bool {
        self.parts.settings.scopes.iter().any(|scope| scope == OFFLINE_ACCESS)
    }

    /// `openid`, where it is known, and what the settings ask for. A session that outlives the browser's is
    /// never asked for by itself: providers refuse a client that may not, and show a person what they agree
    /// to.
    fn scope(&self) -> String {
        let mut scopes = if self.is_openid() { vec!["openid"] } else { Vec::new() };
        for scope in &self.parts.settings.scopes {
            if !scopes.contains(&scope.as_str()) {
                scopes.push(scope);
            }
        }
        scopes.join(" ")
    }
}

/// One log-in.
struct Attempt<'a> {
    client: &'a Client,
    metadata: &'a Metadata,
    authentication: ClientAuthentication,
    person: &'a dyn Person,
}

/// What only this log-in knows: 256 bits each.
struct Secrets {
    state: String,
    nonce: String,
    verifier: SecretString,
}

impl Secrets {
    fn new() -> Option<Self> {
        let random = || {
            let mut bytes = [0; 32];
            SystemRandom::new().fill(&mut bytes).ok()?;
            Some(URL_SAFE_NO_PAD.encode(bytes))
        };
        Some(Self { state: random()?, nonce: random()?, verifier: SecretString::from(random()?) })
    }

    /// RFC 7636 section 4.2: never `plain`.
    fn challenge(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, self.verifier.expose_secret().as_bytes());
        URL_SAFE_NO_PAD.encode(digest)
    }
}

impl Attempt<'_> {
    async fn by_browser(&self) -> Result<Given, OidcError> {
        let endpoint = self.metadata.authorization_endpoint.as_ref();
        let endpoint = self.metadata.need("authorization_endpoint", endpoint, "log-in with a browser")?;
        let callback = Callback::listen(self.client.listens_at()).await?;
        let secrets = Secrets::new().ok_or(OidcError::NoRandomness)?;
        let redirect_uri = callback.redirect_uri().to_owned();
        let address = self.address(endpoint, &redirect_uri, &secrets);
        let begun_at = Instant::now();
        let arrived = callback.answer_of(self.person, &address, &secrets.state).await;
        self.client.has_waited(begun_at);
        let arrived = arrived?;
        self.check_issuer(&arrived)?;
        let form = Form::of_grant("authorization_code")
            .secret("code", &arrived.code)
            .field("redirect_uri", &redirect_uri)
            .secret("code_verifier", &secrets.verifier);
        let asked_at = self.client.now();
        let endpoint = self.client.endpoint(&self.metadata.token_endpoint, &self.authentication);
        let answer = endpoint.ask(&form, self.client.deadline()).await?;
        Ok(Given { answer, asked_at, nonce: Some(secrets.nonce) })
    }

    fn address(&self, endpoint: &Url, redirect_uri: &str, secrets: &Secrets) -> Url {
        let mut address = endpoint.clone();
        let mut query = address.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.parts.settings.client_id)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("scope", &self.client.scope())
            .append_pair("state", &secrets.state);
        if self.client.is_openid() {
            query.append_pair("nonce", &secrets.nonce);
        }
        query
            .append_pair("code_challenge", &secrets.challenge())
            .append_pair("code_challenge_method", "S256");
        if self.client.is_openid() && self.client.asks_offline() {
            // OpenID Connect Core 1.0 section 11: without it some drop the scope without a word.
            query.append_pair("prompt", "consent");
        }
        drop(query);
        address
    }

    /// Security: RFC 9207. A code that another issuer gave must not be sent to this one, nor the other
    /// way round (mix-up). Of a code that was copied by hand nobody says who gave it; PKCE and the nonce
    /// still tie it to this log-in.
    fn check_issuer(&self, arrived: &Arrived) -> Result<(), OidcError> {
        let provider = || self.client.issuer().to_owned();
        match &arrived.issuer {
            Some(issuer) if self.is_issuer(issuer) => Ok(()),
            Some(issuer) => {
                Err(OidcError::OtherAnswerer { provider: provider(), found: Some(printable(issuer)) })
            }
            None if self.metadata.names_issuer_in_answers && !arrived.is_pasted => {
                Err(OidcError::OtherAnswerer { provider: provider(), found: None })
            }
            None => Ok(()),
        }
    }

    /// A host of Databricks has an issuer for itself and for each account, and is one server.
    fn is_issuer(&self, named: &str) -> bool {
        if self.client.is_openid() {
            return named == self.client.issuer();
        }
        let host = self.metadata.issuer.url().origin();
        Url::parse(named).is_ok_and(|named| named.origin() == host)
    }

    async fn by_device(&self) -> Result<Given, OidcError> {
        let endpoint = self.metadata.device_authorization_endpoint.as_ref();
        let endpoint = self.metadata.need("device_authorization_endpoint", endpoint, "log-in by a code")?;
        // RFC 8628 knows no PKCE, and whoever does not either ignores it; Keycloak refuses without it a
        // client that has to use it.
        let secrets = Secrets::new().ok_or(OidcError::NoRandomness)?;
        let form = Form::default()
            .field("scope", &self.client.scope())
            .field("code_challenge", &secrets.challenge())
            .field("code_challenge_method", "S256");
        let asked = self.client.endpoint(endpoint, &self.authentication);
        let device: DeviceAnswer = asked.ask_for(&form, self.client.deadline()).await?;
        let shown = device.verification_uri_complete.as_ref().unwrap_or(&device.verification_uri);
        let address = browser::checked(shown).map_err(|why| OidcError::Endpoint {
            provider: self.client.issuer().to_owned(),
            field: "verification_uri",
            endpoint: printable(shown),
            why,
        })?;
        let _ = person::send(self.person, &address);
        // Also where the address holds it: whoever sees another there is about to let somebody else in.
        self.person.tell(&format!("the code is {}", printable(&device.user_code)));
        let begun_at = Instant::now();
        let outcome = self.poll(&device, &secrets.verifier).await;
        self.client.has_waited(begun_at);
        outcome
    }

    /// Asks again and again whether the person is done (RFC 8628 section 3.4).
    async fn poll(&self, device: &DeviceAnswer, verifier: &SecretString) -> Result<Given, OidcError> {
        let provider = || self.client.issuer().to_owned();
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let form = Form::of_grant(grant)
            .secret("device_code", &device.device_code.0)
            .secret("code_verifier", verifier);
        let endpoint = self.client.endpoint(&self.metadata.token_endpoint, &self.authentication);
        let second = self.client.second;
        let life = second * u32::try_from(device.expires_in.unwrap_or(USUAL_LIFE)).unwrap_or(u32::MAX);
        let (begun_at, patience) = (Instant::now(), self.person.patience());
        let mut pause = device.interval.unwrap_or(USUAL_PAUSE).clamp(1, LONGEST_PAUSE);
        loop {
            tokio::time::sleep(second * u32::try_from(pause).unwrap_or(u32::MAX)).await;
            if begun_at.elapsed() >= patience {
                return Err(CallbackError::Unanswered { others: 0 }.into());
            }
            if begun_at.elapsed() >= life {
                return Err(OidcError::CodeExpired { provider: provider() });
            }
            let asked_at = self.client.now();
            let error = match endpoint.ask(&form, Instant::now() + ONE_POLL).await {
                Ok(answer) => return Ok(Given { answer, asked_at, nonce: None }),
                Err(error) => error,
            };
            match error.code() {
                Some("access_denied") => return Err(OidcError::Denied { provider: provider() }),
                Some("expired_token") => return Err(OidcError::CodeExpired { provider: provider() }),
                _ => pause = next_pause(pause, &error).ok_or(error)?,
            }
        }
    }
}

/// The pause before the next question; none where the answer is final.
fn next_pause(pause: u64, error: &OidcError) -> Option<u64> {
    match error {
        OidcError::Refused { code, .. } if code == "authorization_pending" => Some(pause),
        OidcError::Refused { code, .. } if code == "slow_down" => Some((pause + SLOWER).min(LONGEST_PAUSE)),
        // RFC 8628 section 3.5: whoever cannot be reached is asked less and less often.
        OidcError::Http(_) | OidcError::Unavailable { .. } => Some((pause * 2).min(LONGEST_PAUSE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
