//! Tokens by name, with their locks and the failures of the last seconds: what the broker and the
//! commands use. It decides nothing: whether a token is still good is the token's business.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::entry::{decode, encode};
use super::failure::KeptFailure;
use super::file::FolderError;
use super::seal::Kind;
use super::shelf::{Shelf, not_encoded};
use super::{About, Acquired, CacheKey, HandOuts, Kept, Resealed, hand_outs};
use crate::error::{ExitCode, Failure};
use crate::keystore::Place;
use crate::token::{Timestamp, Token};

/// Why something could not be kept or removed. It never ends a call that has its token: the next
/// one fetches again.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(FolderError),
    /// The file was not written; what was there before is still there.
    #[error("`{}` was not written: {source}", path.display())]
    NotWritten {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is still there.
    #[error("`{}` was not removed: {source}", path.display())]
    NotRemoved {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing can be sealed without it.
    #[error("the system has no randomness to give")]
    NoRandomness,
}

/// Tokens and failures of the last seconds. With [`Tier::None`](crate::keystore::Tier::None)
/// nothing is ever found and nothing is written.
pub struct TokenStore {
    tokens: Shelf,
    failures: Shelf,
}

impl TokenStore {
    /// The entries of this place.
    #[must_use]
    pub fn new(place: &Arc<Place>) -> Self {
        let shelf = |kind| Shelf::new(Arc::clone(place), place.cache_folder.clone(), kind, false);
        Self { tokens: shelf(Kind::Token), failures: shelf(Kind::Failure) }
    }

    /// The entry of this name, if there is one that opens. Takes no lock.
    #[must_use]
    pub fn load(&self, key: &CacheKey) -> Option<Kept> {
        decode(&self.tokens.load(key)?)
    }

    /// Keeps a token under this name, and forgets the failure there.
    pub fn store(&self, key: &CacheKey, token: &Token, about: &About) -> Result<(), CacheError> {
        self.tokens.store(key, &encode(token, about).ok_or_else(not_encoded)?)?;
        self.clear_failure(key);
        Ok(())
    }

    /// Removes the token of this name; `false` where there was none.
    pub fn remove(&self, key: &CacheKey) -> Result<bool, CacheError> {
        if let Some(folder) = self.tokens.folder() {
            hand_outs::forget(folder, key);
        }
        self.tokens.remove(key)
    }

    /// Removes the token of this name, and remembers who had it.
    pub fn discard(&self, key: &CacheKey) -> Result<bool, CacheError> {
        self.tokens.remove(key)
    }

    /// Who was handed the tokens of this name; `None` where nothing is kept.
    #[must_use]
    pub fn hand_outs(&self, key: &CacheKey) -> Option<HandOuts> {
        HandOuts::open(self.tokens.folder()?, key)
    }

    /// Takes the lock of this name, waiting for so long; `waiting` is called once, after a second.
    pub fn lock(&self, key: &CacheKey, wait: Duration, waiting: &mut dyn FnMut()) -> Acquired {
        self.tokens.lock(key, wait, waiting)
    }

    /// The failure of a moment ago, while it counts.
    #[must_use]
    pub fn load_failure(&self, key: &CacheKey, now: Timestamp) -> Option<KeptFailure> {
        self.kept_failure(key)?.current(now)
    }

    /// Keeps a failure: for 5 s, and twice as long each time it goes on, up to 60 s. Returns until
    /// when it counts.
    pub fn store_failure(
        &self,
        key: &CacheKey,
        failure: &Failure,
        caller: Option<String>,
        now: Timestamp,
    ) -> Result<Timestamp, CacheError> {
        let kept = KeptFailure::after(self.kept_failure(key), failure.clone(), caller, now);
        let content = Zeroizing::new(serde_json::to_vec(&kept).map_err(|_| not_encoded())?);
        self.failures.store(key, &content)?;
        Ok(kept.until())
    }

    /// Forgets the failure of this name and how often it came. One that cannot be removed ends by
    /// itself within a minute.
    pub fn clear_failure(&self, key: &CacheKey) {
        let _ = self.failures.remove(key);
    }

    /// Forgets the failures that a log-in mends, whosever they are: not all keys of a session are
    /// known, and the worst is that somebody asks once more.
    pub fn clear_log_in_failures(&self) {
        for key in self.failures.keys() {
            if self.kept_failure(&key).is_some_and(|kept| kept.failure.exit_code == ExitCode::LoginRequired) {
                self.clear_failure(&key);
            }
        }
    }

    fn kept_failure(&self, key: &CacheKey) -> Option<KeptFailure> {
        serde_json::from_slice(&self.failures.load(key)?).ok()
    }

    /// Moves a token that was fetched before its cluster was known to the name with the cluster.
    /// `false`: there was none. Whoever dies in between leaves the token under both names, never
    /// under neither.
    pub fn adopt(
        &self,
        from: &CacheKey,
        to: &CacheKey,
        cluster_server: Option<&str>,
    ) -> Result<bool, CacheError> {
        let Some(mut kept) = self.load(from) else { return Ok(false) };
        if let Some(server) = cluster_server {
            kept.about.cluster_server = Some(server.to_owned());
        }
        self.store(to, &kept.token, &kept.about)?;
        if from != to {
            self.remove(from)?;
        }
        Ok(true)
    }

    /// Seals every token with the key of now; waits for so long for each that somebody works on.
    #[must_use]
    pub fn reseal(&self, wait: Duration) -> Resealed {
        self.tokens.reseal(wait)
    }

    /// All entries that open, in the order of their names, for `status` and `logout`.
    #[must_use]
    pub fn list(&self) -> Vec<(CacheKey, Kept)> {
        self.tokens.keys().into_iter().filter_map(|key| Some((key, self.load(&key)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Seek as _, Write as _};
    use std::thread;

    use chrono::{DateTime, TimeDelta};
    use proptest::prelude::*;
    use secrecy::SecretString;
    use tempfile::TempDir;

    use super::*;
    use crate::cache::KeyBuilder;
    use crate::cache::entry::tests::{any_about, any_token, bare};
    use crate::keystore::{SealingKey, Tier};
    use crate::token::Limit;

    fn place(folder: &TempDir, tier: Tier) -> Arc<Place> {
        let sealed = matches!(tier, Tier::Keyring | Tier::KernelKeyring);
        Arc::new(Place {
            tier,
            key: sealed.then(|| SealingKey::from_bytes([7; 32])),
            cache_folder: Some(folder.path().join("cache")),
            state_folder: Some(folder.path().join("state")),
            reasons: Vec::new(),
            keyrings: None,
        })
    }

    fn key(name: &str) -> CacheKey {
        KeyBuilder::new("token", 1).part("name", name).finish()
    }

    fn now() -> Timestamp {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn token(secret: &str) -> Token {
        Token {
            secret: SecretString::from(secret),
            issued_at: now(),
            refresh_after: now() + TimeDelta::minutes(45),
            usable_until: now() + TimeDelta::hours(1),
            expires_at: None,
            limited_by: Limit::Assumed,
            subject: None,
            token_id: None,
            lease: None,
        }
    }

    fn failure_of(store: &TokenStore, key: &CacheKey, now: Timestamp) -> Option<Failure> {
        store.load_failure(key, now).map(|kept| kept.failure)
    }

    #[test]
    fn a_log_in_mends_the_failures_that_asked_for_one() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::new(&place(&folder, Tier::Plain));
        let asked = Failure { exit_code: ExitCode::LoginRequired, ..failure("log in") };
        store.store_failure(&key("a"), &asked, None, now()).unwrap();
        store.store_failure(&key("b"), &failure("no"), None, now()).unwrap();
        store.clear_log_in_failures();
        assert_eq!(failure_of(&store, &key("a"), now()), None);
        assert_eq!(failure_of(&store, &key("b"), now()), Some(failure("no")));
    }

    fn failure(what: &str) -> Failure {
        Failure { exit_code: ExitCode::Refused, what: what.into(), why: None, hint: None }
    }

    const KEEPING: [Tier; 3] = [Tier::Keyring, Tier::KernelKeyring, Tier::Plain];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn a_token_is_found_as_it_was_kept(token in any_token(), about in any_about()) {
            for tier in KEEPING {
                let folder = TempDir::new().unwrap();
                let store = TokenStore::new(&place(&folder, tier));
                store.store(&key("a"), &token, &about).unwrap();
                let kept = store.load(&key("a")).unwrap();
                prop_assert_eq!(bare(&kept.token), bare(&token));
                prop_assert_eq!(kept.about, about.clone());
                prop_assert!(store.load(&key("b")).is_none());
            }
        }
    }

    #[test]
    fn every_changed_byte_and_every_cut_of_the_file_is_a_miss() {
        for tier in KEEPING {
            let folder = TempDir::new().unwrap();
            let store = TokenStore::new(&place(&folder, tier));
            store.store(&key("a"), &token("secret"), &About::default()).unwrap();
            let path = folder.path().join(format!("cache/{}.token", key("a")));
            let whole = fs::read(&path).unwrap();
            // In place, so that modes and links stay as they are.
            let mut file = fs::File::options().write(true).open(&path).unwrap();
            let mut put = |at: usize, bytes: &[u8]| {
                file.seek(io::SeekFrom::Start(at as u64)).unwrap();
                file.write_all(bytes).unwrap();
            };
            for (at, byte) in whole.iter().enumerate() {
                put(at, &[byte.wrapping_add(1)]);
                assert!(store.load(&key("a")).is_none(), "{tier:?}: byte {at}");
                put(at, &[*byte]);
            }
            assert!(store.load(&key("a")).is_some());
            for length in (0..whole.len()).rev() {
                file.set_len(length as u64).unwrap();
                assert!(store.load(&key("a")).is_none(), "{tier:?}: cut to {length}");
            }
            fs::write(&path, &whole).unwrap();
            assert!(store.load(&key("a")).is_some());
            fs::rename(&path, folder.path().join(format!("cache/{}.token", key("b")))).unwrap();
            assert!(store.load(&key("b")).is_none(), "renamed");
        }
    }

    #[test]
    fn an_entry_of_another_tier_or_key_is_a_miss_and_is_replaced() {
        for before in KEEPING {
            for after in KEEPING.into_iter().filter(|after| *after != before) {
                let folder = TempDir::new().unwrap();
                let about = About::default();
                TokenStore::new(&place(&folder, before)).store(&key("a"), &token("old"), &about).unwrap();
                let store = TokenStore::new(&place(&folder, after));
                assert!(store.load(&key("a")).is_none() && store.list().is_empty());
                store.store(&key("a"), &token("new"), &about).unwrap();
                assert_eq!(bare(&store.load(&key("a")).unwrap().token), bare(&token("new")));
            }
        }
    }

    #[test]
    fn sealed_files_show_nothing_and_plain_ones_are_for_us_alone() {
        for tier in KEEPING {
            let folder = TempDir::new().unwrap();
            let store = TokenStore::new(&place(&folder, tier));
            store.store(&key("a"), &token("planted-token"), &About::default()).unwrap();
            store.store_failure(&key("a"), &failure("planted-failure"), None, now()).unwrap();
            for entry in fs::read_dir(folder.path().join("cache")).unwrap() {
                let path = entry.unwrap().path();
                let shows = fs::read(&path).unwrap().windows(7).any(|part| part == b"planted");
                assert_eq!(shows, tier == Tier::Plain);
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt as _;
                    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
                }
            }
        }
    }

    #[test]
    fn without_a_place_nothing_is_kept_and_nothing_fails() {
        let folder = TempDir::new().unwrap();
        let nowhere = [
            Arc::new(Place::nowhere(Vec::new())),
            place(&folder, Tier::None),
            Arc::new(Place { tier: Tier::Plain, ..Place::nowhere(Vec::new()) }),
        ];
        for place in nowhere {
            let store = TokenStore::new(&place);
            store.store(&key("a"), &token("x"), &About::default()).unwrap();
            assert!(store.load(&key("a")).is_none() && store.list().is_empty());
            assert!(!store.remove(&key("a")).unwrap());
            assert!(!store.adopt(&key("a"), &key("b"), None).unwrap());
            store.store_failure(&key("a"), &failure("no"), None, now()).unwrap();
            assert_eq!(failure_of(&store, &key("a"), now()), None);
            let acquired = store.lock(&key("a"), Duration::ZERO, &mut || {});
            assert!(matches!(acquired, Acquired::Unsupported(reason) if reason == "nothing is kept here"));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_failure_counts_until_its_end_or_a_token() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::new(&place(&folder, Tier::Keyring));
        let until = store.store_failure(&key("a"), &failure("first"), None, now()).unwrap();
        assert_eq!(until, now() + TimeDelta::seconds(5));
        assert_eq!(failure_of(&store, &key("a"), now()), Some(failure("first")));
        assert_eq!(failure_of(&store, &key("b"), now()), None, "each key has its own");
        assert_eq!(failure_of(&store, &key("a"), until), None);
        let next = store.store_failure(&key("a"), &failure("second"), None, until).unwrap();
        assert_eq!(next, until + TimeDelta::seconds(10), "it goes on");
        store.store(&key("a"), &token("x"), &About::default()).unwrap();
        assert_eq!(failure_of(&store, &key("a"), until), None, "a token ends it");
        let anew = store.store_failure(&key("a"), &failure("third"), None, next).unwrap();
        assert_eq!(anew, next + TimeDelta::seconds(5), "and the row");
        assert!(store.load(&key("a")).is_some(), "the token is still there for those who can use it");
    }

    #[test]
    fn removing_leaves_other_names() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::new(&place(&folder, Tier::Plain));
        for name in ["a", "b"] {
            store.store(&key(name), &token(name), &About::default()).unwrap();
        }
        assert!(store.remove(&key("a")).unwrap());
        assert!(!store.remove(&key("a")).unwrap());
        assert!(store.load(&key("a")).is_none());
        assert!(store.load(&key("b")).is_some());
    }

    #[test]
    fn an_adopted_token_has_one_name_and_its_cluster() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::new(&place(&folder, Tier::KernelKeyring));
        let about = About { profile: "prod".into(), ..About::default() };
        store.store(&key("from"), &token("x"), &about).unwrap();
        assert!(store.adopt(&key("from"), &key("to"), Some("https://prod.example")).unwrap());
        assert!(store.load(&key("from")).is_none());
        let kept = store.load(&key("to")).unwrap();
        assert_eq!(bare(&kept.token), bare(&token("x")));
        assert_eq!(kept.about, About { cluster_server: Some("https://prod.example".into()), ..about });
        assert!(!store.adopt(&key("from"), &key("to"), None).unwrap());
        assert!(store.adopt(&key("to"), &key("to"), None).unwrap(), "its own name loses nothing");
        assert!(store.load(&key("to")).is_some());
    }

    #[test]
    fn the_list_has_what_opens_and_nothing_else() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::new(&place(&folder, Tier::Keyring));
        assert!(store.list().is_empty());
        for name in ["a", "b"] {
            store.store(&key(name), &token(name), &About::default()).unwrap();
        }
        store.store_failure(&key("c"), &failure("no"), None, now()).unwrap();
        let cache = folder.path().join("cache");
        fs::write(cache.join(format!("{}.token", key("broken"))), b"x").unwrap();
        fs::write(cache.join("README.token"), b"x").unwrap();
        let mut expected = vec![key("a"), key("b")];
        expected.sort();
        assert_eq!(store.list().iter().map(|(key, _)| *key).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_cache_that_was_removed_comes_back() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::new(&place(&folder, Tier::Keyring));
        store.store(&key("a"), &token("x"), &About::default()).unwrap();
        let acquired = store.lock(&key("a"), Duration::ZERO, &mut || {});
        fs::remove_dir_all(folder.path().join("cache")).unwrap();
        assert!(store.load(&key("a")).is_none());
        store.store(&key("a"), &token("x"), &About::default()).unwrap();
        assert!(store.load(&key("a")).is_some());
        drop(acquired);
    }

    #[test]
    fn what_cannot_be_written_is_told_with_its_path() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::new(&place(&folder, Tier::Plain));
        let path = folder.path().join(format!("cache/{}.token", key("a")));
        fs::create_dir_all(&path).unwrap();
        let error = store.store(&key("a"), &token("x"), &About::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{}` was not written: Is a directory (os error 21)", path.display())
        );
        let error = store.remove(&key("a")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("`{}` was not removed: Is a directory (os error 21)", path.display())
        );
        fs::remove_dir_all(folder.path().join("cache")).unwrap();
        fs::write(folder.path().join("cache"), b"").unwrap();
        let error = store.store(&key("a"), &token("x"), &About::default()).unwrap_err();
        let cache = folder.path().join("cache");
        assert_eq!(error.to_string(), format!("`{}` is not a folder, or is a link", cache.display()));
        assert_eq!(CacheError::NoRandomness.to_string(), "the system has no randomness to give");
    }

    /// Readers beside writers: always one whole token, the old or the new one.
    #[test]
    fn a_reader_never_sees_half_an_entry() {
        let folder = TempDir::new().unwrap();
        let place = place(&folder, Tier::Keyring);
        let secrets = ["a".repeat(10), "b".repeat(5_000)];
        let tokens = secrets.each_ref().map(|secret| token(secret));
        let about = About::default();
        TokenStore::new(&place).store(&key("a"), &tokens[0], &about).unwrap();
        thread::scope(|scope| {
            for token in &tokens {
                scope.spawn(|| {
                    let store = TokenStore::new(&place);
                    for _ in 0..20 {
                        store.store(&key("a"), token, &about).unwrap();
                    }
                });
            }
            for _ in 0..2 {
                scope.spawn(|| {
                    let store = TokenStore::new(&place);
                    for _ in 0..200 {
                        let kept = bare(&store.load(&key("a")).unwrap().token);
                        assert!(tokens.iter().any(|token| bare(token) == kept));
                    }
                });
            }
        });
        assert_eq!(
            fs::read_dir(folder.path().join("cache")).unwrap().count(),
            1,
            "no temporary file is left"
        );
    }
}
