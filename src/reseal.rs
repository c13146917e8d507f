//! A new sealing key, and everything that is kept sealed with it. Nothing is lost: what is not sealed
//! anew opens by the key before, which stays beside the new one until the next time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::cache::{ProviderSessions, Sessions, TokenStore};
use crate::desk::{self, KEYRING_PATIENCE};
use crate::env::Env;
use crate::error::Error;
use crate::keystore::{Keystore, Tier};

/// What was sealed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// Where the new key is.
    pub store: Tier,
    /// Tokens that it seals.
    pub tokens: usize,
    /// Sessions that it seals.
    pub sessions: usize,
    /// What another process worked on all the time; the key before opens it.
    pub left: usize,
}

/// Makes the new key. `wait`: how long for an entry that another process works on.
///
/// # Errors
/// Settings that cannot be used, no sealed place, or a keyring that refuses.
pub fn run(env: &Env, config: Option<&PathBuf>, wait: Duration) -> Result<Outcome, Error> {
    let policy = desk::settings(env, config)?.store;
    let mut outcome = Outcome { store: Tier::None, tokens: 0, sessions: 0, left: 0 };
    Keystore::replace_key(policy, env, KEYRING_PATIENCE, &mut |place| {
        let place = Arc::new(place);
        let tokens = TokenStore::new(&place).reseal(wait);
        let of_vaults = Sessions::new(&place, wait, Box::new(|| ())).reseal();
        let of_providers = ProviderSessions::new(&place, wait, Box::new(|| ())).reseal();
        let left = [tokens.left, of_vaults.left, of_providers.left].concat();
        outcome = Outcome {
            store: place.tier,
            tokens: tokens.sealed,
            sessions: of_vaults.sealed + of_providers.sealed,
            left: left.len(),
        };
        left
    })?;
    Ok(outcome)
}
