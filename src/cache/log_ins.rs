//! The log-ins of a person: one at a time for a user, and what became of the last ones, so that no
//! client that asks again and again opens one browser after another. It logs in to nothing.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::seal::Kind;
use super::shelf::{Shelf, not_encoded};
use super::{Acquired, CacheError, CacheKey, KeyBuilder};
use crate::error::Failure;
use crate::keystore::Place;
use crate::token::Timestamp;
use crate::vault::session::SessionKey;

/// How long after the first log-in that failed none is begun unasked; each further one in a row four
/// times as long as the one before. A night without the person costs a handful of tabs.
const FIRST: TimeDelta = TimeDelta::minutes(1);
/// How long whoever comes next shares a failure of which the person saw nothing, or that they brought
/// about themselves.
const BRIEFLY: TimeDelta = TimeDelta::seconds(5);
/// The longest.
const LONGEST: TimeDelta = TimeDelta::hours(8);
/// A failure that comes so long after the last one is the first of a new row.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::hours(12);

/// A log-in that failed, and until when none is begun unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedLogIn {
    /// What failed.
    pub failure: Failure,
    /// When.
    pub at: Timestamp,
    /// Until when none is begun.
    pub until: Timestamp,
    /// How many in a row.
    count: u32,
}

impl FailedLogIn {
    fn after(earlier: Option<Self>, failure: Failure, now: Timestamp, is_lasting: bool) -> Self {
        let row =
            earlier.filter(|earlier| earlier.is_plausible(now) && now < earlier.until + FORGOTTEN_AFTER);
        let before = row.map_or(0, |row| row.count);
        if !is_lasting {
            return Self { failure, at: now, until: now + BRIEFLY, count: before };
        }
        let count = before.saturating_add(1);
        // 1, 4, 16, 64, 256 minutes, then eight hours.
        let lasts = (FIRST * 4_i32.pow((count - 1).min(5))).min(LONGEST);
        Self { failure, at: now, until: now + lasts, count }
    }

    fn counts(&self, now: Timestamp) -> bool {
        now < self.until && self.is_plausible(now)
    }

    /// A clock that went back must not keep a person out for days.
    fn is_plausible(&self, now: Timestamp) -> bool {
        self.until - now <= LONGEST
    }
}

/// The log-ins of this user, in the folder `log-ins` of the state folder.
pub struct LogIns {
    shelf: Shelf,
}

impl LogIns {
    /// Those of this place.
    #[must_use]
    pub fn new(place: &Arc<Place>) -> Self {
        let folder = place.state_folder.as_ref().map(|folder| folder.join("log-ins"));
        Self { shelf: Shelf::new(Arc::clone(place), folder, Kind::Failure, false) }
    }

    /// The turn to ask the person, which the user's other processes are waited for so long.
    /// `waiting` is called once, after a second of it.
    pub fn turn(&self, wait: Duration, waiting: &mut dyn FnMut()) -> Acquired {
        self.shelf.lock(&KeyBuilder::new("log-in turn", 1).finish(), wait, waiting)
    }

    /// The last log-in for this session, where it failed and none is to be begun unasked.
    #[must_use]
    pub fn failed(&self, session: &SessionKey, now: Timestamp) -> Option<FailedLogIn> {
        self.load(&name(session)).filter(|failed| failed.counts(now))
    }

    /// Remembers that the log-in for this session failed; for long where the person was asked and did
    /// not log in, else for those who wait.
    ///
    /// # Errors
    /// It could not be written: the next call asks the person again.
    pub fn remember(
        &self,
        session: &SessionKey,
        failure: &Failure,
        now: Timestamp,
        is_lasting: bool,
    ) -> Result<(), CacheError> {
        let name = name(session);
        let failed = FailedLogIn::after(self.load(&name), failure.clone(), now, is_lasting);
        let content = serde_json::to_vec(&failed).map_err(|_| not_encoded())?;
        self.shelf.store(&name, &content)
    }

    /// Forgets what failed for this session, and how often. What cannot be removed ends by itself.
    pub fn forget(&self, session: &SessionKey) {
        let _ = self.shelf.remove(&name(session));
    }

    fn load(&self, name: &CacheKey) -> Option<FailedLogIn> {
        serde_json::from_slice(&self.shelf.load(name)?).ok()
    }
}

fn name(session: &SessionKey) -> CacheKey {
    KeyBuilder::new("log-in", 1).part("session", &session.0).finish()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use tempfile::TempDir;

    use super::*;
    use crate::error::ExitCode;
    use crate::keystore::Tier;

    fn at(minutes: i64) -> Timestamp {
        DateTime::from_timestamp(1_800_000_000 + minutes * 60, 0).unwrap()
    }

    fn failure() -> Failure {
        Failure { exit_code: ExitCode::Refused, what: "no".into(), why: None, hint: None }
    }

    #[test]
    fn what_failed_is_known_to_the_next_process_until_it_is_forgotten() {
        let folder = TempDir::new().unwrap();
        let log_ins = || {
            let state_folder = Some(folder.path().join("state"));
            LogIns::new(&Arc::new(Place { tier: Tier::Plain, state_folder, ..Place::nowhere(Vec::new()) }))
        };
        let (session, other) = (SessionKey("alice".into()), SessionKey("bob".into()));
        assert_eq!(log_ins().failed(&session, at(0)), None);
        log_ins().remember(&session, &failure(), at(0), true).unwrap();
        log_ins().remember(&session, &failure(), at(0), true).unwrap();
        let failed = log_ins().failed(&session, at(0)).unwrap();
        assert_eq!((failed.failure, failed.until, failed.count), (failure(), at(4), 2));
        assert_eq!((log_ins().failed(&other, at(0)), log_ins().failed(&session, at(4))), (None, None));
        log_ins().forget(&session);
        assert_eq!(log_ins().failed(&session, at(0)), None);
    }

    #[test]
    fn who_fails_again_and_again_is_asked_less_and_less() {
        let (mut failed, mut now, mut lasted) = (None, at(0), Vec::new());
        for _ in 0..8 {
            let next = FailedLogIn::after(failed.take(), failure(), now, true);
            lasted.push((next.until - now).num_minutes());
            assert!(next.counts(now) && !next.counts(next.until));
            now = next.until;
            failed = Some(next);
        }
        assert_eq!(lasted, [1, 4, 16, 64, 256, 480, 480, 480]);
    }

    #[test]
    fn a_night_later_it_is_the_first_again_and_a_clock_that_went_back_binds_nobody() {
        let first = FailedLogIn::after(None, failure(), at(0), true);
        let second = FailedLogIn::after(Some(first.clone()), failure(), at(1), true);
        assert_eq!(second.until, at(5));
        let late = FailedLogIn::after(Some(second.clone()), failure(), at(5 + 12 * 60), true);
        assert_eq!(late.until, at(5 + 12 * 60 + 1));
        assert!(!second.counts(at(-24 * 60)));
        let given_up = FailedLogIn::after(Some(first), failure(), at(1), false);
        assert_eq!((given_up.until - at(1), given_up.count), (BRIEFLY, 1), "it is in no row");
        assert_eq!(FailedLogIn::after(Some(second), failure(), at(-24 * 60), true).until, at(-24 * 60 + 1));
    }
}
