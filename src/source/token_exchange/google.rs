//! Google: the security token service of workload identity federation, and then, where the settings
//! name one, the service account that the federated identity may impersonate. See "Security Token
//! Service API: token" and "IAM Service Account Credentials API: generateAccessToken".

use reqwest::header::AUTHORIZATION;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::shape::Shape;
use super::{Exchange, ExchangeError, Given};
use crate::error::{Error, printable};
use crate::http::{Method, Request, Response};
use crate::oidc::metadata::shown;
use crate::source::field::SecretText;
use crate::token::{Bound, Limit, Minted};

const TOKENS: &str = "https://sts.googleapis.com";
const CREDENTIALS: &str = "https://iamcredentials.googleapis.com";

pub(super) async fn given(exchange: &Exchange) -> Result<Given, Error> {
    let settings = &exchange.parts.settings;
    let endpoint = match &settings.token_endpoint {
        Some(endpoint) => endpoint.clone(),
        None => at(settings.host.as_ref(), TOKENS, "/v1/token")?,
    };
    let federated = exchange.exchanged(endpoint).await?;
    match &settings.service_account {
        Some(account) => impersonated(exchange, account, federated).await,
        None => Ok(federated),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: SecretText,
    expire_time: String,
}

/// The service account's token; it may outlive the federated one that it was had with.
async fn impersonated(exchange: &Exchange, account: &str, federated: Given) -> Result<Given, Error> {
    let settings = &exchange.parts.settings;
    let path = format!("/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
    let url = at(settings.host.as_ref(), CREDENTIALS, &path)?;
    let scope = Shape::of(settings).scope(settings).unwrap_or_default();
    let scopes: Vec<&str> = scope.split(' ').collect();
    let body = json!({"scope": scopes}).to_string();
    let response = post(exchange, &url, &federated.minted.secret, body).await?;
    let (account, host) = (account.to_owned(), shown(&url));
    if response.status != 200 {
        let words = words(&response);
        return Err(ExchangeError::Impersonation { account, status: response.status, words }.into());
    }
    let unusable = |why: &str| ExchangeError::Answer { host: host.clone(), why: why.to_owned() };
    // Security: not the parser's words, which could quote the token.
    let answer: Impersonated = serde_json::from_slice(&response.body)
        .map_err(|_| unusable("it has no `accessToken` and `expireTime` that are text"))?;
    let end = chrono::DateTime::parse_from_rfc3339(&answer.expire_time)
        .map_err(|_| unusable("its `expireTime` is no time"))?;
    let minted = Minted {
        secret: answer.access_token.0,
        bounds: vec![Bound { by: Limit::ExpiresIn, at: end.to_utc() }],
        subject: Some(account),
        ..federated.minted
    };
    Ok(Given { endpoint: host, minted })
}

async fn post(
    exchange: &Exchange,
    url: &Url,
    bearer: &SecretString,
    body: String,
) -> Result<Response, ExchangeError> {
    let preset = exchange.parts.settings.preset;
    crate::oidc::metadata::need_private(url).map_err(|cause| ExchangeError::Refused { preset, cause })?;
    let refused = |cause: crate::http::HttpError| ExchangeError::Refused { preset, cause: cause.into() };
    let request = Request::new(Method::POST, url.clone(), exchange.parts.deadline)
        .secret_header(AUTHORIZATION, "Bearer ", bearer)
        .map_err(refused)?
        .body("application/json", Zeroizing::new(body.into_bytes()));
    exchange.parts.http.send(request).await.map_err(refused)
}

/// `error.message` of an error of Google's APIs.
fn words(response: &Response) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Status,
    }
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    let refusal: Refusal = serde_json::from_slice(&response.body).ok()?;
    Some(printable(&refusal.error.message))
}

/// A service at the host of the settings, else at Google's own.
fn at(host: Option<&Url>, own: &str, path: &str) -> Result<Url, Error> {
    let fault = |error| Error::Fault(format!("no address of Google: {error}"));
    let mut url = match host {
        Some(host) => host.clone(),
        None => Url::parse(own).map_err(fault)?,
    };
    url.set_path(&format!("{}{path}", url.path().trim_end_matches('/')));
    Ok(url)
}
