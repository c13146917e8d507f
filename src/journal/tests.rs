use std::fs;
use std::thread;

use chrono::DateTime;
use proptest::prelude::*;
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;

use super::*;
use crate::token::Minted;

fn now() -> Timestamp {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn token() -> Token {
    let minted = Minted {
        secret: SecretString::from("planted-secret"),
        bounds: Vec::new(),
        subject: Some("system:serviceaccount:a:b".into()),
        lease: None,
        warnings: Vec::new(),
        request_id: None,
    };
    Token::new(minted, now()).unwrap()
}

fn journal(folder: &TempDir) -> Journal {
    Journal::new(Some(folder.path().join("state")), None, "7-5".into())
}

fn entry(number: usize) -> Entry {
    Entry::new(Event::HandOut).profile(&format!("profile-{number}")).token(&token())
}

fn content(folder: &TempDir, name: &str) -> Vec<u8> {
    fs::read(folder.path().join("state").join(name)).unwrap_or_default()
}

fn written(lines: usize) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    for number in 0..lines {
        journal(&folder).add(&entry(number), now());
    }
    content(&folder, NAME)
}

#[test]
fn a_line_tells_all_but_the_secret_and_is_for_us_alone() {
    let folder = TempDir::new().unwrap();
    journal(&folder).add(&Entry::new(Event::Mint).profile("prod").vault("https://v").token(&token()), now());
    let text = String::from_utf8(content(&folder, NAME)).unwrap();
    let digest = token().digest();
    assert_eq!(
        text,
        format!(
            "{{\"time\":\"2027-01-15T08:00:00.000000Z\",\"event\":\"mint\",\"profile\":\"prod\",\
             \"vault\":\"https://v\",\"subject\":\"system:serviceaccount:a:b\",\
             \"tokenSha256\":\"{digest}\",\"invocation\":\"7-5\",\"after\":0,\"previous\":\"\"}}\n"
        )
    );
    assert!(!text.contains(token().secret.expose_secret()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(folder.path().join("state")), 0o700);
        assert_eq!(mode(folder.path().join("state").join(NAME)), 0o600);
    }
}

#[test]
fn foreign_words_stay_in_their_line() {
    let folder = TempDir::new().unwrap();
    journal(&folder).add(&Entry::new(Event::Refusal).outcome("a\n{\"b\u{1b}\u{202e}"), now());
    let text = String::from_utf8(content(&folder, NAME)).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'));
    assert!(verify(text.as_bytes(), None).is_ok());
}

#[test]
fn what_cannot_be_written_is_no_error() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("state"), "a file in its place").unwrap();
    journal(&folder).add(&entry(0), now());
    Journal::new(None, None, String::new()).add(&entry(0), now());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn every_changed_byte_of_a_line_that_another_vouches_for_is_found() {
    let whole = written(4);
    assert_eq!(verify(&whole, None), Ok(Whole { lines: 4, open: 1 }));
    let last = whole[..whole.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    for at in 0..last {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(verify(&changed, None).is_err(), "byte {at}");
    }
}

#[test]
fn a_line_that_is_missing_moved_or_put_in_is_found_and_a_cut_end_is_not() {
    let whole = written(5);
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for gone in 0..4 {
        let without: Vec<&[u8]> =
            lines.iter().enumerate().filter(|(at, _)| *at != gone).map(|(_, line)| *line).collect();
        assert!(verify(&without.concat(), None).is_err(), "without line {gone}");
    }
    assert!(verify(&[lines[1], lines[0], lines[2], lines[3], lines[4]].concat(), None).is_err());
    assert!(verify(&[lines[0], lines[0], lines[1], lines[2]].concat(), None).is_err());
    assert_eq!(verify(&lines[..3].concat(), None), Ok(Whole { lines: 3, open: 1 }), "as it once was");
    assert_eq!(verify(&whole[..whole.len() - 2], None), Err(Tampered::NoLine(5)), "half a line");
    assert_eq!(verify(b"", None), Ok(Whole { lines: 0, open: 0 }));
}

#[test]
fn parallel_writers_leave_a_chain_that_holds() {
    let folder = TempDir::new().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|number| journal(&folder).add(&entry(number), now())));
        }
    });
    journal(&folder).add(&entry(0), now());
    let whole = content(&folder, NAME);
    assert_eq!(verify(&whole, None), Ok(Whole { lines: 201, open: 1 }));
    let mut changed = whole;
    changed[9_000] ^= 1;
    assert!(verify(&changed, None).is_err());
}

fn previous(line: &[u8]) -> String {
    serde_json::from_slice::<Chained>(line.trim_ascii_end()).unwrap().previous
}

#[test]
fn a_line_vouches_for_what_has_come_since_the_last_one_looked() {
    let folder = TempDir::new().unwrap();
    for _ in 0..90 {
        journal(&folder).add(&entry(0), now());
    }
    let whole = content(&folder, NAME);
    assert!(whole.len() > WINDOW);
    let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    for (line, next) in lines.iter().zip(lines.iter().skip(1)) {
        assert_eq!(previous(next), hash(line));
    }
    // Two that looked at the same moment: the next one vouches for both.
    let (last, before) = (lines[89], &whole[..whole.len() - lines[89].len()]);
    let path = folder.path().join("state").join(NAME);
    fs::write(&path, [before, last, last].concat()).unwrap();
    journal(&folder).add(&entry(0), now());
    let whole = content(&folder, NAME);
    let next = whole.split_inclusive(|byte| *byte == b'\n').next_back().unwrap();
    assert_eq!(previous(next), hash(&[last, last].concat()));
    assert_eq!(verify(&whole, None), Ok(Whole { lines: 92, open: 1 }));
}

#[test]
fn a_line_that_is_long_or_has_no_end_is_vouched_for_too() {
    for last in [entry(0).outcome(&"x".repeat(3_000)), entry(0).outcome(&"x".repeat(WINDOW))] {
        let folder = TempDir::new().unwrap();
        journal(&folder).add(&entry(0), now());
        journal(&folder).add(&last, now());
        journal(&folder).add(&entry(0), now());
        let mut whole = content(&folder, NAME);
        assert!(verify(&whole, None).is_ok());
        let at = whole.len() - 800;
        whole[at] ^= 1;
        assert_eq!(verify(&whole, None), Err(Tampered::Before(3)));
    }
    let folder = TempDir::new().unwrap();
    journal(&folder).add(&entry(0), now());
    let path = folder.path().join("state").join(NAME);
    let half = [content(&folder, NAME).as_slice(), b"{\"after\":0,"].concat();
    fs::write(&path, &half).unwrap();
    journal(&folder).add(&entry(0), now());
    assert_eq!(previous(&content(&folder, NAME)[half.len()..]), hash(&half));
}

/// As the versions wrote that always vouched for as much as they could.
fn written_before(lines: usize) -> Vec<u8> {
    let mut whole = Vec::new();
    for number in 0..lines {
        let line = Line {
            time: String::new(),
            entry: &entry(number),
            program: None,
            pid: None,
            invocation: "7-5",
            after: whole.len() as u64,
            previous: match whole.len() {
                0 => String::new(),
                size => hash(&whole[size.saturating_sub(WINDOW)..]),
            },
        };
        whole.extend(serde_json::to_vec(&line).unwrap());
        whole.push(b'\n');
    }
    whole
}

#[test]
fn a_journal_of_an_earlier_version_is_whole_and_goes_on() {
    let folder = TempDir::new().unwrap();
    journal(&folder).add(&entry(0), now());
    let old = written_before(90);
    assert_eq!(verify(&old, None), Ok(Whole { lines: 90, open: 1 }));
    fs::write(folder.path().join("state").join(NAME), &old).unwrap();
    for number in 0..3 {
        journal(&folder).add(&entry(number), now());
    }
    let whole = content(&folder, NAME);
    assert_eq!(verify(&whole, None), Ok(Whole { lines: 93, open: 1 }));
    for at in [10, old.len() - 10, old.len() + 10] {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(verify(&changed, None).is_err(), "byte {at}");
    }
}

#[test]
fn a_full_journal_is_put_aside_once_and_the_next_one_goes_on_from_it() {
    let folder = TempDir::new().unwrap();
    let long = "x".repeat(900);
    let mut lines = 0;
    while content(&folder, BEFORE).is_empty() {
        journal(&folder).add(&entry(0).outcome(&long), now());
        lines += 1;
        assert!(lines < 2_000);
    }
    let (before, after) = (content(&folder, BEFORE), content(&folder, NAME));
    assert!(before.len() >= FULL && before.len() < FULL + 4 * 1024);
    assert_eq!(verify(&after, Some(&before)), Ok(Whole { lines: 1, open: 1 }));
    assert_eq!(verify(&after, None), Ok(Whole { lines: 1, open: 1 }), "the other one may be gone");
    assert_eq!(verify(&before, None), Ok(Whole { lines: lines - 1, open: 1 }));
    let mut changed = before;
    let end = changed.len() - 10;
    changed[end] ^= 1;
    assert_eq!(verify(&after, Some(&changed)), Err(Tampered::Before(1)));
}

proptest! {
    #[test]
    fn no_content_makes_it_stumble(content: Vec<u8>, before: Option<Vec<u8>>) {
        let _ = verify(&content, before.as_deref());
    }
}
