//! What each preset sends where the settings say nothing else. Everything here can be said by hand.

use secrecy::SecretString;

use super::{TOKEN_EXCHANGE, with_parameters};
use crate::config::{Preset, ResultField, SecretPlace, TokenExchange};
use crate::oidc::token_endpoint::Form;

/// RFC 8693, section 3.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// The request of one exchange, but for the subject.
pub(super) struct Shape {
    subject_token_type: String,
    requested_token_type: Option<String>,
    default_scope: Option<&'static str>,
    /// Where a client's secret goes.
    pub(super) secret_place: SecretPlace,
    /// Which field of the answer holds the token.
    pub(super) result: ResultField,
}

impl Shape {
    pub(super) fn of(settings: &TokenExchange) -> Self {
        let (subject, requested, scope) = match settings.preset {
            Preset::Generic | Preset::Entra => (JWT, None, None),
            // "OAuth token federation": the subject is a JWT, `all-apis` the scope of its examples.
            Preset::Databricks => (JWT, None, Some("all-apis")),
            // "Standard token exchange": only an access token is exchanged.
            Preset::Keycloak => (ACCESS_TOKEN, None, None),
            // `server/grants/tokenexchange.go`: an ID token or an access token, never `jwt`; and the
            // ID token is what a cluster verifies.
            Preset::Dex => (ID_TOKEN, Some(ID_TOKEN), Some("openid")),
            // "Set up OAuth 2.0 On-Behalf-Of Token Exchange".
            Preset::Okta => (ACCESS_TOKEN, Some(ACCESS_TOKEN), None),
            // "Security Token Service API: token".
            Preset::Google => {
                (JWT, Some(ACCESS_TOKEN), Some("https://www.googleapis.com/auth/cloud-platform"))
            }
        };
        Self {
            subject_token_type: settings.subject_token_type.clone().unwrap_or_else(|| subject.to_owned()),
            requested_token_type: settings
                .requested_token_type
                .clone()
                .or_else(|| requested.map(str::to_owned)),
            default_scope: scope,
            // Entra's documentation puts the secret into the form.
            secret_place: match settings.preset {
                Preset::Entra => SecretPlace::Post,
                _ => SecretPlace::Basic,
            },
            result: settings.result.unwrap_or(ResultField::AccessToken),
        }
    }

    /// Whether what is asked for is an access token; so it is where nothing else is asked for.
    pub(super) fn requests_access_token(&self) -> bool {
        self.requested_token_type.as_deref().is_none_or(|kind| kind == ACCESS_TOKEN)
    }

    /// What to ask for: the scopes of the settings, else the preset's.
    pub(super) fn scope(&self, settings: &TokenExchange) -> Option<String> {
        if settings.scopes.is_empty() {
            return self.default_scope.map(str::to_owned);
        }
        Some(settings.scopes.join(" "))
    }

    pub(super) fn form(&self, settings: &TokenExchange, subject: &SecretString) -> Form {
        let mut form = Form::of_grant(TOKEN_EXCHANGE)
            .secret("subject_token", subject)
            .field("subject_token_type", &self.subject_token_type)
            .optional("requested_token_type", self.requested_token_type.as_deref());
        for audience in &settings.audiences {
            form = form.field("audience", audience);
        }
        with_parameters(form.optional("scope", self.scope(settings).as_deref()), settings)
    }
}
