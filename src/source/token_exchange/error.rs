//! Why an exchange gave no token, told apart by who has to change what. Neither a token nor what it
//! claims is part of a message; a server's own words are shown as they are.

use crate::config::Preset;
use crate::error::{ExitCode, Explain};
use crate::oidc::OidcError;
use crate::token::{Flaw, Timestamp};

/// What an exchange got instead of a token. Hosts and endpoints are printable addresses.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ExchangeError {
    /// The authorization server refused, or could not be asked.
    #[error("{cause}")]
    Refused {
        /// Whose words it speaks.
        preset: Preset,
        /// What it answered.
        cause: OidcError,
    },
    /// The answer holds its token in another field.
    #[error("{0}")]
    Elsewhere(OidcError),
    /// What came is no bearer token.
    #[error("the token that `{endpoint}` gave cannot be used")]
    NotBearer {
        /// Who gave it.
        endpoint: String,
        /// `token_type`, in lower case.
        token_type: String,
    },
    /// What came cannot be handed out.
    #[error("the token that `{endpoint}` gave cannot be used")]
    Token {
        /// Who gave it.
        endpoint: String,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// The subject token would be refused.
    #[error("the token to exchange was not sent to `{endpoint}`")]
    Subject {
        /// Where it would have gone.
        endpoint: String,
        /// What is wrong with it.
        flaw: SubjectFlaw,
    },
    /// Google gave a federated token, but none of the service account.
    #[error("Google did not let the identity act as `{account}` (status {status})")]
    Impersonation {
        /// The service account.
        account: String,
        /// The status code.
        status: u16,
        /// Google's words.
        words: Option<String>,
    },
    /// An answer of another shape.
    #[error("the answer of `{host}` cannot be used")]
    Answer {
        /// Whose.
        host: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Why a subject token was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectFlaw {
    /// Its header cannot be read.
    NoHeader,
    /// It is signed in a way that the issuer does not verify.
    Algorithm {
        /// `alg`, printable.
        found: String,
        /// What would do; none: anything but this.
        accepted: Option<&'static str>,
    },
    /// It ends before it could be of use.
    AlmostOver {
        /// Its `exp`.
        end: Timestamp,
    },
}

impl Explain for ExchangeError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Refused { cause, .. } | Self::Elsewhere(cause) => cause.exit_code(),
            Self::NotBearer { .. } | Self::Token { .. } | Self::Subject { .. } | Self::Answer { .. } => {
                ExitCode::Unusable
            }
            Self::Impersonation { status: 429 | 500.., .. } => ExitCode::Unreachable,
            Self::Impersonation { .. } => ExitCode::Refused,
        }
    }

    fn why(&self) -> Option<String> {
        Some(match self {
            Self::Refused { cause, .. } | Self::Elsewhere(cause) => return cause.why(),
            Self::NotBearer { token_type, .. } if token_type == "n_a" => {
                "its `token_type` is `N_A`: it is no access token".into()
            }
            Self::NotBearer { token_type, .. } => {
                format!("its `token_type` is `{token_type}`, which no client of Kubernetes can present")
            }
            Self::Token { flaw, .. } => flaw.to_string(),
            Self::Subject { flaw, .. } => match flaw {
                SubjectFlaw::NoHeader => "its first part is no header of a JWT".into(),
                SubjectFlaw::Algorithm { found, accepted: Some(accepted) } => {
                    format!("it is signed with `{found}`, and only {accepted} is accepted there")
                }
                SubjectFlaw::Algorithm { found, accepted: None } => {
                    format!("its algorithm is `{found}`: it is not signed")
                }
                SubjectFlaw::AlmostOver { end } => {
                    format!("it ends at {}, in less than 30 seconds", written(*end))
                }
            },
            Self::Answer { why, .. } => why.clone(),
            Self::Impersonation { words, .. } => return words.clone(),
        })
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { preset, cause } => {
                return advice(*preset, cause).map(str::to_owned).or_else(|| cause.hint());
            }
            Self::Elsewhere(_) => "set `result` in the source to the field that holds the token".into(),
            Self::NotBearer { token_type, .. } if token_type == "n_a" => {
                "set `requestedTokenType` to the type that is given there, or to that of an access token"
                    .into()
            }
            Self::NotBearer { .. } => "ask whoever runs this provider for bearer tokens".into(),
            Self::Token { flaw: Flaw::Dead(_) | Flaw::NotYet(_), .. } => {
                "compare the clock of this machine with the server's: `date -u`".into()
            }
            Self::Token { .. } | Self::Answer { .. } => return None,
            Self::Subject { flaw, .. } => match flaw {
                SubjectFlaw::NoHeader => "see what writes this token: it must be one JWT".into(),
                SubjectFlaw::Algorithm { .. } => {
                    "let the token's issuer sign with RS256, or take another `identity`".into()
                }
                SubjectFlaw::AlmostOver { .. } => {
                    "see what renews this token: its issuer, the kubelet, or the agent that writes it".into()
                }
            },
            Self::Impersonation { status: 429 | 500.., .. } => "try again in a minute".into(),
            Self::Impersonation { status: 401 | 403, .. } => {
                "grant the identity `roles/iam.workloadIdentityUser` on that service account, or correct \
                 `serviceAccount`"
                    .into()
            }
            Self::Impersonation { .. } => "check `serviceAccount` and `scopes`".into(),
        })
    }
}

/// The number of an error of Entra (`AADSTS700213: …`), which it puts before its words.
pub(super) fn aadsts(cause: &OidcError) -> Option<u32> {
    let OidcError::Refused { description: Some(words), .. } = cause else { return None };
    let (_, rest) = words.split_once("AADSTS")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// What mends a refusal, where the issuer's own words tell which one it is.
fn advice(preset: Preset, cause: &OidcError) -> Option<&'static str> {
    let OidcError::Refused { code, description, .. } = cause else { return None };
    let says =
        |words: &str| description.as_ref().is_some_and(|said| said.to_ascii_lowercase().contains(words));
    match preset {
        Preset::Entra => of_entra(aadsts(cause)?),
        Preset::Databricks if code == "invalid_client" => {
            Some("check `clientId`, and that its secret is right and has not ended")
        }
        Preset::Databricks if matches!(code.as_str(), "invalid_grant" | "invalid_request") => Some(
            "compare issuer, audiences and subject of the federation policy with the token's, letter for letter; \
             without `clientId` the account's policies count",
        ),
        Preset::Google if code == "invalid_target" => {
            Some("check `audiences`: the full name of a provider that exists and is switched on")
        }
        Preset::Google if says("stale") => Some("exchange a token that was issued less than an hour ago"),
        Preset::Google if code == "invalid_grant" => {
            Some("compare the provider's issuer, audiences and condition with the token's")
        }
        Preset::Keycloak if says("not within the token audience") || says("not the holder") => Some(
            "let `aud` of the exchanged token name `clientId`: add an audience mapper for it in Keycloak",
        ),
        Preset::Keycloak if says("audience not found") => {
            Some("check `audiences`: each is the client id of a client in that realm")
        }
        Preset::Keycloak if says("access tokens only") => {
            Some("exchange an access token, and leave `subjectTokenType` out: Keycloak takes no other here")
        }
        Preset::Keycloak if code == "unauthorized_client" => {
            Some("check `clientId` and the secret in `clientSecretFile`")
        }
        Preset::Keycloak if says("audience") => {
            Some("`audiences` only narrows: ask with `scopes` for a client scope that adds the audience")
        }
        Preset::Keycloak if says("token exchange") => {
            Some("switch on `Standard token exchange` for this client in Keycloak")
        }
        Preset::Dex if says("connector") => {
            Some("check `connector_id` in `parameters`: an `oidc` connector of Dex for the subject's issuer")
        }
        _ => None,
    }
}

/// See "Microsoft Entra authentication and authorization error codes".
fn of_entra(code: u32) -> Option<&'static str> {
    Some(match code {
        70_021 | 700_213 => {
            "compare issuer and subject of the application's federated credential with the token's, letter for \
             letter; a new one takes some minutes"
        }
        700_211 => {
            "the federated credential's issuer must be the token's `iss` letter for letter, its last slash \
             included; a new one takes some minutes"
        }
        700_212 => {
            "exchange a token for the audience `api://AzureADTokenExchange`, or correct the credential's"
        }
        700_024 => "see what renews the token that is exchanged, and compare clocks: `date -u`",
        700_027 => {
            "the keys at the issuer's `jwks_uri` must verify the token: see whether they were replaced"
        }
        700_016 => "check `clientId`, and that `tenantId` is the tenant that has this application",
        700_222 => "exchange the cluster's or the job's own token: Entra takes none of its own",
        7_000_215 => "check `clientSecretFile`: it must hold the secret's value, not its id",
        7_000_222 => "make a new secret for the application and write it to `clientSecretFile`",
        90_002 | 900_023 => "check `tenantId`",
        500_011 | 70_011 | 1_002_012 => {
            "check `scopes`: one resource that the tenant knows, with `/.default` at its end"
        }
        _ => return None,
    })
}

/// A moment as people compare it with `date -u`.
fn written(moment: Timestamp) -> String {
    moment.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
