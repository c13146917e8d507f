//! Vault's JSON as it is on the wire; see "HTTP API: response" of its API documentation.

use std::collections::BTreeMap;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

/// What surrounds every answer. `data` is read by whoever knows its shape.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Envelope {
    pub(super) request_id: Option<String>,
    pub(super) lease_id: Option<String>,
    pub(super) lease_duration: Option<u64>,
    pub(super) renewable: Option<bool>,
    pub(super) warnings: Option<Vec<String>>,
    pub(super) errors: Option<Vec<String>>,
    pub(super) auth: Option<Auth>,
    pub(super) wrap_info: Option<Wrapped>,
}

/// That an answer is wrapped is all that matters: nobody asked for it.
#[derive(Deserialize)]
pub(super) struct Wrapped {}

/// What a log-in gives.
#[derive(Deserialize)]
pub(super) struct Auth {
    /// Empty where another factor is wanted.
    #[serde(default = "nothing", deserialize_with = "secret")]
    pub(super) client_token: SecretString,
    #[serde(default)]
    pub(super) accessor: Option<String>,
    /// Seconds; 0 for a root token, which has no end.
    #[serde(default)]
    pub(super) lease_duration: u64,
    #[serde(default)]
    pub(super) renewable: bool,
    #[serde(default)]
    pub(super) metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) mfa_requirement: Option<MfaRequirement>,
}

impl Auth {
    /// Who logged in, by the metadata that the methods set.
    pub(super) fn subject(&self) -> Option<String> {
        const NAMES: [&str; 6] =
            ["username", "service_account_name", "common_name", "role_name", "name", "role"];
        let metadata = self.metadata.as_ref()?;
        NAMES.iter().find_map(|name| metadata.get(*name)).filter(|name| !name.is_empty()).cloned()
    }
}

/// Login MFA: each constraint wants one of its methods.
#[derive(Deserialize)]
pub(super) struct MfaRequirement {
    pub(super) mfa_request_id: String,
    #[serde(default)]
    pub(super) mfa_constraints: BTreeMap<String, MfaConstraint>,
}

#[derive(Deserialize)]
pub(super) struct MfaConstraint {
    #[serde(default)]
    pub(super) any: Vec<MfaMethod>,
}

#[derive(Deserialize)]
pub(super) struct MfaMethod {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) id: String,
    #[serde(default)]
    pub(super) uses_passcode: bool,
}

fn nothing() -> SecretString {
    SecretString::from("")
}

/// Deserializes a secret; serde's own buffer of it is not wiped.
pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    Ok(SecretString::from(Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
}
