//! x
use std::sync::Arc;
use std::time::Duration;

use crate::keystore::Place;
use crate::token::Timestamp;
use crate::vault::session::{Session, SessionKey, SessionStore};

/// Sessions, sealed, in the folder `sessions` of the state folder.
pub struct Sessions {
    place: Arc<Place>,
    clock: fn() -> Timestamp,
    lock_wait: Duration,
    waiting: Box<dyn Fn() + Send + Sync>,
}

impl Sessions {
    /// The sessions of this place. A log-in of another process is waited for so long; `waiting`
    /// is called after a second of it.
    #[must_use]
    pub fn new(
        place: Arc<Place>,
        clock: fn() -> Timestamp,
        lock_wait: Duration,
        waiting: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { place, clock, lock_wait, waiting }
    }
    /// All sessions that open, for `status` and `logout`.
    #[must_use]
    pub fn list(&self) -> Vec<(SessionKey, Session)> {
        todo!()
    }
}

impl SessionStore for Sessions {
    fn load(&self, key: &SessionKey) -> Option<Session> {
        todo!()
    }
    fn save(&self, key: &SessionKey, session: &Session) {
        todo!()
    }
    fn remove(&self, key: &SessionKey) {
        todo!()
    }
    fn lock(&self, key: &SessionKey) -> Option<Box<dyn Send>> {
        todo!()
    }
}
