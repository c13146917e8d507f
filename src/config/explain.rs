//! Why a mistake in the settings is one, and what mends it: the second and third line that a person
//! reads. The first is the error's own.

use super::problem::{Alternatives, By, EntryKind, SettingsError};
use crate::env::Env;
use crate::error::{ExitCode, Explain, shell_word};

/// Where a person's settings usually lie.
const USUAL_FILE: &str =
    if cfg!(windows) { r"%APPDATA%\vaulttoken\config.yaml" } else { "~/.config/vaulttoken/config.yaml" };

/// At most a dozen names, so that a line stays a line.
fn list(names: &[String]) -> String {
    const MOST: usize = 12;
    let text = names.iter().take(MOST).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST) {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

fn there_are(kind: &str, known: &[String]) -> String {
    if known.is_empty() { format!("there is no {kind} at all") } else { format!("there are {}", list(known)) }
}

fn write(instead: &Alternatives, flag: &str) -> Option<String> {
    instead.meant.as_ref().map(|meant| format!("write `{flag}{}`", shell_word(meant)))
}

impl Explain for SettingsError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Usage
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Missing { named_by, .. } => Some(format!("{named_by} names it")),
            Self::Unreadable { cause, .. }
            | Self::Syntax { cause, .. }
            | Self::SourceMisplaced { cause, .. }
            | Self::BrokenContext { cause, .. } => Some(cause.clone()),
            Self::Unguarded { owner, mode, .. } => Some(format!(
                "it counts only if root owns it and nobody else can write it; its owner is {owner}, its mode {mode:04o}"
            )),
            Self::Unknown { instead, .. } if instead.known.is_empty() => {
                Some("no field is allowed here".to_owned())
            }
            Self::Unknown { instead, .. } => Some(format!("allowed here: {}", list(&instead.known))),
            Self::TwoKinds { .. } => Some("exactly one key names the kind".to_owned()),
            Self::NoSuchEntry { kind, instead, .. } | Self::NotKnown { kind, instead, .. } => {
                Some(there_are(&kind.to_string(), &instead.known))
            }
            Self::Circle { .. } => Some("its identity is an identity token of that vault".to_owned()),
            Self::ForAdministrators { .. } => Some("it names a program to run".to_owned()),
            Self::Extension { allowed, .. } => allowed.map(|allowed| format!("it may hold {allowed}")),
            Self::ProfileNeeded { known } => Some(there_are("profile", known)),
            Self::NoProfile => Some(
                "no settings file has one, and neither `--source` nor `--role` stands for one".to_owned(),
            ),
            Self::VaultNeeded { known } if known.is_empty() => {
                Some("neither the settings nor `VAULT_ADDR` or `BAO_ADDR` name one".to_owned())
            }
            Self::VaultNeeded { known } => Some(there_are("vault", known)),
            Self::NoSuchContext { instead, .. } => Some(there_are("context", &instead.known)),
            Self::NoCurrentContext { known } => Some(there_are("context", known)),
            Self::NotAFile { .. }
            | Self::TooLarge { .. }
            | Self::NotText { .. }
            | Self::WrongType { .. }
            | Self::MissingField { .. }
            | Self::GivenTwice { .. }
            | Self::BadValue { .. }
            | Self::Combination { .. }
            | Self::Word { .. }
            | Self::Variable { .. }
            | Self::Misplaced { .. }
            | Self::Needed { .. }
            | Self::TwoVaults { .. }
            | Self::LogIn { .. } => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { named_by, .. } => Some(match named_by {
                By::Variable(variable) => format!("unset {variable}"),
                By::Flag(flag) => format!("name a file that exists, or leave `{flag}` out"),
                By::Extension(_) => "name a file that exists".to_owned(),
            }),
            Self::NotText { .. } => Some("save it as UTF-8".to_owned()),
            Self::Unreadable { file, .. } => Some(format!("ls -l {}", shell_word(&file.to_string_lossy()))),
            Self::Unguarded { file, .. } => {
                let file = file.to_string_lossy();
                let file = shell_word(&file);
                Some(format!("sudo chown root {file} && sudo chmod go-w {file}"))
            }
            Self::Unknown { instead, .. } | Self::NoSuchEntry { instead, .. } => write(instead, ""),
            Self::MissingField { field, .. } if field == "apiVersion" => {
                Some(format!("write `apiVersion: {}`", super::API_VERSION))
            }
            Self::MissingField { field, .. } if field == "kind" => Some("write `kind: Config`".to_owned()),
            Self::NotKnown { by, instead, kind, .. } => match (by, kind) {
                (By::Flag(flag), _) if instead.meant.is_some() => write(instead, &format!("{flag}=")),
                (_, _) if instead.meant.is_some() => write(instead, ""),
                (_, EntryKind::Profile) => Some("{program} status{config}".to_owned()),
                (_, _) => None,
            },
            Self::ProfileNeeded { known } => {
                known.first().map(|name| format!("name one, such as `--profile={name}`"))
            }
            Self::NoProfile => {
                Some(format!("write one under `profiles` in your settings file, `{USUAL_FILE}`"))
            }
            Self::Misplaced { by, .. } => Some(match by {
                By::Flag(flag) => format!("leave `{flag}` out"),
                By::Variable(variable) => format!("unset {variable}"),
                By::Extension(field) => format!("remove `{field}` from the cluster's extension"),
            }),
            Self::Needed { flag, .. } => Some(format!("add `{flag}`")),
            Self::VaultNeeded { known } => Some(match known.first() {
                Some(name) => format!("name one, such as `--vault={name}`"),
                None => "export VAULT_ADDR=https://vault.example:8200".to_owned(),
            }),
            Self::TwoVaults { second, .. } => Some(format!("leave {second} out")),
            Self::NoSuchContext { instead, .. } if instead.meant.is_some() => write(instead, "--context="),
            Self::NoSuchContext { .. } | Self::NoCurrentContext { .. } => {
                Some("kubectl config get-contexts".to_owned())
            }
            Self::Circle { vault } => {
                Some(format!("give vault `{vault}` another `auth` or another identity"))
            }
            Self::ForAdministrators { .. } => {
                let file = Env::default().administrator_settings_file();
                Some(format!("write it into `{}`", file.display()))
            }
            Self::NotAFile { .. }
            | Self::TooLarge { .. }
            | Self::Syntax { .. }
            | Self::WrongType { .. }
            | Self::MissingField { .. }
            | Self::GivenTwice { .. }
            | Self::TwoKinds { .. }
            | Self::BadValue { .. }
            | Self::Combination { .. }
            | Self::Word { .. }
            | Self::Variable { .. }
            | Self::Extension { .. }
            | Self::SourceMisplaced { .. }
            | Self::LogIn { .. }
            | Self::BrokenContext { .. } => None,
        }
    }
}
