//! What a provider refused, or why it could not be asked or believed; each variant is one thing to do
//! next.

use super::callback::CallbackError;
use super::databricks::HostError;
use super::id_token::Lie;
use crate::error::{ExitCode, Explain};
use crate::http::HttpError;

/// Why there is no answer of an OpenID provider or authorization server that can be used.
///
/// In all variants `provider` is its issuer, `endpoint` an address without query, and the words of a
/// server are printable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "fields are named alike throughout, and explained at the head")]
pub enum OidcError {
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// There is no metadata at the places where it must be.
    #[error("`{provider}` publishes no metadata")]
    NoMetadata { provider: String, tried: String, status: u16 },
    /// Its metadata has another form than the standards say.
    #[error("the metadata of `{provider}` at `{endpoint}` cannot be used")]
    Metadata { provider: String, endpoint: String, why: String },
    /// Its metadata is that of another issuer.
    #[error("the metadata of `{provider}` is that of another issuer, `{found}`")]
    OtherIssuer { provider: String, found: String },
    /// An endpoint that may not be asked.
    #[error("the `{field}` of `{provider}` is not used: `{endpoint}`")]
    Endpoint { provider: String, field: &'static str, endpoint: String, why: &'static str },
    /// It has no such endpoint.
    #[error("`{provider}` names no `{field}` in its metadata")]
    NotOffered { provider: String, field: &'static str, without: &'static str },
    /// Redirects are not followed.
    #[error("`{endpoint}` redirects to `{target}`, where nothing is sent")]
    Redirect { endpoint: String, target: String },
    /// It would have gone over the wire in clear.
    #[error("nothing secret is sent to `{endpoint}` without TLS")]
    Cleartext { endpoint: String },
    /// An error of RFC 6749 section 5.2, or of an extension of it.
    #[error("`{endpoint}` refused the request: `{code}`")]
    Refused { endpoint: String, status: u16, code: String, description: Option<String>, uri: Option<String> },
    /// A person must log in.
    #[error("log-in to `{provider}` required")]
    LoginRequired { provider: String, why: String },
    /// The listener for the browser, the person, or what the provider had the browser say.
    #[error(transparent)]
    Callback(#[from] CallbackError),
    /// RFC 9207: the answer in the browser is not of the issuer that was asked.
    #[error("the answer to the log-in at `{provider}` is not of `{provider}`")]
    OtherAnswerer { provider: String, found: Option<String> },
    /// The person, or the provider, said no on the other device.
    #[error("the log-in to `{provider}` was refused there")]
    Denied { provider: String },
    /// Nobody typed the code in time.
    #[error("the code for the log-in to `{provider}` has expired")]
    CodeExpired { provider: String },
    /// No random numbers.
    #[error("this system gives no random numbers to log in with")]
    NoRandomness,
    /// Another process renews the session, and does not come to an end.
    #[error("another process renews the session at `{provider}`, and is not done yet")]
    Busy { provider: String },
    /// A refresh brought none, and that of the log-in has ended.
    #[error("`{provider}` gives no ID token when a session is renewed")]
    NoIdToken { provider: String },
    /// An answer with nothing but an ID token.
    #[error("`{provider}` gave no access token")]
    NoAccessToken { provider: String },
    /// An ID token that is not believed.
    #[error("the ID token of `{provider}` is not believed")]
    IdToken { provider: String, lie: Lie },
    /// The file with the client's secret cannot be used.
    #[error("the client's secret in `{file}` cannot be used")]
    ClientSecret { file: String, why: String },
    /// It cannot serve at the moment.
    #[error("`{endpoint}` cannot serve at the moment (status {status})")]
    Unavailable { endpoint: String, status: u16 },
    /// A host of Databricks whose endpoints are not known.
    #[error(transparent)]
    Databricks(#[from] HostError),
    /// An answer that cannot be used.
    #[error("the answer of `{endpoint}` cannot be used")]
    Unusable { endpoint: String, why: String },
}

impl OidcError {
    /// The code of an error answer (`invalid_grant` …).
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }
}

impl Explain for OidcError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Http(error) => error.exit_code(),
            Self::Databricks(error) => error.exit_code(),
            Self::NotOffered { .. } | Self::ClientSecret { .. } => ExitCode::Usage,
            Self::LoginRequired { .. } | Self::NoIdToken { .. } => ExitCode::LoginRequired,
            Self::Callback(error) => error.exit_code(),
            Self::NoRandomness => ExitCode::Fault,
            // Its own fault, or a passing one: the same request may be granted later.
            Self::Refused { status: 429 | 500.., .. }
            | Self::Unavailable { .. }
            | Self::Busy { .. }
            | Self::CodeExpired { .. } => ExitCode::Unreachable,
            Self::Refused { .. } | Self::Denied { .. } => ExitCode::Refused,
            Self::NoMetadata { .. }
            | Self::Metadata { .. }
            | Self::OtherIssuer { .. }
            | Self::IdToken { .. }
            | Self::NoAccessToken { .. }
            | Self::Unusable { .. } => ExitCode::Unusable,
            Self::Endpoint { .. }
            | Self::Redirect { .. }
            | Self::Cleartext { .. }
            | Self::OtherAnswerer { .. } => ExitCode::Withheld,
        }
    }

    fn why(&self) -> Option<String> {
        Some(match self {
            Self::Http(error) => return error.why(),
            Self::Callback(error) => return error.why(),
            Self::OtherAnswerer { found: Some(found), .. } => {
                format!("it is of `{found}`, so its code was not sent to anybody")
            }
            Self::OtherAnswerer { found: None, .. } => {
                "it does not say whose it is, as this provider always does".into()
            }
            Self::Databricks(error) => return error.why(),
            Self::NoMetadata { tried, status, .. } => format!("`{tried}` answered with status {status}"),
            Self::Metadata { why, .. }
            | Self::Unusable { why, .. }
            | Self::LoginRequired { why, .. }
            | Self::ClientSecret { why, .. } => why.clone(),
            Self::IdToken { lie, .. } => lie.to_string(),
            Self::NoIdToken { .. } => {
                "that of the last log-in has ended, and only a log-in brings another".into()
            }
            Self::NoAccessToken { .. } => "the settings want its access token, by `token: access`".into(),
            Self::OtherIssuer { .. } => {
                "an issuer must be the same, letter for letter, also in its last slash".into()
            }
            Self::Endpoint { why, .. } => (*why).into(),
            Self::NotOffered { without, .. } => format!("without it there is no {without}"),
            Self::Redirect { .. } => "a redirect could take secrets to somebody else".into(),
            Self::Cleartext { .. } => "whoever listens on the way could read it".into(),
            Self::Refused { status, description, uri, .. } => {
                let words =
                    description.clone().unwrap_or_else(|| format!("status {status}, without a reason"));
                uri.as_ref().map_or(words.clone(), |uri| format!("{words} (see {uri})"))
            }
            Self::Unavailable { .. }
            | Self::Busy { .. }
            | Self::Denied { .. }
            | Self::CodeExpired { .. }
            | Self::NoRandomness => return None,
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Http(error) => return error.hint(),
            Self::Callback(error) => return error.hint(),
            Self::OtherAnswerer { .. } => "log in again; if it happens again, somebody stands between you and the provider".into(),
            Self::Databricks(error) => return error.hint(),
            Self::NoMetadata { .. } | Self::Metadata { .. } => {
                "check `issuer` in the settings: it is what `iss` says in this provider's tokens".into()
            }
            Self::OtherIssuer { found, .. } => {
                format!("if that is the provider that you mean, set `issuer` to `{found}`")
            }
            Self::Endpoint { .. } => "ask whoever runs this provider to publish an address with TLS".into(),
            Self::NotOffered { .. } | Self::NoRandomness => return None,
            Self::LoginRequired { .. } | Self::Denied { .. } => "{program} login{profile}{vault}{config}".into(),
            Self::CodeExpired { .. } => "{program} login --device-code{profile}{vault}{config}".into(),
            Self::NoIdToken { .. } => {
                "{program} login{profile}{vault}{config}, or set `token: access` if the API server takes that".into()
            }
            Self::NoAccessToken { .. } => "set `token: id` for this provider, or leave it out".into(),
            Self::IdToken { lie: Lie::Expired { .. } | Lie::FromTheFuture { .. } | Lie::NotYet { .. }, .. } => {
                "compare the clock of this machine with the provider's: `date -u`".into()
            }
            Self::IdToken { lie: Lie::OtherAudience { .. } | Lie::OtherParty { .. }, .. } => {
                "check `clientId` in the settings".into()
            }
            Self::IdToken { .. } => {
                "do not use it: ask whoever runs this provider, and check that `issuer` is the one that you mean".into()
            }
            Self::ClientSecret { .. } => "check `clientSecretFile` in the settings".into(),
            Self::Redirect { .. } => {
                "if that is where it lives now, name that address in the settings".into()
            }
            Self::Cleartext { .. } => "use an address that begins with `https://`".into(),
            Self::Refused { code, .. } => return refused_hint(code).map(str::to_owned),
            Self::Unavailable { .. } | Self::Busy { .. } => "try again in a minute".into(),
            Self::Unusable { .. } => "check that the address is that of a token endpoint".into(),
        })
    }
}

/// What mends an error of RFC 6749 section 5.2; the other codes are the caller's to explain.
fn refused_hint(code: &str) -> Option<&'static str> {
    match code {
        "invalid_client" => {
            Some("check `clientId`, and that the client's secret is right or that it needs none")
        }
        "unauthorized_client" => Some("ask whoever runs this provider to allow this grant to the client"),
        "unsupported_grant_type" => Some("this provider does not know this grant; choose another way"),
        "invalid_scope" => Some("check `scopes` in the settings"),
        "temporarily_unavailable" | "server_error" => Some("try again in a minute"),
        _ => None,
    }
}
