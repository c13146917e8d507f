//! The one algorithm: a hit, else the lock, another look, one fetch, store, hand out; and the old
//! token where fetching failed and it still lives.
//!
//! It knows no HTTP, no file format and no source: [`Store`] keeps, a closure fetches, and the
//! clock is an argument. Who renews beside a caller and who suspects that a token was refused is
//! decided elsewhere; what then happens to the kept token is decided here.

use chrono::TimeDelta;

use crate::error::{Error, Failure};
use crate::token::{Digest, State, Timestamp, Token};

/// What the broker needs of a cache, already bound to one key.
pub trait Store {
    /// What holding the lock means; dropping it lets the next one in.
    type Lock;
    /// The kept token. Unreadable, corrupt or foreign is a miss.
    fn load(&self) -> Option<Token>;
    /// Keeps a token, and forgets the last failure. What cannot be kept costs the next call a fetch.
    fn keep(&self, token: &Token);
    /// Drops the kept token, which a cluster refused.
    fn discard(&self);
    /// Takes the lock if nobody has it. `None`: somebody has, and does our work.
    fn try_lock(&self) -> Option<Self::Lock>;
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
    /// It was kept, is usable and due: who can have it renewed without waiting should.
    Due,
    /// Another process fetched it while we waited.
    Shared,
    /// It was fetched.
    Fetched,
    /// It was kept and is due; fetching a new one failed, now or a moment ago.
    Stale(Failure),
}

impl How {
    /// One word for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Due => "due",
            Self::Shared => "shared",
            Self::Fetched => "fetched",
            Self::Stale(_) => "stale",
        }
    }
}

/// Whether a kept token will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// A fresh one will.
    Usual,
    /// A usable one will, for whoever does not want to wait.
    AtOnce,
    /// A usable one that lives for so long yet will, as far as its whole life is long enough for that:
    /// some clients take a token for dead some time before its end.
    Lasting(TimeDelta),
    /// Only one that was fetched after this call began.
    Anew,
    /// Only one that was fetched at this moment or later: of many who want a new one at the same time,
    /// one causes a fetch.
    Since(Timestamp),
    /// Another one than this, which was handed out and asked for again. `refused`: the cluster said
    /// no to it, so that nobody may have it any more; else it is better than none.
    Other {
        /// Than which.
        than: Digest,
        /// Whether that one is known to be refused.
        refused: bool,
    },
}

impl Wish {
    /// Whether this kept token would be no answer at all.
    fn rejects(self, token: &Token) -> bool {
        matches!(self, Self::Other { than, refused: true } if token.digest() == than)
    }

    /// Whether this fresh token needs no fetch.
    fn is_met_by(self, token: &Token, began: Timestamp, now: Timestamp) -> bool {
        match self {
            Self::Usual | Self::AtOnce => true,
            Self::Lasting(least) => lasts(token, least, now),
            Self::Anew => token.issued_at >= began,
            Self::Since(moment) => token.issued_at >= moment,
            Self::Other { than, .. } => token.digest() != than,
        }
    }

    /// From when on a token, or a failure, is of this call; `None` where an older one counts too.
    fn only_since(self, began: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Anew => Some(began),
            Self::Since(moment) => Some(moment),
            Self::Usual | Self::AtOnce | Self::Lasting(_) | Self::Other { .. } => None,
        }
    }
}

/// What can be handed out without lock and fetch, if anything.
pub fn at_once<S: Store>(store: &S, wish: Wish, now: Timestamp) -> Option<Given> {
    let kept = match wish {
        Wish::Usual | Wish::AtOnce => store.load(),
        Wish::Lasting(least) => store.load().filter(|kept| lasts(kept, least, now)),
        Wish::Since(moment) => store.load().filter(|kept| kept.issued_at >= moment),
        Wish::Anew | Wish::Other { .. } => None,
    }?;
    match kept.state(now) {
        State::Valid => Some(Given { token: kept, how: How::Kept }),
        State::RefreshDue if matches!(wish, Wish::AtOnce | Wish::Lasting(_)) => {
            let past = store.failure().filter(|past| counts(past, now));
            let how = past.map_or(How::Due, |past| How::Stale(past.failure));
            Some(Given { token: kept, how })
        }
        State::RefreshDue | State::Expired => None,
    }
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
    if let Some(given) = at_once(store, wish, began) {
        return Ok(given);
    }
    if matches!(wish, Wish::Usual | Wish::AtOnce | Wish::Lasting(_))
        && let Some(outcome) = remembered(store, wish, store.load().as_ref(), began, began)
    {
        return outcome;
    }
    let _lock = store.lock();
    // We may have waited, and the one we waited for has done our work, or failed at it.
    let now = clock();
    let kept = store.load();
    if let Some(token) = fresh(kept.as_ref(), now)
        && wish.is_met_by(&token, began, now)
    {
        return Ok(Given { token, how: How::Shared });
    }
    // Under the lock, so that it is the refused one that goes and not what came in its place.
    let kept = kept.filter(|token| {
        let stays = !wish.rejects(token);
        if !stays {
            store.discard();
        }
        stays
    });
    if let Some(outcome) = remembered(store, wish, kept.as_ref(), began, now) {
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
                Some(token) if wish.only_since(began).is_none() => {
                    Ok(Given { token, how: How::Stale(failure) })
                }
                _ => Err(error),
            }
        }
    }
}

/// Renews a kept token that is due, beside a caller who has it already: only if nobody else does it,
/// and nobody failed at it a moment ago. Without a usable token there is nothing to renew, and
/// nothing is fetched: what a renewal may do, a caller was allowed before.
///
/// # Errors
/// What the fetch failed with; it is remembered.
pub fn renew<S: Store>(
    store: &S,
    clock: impl Fn() -> Timestamp,
    fetch: impl FnOnce() -> Result<Token, Error>,
) -> Result<Option<Token>, Error> {
    if !should_renew(store, clock()) {
        return Ok(None);
    }
    let Some(_lock) = store.try_lock() else { return Ok(None) };
    if !should_renew(store, clock()) {
        return Ok(None);
    }
    match fetch() {
        Ok(token) => {
            store.keep(&token);
            Ok(Some(token))
        }
        Err(error) => {
            store.remember(&error.to_failure(), clock());
            Err(error)
        }
    }
}

/// Whether a renewal is due and worth a try.
pub fn should_renew<S: Store>(store: &S, now: Timestamp) -> bool {
    store.load().is_some_and(|token| token.state(now) == State::RefreshDue)
        && !store.failure().is_some_and(|past| counts(&past, now))
}

/// Whether a token lives for `least` yet, or for three quarters of its life where that is less.
pub(crate) fn lasts(token: &Token, least: TimeDelta, now: Timestamp) -> bool {
    let end = token.reported_end();
    end - now >= least.min((end - token.issued_at) * 3 / 4)
}

fn fresh(kept: Option<&Token>, now: Timestamp) -> Option<Token> {
    kept.filter(|token| token.state(now) == State::Valid).cloned()
}

fn usable(kept: Option<&Token>, now: Timestamp) -> Option<Token> {
    kept.filter(|token| token.state(now) != State::Expired).cloned()
}

/// Whether a failure is still remembered. A clock that was wrong does not bind us to its future.
fn counts(past: &PastFailure, now: Timestamp) -> bool {
    now < past.until && past.at <= now + TimeDelta::seconds(60)
}

/// What a remembered failure means for a call that began at `began`: with a usable token that one,
/// for those who waited for the one that failed, and for the same caller, the same failure; for
/// anybody else nothing, so that what was mended works at once. Who wants a new one by all means
/// only shares a failure that came after the call began.
fn remembered<S: Store>(
    store: &S,
    wish: Wish,
    kept: Option<&Token>,
    began: Timestamp,
    now: Timestamp,
) -> Option<Result<Given, Error>> {
    let past = store.failure().filter(|past| counts(past, now))?;
    if let Some(moment) = wish.only_since(began) {
        return (moment <= past.at).then(|| Err(Error::Earlier(past.failure)));
    }
    if let Some(token) = usable(kept, now) {
        return Some(Ok(Given { token, how: How::Stale(past.failure) }));
    }
    (past.same_caller || began <= past.at).then(|| Err(Error::Earlier(past.failure)))
}

#[cfg(test)]
mod lifetimes;

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
            request_id: None,
        };
        Token::new(minted, at(issued)).unwrap()
    }

    type Deed = Box<dyn FnOnce(&Memory)>;

    #[derive(Default)]
    pub(super) struct Memory {
        token: RefCell<Option<Token>>,
        failure: RefCell<Option<PastFailure>>,
        /// What another process does while we wait for the lock.
        meanwhile: RefCell<Option<Deed>>,
        locks: Cell<u32>,
        busy: Cell<bool>,
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
        fn discard(&self) {
            *self.token.borrow_mut() = None;
        }
        fn try_lock(&self) -> Option<()> {
            (!self.busy.get()).then(|| self.lock()).flatten()
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
    fn the_journal_has_a_word_for_each_way() {
        let stale =
            How::Stale(Failure { exit_code: ExitCode::Refused, what: "no".into(), why: None, hint: None });
        let words = [How::Kept, How::Due, How::Shared, How::Fetched, stale].map(|how| how.name());
        assert_eq!(words, ["kept", "due", "shared", "fetched", "stale"]);
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

    #[test]
    fn who_does_not_want_to_wait_gets_a_usable_token_without_lock_or_fetch() {
        let store = Memory::default();
        store.keep(&token_of("old", 0, 3600));
        let given = token(&store, Wish::AtOnce, || at(3000), must_not_fetch).unwrap();
        assert!(matches!(given.how, How::Due));
        assert_eq!((name(&given), store.locks.get()), ("old", 0));
        let given = token(&store, Wish::AtOnce, || at(3600), || Ok(token_of("new", 3600, 3600))).unwrap();
        assert!(matches!(given.how, How::Fetched), "a dead one is no answer");
    }

    #[test]
    fn a_renewal_fetches_only_what_is_due_and_only_if_nobody_else_does() {
        let store = Memory::default();
        assert!(renew(&store, || at(0), must_not_fetch).unwrap().is_none(), "nothing was there before");
        store.keep(&token_of("old", 0, 3600));
        assert!(renew(&store, || at(60), must_not_fetch).unwrap().is_none(), "it is fresh");
        store.busy.set(true);
        assert!(renew(&store, || at(3000), must_not_fetch).unwrap().is_none(), "somebody does it");
        store.busy.set(false);
        *store.meanwhile.borrow_mut() = Some(Box::new(|store| store.keep(&token_of("theirs", 3000, 3600))));
        assert!(renew(&store, || at(3000), must_not_fetch).unwrap().is_none(), "somebody did it");
        assert!(renew(&store, || at(3600 + 2700), || Ok(token_of("new", 6300, 3600))).unwrap().is_some());
        assert_eq!(store.load().unwrap().secret.expose_secret(), "new");
    }

    #[test]
    fn a_renewal_that_failed_is_left_alone_for_some_seconds_and_keeps_the_old_token() {
        let store = Memory::default();
        store.keep(&token_of("old", 0, 3600));
        assert!(renew(&store, || at(3000), || Err(Error::Earlier(down()))).is_err());
        assert!(renew(&store, || at(3004), must_not_fetch).unwrap().is_none());
        assert!(store.load().is_some());
        assert!(renew(&store, || at(3005), || Ok(token_of("new", 3005, 3600))).unwrap().is_some());
    }

    #[test]
    fn a_refused_token_goes_and_nobody_gets_it_again() {
        let store = Memory::default();
        let old = token_of("old", 0, 3600);
        let other = Wish::Other { than: old.digest(), refused: true };
        store.keep(&old);
        let error = token(&store, other, || at(60), || Err(Error::Earlier(down())));
        assert!(error.is_err() && store.load().is_none());
        store.keep(&old);
        let given = token(&store, other, || at(61), || Ok(token_of("new", 61, 3600))).unwrap();
        assert_eq!(name(&given), "new");
        let given = token(&store, other, || at(62), must_not_fetch).unwrap();
        assert_eq!(name(&given), "new", "who learns of it later takes what is there");
    }

    #[test]
    fn a_token_that_is_only_suspected_is_better_than_none() {
        let store = Memory::default();
        let old = token_of("old", 0, 3600);
        let other = Wish::Other { than: old.digest(), refused: false };
        store.keep(&old);
        let given = token(&store, other, || at(60), || Err(Error::Earlier(down()))).unwrap();
        assert!(matches!(given.how, How::Stale(_)));
        assert_eq!((name(&given), store.load().is_some()), ("old", true));
        let again = token(&store, other, || at(61), must_not_fetch).unwrap();
        assert_eq!(name(&again), "old", "and the source is left alone");
    }

    #[test]
    fn of_many_who_want_a_new_one_at_once_one_fetches() {
        let store = Memory::default();
        store.keep(&token_of("old", 0, 3600));
        let since = Wish::Since(at(55));
        let given = token(&store, since, || at(60), || Ok(token_of("new", 60, 3600))).unwrap();
        assert!(matches!(given.how, How::Fetched));
        let again = token(&store, since, || at(61), must_not_fetch).unwrap();
        assert_eq!((name(&again), store.locks.get()), ("new", 1));
        let error = token(&store, Wish::Since(at(61)), || at(62), || Err(Error::Earlier(down())));
        assert!(error.is_err(), "an old token is not what was asked for");
        let error = token(&store, Wish::Since(at(61)), || at(63), must_not_fetch);
        assert!(error.is_err(), "who asked at the same time gets the same failure");
    }

    #[test]
    fn a_token_that_a_client_would_take_for_dead_is_not_handed_out() {
        let wish = Wish::Lasting(TimeDelta::seconds(45));
        let store = Memory::default();
        // It is reported to end three seconds before, and due after 24 seconds.
        store.keep(&token_of("old", 0, 60));
        let given = token(&store, wish, || at(12), must_not_fetch).unwrap();
        assert!(matches!(given.how, How::Kept), "42 seconds are three quarters of its life");
        let given = token(&store, wish, || at(15), || Ok(token_of("new", 15, 3600))).unwrap();
        assert!(matches!(given.how, How::Fetched));
        let given = token(&store, wish, || at(15 + 3000), must_not_fetch).unwrap();
        assert!(matches!(given.how, How::Due), "nobody waits while it lives for long enough");
        let late = at(15 + 3530);
        let given = token(&store, wish, || late, || Err(Error::Earlier(down()))).unwrap();
        assert!(matches!(given.how, How::Stale(_)), "better than none");
        let given = token(&store, wish, || late, must_not_fetch).unwrap();
        assert!(matches!(given.how, How::Stale(_)), "and the issuer is left alone");
    }

    #[test]
    fn anew_is_tried_again_right_after_a_failure() {
        let store = Memory::default();
        store.keep(&token_of("old", 0, 3600));
        *store.failure.borrow_mut() = Some(past(down(), at(59)));
        let given = token(&store, Wish::Anew, || at(60), || Ok(token_of("new", 60, 3600))).unwrap();
        assert_eq!(name(&given), "new");
    }
}
