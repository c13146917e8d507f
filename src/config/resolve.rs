//! From settings, flags, variables and the cluster extension to the one request that a command is
//! about. A word of a flag or a kubeconfig may choose among vaults; it never changes where one is,
//! how one logs in, or where tokens may go.

use std::path::PathBuf;
use std::sync::Arc;

use super::Name;
use super::environment::{Transport, vault_of_environment};
use super::extension::ClusterProfile;
use super::overrides::{Overrides, Said, SourceKind, Wishes};
use super::problem::{Alternatives, By, EntryKind, SettingsError};
use super::providers::Provider;
use super::sources::{SourceSettings, VaultIdentity, VaultKubernetes, VaultKv};
use super::types::{
    AuthMethod, ClusterPin, Identity, JwtOrigin, NamedBy, Profile, Settings, Store, TlsSettings,
    VaultAddress, VaultSettings,
};
use super::validate::{KUBERNETES_MOUNT, KV_FIELD, KV_MOUNT, KV_PATH};
use crate::env::Env;

/// What a command is asked for, with nothing left to choose.
#[derive(Debug, Clone)]
pub struct Request {
    /// The profile; none where flags and the environment stand for one.
    pub profile: Option<Name>,
    /// What messages call it: the profile's name, else kind, mount and role of the source.
    pub profile_label: String,
    /// Where tokens come from, all overrides applied.
    pub source: SourceSettings,
    /// The vault that the source speaks to, what it leaves open filled from the environment.
    pub vault: Option<VaultSettings>,
    /// The clusters that tokens may go to; empty: the first one is remembered.
    pub pins: Vec<ClusterPin>,
    /// Who named the file that the profile and its pins stand in; a flag, where there is no profile.
    pub named_by: NamedBy,
    /// How secrets are kept.
    pub store: Store,
    /// The file of the profile.
    pub file: Option<PathBuf>,
    /// Proxy, deadline and retries, and what further vaults are filled with.
    pub transport: Transport,
    /// For identities and providers.
    pub settings: Arc<Settings>,
}

impl Request {
    /// Resolves one request. `env` is [`Env::own`]: a kubeconfig's `exec.env` must not name places.
    pub fn resolve(
        settings: &Arc<Settings>,
        env: &Env,
        flags: &Overrides,
        extension: Option<&ClusterProfile>,
    ) -> Result<Self, SettingsError> {
        let wishes = Wishes::gather(flags, env, extension)?;
        let profile = chosen_profile(settings, &wishes)?;
        let mut source = match profile {
            Some(profile) => profile.source.clone(),
            None => source_without_profile(&wishes)?,
        };
        wishes.apply(&mut source)?;
        check_document_path(&source)?;
        if let SourceSettings::TokenExchange(exchange) = &mut source {
            exchange.fill(env)?;
        }
        Self::of_parts(settings, env, &wishes, profile, source)
    }

    /// The request for a source with nothing left to choose but its vault.
    fn of_parts(
        settings: &Arc<Settings>,
        env: &Env,
        wishes: &Wishes,
        profile: Option<&Profile>,
        mut source: SourceSettings,
    ) -> Result<Self, SettingsError> {
        let transport = Transport::of_environment(env)?;
        let mut vault = chosen_vault(settings, env, wishes, &source)?;
        if let Some(vault) = &mut vault {
            transport.fill(vault);
            name_vault(&mut source, vault.name.as_ref());
        }
        Ok(Self {
            profile: profile.map(|profile| profile.name.clone()),
            profile_label: profile.map_or_else(|| label(&source), |profile| profile.name.to_string()),
            source,
            vault,
            pins: profile.map(|profile| profile.clusters.clone()).unwrap_or_default(),
            named_by: profile.map_or(NamedBy::Flag, |profile| profile.named_by),
            store: settings.store,
            file: profile.and_then(|profile| profile.file.clone()),
            transport,
            settings: Arc::clone(settings),
        })
    }

    /// The request of a log-in that is about a vault and no profile: the one that flags, the settings
    /// or the environment name. Nothing is ever minted for it, so its source only stands for one.
    pub fn for_login(settings: &Arc<Settings>, env: &Env, flags: &Overrides) -> Result<Self, SettingsError> {
        let wishes = Wishes::of_log_in(flags, env)?;
        let source = SourceSettings::VaultIdentity(VaultIdentity { vault: None, role: "login".to_owned() });
        Self::of_parts(settings, env, &wishes, None, source)
    }

    /// The request of each profile, as `--profile` alone would resolve it, in the order of names.
    #[must_use]
    pub fn of_every_profile(settings: &Arc<Settings>, env: &Env) -> Vec<(Name, Result<Self, SettingsError>)> {
        let names = settings.profiles.keys();
        let resolve = |name: &Name| {
            let flags = Overrides { profile: Some(name.to_string()), ..Overrides::default() };
            (name.clone(), Self::resolve(settings, env, &flags, None))
        };
        names.map(resolve).collect()
    }

    /// The provider whose session tokens are had by, where a person's log-in stands at the beginning:
    /// of the source itself, of the vault's log-in, or of the identity that either of them takes. With it
    /// what people call it: its name in the settings, or its address where it has none there.
    #[must_use]
    pub fn provider(&self) -> Option<(&str, &Provider)> {
        if let SourceSettings::TokenExchange(exchange) = &self.source
            && let Some(person) = &exchange.person
        {
            return Some((person.issuer.as_str(), person));
        }
        let (name, provider) = self.provider_of_the_settings()?;
        Some((name.as_str(), provider))
    }

    fn provider_of_the_settings(&self) -> Option<(&Name, &Provider)> {
        let of_identity = |name: &Name| match self.settings.identities.get(name) {
            Some(Identity::Oidc { provider }) => self.settings.providers.get_key_value(provider),
            _ => None,
        };
        match (&self.source, self.vault.as_ref().map(|vault| &vault.auth)) {
            (SourceSettings::Oidc(source), _) => self.settings.providers.get_key_value(&source.provider),
            (SourceSettings::TokenExchange(exchange), _) => of_identity(exchange.identity.as_ref()?),
            (_, Some(AuthMethod::Jwt { from: JwtOrigin::Provider(name), .. })) => {
                self.settings.providers.get_key_value(name)
            }
            (
                _,
                Some(
                    AuthMethod::Jwt { from: JwtOrigin::Identity(name), .. }
                    | AuthMethod::Kubernetes { identity: Some(name), .. },
                ),
            ) => of_identity(name),
            _ => None,
        }
    }

    /// A vault of the settings, filled from the environment as the request's own is.
    #[must_use]
    pub fn vault_named(&self, name: &Name) -> Option<VaultSettings> {
        let mut vault = self.settings.vaults.get(name)?.clone();
        self.transport.fill(&mut vault);
        Some(vault)
    }
}

fn not_known(settings: &Settings, by: By, kind: EntryKind, name: &Name) -> SettingsError {
    let instead = Box::new(Alternatives::to(name.as_str(), settings.names(kind)));
    SettingsError::NotKnown { by, kind, name: name.to_string(), instead }
}

/// The profile: named, or the only one. `--source` alone asks for none.
fn chosen_profile<'a>(settings: &'a Settings, wishes: &Wishes) -> Result<Option<&'a Profile>, SettingsError> {
    if let Some(Said { value: name, by }) = &wishes.profile {
        let found = settings.profiles.get(name);
        let profile = found.ok_or_else(|| not_known(settings, *by, EntryKind::Profile, name))?;
        return match &wishes.source {
            Some(source) if source.value != SourceKind::of(&profile.source) => {
                Err(SettingsError::SourceMisplaced {
                    by: source.by,
                    source_kind: source.value.word(),
                    cause: format!("profile `{name}` has a `{}` source", profile.source.name()),
                })
            }
            _ => Ok(Some(profile)),
        };
    }
    if wishes.source.is_some() {
        return Ok(None);
    }
    let mut profiles = settings.profiles.values();
    match (profiles.next(), profiles.next()) {
        (Some(only), None) => Ok(Some(only)),
        (Some(_), Some(_)) => Err(SettingsError::ProfileNeeded {
            known: settings.names(EntryKind::Profile).into_iter().map(str::to_owned).collect(),
        }),
        (None, _) if wishes.role.is_some() => Ok(None),
        (None, _) => Err(SettingsError::NoProfile),
    }
}

/// The source that flags describe, before they are applied to it like any others.
fn source_without_profile(wishes: &Wishes) -> Result<SourceSettings, SettingsError> {
    let asked = wishes.source.as_ref();
    let kind = asked.map_or(SourceKind::VaultKubernetes, |said| said.value);
    let role = |source_kind| match &wishes.role {
        Some(role) => Ok(role.value.clone()),
        None => Err(SettingsError::Needed { source_kind, what: "a role", flag: "--role" }),
    };
    match (kind, asked) {
        (SourceKind::VaultKv, _) => Ok(SourceSettings::VaultKv(VaultKv {
            vault: None,
            mount: KV_MOUNT.to_owned(),
            path: KV_PATH.to_owned(),
            field: KV_FIELD.to_owned(),
            cluster: None,
            team: None,
        })),
        (SourceKind::VaultIdentity, _) => {
            Ok(SourceSettings::VaultIdentity(VaultIdentity { vault: None, role: role("vaultIdentity")? }))
        }
        (SourceKind::Oidc | SourceKind::TokenExchange | SourceKind::TokenRequest, Some(asked)) => {
            Err(SettingsError::SourceMisplaced {
                by: asked.by,
                source_kind: kind.word(),
                cause: "such a source needs a profile".to_owned(),
            })
        }
        (_, _) => Ok(SourceSettings::VaultKubernetes(VaultKubernetes {
            vault: None,
            mount: KUBERNETES_MOUNT.to_owned(),
            role: role("vaultKubernetes")?,
            namespace: None,
            ttl: None,
            audiences: Vec::new(),
            cluster_role_binding: false,
        })),
    }
}

/// What a KV path leaves open must have been said by now.
fn check_document_path(source: &SourceSettings) -> Result<(), SettingsError> {
    let SourceSettings::VaultKv(source) = source else { return Ok(()) };
    for (placeholder, value, what, flag) in [
        ("{cluster}", &source.cluster, "a cluster for its path", "--cluster"),
        ("{team}", &source.team, "a team for its path", "--team"),
    ] {
        if source.path.contains(placeholder) && value.is_none() {
            return Err(SettingsError::Needed { source_kind: "vaultKv", what, flag });
        }
    }
    Ok(())
}

fn chosen_vault(
    settings: &Settings,
    env: &Env,
    wishes: &Wishes,
    source: &SourceSettings,
) -> Result<Option<VaultSettings>, SettingsError> {
    let is_flag = |by: By| matches!(by, By::Flag(_));
    let (name, address) = match (&wishes.vault, &wishes.vault_address) {
        (Some(name), Some(address)) if is_flag(name.by) == is_flag(address.by) => {
            return Err(SettingsError::TwoVaults { first: name.by, second: address.by });
        }
        (Some(name), Some(_)) if is_flag(name.by) => (Some(name), None),
        (Some(_), Some(address)) => (None, Some(address)),
        (name, address) => (name.as_ref(), address.as_ref()),
    };
    if !source.needs_vault() {
        let by = name.map(|said| said.by).or(address.map(|said| said.by));
        return match by {
            Some(by) => Err(SettingsError::Misplaced { by, source_kind: source.name() }),
            None => Ok(None),
        };
    }
    if let Some(said) = name {
        let found = settings.vaults.get(&said.value).cloned();
        return found.map(Some).ok_or_else(|| not_known(settings, said.by, EntryKind::Vault, &said.value));
    }
    if let Some(said) = address {
        return vault_at(settings, env, &said.value).map(Some);
    }
    if let Some(vault) = source.vault().and_then(|name| settings.vaults.get(name)) {
        return Ok(Some(vault.clone()));
    }
    let mut vaults = settings.vaults.values();
    if let (Some(only), None) = (vaults.next(), vaults.next()) {
        return Ok(Some(only.clone()));
    }
    let known = settings.names(EntryKind::Vault).into_iter().map(str::to_owned).collect();
    vault_of_environment(env)?.map(Some).ok_or(SettingsError::VaultNeeded { known })
}

/// The vault at an address that a flag names: one of the settings or the environment's with what
/// they say of it, else one that only the flag vouches for.
///
/// Security: `VAULTTOKEN_VAULT_ADDRESS` gives no more authority than the flag, as a kubeconfig's
/// `exec.env` may hold it.
fn vault_at(settings: &Settings, env: &Env, address: &VaultAddress) -> Result<VaultSettings, SettingsError> {
    let here = |vault: &&VaultSettings| vault.address == *address || vault.addresses.contains(address);
    let mut found = settings.vaults.values().filter(here);
    match (found.next(), found.next()) {
        (Some(only), None) => return Ok(only.clone()),
        (Some(_), Some(_)) => {
            let known = settings.vaults.values().filter(here).filter_map(|vault| vault.name.as_ref());
            return Err(SettingsError::VaultNeeded { known: known.map(Name::to_string).collect() });
        }
        (None, _) => {}
    }
    let of_environment = vault_of_environment(env)?;
    if let Some(vault) = of_environment.filter(|vault| vault.address == *address) {
        return Ok(vault);
    }
    Ok(VaultSettings {
        name: None,
        named_by: NamedBy::Flag,
        address: address.clone(),
        addresses: Vec::new(),
        namespace: None,
        tls: TlsSettings::default(),
        auth: AuthMethod::Token,
    })
}

/// The source names the vault that it got, so that two ways to the same one are one request.
fn name_vault(source: &mut SourceSettings, name: Option<&Name>) {
    match source {
        SourceSettings::VaultKubernetes(source) => source.vault = name.cloned(),
        SourceSettings::VaultKv(source) => source.vault = name.cloned(),
        SourceSettings::VaultIdentity(source) => source.vault = name.cloned(),
        SourceSettings::VaultOidc(source) => source.vault = name.cloned(),
        SourceSettings::Oidc(_) | SourceSettings::TokenExchange(_) | SourceSettings::TokenRequest(_) => {}
    }
}

/// No name of a profile holds a colon: a label is never taken for one.
fn label(source: &SourceSettings) -> String {
    let kind = SourceKind::of(source).word();
    match source {
        SourceSettings::VaultKubernetes(source) => format!("{kind}:{}/{}", source.mount, source.role),
        SourceSettings::VaultKv(source) => format!("{kind}:{}/{}", source.mount, source.document_path()),
        SourceSettings::VaultIdentity(source) => format!("{kind}:{}", source.role),
        SourceSettings::Oidc(_)
        | SourceSettings::VaultOidc(_)
        | SourceSettings::TokenExchange(_)
        | SourceSettings::TokenRequest(_) => kind.to_owned(),
    }
}
