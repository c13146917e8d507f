//! What is asked of a provider before anybody logs in: what it says about itself, in the way of its kind.
//! Nothing secret is sent.

use std::time::Instant;

use super::metadata::Metadata;
use super::{OidcError, databricks};
use crate::config::{Provider, ProviderKind, TlsSettings, Transport};
use crate::http;

/// A client for this provider alone.
///
/// # Errors
/// A proxy or an authority that is none.
pub(super) fn http(provider: &Provider, transport: &Transport) -> Result<http::Client, OidcError> {
    let tls = TlsSettings {
        certificate_authorities: provider.certificate_authority.iter().cloned().collect(),
        ..TlsSettings::default()
    };
    Ok(http::Client::new(&tls, transport, None)?)
}

/// What the provider says about itself.
///
/// # Errors
/// It cannot be reached in time, or says what cannot be used.
pub(super) async fn metadata(
    http: &http::Client,
    provider: &Provider,
    deadline: Instant,
) -> Result<Metadata, OidcError> {
    match &provider.kind {
        ProviderKind::OpenId => Metadata::discover(http, &provider.issuer, deadline).await,
        ProviderKind::Databricks { account } => {
            databricks::metadata(http, &provider.issuer, account.as_deref(), deadline).await
        }
    }
}

/// Whether the provider answers and describes itself as a log-in needs it.
///
/// # Errors
/// Why a log-in would fail there.
pub async fn check(provider: &Provider, transport: &Transport, deadline: Instant) -> Result<(), OidcError> {
    metadata(&http(provider, transport)?, provider, deadline).await.map(|_| ())
}
