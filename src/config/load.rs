//! From the two settings files to one whole: the administrator's beneath the person's, entry by
//! entry. References and circles are judged in the whole, each with the file that it stands in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Name;
use super::document::Document;
use super::problem::{Alternatives, By, EntryKind, SettingsError};
use super::read::{Owner, SETTINGS_LIMIT, read_text};
use super::types::{AuthMethod, Identity, JwtOrigin, NamedBy, Settings, Store};
use super::validate::{Origin, Reading, validate};
use crate::env::Env;

/// Where settings are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFiles {
    /// The person's file; none where no home directory is known.
    pub person: Option<PathBuf>,
    /// Who named it: a flag, `VAULTTOKEN_CONFIG` (`Environment`), or nobody: its usual place.
    pub person_named_by: NamedBy,
    /// The person's usual file where a flag names another one; none where `person` is it.
    pub usual: Option<PathBuf>,
    /// The administrator's file.
    pub administrator: PathBuf,
    /// What `~/` stands for.
    pub home: Option<PathBuf>,
}

impl SettingsFiles {
    /// The files of a call: `flag` is what `--config` says.
    #[must_use]
    pub fn of(env: &Env, flag: Option<&Path>) -> Self {
        let person_named_by = match (flag, env.filled("VAULTTOKEN_CONFIG")) {
            (Some(_), _) => NamedBy::Flag,
            (None, Some(_)) => NamedBy::Environment,
            (None, None) => NamedBy::Settings,
        };
        Self {
            person: flag.map(Path::to_owned).or_else(|| env.settings_file()),
            person_named_by,
            usual: flag.and_then(|_| env.settings_file()),
            administrator: env.administrator_settings_file(),
            home: env.home(),
        }
    }
}

impl Settings {
    /// Reads both files. One that is missing says nothing, unless somebody named it.
    pub fn load(files: &SettingsFiles) -> Result<Self, SettingsError> {
        let home = files.home.as_deref();
        let mut whole = read(&Origin {
            file: &files.administrator,
            home,
            named_by: NamedBy::Settings,
            owner: Owner::Administrator,
        })?
        .unwrap_or_default();
        let usual = files.usual_store(whole.store);
        if let Some(file) = &files.person {
            // Paths in it stay good for a renewal that runs elsewhere.
            let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
            let (named_by, explicit) = match files.person_named_by {
                NamedBy::Flag => (NamedBy::Flag, Some(By::Flag("--config"))),
                NamedBy::Environment => (NamedBy::Settings, Some(By::Variable("VAULTTOKEN_CONFIG"))),
                NamedBy::Settings => (NamedBy::Settings, None),
            };
            let origin = Origin { file: &file, home, named_by, owner: Owner::Anybody };
            match (read(&origin)?, explicit) {
                (Some(person), None | Some(By::Variable(_))) => whole.put_over(person),
                (Some(person), Some(_)) => {
                    // Security: the flag may be a kubeconfig's, and must not lower the protection.
                    let said = person.store;
                    whole.put_over(person);
                    whole.store = Some(said.map_or(usual, |said| usual.stricter(said)));
                }
                (None, Some(named_by)) => return Err(SettingsError::Missing { file, named_by }),
                (None, None) => {}
            }
        }
        whole.finish()
    }
}

impl SettingsFiles {
    /// What the usual files say of `store`. A file that cannot be used says nothing: another one was
    /// named in its place.
    fn usual_store(&self, administrators: Option<Store>) -> Store {
        let of_usual = self.usual.as_deref().and_then(|file| {
            let (home, named_by) = (self.home.as_deref(), NamedBy::Settings);
            read(&Origin { file, home, named_by, owner: Owner::Anybody }).ok().flatten()?.store
        });
        of_usual.or(administrators).unwrap_or_default()
    }
}

fn read(origin: &Origin<'_>) -> Result<Option<Reading>, SettingsError> {
    let Some(text) = read_text(origin.file, SETTINGS_LIMIT, origin.owner)? else { return Ok(None) };
    parse(&text, origin).map(Some)
}

fn parse(text: &str, origin: &Origin<'_>) -> Result<Reading, SettingsError> {
    match Document::parse(origin.file, text)? {
        Some(document) => validate(document, origin),
        // As `touch` makes it: nothing is said.
        None => Ok(Reading::default()),
    }
}

impl Reading {
    /// An entry of the same name is replaced whole, its mentions with it.
    fn put_over(&mut self, over: Self) {
        self.store = over.store.or(self.store);
        self.journal = over.journal.or(self.journal);
        self.entries.vaults.extend(over.entries.vaults);
        self.entries.providers.extend(over.entries.providers);
        self.entries.identities.extend(over.entries.identities);
        self.entries.profiles.extend(over.entries.profiles);
        self.mentions.extend(over.mentions);
    }

    fn finish(mut self) -> Result<Settings, SettingsError> {
        self.entries.store = self.store.unwrap_or_default();
        self.entries.journal = self.journal.unwrap_or_default();
        for mention in self.mentions.values().flatten() {
            let known = self.entries.names(mention.kind);
            if !known.contains(&mention.name.as_str()) {
                return Err(SettingsError::NoSuchEntry {
                    place: mention.place.clone(),
                    kind: mention.kind,
                    name: mention.name.to_string(),
                    instead: Box::new(Alternatives::to(mention.name.as_str(), known)),
                });
            }
        }
        match self.entries.vaults.keys().find(|vault| self.entries.needs_itself(vault)) {
            Some(vault) => Err(SettingsError::Circle { vault: vault.to_string() }),
            None => Ok(self.entries),
        }
    }
}

impl Settings {
    /// The names of all entries of a kind, in order.
    #[must_use]
    pub fn names(&self, kind: EntryKind) -> Vec<&str> {
        match kind {
            EntryKind::Vault => self.vaults.keys().map(Name::as_str).collect(),
            EntryKind::Provider => self.providers.keys().map(Name::as_str).collect(),
            EntryKind::Identity => self.identities.keys().map(Name::as_str).collect(),
            EntryKind::Profile => self.profiles.keys().map(Name::as_str).collect(),
        }
    }

    /// Whether the log-in to this vault needs, in the end, a log-in to itself.
    fn needs_itself(&self, start: &Name) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = self.vault_before(start);
        while let Some(vault) = next {
            if vault == start {
                return true;
            }
            if !seen.insert(vault) {
                return false;
            }
            next = self.vault_before(vault);
        }
        false
    }

    /// The vault whose identity token logs in to this one.
    fn vault_before(&self, vault: &Name) -> Option<&Name> {
        let (AuthMethod::Jwt { from: JwtOrigin::Identity(identity), .. }
        | AuthMethod::Kubernetes { identity: Some(identity), .. }) = &self.vaults.get(vault)?.auth
        else {
            return None;
        };
        match self.identities.get(identity)? {
            Identity::VaultIdentity { vault, .. } => Some(vault),
            _ => None,
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Settings {
    /// The settings that this text makes, as the person's file at `/home/me/config.yaml`.
    pub(super) fn of_text(text: &str) -> Result<Self, SettingsError> {
        Self::of_texts("", text, NamedBy::Settings)
    }

    /// The same above an administrator's `/etc/vaulttoken/config.yaml`.
    pub(crate) fn of_texts(
        administrator: &str,
        person: &str,
        person_named_by: NamedBy,
    ) -> Result<Self, SettingsError> {
        let home = Some(Path::new("/home/me"));
        let origin = |file, named_by, owner| Origin { file: Path::new(file), home, named_by, owner };
        let administrators = origin("/etc/vaulttoken/config.yaml", NamedBy::Settings, Owner::Administrator);
        let mut whole = parse(administrator, &administrators)?;
        let persons = origin("/home/me/config.yaml", person_named_by, Owner::Anybody);
        whole.put_over(parse(person, &persons)?);
        whole.finish()
    }
}
