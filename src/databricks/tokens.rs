//! The token of a Databricks profile for a tool that asks now: one that the tool will not take for dead,
//! fetched once for all who ask at the same time, and renewed beside them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::TimeDelta;

use super::profiles::Asked;
use super::{Profiles, Workspace};
use crate::broker::{self, Wish};
use crate::config::Overrides;
use crate::desk::{self, Order};
use crate::env::Env;
use crate::error::{Calling, Error};
use crate::issue::{self, Conditions, Issued};
use crate::token::{State, Token};

/// The SDKs take a token for dead 40 seconds before its end (`Token.valid` in Python's `oauth.py`,
/// databricks-sdk 0.67.0 and 0.156.0), and need some seconds to use it.
pub const LEAST_LIFE: TimeDelta = TimeDelta::seconds(45);

/// How old a token may be for whoever wants a new one: of several programs that do at the same time,
/// one causes a fetch.
pub const NEW_ENOUGH: TimeDelta = TimeDelta::seconds(5);

/// The order for a profile of these settings.
#[must_use]
pub fn order(config: Option<&PathBuf>, profile: &str) -> Order {
    Order {
        config: config.cloned(),
        overrides: Overrides { profile: Some(profile.to_owned()), ..Overrides::default() },
        ..Order::default()
    }
}

/// Has tokens ready for as long as a process lives.
pub struct Tokens {
    env: Env,
    config: Option<PathBuf>,
    /// The one profile that is served, where not all are.
    only: Option<String>,
    conditions: Conditions,
    /// One who asks for a profile's token at a time; and that token, where it is kept nowhere else.
    profiles: Mutex<BTreeMap<String, Arc<Mutex<Option<Token>>>>>,
}

impl Tokens {
    /// For the profiles of these settings, or for this one of them.
    #[must_use]
    pub fn new(env: Env, config: Option<PathBuf>, only: Option<String>, conditions: Conditions) -> Self {
        Self { env, config, only, conditions, profiles: Mutex::default() }
    }

    /// The same for this profile alone.
    #[must_use]
    pub fn only(self, profile: String) -> Self {
        Self { only: Some(profile), ..self }
    }

    /// The profile that is meant. The settings are read anew, so that a change of them counts at once.
    ///
    /// # Errors
    /// Settings that cannot be used, or none or several profiles are meant.
    pub fn choose(&self, asked: &Asked) -> Result<Workspace, Error> {
        let profiles = Profiles::of(&desk::settings(&self.env, self.config.as_ref())?);
        let asked = Asked { profile: self.only.clone().or_else(|| asked.profile.clone()), ..asked.clone() };
        Ok(profiles.choose(&asked)?.clone())
    }

    /// Tells a verbose caller.
    pub(super) fn note(&self, line: &str) {
        (self.conditions.note)(line);
    }

    /// Its token. Waits where somebody else fetches it.
    ///
    /// # Errors
    /// What stands between the profile and a token.
    pub fn token(self: &Arc<Self>, workspace: &Workspace) -> Result<Token, Error> {
        let profile = workspace.profile.as_str();
        let kept = {
            let mut profiles = self.profiles.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(profiles.entry(profile.to_owned()).or_default())
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let now = (self.conditions.clock)();
        let is_good =
            |token: &&Token| token.state(now) == State::Valid && broker::lasts(token, LEAST_LIFE, now);
        if let Some(token) = kept.as_ref().filter(is_good) {
            return Ok(token.clone());
        }
        let order = order(self.config.as_ref(), profile);
        let conditions = Conditions { wish: Wish::Lasting(LEAST_LIFE), ..self.conditions.clone() };
        let issued = issue::token(&self.env, &order, &conditions, &mut Calling::default())?;
        let Issued { token, should_be_renewed, is_kept, invocation, .. } = issued;
        *kept = (!is_kept).then(|| token.clone());
        if should_be_renewed {
            let tokens = Arc::clone(self);
            std::thread::spawn(move || {
                if let Err(error) = issue::renew(&tokens.env, &order, &tokens.conditions, invocation) {
                    (tokens.conditions.note)(&format!("a renewal failed: {error}"));
                }
            });
        }
        Ok(token)
    }
}
