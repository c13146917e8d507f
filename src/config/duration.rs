//! Durations as people write them in settings and flags: `90s`, `15m`, `1h30m`.

use std::time::Duration;

use super::value::ValueError;

/// Ten years. Whoever asks for more has mistyped it, and sums of times stay far from overflow.
const LONGEST: u64 = 10 * 365 * 24 * 3600;

/// Reads hours, minutes and seconds, each at most once and in this order; not zero.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    seconds(text)
        .filter(|seconds| (1..=LONGEST).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| ValueError::of(text, "a duration", "write it as `90s`, `15m` or `1h30m`"))
}

fn seconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        // `parse` alone would take a sign.
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(length)?)?;
        rest = after;
    }
    rest.is_empty().then_some(sum)
}

/// Writes a duration as [`parse_duration`] reads it; what is below a second is left out.
#[must_use]
pub fn print_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let said = units.into_iter().filter(|(count, unit)| *count > 0 || (*unit == 's' && seconds == 0));
    said.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5_400), ("1h0m5s", 3_605), ("007s", 7)] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for junk in [
            "",
            "0s",
            "0h0m",
            "60",
            "-5m",
            "+5m",
            "5 m",
            "m",
            "1m1h",
            "1h1h",
            "1.5h",
            "1d",
            "1hm",
            "1h30",
            "٣s",
            "99999999999999999999s",
            "6000000000000000000h",
            "87601h",
        ] {
            assert!(parse_duration(junk).is_err(), "{junk}");
        }
        assert_eq!(
            parse_duration("60").unwrap_err().to_string(),
            "`60` cannot be a duration: write it as `90s`, `15m` or `1h30m`"
        );
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(seconds in 1..=LONGEST) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse_duration(&print_duration(duration)).unwrap(), duration);
        }

        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = parse_duration(&text);
        }
    }
}
