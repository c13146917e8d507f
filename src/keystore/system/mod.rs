//! The sealing key in the keyring of the system: Secret Service, Keychain or Credential Manager.
//! Every use has a deadline and a thread of its own, as what answers may hang. It never makes a
//! person unlock anything, and never replaces what it does not understand.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::SealingKey;
use crate::env::Env;

#[cfg(target_os = "linux")]
mod secret_service;
#[cfg(target_os = "linux")]
use secret_service as backend;

#[cfg(not(target_os = "linux"))]
mod native;
#[cfg(not(target_os = "linux"))]
use native as backend;

/// Under which name, beneath the service, the key is kept.
const USER: &str = "sealing-key";

/// The key, if one is kept. `Err` says why there can be none.
pub(super) fn read(service: &str, env: &Env, patience: Duration) -> Result<Option<SealingKey>, String> {
    backend::is_reachable(env)?;
    let service = service.to_owned();
    within(patience, move || backend::read(&service))
}

/// Keeps a new key, and returns the one that is kept then: perhaps another process was quicker.
pub(super) fn create(service: &str, env: &Env, patience: Duration) -> Result<SealingKey, String> {
    backend::is_reachable(env)?;
    let service = service.to_owned();
    within(patience, move || {
        if let Some(key) = backend::read(&service)? {
            return Ok(key);
        }
        backend::write(&service, &SealingKey::generate().ok_or("the system has no randomness to give")?)?;
        // What it cannot give back is not kept, whatever it said.
        backend::read(&service)?.ok_or_else(|| "it did not keep the key".into())
    })
}

/// Keeps this key in the place of what is kept under this name.
pub(super) fn replace(service: &str, key: &SealingKey, env: &Env, patience: Duration) -> Result<(), String> {
    backend::is_reachable(env)?;
    let (service, key) = (service.to_owned(), SealingKey::from_bytes(*key.expose()));
    within(patience, move || {
        backend::write(&service, &key)?;
        let kept = backend::read(&service)?;
        let is_kept = kept.is_some_and(|kept| kept.expose() == key.expose());
        is_kept.then_some(()).ok_or_else(|| "it did not keep the key".into())
    })
}

/// Runs something that may hang. Its thread is left to itself then, and ends with the process.
fn within<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        // Nobody listens any more where it took too long.
        .spawn(move || drop(sender.send(work())))
        .map_err(|error| error.to_string())?;
    receiver.recv_timeout(patience).unwrap_or_else(|error| match error {
        mpsc::RecvTimeoutError::Timeout => Err(format!("no answer within {} ms", patience.as_millis())),
        mpsc::RecvTimeoutError::Disconnected => Err("it could not be asked".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_left_behind() {
        let (never, waited_for) = mpsc::channel::<()>();
        let answer = within(Duration::from_millis(1), move || {
            waited_for.recv().ok();
            Ok(())
        });
        assert_eq!(answer, Err("no answer within 1 ms".into()));
        drop(never);
        assert_eq!(within(Duration::from_secs(60), || Ok(7)), Ok(7));
        assert_eq!(within(Duration::from_secs(60), || Err::<(), _>("no".into())), Err("no".into()));
    }
}
