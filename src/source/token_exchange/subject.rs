//! A last look at the token that is handed over: what its issuer's server would refuse without a
//! reason is refused here with one. Nothing in it is believed.

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{ExchangeError, SubjectFlaw};
use crate::config::Preset;
use crate::error::printable;
use crate::oidc::metadata::shown;
use crate::source::vault_identity::algorithm;
use crate::token::{Claims, Timestamp};

/// What a token must still have before it that it is not dead when it arrives.
const LEAST_LIFE: TimeDelta = TimeDelta::seconds(30);

/// Refuses a subject token that cannot be exchanged. That it is a JWT and has not ended is what its
/// identity promises.
pub(super) fn check(
    token: &SecretString,
    preset: Preset,
    endpoint: &Url,
    now: Timestamp,
) -> Result<(), ExchangeError> {
    let refused = |flaw| Err(ExchangeError::Subject { endpoint: shown(endpoint), flaw });
    let text = token.expose_secret();
    let Some(algorithm) = algorithm(text) else { return refused(SubjectFlaw::NoHeader) };
    // Security: whoever takes an unsigned token takes anybody's.
    let is_accepted = match preset {
        // "OAuth token federation policy": RS256 and ES256.
        Preset::Databricks => matches!(algorithm.as_str(), "RS256" | "ES256"),
        _ => !algorithm.eq_ignore_ascii_case("none"),
    };
    if !is_accepted {
        let accepted = if preset == Preset::Databricks { Some("`RS256` or `ES256`") } else { None };
        return refused(SubjectFlaw::Algorithm { found: printable(&algorithm), accepted });
    }
    match Claims::read(text).and_then(|claims| claims.expires_at) {
        Some(end) if end < now + LEAST_LIFE => refused(SubjectFlaw::AlmostOver { end }),
        _ => Ok(()),
    }
}
