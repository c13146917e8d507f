//! Failures of the last seconds, so that a hundred callers do not all ask a server that just said
//! no. Pure: it decides how long a failure counts, and leaves keeping it to the store.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::token::Timestamp;

/// How long the first failure counts; each further one twice as long as the one before.
const FIRST: TimeDelta = TimeDelta::seconds(5);
/// The longest that a failure counts.
const LONGEST: TimeDelta = TimeDelta::seconds(60);
/// A failure that comes so long after the last one is the first of a new row.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(5);

/// A failure and until when it is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptFailure {
    /// What failed.
    pub failure: Failure,
    /// When.
    pub at: Timestamp,
    until: Timestamp,
    /// Whose call it was: the program that ran us.
    pub caller: Option<String>,
    /// How many came in a row.
    count: u32,
}

impl KeptFailure {
    /// The failure that just came, after `earlier` if one is still kept.
    #[must_use]
    pub fn after(earlier: Option<Self>, failure: Failure, caller: Option<String>, now: Timestamp) -> Self {
        let row =
            earlier.filter(|earlier| earlier.is_plausible(now) && now < earlier.until + FORGOTTEN_AFTER);
        let count = row.map_or(0, |row| row.count).saturating_add(1);
        // 5, 10, 20, 40, then 60: further doubling is cut off anyway.
        let lasts = (FIRST * (1 << (count - 1).min(4))).min(LONGEST);
        Self { failure, at: now, until: now + lasts, caller, count }
    }

    /// Until when it counts.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// The same, while it counts.
    #[must_use]
    pub fn current(self, now: Timestamp) -> Option<Self> {
        (now < self.until && self.is_plausible(now)).then_some(self)
    }

    /// A clock that went back must not make a failure last for hours.
    fn is_plausible(&self, now: Timestamp) -> bool {
        self.until - now <= LONGEST
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::error::ExitCode;

    fn at(seconds: i64) -> Timestamp {
        DateTime::from_timestamp(1_000_000 + seconds, 0).unwrap()
    }

    fn failure() -> Failure {
        Failure { exit_code: ExitCode::Refused, what: "no".into(), why: None, hint: None }
    }

    #[test]
    fn it_counts_for_five_seconds_and_doubles_up_to_a_minute() {
        let (mut kept, mut now, mut lasted) = (None, at(0), Vec::new());
        for _ in 0..40 {
            let next = KeptFailure::after(kept.take(), failure(), None, now);
            lasted.push((next.until() - now).num_seconds());
            assert_eq!(
                next.clone().current(next.until() - TimeDelta::milliseconds(1)).map(|kept| kept.failure),
                Some(failure())
            );
            assert_eq!(next.clone().current(next.until()), None);
            now = next.until() + TimeDelta::seconds(1);
            kept = Some(next);
        }
        assert_eq!(lasted[..6], [5, 10, 20, 40, 60, 60]);
        assert_eq!(lasted[39], 60);
    }

    #[test]
    fn after_a_quiet_while_it_starts_anew() {
        let second = KeptFailure::after(
            Some(KeptFailure::after(None, failure(), None, at(0))),
            failure(),
            None,
            at(6),
        );
        assert_eq!(second.until(), at(16));
        let soon = KeptFailure::after(Some(second.clone()), failure(), None, at(16 + 299));
        assert_eq!(soon.until(), at(16 + 299 + 20));
        let late = KeptFailure::after(Some(second), failure(), None, at(16 + 300));
        assert_eq!(late.until(), at(16 + 300 + 5));
    }

    #[test]
    fn a_clock_that_went_back_does_not_prolong_it() {
        let kept = KeptFailure::after(None, failure(), None, at(0));
        assert_eq!(kept.clone().current(at(-3600)), None);
        assert_eq!(KeptFailure::after(Some(kept), failure(), None, at(-3600)).until(), at(-3595));
    }

    #[test]
    fn its_form_is_what_other_versions_read() {
        let kept = KeptFailure::after(None, failure(), None, at(0));
        let text = serde_json::to_string(&kept).unwrap();
        assert_eq!(
            text,
            r#"{"failure":{"exit_code":"Refused","what":"no","why":null,"hint":null},"at":"1970-01-12T13:46:40Z","until":"1970-01-12T13:46:45Z","caller":null,"count":1}"#
        );
        assert_eq!(serde_json::from_str::<KeptFailure>(&text).unwrap(), kept);
    }
}
