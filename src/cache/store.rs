//! x
use std::sync::Arc;
use std::time::Duration;

use super::{About, Acquired, CacheKey, Kept};
use crate::error::Failure;
use crate::keystore::Place;
use crate::token::{Timestamp, Token};

/// Why something could not be kept. It never ends a call: the next one fetches again.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {}

/// Tokens and failures of the last seconds. With [`Tier::None`](crate::keystore::Tier) nothing is
/// ever found and nothing is written.
pub struct TokenStore {
    place: Arc<Place>,
}

impl TokenStore {
    /// The entries of this place.
    #[must_use]
    pub fn new(place: Arc<Place>) -> Self {
        Self { place }
    }
    /// The entry of this name, if there is one that opens. Takes no lock.
    #[must_use]
    pub fn load(&self, key: &CacheKey) -> Option<Kept> {
        todo!()
    }
    /// Keeps a token under this name, and forgets the failure there.
    pub fn store(&self, key: &CacheKey, token: &Token, about: &About, now: Timestamp) -> Result<(), CacheError> {
        todo!()
    }
    /// Removes the token (not the failure) of this name.
    pub fn remove(&self, key: &CacheKey) -> Result<(), CacheError> {
        todo!()
    }
    /// Takes the lock of this name, waiting so long; `waiting` is called once, after a second.
    pub fn lock(&self, key: &CacheKey, wait: Duration, waiting: &mut dyn FnMut()) -> Acquired {
        todo!()
    }
    /// The failure of a moment ago, while it counts.
    #[must_use]
    pub fn load_failure(&self, key: &CacheKey, now: Timestamp) -> Option<Failure> {
        todo!()
    }
    /// Keeps a failure: for 5 s, and twice as long each time it goes on, up to 60 s. Returns until when.
    pub fn store_failure(&self, key: &CacheKey, failure: &Failure, now: Timestamp) -> Result<Timestamp, CacheError> {
        todo!()
    }
    /// Forgets the failure of this name and how often it came.
    pub fn clear_failure(&self, key: &CacheKey) {
        todo!()
    }
    /// Moves an entry that was fetched before its cluster was known to the name with the cluster.
    /// `false`: there was none.
    pub fn adopt(&self, from: &CacheKey, to: &CacheKey, cluster_server: Option<&str>, now: Timestamp) -> Result<bool, CacheError> {
        todo!()
    }
    /// All entries that open, for `status` and `logout`.
    #[must_use]
    pub fn list(&self) -> Vec<(CacheKey, Kept)> {
        todo!()
    }
}
