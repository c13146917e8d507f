//! The token service of GitHub Actions, and of Forgejo, which copies it: GitHub's "OpenID Connect
//! reference".

use super::error::{IdentityError, Provider};
use super::service::{Dialect, TokenService};
use crate::env::Env;
use crate::http::Method;

/// Where to ask.
pub(super) const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
/// What to ask with.
pub(super) const TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// The service of the running job.
pub(super) fn service(who: &str, env: &Env, audience: Option<&str>) -> Result<TokenService, IdentityError> {
    let dialect = Dialect {
        provider: Provider::Github,
        address: URL,
        token: TOKEN,
        method: Method::GET,
        accept: "application/json; api-version=2.0",
        missing: "it has no `value` that is text",
    };
    let query: Vec<_> = audience.map(|audience| ("audience", audience)).into_iter().collect();
    TokenService::new(who, env, dialect, &query)
}
