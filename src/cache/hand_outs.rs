//! Who was handed which token of a key lately: a small file beside the entry that is only ever
//! appended to, so that a hit costs one short write. Nothing in it is secret: tokens are known by
//! the beginning of their digest. Losing it costs a refused token one more request to be noticed.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use super::CacheKey;
use super::file::Folder;
use crate::suspicion::{Event, worth_keeping};
use crate::token::Timestamp;

/// About 250 lines; above it what does not count any more is dropped.
const LARGEST: usize = 16 * 1024;

/// The hand-outs of one key.
pub struct HandOuts {
    file: File,
    /// What was there when it was opened, oldest first, and what was added since.
    past: Vec<Event>,
    size: usize,
}

impl HandOuts {
    /// Opens the file of this key; `None` where there is no folder of ours, or something is wrong
    /// with the file.
    pub(super) fn open(folder: &Path, key: &CacheKey) -> Option<Self> {
        let (mut file, size) = Folder::open(folder).ok()?.open_to_append(&name(key)).ok()?;
        let mut text = String::with_capacity(size.min(4 * LARGEST).saturating_add(1));
        (&mut file).take(4 * LARGEST as u64).read_to_string(&mut text).ok()?;
        let past = text.split_terminator('\n').filter_map(Event::parse).collect();
        Some(Self { file, past, size: text.len() })
    }

    /// What happened so far.
    #[must_use]
    pub fn past(&self) -> &[Event] {
        &self.past
    }

    /// Adds a line. What cannot be written is forgotten.
    pub fn add(&mut self, event: Event, lives: impl Fn(&str) -> bool) {
        let line = event.line();
        let now = event.at;
        self.past.push(event);
        self.size += line.len();
        if self.size > LARGEST {
            self.shorten(now, lives);
        } else {
            // One write: lines of parallel processes do not mix.
            let _ = self.file.write_all(line.as_bytes());
        }
    }

    fn shorten(&mut self, now: Timestamp, lives: impl Fn(&str) -> bool) {
        let mut past = worth_keeping(std::mem::take(&mut self.past), now, lives);
        let text = |past: &[Event]| past.iter().map(Event::line).collect::<String>();
        while text(&past).len() > LARGEST / 2 {
            past.drain(..past.len().div_ceil(2));
        }
        // Another process that reads in between sees less than there was, and suspects nobody.
        let whole = text(&past);
        if self.file.set_len(0).is_ok() {
            let _ = self.file.write_all(whole.as_bytes());
        }
        self.size = whole.len();
        self.past = past;
    }
}

fn name(key: &CacheKey) -> String {
    format!("{key}.given")
}

/// Forgets the hand-outs of a key.
pub(super) fn forget(folder: &Path, key: &CacheKey) {
    if let Ok(folder) = Folder::open(folder) {
        // What cannot be removed tells nothing secret.
        let _ = folder.remove(&name(key));
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use tempfile::TempDir;

    use super::*;
    use crate::cache::KeyBuilder;
    use crate::suspicion::What;
    use crate::token::Digest;

    fn key(name: &str) -> CacheKey {
        KeyBuilder::new("token", 1).part("name", name).finish()
    }

    fn event(number: i64, caller: &str) -> Event {
        Event {
            at: DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::seconds(number),
            what: What::Given,
            caller: caller.into(),
            token: Digest::parse("0123456789abcdef").unwrap(),
        }
    }

    fn open(folder: &TempDir) -> HandOuts {
        HandOuts::open(folder.path(), &key("a")).unwrap()
    }

    #[test]
    fn what_was_added_is_there_for_the_next_process_and_rubbish_is_not() {
        let folder = TempDir::new().unwrap();
        open(&folder).add(event(0, "1@1"), |_| true);
        let path = folder.path().join(name(&key("a")));
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("half a li\n\n1800000001 given");
        std::fs::write(&path, text).unwrap();
        assert_eq!(open(&folder).past(), [event(0, "1@1")]);
        assert!(HandOuts::open(folder.path(), &key("b")).unwrap().past().is_empty());
        forget(folder.path(), &key("a"));
        assert!(open(&folder).past().is_empty());
    }

    #[test]
    fn the_file_stays_small_and_keeps_the_living() {
        let folder = TempDir::new().unwrap();
        for number in 0..2_000 {
            open(&folder).add(event(number, &format!("{number}@1")), |caller| caller == "7@1");
        }
        let size = std::fs::metadata(folder.path().join(name(&key("a")))).unwrap().len();
        assert!(size <= LARGEST as u64, "{size}");
        let past = open(&folder);
        assert!(past.past().iter().any(|event| event.caller == "7@1"));
        assert!(past.past().iter().any(|event| event.caller == "1999@1"));
        for number in 0..2_000 {
            open(&folder).add(event(number, &format!("{number}@1")), |_| true);
        }
        let size = std::fs::metadata(folder.path().join(name(&key("a")))).unwrap().len();
        assert!(size <= LARGEST as u64, "all live, and it is small all the same");
    }

    #[test]
    fn what_somebody_else_put_in_its_place_is_not_used() {
        let folder = TempDir::new().unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join(name(&key("a")))).unwrap();
        assert!(HandOuts::open(folder.path(), &key("a")).is_none());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
