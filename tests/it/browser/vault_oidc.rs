//! Vault's `auth/oidc` with Keycloak behind it: the ways in which a browser can end, here or on another
//! machine, and then a service account's token from that Vault.

use serde_json::{Value, json};

use super::{ARRIVED, address_for_browser, hand_over, handed, logged_in, shown_address, whoami};
use crate::engine::{self, Engine, home_with};
use crate::home::Home;
use crate::rig::{Browser, Cluster, Keycloak, Vault, unique};

const LOCAL: &str = "http://localhost:8250/oidc/callback";

/// A mount of `auth/oidc`, its role, and a client of Keycloak's for it.
struct World {
    engine: Engine,
    mount: String,
    person: String,
}

impl World {
    /// `role` is what the role has beside its usual fields; `ends` are the addresses at which a browser
    /// may end.
    fn new(role: &Value, ends: impl Fn(&str) -> Vec<String>) -> Self {
        let (keycloak, root) = (Keycloak::shared(), Vault::shared().root());
        let (mount, person) = (unique("sso"), unique("person"));
        let ends = ends(&mount);
        keycloak.person(&person, &["developers"]);
        // Where the port is taken the log-in has another one: Vault allows any, and so must Keycloak.
        let any_port: Vec<String> =
            ends.iter().map(|end| end.replace("localhost:8250", "localhost")).collect();
        keycloak.vault_client(&mount, &any_port);
        root.enable_auth("oidc", &mount);
        root.write(
            &format!("auth/{mount}/config"),
            &json!({
                "oidc_discovery_url": keycloak.issuer(),
                "oidc_discovery_ca_pem": keycloak.authority.pem,
                "oidc_client_id": mount,
                "oidc_client_secret": Keycloak::SECRET,
                "default_role": "developer",
            }),
        );
        let engine = engine::shared();
        let mut whole = json!({
            "role_type": "oidc",
            "user_claim": "preferred_username",
            "groups_claim": "groups",
            "bound_claims": {"groups": ["developers"]},
            "token_policies": [engine.policy],
            "allowed_redirect_uris": ends,
        });
        whole.as_object_mut().unwrap().extend(role.as_object().unwrap().clone());
        root.write(&format!("auth/{mount}/role/developer"), &whole);
        Self { engine, mount, person }
    }

    fn home(&self) -> Home {
        let home = home_with(&self.engine, "reader", Some(&json!({"oidc": {"mount": self.mount}})));
        home.plant(Keycloak::PASSWORD);
        home.plant(Keycloak::SECRET);
        hand_over(&home);
        home
    }

    /// The person is told who they are now, and the real kubectl is the service account.
    fn works(&self, home: &Home, shown: &str) {
        let whom = format!("logged in to {} as {} until", Vault::shared().address, self.person);
        assert!(shown.contains(&whom), "{whom}: {shown}");
        let kubeconfig = home.kubeconfig(Cluster::shared(), &json!({"args": ["get-token"]}), None);
        assert_eq!(whoami(home, &kubeconfig), self.engine.reader());
    }
}

#[test]
fn the_browser_ends_at_this_program() {
    let world = World::new(&json!({}), |_| vec![LOCAL.to_owned()]);
    let (home, browser) = (world.home(), Browser::start());
    let terminal = home.at_terminal(&["login"]);
    browser.open(&address_for_browser(&home, &terminal));
    Keycloak::sign_in(&browser, &world.person);
    browser.wait_for_text(ARRIVED);
    world.works(&home, &logged_in(&home, terminal));
}

#[test]
fn the_browser_cannot_reach_this_machine() {
    let world = World::new(&json!({}), |_| vec![LOCAL.to_owned()]);
    let (home, browser) = (world.home(), Browser::elsewhere());
    let mut terminal = home.at_terminal(&["login", "--no-browser"]);
    browser.open(&shown_address(&terminal, "https://"));
    Keycloak::sign_in(&browser, &world.person);
    let ended_at = browser.wait_for_address("http://localhost:");
    terminal.type_text(&format!("{ended_at}\r"));
    world.works(&home, &logged_in(&home, terminal));
    assert_eq!(handed(&home), Vec::<String>::new());
}

#[test]
fn the_browser_ends_at_the_vault() {
    let world = World::new(&json!({"callback_mode": "direct"}), |mount| {
        vec![format!("{}/v1/auth/{mount}/oidc/callback", Vault::shared().address)]
    });
    let (home, browser) = (world.home(), Browser::start());
    let terminal = home.at_terminal(&["login"]);
    browser.open(&address_for_browser(&home, &terminal));
    Keycloak::sign_in(&browser, &world.person);
    // The server asks whether it was this person who began.
    browser.wait_for_text("Confirm");
    browser.click("button, input[type=submit]");
    world.works(&home, &logged_in(&home, terminal));
}

#[test]
fn the_browser_is_on_another_device() {
    let world = World::new(&json!({"callback_mode": "device"}), |_| vec![LOCAL.to_owned()]);
    let (home, browser) = (world.home(), Browser::elsewhere());
    let terminal = home.at_terminal(&["login", "--device-code"]);
    browser.open(&shown_address(&terminal, &Keycloak::shared().issuer()));
    Keycloak::confirm_device(&browser, &world.person);
    world.works(&home, &logged_in(&home, terminal));
}
