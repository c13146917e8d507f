//! Databricks: a workspace's or an account's host, found out by its own configuration, and the two
//! grants that need no person: the exchange of a federated token, of a service principal where a
//! client id is given and of the whole account otherwise, and a service principal's secret.
//!
//! See "Authenticate access to Databricks using OAuth token federation" and, for the discovery,
//! `config/host_metadata.go` of databricks-sdk-go.

use serde::Deserialize;
use url::Url;

use super::{Exchange, ExchangeError, Given};
use crate::error::Error;
use crate::http::{Method, Request, Response};
use crate::oidc::metadata::shown;

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
}

pub(super) async fn given(exchange: &Exchange) -> Result<Given, Error> {
    let settings = &exchange.0.settings;
    let endpoint = match &settings.token_endpoint {
        Some(endpoint) => endpoint.clone(),
        None => endpoint(exchange).await?,
    };
    if settings.client_secret_file.is_some() {
        return exchange.with_secret(endpoint).await;
    }
    exchange.exchanged(endpoint).await
}

/// The token endpoint of the host.
async fn endpoint(exchange: &Exchange) -> Result<Url, Error> {
    let settings = &exchange.0.settings;
    let host = settings.host.as_ref().ok_or_else(|| Error::Fault("the exchange names no host".into()))?;
    let root = root(exchange, host).await?;
    let response = get(exchange, &below(&root, "/.well-known/oauth-authorization-server")).await?;
    match response.status {
        200 => {
            let server: Server = serde_json::from_slice(&response.body)
                .map_err(|_| ExchangeError::NotDatabricks { host: shown(host), status: 200 })?;
            Ok(same_host(host, "token_endpoint", &server.token_endpoint)?)
        }
        // Where it is documented to be.
        404 if settings.account_id.is_some() => Ok(below(&root, "/v1/token")),
        status @ (429 | 500..) => Err(ExchangeError::Down { host: shown(host), status }.into()),
        status => Err(ExchangeError::NotDatabricks { host: shown(host), status }.into()),
    }
}

/// What the OpenID endpoints of the host lie beneath.
async fn root(exchange: &Exchange, host: &Url) -> Result<Url, Error> {
    let settings = &exchange.0.settings;
    let response = get(exchange, &below(host, "/.well-known/databricks-config")).await?;
    // Hosts that are older than it have none.
    let configuration: Configuration = match response.status {
        200 => serde_json::from_slice(&response.body).unwrap_or_default(),
        status @ (429 | 500..) => return Err(ExchangeError::Down { host: shown(host), status }.into()),
        _ => Configuration::default(),
    };
    let account = settings.account_id.as_deref();
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
    let account = account.ok_or_else(|| ExchangeError::AccountNeeded { host: shown(host) })?;
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
fn same_host(host: &Url, field: &'static str, found: &str) -> Result<Url, ExchangeError> {
    let elsewhere = |found: String| ExchangeError::Elsewhither { host: shown(host), field, found };
    let url = Url::parse(found).map_err(|_| elsewhere(crate::error::printable(found)))?;
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

async fn get(exchange: &Exchange, url: &Url) -> Result<Response, Error> {
    // Security: whoever can change the answer chooses where the token goes.
    crate::oidc::metadata::need_private(url)
        .map_err(|cause| ExchangeError::Refused { preset: exchange.0.settings.preset, cause })?;
    let request = Request::new(Method::GET, url.clone(), exchange.0.deadline);
    let response = exchange.0.http.send(request).await;
    let preset = exchange.0.settings.preset;
    Ok(response.map_err(|cause| ExchangeError::Refused { preset, cause: cause.into() })?)
}
