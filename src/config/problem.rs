//! What can be wrong with settings, flags, variables, the cluster extension and a kubeconfig. All of
//! it ends with exit code 2; the variants differ in what the person has to change. How each is
//! explained is in `explain`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::name::nearest;
use super::value::ValueError;

/// A point in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// Its line, from one.
    pub line: u64,
    /// Its column in characters, from one.
    pub column: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}:{}:{}`", self.file.display(), self.line, self.column)
    }
}

/// A kind of entry that others refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// `vaults`.
    Vault,
    /// `providers`.
    Provider,
    /// `identities`.
    Identity,
    /// `profiles`.
    Profile,
}

impl fmt::Display for EntryKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Vault => "vault",
            Self::Provider => "provider",
            Self::Identity => "identity",
            Self::Profile => "profile",
        })
    }
}

/// Who said a word that is not in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A flag, with its dashes.
    Flag(&'static str),
    /// A variable.
    Variable(&'static str),
    /// A field of the cluster extension.
    Extension(&'static str),
}

impl fmt::Display for By {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => write!(formatter, "`{name}`"),
            Self::Extension(field) => write!(formatter, "`{field}` of the cluster extension"),
        }
    }
}

/// What could have been written in place of a word that is not known. Boxed in the errors, so that
/// a call that succeeds does not carry their size around.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternatives {
    /// The one that was probably meant.
    pub meant: Option<String>,
    /// All of them, in order.
    pub known: Vec<String>,
}

impl Alternatives {
    pub(super) fn to<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
        let meant = nearest(word, known.iter().map(String::as_str)).map(str::to_owned);
        Self { meant, known }
    }
}

/// The settings, or what was said besides them, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A file that was named does not exist: name another one.
    #[error("`{}` does not exist", file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// `--config`, `VAULTTOKEN_CONFIG` or `--kubeconfig`.
        named_by: By,
    },
    /// The system does not let us read a file.
    #[error("`{}` cannot be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's words.
        cause: String,
    },
    /// A folder, a pipe or a device stands where a file is expected.
    #[error("`{}` is not a file", file.display())]
    NotAFile {
        /// What stands there.
        file: PathBuf,
    },
    /// A file is larger than any honest one.
    #[error("`{}` is larger than {} KiB", file.display(), limit / 1024)]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is not UTF-8, or holds NUL.
    #[error("`{}` is not text", file.display())]
    NotText {
        /// The file.
        file: PathBuf,
    },
    /// The administrator's file could have been written by somebody else.
    #[error("the administrator's settings `{}` were refused", file.display())]
    Unguarded {
        /// The file.
        file: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Not YAML, or YAML beyond what is accepted.
    #[error("{place}: this is not YAML that can be used")]
    Syntax {
        /// Where.
        place: Place,
        /// The parser's words.
        cause: String,
    },
    /// Something else stands where a list, a mapping or a text is expected.
    #[error("{place}: {expected} is expected here")]
    WrongType {
        /// Where.
        place: Place,
        /// What is expected.
        expected: String,
    },
    /// A field or kind that does not exist: correct it.
    #[error("{place}: there is no {what} `{word}` here")]
    Unknown {
        /// Where.
        place: Place,
        /// `field` or `kind`.
        what: &'static str,
        /// What was written.
        word: String,
        /// What is allowed there.
        instead: Box<Alternatives>,
    },
    /// A field must be added.
    #[error("{place}: `{field}` is missing")]
    MissingField {
        /// Where the mapping begins.
        place: Place,
        /// The field.
        field: String,
    },
    /// A key is given twice: remove one.
    #[error("{place}: `{key}` is given twice")]
    GivenTwice {
        /// Where the second one is.
        place: Place,
        /// The key.
        key: String,
    },
    /// A union has two kinds: remove one.
    #[error("{place}: this names a second kind")]
    TwoKinds {
        /// Where the second one is.
        place: Place,
    },
    /// A value breaks the rules of its kind.
    #[error("{place}: {problem}")]
    BadValue {
        /// Where.
        place: Place,
        /// What is wrong with it and what is expected.
        problem: String,
    },
    /// Fields that exclude or need each other.
    #[error("{place}: {problem}")]
    Combination {
        /// Where.
        place: Place,
        /// Which fields, and what is wrong about them.
        problem: &'static str,
    },
    /// A reference to an entry that does not exist.
    #[error("{place}: there is no {kind} `{name}`")]
    NoSuchEntry {
        /// Where.
        place: Place,
        /// Of which kind.
        kind: EntryKind,
        /// The name.
        name: String,
        /// Those that exist.
        instead: Box<Alternatives>,
    },
    /// A vault's log-in needs, in the end, a log-in to the same vault.
    #[error("the log-in of vault `{vault}` needs a log-in to itself")]
    Circle {
        /// The vault.
        vault: String,
    },
    /// Only the administrator's settings may say this.
    #[error("{place}: `{field}` counts only in the administrator's settings")]
    ForAdministrators {
        /// Where it stands.
        place: Place,
        /// The kind of entry.
        field: &'static str,
    },
    /// The value of a flag, a variable or a field of the extension breaks the rules of its kind.
    #[error("{by}: {problem}")]
    Word {
        /// Who said it.
        by: By,
        /// What is wrong with it.
        problem: ValueError,
    },
    /// A variable of Vault or OpenBao cannot be understood.
    #[error("`{variable}` cannot be used: {problem}")]
    Variable {
        /// The variable.
        variable: String,
        /// What is expected.
        problem: String,
    },
    /// The cluster extension in the kubeconfig is not what we read.
    #[error("the cluster extension cannot be used: {problem}")]
    Extension {
        /// What is wrong with it.
        problem: String,
        /// The fields that it may have, where a field is wrong.
        allowed: Option<&'static str>,
    },
    /// A word that names an entry which does not exist.
    #[error("{by}: there is no {kind} `{name}`")]
    NotKnown {
        /// Who said it.
        by: By,
        /// Of which kind.
        kind: EntryKind,
        /// The name.
        name: String,
        /// Those that exist.
        instead: Box<Alternatives>,
    },
    /// Several profiles, and none was named.
    #[error("there are several profiles, and none was named")]
    ProfileNeeded {
        /// Those that exist.
        known: Vec<String>,
    },
    /// There is no profile, and nothing was said that could stand for one.
    #[error("there is no profile")]
    NoProfile,
    /// A source was named that cannot do without a profile, or another one than the profile has.
    #[error("{by}: `{source_kind}` cannot be used here")]
    SourceMisplaced {
        /// Who said it.
        by: By,
        /// The kind that was asked for.
        source_kind: &'static str,
        /// Why not.
        cause: String,
    },
    /// An override that the source has no use for.
    #[error("{by} has no meaning for a `{source_kind}` source")]
    Misplaced {
        /// Who said it.
        by: By,
        /// The source's kind.
        source_kind: &'static str,
    },
    /// A word that the source needs and nobody said.
    #[error("a `{source_kind}` source needs {what}")]
    Needed {
        /// The source's kind.
        source_kind: &'static str,
        /// What is missing.
        what: &'static str,
        /// The flag that says it.
        flag: &'static str,
    },
    /// The source needs a Vault, and none or several could be meant.
    #[error("{}", if known.is_empty() { "no vault is named" } else { "several vaults could be meant" })]
    VaultNeeded {
        /// Those that could be meant.
        known: Vec<String>,
    },
    /// Two ways to name a vault, used at once.
    #[error("{first} and {second} both name a vault")]
    TwoVaults {
        /// One.
        first: By,
        /// The other.
        second: By,
    },
    /// A log-in flag that the method has no use for, or cannot do without.
    #[error("{by}: {problem}")]
    LogIn {
        /// Which flag.
        by: By,
        /// What is wrong.
        problem: String,
    },
    /// A kubeconfig has no such context.
    #[error("the kubeconfig has no context `{name}`")]
    NoSuchContext {
        /// The name.
        name: String,
        /// Those that exist.
        instead: Box<Alternatives>,
    },
    /// No context was named and none is current.
    #[error("the kubeconfig has no current context")]
    NoCurrentContext {
        /// Those that exist.
        known: Vec<String>,
    },
    /// A context whose cluster cannot be used.
    #[error("context `{context}` of the kubeconfig cannot be used")]
    BrokenContext {
        /// The context.
        context: String,
        /// What is wrong about it.
        cause: String,
    },
}

impl SettingsError {
    /// The file that has to be changed, where there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Missing { file, .. }
            | Self::Unreadable { file, .. }
            | Self::NotAFile { file }
            | Self::TooLarge { file, .. }
            | Self::NotText { file }
            | Self::Unguarded { file, .. } => Some(file),
            Self::Syntax { place, .. }
            | Self::WrongType { place, .. }
            | Self::Unknown { place, .. }
            | Self::MissingField { place, .. }
            | Self::GivenTwice { place, .. }
            | Self::TwoKinds { place }
            | Self::BadValue { place, .. }
            | Self::Combination { place, .. }
            | Self::ForAdministrators { place, .. }
            | Self::NoSuchEntry { place, .. } => Some(&place.file),
            Self::NoProfile
            | Self::Circle { .. }
            | Self::Word { .. }
            | Self::Variable { .. }
            | Self::Extension { .. }
            | Self::NotKnown { .. }
            | Self::ProfileNeeded { .. }
            | Self::SourceMisplaced { .. }
            | Self::Misplaced { .. }
            | Self::Needed { .. }
            | Self::VaultNeeded { .. }
            | Self::TwoVaults { .. }
            | Self::LogIn { .. }
            | Self::NoSuchContext { .. }
            | Self::NoCurrentContext { .. }
            | Self::BrokenContext { .. } => None,
        }
    }
}
