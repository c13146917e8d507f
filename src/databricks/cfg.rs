//! `.databrickscfg`, the file of profiles that Databricks' tools share: read for the host of a profile,
//! and written one profile at a time. What stands in it beside that profile is not ours and stays as it
//! is, byte for byte.
//!
//! Its form is that of Python's `configparser` and of Go's `ini`: `[name]`, then `key = value`, and
//! comments behind `#` and `;`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::cache::file::Folder;
use crate::cache::lock;
use crate::env::Env;
use crate::foreign_file::{self, NotRead};

/// The largest file that is read.
const LARGEST: usize = 1024 * 1024;

/// How long another process of ours may be at it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where it is: `DATABRICKS_CONFIG_FILE`, else `~/.databrickscfg`.
#[must_use]
pub fn place(env: &Env) -> Option<PathBuf> {
    let home = env.home();
    match env.filled("DATABRICKS_CONFIG_FILE") {
        Some(path) => match (path.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => Some(home.join(rest)),
            _ => Some(PathBuf::from(path)),
        },
        None => home.map(|home| home.join(".databrickscfg")),
    }
}

/// The value of a key in the profile of this name; none where any of them is missing.
#[must_use]
pub fn value(text: &str, profile: &str, key: &str) -> Option<String> {
    let own = section(text, profile)?;
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        (name.trim().eq_ignore_ascii_case(key)).then(|| value.trim().to_owned())
    };
    let lines = text.get(own)?.lines().skip(1);
    lines.filter(|line| !is_comment(line)).find_map(pair).filter(|value| !value.is_empty())
}

/// Reads the file; an absent one is empty.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, NotRead> {
    match foreign_file::read(path, LARGEST) {
        Ok(bytes) => match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Zeroizing::new(text.to_owned())),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8").into()),
        },
        Err(error) if error.is_absent() => Ok(Zeroizing::default()),
        Err(error) => Err(error),
    }
}

/// Puts a profile with these lines into the file, in the place of one of the same name. Other users
/// cannot read the file afterwards; it is replaced whole or not at all, and a link to it stays a link.
///
/// # Errors
/// It cannot be read, or not be written there.
pub(crate) fn put(path: &Path, state: Option<&Path>, profile: &str, lines: &str) -> Result<(), String> {
    // Two of us at once would each keep the other's profile as it was before.
    let state = state.and_then(|state| Folder::create(state).ok());
    let _lock = state.as_ref().map(|state| lock::acquire(state, "databrickscfg.lock", PATIENCE, &mut || ()));
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let before = read(&path).map_err(|error| error.to_string())?;
    let after = with_profile(&before, profile, lines);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Err("it has no name".into());
    };
    let folder = Folder::open(parent).map_err(|error| error.to_string())?;
    folder.replace(name, after.as_bytes(), true).map_err(|error| error.to_string())?;
    Ok(())
}

/// The text with this profile in it.
fn with_profile(text: &str, profile: &str, lines: &str) -> Zeroizing<String> {
    let own = section(text, profile);
    let (before, after) = match own {
        Some(own) => (text.get(..own.start).unwrap_or_default(), text.get(own.end..).unwrap_or_default()),
        None => (text, ""),
    };
    let mut whole = Zeroizing::new(String::with_capacity(text.len() + lines.len() + profile.len() + 8));
    whole.push_str(before);
    if own_line_needed(before) {
        whole.push('\n');
    }
    if section(text, profile).is_none() && !before.is_empty() {
        whole.push('\n');
    }
    whole.push('[');
    whole.push_str(profile);
    whole.push_str("]\n");
    whole.push_str(lines);
    whole.push_str(after);
    whole
}

fn own_line_needed(before: &str) -> bool {
    !before.is_empty() && !before.ends_with('\n')
}

/// Where the profile of this name stands: from its heading to its last line that says something, so
/// that comments and empty lines before the next heading are the next one's.
fn section(text: &str, profile: &str) -> Option<std::ops::Range<usize>> {
    let mut start = None;
    let (mut at, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        if let Some(name) = heading(line) {
            if start.is_some() {
                break;
            }
            if name == profile {
                start = Some(at);
                end = next;
            }
        } else if start.is_some() && !line.trim().is_empty() && !is_comment(line) {
            end = next;
        }
        at = next;
    }
    start.map(|start| start..end)
}

fn heading(line: &str) -> Option<&str> {
    let (name, rest) = line.trim().strip_prefix('[')?.split_once(']')?;
    (rest.trim().is_empty() || is_comment(rest)).then_some(name.trim())
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "; mine\r\n[DEFAULT]\nhost = https://a\n\n# about b\n[b] ; old\nHost=https://b.example/\n\
                        token   = x=y\n# was: z\n\n# about c\n[c]\nhost: no\nhost = https://c";

    #[test]
    fn a_profiles_value_is_read_and_nobody_elses() {
        assert_eq!(value(FILE, "b", "host").as_deref(), Some("https://b.example/"));
        assert_eq!(value(FILE, "b", "token").as_deref(), Some("x=y"));
        assert_eq!(value(FILE, "c", "host").as_deref(), Some("https://c"));
        assert_eq!(value(FILE, "DEFAULT", "token"), None);
        assert_eq!(value(FILE, "d", "host"), None);
        assert_eq!(value("", "d", "host"), None);
    }

    #[test]
    fn a_profile_is_put_in_its_place_and_the_rest_stays_byte_for_byte() {
        let after = with_profile(FILE, "b", "host = https://new\ntoken = t\n");
        let begin = FILE.find("[b]").unwrap();
        let rest = FILE.find("# was: z").unwrap();
        assert_eq!(
            *after,
            format!("{}[b]\nhost = https://new\ntoken = t\n{}", &FILE[..begin], &FILE[rest..])
        );
        let again = with_profile(&after, "b", "host = https://new\ntoken = t\n");
        assert_eq!(*again, *after);
        let added = with_profile(FILE, "d", "host = d\n");
        assert_eq!(*added, format!("{FILE}\n\n[d]\nhost = d\n"));
        assert_eq!(*with_profile("", "d", "host = d\n"), "[d]\nhost = d\n");
        let last = with_profile(FILE, "c", "host = d\n");
        assert!(last.ends_with("# about c\n[c]\nhost = d\n"), "{}", *last);
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_user_alone_and_a_link_to_it_stays_one() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("real"), folder.path().join(".databrickscfg"));
        std::fs::write(&file, "[a]\nhost = h\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&file, &link).unwrap();
        put(&link, None, "b", "token = t\n").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "[a]\nhost = h\n\n[b]\ntoken = t\n");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let new = folder.path().join("new");
        put(&new, None, "b", "token = t\n").unwrap();
        assert_eq!(std::fs::metadata(&new).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(put(&folder.path().join("no/where"), None, "b", "token = t\n").is_err());
    }
}
