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

/// About 250 lines; above it the oldest are dropped, whatever they are.
const LARGEST: usize = 16 * 1024;
/// Each time that so much has come, what does not count any more is dropped: every hit reads it all.
const STEP: usize = 4 * 1024;

/// The hand-outs of one key.
pub struct HandOuts {
    file: File,
    /// What was there when it was opened, oldest first, and what was added since.
    text: String,
}

impl HandOuts {
    /// Opens the file of this key; `None` where there is no folder of ours, or something is wrong
    /// with the file.
    pub(super) fn open(folder: &Path, key: &CacheKey) -> Option<Self> {
        let (mut file, size) = Folder::open(folder).ok()?.open_to_append(&name(key)).ok()?;
        let mut text = String::with_capacity(size.min(4 * LARGEST).saturating_add(1));
        (&mut file).take(4 * LARGEST as u64).read_to_string(&mut text).ok()?;
        Some(Self { file, text })
    }

    /// What happened so far.
    #[must_use]
    pub fn past(&self) -> Vec<Event> {
        self.lines().filter_map(Event::parse).collect()
    }

    /// What happened so far to this program. Most lines are of others, which are ended: not even
    /// reading those is a sixth of a hit.
    #[must_use]
    pub fn past_of(&self, caller: &str) -> Vec<Event> {
        if !self.text.contains(caller) {
            return Vec::new();
        }
        let past = self.lines().filter(|line| line.contains(caller)).filter_map(Event::parse);
        past.filter(|event| event.caller == caller).collect()
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        self.text.split_terminator('\n')
    }

    /// Adds a line. What cannot be written is forgotten.
    pub fn add(&mut self, event: &Event, lives: impl Fn(&str) -> bool) {
        let mut line = event.line();
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            // Whoever wrote last was cut off.
            line.insert(0, '\n');
        }
        let before = self.text.len();
        self.text.push_str(&line);
        if self.text.len() / STEP != before / STEP && self.shorten(event.at, lives) {
            return;
        }
        // One write: lines of parallel processes do not mix.
        let _ = self.file.write_all(line.as_bytes());
    }

    /// Writes anew what is worth keeping, where that is little enough: what others add meanwhile is
    /// lost, so a crowd of the living is left alone as long as it can be.
    fn shorten(&mut self, now: Timestamp, lives: impl Fn(&str) -> bool) -> bool {
        let mut past = worth_keeping(self.past(), now, lives);
        let text = |past: &[Event]| past.iter().map(Event::line).collect::<String>();
        let mut whole = text(&past);
        if self.text.len() < LARGEST && whole.len() > self.text.len() / 2 {
            return false;
        }
        while whole.len() > LARGEST / 2 {
            past.drain(..past.len().div_ceil(2));
            whole = text(&past);
        }
        // Another process that reads in between sees less than there was, and suspects nobody.
        if self.file.set_len(0).is_ok() {
            let _ = self.file.write_all(whole.as_bytes());
        }
        self.text = whole;
        true
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
        open(&folder).add(&event(0, "1@1"), |_| true);
        let path = folder.path().join(name(&key("a")));
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("half a li\n\n1800000001 given");
        std::fs::write(&path, text).unwrap();
        assert_eq!(open(&folder).past(), [event(0, "1@1")]);
        assert_eq!(open(&folder).past_of("1@1"), [event(0, "1@1")]);
        open(&folder).add(&event(1, "2@2"), |_| true);
        assert_eq!(open(&folder).past_of("2@2"), [event(1, "2@2")], "after half a line");
        // Part of a name is none.
        assert!(open(&folder).past_of("1@").is_empty() && open(&folder).past_of("2@").is_empty());
        assert!(HandOuts::open(folder.path(), &key("b")).unwrap().past().is_empty());
        forget(folder.path(), &key("a"));
        assert!(open(&folder).past().is_empty());
    }

    #[test]
    fn the_file_stays_small_and_keeps_the_living() {
        let folder = TempDir::new().unwrap();
        for number in 0..2_000 {
            open(&folder).add(&event(number, &format!("{number}@1")), |caller| caller == "7@1");
        }
        let size = std::fs::metadata(folder.path().join(name(&key("a")))).unwrap().len();
        assert!(size <= STEP as u64, "{size}");
        let past = open(&folder);
        assert!(past.past().iter().any(|event| event.caller == "7@1"));
        assert!(past.past().iter().any(|event| event.caller == "1999@1"));
        for number in 0..2_000 {
            open(&folder).add(&event(number, &format!("{number}@1")), |_| true);
        }
        let size = std::fs::metadata(folder.path().join(name(&key("a")))).unwrap().len();
        assert!(size <= LARGEST as u64, "all live, and it is small all the same");
    }

    #[test]
    fn a_crowd_of_the_living_is_kept_as_long_as_there_is_room() {
        let folder = TempDir::new().unwrap();
        // 60 bytes each.
        for number in 0..200 {
            open(&folder).add(&event(number, &format!("{}@1000000000000", 10_000 + number)), |_| true);
        }
        assert_eq!(open(&folder).past().len(), 200);
        let path = folder.path().join(name(&key("a")));
        assert!(std::fs::metadata(path).unwrap().len() > 2 * STEP as u64);
    }

    #[test]
    fn what_somebody_else_put_in_its_place_is_not_used() {
        let folder = TempDir::new().unwrap();
        std::os::unix::fs::symlink("elsewhere", folder.path().join(name(&key("a")))).unwrap();
        assert!(HandOuts::open(folder.path(), &key("a")).is_none());
        assert!(!folder.path().join("elsewhere").exists());
    }
}
