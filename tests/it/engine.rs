//! A Kubernetes engine of one test, with a role of each kind, and homes that use it.

use serde_json::{Value, json};

use crate::home::{Home, exec_info};
use crate::rig::{Cluster, Session, Vault, unique};

/// An engine with the roles `reader` (an existing account), `viewer` (an account is generated and
/// bound to the cluster role `view`) and `ruled` (a cluster role is generated, too).
pub struct Engine {
    pub mount: String,
    /// A namespace of its own in the cluster, with the account `reader`.
    pub namespace: String,
    /// The policy that lets its bearer mint, and see the roles.
    pub policy: String,
}

impl Engine {
    pub fn new(root: &Session, cluster: &Cluster) -> Self {
        let (mount, namespace) = (unique("kubernetes"), cluster.namespace("team"));
        cluster.service_account(&namespace, "reader");
        cluster.grant((&namespace, "reader"), "view");
        root.kubernetes_engine(&mount, cluster);
        root.kubernetes_engine_role(&mount, "reader", &namespace, "reader");
        let generated = |name: &str, more: Value| {
            let mut role = json!({
                "allowed_kubernetes_namespaces": [&namespace],
                "kubernetes_role_type": "ClusterRole",
                "token_default_ttl": "15m",
            });
            role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            root.write(&format!("{mount}/roles/{name}"), &role);
        };
        generated("viewer", json!({"kubernetes_role_name": "view"}));
        let rules = "rules: [{apiGroups: [''], resources: [namespaces], verbs: [list]}]";
        generated("ruled", json!({"generated_role_rules": rules}));
        let policy = unique("mint");
        let rules = format!(
            "path \"{mount}/creds/*\" {{ capabilities = [\"update\"] }}\n\
             path \"{mount}/roles/*\" {{ capabilities = [\"read\"] }}"
        );
        root.write_policy(&policy, &rules);
        Self { mount, namespace, policy }
    }

    /// A source of the settings for one of the roles; generated accounts are bound in all namespaces.
    pub fn source(&self, role: &str) -> Value {
        json!({"vaultKubernetes": {
            "vault": "corp", "mount": self.mount, "role": role, "clusterRoleBinding": role != "reader",
        }})
    }

    /// Whom the API server sees behind a token of the role `reader`.
    pub fn reader(&self) -> String {
        format!("system:serviceaccount:{}:reader", self.namespace)
    }

    /// A token of the vault that may mint.
    pub fn vault_token(&self, root: &Session) -> String {
        root.child_token(&json!({"policies": [self.policy], "ttl": "1h"}))
    }
}

/// How settings name a vault, as `corp`.
pub fn corp(vault: &Vault, auth: Option<&Value>) -> Value {
    let mut settings = json!({"address": vault.address, "certificateAuthority": vault.ca_file()});
    if let Some(auth) = auth {
        settings["auth"] = auth.clone();
    }
    json!({"corp": settings})
}

/// A home with one profile `prod` on the shared vault and cluster, that logs in with `auth` (none: a
/// token, which the caller lays somewhere).
pub fn home_with(engine: &Engine, role: &str, auth: Option<&Value>) -> Home {
    let home = Home::new();
    home.settings(&json!({
        "vaults": corp(Vault::shared(), auth),
        "profiles": {"prod": {"source": engine.source(role)}},
    }));
    home
}

/// The same, with a token in the environment.
pub fn home_with_token(engine: &Engine, role: &str) -> Home {
    let home = home_with(engine, role, None);
    let token = engine.vault_token(&Vault::shared().root());
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    home
}

/// An engine of the shared vault on the shared cluster.
pub fn shared() -> Engine {
    Engine::new(&Vault::shared().root(), Cluster::shared())
}

/// Whose token this is, as the API server sees it; none where it is refused.
pub fn subject(cluster: &Cluster, token: &str) -> Option<String> {
    let answer = cluster.request("GET", "/api/v1/secrets", Some(token));
    match answer.status {
        401 => None,
        // What it may not do names the user.
        403 => answer.json["message"].as_str()?.split('"').nth(1).map(str::to_owned),
        status => panic!("status {status}: {}", answer.text),
    }
}

/// Gets a token without anybody's help, and makes sure whose it is.
#[track_caller]
pub fn gets_a_token(home: &Home, engine: &Engine) {
    let token = home.get_token(&[], Some(&exec_info("v1", None))).quiet().token();
    assert_eq!(subject(Cluster::shared(), &token).as_deref(), Some(engine.reader().as_str()));
}

/// How often somebody logged in at `mount`.
pub fn log_ins(mount: &str) -> usize {
    let path = format!("auth/{mount}/login");
    let log = Vault::shared().audit_log();
    let is_log_in = |entry: &&Value| {
        entry["type"] == "response"
            && entry["request"]["path"].as_str().is_some_and(|at| at.starts_with(&path))
    };
    log.iter().filter(is_log_in).count()
}
