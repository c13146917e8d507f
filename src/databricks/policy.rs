//! The federation policy of a service principal for a Kubernetes service account, as the Databricks CLI,
//! its REST API and Terraform take it. Pure: who reads the cluster hands its two documents in.
//!
//! `oidc_policy` after "Create Service Principal Federation Policy" of the account API: `issuer`,
//! `audiences`, `subject`, and `jwks_json` where Databricks cannot fetch the issuer's keys.

use serde::Deserialize;
use serde_json::{Value, json};
use url::{Host, Url};

use super::DatabricksError;
use crate::error::shell_word;

/// What the API server says of itself: `/.well-known/openid-configuration`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Discovery {
    /// The `iss` of its tokens, byte for byte.
    pub issuer: String,
}

/// Where Databricks gets the keys from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// From the issuer, over the internet.
    OfIssuer,
    /// From the policy, which holds them.
    Inline,
}

/// What was decided about the keys, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Where they come from.
    pub keys: Keys,
    /// In words for a person.
    pub why: String,
}

impl Decision {
    /// Whether the issuer can be reached from outside, as far as its address tells.
    #[must_use]
    pub fn about(issuer: &str) -> Self {
        let inline = |why: &str| Self { keys: Keys::Inline, why: why.to_owned() };
        let Ok(url) = Url::parse(issuer) else { return inline("the issuer is no address") };
        if url.scheme() != "https" {
            return inline("the issuer is not served by https");
        }
        match url.host() {
            Some(Host::Domain(name)) if is_internal(name) => {
                inline(&format!("`{name}` is a name inside the cluster or its network"))
            }
            Some(Host::Ipv4(address))
                if address.is_private() || address.is_loopback() || address.is_link_local() =>
            {
                inline(&format!("{address} is an address inside its network"))
            }
            Some(Host::Ipv6(address))
                if address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local() =>
            {
                inline(&format!("{address} is an address inside its network"))
            }
            Some(_) => Self { keys: Keys::OfIssuer, why: "the issuer's name is a public one".to_owned() },
            None => inline("the issuer has no host"),
        }
    }
}

/// Names that mean nothing on the internet (RFC 6761, RFC 6762, RFC 9476, and what clusters use).
fn is_internal(name: &str) -> bool {
    const ENDINGS: [&str; 8] =
        [".svc", ".local", ".internal", ".localhost", ".localdomain", ".test", ".home.arpa", ".lan"];
    let name = name.trim_end_matches('.');
    !name.contains('.') || name.contains(".svc.") || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// `iss`, byte for byte.
    pub issuer: String,
    /// Of which a token must name one.
    pub audiences: Vec<String>,
    /// `sub`.
    pub subject: String,
    /// The key set, where the issuer cannot be reached.
    pub key_set: Option<String>,
}

/// For whom it is; what is not known is a placeholder that nobody mistakes for a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The number of the service principal, which is not its application id.
    pub service_principal: Option<u64>,
    /// The account.
    pub account_id: Option<String>,
}

impl Target {
    fn service_principal(&self, variable: &str) -> String {
        self.service_principal.map_or_else(|| variable.to_owned(), |number| number.to_string())
    }
}

/// The `sub` of a service account's tokens.
#[must_use]
pub fn subject(namespace: &str, service_account: &str) -> String {
    format!("system:serviceaccount:{namespace}:{service_account}")
}

/// The key set as it belongs into a policy: on one line, and with public keys in it alone.
///
/// # Errors
/// It is no key set.
pub fn key_set(text: &str) -> Result<String, DatabricksError> {
    let set: Value = serde_json::from_str(text).map_err(|_| DatabricksError::NoKeySet)?;
    let keys = set.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty());
    let keys = keys.ok_or(DatabricksError::NoKeySet)?;
    // Security: it goes to somebody else. RFC 7518, 6.2.2 and 6.3.2 and 6.4: what is private in a key.
    let is_private = |key: &Value| {
        ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| key.get(name).is_some())
    };
    if keys.iter().any(is_private) {
        return Err(DatabricksError::NoKeySet);
    }
    Ok(json!({"keys": keys}).to_string())
}

impl Policy {
    /// The request body of the API.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut policy = json!({"issuer": self.issuer, "audiences": self.audiences, "subject": self.subject});
        if let (Some(keys), Some(fields)) = (&self.key_set, policy.as_object_mut()) {
            fields.insert("jwks_json".to_owned(), json!(keys));
        }
        json!({"oidc_policy": policy})
    }

    /// A command of the Databricks CLI.
    #[must_use]
    pub fn cli(&self, target: &Target) -> String {
        let principal = target.service_principal("$SERVICE_PRINCIPAL_ID");
        let body = self.body().to_string();
        format!(
            "databricks account service-principal-federation-policy create {principal} --json {}\n",
            quoted(&body)
        )
    }

    /// The request, as a shell sends it with curl; the token of an account's administrator is a variable.
    #[must_use]
    pub fn rest(&self, target: &Target) -> String {
        let account = target.account_id.as_deref().map_or("$DATABRICKS_ACCOUNT_ID".into(), shell_word);
        let principal = target.service_principal("$SERVICE_PRINCIPAL_ID");
        format!(
            "curl --fail-with-body -X POST \\\n  -H \"Authorization: Bearer $DATABRICKS_TOKEN\" \\\n  \
             -H 'Content-Type: application/json' \\\n  \
             \"$DATABRICKS_HOST/api/2.0/accounts/{account}/servicePrincipals/{principal}/federationPolicies\" \\\n  \
             -d {}\n",
            quoted(&self.body().to_string())
        )
    }

    /// A resource of the Databricks provider.
    #[must_use]
    pub fn terraform(&self, target: &Target) -> String {
        let principal = target.service_principal("var.service_principal_id");
        let mut fields = vec![
            ("issuer", hcl(&self.issuer)),
            (
                "audiences",
                format!("[{}]", self.audiences.iter().map(|one| hcl(one)).collect::<Vec<_>>().join(", ")),
            ),
            ("subject", hcl(&self.subject)),
        ];
        if let Some(keys) = &self.key_set {
            fields.push(("jwks_json", hcl(keys)));
        }
        let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
        let lines: Vec<String> =
            fields.iter().map(|(name, value)| format!("    {name:width$} = {value}\n")).collect();
        let lines = lines.concat();
        let name: String = self
            .subject
            .rsplit(':')
            .next()
            .unwrap_or_default()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        format!(
            "resource \"databricks_service_principal_federation_policy\" \"kubernetes_{name}\" {{\n  \
             service_principal_id = {principal}\n  oidc_policy = {{\n{lines}  }}\n}}\n"
        )
    }
}

/// A word in single quotes for a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A string of Terraform's language: JSON's, with its templates made harmless.
fn hcl(text: &str) -> String {
    json!(text).to_string().replace("${", "$${").replace("%{", "%%{")
}

#[cfg(test)]
mod tests {
    use snapbox::{IntoData as _, assert_data_eq, str};

    use super::*;

    const KEYS: &str = r#"{"keys":[{"use":"sig","kty":"RSA","kid":"k","alg":"RS256","n":"AQ","e":"AQAB"}]}"#;

    fn policy() -> Policy {
        Policy {
            issuer: "https://kubernetes.default.svc.cluster.local".into(),
            audiences: vec!["0d26daa6".into()],
            subject: subject("team-a", "reporter"),
            key_set: Some(key_set(KEYS).unwrap()),
        }
    }

    fn target() -> Target {
        Target { service_principal: Some(4711), account_id: Some("0d26daa6".into()) }
    }

    #[test]
    fn a_policy_is_a_command_of_the_cli() {
        assert_data_eq!(
            policy().cli(&target()),
            str![[r#"
databricks account service-principal-federation-policy create 4711 --json '{"oidc_policy":{"audiences":["0d26daa6"],"issuer":"https://kubernetes.default.svc.cluster.local","jwks_json":"{\"keys\":[{\"alg\":\"RS256\",\"e\":\"AQAB\",\"kid\":\"k\",\"kty\":\"RSA\",\"n\":\"AQ\",\"use\":\"sig\"}]}","subject":"system:serviceaccount:team-a:reporter"}}'

"#]].raw()
        );
        let mut public = policy();
        public.key_set = None;
        assert_data_eq!(
            public.cli(&Target::default()),
            str![[r#"
databricks account service-principal-federation-policy create $SERVICE_PRINCIPAL_ID --json '{"oidc_policy":{"audiences":["0d26daa6"],"issuer":"https://kubernetes.default.svc.cluster.local","subject":"system:serviceaccount:team-a:reporter"}}'

"#]].raw()
        );
    }

    #[test]
    fn a_policy_is_a_request() {
        let mut policy = policy();
        policy.key_set = None;
        policy.audiences = vec!["it's".into(), "b".into()];
        assert_data_eq!(
            policy.rest(&target()),
            str![[r#"
curl --fail-with-body -X POST \
  -H "Authorization: Bearer $DATABRICKS_TOKEN" \
  -H 'Content-Type: application/json' \
  "$DATABRICKS_HOST/api/2.0/accounts/0d26daa6/servicePrincipals/4711/federationPolicies" \
  -d '{"oidc_policy":{"audiences":["it'\''s","b"],"issuer":"https://kubernetes.default.svc.cluster.local","subject":"system:serviceaccount:team-a:reporter"}}'

"#]].raw()
        );
    }

    #[test]
    fn a_policy_is_a_resource_of_terraform() {
        let mut policy = policy();
        policy.audiences.push("${evil}".into());
        assert_data_eq!(
            policy.terraform(&Target::default()),
            str![[r#"
resource "databricks_service_principal_federation_policy" "kubernetes_reporter" {
  service_principal_id = var.service_principal_id
  oidc_policy = {
    issuer    = "https://kubernetes.default.svc.cluster.local"
    audiences = ["0d26daa6", "$${evil}"]
    subject   = "system:serviceaccount:team-a:reporter"
    jwks_json = "{\"keys\":[{\"alg\":\"RS256\",\"e\":\"AQAB\",\"kid\":\"k\",\"kty\":\"RSA\",\"n\":\"AQ\",\"use\":\"sig\"}]}"
  }
}

"#]].raw()
        );
    }

    #[test]
    fn keys_are_in_the_policy_where_nobody_outside_can_fetch_them() {
        for issuer in [
            "https://kubernetes.default.svc",
            "https://kubernetes.default.svc.cluster.local",
            "https://kubernetes.default.svc.corp.example",
            "https://kind-control-plane:6443",
            "https://10.0.0.1:6443",
            "https://127.0.0.1:6443",
            "https://[fd00::1]",
            "https://api.corp.internal",
            "http://issuer.example",
            "kubernetes/serviceaccount",
        ] {
            assert_eq!(Decision::about(issuer).keys, Keys::Inline, "{issuer}");
        }
        for issuer in [
            "https://oidc.eks.eu-west-1.amazonaws.com/id/AB12",
            "https://westeurope.oic.prod-aks.azure.com/tenant/id/",
            "https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
            "https://192.0.2.1",
        ] {
            assert_eq!(Decision::about(issuer).keys, Keys::OfIssuer, "{issuer}");
        }
    }

    #[test]
    fn only_public_keys_go_to_somebody_else() {
        assert!(key_set(KEYS).is_ok());
        for wrong in [
            "",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":[{"kty":"RSA","d":"x"}]}"#,
            r#"{"keys":[{"kty":"oct","k":"x"}]}"#,
        ] {
            assert_eq!(key_set(wrong), Err(DatabricksError::NoKeySet), "{wrong}");
        }
    }
}
