//! The whole life of tokens that live short or oddly, by a clock that only the test turns: none is
//! handed out dead, and none is fetched in a loop.

use std::cell::{Cell, RefCell};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta};
use proptest::prelude::*;
use secrecy::SecretString;

use super::tests::Memory;
use super::*;
use crate::token::Minted;

fn at(seconds: i64) -> Timestamp {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
}

/// An issuer's way with lifetimes, in seconds.
#[derive(Debug, Clone, Copy)]
enum Issuer {
    /// Each token lives so long from when it is asked for.
    Anew(i64),
    /// `exp` is a year away, but `warnafter` comes after so long, as of a projected token of 3607 s.
    Warns(i64),
    /// All tokens end when the identity behind them does, which cannot be asked for anew.
    Ends(i64),
}

impl Issuer {
    fn mint(self, now: Timestamp) -> Result<Token, Error> {
        let (end, warn_after) = match self {
            Self::Anew(lifetime) => (now + TimeDelta::seconds(lifetime), None),
            Self::Warns(lifetime) => (now + TimeDelta::days(365), Some(now + TimeDelta::seconds(lifetime))),
            Self::Ends(end) => (at(end), None),
        };
        let warns = warn_after
            .map(|at| format!(r#","kubernetes.io":{{"warnafter":{}}}"#, at.timestamp()))
            .unwrap_or_default();
        let claims = format!(r#"{{"exp":{},"nonce":{}{warns}}}"#, end.timestamp(), now.timestamp());
        let secret = SecretString::from(format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims)));
        let minted = Minted {
            secret,
            bounds: Vec::new(),
            subject: None,
            lease: None,
            warnings: Vec::new(),
            request_id: None,
        };
        Token::new(minted, now).map_err(|flaw| Error::Fault(flaw.to_string()))
    }

    /// The soonest that a token may be fetched after the one before, for a token of this issuer.
    fn shortest_gap(self) -> Option<i64> {
        match self {
            Self::Anew(lifetime) | Self::Warns(lifetime) => Some(lifetime * 2 / 5),
            Self::Ends(_) => None,
        }
    }
}

/// Asks every `step` seconds for `span` seconds, as `get-token` does (what is due is renewed beside) or
/// as `token` does; gives when tokens were fetched.
fn live(issuer: Issuer, wish: Wish, step: i64, span: i64) -> Vec<i64> {
    let (store, second, fetched) = (Memory::default(), Cell::new(0), RefCell::new(Vec::new()));
    let now = || at(second.get());
    let fetch = || {
        fetched.borrow_mut().push(second.get());
        issuer.mint(now())
    };
    while second.get() < span {
        match token(&store, wish, now, fetch) {
            Ok(given) => {
                assert!(given.token.usable_until > now(), "handed out dead: {:?}", given.token);
                assert!(given.token.reported_end() > now(), "of no use to the client: {:?}", given.token);
                if matches!(given.how, How::Due) {
                    let _ = renew(&store, now, fetch);
                }
            }
            // Only what cannot be had any more may fail.
            Err(error) => assert!(matches!(issuer, Issuer::Ends(end) if second.get() + 5 >= end), "{error}"),
        }
        second.set(second.get() + step);
    }
    fetched.into_inner()
}

fn is_no_loop(issuer: Issuer, fetched: &[i64]) {
    if let Some(gap) = issuer.shortest_gap() {
        assert!(fetched.windows(2).all(|pair| pair[1] - pair[0] >= gap), "{issuer:?}: {fetched:?}");
    }
}

#[test]
fn five_minutes_ten_an_hour_and_a_year_that_warns_are_never_dead_and_never_a_loop() {
    for issuer in [Issuer::Anew(300), Issuer::Anew(600), Issuer::Anew(3_600), Issuer::Warns(3_607)] {
        for wish in [Wish::AtOnce, Wish::Usual] {
            let fetched = live(issuer, wish, 1, 4 * 3_600);
            assert!(fetched.len() >= 4, "{issuer:?} is renewed: {fetched:?}");
            is_no_loop(issuer, &fetched);
        }
    }
}

#[test]
fn an_identity_that_cannot_be_asked_anew_is_used_to_its_end_with_few_fetches() {
    for end in [300, 600, 3_600] {
        for wish in [Wish::AtOnce, Wish::Usual] {
            let fetched = live(Issuer::Ends(end), wish, 1, end - 5);
            // Each has three fifths of what is left at most: that is a logarithm, and no loop.
            assert!(fetched.len() <= 16, "{end}: {fetched:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_lifetime_and_any_client(lifetime in 20_i64..20_000, step in 1_i64..900, warns: bool, at_once: bool) {
        let issuer = if warns { Issuer::Warns(lifetime) } else { Issuer::Anew(lifetime) };
        let wish = if at_once { Wish::AtOnce } else { Wish::Usual };
        is_no_loop(issuer, &live(issuer, wish, step, 6 * lifetime.max(step)));
    }
}
