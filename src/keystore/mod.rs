//! Where the key rests that seals what is kept, and in which folders the sealed things go: the
//! keyring of the system, the kernel's keyring, plain files on a tmpfs, or nowhere.
//!
//! It owns the order of these places and the reasons why a better one was not had. It never asks
//! a person anything, and reads no environment but the one it is given.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cache::Left;
use crate::cache::file::Folder;
use crate::cache::lock::{self, Acquired};
use crate::config::Store;
use crate::env::Env;

mod error;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod memory;
mod rotation;
mod system;

pub use error::{StoreError, Unreplaced};
pub use rotation::Keyrings;

/// Under which name the key is kept in every keyring; `VAULTTOKEN_KEYRING_SERVICE` overrides it,
/// so that a test, or a second installation, has a key of its own. Otherwise a user has one key,
/// whatever `HOME` is: the kernel counts keys per user, and sharing one tells nobody anything.
const SERVICE: &str = "kubectl-vaulttoken";

/// The key that seals entries. It has no `Debug`, and is wiped when it is dropped.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// A key that somebody keeps.
    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key itself: for the cipher and for keyrings, nobody else.
    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// A new key; `None` where the system has no randomness to give.
    fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *bytes).ok()?;
        Some(Self(bytes))
    }

    /// As keyrings keep it: Base64, as some take nothing but text.
    fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.expose()))
    }

    /// Reads what a keyring gave back: Base64, or the bytes themselves.
    fn parse(secret: &[u8]) -> Option<Self> {
        if let Ok(bytes) = <[u8; 32]>::try_from(secret) {
            return Some(Self::from_bytes(bytes));
        }
        let bytes = Zeroizing::new(STANDARD.decode(secret.trim_ascii()).ok()?);
        <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Self::from_bytes)
    }
}

/// How well what is kept is guarded. `status` shows these names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Tier {
    /// Sealed; the key is in the keyring of the system.
    Keyring,
    /// Sealed; the key is in the kernel's keyring alone, and gone when the machine stops.
    KernelKeyring,
    /// Files that only their modes guard.
    Plain,
    /// Nothing is kept.
    None,
}

/// Where secrets rest, for the length of one call.
pub struct Place {
    /// How well they are guarded.
    pub tier: Tier,
    /// The key that seals them, in the two sealed tiers.
    pub key: Option<SealingKey>,
    /// Folder of tokens and failures. Not created yet, in some cases.
    pub cache_folder: Option<PathBuf>,
    /// Folder beneath which sessions are kept (`sessions/`). Other state, which is no secret,
    /// belongs in [`Env::state_folder`].
    pub state_folder: Option<PathBuf>,
    /// Why better tiers or folders were not had, best first; `status` and `doctor` say it.
    pub reasons: Vec<String>,
    /// Where the key was found, in the two sealed tiers.
    pub keyrings: Option<Keyrings>,
}

impl Place {
    /// The place that keeps nothing.
    #[must_use]
    pub fn nowhere(reasons: Vec<String>) -> Self {
        Self { tier: Tier::None, key: None, cache_folder: None, state_folder: None, reasons, keyrings: None }
    }

    /// The other keys that may open what ours does not: of before and, where somebody made a new one
    /// while we run, of now.
    pub(crate) fn other_keys(&self) -> Vec<SealingKey> {
        match (&self.keyrings, &self.key) {
            (Some(keyrings), Some(key)) => keyrings.others(key),
            _ => Vec::new(),
        }
    }
}

/// The keyrings of this user.
pub struct Keystore;

impl Keystore {
    /// Finds the place that `policy` asks for. Where the kernel's keyring has the key this takes
    /// no lock, no thread and no D-Bus; a keyring of the system that does not answer costs
    /// `patience` (two seconds are plenty), once.
    pub fn open(policy: Store, env: &Env, patience: Duration) -> Result<Place, StoreError> {
        match policy {
            Store::Auto => Ok(Self::automatic(env, patience)),
            Store::Sealed => {
                let mut reasons = Vec::new();
                let Some(Found { tier, key, keyrings }) = sealing_key(env, patience, &mut reasons) else {
                    return Err(StoreError::NoKeyring { reasons });
                };
                let Some((cache_folder, state_folder)) = folders(env, &mut reasons) else {
                    return Err(StoreError::NoFolder { store: "sealed", reasons });
                };
                let (key, keyrings) = (Some(key), Some(keyrings));
                Ok(Place { tier, key, cache_folder, state_folder, reasons, keyrings })
            }
            Store::Plain => {
                let (cache_folder, state_folder) = (env.cache_folder(), env.state_folder());
                if cache_folder.is_none() && state_folder.is_none() {
                    return Err(StoreError::NoFolder { store: "plain", reasons: vec![NO_HOME.into()] });
                }
                let place = Place::nowhere(Vec::new());
                Ok(Place { tier: Tier::Plain, cache_folder, state_folder, ..place })
            }
            Store::None => Ok(Place::nowhere(Vec::new())),
        }
    }

    /// What the keyring of the system says now, whatever the kernel's has: for `doctor`. `true`: it
    /// has our key; `false`: it would take one.
    pub fn ask_system(env: &Env, patience: Duration) -> Result<bool, String> {
        system::read(service(env), env, patience).map(|key| key.is_some())
    }

    fn automatic(env: &Env, patience: Duration) -> Place {
        let mut reasons = Vec::new();
        if let Some(Found { tier, key, keyrings }) = sealing_key(env, patience, &mut reasons) {
            return match folders(env, &mut reasons) {
                Some((cache_folder, state_folder)) => {
                    let (key, keyrings) = (Some(key), Some(keyrings));
                    Place { tier, key, cache_folder, state_folder, reasons, keyrings }
                }
                None => Place::nowhere(reasons),
            };
        }
        match in_memory(env, &mut reasons) {
            Some(folder) => Place {
                tier: Tier::Plain,
                cache_folder: Some(folder.clone()),
                state_folder: Some(folder),
                ..Place::nowhere(reasons)
            },
            None => Place::nowhere(reasons),
        }
    }

    /// Replaces the key of a place by a new one; the one before stays beside it. `reseal` is called
    /// before and after, to seal anew what an older key sealed, and says what it left.
    ///
    /// # Errors
    /// Nothing is sealed there, another process does the same, a keyring refuses, or something would
    /// be lost with the key before the present one. The place is as it was, or has its new key.
    pub fn replace_key(
        policy: Store,
        env: &Env,
        patience: Duration,
        reseal: &mut dyn FnMut(Place) -> Vec<Left>,
    ) -> Result<(), StoreError> {
        let Place { tier, key, reasons, .. } = Self::open(policy, env, patience)?;
        if key.is_none() {
            return Err(StoreError::NotSealed { reasons });
        }
        let not_replaced = |why| StoreError::NotReplaced { why };
        let refused = |why: String| not_replaced(Unreplaced::Keyring(why));
        // Of two at once one would put the key before the last into nobody's place.
        let _lock = match creation_lock(env, patience) {
            Some(Acquired::Guard(guard)) => guard,
            Some(Acquired::Unsupported(why)) => return Err(not_replaced(Unreplaced::NoLock(why))),
            Some(Acquired::Busy) => return Err(not_replaced(Unreplaced::Busy)),
            None => return Err(not_replaced(Unreplaced::NoLock("there is no folder for a lock".into()))),
        };
        let new = SealingKey::generate().ok_or_else(|| not_replaced(Unreplaced::NoRandomness))?;
        // Each of the two steps puts another key over the one before, so nothing may still need that.
        nothing_left(&reseal(Self::open(policy, env, patience)?)).map_err(not_replaced)?;
        if tier == Tier::Keyring {
            rotation::settle(env, patience).map_err(refused)?;
            nothing_left(&reseal(Self::open(policy, env, patience)?)).map_err(not_replaced)?;
        }
        rotation::replace(tier, &new, env, patience).map_err(refused)?;
        reseal(Self::open(policy, env, patience)?);
        Ok(())
    }
}

fn nothing_left(left: &[Left]) -> Result<(), Unreplaced> {
    let refusal = left.iter().find_map(|left| match left {
        Left::Refused(why) => Some(why.clone()),
        Left::InUse => None,
    });
    match (left.len(), refusal) {
        (0, _) => Ok(()),
        (entries, None) => Err(Unreplaced::InUse { entries }),
        (entries, Some(why)) => Err(Unreplaced::Stuck { entries, why }),
    }
}

const NO_HOME: &str = "the environment names no home directory";

/// Folders of cache and state.
type Folders = (Option<PathBuf>, Option<PathBuf>);

/// The folders for sealed things: the usual ones, or where those cannot be used (no home, a
/// read-only file system) one in memory.
fn folders(env: &Env, reasons: &mut Vec<String>) -> Option<Folders> {
    let reason = match env.cache_folder().map(|path| Folder::create(&path)) {
        Some(Ok(_)) => return Some((env.cache_folder(), env.state_folder())),
        Some(Err(error)) => error.to_string(),
        None => NO_HOME.into(),
    };
    reasons.push(format!("cache folder: {reason}"));
    let folder = in_memory(env, reasons)?;
    Some((Some(folder.clone()), Some(folder)))
}

#[cfg(target_os = "linux")]
fn in_memory(env: &Env, reasons: &mut Vec<String>) -> Option<PathBuf> {
    memory::folder(env).map_err(|why| reasons.extend(why.iter().map(|why| format!("memory: {why}")))).ok()
}

/// Only Linux is known to have folders in memory.
#[cfg(not(target_os = "linux"))]
fn in_memory(_env: &Env, _reasons: &mut Vec<String>) -> Option<PathBuf> {
    None
}

fn service(env: &Env) -> &str {
    env.filled("VAULTTOKEN_KEYRING_SERVICE").unwrap_or(SERVICE)
}

/// A key, and where it was found.
struct Found {
    tier: Tier,
    key: SealingKey,
    keyrings: Keyrings,
}

/// The key: the kernel's copy, else that of the system's keyring, else one in the kernel alone.
#[cfg(target_os = "linux")]
fn sealing_key(env: &Env, patience: Duration, reasons: &mut Vec<String>) -> Option<Found> {
    use kernel::Origin;

    let name = service(env);
    let kept = |found: Option<(Origin, SealingKey)>| {
        found.map(|(origin, key)| {
            let tier = match origin {
                Origin::System => Tier::Keyring,
                Origin::Alone => Tier::KernelKeyring,
            };
            Found { tier, key, keyrings: Keyrings::of_kernel(name) }
        })
    };
    let in_kernel = kernel::read(name);
    let kernel_refuses = in_kernel.as_ref().err().map(|why| format!("kernel keyring: {why}"));
    if let Some(found) = kept(in_kernel.ok().flatten()) {
        if found.tier == Tier::KernelKeyring {
            reasons.push("system keyring: it could not be used when the key was made".into());
        }
        return Some(found);
    }
    // Without the copy every call asks the system's keyring: slower, not worse.
    let found = match &kernel_refuses {
        None => copy_of_system(name, env, patience),
        Some(why) => from_system(name, env, patience).map(|key| (Origin::System, key, Err(why.clone()))),
    };
    match found {
        Ok((origin, key, copied)) => {
            let found = kept(Some((origin, key)))?;
            let keyrings = match &copied {
                Ok(()) => found.keyrings,
                Err(_) => Keyrings::of_system(name, env, patience),
            };
            reasons.extend(copied.err());
            return Some(Found { keyrings, ..found });
        }
        Err(why) => reasons.push(format!("system keyring: {why}")),
    }
    if let Some(why) = kernel_refuses {
        reasons.push(why);
        return None;
    }
    let _lock = creation_lock(env, patience);
    let created = kernel::read(name).and_then(|found| {
        if found.is_some() {
            return Ok(found);
        }
        let key = SealingKey::generate().ok_or("the system has no randomness to give")?;
        kernel::write(name, Origin::Alone, &key)?;
        // Another home's process may have been quicker without our lock: the kernel decides.
        kernel::read(name)
    });
    match created {
        Ok(Some(found)) => kept(Some(found)),
        Ok(None) => {
            reasons.push("kernel keyring: it did not keep the key".into());
            None
        }
        Err(why) => {
            reasons.push(format!("kernel keyring: {why}"));
            None
        }
    }
}

/// The key: that of the system's keyring.
#[cfg(not(target_os = "linux"))]
fn sealing_key(env: &Env, patience: Duration, reasons: &mut Vec<String>) -> Option<Found> {
    let name = service(env);
    match from_system(name, env, patience) {
        Ok(key) => {
            let keyrings = Keyrings::of_system(name, env, patience);
            Some(Found { tier: Tier::Keyring, key, keyrings })
        }
        Err(why) => {
            reasons.push(format!("system keyring: {why}"));
            None
        }
    }
}

/// The key of the system's keyring, and whether the kernel has a copy of it now.
#[cfg(target_os = "linux")]
type Copied = (kernel::Origin, SealingKey, Result<(), String>);

/// Copies the key of the system's keyring, and the one before it, into the kernel's.
#[cfg(target_os = "linux")]
fn copy_of_system(name: &str, env: &Env, patience: Duration) -> Result<Copied, String> {
    use kernel::Origin;

    // One that does not answer is found out without the lock: others need not wait for us, too.
    system::read(name, env, patience)?;
    let lock = creation_lock(env, patience);
    let in_words = |why: String| format!("kernel keyring: {why}");
    if let Ok(Some((origin, key))) = kernel::read(name) {
        return Ok((origin, key, Ok(())));
    }
    // What was read before the lock may be the key before by now.
    let key = system::create(name, env, patience)?;
    if matches!(lock, Some(Acquired::Busy)) {
        // Whoever has it may be replacing the key, and a copy of the old one would hide the new one.
        return Ok((Origin::System, key, Err(in_words("another process makes a key at this moment".into()))));
    }
    rotation::copy_previous(name, env, patience);
    let copied = kernel::write(name, Origin::System, &key).map_err(in_words);
    Ok((Origin::System, key, copied))
}

fn from_system(name: &str, env: &Env, patience: Duration) -> Result<SealingKey, String> {
    if let Some(key) = system::read(name, env, patience)? {
        return Ok(key);
    }
    let _lock = creation_lock(env, patience);
    system::create(name, env, patience)
}

/// Held while a key is created, so that two processes do not seal with two keys. Where it cannot
/// be had, the worst is that one of them wrote an entry that nobody can open.
fn creation_lock(env: &Env, patience: Duration) -> Option<Acquired> {
    let folder = Folder::create(&env.cache_folder().or_else(|| env.state_folder())?).ok()?;
    Some(lock::acquire(&folder, "keystore.lock", patience, &mut || {}))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::error::{ExitCode, Explain as _};

    const PATIENCE: Duration = Duration::from_secs(2);

    /// An environment with a home of its own and a key of its own, and without a session bus.
    struct Home {
        folder: TempDir,
        service: String,
    }

    impl Home {
        fn new(test: &str) -> Self {
            let service = format!("vaulttoken-test-{}-{test}", std::process::id());
            Self { folder: TempDir::new().unwrap(), service }
        }

        fn env(&self, further: &[(&str, &str)]) -> Env {
            let home = self.folder.path().to_str().unwrap();
            let own = [("HOME", home), ("VAULTTOKEN_KEYRING_SERVICE", &self.service)];
            Env::of(own.iter().chain(further).map(|(name, value)| ((*name).into(), (*value).into())))
        }
    }

    #[cfg(target_os = "linux")]
    impl Drop for Home {
        fn drop(&mut self) {
            kernel::remove(&rotation::previous(&self.service));
            kernel::remove(&self.service);
        }
    }

    fn open(policy: Store, env: &Env) -> Place {
        Keystore::open(policy, env, PATIENCE).unwrap_or_else(|error| panic!("{error}"))
    }

    fn refusal(policy: Store, env: &Env) -> StoreError {
        let Err(error) = Keystore::open(policy, env, PATIENCE) else { panic!("there is a place") };
        error
    }

    #[test]
    fn the_names_that_status_shows() {
        let names = [Tier::Keyring, Tier::KernelKeyring, Tier::Plain, Tier::None];
        assert_eq!(serde_json::to_string(&names).unwrap(), r#"["keyring","kernelKeyring","plain","none"]"#);
    }

    #[test]
    fn what_a_person_reads_when_there_is_no_place() {
        let reasons = vec!["system keyring: it is locked".to_owned(), "kernel keyring: not permitted".into()];
        let error = StoreError::NoKeyring { reasons: reasons.clone() };
        assert_eq!(error.to_string(), "`store: sealed` needs a keyring, and none can be used");
        assert_eq!(error.why().unwrap(), "system keyring: it is locked; kernel keyring: not permitted");
        assert_eq!(
            error.hint().unwrap(),
            "unlock the keyring of this session, or allow less with `store: auto` in the settings file"
        );
        assert_eq!(error.exit_code(), ExitCode::NoStore);
        let error = StoreError::NoFolder { store: "plain", reasons };
        assert_eq!(error.to_string(), "`store: plain` needs a folder for what it keeps, and there is none");
        assert_eq!(
            error.hint().unwrap(),
            "set `HOME`, or `VAULTTOKEN_CACHE_DIR` and `VAULTTOKEN_STATE_DIR`, to folders of this user"
        );
        assert_eq!(error.exit_code(), ExitCode::NoStore);
    }

    #[test]
    fn a_key_is_read_as_text_or_bytes_and_nothing_else() {
        let key = SealingKey::from_bytes([200; 32]);
        let text = key.to_text();
        let read = |secret: &[u8]| SealingKey::parse(secret).map(|key| *key.expose());
        assert_eq!(read(text.as_bytes()), Some([200; 32]));
        assert_eq!(read(format!(" {}\n", text.as_str()).as_bytes()), Some([200; 32]));
        assert_eq!(read(&[200; 32]), Some([200; 32]));
        for other in [&b""[..], b"c2hvcnQ=", b"not base64 at all", &[200; 31], &[200; 33], &[b'A'; 88]] {
            assert_eq!(read(other), None);
        }
        assert_ne!(SealingKey::generate().unwrap().expose(), SealingKey::generate().unwrap().expose());
    }

    #[test]
    fn plain_is_the_usual_folders_wherever_they_are() {
        let home = Home::new("plain");
        let place = open(Store::Plain, &home.env(&[("VAULTTOKEN_CACHE_DIR", "/some/cache")]));
        assert_eq!(place.tier, Tier::Plain);
        assert!(place.key.is_none() && place.reasons.is_empty());
        assert_eq!(place.cache_folder.unwrap(), PathBuf::from("/some/cache"));
        assert_eq!(place.state_folder.unwrap(), home.folder.path().join(".local/state/vaulttoken"));
        let error = refusal(Store::Plain, &Env::of([]));
        assert_eq!(error.why().unwrap(), "the environment names no home directory");
        assert!(matches!(error, StoreError::NoFolder { store: "plain", .. }));
    }

    #[test]
    fn none_keeps_nothing() {
        let home = Home::new("none");
        let place = open(Store::None, &home.env(&[]));
        assert_eq!(place.tier, Tier::None);
        assert!(place.key.is_none() && place.cache_folder.is_none() && place.state_folder.is_none());
        assert_eq!(std::fs::read_dir(home.folder.path()).unwrap().count(), 0);
    }

    #[cfg(target_os = "linux")]
    mod on_linux {
        use std::sync::Arc;

        use super::*;
        use crate::cache::{About, KeyBuilder, Resealed, TokenStore};
        use crate::token::{Limit, Token};

        const NO_BUS: &str = "system keyring: there is no session bus";

        /// Whether this machine (or container) lets us use the kernel's keyring. Where it does not,
        /// the tests check what is promised then.
        fn kernel_refuses() -> Option<String> {
            kernel::read("vaulttoken-test-none").err().map(|why| format!("kernel keyring: {why}"))
        }

        /// Without a kernel keyring, what is in memory lies here, not where others look.
        fn memory() -> TempDir {
            TempDir::with_prefix_in("vaulttoken-test-", "/dev/shm").unwrap()
        }

        #[test]
        fn without_a_session_bus_the_kernel_keeps_the_key_and_the_next_call_finds_it() {
            let (home, memory) = (Home::new("kernel"), memory());
            let env = home.env(&[("XDG_RUNTIME_DIR", memory.path().to_str().unwrap())]);
            let first = open(Store::Auto, &env);
            if let Some(why) = kernel_refuses() {
                assert_eq!(first.reasons, [NO_BUS.to_owned(), why]);
                assert_eq!(first.tier, Tier::Plain);
                assert_eq!(first.cache_folder, Some(memory.path().join("vaulttoken")));
                assert_eq!(first.state_folder, first.cache_folder);
                return;
            }
            assert_eq!(first.reasons, [NO_BUS]);
            assert_eq!(Keystore::ask_system(&env, PATIENCE), Err("there is no session bus".into()));
            assert_eq!(first.cache_folder, Some(home.folder.path().join(".cache/vaulttoken")));
            assert_eq!(first.state_folder, Some(home.folder.path().join(".local/state/vaulttoken")));
            for policy in [Store::Auto, Store::Sealed] {
                let next = open(policy, &env);
                assert_eq!(next.reasons, ["system keyring: it could not be used when the key was made"]);
                assert_eq!((first.tier, next.tier), (Tier::KernelKeyring, Tier::KernelKeyring));
                assert_eq!(next.key.unwrap().expose(), first.key.as_ref().unwrap().expose());
            }
            let service = &home.service;
            kernel::write(service, kernel::Origin::System, first.key.as_ref().unwrap()).unwrap();
            let copied = open(Store::Auto, &env);
            assert_eq!(copied.tier, Tier::Keyring, "a copy says where it comes from");
            assert!(copied.reasons.is_empty());
        }

        #[test]
        fn many_at_once_end_with_one_key() {
            let home = Home::new("many");
            if kernel_refuses().is_some() {
                assert!(matches!(refusal(Store::Sealed, &home.env(&[])), StoreError::NoKeyring { .. }));
                return;
            }
            let keys: Vec<[u8; 32]> = std::thread::scope(|scope| {
                let opened: Vec<_> = (0..8)
                    .map(|_| scope.spawn(|| *open(Store::Auto, &home.env(&[])).key.unwrap().expose()))
                    .collect();
                opened.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert!(keys.iter().all(|key| *key == keys[0]));
        }

        /// The key that seals, and the one before.
        fn keys(home: &Home) -> [Option<[u8; 32]>; 2] {
            [home.service.clone(), rotation::previous(&home.service)]
                .map(|name| kernel::read(&name).unwrap().map(|(_, key)| *key.expose()))
        }

        #[test]
        fn the_key_before_stays_while_something_needs_it() {
            let home = Home::new("needed");
            if kernel_refuses().is_some() {
                return;
            }
            let env = home.env(&[]);
            let replace = |reseal: &mut dyn FnMut(Place) -> Vec<Left>| {
                Keystore::replace_key(Store::Auto, &env, Duration::ZERO, reseal)
            };
            replace(&mut |_| Vec::new()).unwrap();
            let before = keys(&home);
            assert!(before[0].is_some() && before[1].is_some() && before[0] != before[1]);
            let (in_use, refused) = (|| Left::InUse, || Left::Refused("no".into()));
            let both = "what only the key before this one opens could not be sealed anew (entries: 2): no";
            for (left, code, why) in [
                (vec![in_use()], ExitCode::Unreachable, "other processes work on"),
                (vec![in_use(), refused()], ExitCode::NoStore, both),
            ] {
                let mut calls = 0;
                let error = replace(&mut |_| {
                    calls += 1;
                    left.clone()
                });
                let error = error.unwrap_err();
                assert_eq!((error.exit_code(), calls, keys(&home)), (code, 1, before));
                assert!(error.why().unwrap().starts_with(why), "{error:?}");
            }
            // Nor is it put away while another process does the same.
            let held = creation_lock(&env, Duration::ZERO);
            assert!(matches!(held, Some(Acquired::Guard(_))));
            let error = replace(&mut |_| panic!("it is not our turn")).unwrap_err();
            assert_eq!((error.exit_code(), keys(&home)), (ExitCode::Unreachable, before));
            drop(held);
            replace(&mut |_| Vec::new()).unwrap();
            assert_eq!(keys(&home)[1], before[0]);
        }

        #[test]
        fn entries_are_sealed_anew_but_those_that_somebody_works_on() {
            let home = Home::new("anew");
            if kernel_refuses().is_some() {
                return;
            }
            let env = home.env(&[]);
            let tokens = || TokenStore::new(&Arc::new(open(Store::Auto, &env)));
            let names = ["a", "b"].map(|name| KeyBuilder::new("token", 1).part("name", name).finish());
            let at = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
            let token = Token {
                secret: "secret".into(),
                issued_at: at,
                refresh_after: at,
                usable_until: at,
                expires_at: None,
                limited_by: Limit::Assumed,
                subject: None,
                token_id: None,
                lease: None,
            };
            for name in &names {
                tokens().store(name, &token, &About::default()).unwrap();
            }
            let now = || tokens().reseal(Duration::ZERO);
            assert_eq!(now(), Resealed { sealed: 2, left: Vec::new() });
            Keystore::replace_key(Store::Auto, &env, PATIENCE, &mut |_| Vec::new()).unwrap();
            let held = tokens().lock(&names[0], Duration::ZERO, &mut || ());
            assert!(matches!(held, Acquired::Guard(_)));
            assert_eq!(now(), Resealed { sealed: 1, left: vec![Left::InUse] });
            drop(held);
            assert_eq!(now(), Resealed { sealed: 2, left: Vec::new() });
            // The key before opens nothing any more, and one that cannot be locked is told.
            Keystore::replace_key(Store::Auto, &env, PATIENCE, &mut |_| Vec::new()).unwrap();
            let lock = env.cache_folder().unwrap().join(format!("{}.lock", names[0]));
            std::fs::remove_file(&lock).unwrap();
            std::fs::create_dir(&lock).unwrap();
            let Resealed { sealed: 1, left } = now() else { panic!() };
            assert!(
                matches!(&left[..], [Left::Refused(why)] if why.contains("cannot be locked")),
                "{left:?}"
            );
        }

        #[test]
        fn without_any_keyring_plain_files_in_memory_or_a_refusal() {
            let (home, memory) = (Home::new("memory"), memory());
            // A name that the kernel cannot take stands for a kernel that refuses.
            let no_keyring = "x".repeat(5_000);
            let env = home.env(&[
                ("XDG_RUNTIME_DIR", memory.path().to_str().unwrap()),
                ("VAULTTOKEN_KEYRING_SERVICE", &no_keyring),
            ]);
            let place = open(Store::Auto, &env);
            assert_eq!(place.tier, Tier::Plain);
            assert!(place.key.is_none());
            assert_eq!(place.reasons.len(), 2, "{:?}", place.reasons);
            assert_eq!(place.reasons[0], NO_BUS);
            assert!(place.reasons[1].starts_with("kernel keyring: "));
            assert_eq!(place.cache_folder, Some(memory.path().join("vaulttoken")));
            assert_eq!(place.state_folder, place.cache_folder);
            assert!(!home.folder.path().join(".cache/vaulttoken").exists());

            let error = refusal(Store::Sealed, &env);
            assert!(matches!(&error, StoreError::NoKeyring { reasons } if *reasons == place.reasons));
        }

        #[test]
        fn a_home_that_cannot_be_written_is_replaced_by_memory_but_stays_sealed() {
            let (home, memory) = (Home::new("read-only"), memory());
            let cache = home.folder.path().join("cache");
            std::fs::write(&cache, "").unwrap();
            let env = home.env(&[
                ("XDG_RUNTIME_DIR", memory.path().to_str().unwrap()),
                ("VAULTTOKEN_CACHE_DIR", cache.to_str().unwrap()),
            ]);
            if kernel_refuses().is_some() {
                return assert_eq!(open(Store::Auto, &env).tier, Tier::Plain);
            }
            for policy in [Store::Auto, Store::Sealed] {
                let place = open(policy, &env);
                assert_eq!(place.tier, Tier::KernelKeyring);
                assert_eq!(place.cache_folder, Some(memory.path().join("vaulttoken")));
                assert_eq!(
                    place.reasons.last().unwrap(),
                    &format!("cache folder: `{}` is not a folder, or is a link", cache.display())
                );
            }
        }
    }
}
