//! Where a workspace or an account of Databricks has its OAuth endpoints, found out by its own
//! configuration: see `config/host_metadata.go` of databricks-sdk-go, and RFC 8414.
//!
//! It believes no host about another one, and sends nothing secret.

use std::time::Instant;

use serde::Deserialize;
use url::Url;

use super::OidcError;
use super::metadata::{Metadata, need_private, shown};
use crate::config::Issuer;
use crate::error::{ExitCode, Explain, printable};
use crate::http::{Client, Method, Request, Response};

/// The field of RFC 8414 that only a person's log-in uses.
const AUTHORIZATION: &str = "authorization_endpoint";

/// The endpoints of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Where tokens are asked for.
    pub token: Url,
    /// Where a browser logs in, as the host says it.
    authorization: Option<String>,
}

/// Why a host's endpoints are not known. `host` is a printable address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It answers, and not as Databricks does.
    #[error("`{host}` is no workspace or account of Databricks that knows OAuth")]
    NotDatabricks {
        /// The host.
        host: String,
        /// What it answered to the question for its authorization server.
        status: u16,
    },
    /// It cannot serve.
    #[error("`{host}` cannot serve at the moment (status {status})")]
    Down {
        /// The host.
        host: String,
        /// Its status code.
        status: u16,
    },
    /// It has endpoints for each account.
    #[error("`{host}` needs to know which account is meant")]
    AccountNeeded {
        /// The host.
        host: String,
    },
    /// It names another host for what is secret.
    #[error("refused to send {} to `{found}`", if *.field == AUTHORIZATION { "a person" } else { "a token" })]
    Elsewhere {
        /// The host of the settings.
        host: String,
        /// The field that names another.
        field: &'static str,
        /// What it names.
        found: String,
    },
}

impl Explain for HostError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotDatabricks { .. } => ExitCode::Unusable,
            Self::Down { .. } => ExitCode::Unreachable,
            Self::AccountNeeded { .. } => ExitCode::Usage,
            Self::Elsewhere { .. } => ExitCode::Withheld,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::NotDatabricks { status: 200, .. } => {
                Some("what it says of its authorization server names no `token_endpoint`".into())
            }
            Self::NotDatabricks { status, .. } => Some(format!(
                "it answers with status {status} where its authorization server should be described"
            )),
            Self::Down { .. } => None,
            Self::AccountNeeded { .. } => Some("its endpoints have the account in their path".into()),
            Self::Elsewhere { host, field, .. } => {
                Some(format!("`{host}` names it as its `{field}`, and the settings do not"))
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotDatabricks { .. } => {
                "check `host`: the address of the workspace, or of the account with `accountId`".into()
            }
            Self::Down { .. } => "try again in a minute".into(),
            Self::AccountNeeded { .. } => "set `accountId` in the source".into(),
            Self::Elsewhere { field, .. } if *field == AUTHORIZATION => {
                "check `host`: the host itself must be where people log in".into()
            }
            Self::Elsewhere { .. } => {
                "if tokens should go there, set `tokenEndpoint` in the source to it, or `host` where a person logs in"
                    .into()
            }
        })
    }
}

/// `/.well-known/databricks-config`; what else is in it is not used.
#[derive(Deserialize, Default)]
struct Configuration {
    oidc_endpoint: Option<String>,
    account_id: Option<String>,
}

/// RFC 8414; the issuer is not compared, as no token of it is verified by us.
#[derive(Deserialize)]
struct Server {
    token_endpoint: String,
    authorization_endpoint: Option<String>,
}

/// The metadata of a host where a person logs in. It offers less than an OpenID provider does: codes for
/// another device, a revocation and an end of its own session are not among what is documented.
///
/// # Errors
/// As [`endpoints`].
pub(super) async fn metadata(
    http: &Client,
    host: &Issuer,
    account: Option<&str>,
    deadline: Instant,
) -> Result<Metadata, OidcError> {
    let Endpoints { token, authorization } = endpoints(http, host.url(), account, deadline).await?;
    // Security: a person types a password there.
    let authorization =
        authorization.map(|found| same_host(host.url(), AUTHORIZATION, &found)).transpose()?;
    Ok(Metadata {
        issuer: host.clone(),
        authorization_endpoint: authorization,
        token_endpoint: token,
        device_authorization_endpoint: None,
        revocation_endpoint: None,
        end_session_endpoint: None,
        jwks_uri: None,
        token_endpoint_auth_methods: Vec::new(),
        scopes: None,
        names_issuer_in_answers: false,
    })
}

/// Asks the host. `account` is what the settings say of it.
///
/// # Errors
/// No answer, none of Databricks, or one that names another host.
pub async fn endpoints(
    http: &Client,
    host: &Url,
    account: Option<&str>,
    deadline: Instant,
) -> Result<Endpoints, OidcError> {
    let root = root(http, host, account, deadline).await?;
    let response = get(http, &below(&root, "/.well-known/oauth-authorization-server"), deadline).await?;
    let host_shown = shown(host);
    match response.status {
        200 => {
            let server: Server = serde_json::from_slice(&response.body)
                .map_err(|_| HostError::NotDatabricks { host: host_shown, status: 200 })?;
            let token = same_host(host, "token_endpoint", &server.token_endpoint)?;
            Ok(Endpoints { token, authorization: server.authorization_endpoint })
        }
        // Where both are documented to be.
        404 if account.is_some() => Ok(Endpoints {
            token: below(&root, "/v1/token"),
            authorization: Some(below(&root, "/v1/authorize").into()),
        }),
        status @ (429 | 500..) => Err(HostError::Down { host: host_shown, status }.into()),
        status => Err(HostError::NotDatabricks { host: host_shown, status }.into()),
    }
}

/// What the endpoints of the host lie beneath.
async fn root(http: &Client, host: &Url, account: Option<&str>, deadline: Instant) -> Result<Url, OidcError> {
    let response = get(http, &below(host, "/.well-known/databricks-config"), deadline).await?;
    // Hosts that are older than it have none.
    let configuration: Configuration = match response.status {
        200 => serde_json::from_slice(&response.body).unwrap_or_default(),
        status @ (429 | 500..) => return Err(HostError::Down { host: shown(host), status }.into()),
        _ => Configuration::default(),
    };
    let Some(endpoint) = configuration.oidc_endpoint.filter(|endpoint| !endpoint.is_empty()) else {
        return Ok(match account.filter(|_| is_account(host)) {
            Some(account) => below(host, &format!("/oidc/accounts/{account}")),
            None => below(host, "/oidc"),
        });
    };
    if !endpoint.contains("{account_id}") {
        return Ok(same_host(host, "oidc_endpoint", &endpoint)?);
    }
    let found = configuration.account_id.filter(|id| is_id(id));
    let account = account.map(str::to_owned).or(found);
    let account = account.ok_or_else(|| HostError::AccountNeeded { host: shown(host) })?;
    Ok(same_host(host, "oidc_endpoint", &endpoint.replace("{account_id}", &account))?)
}

/// The hosts of accounts in all three clouds.
fn is_account(host: &Url) -> bool {
    host.host_str().is_some_and(|name| name.starts_with("accounts.") || name.starts_with("accounts-"))
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Security: a token goes to the host that the settings name, whatever that host says of others.
fn same_host(host: &Url, field: &'static str, found: &str) -> Result<Url, HostError> {
    let elsewhere = |found: String| HostError::Elsewhere { host: shown(host), field, found };
    let url = Url::parse(found).map_err(|_| elsewhere(printable(found)))?;
    if url.origin() == host.origin() && url.fragment().is_none() && url.username().is_empty() {
        Ok(url)
    } else {
        Err(elsewhere(shown(&url)))
    }
}

fn below(root: &Url, path: &str) -> Url {
    let mut url = root.clone();
    url.set_query(None);
    url.set_path(&format!("{}{path}", root.path().trim_end_matches('/')));
    url
}

async fn get(http: &Client, url: &Url, deadline: Instant) -> Result<Response, OidcError> {
    // Security: whoever can change the answer chooses where the token goes.
    need_private(url)?;
    Ok(http.send(Request::new(Method::GET, url.clone(), deadline)).await?)
}
