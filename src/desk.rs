//! One call with everything in place: settings, the resolved request, the place where secrets rest,
//! and the keys. This is all that a hit needs; it opens no connection.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::{CacheKey, Kept, TokenStore};
use crate::cluster::Cluster;
use crate::config::{ClusterProfile, Overrides, Request, Settings, SettingsError, SettingsFiles};
use crate::env::Env;
use crate::error::{Calling, Error};
use crate::keys;
use crate::keystore::{Keystore, Place};
use crate::memory::MemoryFile;
use crate::scope::Scope;
use crate::vault::session::SessionKey;

/// How long a keyring of the system may take to answer.
pub const KEYRING_PATIENCE: Duration = Duration::from_secs(2);

/// What a command asks for.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// What flags say.
    pub overrides: Overrides,
    /// What the cluster extension says.
    pub extension: Option<ClusterProfile>,
    /// The cluster that the token is for, where it is known.
    pub cluster: Option<Cluster>,
}

/// A request with its place and its keys.
pub struct Desk {
    /// The environment it was made in.
    pub env: Env,
    /// What is asked for.
    pub request: Request,
    /// The cluster it is for.
    pub cluster: Option<Cluster>,
    /// Where secrets rest.
    pub place: Arc<Place>,
    /// Kept tokens.
    pub tokens: TokenStore,
    /// What the session is kept under that tokens are had by: the Vault's, else the provider's.
    pub session_key: Option<SessionKey>,
    /// What the token is kept under.
    pub key: CacheKey,
}

/// Loads the settings that count in this environment.
///
/// # Errors
/// Settings that cannot be read or understood.
pub fn settings(env: &Env, config: Option<&PathBuf>) -> Result<Settings, Error> {
    Ok(Settings::load(&SettingsFiles::of(env, config.map(PathBuf::as_path)))?)
}

impl Desk {
    /// Puts everything in place.
    ///
    /// # Errors
    /// Wrong settings, or no place that satisfies `store`.
    pub fn open(env: Env, order: &Order) -> Result<Self, Error> {
        let settings = Arc::new(settings(&env, order.config.as_ref())?);
        let request = Request::resolve(&settings, &env, &order.overrides, order.extension.as_ref())?;
        Self::of(env, request, order.cluster.clone())
    }

    /// The same for a command that acts for a person and not for a client, with the profile in its
    /// hints. Only what is the person's own counts: what is done with a token must find the very token
    /// that [`crate::issue`] kept, and a server that is asked to revoke it is sent a session.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for_person(env: &Env, order: &Order, calling: &mut Calling) -> Result<Self, Error> {
        let desk = Self::open(env.own(), order)?;
        calling.profile = desk.request.profile.as_ref().map(ToString::to_string);
        Ok(desk)
    }

    /// The kept tokens of the profile.
    #[must_use]
    pub fn kept_tokens(&self) -> Vec<(CacheKey, Kept)> {
        let mut kept = self.tokens.list();
        kept.retain(|(_, kept)| kept.about.profile == self.request.profile_label);
        kept
    }

    /// The same, and those of other profiles that hang on the same session.
    #[must_use]
    pub fn tokens_of_session(&self) -> Vec<(CacheKey, Kept)> {
        let session = self.session_key.as_ref().map(|key| &key.0);
        let mut kept = self.tokens.list();
        kept.retain(|(_, kept)| {
            kept.about.profile == self.request.profile_label
                || (session.is_some() && kept.about.session_key.as_ref() == session)
        });
        kept
    }

    /// The same for a log-in, which needs a Vault and no source.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_for_login(env: Env, order: &Order) -> Result<Self, Error> {
        let settings = Arc::new(settings(&env, order.config.as_ref())?);
        let request = match Request::resolve(&settings, &env, &order.overrides, order.extension.as_ref()) {
            Err(SettingsError::NoProfile | SettingsError::ProfileNeeded { .. }) => {
                Request::for_login(&settings, &env, &order.overrides)?
            }
            resolved => resolved?,
        };
        Self::of(env, request, order.cluster.clone())
    }

    /// The same for a request that is resolved already.
    ///
    /// # Errors
    /// No place that satisfies `store`.
    pub fn of(env: Env, request: Request, cluster: Option<Cluster>) -> Result<Self, Error> {
        let place = Arc::new(Keystore::open(request.store, &env, KEYRING_PATIENCE)?);
        let session_key = match &request.vault {
            Some(vault) => Some(keys::session_key(vault, &request, &env)),
            None => request.provider().map(|(_, provider)| keys::provider_key(provider)),
        };
        let key = keys::token_key(&request, session_key.as_ref(), cluster.as_ref(), &env);
        let tokens = TokenStore::new(&place);
        Ok(Self { env, request, cluster, place, tokens, session_key, key })
    }

    /// The key of the same token before its cluster was known: `login` may have fetched it.
    #[must_use]
    pub fn unbound_key(&self) -> Option<CacheKey> {
        self.cluster.as_ref()?;
        Some(keys::token_key(&self.request, self.session_key.as_ref(), None, &self.env))
    }

    /// Whose clusters its tokens may go to.
    ///
    /// # Errors
    /// A pin whose CA cannot be read.
    pub fn scope(&self) -> Result<Scope, Error> {
        Ok(Scope::of(&self.request, &self.env)?)
    }

    /// Takes the profile's own cluster where none was named and there is just one: what a person
    /// fetches by name is then what `kubectl` finds.
    ///
    /// # Errors
    /// A pin whose CA cannot be read, or a memory that cannot.
    pub fn bind_to_known(&mut self) -> Result<(), Error> {
        if self.cluster.is_some() {
            return Ok(());
        }
        if let Some(only) = self.scope()?.only_cluster(&self.memory().read()?) {
            self.cluster = Some(Cluster::of_known(&only));
            self.key =
                keys::token_key(&self.request, self.session_key.as_ref(), self.cluster.as_ref(), &self.env);
        }
        Ok(())
    }

    /// What is remembered about clusters and Vaults.
    #[must_use]
    pub fn memory(&self) -> MemoryFile {
        MemoryFile::beneath(self.env.state_folder().as_deref())
    }
}
