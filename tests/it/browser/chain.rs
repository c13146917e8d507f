//! From a person at a provider, through a Vault that trusts it, to a service account's token: one log-in.

use serde_json::{Value, json};

use super::providers::Provider;
use super::{ARRIVED, address_for_browser, hand_over, handed, logged_in, whoami};
use crate::engine::{self, corp};
use crate::home::Home;
use crate::rig::{Browser, Cluster, OpenIdProvider, Vault, unique};

#[test]
fn one_log_in_at_a_provider_reaches_the_cluster_through_vault() {
    let (provider, vault, engine) = (OpenIdProvider::shared(), Vault::shared(), engine::shared());
    let (root, mount) = (vault.root(), unique("jwt"));
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
    let home = Home::new();
    home.plant(OpenIdProvider::PASSWORD);
    let auth: Value = json!({"jwt": {"mount": mount, "role": "developer", "provider": "sso"}});
    home.settings(&json!({
        "providers": {"sso": Provider::Small.settings("kubernetes")},
        "vaults": corp(vault, Some(&auth)),
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    hand_over(&home);
    let (terminal, browser) = (home.at_terminal(&["login"]), Browser::start());
    browser.open(&address_for_browser(&home, &terminal));
    OpenIdProvider::sign_in(&browser, "alice");
    browser.wait_for_text(ARRIVED);
    let shown = logged_in(&home, terminal);
    for address in [provider.issuer.trim_end_matches('/'), &*vault.address] {
        assert!(shown.contains(&format!("logged in to {address}")), "{address}: {shown}");
    }
    let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
    assert_eq!(whoami(&home, &kubeconfig), engine.reader());
    assert_eq!(handed(&home).len(), 1);
}
