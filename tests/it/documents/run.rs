//! Pages that are run from top to bottom, each once: what the operator writes on the real servers, and
//! then with the page's settings what a person runs. A page may need what another one has set up.
//!
//! A `yaml` block of settings begins a new home; `sh person` blocks run in it. Before the first one a
//! person has the settings of the page about `vaultKubernetes`.

use std::collections::HashMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};

use super::markdown::{Block, Page};
use super::people::Provider;
use super::world::{AUDIENCE, PASSWORD, World, text_of};
use super::{Kind, yaml};
use crate::browser_log_ins::browser_that_says_yes;
use crate::home::Home;
use crate::rig::{folder, poll};

macro_rules! pages {
    ($($test:ident: $path:literal,)*) => {
        /// Pages whose scripts are run; each has a test of its own.
        pub const RUN: &[&str] = &[$($path),*];
        $(#[test] fn $test() { visited($path); })*
    };
}

pages! {
    vault_kubernetes: "docs/source-vault-kubernetes.md",
    vault_kv: "docs/source-vault-kv.md",
    vault_identity: "docs/source-vault-identity.md",
    token_request: "docs/source-token-request.md",
    token: "docs/auth-token.md",
    userpass: "docs/auth-userpass.md",
    ldap: "docs/auth-ldap.md",
    oidc: "docs/auth-oidc.md",
    approle: "docs/auth-approle.md",
    kubernetes: "docs/auth-kubernetes.md",
    jwt: "docs/auth-jwt.md",
    cert: "docs/auth-cert.md",
    identities: "docs/identities.md",
    settings_without_a_file: "docs/settings.md",
    trust: "docs/trust.md",
    databricks: "docs/provider-databricks.md",
    entra: "docs/provider-entra.md",
    google: "docs/provider-google.md",
    keycloak: "docs/provider-keycloak.md",
    zitadel: "docs/provider-zitadel.md",
    openbao: "docs/provider-openbao.md",
    providers: "docs/providers.md",
}

/// Pages with blocks that are handed to the real kubectl.
pub const HANDED_ON: &[&str] = &["docs/identities.md", "docs/kubeconfig.md", "docs/provider-databricks.md"];

const ENGINE: &str = "docs/source-vault-kubernetes.md";

/// Runs a page once in this process; whoever needs it waits for it.
fn visited(path: &'static str) {
    type Visit = Arc<OnceLock<Result<(), String>>>;
    static VISITS: Mutex<Option<HashMap<&'static str, Visit>>> = Mutex::new(None);
    let visit = {
        let mut visits = VISITS.lock().unwrap();
        Arc::clone(visits.get_or_insert_default().entry(path).or_default())
    };
    let outcome = visit.get_or_init(|| {
        catch_unwind(AssertUnwindSafe(|| OnePage::new(path).run())).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
        })
    });
    if let Err(failure) = outcome {
        panic!("{path}: {failure}");
    }
}

/// What must have been set up before.
fn needs(path: &str) -> &'static [&'static str] {
    match path {
        ENGINE | "docs/provider-entra.md" | "docs/provider-google.md" => &[],
        "docs/source-vault-identity.md" | "docs/auth-oidc.md" | "docs/provider-openbao.md" => {
            &["docs/auth-userpass.md"]
        }
        // Its cluster trusts that provider, and alice has rights there.
        "docs/providers.md" => &["docs/provider-zitadel.md"],
        "docs/identities.md" => &["docs/auth-jwt.md", "docs/auth-kubernetes.md"],
        "README.md" => &["docs/auth-userpass.md", "docs/identities.md"],
        _ => &[ENGINE],
    }
}

/// One page while it is run.
struct OnePage {
    page: Page,
    world: &'static World,
    /// Where the operator stands.
    folder: PathBuf,
}

impl OnePage {
    fn new(path: &str) -> Self {
        for page in needs(path) {
            visited(page);
        }
        let visit = Self { page: Page::read(path), world: World::shared(), folder: folder("operator") };
        fs::write(visit.folder.join("ci.pem"), visit.world.ci.public_key_pem()).unwrap();
        fs::write(visit.folder.join("clients-ca.pem"), &visit.world.clients.pem).unwrap();
        visit
    }

    fn run(&self) {
        let mut home = None;
        let mut ran = 0;
        for block in &self.page.blocks {
            let place = format!("{}:{}", self.page.path, block.line);
            let text = self.world.with_real_names(&self.page.path, &block.text);
            match Kind::of(&self.page, block) {
                Kind::Cluster | Kind::Operator => self.operate(&place, &text),
                Kind::Authentication => self.trust_issuer(&text),
                Kind::Settings => home = Some(self.home(&block.text)),
                Kind::Person => {
                    let home = home.get_or_insert_with(|| self.home(&settings_of_engine()));
                    if self.page.path == "docs/auth-oidc.md" {
                        self.with_browser(home, &place, &text);
                    } else if let Some(provider) = Provider::of(&self.page.path) {
                        provider.run(home, &place, &text);
                    } else {
                        home.script(&text, &format!("{PASSWORD}\n")).succeeded_at(&place);
                    }
                    ran += 1;
                }
                Kind::Manifest => self.is_accepted(&place, &text),
                _ => {}
            }
        }
        assert!(ran > 0, "{}: a person runs nothing here", self.page.path);
    }

    /// Runs a person's script at a terminal, with a browser in which alice says yes.
    fn with_browser(&self, home: &Home, place: &str, script: &str) {
        let vault = &self.world.vault;
        let alice = vault.anonymous().write("auth/userpass/login/alice", &json!({"password": PASSWORD}));
        let session = alice["auth"]["client_token"].as_str().unwrap();
        browser_that_says_yes(home, vault, session);
        let ended = home.script_at_terminal(script).end();
        home.showed(&ended.shown);
        assert_eq!(ended.code, Some(0), "{place}: {ended:?}");
    }

    fn operate(&self, place: &str, script: &str) {
        self.world.operate(place, &self.folder, script);
        if script.contains("-version=2") {
            // A new mount of version 2 refuses everything until it has upgraded itself; a person who
            // types is slower than that.
            let root = self.world.vault.root();
            poll("a key-value engine", std::time::Duration::from_secs(60), || {
                root.call("GET", "secret/config", &Value::Null).is_success().then_some(())
            });
        }
    }

    /// Whether the cluster would take a manifest; no pod ever runs.
    fn is_accepted(&self, place: &str, manifest: &str) {
        let script = format!("kubectl create --dry-run=server --filename - <<'YAML'\n{manifest}YAML\n");
        self.world.operate(place, &self.folder, &script);
    }

    fn trust_issuer(&self, text: &str) {
        let mut issuer = yaml(text)["jwt"][0].take();
        let provider = Provider::of(&self.page.path);
        let authority = provider.map_or(&self.world.vault.authority, |is| is.authority(self.world));
        issuer["issuer"]["certificateAuthority"] = json!(authority.pem);
        self.world.cluster.trust_issuer(&issuer);
    }

    /// A home with these settings and the example's kubeconfig, and with the secrets that a platform
    /// or an operator would have laid there.
    fn home(&self, settings: &str) -> Home {
        let home = new_home(self.world);
        let mut settings = self.world.with_real_names(&self.page.path, settings);
        if let Some(provider) = Provider::of(&self.page.path) {
            provider.prepare(self.world, &home);
        } else if self.page.path.starts_with("docs/provider-") {
            settings = self.world.clouds().prepare(&home, &settings);
        }
        if let Some(role_id) = text_of(&self.folder, "role-id") {
            settings = settings.replace("7f1d0a52-0c3b-4a2e-9d1c-5be2c51e1a34", &role_id);
        }
        if let Some(secret_id) = text_of(&self.folder, "secret-id") {
            home.write_secret(".config/vaulttoken/secret-id", &secret_id);
        }
        let projected = "/var/run/secrets/tokens/vault";
        if settings.contains(projected) {
            let token = self.world.cluster.token_for(("team-a", "builder"), 3600, &["vault"]);
            let file = home.write_secret("projected-token", &token);
            settings = settings.replace(projected, &file.display().to_string());
        }
        let job = || self.world.ci.token("deploy-job", AUDIENCE, &json!({}));
        if settings.contains("job.jwt") {
            home.write_secret(".config/vaulttoken/job.jwt", &job());
        }
        if settings.contains("MY_ID_TOKEN") && !self.page.path.starts_with("docs/provider-") {
            home.set_secret("MY_ID_TOKEN", &job());
        }
        if settings.contains("hub-admin") {
            // The kubeconfig of somebody who may ask for tokens, beside that of the plugin.
            let text = fs::read_to_string(&self.world.cluster.kubeconfig).unwrap();
            let hub = home.write(".kube/hub", &text.replace("\"rig\"", "\"hub-admin\""));
            home.set("KUBECONFIG", &format!("{}:{}", home.path(".kube/config").display(), hub.display()));
        }
        if settings.contains("githubActions") {
            as_github_job(&home, self.world);
        }
        if settings.contains("gitlab: {}") {
            let claims = json!({"project_path": "corp/shop", "ref_protected": "true"});
            home.set_secret("VAULT_ID_TOKEN", &self.world.gitlab.token(&claims));
        }
        let speaks_to_vault = !self.page.path.starts_with("docs/provider");
        if speaks_to_vault && (!settings.contains("auth:") || settings.contains("auth: token")) {
            home.set_secret("VAULT_TOKEN", &self.vault_token());
        }
        if self.page.path == "docs/settings.md" {
            home.set("VAULT_ADDR", &self.world.vault.address);
            home.set("VAULT_CACERT", &self.world.vault.ca_file().display().to_string());
        } else {
            home.write(".config/vaulttoken/config.yaml", &settings);
        }
        home
    }

    /// The token that the page's operator made, else one like that of the page of the engine.
    fn vault_token(&self) -> String {
        text_of(&self.folder, "vault-token").unwrap_or_else(|| {
            let options = json!({"policies": ["deployer"], "ttl": "1h"});
            self.world.vault.root().child_token(&options)
        })
    }
}

fn settings_of_engine() -> String {
    let page = Page::read(ENGINE);
    page.of("yaml").next().unwrap().text.clone()
}

/// A home with the example's kubeconfig, for profile `prod` and namespace `team-a`.
fn new_home(world: &World) -> Home {
    let home = Home::new();
    home.set("PATH", &world.path());
    home.plant(PASSWORD);
    let example = fs::read_to_string(super::root().join("examples/kubeconfig-profile.yaml")).unwrap();
    home.write(".kube/config", &world.with_real_names("", &example));
    home
}

fn as_github_job(home: &Home, world: &World) {
    home.set("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/token?v=1", world.github.double.address));
    home.set_secret("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token-of-the-job");
}

/// The commands of a `console` block.
fn typed(block: &Block) -> String {
    let lines = block.text.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn the_five_minutes_of_the_readme_as_a_person_and_in_a_job() {
    for page in needs("README.md") {
        visited(page);
    }
    let (page, world) = (Page::read("README.md"), World::shared());
    let settings: Vec<&Block> =
        page.blocks.iter().filter(|block| Kind::of(&page, block) == Kind::Settings).collect();
    let consoles: Vec<&Block> = page.of("console").collect();
    assert_eq!((settings.len(), consoles.len()), (2, 3));
    assert!(
        typed(consoles[0]).starts_with("kubectl krew install vaulttoken"),
        "the only one that is not run"
    );

    let person = new_home(world);
    let [settings_of_person, settings_of_job] =
        [0, 1].map(|at| world.with_real_names(&page.path, &settings[at].text));
    person.write(".config/vaulttoken/config.yaml", &settings_of_person);
    person.write(".config/vaulttoken/corp.pem", &world.vault.authority.pem);
    // The entry of the README, in a kubeconfig for the cluster.
    let entry = page.blocks.iter().find(|block| Kind::of(&page, block) == Kind::Kubeconfig).unwrap();
    let exec = &yaml(&entry.text)["users"][0]["user"]["exec"];
    let kubeconfig = person.kubeconfig(world.cluster, exec, None);
    person.set("KUBECONFIG", &kubeconfig.display().to_string());
    let script = typed(consoles[1]).replace("get pods", "--namespace=team-a get pods");
    let run = person.script(&script, &format!("{PASSWORD}\n")).succeeded_at("README.md");
    let shown = consoles[1].text.lines().find(|line| line.starts_with("PROFILE")).unwrap();
    let words = |line: &str| {
        line.split("  ").map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let head = run.stdout.lines().find(|line| line.starts_with("PROFILE")).unwrap();
    assert_eq!(words(head), words(shown));

    let job = new_home(world);
    as_github_job(&job, world);
    job.set("VAULT_CACERT", &world.vault.ca_file().display().to_string());
    job.write("ci/vaulttoken.yaml", &settings_of_job);
    job.write("deploy/map.yaml", "{apiVersion: v1, kind: ConfigMap, metadata: {name: of-the-readme}}");
    job.script(&typed(consoles[2]), "").succeeded_at("README.md");
}

#[test]
fn every_kubeconfig_entry_works_with_the_real_kubectl_and_its_allow_list() {
    visited(ENGINE);
    let (page, world) = (Page::read("docs/kubeconfig.md"), World::shared());
    let visit = OnePage { page: Page::read(ENGINE), world, folder: folder("operator") };
    let kuberc = page.of("yaml kuberc").next().unwrap();
    let mut tried = 0;
    for block in page.of("yaml") {
        let home = visit.home(&settings_of_engine());
        let whole = yaml(&world.with_real_names(&page.path, &block.text));
        let exec = &whole["users"][0]["user"]["exec"];
        let extension = whole["clusters"][0]["cluster"]["extensions"][0].get("extension");
        let kubeconfig = home.kubeconfig(world.cluster, exec, extension);
        let arguments = ["--namespace=team-a", "get", "configmaps"];
        home.kubectl(&kubeconfig, &arguments).succeeded_at(&page.path);
        if exec["command"] == "kubectl-vaulttoken" {
            let file = home.write("kuberc", &kuberc.text);
            home.set("KUBERC", &file.display().to_string());
            home.kubectl(&kubeconfig, &arguments).quiet();
        }
        tried += 1;
    }
    assert!(tried >= 4);
}
