//! The one algorithm: a hit, else the lock, another look, one fetch, store, hand out; and the old
//! token where fetching failed and it still lives.
//!
//! It knows no HTTP, no file format and no source: [`Store`] keeps, a closure fetches, and the
//! clock is an argument. Renewal beside the caller and the healing of refused tokens have their
//! place here as well.

use chrono::TimeDelta;

use crate::error::{Error, Failure};
use crate::token::{State, Timestamp, Token};

/// What the broker needs of a cache, already bound to one key.
pub trait Store {
    /// What holding the lock means; dropping it lets the next one in.
    type Lock;
    /// The kept token. Unreadable, corrupt or foreign is a miss.
    fn load(&self) -> Option<Token>;
    /// Keeps a token, and forgets the last failure. What cannot be kept costs the next call a fetch.
    fn keep(&self, token: &Token);
    /// Takes the lock within its deadline. `None`: not to be had, or no locks here; go on without.
    fn lock(&self) -> Option<Self::Lock>;
    /// The last failure that is still remembered.
    fn failure(&self) -> Option<PastFailure>;
    /// Remembers a failure for some seconds, longer as it goes on.
    fn remember(&self, failure: &Failure, now: Timestamp);
}

/// A failure of a moment ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastFailure {
    /// What failed.
    pub failure: Failure,
    /// When.
    pub at: Timestamp,
    /// Until when it is not tried again where nobody would lose by that.
    pub until: Timestamp,
    /// The same living program asked: kubectl runs a failing plugin up to five times a command.
    pub same_caller: bool,
}

/// A token to hand out, and how it was had.
#[derive(Debug)]
pub struct Given {
    /// The token.
    pub token: Token,
    /// How.
    pub how: How,
}

/// How a token was had.
#[derive(Debug)]
pub enum How {
    /// It was kept, and is fresh.
    Kept,
    /// Another process fetched it while we waited.
    Shared,
    /// It was fetched.
    Fetched,
    /// It was kept and is due; fetching a new one failed, now or a moment ago.
    Stale(Failure),
}

/// Whether a kept token will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A fresh one will.
    Usual,
    /// Only one that was fetched after this call began.
    Anew,
}

/// The token for one key.
///
/// # Errors
/// What the fetch failed with, where no usable token is kept.
pub fn token<S: Store>(
    store: &S,
    wish: Wish,
    clock: impl Fn() -> Timestamp,
    fetch: impl FnOnce() -> Result<Token, Error>,
) -> Result<Given, Error> {
    let began = clock();
    let kept = store.load();
    if wish == Wish::Usual {
        if let Some(token) = fresh(kept.as_ref(), began) {
            return Ok(Given { token, how: How::Kept });
        }
        if let Some(outcome) = remembered(store, kept.as_ref(), began, began) {
            return outcome;
        }
    }
    let _lock = store.lock();
    // We may have waited, and the one we waited for has done our work, or failed at it.
    let now = clock();
    let kept = store.load();
    if let Some(token) = fresh(kept.as_ref(), now)
        && (wish == Wish::Usual || token.issued_at >= began)
    {
        return Ok(Given { token, how: How::Shared });
    }
    if let Some(outcome) = remembered(store, kept.as_ref(), began, now) {
        return outcome;
    }
    match fetch() {
        Ok(token) => {
            store.keep(&token);
            Ok(Given { token, how: How::Fetched })
        }
        Err(error) => {
            let failure = error.to_failure();
            let now = clock();
            store.remember(&failure, now);
            match usable(kept.as_ref(), now) {
                Some(token) if wish == Wish::Usual => Ok(Given { token, how: How::Stale(failure) }),
                _ => Err(error),
            }
        }
    }
}

fn fresh(kept: Option<&Token>, now: Timestamp) -> Option<Token> {
    kept.filter(|token| token.state(now) == State::Valid).cloned()
}

fn usable(kept: Option<&Token>, now: Timestamp) -> Option<Token> {
    kept.filter(|token| token.state(now) != State::Expired).cloned()
}

/// What a remembered failure means for a call that began at `began`: with a usable token that one,
/// for those who waited for the one that failed, and for the same caller, the same failure; for
/// anybody else nothing, so that what was mended works at once.
fn remembered<S: Store>(
    store: &S,
    kept: Option<&Token>,
    began: Timestamp,
    now: Timestamp,
) -> Option<Result<Given, Error>> {
    let past = store.failure().filter(|past| now < past.until && past.at <= now + TimeDelta::seconds(60))?;
    if let Some(token) = usable(kept, now) {
        return Some(Ok(Given { token, how: How::Stale(past.failure) }));
    }
    (past.same_caller || began <= past.at).then(|| Err(Error::Earlier(past.failure)))
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use chrono::DateTime;
    use secrecy::{ExposeSecret, SecretString};

    use super::*;
    use crate::error::ExitCode;
    use crate::token::{Bound, Limit, Minted};

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn token_of(name: &str, issued: i64, lifetime: i64) -> Token {
        let minted = Minted {
            secret: SecretString::from(name),
            bounds: vec![Bound { by: Limit::ExpiresIn, at: at(issued + lifetime) }],
            subject: None,
            lease: None,
            warnings: Vec::new(),
        };
        Token::new(minted, at(issued)).unwrap()
    }

    type Deed = Box<dyn FnOnce(&Memory)>;

    #[derive(Default)]
    struct Memory {
        token: RefCell<Option<Token>>,
        failure: RefCell<Option<PastFailure>>,
        /// What another process does while we wait for the lock.
        meanwhile: RefCell<Option<Deed>>,
        locks: Cell<u32>,
    }

    impl Store for Memory {
        type Lock = ();
        fn load(&self) -> Option<Token> {
            self.token.borrow().clone()
        }
        fn keep(&self, token: &Token) {
            *self.token.borrow_mut() = Some(token.clone());
            *self.failure.borrow_mut() = None;
        }
        fn lock(&self) -> Option<()> {
            self.locks.set(self.locks.get() + 1);
            if let Some(work) = self.meanwhile.borrow_mut().take() {
                work(self);
            }
            Some(())
        }
        fn failure(&self) -> Option<PastFailure> {
            self.failure.borrow().clone()
        }
        fn remember(&self, failure: &Failure, now: Timestamp) {
            *self.failure.borrow_mut() = Some(past(failure.clone(), now));
        }
    }

    fn past(failure: Failure, at: Timestamp) -> PastFailure {
        PastFailure { failure, at, until: at + TimeDelta::seconds(5), same_caller: false }
    }

    fn down() -> Failure {
        Failure { exit_code: ExitCode::Unreachable, what: "down".into(), why: None, hint: None }
    }

    fn must_not_fetch() -> Result<Token, Error> {
        panic!("the source was asked")
    }

    fn name(given: &Given) -> &str {
        given.token.secret.expose_secret()
    }

    #[test]
    fn a_fresh_token_is_handed_out_without_lock_or_fetch() {
        let store = Memory::default();
        store.keep(&token_of("kept", 0, 3600));
        let given = token(&store, Wish::Usual, || at(60), must_not_fetch).unwrap();
        assert!(matches!(given.how, How::Kept));
        assert_eq!((name(&given), store.locks.get()), ("kept", 0));
    }

    #[test]
    fn a_miss_fetches_once_and_keeps() {
        let store = Memory::default();
        let given = token(&store, Wish::Usual, || at(0), || Ok(token_of("new", 0, 3600))).unwrap();
        assert!(matches!(given.how, How::Fetched));
        let again = token(&store, Wish::Usual, || at(1), must_not_fetch).unwrap();
        assert_eq!(name(&again), "new");
    }

    #[test]
    fn who_waited_gets_what_the_other_fetched() {
        let store = Memory::default();
        *store.meanwhile.borrow_mut() = Some(Box::new(|store| store.keep(&token_of("theirs", 1, 3600))));
        let given = token(&store, Wish::Usual, || at(1), must_not_fetch).unwrap();
        assert!(matches!(given.how, How::Shared));
    }

    #[test]
    fn who_waited_gets_the_others_failure_too_and_who_comes_later_tries_again() {
        let store = Memory::default();
        *store.meanwhile.borrow_mut() =
            Some(Box::new(|store| *store.failure.borrow_mut() = Some(past(down(), at(2)))));
        let times = RefCell::new(vec![at(3), at(0)]);
        let error =
            token(&store, Wish::Usual, || times.borrow_mut().pop().unwrap(), must_not_fetch).unwrap_err();
        assert!(matches!(error, Error::Earlier(_)));
        let given = token(&store, Wish::Usual, || at(4), || Ok(token_of("new", 4, 3600))).unwrap();
        assert_eq!(name(&given), "new");
    }

    #[test]
    fn the_same_caller_gets_the_same_failure_for_a_few_seconds_only() {
        let store = Memory::default();
        let failure = PastFailure { same_caller: true, ..past(down(), at(0)) };
        *store.failure.borrow_mut() = Some(failure);
        assert!(token(&store, Wish::Usual, || at(4), must_not_fetch).is_err());
        assert!(token(&store, Wish::Usual, || at(5), || Ok(token_of("new", 5, 3600))).is_ok());
    }

    #[test]
    fn an_outage_is_bridged_while_the_old_token_lives_and_not_longer() {
        let store = Memory::default();
        store.keep(&token_of("old", 0, 3600));
        let given = token(&store, Wish::Usual, || at(3000), || Err(Error::Earlier(down()))).unwrap();
        assert!(matches!(&given.how, How::Stale(failure) if *failure == down()));
        let again = token(&store, Wish::Usual, || at(3004), must_not_fetch).unwrap();
        assert_eq!(name(&again), "old", "and the source is left alone for some seconds");
        assert!(token(&store, Wish::Usual, || at(3599), || Err(Error::Earlier(down()))).is_err());
    }

    #[test]
    fn anew_means_fetched_after_the_call_began() {
        let store = Memory::default();
        store.keep(&token_of("old", 0, 3600));
        let given = token(&store, Wish::Anew, || at(60), || Ok(token_of("new", 60, 3600))).unwrap();
        assert_eq!(name(&given), "new");
        let error = token(&store, Wish::Anew, || at(61), || Err(Error::Earlier(down())));
        assert!(error.is_err(), "an old token is not what was asked for");
        let store = Memory::default();
        *store.meanwhile.borrow_mut() = Some(Box::new(|store| store.keep(&token_of("theirs", 62, 3600))));
        assert!(
            token(&store, Wish::Anew, || at(62), must_not_fetch).is_ok(),
            "one fetch serves all who wait"
        );
    }

    #[test]
    fn a_clock_that_was_wrong_does_not_bind_us_to_a_failure_of_the_future() {
        let store = Memory::default();
        let failure = PastFailure { same_caller: true, ..past(down(), at(100_000)) };
        *store.failure.borrow_mut() = Some(failure);
        assert!(token(&store, Wish::Usual, || at(0), || Ok(token_of("new", 0, 3600))).is_ok());
    }
}
