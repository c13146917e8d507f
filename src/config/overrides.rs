//! What flags, `VAULTTOKEN_*` variables and the cluster extension say about one request, checked by
//! the rules of the file, and who said it. What it changes in a source is decided here; which vault
//! and profile it means is the business of `resolve`.

use std::time::Duration;

use super::Name;
use super::extension::ClusterProfile;
use super::problem::{By, SettingsError};
use super::sources::SourceSettings;
use super::types::VaultAddress;
use super::value::{Audience, ClusterName, Lifetime, Mount, Namespace, Role, TeamName, ValueError};
use crate::env::Env;

/// What the flags of a call say, as it was typed. Empty `audiences`: the flag was not given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is the flag of its name")]
pub struct Overrides {
    pub profile: Option<String>,
    pub source: Option<String>,
    pub vault: Option<String>,
    pub vault_address: Option<String>,
    pub mount: Option<String>,
    pub role: Option<String>,
    pub namespace: Option<String>,
    pub audiences: Vec<String>,
    pub ttl: Option<String>,
    pub cluster: Option<String>,
    pub team: Option<String>,
}

/// A kind of source, as `--source` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the variant of its name in `SourceSettings`")]
pub enum SourceKind {
    VaultKubernetes,
    VaultKv,
    VaultIdentity,
    Oidc,
    TokenExchange,
    TokenRequest,
}

impl SourceKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 6] = [
        Self::VaultKubernetes,
        Self::VaultKv,
        Self::VaultIdentity,
        Self::Oidc,
        Self::TokenExchange,
        Self::TokenRequest,
    ];

    /// The word of `--source`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::VaultKubernetes => "vault-kubernetes",
            Self::VaultKv => "vault-kv",
            Self::VaultIdentity => "vault-identity",
            Self::Oidc => "oidc",
            Self::TokenExchange => "token-exchange",
            Self::TokenRequest => "token-request",
        }
    }

    /// The kind of a source.
    #[must_use]
    pub fn of(source: &SourceSettings) -> Self {
        match source {
            SourceSettings::VaultKubernetes(_) => Self::VaultKubernetes,
            SourceSettings::VaultKv(_) => Self::VaultKv,
            SourceSettings::VaultIdentity(_) => Self::VaultIdentity,
            SourceSettings::Oidc(_) | SourceSettings::VaultOidc(_) => Self::Oidc,
            SourceSettings::TokenExchange(_) => Self::TokenExchange,
            SourceSettings::TokenRequest(_) => Self::TokenRequest,
        }
    }
}

impl TryFrom<String> for SourceKind {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        const RULE: &str = "`vault-kubernetes`, `vault-kv`, `vault-identity`, `oidc`, `token-exchange` or `token-request` is expected";
        let kind = Self::ALL.into_iter().find(|kind| kind.word() == text);
        kind.ok_or_else(|| ValueError::of(&text, "a source", RULE))
    }
}

/// A checked word, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said<T> {
    pub(super) value: T,
    pub(super) by: By,
}

/// Everything that was said about a request besides the settings.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) profile: Option<Said<Name>>,
    pub(super) source: Option<Said<SourceKind>>,
    pub(super) vault: Option<Said<Name>>,
    pub(super) vault_address: Option<Said<VaultAddress>>,
    pub(super) mount: Option<Said<String>>,
    pub(super) role: Option<Said<String>>,
    pub(super) namespace: Option<Said<String>>,
    pub(super) audiences: Option<Said<Vec<String>>>,
    pub(super) ttl: Option<Said<Duration>>,
    pub(super) cluster: Option<Said<String>>,
    pub(super) team: Option<Said<String>>,
}

impl Wishes {
    /// Flag, then variable, then extension; for the profile the extension goes before the variable,
    /// which names one only where nothing else does.
    pub(super) fn gather(
        flags: &Overrides,
        env: &Env,
        extension: Option<&ClusterProfile>,
    ) -> Result<Self, SettingsError> {
        let none = ClusterProfile::default();
        let extension = extension.unwrap_or(&none);
        let profile = match (&flags.profile, &extension.profile) {
            (None, Some(profile)) => Some(Said { value: profile.clone(), by: By::Extension("profile") }),
            _ => said(flags.profile.as_ref(), "--profile", env, "VAULTTOKEN_PROFILE")?,
        };
        Ok(Self {
            profile,
            source: said(flags.source.as_ref(), "--source", env, "VAULTTOKEN_SOURCE")?,
            mount: said(flags.mount.as_ref(), "--mount", env, "VAULTTOKEN_MOUNT")?
                .map(|said: Said<Mount>| said.map(|mount| mount.0))
                .or_else(|| said_by_extension(extension.mount.as_ref(), "mount")),
            role: said(flags.role.as_ref(), "--role", env, "VAULTTOKEN_ROLE")?
                .map(|said: Said<Role>| said.map(|role| role.0))
                .or_else(|| said_by_extension(extension.role.as_ref(), "role")),
            namespace: said(flags.namespace.as_ref(), "--namespace", env, "VAULTTOKEN_NAMESPACE")?
                .map(|said: Said<Namespace>| said.map(|namespace| namespace.0))
                .or_else(|| said_by_extension(extension.namespace.as_ref(), "namespace")),
            audiences: audiences(flags, env)?.or_else(|| {
                let some = Some(&extension.audiences).filter(|audiences| !audiences.is_empty());
                said_by_extension(some, "audiences")
            }),
            ttl: said(flags.ttl.as_ref(), "--ttl", env, "VAULTTOKEN_TTL")?
                .map(|said: Said<Lifetime>| said.map(|ttl| ttl.0))
                .or_else(|| said_by_extension(extension.ttl.as_ref(), "ttl")),
            cluster: said(flags.cluster.as_ref(), "--cluster", env, "VAULTTOKEN_CLUSTER")?
                .map(|said: Said<ClusterName>| said.map(|cluster| cluster.0))
                .or_else(|| said_by_extension(extension.cluster.as_ref(), "cluster")),
            team: said(flags.team.as_ref(), "--team", env, "VAULTTOKEN_TEAM")?
                .map(|said: Said<TeamName>| said.map(|team| team.0))
                .or_else(|| said_by_extension(extension.team.as_ref(), "team")),
            ..Self::of_log_in(flags, env)?
        })
    }

    /// What counts for a log-in that is about a vault and no profile. Words about a token mean nothing
    /// to it, and variables that hold some may stay set.
    pub(super) fn of_log_in(flags: &Overrides, env: &Env) -> Result<Self, SettingsError> {
        Ok(Self {
            vault: said(flags.vault.as_ref(), "--vault", env, "VAULTTOKEN_VAULT")?,
            vault_address: said(
                flags.vault_address.as_ref(),
                "--vault-address",
                env,
                "VAULTTOKEN_VAULT_ADDRESS",
            )?,
            ..Self::default()
        })
    }

    /// Puts the words into a source. One that the source has no field for is an error: whoever said
    /// it believes that it has an effect.
    pub(super) fn apply(&self, source: &mut SourceSettings) -> Result<(), SettingsError> {
        let source_kind = source.name();
        let mut fields = Fields::of(source);
        put(fields.mount.take(), self.mount.as_ref(), source_kind)?;
        put(fields.role.take(), self.role.as_ref(), source_kind)?;
        put(fields.namespace.take(), self.namespace.as_ref(), source_kind)?;
        put(fields.audiences.take(), self.audiences.as_ref(), source_kind)?;
        put(fields.ttl.take(), self.ttl.as_ref(), source_kind)?;
        put(fields.cluster.take(), self.cluster.as_ref(), source_kind)?;
        put(fields.team.take(), self.team.as_ref(), source_kind)
    }
}

impl<T> Said<T> {
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Said<U> {
        Said { value: change(self.value), by: self.by }
    }
}

/// The fields of a source that a word may change. `tokenRequest` has a required namespace.
#[derive(Default)]
struct Fields<'a> {
    mount: Option<&'a mut String>,
    role: Option<&'a mut String>,
    namespace: Option<Namespaced<'a>>,
    audiences: Option<&'a mut Vec<String>>,
    ttl: Option<&'a mut Option<Duration>>,
    cluster: Option<&'a mut Option<String>>,
    team: Option<&'a mut Option<String>>,
}

enum Namespaced<'a> {
    Optional(&'a mut Option<String>),
    Required(&'a mut String),
}

impl<'a> Fields<'a> {
    fn of(source: &'a mut SourceSettings) -> Self {
        match source {
            SourceSettings::VaultKubernetes(source) => Self {
                mount: Some(&mut source.mount),
                role: Some(&mut source.role),
                namespace: Some(Namespaced::Optional(&mut source.namespace)),
                audiences: Some(&mut source.audiences),
                ttl: Some(&mut source.ttl),
                ..Self::default()
            },
            SourceSettings::VaultKv(source) => Self {
                mount: Some(&mut source.mount),
                cluster: Some(&mut source.cluster),
                team: Some(&mut source.team),
                ..Self::default()
            },
            SourceSettings::VaultIdentity(source) => Self { role: Some(&mut source.role), ..Self::default() },
            SourceSettings::Oidc(_) | SourceSettings::VaultOidc(_) => Self::default(),
            // What a person has is their own token of that host, for whoever asks.
            SourceSettings::TokenExchange(source) if source.person.is_some() => Self::default(),
            SourceSettings::TokenExchange(source) => {
                Self { audiences: Some(&mut source.audiences), ..Self::default() }
            }
            SourceSettings::TokenRequest(source) => Self {
                namespace: Some(Namespaced::Required(&mut source.namespace)),
                audiences: Some(&mut source.audiences),
                ttl: Some(&mut source.ttl),
                ..Self::default()
            },
        }
    }
}

/// A field that a word can be put into.
trait Field<T> {
    fn put(self, value: T);
}

impl<T, F: From<T>> Field<T> for &mut F {
    fn put(self, value: T) {
        *self = value.into();
    }
}

impl Field<String> for Namespaced<'_> {
    fn put(self, value: String) {
        match self {
            Self::Optional(field) => *field = Some(value),
            Self::Required(field) => *field = value,
        }
    }
}

fn put<T: Clone>(
    field: Option<impl Field<T>>,
    said: Option<&Said<T>>,
    source_kind: &'static str,
) -> Result<(), SettingsError> {
    match (field, said) {
        (_, None) => Ok(()),
        (Some(field), Some(said)) => {
            field.put(said.value.clone());
            Ok(())
        }
        (None, Some(said)) => Err(SettingsError::Misplaced { by: said.by, source_kind }),
    }
}

fn said<T: TryFrom<String, Error = ValueError>>(
    flag: Option<&String>,
    flag_name: &'static str,
    env: &Env,
    variable: &'static str,
) -> Result<Option<Said<T>>, SettingsError> {
    let (text, by) = match (flag, env.filled(variable)) {
        (Some(flag), _) => (flag.as_str(), By::Flag(flag_name)),
        (None, Some(value)) => (value, By::Variable(variable)),
        (None, None) => return Ok(None),
    };
    let value = T::try_from(text.to_owned()).map_err(|problem| SettingsError::Word { by, problem })?;
    Ok(Some(Said { value, by }))
}

fn said_by_extension<T: Clone>(value: Option<&T>, field: &'static str) -> Option<Said<T>> {
    value.map(|value| Said { value: value.clone(), by: By::Extension(field) })
}

fn audiences(flags: &Overrides, env: &Env) -> Result<Option<Said<Vec<String>>>, SettingsError> {
    let (texts, by): (Vec<String>, By) = match env.filled("VAULTTOKEN_AUDIENCES") {
        _ if !flags.audiences.is_empty() => (flags.audiences.clone(), By::Flag("--audience")),
        Some(list) => {
            let texts = list.split(',').map(|audience| audience.trim().to_owned()).collect();
            (texts, By::Variable("VAULTTOKEN_AUDIENCES"))
        }
        None => return Ok(None),
    };
    let check = |text| Audience::try_from(text).map(|audience| audience.0);
    let checked = texts.into_iter().map(check).collect::<Result<_, _>>();
    checked.map(|value| Some(Said { value, by })).map_err(|problem| SettingsError::Word { by, problem })
}
