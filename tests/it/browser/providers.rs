//! The providers of the rig as a test sees them: their settings, their pages, and whom the API server
//! calls a person who logged in there.

use serde_json::{Value, json};

use super::hand_over;
use crate::home::Home;
use crate::rig::{Browser, Cluster, Keycloak, OpenIdProvider, VaultProvider};

#[derive(Clone, Copy, Debug)]
pub enum Provider {
    Keycloak,
    /// zitadel's, with the pages of its example.
    Small,
    Vault,
}

impl Provider {
    /// How settings name it. `client` is its client for people, or the one whose tokens are brief.
    pub fn settings(self, client: &str) -> Value {
        let (issuer, authority, client, scopes) = match self {
            Self::Keycloak => {
                let keycloak = Keycloak::shared();
                (keycloak.issuer(), keycloak.ca_file(), client, json!(["offline_access"]))
            }
            Self::Small => {
                let provider = OpenIdProvider::shared();
                let scopes = json!(["profile", "email", "groups", "offline_access"]);
                (provider.issuer.clone(), provider.ca_file(), client, scopes)
            }
            // It has neither refresh tokens nor client ids of our choice.
            Self::Vault => {
                let provider = VaultProvider::shared();
                let scopes = json!(["profile", "groups"]);
                (provider.issuer.clone(), provider.vault.ca_file(), &*provider.client, scopes)
            }
        };
        json!({"issuer": issuer, "clientId": client, "certificateAuthority": authority, "scopes": scopes})
    }

    /// A home whose profile `people` takes the ID token of this provider to the shared cluster, and
    /// whose browser hands over what it is to open.
    pub fn home(self, client: &str) -> Home {
        match self {
            Self::Keycloak => Keycloak::shared().trusted_by(Cluster::shared()),
            Self::Small => OpenIdProvider::shared().trusted_by(Cluster::shared()),
            Self::Vault => VaultProvider::shared().trusted_by(Cluster::shared()),
        }
        let home = Home::new();
        home.settings(&json!({
            "providers": {"sso": self.settings(client)},
            "profiles": {"people": {"source": {"oidc": {"provider": "sso"}}}},
        }));
        home.plant(self.password());
        hand_over(&home);
        home
    }

    pub fn password(self) -> &'static str {
        match self {
            Self::Keycloak => Keycloak::PASSWORD,
            Self::Small => OpenIdProvider::PASSWORD,
            Self::Vault => VaultProvider::PASSWORD,
        }
    }

    /// Fills in its login page.
    pub fn sign_in(self, browser: &Browser, person: &str) {
        match self {
            Self::Keycloak => Keycloak::sign_in(browser, person),
            Self::Small => OpenIdProvider::sign_in(browser, person),
            Self::Vault => VaultProvider::sign_in(browser, person),
        }
    }

    /// Confirms a device's code on its pages.
    pub fn confirm_device(self, browser: &Browser, person: &str) {
        match self {
            Self::Keycloak => Keycloak::confirm_device(browser, person),
            Self::Small => OpenIdProvider::confirm_device(browser, person),
            Self::Vault => panic!("a Vault confirms no devices"),
        }
    }

    /// Where its device pages are.
    pub fn device_pages(self) -> String {
        match self {
            Self::Keycloak => Keycloak::shared().issuer(),
            Self::Small => format!("{}device?", OpenIdProvider::shared().issuer),
            Self::Vault => panic!("a Vault confirms no devices"),
        }
    }

    /// Whom the API server sees.
    pub fn user(self, person: &str) -> String {
        let prefix = match self {
            Self::Keycloak => "keycloak",
            Self::Small => "openid",
            Self::Vault => "vault-person",
        };
        format!("{prefix}:{person}")
    }
}
