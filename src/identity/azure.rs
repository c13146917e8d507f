//! The token service of Azure Pipelines: a POST to the job's own address gives an ID token of the
//! pipeline, or of one of its service connections. See "Oidctoken - Create" in the REST reference of
//! Azure DevOps; the audience is always `api://AzureADTokenExchange`.

use super::error::{IdentityError, Provider};
use super::service::{Dialect, TokenService};
use crate::env::Env;
use crate::http::Method;

/// Where to ask.
pub(super) const URL: &str = "SYSTEM_OIDCREQUESTURI";
/// What to ask with.
pub(super) const TOKEN: &str = "SYSTEM_ACCESSTOKEN";

/// The service of the running job.
pub(super) fn service(
    who: &str,
    env: &Env,
    service_connection: Option<&str>,
) -> Result<TokenService, IdentityError> {
    let dialect = Dialect {
        provider: Provider::AzurePipelines,
        address: URL,
        token: TOKEN,
        method: Method::POST,
        accept: "application/json",
        missing: "it has no `oidcToken` that is text",
    };
    let mut query = vec![("api-version", "7.1")];
    query.extend(service_connection.map(|connection| ("serviceConnectionId", connection)));
    TokenService::new(who, env, dialect, &query)
}
