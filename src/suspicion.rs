//! Whether a token that is asked for again may have been refused, and what may be done about it.
//!
//! A client does not say that a cluster refused its token (client-go asks again, and that is all);
//! what can be seen is that the same living program asks again for a token that it was just given.
//! This module judges by what happened before and by the time it is given; it asks nobody, fetches
//! nothing and reads no file.

use chrono::{DateTime, TimeDelta};

use crate::error::{ExitCode, Explain};
use crate::token::{Digest, Timestamp};

/// How long the answer about one program's token is believed.
pub const REMEMBERED: TimeDelta = TimeDelta::seconds(30);
/// The most fetches by suspicion for one key in [`WINDOW`]: each may leave a lease and an account
/// behind, and a client that asks for no reason must not fill a Vault.
pub const MOST_FETCHES: usize = 6;
/// See [`MOST_FETCHES`].
pub const WINDOW: TimeDelta = TimeDelta::minutes(10);

/// What happened to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was handed out.
    Given,
    /// The cluster was asked, and did not refuse it.
    Accepted,
    /// One was fetched in its place.
    Replaced,
    /// It came in the place of a refused one, and was refused too.
    RefusedToo,
}

impl What {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Given, "given"),
        (Self::Accepted, "accepted"),
        (Self::Replaced, "replaced"),
        (Self::RefusedToo, "refusedToo"),
    ];
}

/// Something that happened, with one token of one key, for one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, in whole seconds.
    pub at: Timestamp,
    /// What.
    pub what: What,
    /// For whom: process id and birth.
    pub caller: String,
    /// Which token.
    pub token: Digest,
}

impl Event {
    /// One line, as it is kept.
    #[must_use]
    pub fn line(&self) -> String {
        let name = What::ALL.iter().find(|(what, _)| *what == self.what).map_or("", |(_, name)| name);
        format!("{} {name} {} {}\n", self.at.timestamp(), self.caller, self.token)
    }

    /// Reads a line; `None` for anything but what [`Self::line`] writes.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (at, name, caller, token) = (words.next()?, words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || caller.is_empty() {
            return None;
        }
        Some(Self {
            at: DateTime::from_timestamp(at.parse().ok()?, 0)?,
            what: What::ALL.iter().find(|(_, known)| *known == name)?.0,
            caller: caller.to_owned(),
            token: Digest::parse(token)?,
        })
    }

    /// Whether it happened within `span` before `now`; a clock that was wrong binds us to nothing.
    fn is_within(&self, span: TimeDelta, now: Timestamp) -> bool {
        self.at > now - span && self.at <= now + TimeDelta::seconds(5)
    }
}

/// What is to be thought of a program that asks for a fresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// Nothing: it is the first time, or the cluster has just accepted this token.
    None,
    /// It has this token already: perhaps it was refused.
    Perhaps,
    /// It has just been told that this one is refused like the one before.
    RefusedToo,
}

/// What to think of `caller`, who asks for `token` now.
#[must_use]
pub fn suspect(past: &[Event], caller: &str, token: Digest, now: Timestamp) -> Suspicion {
    let of_both = |event: &&Event| event.caller == caller && event.token == token;
    let recent = |what| {
        past.iter().filter(of_both).any(|event| event.what == what && event.is_within(REMEMBERED, now))
    };
    if recent(What::RefusedToo) {
        Suspicion::RefusedToo
    } else if !past.iter().filter(of_both).any(|event| event.what == What::Given) || recent(What::Accepted) {
        Suspicion::None
    } else {
        Suspicion::Perhaps
    }
}

/// What may be done about a suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Fetch another one.
    Fetch,
    /// Not now: it was done for this program a moment ago, or came in place of a refused one.
    Not,
    /// Not any more for some minutes.
    TooOften,
}

/// What may be done about a token that the cluster refused, or (`is_refused` false) that nobody can
/// be asked about.
#[must_use]
pub fn cure(past: &[Event], caller: &str, token: Digest, is_refused: bool, now: Timestamp) -> Cure {
    let did = |what, span| past.iter().filter(move |event| event.what == what && event.is_within(span, now));
    let just_done = if is_refused {
        did(What::RefusedToo, REMEMBERED).any(|event| event.token == token)
    } else {
        did(What::Replaced, REMEMBERED).any(|event| event.caller == caller)
    };
    if just_done {
        Cure::Not
    } else if did(What::Replaced, WINDOW).count() >= MOST_FETCHES {
        Cure::TooOften
    } else {
        Cure::Fetch
    }
}

/// What of the past is still worth keeping: verdicts that count, and for the newest token who of
/// the living has it.
#[must_use]
pub fn worth_keeping(mut past: Vec<Event>, now: Timestamp, lives: impl Fn(&str) -> bool) -> Vec<Event> {
    let newest = past.iter().rev().find(|event| event.what == What::Given).map(|event| event.token);
    past.retain(|event| match event.what {
        What::Given => Some(event.token) == newest && lives(&event.caller),
        What::Accepted | What::RefusedToo => event.is_within(REMEMBERED, now),
        What::Replaced => event.is_within(WINDOW, now),
    });
    past
}

/// The cluster refuses what we hand out, and no other token helps.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedError {
    /// A new one as well.
    #[error("{server} refused the token, and a new one that was fetched in its place")]
    NewOneToo {
        /// The API server.
        server: String,
    },
    /// And new ones were fetched often enough.
    #[error("{server} refused the token, and new ones were fetched {MOST_FETCHES} times in ten minutes")]
    TooOften {
        /// The API server.
        server: String,
    },
}

impl Explain for RefusedError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NewOneToo { .. } | Self::TooOften { .. } => ExitCode::Refused,
        }
    }

    fn why(&self) -> Option<String> {
        Some(
            "it answered 401: it does not trust the issuer or the audience of these tokens, or their service \
             account is gone"
                .into(),
        )
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NewOneToo { .. } => Some("{program} status{profile}".into()),
            Self::TooOften { .. } => Some("{program} refresh{profile}".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OLD: &str = "00000000000000aa";
    const NEW: &str = "00000000000000bb";

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    fn digest(text: &str) -> Digest {
        Digest::parse(text).unwrap()
    }

    fn event(seconds: i64, what: What, caller: &str, token: &str) -> Event {
        Event { at: at(seconds), what, caller: caller.into(), token: digest(token) }
    }

    #[test]
    fn who_asks_again_for_the_same_token_is_suspicious_and_nobody_else_is() {
        use Suspicion::{None, Perhaps, RefusedToo};
        use What::{Accepted, Given};
        let given = event(0, Given, "1@1", OLD);
        let accepted = event(10, Accepted, "1@1", OLD);
        let table: [(&[Event], &str, &str, i64, Suspicion); 12] = [
            (&[], "1@1", OLD, 1, None),
            (std::slice::from_ref(&given), "1@1", OLD, 1, Perhaps),
            (std::slice::from_ref(&given), "1@1", OLD, 3000, Perhaps),
            (std::slice::from_ref(&given), "2@1", OLD, 1, None),
            (std::slice::from_ref(&given), "1@2", OLD, 1, None),
            (std::slice::from_ref(&given), "1@1", NEW, 1, None),
            (&[given.clone(), accepted.clone()], "1@1", OLD, 39, None),
            (&[given.clone(), accepted.clone()], "1@1", OLD, 40, Perhaps),
            (&[given.clone(), event(10, Accepted, "2@1", OLD)], "1@1", OLD, 11, Perhaps),
            (&[given.clone(), event(100, Accepted, "1@1", OLD)], "1@1", OLD, 20, Perhaps),
            (&[event(0, What::RefusedToo, "1@1", NEW)], "1@1", NEW, 29, RefusedToo),
            (&[event(0, What::RefusedToo, "1@1", NEW)], "1@1", NEW, 30, None),
        ];
        for (past, caller, token, seconds, expected) in table {
            let found = suspect(past, caller, digest(token), at(seconds));
            assert_eq!(found, expected, "{past:?} {caller} {token} {seconds}");
        }
    }

    #[test]
    fn a_refused_token_is_replaced_until_that_is_of_no_use() {
        let refused = |past: &[Event], seconds| cure(past, "1@1", digest(NEW), true, at(seconds));
        assert_eq!(refused(&[], 0), Cure::Fetch);
        assert_eq!(refused(&[event(0, What::Replaced, "1@1", OLD)], 1), Cure::Fetch);
        assert_eq!(refused(&[event(0, What::RefusedToo, "2@1", NEW)], 29), Cure::Not);
        assert_eq!(refused(&[event(0, What::RefusedToo, "2@1", NEW)], 30), Cure::Fetch);
        assert_eq!(refused(&[event(0, What::RefusedToo, "2@1", OLD)], 29), Cure::Fetch);
        let six: Vec<Event> = (0..6).map(|n| event(n, What::Replaced, "2@1", OLD)).collect();
        assert_eq!(refused(&six, 599), Cure::TooOften);
        assert_eq!(refused(&six, 600), Cure::Fetch);
    }

    #[test]
    fn where_nobody_can_be_asked_one_program_gets_one_new_token_in_half_a_minute() {
        let unknown = |past: &[Event], caller, seconds| cure(past, caller, digest(NEW), false, at(seconds));
        let past = [event(0, What::Replaced, "1@1", OLD)];
        assert_eq!(unknown(&past, "1@1", 29), Cure::Not);
        assert_eq!(unknown(&past, "2@1", 29), Cure::Fetch);
        assert_eq!(unknown(&past, "1@1", 30), Cure::Fetch);
    }

    #[test]
    fn what_is_kept_is_what_can_still_count() {
        let past = vec![
            event(0, What::Given, "1@1", OLD),
            event(1, What::Replaced, "1@1", OLD),
            event(1, What::Given, "1@1", NEW),
            event(2, What::Given, "2@1", NEW),
            event(3, What::Accepted, "1@1", NEW),
        ];
        let kept = worth_keeping(past.clone(), at(33), |caller| caller == "1@1");
        assert_eq!(kept, [past[1].clone(), past[2].clone()]);
    }

    proptest! {
        #[test]
        fn a_line_is_read_as_it_was_written(seconds in -1_000_000..1_000_000_i64, which in 0..4_usize, token: u64, id: u32, born: u64) {
            let (what, _) = What::ALL[which];
            let caller = format!("{id}@{born}");
            let event = Event { at: at(seconds), what, caller, token: digest(&format!("{token:016x}")) };
            prop_assert_eq!(Event::parse(event.line().trim_end_matches('\n')), Some(event));
        }

        #[test]
        fn anything_else_is_no_line(text in "\\PC*") {
            prop_assume!(!text.contains(" given ") && !text.contains(" accepted "));
            prop_assume!(!text.contains(" replaced ") && !text.contains(" refusedToo "));
            prop_assert_eq!(Event::parse(&text), None);
        }

        /// Whoever asks whenever, tokens are not fetched by suspicion more often than allowed.
        #[test]
        fn the_cap_holds(asks in proptest::collection::vec((0..20_i64, 0..5_u32, any::<bool>()), 1..300)) {
            let (mut past, mut now): (Vec<Event>, i64) = (Vec::new(), 0);
            for (pause, caller, is_refused) in asks {
                now += pause;
                let caller = format!("{caller}@1");
                if cure(&past, &caller, digest(OLD), is_refused, at(now)) == Cure::Fetch {
                    past.push(event(now, What::Replaced, &caller, OLD));
                }
                let within = past.iter().filter(|event| event.at > at(now) - WINDOW).count();
                prop_assert!(within <= MOST_FETCHES);
                past = worth_keeping(past, at(now), |_| true);
            }
        }
    }
}
