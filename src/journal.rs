//! What was handed out, minted, refused and revoked: one JSON line each in `journal.jsonl`, so that
//! a line of Vault's or the cluster's audit log can be traced to the program that asked. It never
//! holds a secret, never fails a call, and costs one write.
//!
//! Lines are chained: each says how long the file was when its writer looked (`after`) and the
//! SHA-256 of what had come since the writer of the last line looked (`previous`, at most [`WINDOW`]
//! bytes). Writers take no lock; two that look at the same moment name the same bytes, and the next
//! one covers both. So [`verify`] finds every line that was changed, put in or taken out, but not
//! that the last lines were cut off, nor that somebody with the rights of this user wrote the whole
//! file anew.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use chrono::SecondsFormat;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::cache::Acquired;
use crate::cache::file::Folder;
use crate::cache::lock;
use crate::error::{Error, printable};
use crate::hex::hex;
use crate::process::Caller;
use crate::source::Elsewhere;
use crate::token::{Timestamp, Token};

/// The journal, in the state folder.
pub const NAME: &str = "journal.jsonl";
/// What it is called once it is full.
pub const BEFORE: &str = "journal.jsonl.1";
const LOCK: &str = "journal.lock";

/// From this size on a new file is begun.
const FULL: usize = 1024 * 1024;
/// How much of the end of the file a line vouches for at most: some forty lines, so that as many
/// writers at the same moment leave none out.
pub const WINDOW: usize = 16 * 1024;
/// Where the last line is looked for first: most are half as long.
const LAST_LINE: usize = 1024;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// A token was given to a program.
    HandOut,
    /// A token was fetched.
    Mint,
    /// A person or a job logged in.
    Login,
    /// Nothing was given.
    Refusal,
    /// A session or a lease was revoked.
    Revocation,
}

/// One line. Whatever is not known is left out.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// `iss`, `sub` and `jti` of the token that was exchanged: its issuer's log may know them.
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanged_issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanged_subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchanged_token_id: Option<String>,
    /// The JWT's `jti`, which the API server's audit log knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// The beginning of the token's SHA-256.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_id: Option<String>,
    /// By which Vault's audit log knows the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// How it was had, or what came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

impl Entry {
    /// Nothing but what happened.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self {
            event,
            profile: None,
            cluster: None,
            vault: None,
            provider: None,
            subject: None,
            exchanged_issuer: None,
            exchanged_subject: None,
            exchanged_token_id: None,
            token_id: None,
            token_sha256: None,
            lease_id: None,
            request_id: None,
            outcome: None,
            exit_code: None,
        }
    }

    /// For which profile.
    #[must_use]
    pub fn profile(mut self, name: &str) -> Self {
        self.profile = Some(printable(name));
        self
    }

    /// For which API server.
    #[must_use]
    pub fn cluster(mut self, server: Option<&str>) -> Self {
        self.cluster = server.map(printable);
        self
    }

    /// At which Vault.
    #[must_use]
    pub fn vault(mut self, origin: &str) -> Self {
        self.vault = Some(printable(origin));
        self
    }

    /// At which provider, or endpoint of an exchange.
    #[must_use]
    pub fn provider(mut self, issuer: &str) -> Self {
        self.provider = Some(printable(issuer));
        self
    }

    /// By whom outside a Vault, and for whose token.
    #[must_use]
    pub fn elsewhere(mut self, given: &Elsewhere) -> Self {
        if let Some(claims) = &given.exchanged {
            let text = |claim: &Option<String>| claim.as_deref().map(printable);
            self.exchanged_issuer = text(&claims.issuer);
            self.exchanged_subject = text(&claims.subject);
            self.exchanged_token_id = text(&claims.token_id);
        }
        if given.was_refreshed {
            self.outcome = Some("refreshed".to_owned());
        }
        self.provider(&given.by)
    }

    /// In whose name.
    #[must_use]
    pub fn subject(mut self, subject: Option<&str>) -> Self {
        self.subject = subject.map(printable);
        self
    }

    /// By which request.
    #[must_use]
    pub fn request(mut self, id: Option<&str>) -> Self {
        self.request_id = id.map(printable);
        self
    }

    /// Which token, by all that it is known by but its secret.
    #[must_use]
    pub fn token(mut self, token: &Token) -> Self {
        self.token_id = token.token_id.as_deref().map(printable);
        self.token_sha256 = Some(token.digest().to_string());
        self.lease_id = token.lease.as_ref().map(|lease| printable(&lease.id));
        self.subject(token.subject.as_deref())
    }

    /// How.
    #[must_use]
    pub fn outcome(mut self, outcome: &str) -> Self {
        self.outcome = Some(printable(outcome));
        self
    }

    /// Why not.
    #[must_use]
    pub fn error(mut self, error: &Error) -> Self {
        self.exit_code = Some(error.exit_code() as u8);
        self.outcome(&error.to_string())
    }
}

/// The journal of one call.
#[derive(Debug, Clone)]
pub struct Journal {
    /// None: it is switched off, or there is no state folder.
    folder: Option<PathBuf>,
    program: Option<(String, u32)>,
    /// All lines of one call have the same, also those of a renewal that it caused.
    invocation: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    time: String,
    #[serde(flatten)]
    entry: &'a Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    invocation: &'a str,
    after: u64,
    previous: String,
}

impl Journal {
    /// The journal in this folder, for what `caller` asks.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, caller: Option<&Caller>, invocation: String) -> Self {
        let program = caller.map(|caller| (printable(&caller.name), caller.id));
        Self { folder, program, invocation }
    }

    /// The name of a call that begins now: this process and the moment.
    #[must_use]
    pub fn invocation(now: Timestamp) -> String {
        format!("{}-{:x}", std::process::id(), now.timestamp_micros())
    }

    /// Adds a line. What cannot be written is no error: the token matters more.
    pub fn add(&self, entry: &Entry, now: Timestamp) {
        if let Some(folder) = self.folder.as_ref().and_then(|path| Folder::create(path).ok()) {
            let _ = self.try_to_add(&folder, entry, now);
        }
    }

    fn try_to_add(&self, folder: &Folder, entry: &Entry, now: Timestamp) -> std::io::Result<()> {
        let (mut file, mut size) = folder.open_to_append(NAME)?;
        if size >= FULL {
            begin_anew(folder, &file);
            (file, size) = folder.open_to_append(NAME)?;
        }
        let (after, previous) = end_of(folder, &mut file, size)?;
        let line = Line {
            time: now.to_rfc3339_opts(SecondsFormat::Micros, true),
            entry,
            program: self.program.as_ref().map(|(name, _)| name.as_str()),
            pid: self.program.as_ref().map(|(_, id)| *id),
            invocation: &self.invocation,
            after,
            previous,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        // One write to the end of the file: lines of parallel processes do not mix.
        file.write_all(&text)
    }
}

/// Gives the full file its other name. Only one process does that; the others go on in the full one.
fn begin_anew(folder: &Folder, full: &File) {
    let Acquired::Guard(_lock) = lock::acquire(folder, LOCK, Duration::ZERO, &mut || ()) else { return };
    if folder.is_still(NAME, full) {
        // A journal that cannot be renamed grows on until it can.
        let _ = folder.rename(NAME, BEFORE);
    }
}

/// How long the file is, and the hash of what this line vouches for; of the full one's end where the
/// file is new.
fn end_of(folder: &Folder, file: &mut File, size: usize) -> std::io::Result<(u64, String)> {
    if size == 0 {
        let end = folder
            .open_existing(BEFORE)
            .map(|(mut before, size)| tail(&mut before, size, WINDOW))
            .transpose()?;
        return Ok((0, end.map_or_else(String::new, |end| hash(&end))));
    }
    let end = tail(file, size, LAST_LINE)?;
    let previous = if let Some(since) = since_last_line(&end, size) {
        hash(since)
    } else {
        // A line longer than that, or some that were written at one moment.
        let end = tail(file, size, WINDOW)?;
        hash(since_last_line(&end, size).unwrap_or(&end))
    };
    Ok((size as u64, previous))
}

fn tail(file: &mut File, size: usize, most: usize) -> std::io::Result<Vec<u8>> {
    let mut end = vec![0; size.min(most)];
    file.seek(SeekFrom::Start((size - end.len()) as u64))?;
    file.read_exact(&mut end)?;
    Ok(end)
}

/// What has come since the writer of the last line looked, that line included: it vouches for all
/// before. `None` where not all of that is in `end`, the end of a file of `size` bytes.
fn since_last_line(end: &[u8], size: usize) -> Option<&[u8]> {
    let lines = end.strip_suffix(b"\n")?;
    let begins = match lines.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => newline + 1,
        None if end.len() == size => 0,
        None => return None,
    };
    let chained: Chained = serde_json::from_slice(lines.get(begins..)?).ok()?;
    let came = size.checked_sub(usize::try_from(chained.after).ok()?)?;
    let since = end.len().checked_sub(came)?;
    end.get(since..).filter(|_| since <= begins)
}

fn hash(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// A journal without a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// How many lines it has.
    pub lines: usize,
    /// How many of them no later line vouches for: always the last, and more after a moment in which
    /// very many programs wrote.
    pub open: usize,
}

/// Where a journal is not as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Tampered {
    /// This line is none of a journal.
    #[error("line {0} is not a line of a journal")]
    NoLine(usize),
    /// Something before this line was changed, put in or taken out.
    #[error("what stands before line {0} is not what stood there when it was written")]
    Before(usize),
}

#[derive(Deserialize)]
struct Chained {
    after: u64,
    previous: String,
}

/// Checks the chain of one file. `before` is the file that was full before it, where it is there.
///
/// # Errors
/// The first line that does not fit to what stands before it.
pub fn verify(content: &[u8], before: Option<&[u8]>) -> Result<Whole, Tampered> {
    let (mut start, mut covered, mut lines) = (0_usize, 0_usize, 0_usize);
    // Where each line ends, and what it came after.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        let text = line.strip_suffix(b"\n").ok_or(Tampered::NoLine(lines))?;
        let chained: Chained = serde_json::from_slice(text).map_err(|_| Tampered::NoLine(lines))?;
        let after = usize::try_from(chained.after).map_err(|_| Tampered::Before(lines))?;
        if after > start {
            return Err(Tampered::Before(lines));
        }
        if after == 0 {
            // Without the file before nothing can be said about its end.
            let fits = before.is_none_or(|before| {
                let seen = before.get(before.len().saturating_sub(WINDOW)..).unwrap_or_default();
                chained.previous == hash(seen) || (seen.is_empty() && chained.previous.is_empty())
            });
            if !fits {
                return Err(Tampered::Before(lines));
            }
        } else {
            let window = after.saturating_sub(WINDOW);
            let last = ends.binary_search_by_key(&after, |(end, _)| *end).ok();
            let last = last.and_then(|at| ends.get(at)).map(|(_, after)| *after);
            // Earlier versions always vouched for as much as they could.
            let mut sinces = last.filter(|since| *since > window).into_iter().chain([window]);
            let since = sinces
                .find(|since| content.get(*since..after).is_some_and(|seen| chained.previous == hash(seen)));
            if since.ok_or(Tampered::Before(lines))? <= covered {
                covered = covered.max(after);
            }
        }
        start += line.len();
        ends.push((start, after));
    }
    Ok(Whole { lines, open: ends.iter().filter(|(end, _)| *end > covered).count() })
}

#[cfg(test)]
mod tests;
