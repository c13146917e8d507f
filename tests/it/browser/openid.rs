//! A provider's ID token, straight to an API server that trusts the provider: by the browser here, by
//! the browser elsewhere, and by a code on another device.

use serde_json::json;

use super::providers::Provider;
use super::{ARRIVED, address_for_browser, handed, logged_in, shown_address, whoami};
use crate::home::Home;
use crate::rig::{Browser, Cluster};

/// Alice is logged in as far as kubectl is concerned, without anybody being asked again.
#[track_caller]
fn kubectl_is_alice(home: &Home, provider: Provider) {
    let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
    assert_eq!(whoami(home, &kubeconfig), provider.user("alice"));
}

fn with_the_browser_that_is_opened(provider: Provider) {
    let (home, browser) = (provider.home("kubernetes"), Browser::start());
    let terminal = home.at_terminal(&["login"]);
    browser.open(&address_for_browser(&home, &terminal));
    provider.sign_in(&browser, "alice");
    browser.wait_for_text(ARRIVED);
    let shown = logged_in(&home, terminal);
    assert!(shown.contains("alice"), "{provider:?}: {shown}");
    kubectl_is_alice(&home, provider);
    assert_eq!(handed(&home).len(), 1);
}

fn with_a_browser_that_cannot_reach_this_machine(provider: Provider) {
    let (home, browser) = (provider.home("kubernetes"), Browser::elsewhere());
    let mut terminal = home.at_terminal(&["login", "--no-browser"]);
    browser.open(&shown_address(&terminal, "https://"));
    provider.sign_in(&browser, "alice");
    let ended_at = browser.wait_for_address("http://127.0.0.1:");
    terminal.type_text(&format!("{ended_at}\r"));
    logged_in(&home, terminal);
    kubectl_is_alice(&home, provider);
    assert_eq!(handed(&home), Vec::<String>::new());
}

fn on_another_device(provider: Provider) {
    let (home, browser) = (provider.home("kubernetes"), Browser::elsewhere());
    home.unset("BROWSER").set("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22");
    let terminal = home.at_terminal(&["login", "--device-code"]);
    browser.open(&shown_address(&terminal, &provider.device_pages()));
    provider.confirm_device(&browser, "alice");
    logged_in(&home, terminal);
    kubectl_is_alice(&home, provider);
}

#[test]
fn a_person_logs_in_at_a_small_provider() {
    with_the_browser_that_is_opened(Provider::Small);
    with_a_browser_that_cannot_reach_this_machine(Provider::Small);
    on_another_device(Provider::Small);
}

#[test]
fn a_person_logs_in_at_a_vault_that_is_a_provider() {
    with_the_browser_that_is_opened(Provider::Vault);
    with_a_browser_that_cannot_reach_this_machine(Provider::Vault);
}

#[test]
fn a_person_logs_in_at_keycloak() {
    with_the_browser_that_is_opened(Provider::Keycloak);
    with_a_browser_that_cannot_reach_this_machine(Provider::Keycloak);
    on_another_device(Provider::Keycloak);
}
