//! The OpenID providers that some pages speak of, and a person who logs in there with a real browser
//! while a page's commands run at a terminal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::world::{PASSWORD, World};
use crate::browser::{ARRIVED, address_for_browser, hand_over, shown_address};
use crate::home::Home;
use crate::rig::{Authority, Browser, Keycloak, OpenIdProvider, VaultProvider, folder};

/// The provider of a page.
#[derive(Clone, Copy)]
pub enum Provider {
    Keycloak,
    Zitadel,
    /// The Vault of the documents.
    Vault,
}

/// The realm of the page about Keycloak.
const REALM: &str = "eng";

/// zitadel's, which no other test has a cluster trust in another way.
fn zitadel() -> &'static OpenIdProvider {
    static STARTED: OnceLock<OpenIdProvider> = OnceLock::new();
    STARTED.get_or_init(|| OpenIdProvider::start("documents-openid"))
}

fn keycloak() -> &'static Keycloak {
    static STARTED: OnceLock<&'static Keycloak> = OnceLock::new();
    STARTED.get_or_init(|| {
        let keycloak = Keycloak::shared();
        keycloak.new_realm(REALM);
        keycloak
    })
}

impl Provider {
    /// The provider of a page; none where the page is about something else.
    pub fn of(page: &str) -> Option<Self> {
        match page {
            "docs/provider-keycloak.md" => Some(Self::Keycloak),
            "docs/provider-zitadel.md" | "docs/providers.md" => Some(Self::Zitadel),
            "docs/provider-openbao.md" => Some(Self::Vault),
            _ => None,
        }
    }

    pub fn authority(self, world: &World) -> &Authority {
        match self {
            Self::Keycloak => &keycloak().authority,
            Self::Zitadel => &zitadel().authority,
            Self::Vault => &world.vault.authority,
        }
    }

    /// The text of a page with the provider's names in the place of the example's.
    pub fn with_real_names(self, world: &World, text: &str) -> String {
        let pem = self.authority(world).file.display().to_string();
        let text = text.replace("/etc/ssl/sso.pem", &pem);
        match self {
            Self::Keycloak => text
                .replace("https://sso.corp.example", &keycloak().address)
                .replace("--user admin", &format!("--user {}", Keycloak::ADMIN.0)),
            Self::Zitadel => {
                let issuer = &zitadel().issuer;
                let text = text.replace("https://sso.corp.example/realms/eng", issuer);
                text.replace("https://zitadel.corp.example", issuer)
            }
            Self::Vault => {
                let client = world.vault.api("GET", "identity/oidc/client/kubernetes", &().into());
                match client.json["data"]["client_id"].as_str() {
                    Some(id) => text.replace("lgbnQYIPYQo1vsvwQKGYzPKKqcyKJ9dH", id),
                    // The operator has not made it yet.
                    None => text,
                }
            }
        }
    }

    /// What the operator's commands need beside the programs of the world.
    pub fn help_operator(self, command: &mut Command) {
        if let Self::Keycloak = self {
            let (tools, options) = administration();
            let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
            let path = format!("{}:{}", tools.display(), path.unwrap().to_str().unwrap());
            command.env("PATH", path).env("KC_OPTS", options).env("KC_CLI_PASSWORD", Keycloak::ADMIN.1);
        }
    }

    /// Puts into a home what the page does not say: the password that must not be found, and whom the
    /// machine trusts.
    pub fn prepare(self, world: &World, home: &Home) {
        home.plant(self.password());
        let trusted = format!("{}{}", self.authority(world).pem, world.vault.authority.pem);
        let file = home.write("trusted.pem", &trusted);
        home.set("SSL_CERT_FILE", &file.display().to_string());
    }

    fn password(self) -> &'static str {
        match self {
            Self::Keycloak => Keycloak::PASSWORD,
            Self::Zitadel => OpenIdProvider::PASSWORD,
            Self::Vault => PASSWORD,
        }
    }

    fn sign_in(self, browser: &Browser) {
        match self {
            Self::Keycloak => Keycloak::sign_in(browser, "alice"),
            Self::Zitadel => OpenIdProvider::sign_in(browser, "alice"),
            Self::Vault => VaultProvider::sign_in_with(browser, "alice", PASSWORD),
        }
    }

    fn confirm_device(self, browser: &Browser) {
        match self {
            Self::Keycloak => Keycloak::confirm_device(browser, "alice"),
            Self::Zitadel => OpenIdProvider::confirm_device(browser, "alice"),
            Self::Vault => panic!("a Vault confirms no devices"),
        }
    }

    /// Runs a person's script at a terminal; alice logs in where it asks for her.
    pub fn run(self, home: &Home, place: &str, script: &str) {
        hand_over(home);
        let _ = fs::remove_file(home.path("browser.opened"));
        let mut terminal = home.script_at_terminal(script);
        if script.contains("--device-code") {
            let browser = Browser::start();
            browser.open(&shown_address(&terminal, "https://"));
            self.confirm_device(&browser);
        } else if script.contains("--no-browser") {
            let browser = Browser::elsewhere();
            browser.open(&shown_address(&terminal, "https://"));
            self.sign_in(&browser);
            let ended_at = browser.wait_for_address("http://127.0.0.1:");
            terminal.type_text(&format!("{ended_at}\r"));
        } else {
            let browser = Browser::start();
            browser.open(&address_for_browser(home, &terminal));
            self.sign_in(&browser);
            browser.wait_for_text(ARRIVED);
        }
        let ended = terminal.end();
        home.showed(&ended.shown);
        assert_eq!(ended.code, Some(0), "{place}: {ended:?}");
    }
}

/// The folder of Keycloak's `kcadm.sh`, which is a program of its archive that may not be executable,
/// and the options with which it trusts the rig.
fn administration() -> (&'static Path, &'static str) {
    static MADE: OnceLock<(PathBuf, String)> = OnceLock::new();
    let (tools, options) = MADE.get_or_init(|| {
        let tools = folder("kcadm");
        let script = format!("#!/bin/sh\nexec sh '{}' \"$@\"\n", Keycloak::administration().display());
        let program = tools.join("kcadm.sh");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let trusted = tools.join("trusted.p12").display().to_string();
        let output = Command::new("keytool")
            .args(["-importcert", "-noprompt", "-alias", "rig", "-storetype", "PKCS12"])
            .args(["-storepass", "of-the-rig", "-keystore", &trusted, "-file"])
            .arg(&keycloak().authority.file)
            .output();
        let output = output.unwrap_or_else(|error| panic!("keytool, which is part of a JRE: {error}"));
        assert!(output.status.success(), "{output:?}");
        let options = format!(
            "-Djavax.net.ssl.trustStore={trusted} -Djavax.net.ssl.trustStorePassword=of-the-rig \
             -XX:+UseSerialGC -XX:TieredStopAtLevel=1"
        );
        (tools, options)
    });
    (tools, options)
}
