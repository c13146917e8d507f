//! Token exchange: a token of the workload's or the person's own is handed to an authorization server,
//! which gives one for its own service (RFC 8693), or stands surety for a client (RFC 7523), or is
//! not needed as the client has a secret. What each issuer expects is said by its preset.
//!
//! It sends a token or a secret to the host that the settings name and to no other, follows no
//! redirect, and asks once; only Entra is asked again, for as long as its directory lags behind.

mod databricks;
mod entra;
mod error;
mod google;
mod shape;
mod subject;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use url::Url;

pub use error::{ExchangeError, SubjectFlaw};
use shape::Shape;

use super::{Elsewhere, Fetched, after};
use crate::config::{self, Preset, ResultField, SecretPlace};
use crate::error::Error;
use crate::http::Client;
use crate::oidc::client_secret;
use crate::oidc::metadata::Metadata;
use crate::oidc::token_endpoint::{ClientAuthentication, Form, TokenAnswer, TokenEndpoint};
use crate::token::{Bound, Claims, Limit, Minted, Timestamp, Token};
use crate::vault::JwtSource;

/// RFC 8693, section 2.1.
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 6749, section 4.4.
const CLIENT_CREDENTIALS: &str = "client_credentials";

/// Waits so long before the next try.
pub type Pause = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// What an exchange is made with.
pub struct Parts {
    /// What to exchange, and where.
    pub settings: config::TokenExchange,
    /// The client for that place.
    pub http: Client,
    /// Whose token is exchanged; none where a secret takes its place.
    pub subject: Option<Arc<dyn JwtSource>>,
    /// When all of it must be over.
    pub deadline: Instant,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// How to wait.
    pub pause: Pause,
}

/// A source that exchanges.
pub struct Exchange {
    parts: Parts,
    /// What the token says that was handed over.
    handed_over: OnceLock<Claims>,
}

impl Exchange {
    /// The source of these parts. It asks nobody yet.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self { parts, handed_over: OnceLock::new() }
    }

    /// Asks for a token, once.
    ///
    /// # Errors
    /// Where there is nothing to exchange, the issuer refuses, or what it gives is no token to use.
    pub async fn mint(&self) -> Result<Fetched, Error> {
        let Given { endpoint, minted } = match self.parts.settings.preset {
            Preset::Generic | Preset::Keycloak | Preset::Dex | Preset::Okta => {
                self.exchanged(self.endpoint().await?).await?
            }
            Preset::Databricks => databricks::given(self).await?,
            Preset::Entra => entra::given(self).await?,
            Preset::Google => google::given(self).await?,
        };
        let by = endpoint.clone();
        let token = Token::new(minted, self.now()).map_err(|flaw| ExchangeError::Token { endpoint, flaw })?;
        let exchanged = self.handed_over.get().cloned();
        let elsewhere = Some(Elsewhere { by, was_refreshed: false, exchanged });
        Ok(Fetched { token, warnings: Vec::new(), request_id: None, document: None, elsewhere })
    }

    fn now(&self) -> Timestamp {
        (self.parts.clock)()
    }

    /// The endpoint that the settings name, or that their issuer does.
    async fn endpoint(&self) -> Result<Url, Error> {
        let (settings, preset) = (&self.parts.settings, self.parts.settings.preset);
        if let Some(endpoint) = &settings.token_endpoint {
            return Ok(endpoint.clone());
        }
        let issuer = settings
            .issuer
            .as_ref()
            .ok_or_else(|| Error::Fault("the exchange names neither issuer nor endpoint".into()))?;
        let metadata = Metadata::discover(&self.parts.http, issuer, self.parts.deadline).await;
        Ok(metadata.map_err(|cause| ExchangeError::Refused { preset, cause })?.token_endpoint)
    }

    /// RFC 8693 at an endpoint.
    async fn exchanged(&self, endpoint: Url) -> Result<Given, Error> {
        let shape = Shape::of(&self.parts.settings);
        let form = shape.form(&self.parts.settings, &self.subject(&endpoint).await?);
        let authentication = self.authentication(&shape)?;
        let asked_at = self.now();
        let answer = self.ask(endpoint.clone(), &authentication, &form).await?;
        given(&answer, shape.result, shape.requests_access_token(), asked_at)
    }

    /// The token to hand over, checked.
    async fn subject(&self, endpoint: &Url) -> Result<SecretString, Error> {
        let subject = self
            .parts
            .subject
            .as_ref()
            .ok_or_else(|| Error::Fault("the exchange names nobody whose token is exchanged".into()))?;
        let token = subject.jwt().await?;
        subject::check(&token, self.parts.settings.preset, endpoint, self.now())?;
        let _ = self.handed_over.set(Claims::of(&token).unwrap_or_default());
        Ok(token)
    }

    /// How the client says who it is.
    fn authentication(&self, shape: &Shape) -> Result<ClientAuthentication, ExchangeError> {
        let settings = &self.parts.settings;
        let client_id = settings.client_id.clone();
        let (Some(client_id), Some(file)) = (&client_id, &settings.client_secret_file) else {
            return Ok(ClientAuthentication::None { client_id });
        };
        let client_id = client_id.clone();
        let secret = client_secret::read(file)
            .map_err(|cause| ExchangeError::Refused { preset: settings.preset, cause })?;
        Ok(match settings.client_authentication.unwrap_or(shape.secret_place) {
            SecretPlace::Basic => ClientAuthentication::Basic { client_id, secret },
            SecretPlace::Post => ClientAuthentication::Post { client_id, secret },
        })
    }

    async fn ask(
        &self,
        url: Url,
        authentication: &ClientAuthentication,
        form: &Form,
    ) -> Result<TokenAnswer, ExchangeError> {
        let endpoint = TokenEndpoint { http: &self.parts.http, url, authentication };
        let preset = self.parts.settings.preset;
        let answer = endpoint.ask(form, self.parts.deadline).await;
        answer.map_err(|cause| ExchangeError::Refused { preset, cause })
    }

    /// `client_credentials` with the client's secret.
    async fn with_secret(&self, endpoint: Url) -> Result<Given, Error> {
        let shape = Shape::of(&self.parts.settings);
        let scope = shape.scope(&self.parts.settings);
        let form = Form::of_grant(CLIENT_CREDENTIALS).optional("scope", scope.as_deref());
        let authentication = self.authentication(&shape)?;
        let asked_at = self.now();
        let form = with_parameters(form, &self.parts.settings);
        let answer = self.ask(endpoint, &authentication, &form).await?;
        given(&answer, ResultField::AccessToken, true, asked_at)
    }
}

/// What an issuer gave, and who it was.
struct Given {
    endpoint: String,
    minted: Minted,
}

fn with_parameters(form: Form, settings: &config::TokenExchange) -> Form {
    settings.parameters.iter().fold(form, |form, (name, value)| form.field(name, value))
}

/// The token of an answer, with what bounds its life: `expires_in` from the moment of asking on, and
/// the `exp` that [`Token::new`] reads; the earlier counts.
fn given(
    answer: &TokenAnswer,
    result: ResultField,
    is_access_token: bool,
    asked_at: Timestamp,
) -> Result<Given, Error> {
    let secret = match result {
        ResultField::AccessToken => answer.need_access_token(),
        ResultField::IdToken => answer.need_id_token(),
    };
    let secret = secret.map_err(ExchangeError::Elsewhere)?.clone();
    let endpoint = answer.endpoint.clone();
    // `N_A` is right for what is no access token (RFC 8693, section 2.2.1), and only for that.
    let is_right = match answer.token_type.as_deref() {
        None | Some("bearer") => true,
        Some("n_a") => !is_access_token || result == ResultField::IdToken,
        Some(_) => false,
    };
    if !is_right {
        let token_type = answer.token_type.clone().unwrap_or_default();
        return Err(ExchangeError::NotBearer { endpoint, token_type }.into());
    }
    // It speaks of the access token, of which an ID token beside it tells its own end.
    let own_end = Claims::read(secret.expose_secret()).and_then(|claims| claims.expires_at);
    let counts = result == ResultField::AccessToken || own_end.is_none();
    let bounds = answer
        .expires_in
        .filter(|_| counts)
        .map(|seconds| Bound { by: Limit::ExpiresIn, at: after(asked_at, seconds) });
    let minted = Minted {
        secret,
        bounds: bounds.into_iter().collect(),
        subject: None,
        lease: None,
        warnings: Vec::new(),
        request_id: None,
    };
    Ok(Given { endpoint, minted })
}

#[cfg(test)]
mod tests;
