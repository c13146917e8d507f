//! The cluster extension `ClusterProfile`: what a kubeconfig may say about the request.
//!
//! Security: a kubeconfig is foreign input. It may choose among what the person's settings allow, so
//! the fields are a closed list; none of them names a place, a file, a program or a TLS switch.

use std::time::Duration;

use serde_json::Value;

use super::duration::parse_duration;
use super::name::nearest;
use super::problem::SettingsError;
use super::value::{Audience, ClusterName, Mount, Namespace, Role, TeamName, ValueError};
use super::{API_VERSION, Name};

const FIELDS: [&str; 8] = ["profile", "role", "mount", "namespace", "audiences", "ttl", "cluster", "team"];
const ALLOWED: &str = "`profile`, `role`, `mount`, `namespace`, `audiences`, `ttl`, `cluster` and `team`";

/// The extension of one cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterProfile {
    /// The profile.
    pub profile: Option<Name>,
    /// The role.
    pub role: Option<String>,
    /// The engine's mount.
    pub mount: Option<String>,
    /// The Kubernetes namespace.
    pub namespace: Option<String>,
    /// Audiences; none is the same as the field left out.
    pub audiences: Vec<String>,
    /// The lifetime.
    pub ttl: Option<Duration>,
    /// Cluster of a KV document.
    pub cluster: Option<String>,
    /// Team of a KV document.
    pub team: Option<String>,
}

impl ClusterProfile {
    /// Reads `spec.cluster.config` of the exec info; `None` where the cluster has no extension, or that
    /// of another plugin: there is one name for all of them, and `apiVersion` tells them apart.
    pub fn parse(extension: &Value) -> Result<Option<Self>, SettingsError> {
        let fields = match extension {
            Value::Null => return Ok(None),
            Value::Object(fields) => fields,
            _ => return Err(broken("it is not a mapping".to_owned())),
        };
        let said = |field: &str| match fields.get(field) {
            Some(Value::String(text)) => format!("its `{field}` is `{text}`"),
            Some(_) => format!("its `{field}` is not a text"),
            None => format!("it has no `{field}`"),
        };
        let group = |version: &str| version.split_once('/').map(|(group, _)| group.to_owned());
        if let Some(Value::String(version)) = fields.get("apiVersion")
            && group(version) != group(API_VERSION)
        {
            return Ok(None);
        }
        for (field, expected) in [("apiVersion", API_VERSION), ("kind", "ClusterProfile")] {
            if fields.get(field).and_then(Value::as_str) != Some(expected) {
                return Err(broken(format!("{}; `{expected}` is expected", said(field))));
            }
        }
        let mut profile = Self::default();
        for (field, value) in fields {
            profile.set(field, value)?;
        }
        Ok(Some(profile))
    }

    fn set(&mut self, field: &str, value: &Value) -> Result<(), SettingsError> {
        match field {
            "apiVersion" | "kind" => {}
            "profile" => self.profile = text(field, value)?,
            "role" => self.role = text(field, value)?.map(|role: Role| role.0),
            "mount" => self.mount = text(field, value)?.map(|mount: Mount| mount.0),
            "namespace" => self.namespace = text(field, value)?.map(|namespace: Namespace| namespace.0),
            "cluster" => self.cluster = text(field, value)?.map(|cluster: ClusterName| cluster.0),
            "team" => self.team = text(field, value)?.map(|team: TeamName| team.0),
            "ttl" => {
                let ttl = value.as_str().ok_or_else(|| not_a(field, "a duration such as `15m`"))?;
                self.ttl = Some(parse_duration(ttl).map_err(|problem| bad(field, &problem))?);
            }
            "audiences" => {
                let list = value.as_array().ok_or_else(|| not_a(field, "a list of texts"))?;
                for item in list {
                    let item = item.as_str().ok_or_else(|| not_a(field, "a list of texts"))?;
                    let audience =
                        Audience::try_from(item.to_owned()).map_err(|problem| bad(field, &problem))?;
                    self.audiences.push(audience.0);
                }
            }
            other => {
                let meant = nearest(other, FIELDS).map(|meant| format!("; `{meant}` was probably meant"));
                return Err(SettingsError::Extension {
                    problem: format!("it may not hold `{other}`{}", meant.unwrap_or_default()),
                    allowed: Some(ALLOWED),
                });
            }
        }
        Ok(())
    }
}

fn text<T: TryFrom<String, Error = ValueError>>(
    field: &str,
    value: &Value,
) -> Result<Option<T>, SettingsError> {
    let text = value.as_str().ok_or_else(|| not_a(field, "a text"))?;
    T::try_from(text.to_owned()).map(Some).map_err(|problem| bad(field, &problem))
}

fn broken(problem: String) -> SettingsError {
    SettingsError::Extension { problem, allowed: None }
}

fn not_a(field: &str, expected: &str) -> SettingsError {
    broken(format!("its `{field}` is not {expected}"))
}

fn bad(field: &str, problem: &ValueError) -> SettingsError {
    broken(format!("in its `{field}`, {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Explain as _;
    use proptest::prelude::*;
    use serde_json::json;

    fn with(field: &str, value: Value) -> Result<Option<ClusterProfile>, SettingsError> {
        let mut extension = json!({"apiVersion": API_VERSION, "kind": "ClusterProfile"});
        extension[field] = value;
        ClusterProfile::parse(&extension)
    }

    #[test]
    fn an_absent_extension_says_nothing() {
        assert_eq!(ClusterProfile::parse(&Value::Null), Ok(None));
    }

    #[test]
    fn another_plugins_extension_says_nothing() {
        for version in ["example.com/v1", "v1", "client.authentication.k8s.io/v1"] {
            let extension = json!({"apiVersion": version, "kind": "Config", "audience": "x"});
            assert_eq!(ClusterProfile::parse(&extension), Ok(None));
        }
    }

    #[test]
    fn the_eight_fields_are_read() {
        let extension = ClusterProfile::parse(&json!({
            "kind": "ClusterProfile", "apiVersion": API_VERSION, "profile": "prod", "role": "deployer",
            "mount": "kubernetes/prod", "namespace": "team-a", "audiences": ["a", "b"], "ttl": "1h30m",
            "cluster": "prod-eu", "team": "payments",
        }));
        assert_eq!(
            extension,
            Ok(Some(ClusterProfile {
                profile: Name::parse("prod"),
                role: Some("deployer".into()),
                mount: Some("kubernetes/prod".into()),
                namespace: Some("team-a".into()),
                audiences: vec!["a".into(), "b".into()],
                ttl: Some(Duration::from_secs(5_400)),
                cluster: Some("prod-eu".into()),
                team: Some("payments".into()),
            }))
        );
    }

    #[test]
    fn nothing_else_is_accepted_and_the_message_names_it() {
        let message = |result: Result<_, SettingsError>| result.unwrap_err().to_string();
        let start = "the cluster extension cannot be used: ";
        for (field, value, problem) in [
            ("vault", json!("corp"), "it may not hold `vault`"),
            ("vaultAddress", json!("https://evil"), "it may not hold `vaultAddress`"),
            ("rolle", json!("x"), "it may not hold `rolle`; `role` was probably meant"),
            ("role", json!(7), "its `role` is not a text"),
            ("role", json!(null), "its `role` is not a text"),
            ("ttl", json!(60), "its `ttl` is not a duration such as `15m`"),
            ("audiences", json!("a"), "its `audiences` is not a list of texts"),
            ("audiences", json!([1]), "its `audiences` is not a list of texts"),
            (
                "ttl",
                json!("0s"),
                "in its `ttl`, `0s` cannot be a duration: write it as `90s`, `15m` or `1h30m`",
            ),
            (
                "role",
                json!("a/../b"),
                "in its `role`, `a/../b` cannot be a role: a name without slashes and control characters is expected",
            ),
            ("kind", json!("Config"), "its `kind` is `Config`; `ClusterProfile` is expected"),
            (
                "apiVersion",
                json!("vaulttoken.dev/v9"),
                "its `apiVersion` is `vaulttoken.dev/v9`; `vaulttoken.dev/v1alpha1` is expected",
            ),
        ] {
            assert_eq!(message(with(field, value)), format!("{start}{problem}"));
        }
        assert_eq!(
            message(ClusterProfile::parse(&json!({}))),
            format!("{start}it has no `apiVersion`; `vaulttoken.dev/v1alpha1` is expected")
        );
        assert_eq!(message(ClusterProfile::parse(&json!("prod"))), format!("{start}it is not a mapping"));
        assert_eq!(
            with("vault", json!("corp")).unwrap_err().why().unwrap(),
            "it may hold `profile`, `role`, `mount`, `namespace`, `audiences`, `ttl`, `cluster` and `team`"
        );
    }

    proptest! {
        #[test]
        fn any_field_and_any_text_is_judged_without_panic(field in "\\PC{0,12}", text in any::<String>()) {
            let _ = with(&field, Value::String(text));
        }
    }
}
