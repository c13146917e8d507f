//! The servers that the documents speak of: a Vault of this module's own, so that pages can use the
//! names that people use, the shared cluster, and doubles of the two CI systems and the directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};

use super::clouds::Clouds;
use super::people::Provider;
use crate::home::PLUGIN;
use crate::rig::{Authority, Certificate, Cluster, Double, Issuer, Reply, Seen, Vault, folder, poll, tool};

/// The password of everybody in the documents.
pub const PASSWORD: &str = "correct horse battery staple";
/// The audience of JWTs that the documents ask for.
pub const AUDIENCE: &str = "https://vault.corp.example";

pub struct World {
    pub vault: Vault,
    pub cluster: &'static Cluster,
    /// Programs by the names that the documents call them: `bao`, `kubectl`.
    programs: PathBuf,
    /// Signs what a CI system without discovery hands to its jobs.
    pub ci: Issuer,
    pub github: Platform,
    pub gitlab: Platform,
    /// Answers for the directory, and passes on the rest.
    directory: Double,
    pub clients: Authority,
    pub client: Certificate,
    clouds: OnceLock<Clouds>,
}

/// A CI system that publishes its keys and hands tokens to jobs.
pub struct Platform {
    pub double: Double,
    issuer: Arc<Issuer>,
}

impl Platform {
    /// OpenID Connect Discovery 1.0, section 4; a job's token service as GitHub documents it under
    /// "OpenID Connect reference": `GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=…` gives `{"value": JWT}`.
    fn start(claims: Value) -> Self {
        let issuer = Arc::new(Issuer::new());
        let address: Arc<OnceLock<String>> = Arc::default();
        let (its_issuer, its_address) = (Arc::clone(&issuer), Arc::clone(&address));
        let double = Double::http(move |request| {
            let address = its_address.get().unwrap();
            match request.path.split('?').next().unwrap() {
                "/.well-known/openid-configuration" => Reply::json(
                    200,
                    &json!({
                        "issuer": address, "jwks_uri": format!("{address}/keys"),
                        "authorization_endpoint": address, "token_endpoint": address,
                        "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
                        "id_token_signing_alg_values_supported": ["ES256"],
                    }),
                ),
                "/keys" => Reply::json(200, &its_issuer.key_set()),
                "/token" if request.path.ends_with("audience=https%3A%2F%2Fvault.corp.example") => {
                    Reply::json(200, &json!({"value": job_token(&its_issuer, address, &claims)}))
                }
                _ => Reply::not_found(),
            }
        });
        address.set(double.address.clone()).unwrap();
        Self { double, issuer }
    }

    /// A job's token.
    pub fn token(&self, claims: &Value) -> String {
        job_token(&self.issuer, &self.double.address, claims)
    }
}

fn job_token(issuer: &Issuer, address: &str, claims: &Value) -> String {
    let mut claims = claims.clone();
    claims["iss"] = json!(address);
    issuer.token("repo:corp/shop:ref:refs/heads/main", AUDIENCE, &claims)
}

impl World {
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<World> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        let programs = folder("programs");
        for (name, program) in [("bao", tool("vault")), ("kubectl", tool("kubectl"))] {
            symlink(program, programs.join(name)).unwrap();
        }
        let vault = Vault::start();
        let clients = Authority::new("documents-clients");
        let client = clients.client("node-1", &[]);
        Self {
            cluster: Cluster::shared(),
            programs,
            ci: Issuer::new(),
            github: Platform::start(json!({"repository": "corp/shop", "ref": "refs/heads/main"})),
            gitlab: Platform::start(json!({})),
            directory: directory(&vault),
            clients,
            client,
            vault,
            clouds: OnceLock::new(),
        }
    }

    /// The doubles of the clouds, which only some pages speak of.
    pub fn clouds(&self) -> &Clouds {
        self.clouds.get_or_init(Clouds::start)
    }

    /// `PATH`: our program and those that the documents call.
    pub fn path(&self) -> String {
        let plugin = Path::new(PLUGIN).parent().unwrap();
        format!("{}:{}:/usr/bin:/bin", self.programs.display(), plugin.display())
    }

    /// The text of a page with the names of its servers in the place of the example's.
    pub fn with_real_names(&self, page: &str, text: &str) -> String {
        let vault =
            if page.ends_with("auth-ldap.md") { &self.directory.address } else { &self.vault.address };
        let path = |path: &Path| path.display().to_string();
        let text = match Provider::of(page) {
            Some(provider) => provider.with_real_names(self, text),
            None => text.to_owned(),
        };
        text.replace("https://vault.corp.example:8200", vault)
            // The provider of the page about browsers is the server itself.
            .replace(
                "https://sso.corp.example",
                &format!("{}/v1/identity/oidc/provider/default", self.vault.address),
            )
            .replace("https://prod.example:6443", &self.cluster.server)
            .replace("https://token.actions.githubusercontent.com", &self.github.double.address)
            .replace("https://gitlab.corp.example", &self.gitlab.double.address)
            .replace("/etc/ssl/corp.pem", &path(self.vault.ca_file()))
            .replace("/etc/ssl/prod.pem", &path(self.cluster.ca_file()))
            .replace("/etc/node/tls.crt", &path(&self.client.file))
            .replace("/etc/node/tls.key", &path(&self.client.key_file))
            .replace("/home/me/.krew/bin/kubectl-vaulttoken", PLUGIN)
    }

    /// Runs an operator's script in `folder`, with every right on the Vault, the cluster and the provider.
    pub fn operate(&self, place: &str, folder: &Path, script: &str) {
        let provider = place.rsplit_once(':').and_then(|(page, _)| Provider::of(page));
        let vault =
            if place.contains("auth-ldap.md") { &self.directory.address } else { &self.vault.address };
        let client = place.contains("auth-oidc.md").then(|| self.client_of_provider());
        let run = || {
            let mut command = Command::new("/bin/sh");
            command.args(["-euc", script]).current_dir(folder).stdin(Stdio::null());
            command.env_clear().env("PATH", self.path()).env("HOME", folder).env("PASSWORD", PASSWORD);
            command.env("KUBECONFIG", &self.cluster.kubeconfig).env("VAULT_ADDR", vault);
            command.env("VAULT_CACERT", self.vault.ca_file()).env("VAULT_TOKEN", &self.vault.root_token);
            if let Some(provider) = provider {
                provider.help_operator(&mut command);
            }
            if let Some((id, secret)) = &client {
                command.env("CLIENT_ID", id).env("CLIENT_SECRET", secret);
            }
            command.output().unwrap()
        };
        // The API server's admission looks accounts up in a cache, which learns of a new one a moment later.
        let is_behind = |output: &Output| {
            String::from_utf8_lossy(&output.stderr).contains("error looking up service account")
        };
        let output = poll("an API server that knows the new account", Duration::from_secs(30), || {
            Some(run()).filter(|output| !is_behind(output))
        });
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{place}: {complaint}\n{script}");
    }
}

impl World {
    /// The client that an operator of the provider made for Vault.
    fn client_of_provider(&self) -> (String, String) {
        let root = self.vault.root();
        let redirects = ["http://localhost:8250/oidc/callback"];
        let body =
            json!({"redirect_uris": redirects, "assignments": ["allow_all"], "client_type": "confidential"});
        root.write("identity/oidc/client/vault", &body);
        let client = root.read("identity/oidc/client/vault");
        let text = |name: &str| client[name].as_str().unwrap().to_owned();
        (text("client_id"), text("client_secret"))
    }
}

/// What Vault answers where the directory took the password: "Login with LDAP user" in the HTTP API of
/// the LDAP method. The session is a real one. Where the server has no such method, as it is a plugin of
/// its own, the double takes the configuration as well.
fn directory(vault: &Vault) -> Double {
    let (root, address) = (vault.root(), vault.address.clone());
    let is_built_in = vault.has_auth_method("ldap");
    Double::before(&vault.authority, &address, move |request: &Seen| {
        if request.path != "/v1/auth/ldap/login/alice" {
            let is_configuration = match request.path.as_str() {
                "/v1/sys/auth/ldap" => request.json()["type"] == "ldap",
                "/v1/auth/ldap/config" => request.json()["url"] == "ldaps://ldap.corp.example",
                "/v1/auth/ldap/groups/deployers" => request.json()["policies"] == "deployer",
                _ => false,
            };
            if is_configuration && !is_built_in {
                return Reply::Answer { status: 204, headers: Vec::new(), body: Vec::new() };
            }
            return Reply::Passed;
        }
        if request.json()["password"] != PASSWORD {
            return Reply::json(400, &json!({"errors": ["ldap operation failed: failed to bind as user"]}));
        }
        let options = json!({"policies": ["deployer"], "ttl": "1h", "display_name": "ldap-alice"});
        Reply::json(200, &root.write("auth/token/create", &options))
    })
}

/// A file of a folder, trimmed; none where there is none.
pub fn text_of(folder: &Path, name: &str) -> Option<String> {
    Some(fs::read_to_string(folder.join(name)).ok()?.trim().to_owned())
}
