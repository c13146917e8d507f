//! What `PATH` makes of `kubectl vaulttoken`: kubectl runs the longest name that it finds, whoever put
//! it there.

use std::path::{Path, PathBuf};

use super::{Report, State};
use crate::error::ExitCode;
use crate::program::is_program;

const CHECK: &str = "path";
const NAME: &str = "kubectl-vaulttoken";

pub(super) fn examine(path: Option<&str>, program: Option<&Path>, report: &mut Report) {
    let folders: Vec<PathBuf> = path.map(|path| std::env::split_paths(path).collect()).unwrap_or_default();
    let before = report.items.len();
    let own: Vec<PathBuf> =
        folders.iter().map(|folder| folder.join(file_name())).filter(|file| is_program(file)).collect();
    let first = own.first();
    if first.is_none() {
        let why = "a kubeconfig with `command: kubectl-vaulttoken` does not find it".to_owned();
        let hint = "kubectl krew install vaulttoken, or write the whole path into the kubeconfig";
        report.warn(CHECK, format!("there is no `{NAME}` on `PATH`"), Some(why), Some(hint));
    }
    several(&own, program, report);
    foreign(&folders, report);
    // Whoever writes to a folder in front of ours puts another program in its place.
    let in_front = first.and_then(|file| folders.iter().position(|folder| file.parent() == Some(folder)));
    let in_front = in_front.map_or(folders.len(), |at| at + 1);
    for folder in folders.iter().take(in_front) {
        if let Some(why) = weakness(folder) {
            let message = format!("others can decide what `PATH` finds: `{}`", folder.display());
            report.warn(CHECK, message, Some(why), Some("take it out of `PATH`, or put it last"));
        }
    }
    let is_fine = report.items.iter().skip(before).all(|finding| finding.state == State::Ok);
    if let Some(first) = first.filter(|_| is_fine) {
        report.ok(CHECK, format!("`{NAME}` is `{}`", first.display()));
    }
}

fn file_name() -> &'static str {
    if cfg!(windows) { "kubectl-vaulttoken.exe" } else { NAME }
}

fn several(own: &[PathBuf], program: Option<&Path>, report: &mut Report) {
    let real = |file: &Path| std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let Some(first) = own.first() else { return };
    let others: Vec<String> = own
        .iter()
        .filter(|file| real(file) != real(first))
        .map(|file| format!("`{}`", file.display()))
        .collect();
    if !others.is_empty() {
        let message = format!("several `{NAME}` are on `PATH`; `{}` is run", first.display());
        let why = format!("behind it: {}", others.join(", "));
        report.warn(CHECK, message, Some(why), Some("remove those that you do not mean"));
    }
    if let Some(program) = program.filter(|program| real(program) != real(first)) {
        let message = format!("clients run `{}`", first.display());
        let why = format!("this is `{}`, which `PATH` does not find first", program.display());
        report.warn(CHECK, message, Some(why), Some("put its folder first, or remove the other one"));
    }
}

/// Programs whose names are longer than ours.
fn foreign(folders: &[PathBuf], report: &mut Report) {
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        for name in names {
            let Some(command) = name.strip_prefix("kubectl-vaulttoken-") else { continue };
            let file = folder.join(&name);
            if is_program(&file) {
                // kubectl looks for `get-token` as `get_token`.
                let command = command.trim_end_matches(".exe").replace('_', "-");
                let message = format!("kubectl runs `{}` as `kubectl vaulttoken {command}`", file.display());
                let why = "it takes the longest name that it finds, and that is another program".to_owned();
                report.fail(CHECK, ExitCode::Withheld, message, Some(why), Some("remove it"));
            }
        }
    }
}

fn weakness(folder: &Path) -> Option<String> {
    if !folder.is_absolute() {
        return Some("it is relative: it depends on the folder that a client is started in".to_owned());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let about = std::fs::metadata(folder).ok()?;
        if about.mode() & 0o002 != 0 {
            return Some("everybody can write to it".to_owned());
        }
        if about.uid() != 0 && about.uid() != rustix::process::geteuid().as_raw() {
            return Some(format!("it belongs to another user (uid {})", about.uid()));
        }
    }
    None
}
