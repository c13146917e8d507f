//! Provider sessions between two calls: beside Vault's, sealed and durable as they are. A refresh
//! token that is lost costs a person a log-in, and one that is spent twice the whole session. It never
//! speaks to a provider.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::seal::Kind;
use super::shelf::Shelf;
use super::{Acquired, CacheKey, KeyBuilder, Resealed};
use crate::keystore::Place;
use crate::oidc::{ProviderSession, ProviderSessionStore, Turn};
use crate::token::Timestamp;
use crate::vault::session::SessionKey;

/// Version of the fields below; a session of another version is not found.
const VERSION: u32 = 1;

/// Provider sessions in the folder `sessions` of the state folder.
pub struct ProviderSessions {
    shelf: Shelf,
    lock_wait: Duration,
    waiting: Box<dyn Fn() + Send + Sync>,
}

impl ProviderSessions {
    /// The sessions of this place. The refresh of another process is waited for so long; `waiting` is
    /// called once, after a second of it.
    #[must_use]
    pub fn new(place: &Arc<Place>, lock_wait: Duration, waiting: Box<dyn Fn() + Send + Sync>) -> Self {
        let folder = place.state_folder.as_ref().map(|folder| folder.join("sessions"));
        let shelf = Shelf::new(Arc::clone(place), folder, Kind::ProviderSession, true);
        Self { shelf, lock_wait, waiting }
    }

    /// Seals every session with the key of now; waits as for a lock of somebody else's.
    #[must_use]
    pub fn reseal(&self) -> Resealed {
        self.shelf.reseal(self.lock_wait)
    }
}

impl ProviderSessionStore for ProviderSessions {
    fn load(&self, key: &SessionKey) -> Option<ProviderSession> {
        let (found, session) = decode(&self.shelf.load(&name(key))?)?;
        (found == *key).then_some(session)
    }

    fn save(&self, key: &SessionKey, session: &ProviderSession) -> Result<(), String> {
        let content = encode(key, session).ok_or("it has no written form")?;
        self.shelf.store(&name(key), &content).map_err(|error| error.to_string())
    }

    fn remove(&self, key: &SessionKey) {
        let _ = self.shelf.remove(&name(key));
    }

    fn turn(&self, key: &SessionKey) -> Turn {
        match self.shelf.lock(&name(key), self.lock_wait, &mut || (self.waiting)()) {
            Acquired::Guard(guard) => Turn::Ours(Box::new(guard)),
            Acquired::Busy => Turn::Busy,
            Acquired::Unsupported(_) => Turn::Alone,
        }
    }
}

fn name(key: &SessionKey) -> CacheKey {
    KeyBuilder::new("provider session", 1).part("key", &key.0).finish()
}

/// All fields; the tokens are borrowed when written and owned when read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<S> {
    version: u32,
    key: String,
    access_token: Option<S>,
    access_expires_at: Option<Timestamp>,
    id_token: Option<S>,
    id_expires_at: Option<Timestamp>,
    refresh_token: Option<S>,
    obtained_at: Timestamp,
    subject: Option<String>,
    name: Option<String>,
    refreshes_id_token: bool,
}

/// Security: the only place where a provider's tokens go into an entry; what is returned is wiped when
/// it is dropped, and [`seal`](super::seal) closes it.
fn encode(key: &SessionKey, session: &ProviderSession) -> Option<Zeroizing<Vec<u8>>> {
    let tokens = [&session.access_token, &session.id_token, &session.refresh_token];
    let length: usize = tokens.into_iter().filter_map(|token| opened(token.as_ref())).map(str::len).sum();
    // Room enough that it does not grow: a vector that grows leaves copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(2 * length + 8 * 1024));
    let fields = Fields {
        version: VERSION,
        key: key.0.clone(),
        access_token: opened(session.access_token.as_ref()),
        access_expires_at: session.access_expires_at,
        id_token: opened(session.id_token.as_ref()),
        id_expires_at: session.id_expires_at,
        refresh_token: opened(session.refresh_token.as_ref()),
        obtained_at: session.obtained_at,
        subject: session.subject.clone(),
        name: session.name.clone(),
        refreshes_id_token: session.refreshes_id_token,
    };
    serde_json::to_writer(&mut *content, &fields).ok()?;
    Some(content)
}

fn opened(token: Option<&SecretString>) -> Option<&str> {
    let token = token?;
    Some(token.expose_secret())
}

fn decode(content: &[u8]) -> Option<(SessionKey, ProviderSession)> {
    let fields: Fields<String> = serde_json::from_slice(content).ok()?;
    if fields.version != VERSION {
        return None;
    }
    let session = ProviderSession {
        access_token: fields.access_token.map(SecretString::from),
        access_expires_at: fields.access_expires_at,
        id_token: fields.id_token.map(SecretString::from),
        id_expires_at: fields.id_expires_at,
        refresh_token: fields.refresh_token.map(SecretString::from),
        obtained_at: fields.obtained_at,
        subject: fields.subject,
        name: fields.name,
        refreshes_id_token: fields.refreshes_id_token,
    };
    Some((SessionKey(fields.key), session))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use tempfile::TempDir;

    use super::*;
    use crate::keystore::{SealingKey, Tier};

    fn sessions(folder: &TempDir, tier: Tier) -> ProviderSessions {
        let place = Place {
            tier,
            key: (tier == Tier::Keyring).then(|| SealingKey::from_bytes([7; 32])),
            cache_folder: None,
            state_folder: Some(folder.path().join("state")),
            reasons: Vec::new(),
            keyrings: None,
        };
        ProviderSessions::new(&Arc::new(place), Duration::ZERO, Box::new(|| {}))
    }

    fn key(name: &str) -> SessionKey {
        SessionKey(name.into())
    }

    fn session(refresh_token: Option<&str>) -> ProviderSession {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        ProviderSession {
            access_token: Some("s3cret-access".into()),
            access_expires_at: Some(now + TimeDelta::hours(1)),
            id_token: None,
            id_expires_at: None,
            refresh_token: refresh_token.map(SecretString::from),
            obtained_at: now,
            subject: Some("alice".into()),
            name: None,
            refreshes_id_token: true,
        }
    }

    fn bare(session: &ProviderSession) -> (Vec<Option<String>>, String) {
        let tokens = [&session.access_token, &session.id_token, &session.refresh_token];
        let tokens = tokens.map(|token| token.as_ref().map(|token| token.expose_secret().to_owned()));
        (tokens.to_vec(), format!("{session:?}"))
    }

    #[test]
    fn a_session_is_found_as_it_was_kept_and_under_its_key_alone() {
        for tier in [Tier::Keyring, Tier::Plain] {
            let folder = TempDir::new().unwrap();
            let sessions = sessions(&folder, tier);
            for kept in [session(Some("r")), session(None)] {
                sessions.save(&key("a"), &kept).unwrap();
                assert_eq!(bare(&sessions.load(&key("a")).unwrap()), bare(&kept));
            }
            assert!(sessions.load(&key("b")).is_none());
            sessions.remove(&key("a"));
            assert!(sessions.load(&key("a")).is_none());
        }
    }

    #[test]
    fn its_tokens_lie_sealed() {
        let folder = TempDir::new().unwrap();
        sessions(&folder, Tier::Keyring).save(&key("a"), &session(Some("s3cret-refresh"))).unwrap();
        for entry in std::fs::read_dir(folder.path().join("state/sessions")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(6).any(|part| part == b"s3cret"));
        }
        assert!(sessions(&folder, Tier::Plain).load(&key("a")).is_none());
    }

    #[test]
    fn one_has_the_turn() {
        let folder = TempDir::new().unwrap();
        let (one, other) = (sessions(&folder, Tier::Keyring), sessions(&folder, Tier::Keyring));
        let turn = one.turn(&key("a"));
        assert!(matches!(turn, Turn::Ours(_)) && matches!(other.turn(&key("a")), Turn::Busy));
        drop(turn);
        assert!(matches!(other.turn(&key("a")), Turn::Ours(_)));
        assert!(matches!(sessions(&folder, Tier::None).turn(&key("a")), Turn::Alone));
    }

    #[test]
    fn what_cannot_be_kept_is_told() {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("state"), "a file").unwrap();
        assert!(sessions(&folder, Tier::Keyring).save(&key("a"), &session(None)).is_err());
    }
}
