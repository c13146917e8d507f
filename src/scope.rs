//! Whose clusters a request's tokens may go to: its profile's, as long as the request is what the
//! profile says; else those of every profile of the person's own that draws on the same issuer.
//!
//! A kubeconfig may leave the profile's name out, or take a profile to another engine by a flag, a
//! variable or the cluster extension. The tokens that it then asks for are still those of an engine
//! which the person may have pinned elsewhere. [`crate::trust`] judges; this module only gathers.

use std::sync::Arc;

use crate::cluster::KnownCluster;
use crate::config::{NamedBy, Request, Settings, SettingsFiles, SourceSettings};
use crate::env::Env;
use crate::memory::{Memory, Remembered};
use crate::trust::{Pin, TrustError};

/// What decides where the tokens of one request may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What a first cluster is remembered under.
    pub label: String,
    /// Pins of which one must be met.
    pub pins: Vec<Pin>,
    /// Pins that only take away: those of a profile that was taken to another engine, or of a file
    /// that a flag names.
    pub restricting: Vec<Pin>,
    /// Whose remembered clusters count.
    labels: Vec<String>,
}

impl Scope {
    /// Gathers what the person's own settings say about the issuer of this request.
    ///
    /// # Errors
    /// A pin whose CA cannot be read.
    pub fn of(request: &Request, env: &Env) -> Result<Self, TrustError> {
        let (issuer, plain) = (issuer(request), env.without_choices());
        let own = request.profile.as_ref().filter(|_| request.named_by != NamedBy::Flag);
        let pins_of = |request: &Request| request.pins.iter().map(Pin::of).collect::<Result<Vec<_>, _>>();
        let usual = usual_settings(request, env);
        let same_issuer = Request::of_every_profile(&usual, &plain)
            .into_iter()
            .filter_map(|(name, resolved)| Some((name, resolved.ok()?)))
            .filter(|(_, other)| other.named_by != NamedBy::Flag && self::issuer(other) == issuer)
            .collect::<Vec<_>>();
        if let Some(name) = own
            && same_issuer.iter().any(|(other, _)| other == name)
        {
            let label = name.to_string();
            return Ok(Self {
                labels: vec![label.clone()],
                label,
                pins: pins_of(request)?,
                restricting: Vec::new(),
            });
        }
        let mut scope = Self {
            labels: vec![issuer.clone()],
            label: issuer,
            pins: Vec::new(),
            restricting: pins_of(request)?,
        };
        for (name, other) in same_issuer {
            scope.labels.push(name.to_string());
            scope.pins.extend(pins_of(&other)?);
        }
        Ok(scope)
    }

    /// The clusters that are remembered for this issuer.
    #[must_use]
    pub fn remembered<'a>(&'a self, memory: &'a Memory) -> Vec<&'a Remembered> {
        self.labels.iter().flat_map(|label| memory.clusters(label)).collect()
    }

    /// The one cluster that is meant where a person names none; none where there are several.
    #[must_use]
    pub fn only_cluster(&self, memory: &Memory) -> Option<KnownCluster> {
        let remembered = self.remembered(memory);
        let counting = remembered.iter().filter(|known| known.counts_beside(&self.pins));
        let mut known: Vec<&KnownCluster> = counting.map(|known| &known.cluster).collect();
        // A pin without a CA is completed by what was remembered at its server.
        let pinned = self.pins.iter().map(|pin| &pin.cluster);
        known.extend(pinned.filter(|pin| !remembered.iter().any(|known| known.cluster.is_at(&pin.server))));
        known.dedup();
        match known.as_slice() {
            [only] => Some((*only).clone()),
            _ => None,
        }
    }
}

/// The settings at their usual place, where a flag named others.
fn usual_settings(request: &Request, env: &Env) -> Arc<Settings> {
    if request.settings.profiles.values().all(|profile| profile.named_by != NamedBy::Flag)
        && request.named_by != NamedBy::Flag
    {
        return Arc::clone(&request.settings);
    }
    // What cannot be read there pins nothing; a call that needs it says so itself.
    Settings::load(&SettingsFiles::of(env, None)).map_or_else(|_| Arc::default(), Arc::new)
}

/// Who issues the tokens of a request: a Vault and the engine, document or role in it that stand for
/// a cluster. No profile's name holds a blank, so this is never taken for one.
fn issuer(request: &Request) -> String {
    let engine = match &request.source {
        SourceSettings::VaultKubernetes(engine) => engine.mount.clone(),
        SourceSettings::VaultKv(document) => {
            format!("{} {} {}", document.mount, document.document_path(), document.field)
        }
        SourceSettings::VaultIdentity(role) => role.role.clone(),
        SourceSettings::Oidc(oidc) => match request.provider() {
            Some((_, provider)) => format!("{} {}", provider.issuer, provider.client_id),
            None => oidc.provider.to_string(),
        },
        SourceSettings::VaultOidc(oidc) => format!("oauth2 {:?}", oidc.token),
        SourceSettings::TokenRequest(account) => {
            format!("{} {} {}", account.context, account.namespace, account.service_account)
        }
        SourceSettings::TokenExchange(_) => String::new(),
    };
    let vault = request.vault.as_ref();
    format!(
        "{} {} {} {engine}",
        vault.map(|vault| vault.address.to_string()).unwrap_or_default(),
        vault.and_then(|vault| vault.namespace.as_deref()).unwrap_or("-"),
        request.source.name(),
    )
}
