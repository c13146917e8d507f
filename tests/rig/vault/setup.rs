//! Engines, auth methods, policies and tokens, set up in one call each. Names are the caller's (see
//! [`unique`](super::super::unique)), so that tests which share a vault do not meet.

use serde_json::{Value, json};

use super::super::cluster::Cluster;
use super::super::jwt::Issuer;
use super::{Session, text};

impl Session {
    /// Makes a namespace in this one, and gives a session in it.
    pub fn create_namespace(&self, name: &str) -> Self {
        self.write(&format!("sys/namespaces/{name}"), &json!({}));
        match &self.namespace {
            Some(parent) => self.within(&format!("{parent}/{name}")),
            None => self.within(name),
        }
    }

    pub fn write_policy(&self, name: &str, rules: &str) {
        let path = format!("sys/policies/acl/{name}");
        self.write(&path, &json!({"policy": rules}));
    }

    /// A child of this session's token; `options` as `auth/token/create` takes them, such as
    /// `{"policies": ["p"], "ttl": "1m", "period": "1h", "type": "batch"}`.
    pub fn child_token(&self, options: &Value) -> String {
        let answer = self.write("auth/token/create", options);
        text(&answer["auth"]["client_token"])
    }

    /// Logs in: `vault.anonymous().log_in("auth/userpass/login/alice", &json!({"password": ..}))`.
    pub fn log_in(&self, path: &str, body: &Value) -> Self {
        let answer = self.write(path, body);
        Self { token: Some(text(&answer["auth"]["client_token"])), ..self.clone() }
    }

    pub fn enable_auth(&self, kind: &str, mount: &str) {
        self.write(&format!("sys/auth/{mount}"), &json!({"type": kind}));
    }

    pub fn enable_engine(&self, kind: &str, mount: &str, options: &Value) {
        let body = json!({"type": kind, "options": options});
        self.write(&format!("sys/mounts/{mount}"), &body);
    }

    /// A key-value engine, of version 1 or 2.
    pub fn key_value(&self, mount: &str, version: u8) {
        self.enable_engine("kv", mount, &json!({"version": version.to_string()}));
        if version == 2 {
            // A new mount of version 2 refuses everything until it has upgraded itself.
            super::poll("a key-value engine", super::LIMIT, || {
                let answer = self.call("GET", &format!("{mount}/config"), &Value::Null);
                answer.is_success().then_some(())
            });
        }
    }

    /// The Kubernetes secrets engine, with an account of its own on `cluster` that may do what the
    /// engine's documentation asks for.
    pub fn kubernetes_engine(&self, mount: &str, cluster: &Cluster) {
        self.enable_engine("kubernetes", mount, &Value::Null);
        let body = json!({
            "kubernetes_host": cluster.server,
            "kubernetes_ca_cert": cluster.authority.pem,
            "service_account_jwt": cluster.issuing_account(),
            "disable_local_ca_jwt": true,
        });
        self.write(&format!("{mount}/config"), &body);
    }

    /// A role of the Kubernetes secrets engine for an existing service account of one namespace.
    pub fn kubernetes_engine_role(&self, mount: &str, role: &str, namespace: &str, account: &str) {
        let body = json!({
            "allowed_kubernetes_namespaces": [namespace],
            "service_account_name": account,
            "token_default_ttl": "1h",
        });
        self.write(&format!("{mount}/roles/{role}"), &body);
    }

    /// A user of a userpass method at `mount`.
    pub fn userpass_user(&self, mount: &str, user: &str, password: &str, policies: &[&str]) {
        let body = json!({"password": password, "token_policies": policies});
        self.write(&format!("auth/{mount}/users/{user}"), &body);
    }

    /// A role of an approle method at `mount`; gives its role id and a secret id.
    pub fn approle(&self, mount: &str, role: &str, policies: &[&str]) -> (String, String) {
        let path = format!("auth/{mount}/role/{role}");
        self.write(&path, &json!({"token_policies": policies}));
        let role_id = text(&self.read(&format!("{path}/role-id"))["role_id"]);
        let secret_id = self.write(&format!("{path}/secret-id"), &json!({}));
        (role_id, text(&secret_id["data"]["secret_id"]))
    }

    /// A role of a cert method at `mount`, for whoever holds a certificate of that authority.
    pub fn cert_role(&self, mount: &str, role: &str, authority_pem: &str, policies: &[&str]) {
        let body = json!({"certificate": authority_pem, "token_policies": policies});
        self.write(&format!("auth/{mount}/certs/{role}"), &body);
    }

    /// Makes a jwt method at `mount` trust an issuer of the rig.
    pub fn jwt_trust(&self, mount: &str, issuer: &Issuer) {
        let body = json!({"jwt_validation_pubkeys": [issuer.public_key_pem()]});
        self.write(&format!("auth/{mount}/config"), &body);
    }

    /// A role of a jwt method at `mount`; the user is the claim `sub`.
    pub fn jwt_role(&self, mount: &str, role: &str, audience: &str, policies: &[&str]) {
        let body = json!({
            "role_type": "jwt",
            "user_claim": "sub",
            "bound_audiences": [audience],
            "token_policies": policies,
        });
        self.write(&format!("auth/{mount}/role/{role}"), &body);
    }

    /// Makes a kubernetes method at `mount` ask `cluster` whose a pod's token is.
    pub fn kubernetes_auth(&self, mount: &str, cluster: &Cluster) {
        let body = json!({
            "kubernetes_host": cluster.server,
            "kubernetes_ca_cert": cluster.authority.pem,
            "token_reviewer_jwt": cluster.issuing_account(),
        });
        self.write(&format!("auth/{mount}/config"), &body);
    }

    /// A role of a kubernetes method at `mount` for one service account.
    pub fn kubernetes_auth_role(
        &self,
        mount: &str,
        role: &str,
        (namespace, account): (&str, &str),
        policies: &[&str],
    ) {
        let body = json!({
            "bound_service_account_names": [account],
            "bound_service_account_namespaces": [namespace],
            "token_policies": policies,
        });
        self.write(&format!("auth/{mount}/role/{role}"), &body);
    }

    /// An identity role `name` with a key of its own: tokens for `client_id`, signed with ES256. They
    /// carry the name under which the entity logged in through the auth method at `mount`, and the
    /// names of its groups.
    pub fn identity_role(&self, name: &str, client_id: &str, mount: &str) {
        let key = json!({
            "algorithm": "ES256",
            "rotation_period": "24h",
            "verification_ttl": "24h",
            "allowed_client_ids": [client_id],
        });
        self.write(&format!("identity/oidc/key/{name}"), &key);
        let accessor = text(&self.read(&format!("sys/auth/{mount}"))["accessor"]);
        let template = format!(
            "{{\"username\": {{{{identity.entity.aliases.{accessor}.name}}}}, \
              \"groups\": {{{{identity.entity.groups.names}}}}}}"
        );
        let role = json!({"key": name, "client_id": client_id, "ttl": "15m", "template": template});
        self.write(&format!("identity/oidc/role/{name}"), &role);
    }

    /// An OpenID provider `name` for whoever logs in to this Vault, with one public client; gives the
    /// client's id. Its scopes are `profile`, which tells the name under which the entity logged in
    /// through the auth method at `mount`, and `groups`.
    pub fn openid_provider(&self, name: &str, mount: &str, redirect_uris: &[&str]) -> String {
        let key = json!({"algorithm": "RS256", "allowed_client_ids": ["*"]});
        self.write(&format!("identity/oidc/key/{name}"), &key);
        let accessor = text(&self.read(&format!("sys/auth/{mount}"))["accessor"]);
        for (scope, template) in [
            (
                "profile",
                format!("{{\"preferred_username\": {{{{identity.entity.aliases.{accessor}.name}}}}}}"),
            ),
            ("groups", "{\"groups\": {{identity.entity.groups.names}}}".to_owned()),
        ] {
            self.write(&format!("identity/oidc/scope/{scope}"), &json!({"template": template}));
        }
        let client = json!({
            "key": name,
            "client_type": "public",
            "redirect_uris": redirect_uris,
            "assignments": ["allow_all"],
            "id_token_ttl": "15m",
        });
        self.write(&format!("identity/oidc/client/{name}"), &client);
        let id = text(&self.read(&format!("identity/oidc/client/{name}"))["client_id"]);
        let provider = json!({"allowed_client_ids": [id], "scopes_supported": ["profile", "groups"]});
        self.write(&format!("identity/oidc/provider/{name}"), &provider);
        id
    }

    /// A group of whoever logged in with this session's token; tokens of identity roles name it.
    pub fn identity_group(&self, name: &str, member: &Session) {
        let entity = member.read("auth/token/lookup-self")["entity_id"].take();
        self.write(&format!("identity/group/name/{name}"), &json!({"member_entity_ids": [entity]}));
    }
}
