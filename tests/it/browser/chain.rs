//! From a person at a provider, through a Vault that trusts it, to a service account's token: one log-in,
//! by the browser here or by a code on another device, which Vault's own methods do not have.

use serde_json::{Value, json};

use super::providers::Provider;
use super::{ARRIVED, address_for_browser, hand_over, handed, logged_in, shown_address, whoami};
use crate::engine::{self, Engine, corp};
use crate::home::Home;
use crate::rig::{Browser, Cluster, OpenIdProvider, Vault, unique};

/// A mount of `auth/jwt` that trusts the provider, and an engine for whoever logs in there.
struct World {
    engine: Engine,
    mount: String,
}

impl World {
    fn new() -> Self {
        let (provider, engine) = (OpenIdProvider::shared(), engine::shared());
        let (root, mount) = (Vault::shared().root(), unique("jwt"));
        root.enable_auth("jwt", &mount);
        root.write(
            &format!("auth/{mount}/config"),
            &json!({
                "oidc_discovery_url": provider.issuer,
                "oidc_discovery_ca_pem": provider.authority.pem,
            }),
        );
        root.write(
            &format!("auth/{mount}/role/developer"),
            &json!({
                "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["kubernetes"],
                "bound_claims": {"groups": ["developers"]}, "token_policies": [engine.policy],
            }),
        );
        Self { engine, mount }
    }

    fn home(&self) -> Home {
        let home = Home::new();
        home.plant(OpenIdProvider::PASSWORD);
        let auth: Value = json!({"jwt": {"mount": self.mount, "role": "developer", "provider": "sso"}});
        home.settings(&json!({
            "providers": {"sso": Provider::Small.settings("kubernetes")},
            "vaults": corp(Vault::shared(), Some(&auth)),
            "profiles": {"prod": {"source": self.engine.source("reader")}},
        }));
        hand_over(&home);
        home
    }

    /// The person is told where they are logged in, and the real kubectl is the service account.
    fn works(&self, home: &Home, shown: &str) {
        let issuer = OpenIdProvider::shared().issuer.trim_end_matches('/');
        for address in [issuer, &*Vault::shared().address] {
            assert!(shown.contains(&format!("logged in to {address}")), "{address}: {shown}");
        }
        let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
        assert_eq!(whoami(home, &kubeconfig), self.engine.reader());
    }
}

#[test]
fn one_log_in_at_a_provider_reaches_the_cluster_through_vault() {
    let world = World::new();
    let home = world.home();
    let (terminal, browser) = (home.at_terminal(&["login"]), Browser::start());
    browser.open(&address_for_browser(&home, &terminal));
    OpenIdProvider::sign_in(&browser, "alice");
    browser.wait_for_text(ARRIVED);
    world.works(&home, &logged_in(&home, terminal));
    assert_eq!(handed(&home).len(), 1);
}

#[test]
fn one_code_on_another_device_reaches_the_cluster_through_vault() {
    let world = World::new();
    let home = world.home();
    home.unset("BROWSER").set("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");
    let (terminal, browser) = (home.at_terminal(&["login", "--device-code"]), Browser::elsewhere());
    browser.open(&shown_address(&terminal, &Provider::Small.device_pages()));
    OpenIdProvider::confirm_device(&browser, "alice");
    world.works(&home, &logged_in(&home, terminal));
}
