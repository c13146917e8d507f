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
