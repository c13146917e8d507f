//! A Vault as OpenID provider, with its web interface as login page.

use std::sync::OnceLock;

use serde_json::json;

use super::super::browser::Browser;
use super::super::cluster::Cluster;
use super::Vault;

/// The provider of the shared Vault. It has no refresh tokens and no device codes.
pub struct VaultProvider {
    pub vault: &'static Vault,
    pub issuer: String,
    /// The id of its client, which is public, and which every cluster of the rig may trust.
    pub client: String,
}

impl VaultProvider {
    pub const PASSWORD: &'static str = "in wonderland";

    /// The one that the tests of this process share. Its people are `alice`, of the group `developers`,
    /// and `bob`, of none; they log in with `userpass`, at its usual path as the web interface wants it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<VaultProvider> = OnceLock::new();
        SHARED.get_or_init(|| {
            let vault = Vault::shared();
            let root = vault.root();
            root.enable_auth("userpass", "userpass");
            for person in ["alice", "bob"] {
                root.userpass_user("userpass", person, Self::PASSWORD, &["default"]);
            }
            let password = json!({"password": Self::PASSWORD});
            let alice = vault.anonymous().log_in("auth/userpass/login/alice", &password);
            root.identity_group("developers", &alice);
            let redirects = ["http://127.0.0.1/callback", "http://localhost/callback"];
            let client = root.openid_provider("people", "userpass", &redirects);
            let issuer = format!("{}/v1/identity/oidc/provider/people", vault.address);
            Self { vault, issuer, client }
        })
    }

    /// Makes a cluster trust its ID tokens; users are `vault-person:NAME`.
    pub fn trusted_by(&self, cluster: &Cluster) {
        cluster.trust_people(&self.issuer, &self.vault.authority, &[&self.client], "vault-person:");
    }

    /// Fills in the login page of the web interface that the browser shows.
    pub fn sign_in(browser: &Browser, name: &str) {
        Self::sign_in_with(browser, name, Self::PASSWORD);
    }

    /// The same with the password of somebody else's person.
    pub fn sign_in_with(browser: &Browser, name: &str, password: &str) {
        browser.click("option[value=userpass]");
        browser.fill("#username", name);
        browser.fill("#password", password);
        browser.click("#auth-submit");
    }
}
