//! The settings files: which there are, whether they can be read, and what is in them.

use std::path::{Path, PathBuf};

use super::{Order, Report};
use crate::config::{EntryKind, Settings, SettingsFiles};

const CHECK: &str = "settings";

/// The settings, where they can be used.
pub(super) fn examine(order: &Order<'_>, report: &mut Report) -> Option<Settings> {
    let files = SettingsFiles::of(order.env, order.config.map(PathBuf::as_path));
    let settings = match Settings::load(&files) {
        Ok(settings) => settings,
        Err(error) => {
            report.error(CHECK, error);
            return None;
        }
    };
    let usual = files.person.as_deref();
    let read: Vec<String> = [Some(files.administrator.as_path()), usual]
        .into_iter()
        .flatten()
        .filter(|file| file.exists())
        .map(|file| format!("`{}`", file.display()))
        .collect();
    if read.is_empty() {
        nothing(usual, report);
    } else {
        let profiles = settings.names(EntryKind::Profile);
        let of = |kind, one: &str| {
            let names = settings.names(kind);
            (!names.is_empty()).then(|| format!("{one} {}", names.join(", ")))
        };
        let entries: Vec<String> = [
            of(EntryKind::Vault, "vaults"),
            of(EntryKind::Provider, "providers"),
            of(EntryKind::Identity, "identities"),
            of(EntryKind::Profile, "profiles"),
        ]
        .into_iter()
        .flatten()
        .collect();
        let message = format!("read {}", read.join(" and "));
        if profiles.is_empty() {
            let why = "no profile is described in it: only flags can say what to fetch".to_owned();
            report.warn(CHECK, message, Some(why), Some("describe one under `profiles`: docs/settings.md"));
        } else {
            report.ok(CHECK, format!("{message}: {}", entries.join("; ")));
        }
    }
    Some(settings)
}

fn nothing(usual: Option<&Path>, report: &mut Report) {
    let why = match usual {
        Some(file) => format!("`{}` does not exist", file.display()),
        None => "the environment names no home directory".to_owned(),
    };
    let hint = "write one, as docs/settings.md shows";
    report.warn(CHECK, "there is no settings file".to_owned(), Some(why), Some(hint));
}
