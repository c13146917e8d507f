//! Where asynchronous work begins and ends: a runtime of one thread for what uses the network, and
//! the signals that end it. A hit never comes here.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::error::{Error, ExitCode};

/// Runs what uses the network, on this thread, until it is done or a signal ends it.
///
/// # Errors
/// What the work fails with, or that it was interrupted.
pub fn on_the_network<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(async {
        let mut interrupted = std::pin::pin!(interrupted());
        let outcome = tokio::select! {
            // First, so that the handlers are there before the work asks a person: a prompt that a
            // signal ends must be able to put the terminal back.
            biased;
            code = &mut interrupted => return Err(Error::Interrupted(code)),
            outcome = work => outcome,
        };
        if outcome.as_ref().is_err_and(|error| error.exit_code() == ExitCode::Interrupted) {
            // A signal ends a prompt, or the wait for a program, before it is seen here.
            tokio::select! {
                biased;
                code = interrupted => return Err(Error::Interrupted(code)),
                () = tokio::task::yield_now() => {}
            }
        }
        outcome
    });
    // A name that is looked up or a lock that is waited for in a thread must not hold us.
    runtime.shutdown_background();
    outcome
}

/// Whether there are descriptors for the runtime's own sockets: it panics where there are none.
#[cfg(unix)]
pub(crate) fn has_room() -> std::io::Result<()> {
    use std::os::unix::net::UnixStream;
    // Both at once: it holds on to as many.
    let _sockets = (UnixStream::pair()?, UnixStream::pair()?);
    Ok(())
}

#[cfg(not(unix))]
pub(crate) fn has_room() -> std::io::Result<()> {
    Ok(())
}

/// Runs what blocks in a thread beside the runtime's, or right here where the system gives no thread:
/// the runtime's own way to do that panics then.
pub(crate) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let theirs = Arc::clone(&work);
    let thread = thread::Builder::new().spawn(move || {
        if let Some(work) = take(&theirs) {
            // Whoever waited may have been interrupted.
            let _ = done.send(work());
        }
    });
    match thread {
        Ok(_) => outcome.await.ok(),
        Err(_) => take(&work).map(|work| work()),
    }
}

/// Runs what lives beside a program of the person's: its signals are for that program, and its end is
/// ours.
///
/// # Errors
/// What the work fails with.
pub fn beside_a_program<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let none = |error: std::io::Error| Error::Fault(format!("no runtime: {error}"));
    has_room().map_err(none)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(none)
}

/// Waits for a signal that ends us.
#[cfg(unix)]
pub(crate) async fn interrupted() -> ExitCode {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ExitCode::Interrupted,
        _ = terminate.recv() => ExitCode::Terminated,
    }
}

/// Waits for a signal that ends us.
#[cfg(not(unix))]
pub(crate) async fn interrupted() -> ExitCode {
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::Interrupted,
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_hangs_does_not_hold_whoever_is_done() {
        let (begun, has_begun) = mpsc::channel();
        let (_end, ends) = mpsc::channel::<()>();
        let outcome = on_the_network(async move {
            tokio::task::spawn_blocking(move || (begun.send(()), ends.recv()));
            has_begun.recv().map_err(|_| Error::Fault("no thread".into()))
        });
        assert!(outcome.is_ok());
    }

    #[test]
    fn what_runs_beside_gives_what_it_found() {
        let here = thread::current().id();
        let there = on_the_network(async { Ok(beside(|| thread::current().id()).await) }).unwrap();
        assert!(there.is_some_and(|there| there != here));
    }
}
