//! Vault sessions between two calls: the same sealed files as tokens, in the state folder, and
//! made durable where losing one costs a person a log-in. It never speaks to a Vault.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::Kind;
use super::shelf::{Shelf, not_encoded};
use super::{Acquired, CacheError, CacheKey, KeyBuilder, Resealed};
use crate::keystore::Place;
use crate::token::Timestamp;
use crate::vault::session::{Session, SessionKey, SessionStore};

/// Version of the fields below; a session of another version is not found.
const VERSION: u32 = 1;

/// Sessions in the folder `sessions` of the state folder.
pub struct Sessions {
    shelf: Shelf,
    lock_wait: Duration,
    waiting: Box<dyn Fn() + Send + Sync>,
}

impl Sessions {
    /// The sessions of this place. The log-in of another process is waited for so long; `waiting`
    /// is called once, after a second of it.
    #[must_use]
    pub fn new(place: &Arc<Place>, lock_wait: Duration, waiting: Box<dyn Fn() + Send + Sync>) -> Self {
        let folder = place.state_folder.as_ref().map(|folder| folder.join("sessions"));
        let shelf = Shelf::new(Arc::clone(place), folder, Kind::Session, true);
        Self { shelf, lock_wait, waiting }
    }

    /// For a log-in that can be made again with what is at hand, or not. Where it can, a session that a
    /// crash of the machine takes along is not worth the wait for a disk at each log-in.
    #[must_use]
    pub fn of_repeatable(mut self, is_repeatable: bool) -> Self {
        self.shelf.durable = !is_repeatable;
        self
    }

    /// Keeps a session of ours. One that was found lying (environment, token helper) belongs to
    /// somebody else's file and is not kept a second time.
    pub fn store(&self, key: &SessionKey, session: &Session) -> Result<(), CacheError> {
        if !session.ours {
            return Ok(());
        }
        let content = encode(key, session).ok_or_else(not_encoded)?;
        self.shelf.store(&name(key), &content)
    }

    /// All sessions that open, for `status` and `logout`; ended ones among them.
    #[must_use]
    pub fn list(&self) -> Vec<(SessionKey, Session)> {
        self.shelf.keys().iter().filter_map(|key| decode(&self.shelf.load(key)?)).collect()
    }

    /// Seals every session with the key of now; waits as for a lock of somebody else's.
    #[must_use]
    pub fn reseal(&self) -> Resealed {
        self.shelf.reseal(self.lock_wait)
    }
}

impl SessionStore for Sessions {
    fn load(&self, key: &SessionKey) -> Option<Session> {
        let (found, session) = decode(&self.shelf.load(&name(key))?)?;
        (found == *key).then_some(session)
    }

    fn save(&self, key: &SessionKey, session: &Session) {
        // The trait's promise: the next call logs in again.
        let _ = self.store(key, session);
    }

    fn remove(&self, key: &SessionKey) {
        let _ = self.shelf.remove(&name(key));
    }

    fn lock_at_once(&self, key: &SessionKey) -> Option<Box<dyn Send>> {
        match self.shelf.lock(&name(key), Duration::ZERO, &mut || ()) {
            Acquired::Guard(guard) => Some(Box::new(guard)),
            Acquired::Busy | Acquired::Unsupported(_) => None,
        }
    }

    fn lock(&self, key: &SessionKey) -> Option<Box<dyn Send>> {
        match self.shelf.lock(&name(key), self.lock_wait, &mut || (self.waiting)()) {
            Acquired::Guard(guard) => Some(Box::new(guard)),
            Acquired::Busy | Acquired::Unsupported(_) => None,
        }
    }
}

fn name(key: &SessionKey) -> CacheKey {
    KeyBuilder::new("session", 1).part("key", &key.0).finish()
}

/// All fields; the token is borrowed when written and owned when read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<S> {
    version: u32,
    key: String,
    token: S,
    accessor: Option<String>,
    method: String,
    obtained_at: Timestamp,
    expires_at: Option<Timestamp>,
    renewable: bool,
    subject: Option<String>,
}

/// Security: the only place where a session's token goes into an entry; what is returned is wiped
/// when it is dropped, and [`seal`](super::seal) closes it.
fn encode(key: &SessionKey, session: &Session) -> Option<Zeroizing<Vec<u8>>> {
    let token = session.token.expose_secret();
    // Room enough that it does not grow: a vector that grows leaves copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(token.len() + 8 * 1024));
    let fields = Fields {
        version: VERSION,
        key: key.0.clone(),
        token,
        accessor: session.accessor.clone(),
        method: session.method.clone(),
        obtained_at: session.obtained_at,
        expires_at: session.expires_at,
        renewable: session.renewable,
        subject: session.subject.clone(),
    };
    serde_json::to_writer(&mut *content, &fields).ok()?;
    Some(content)
}

pub(super) fn decode(content: &[u8]) -> Option<(SessionKey, Session)> {
    let fields: Fields<String> = serde_json::from_slice(content).ok()?;
    if fields.version != VERSION {
        return None;
    }
    let session = Session {
        token: SecretString::from(fields.token),
        accessor: fields.accessor,
        method: fields.method,
        obtained_at: fields.obtained_at,
        expires_at: fields.expires_at,
        renewable: fields.renewable,
        subject: fields.subject,
        ours: true,
    };
    Some((SessionKey(fields.key), session))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use chrono::{DateTime, TimeDelta};
    use proptest::option;
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;
    use crate::keystore::{SealingKey, Tier};

    fn now() -> Timestamp {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn sessions(folder: &TempDir, tier: Tier) -> Sessions {
        let sealed = matches!(tier, Tier::Keyring | Tier::KernelKeyring);
        let place = Place {
            tier,
            key: sealed.then(|| SealingKey::from_bytes([7; 32])),
            cache_folder: None,
            state_folder: Some(folder.path().join("state")),
            reasons: Vec::new(),
            keyrings: None,
        };
        Sessions::new(&Arc::new(place), Duration::ZERO, Box::new(|| {}))
    }

    fn key(name: &str) -> SessionKey {
        SessionKey(name.into())
    }

    fn session(token: &str) -> Session {
        Session {
            token: SecretString::from(token),
            accessor: Some("accessor".into()),
            method: "userpass".into(),
            obtained_at: now(),
            expires_at: Some(now() + TimeDelta::hours(1)),
            renewable: true,
            subject: None,
            ours: true,
        }
    }

    fn bare(session: &Session) -> impl PartialEq + std::fmt::Debug + use<> {
        let Session { token, accessor, method, obtained_at, expires_at, renewable, subject, ours } =
            session.clone();
        let token = token.expose_secret().to_owned();
        (token, accessor, method, obtained_at, expires_at, renewable, subject, ours)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn a_session_is_found_as_it_was_kept(
            name in ".*", token in ".+", accessor in option::of(".*"), method in ".*",
            until in option::of(0..253_402_300_799_i64), renewable: bool, subject in option::of(".*"),
        ) {
            let kept = Session {
                accessor, method, renewable, subject,
                expires_at: until.map(|seconds| DateTime::from_timestamp(seconds, 1).unwrap()),
                ..session(&token)
            };
            for tier in [Tier::Keyring, Tier::KernelKeyring, Tier::Plain] {
                let folder = TempDir::new().unwrap();
                let sessions = sessions(&folder, tier);
                sessions.store(&key(&name), &kept).unwrap();
                prop_assert_eq!(bare(&sessions.load(&key(&name)).unwrap()), bare(&kept));
                let other = key(&(name.clone() + "x"));
                prop_assert!(sessions.load(&other).is_none());
            }
        }
    }

    #[test]
    fn any_bytes_are_no_session() {
        assert!(decode(b"").is_none());
        let content = encode(&key("a"), &session("t")).unwrap();
        assert!(decode(&content).is_some());
        let later = String::from_utf8(content.to_vec()).unwrap().replace(r#""version":1"#, r#""version":2"#);
        assert!(decode(later.as_bytes()).is_none());
    }

    #[test]
    fn sessions_are_listed_replaced_and_removed() {
        let folder = TempDir::new().unwrap();
        let sessions = sessions(&folder, Tier::Keyring);
        assert!(sessions.list().is_empty());
        for (name, token) in [("../../a", "one"), ("b", "two"), ("b", "three")] {
            sessions.save(&key(name), &session(token));
        }
        let mut listed: Vec<_> =
            sessions.list().iter().map(|(key, session)| (key.0.clone(), bare(session))).collect();
        listed.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            listed,
            [("../../a".to_owned(), bare(&session("one"))), ("b".into(), bare(&session("three")))]
        );
        sessions.remove(&key("b"));
        assert!(sessions.load(&key("b")).is_none());
        assert_eq!(sessions.list().len(), 1);
    }

    #[test]
    fn what_was_found_lying_is_not_kept() {
        let folder = TempDir::new().unwrap();
        let sessions = sessions(&folder, Tier::Plain);
        sessions.save(&key("a"), &Session { ours: false, ..session("t") });
        assert!(sessions.load(&key("a")).is_none());
        assert!(!folder.path().join("state").exists());
    }

    #[test]
    fn a_session_is_never_read_as_plain_text_nor_written_so() {
        let folder = TempDir::new().unwrap();
        sessions(&folder, Tier::Keyring).save(&key("a"), &session("planted-session"));
        let path = folder.path().join(format!("state/sessions/{}.session", name(&key("a"))));
        assert!(!fs::read(&path).unwrap().windows(7).any(|part| part == b"planted"));
        sessions(&folder, Tier::Plain).save(&key("a"), &session("planted-session"));
        assert!(sessions(&folder, Tier::Keyring).load(&key("a")).is_none());
    }

    #[test]
    fn one_log_in_at_a_time() {
        let folder = TempDir::new().unwrap();
        let (one, other) = (sessions(&folder, Tier::Keyring), sessions(&folder, Tier::Keyring));
        let guard = one.lock(&key("a"));
        assert!(guard.is_some() && other.lock(&key("a")).is_none() && other.lock(&key("b")).is_some());
        drop(guard);
        assert!(other.lock(&key("a")).is_some());
    }

    #[test]
    fn without_a_place_there_is_no_session_and_no_lock() {
        let folder = TempDir::new().unwrap();
        let sessions = sessions(&folder, Tier::None);
        sessions.save(&key("a"), &session("t"));
        assert!(sessions.load(&key("a")).is_none() && sessions.lock(&key("a")).is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
