//! Databricks: the two grants that need no person. A federated token is exchanged, for one of a
//! service principal where a client id is given and by the policies of the whole account otherwise; or
//! a service principal has a secret. See "Authenticate access to Databricks using OAuth token federation".

use super::{Exchange, ExchangeError, Given};
use crate::error::Error;
use crate::oidc::databricks;

pub(super) async fn given(exchange: &Exchange) -> Result<Given, Error> {
    let settings = &exchange.parts.settings;
    let endpoint = match (&settings.token_endpoint, &settings.host) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(host)) => {
            let (account, deadline) = (settings.account_id.as_deref(), exchange.parts.deadline);
            let found = databricks::endpoints(&exchange.parts.http, host, account, deadline).await;
            found.map_err(|cause| ExchangeError::Refused { preset: settings.preset, cause })?.token
        }
        (None, None) => return Err(Error::Fault("the exchange names no host".into())),
    };
    if settings.client_secret_file.is_some() {
        return exchange.with_secret(endpoint).await;
    }
    exchange.exchanged(endpoint).await
}
