//! Microsoft Entra: a workload's own token in the place of the application's secret. See "Access token
//! request with a federated credential" in "OAuth 2.0 client credentials flow on the Microsoft
//! identity platform".

use std::time::{Duration, Instant};

use url::Url;

use super::error::aadsts;
use super::shape::Shape;
use super::{CLIENT_CREDENTIALS, Exchange, ExchangeError, Given, given as read, with_parameters};
use crate::config::ResultField;
use crate::error::Error;
use crate::oidc::token_endpoint::{ClientAuthentication, Form};

/// The public cloud's.
const AUTHORITY: &str = "https://login.microsoftonline.com/";

/// A new federated credential takes a while to reach all of the directory: these say so, or that it
/// was never made.
const MAY_LAG: [u32; 3] = [70_021, 700_213, 700_211];

/// How often it is asked again for that, with a second before the first, and twice as long each time.
const TRIES_MORE: u32 = 3;

pub(super) async fn given(exchange: &Exchange) -> Result<Given, Error> {
    let settings = &exchange.parts.settings;
    let endpoint = endpoint(exchange)?;
    if settings.client_secret_file.is_some() {
        return exchange.with_secret(endpoint).await;
    }
    let client_id = settings.client_id.clone();
    let assertion = exchange.subject(&endpoint).await?;
    let authentication = ClientAuthentication::Assertion { client_id, assertion };
    let scope = Shape::of(settings).scope(settings);
    let form = Form::of_grant(CLIENT_CREDENTIALS).optional("scope", scope.as_deref());
    let form = with_parameters(form, settings);
    let mut wait = Duration::from_secs(1);
    for _ in 0..TRIES_MORE {
        let asked_at = exchange.now();
        match exchange.ask(endpoint.clone(), &authentication, &form).await {
            Err(error) if may_lag(&error) && Instant::now() + wait < exchange.parts.deadline => {
                (exchange.parts.pause)(wait).await;
                wait *= 2;
            }
            answer => return read(&answer?, ResultField::AccessToken, true, asked_at),
        }
    }
    let asked_at = exchange.now();
    let answer = exchange.ask(endpoint, &authentication, &form).await?;
    read(&answer, ResultField::AccessToken, true, asked_at)
}

fn may_lag(error: &ExchangeError) -> bool {
    let ExchangeError::Refused { cause, .. } = error else { return false };
    aadsts(cause).is_some_and(|code| MAY_LAG.contains(&code))
}

fn endpoint(exchange: &Exchange) -> Result<Url, Error> {
    let settings = &exchange.parts.settings;
    if let Some(endpoint) = &settings.token_endpoint {
        return Ok(endpoint.clone());
    }
    let tenant = settings.tenant_id.as_deref().unwrap_or_default();
    let fault = |error| Error::Fault(format!("no address of Entra: {error}"));
    let mut url = match &settings.authority_host {
        Some(host) => host.clone(),
        None => Url::parse(AUTHORITY).map_err(fault)?,
    };
    // A tenant holds neither slash nor dots alone: it was checked with the settings, and the
    // environment's is checked by the same rule.
    url.set_path(&format!("{}/{tenant}/oauth2/v2.0/token", url.path().trim_end_matches('/')));
    Ok(url)
}
