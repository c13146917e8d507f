//! Which profile a host means. It reads settings and decides; it fetches nothing.

use super::{DatabricksError, Host};
use crate::config::{Name, Preset, Settings, SourceSettings, TokenExchange};

/// A profile whose tokens are for a workspace or an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Workspace {
    /// The profile.
    pub profile: Name,
    /// Its host.
    pub host: Host,
    /// What its source says.
    pub exchange: TokenExchange,
}

/// All such profiles of the settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Profiles(Vec<Workspace>);

/// How a program says which of them it means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// By name.
    pub profile: Option<String>,
    /// By host.
    pub host: Option<Host>,
    /// Among those of one account host: by account.
    pub account_id: Option<String>,
}

impl Profiles {
    /// Those of these settings.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        let workspace = |(name, profile): (&Name, &crate::config::Profile)| {
            let SourceSettings::TokenExchange(exchange) = &profile.source else { return None };
            let is_ours = exchange.preset == Preset::Databricks;
            let host = exchange.host.as_ref().filter(|_| is_ours).and_then(Host::of)?;
            Some(Workspace { profile: name.clone(), host, exchange: (**exchange).clone() })
        };
        Self(settings.profiles.iter().filter_map(workspace).collect())
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> &[Workspace] {
        &self.0
    }

    /// Whether there is this one, or any.
    ///
    /// # Errors
    /// There is not.
    pub fn check(&self, profile: Option<&str>) -> Result<(), DatabricksError> {
        if profile.is_none() && !self.0.is_empty() {
            return Ok(());
        }
        self.choose(&Asked { profile: profile.map(str::to_owned), ..Asked::default() }).map(|_| ())
    }

    /// The one that is meant.
    ///
    /// # Errors
    /// None is, or several are.
    pub fn choose(&self, asked: &Asked) -> Result<&Workspace, DatabricksError> {
        if self.0.is_empty() {
            return Err(DatabricksError::NoProfiles);
        }
        if let Some(name) = &asked.profile {
            let named = self.0.iter().find(|workspace| workspace.profile.as_str() == name);
            let named = named
                .ok_or_else(|| DatabricksError::NoSuchProfile { name: name.clone(), known: self.known() })?;
            return match &asked.host {
                Some(host) if *host != named.host => Err(DatabricksError::OtherHost {
                    profile: named.profile.to_string(),
                    asked: host.clone(),
                    own: named.host.clone(),
                }),
                _ => Ok(named),
            };
        }
        let is_meant = |workspace: &&Workspace| {
            let theirs = workspace.exchange.account_id.as_ref();
            asked.host.as_ref().is_none_or(|host| *host == workspace.host)
                && asked.account_id.as_ref().is_none_or(|id| theirs.is_none_or(|theirs| theirs == id))
        };
        let mut meant = self.0.iter().filter(is_meant);
        match (meant.next(), meant.next()) {
            (Some(only), None) => Ok(only),
            (Some(_), Some(_)) => Err(DatabricksError::SeveralProfiles {
                host: asked.host.clone(),
                profiles: self.0.iter().filter(is_meant).map(|one| one.profile.to_string()).collect(),
            }),
            (None, _) => Err(DatabricksError::NoProfileFor { host: asked.host.clone(), known: self.known() }),
        }
    }

    /// Each with its host, for a message.
    fn known(&self) -> Vec<String> {
        self.0.iter().map(|workspace| format!("`{}` for {}", workspace.profile, workspace.host)).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::databricks) const SETTINGS: &str = r"
apiVersion: vaulttoken.dev/v1alpha1
kind: Config
identities:
  pod: {file: {path: /token}}
vaults:
  corp: {address: https://vault.example}
profiles:
  lake:
    source:
      tokenExchange: {preset: databricks, host: https://DBC-1.example/, identity: pod, clientId: '7f'}
  sea:
    source:
      tokenExchange: {preset: databricks, host: https://dbc-2.example, identity: pod, clientId: '8f'}
  sea-too:
    source:
      tokenExchange: {preset: databricks, host: https://dbc-2.example, identity: pod, clientId: '9f'}
  account:
    source:
      tokenExchange:
        {preset: databricks, host: https://accounts.example, accountId: a-1, identity: pod, clientId: '7f'}
  prod:
    source:
      vaultIdentity: {vault: corp, role: kubernetes}
";

    pub(in crate::databricks) fn profiles() -> Profiles {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        std::fs::write(&file, SETTINGS).unwrap();
        let env = crate::env::Env::of([("VAULTTOKEN_CONFIG".to_owned(), file.display().to_string())]);
        Profiles::of(&crate::desk::settings(&env, None).unwrap())
    }

    fn asked(profile: Option<&str>, host: Option<&str>, account_id: Option<&str>) -> Asked {
        Asked {
            profile: profile.map(str::to_owned),
            host: host.and_then(Host::parse),
            account_id: account_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_host_or_a_name_means_one_profile_or_the_answer_names_them() {
        let profiles = profiles();
        let of = |profile, host, account| {
            profiles
                .choose(&asked(profile, host, account))
                .map(|workspace| workspace.profile.to_string())
                .map_err(|error| error.to_string())
        };
        assert_eq!(profiles.all().len(), 4, "the cluster's is none of them");
        assert_eq!(of(None, Some("dbc-1.example"), None).as_deref(), Ok("lake"));
        assert_eq!(of(Some("sea"), Some("https://dbc-2.example/"), None).as_deref(), Ok("sea"));
        assert_eq!(of(Some("sea"), None, None).as_deref(), Ok("sea"));
        assert_eq!(of(None, Some("accounts.example"), Some("a-1")).as_deref(), Ok("account"));
        for (profile, host, account) in [
            (None, Some("dbc-2.example"), None),
            (None, Some("dbc-3.example"), None),
            (None, Some("accounts.example"), Some("a-2")),
            (Some("prod"), None, None),
            (Some("sea"), Some("dbc-1.example"), None),
            (None, None, None),
        ] {
            assert!(of(profile, host, account).is_err(), "{profile:?} {host:?} {account:?}");
        }
    }
}
