//! A new sealing key in the place of the one that seals now. The one before stays beside it and opens
//! what it sealed, so that nothing is lost, whoever dies at whatever moment, and whoever still seals
//! with the key that he found before. It owns no entry: [`crate::reseal`] seals those anew.

use std::time::Duration;

use super::{SealingKey, Tier, service, system};
#[cfg(target_os = "linux")]
use super::{kernel, kernel::Origin};
use crate::env::Env;

/// Under this name, behind that of the key, lies the one before it.
const PREVIOUS: &str = ".previous";

pub(super) fn previous(name: &str) -> String {
    format!("{name}{PREVIOUS}")
}

/// Where the key of a place was found, to look there again: somebody may have made a new one since, or
/// what is to be opened was sealed with the one before.
pub struct Keyrings {
    name: String,
    /// The system's keyring is asked only where the kernel keeps no copy of what it has.
    system: Option<(Env, Duration)>,
}

impl Keyrings {
    /// The kernel's keyring has all keys of this name.
    #[cfg(target_os = "linux")]
    pub(super) fn of_kernel(name: &str) -> Self {
        Self { name: name.to_owned(), system: None }
    }

    /// Only the system's keyring has them.
    pub(super) fn of_system(name: &str, env: &Env, patience: Duration) -> Self {
        Self { name: name.to_owned(), system: Some((env.clone(), patience)) }
    }

    /// The keys that are there now, but this one.
    pub(super) fn others(&self, than: &SealingKey) -> Vec<SealingKey> {
        let names = [self.name.clone(), previous(&self.name)];
        let found = names.iter().filter_map(|name| match &self.system {
            Some((env, patience)) => system::read(name, env, *patience).ok()?,
            #[cfg(target_os = "linux")]
            None => kernel::read(name).ok()?.map(|(_, key)| key),
            #[cfg(not(target_os = "linux"))]
            None => None,
        });
        found.filter(|key| key.expose() != than.expose()).collect()
    }
}

/// Copies the key before the system's into the kernel's keyring, when the key itself is copied.
#[cfg(target_os = "linux")]
pub(super) fn copy_previous(name: &str, env: &Env, patience: Duration) {
    let name = previous(name);
    if let Ok(Some(key)) = system::read(&name, env, patience) {
        // Without it what the key before sealed is a miss, as after a log-out.
        let _ = kernel::write(&name, Origin::System, &key);
    }
}

/// Brings the kernel's copy to what the system's keyring has. They differ where somebody died while he
/// replaced the key, or put another one into the keyring. What the copy sealed still opens.
#[cfg(target_os = "linux")]
pub(super) fn settle(env: &Env, patience: Duration) -> Result<(), String> {
    let name = service(env);
    let Ok(Some((Origin::System, copy))) = kernel::read(name) else { return Ok(()) };
    let key = of_system(name, env, patience)?;
    if copy.expose() == key.expose() {
        return Ok(());
    }
    keep_previous(name, &copy, Tier::Keyring, env, patience)?;
    kernel::write(name, Origin::System, &key)
}

/// There is no copy.
#[cfg(not(target_os = "linux"))]
pub(super) fn settle(_env: &Env, _patience: Duration) -> Result<(), String> {
    Ok(())
}

/// Puts a new key into the place of the one that seals now.
pub(super) fn replace(tier: Tier, new: &SealingKey, env: &Env, patience: Duration) -> Result<(), String> {
    let name = service(env);
    match tier {
        Tier::Keyring => {
            let old = of_system(name, env, patience)?;
            // First of all the old one gets its second place: from here on it opens whatever happens.
            keep_previous(name, &old, tier, env, patience)?;
            system::replace(name, new, env, patience)?;
            copy(name, new)
        }
        Tier::KernelKeyring => alone(name, new, env, patience),
        Tier::Plain | Tier::None => Err("nothing is sealed here".into()),
    }
}

fn of_system(name: &str, env: &Env, patience: Duration) -> Result<SealingKey, String> {
    let words = |why| format!("system keyring: {why}");
    system::read(name, env, patience).map_err(words)?.ok_or_else(|| words("it has no key".to_owned()))
}

fn keep_previous(
    name: &str,
    key: &SealingKey,
    tier: Tier,
    env: &Env,
    patience: Duration,
) -> Result<(), String> {
    let name = previous(name);
    if tier == Tier::Keyring {
        system::replace(&name, key, env, patience).map_err(|why| format!("system keyring: {why}"))?;
        return copy(&name, key);
    }
    #[cfg(target_os = "linux")]
    kernel::write(&name, Origin::Alone, key)?;
    Ok(())
}

/// Copies a key of the system's into the kernel's keyring, where that can be used.
#[cfg(target_os = "linux")]
fn copy(name: &str, key: &SealingKey) -> Result<(), String> {
    // Where it refuses there is no copy that could be wrong.
    if kernel::read(name).is_err() { Ok(()) } else { kernel::write(name, Origin::System, key) }
}

#[cfg(not(target_os = "linux"))]
fn copy(_name: &str, _key: &SealingKey) -> Result<(), String> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn alone(name: &str, new: &SealingKey, env: &Env, patience: Duration) -> Result<(), String> {
    let (_, old) = kernel::read(name)?.ok_or("the kernel keyring has no key")?;
    keep_previous(name, &old, Tier::KernelKeyring, env, patience)?;
    kernel::write(name, Origin::Alone, new)
}

#[cfg(not(target_os = "linux"))]
fn alone(_name: &str, _new: &SealingKey, _env: &Env, _patience: Duration) -> Result<(), String> {
    Err("there is no kernel keyring".into())
}
