//! Namespaces, service accounts, rights and tokens, made in one call each.

use serde_json::{Value, json};

use super::super::unique;
use super::Cluster;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

impl Cluster {
    /// A new namespace; its name begins with `prefix`.
    pub fn namespace(&self, prefix: &str) -> String {
        let name = unique(prefix);
        self.create(
            "/api/v1/namespaces",
            &json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}),
        );
        name
    }

    pub fn service_account(&self, namespace: &str, name: &str) {
        self.create(
            &format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            &json!({"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": name}}),
        );
    }

    /// Lets a service account do what a cluster role says, in every namespace.
    pub fn grant(&self, (namespace, account): (&str, &str), cluster_role: &str) {
        let account = json!({"kind": "ServiceAccount", "namespace": namespace, "name": account});
        self.bind(&account, cluster_role);
    }

    /// Lets the members of a group do what a cluster role says, in every namespace.
    pub fn grant_group(&self, group: &str, cluster_role: &str) {
        let group = json!({"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": group});
        self.bind(&group, cluster_role);
    }

    fn bind(&self, subject: &Value, cluster_role: &str) {
        self.create(
            &format!("{RBAC}/clusterrolebindings"),
            &json!({
                "kind": "ClusterRoleBinding",
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "metadata": {"name": unique("grant")},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": cluster_role,
                },
                "subjects": [subject],
            }),
        );
    }

    /// A new cluster role of these `rules`; gives its name.
    pub fn cluster_role(&self, prefix: &str, rules: &Value) -> String {
        let name = unique(prefix);
        self.create(
            &format!("{RBAC}/clusterroles"),
            &json!({
                "kind": "ClusterRole",
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "metadata": {"name": name},
                "rules": rules,
            }),
        );
        name
    }

    /// A token of a service account; no `audiences` means the API server's own.
    pub fn token_for(&self, (namespace, account): (&str, &str), seconds: u32, audiences: &[&str]) -> String {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let answer = self.create(
            &path,
            &json!({
                "kind": "TokenRequest",
                "apiVersion": "authentication.k8s.io/v1",
                "spec": {"expirationSeconds": seconds, "audiences": audiences},
            }),
        );
        let token = answer["status"]["token"].as_str();
        token.expect("an answered TokenRequest has a token").to_owned()
    }

    /// A day's token of an account that may do what a vault's Kubernetes engine and auth method ask
    /// for. All vaults of this process use the same account.
    pub fn issuing_account(&self) -> &str {
        self.issuing_account.get_or_init(|| {
            let namespace = self.namespace("vault");
            let account = (namespace.as_str(), "vault");
            self.service_account(account.0, account.1);
            let role = self.cluster_role(
                "vault",
                &json!([
                    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
                    {
                        "apiGroups": [""],
                        "resources": ["serviceaccounts", "serviceaccounts/token"],
                        "verbs": ["create", "update", "delete"],
                    },
                    {
                        "apiGroups": ["rbac.authorization.k8s.io"],
                        "resources": ["rolebindings", "clusterrolebindings"],
                        "verbs": ["create", "update", "delete"],
                    },
                    {
                        "apiGroups": ["rbac.authorization.k8s.io"],
                        "resources": ["roles", "clusterroles"],
                        "verbs": ["bind", "escalate", "create", "update", "delete"],
                    },
                ]),
            );
            self.grant(account, &role);
            self.grant(account, "system:auth-delegator");
            self.token_for(account, 24 * 60 * 60, &[])
        })
    }

    /// Creates one object at the collection `path`. Panics where the server refuses.
    pub fn create(&self, path: &str, object: &Value) -> Value {
        let answer = self.api("POST", path, object);
        assert!(answer.is_success(), "POST {path}: {}", answer.text);
        answer.json
    }
}
