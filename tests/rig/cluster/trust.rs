//! Which issuers of JWTs an API server trusts: its `AuthenticationConfiguration`, which it reads again
//! whenever the file changes.

use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::super::certificates::Authority;
use super::super::process::poll;
use super::super::vault::Vault;
use super::{Cluster, LIMIT};

/// The issuers, and every version of the file so far.
#[derive(Default)]
pub(super) struct Trust {
    issuers: Vec<Value>,
    versions: Vec<String>,
}

impl Cluster {
    /// Trusts the identity tokens of `vault` for the audience `kubernetes`. The user is `vault:` and the
    /// claim `username`, the groups are the claim `groups`; see [`identity_role`].
    ///
    /// [`identity_role`]: super::super::Session::identity_role
    pub fn trust_vault(&self, vault: &Vault) {
        self.trust_issuer(&json!({
            "issuer": {
                "url": format!("{}/v1/identity/oidc", vault.address),
                "certificateAuthority": vault.authority.pem,
                "audiences": ["kubernetes"],
            },
            "claimMappings": {
                "username": {"expression": "'vault:' + claims.username"},
                "groups": {"expression": "has(claims.groups) ? claims.groups : []"},
            },
        }));
    }

    /// Trusts the ID tokens that the OpenID provider at `issuer` made for the client `audience`. The user
    /// is `prefix` and the claim `preferred_username`, the groups are the claim `groups`.
    pub fn trust_people(&self, issuer: &str, authority: &Authority, audience: &[&str], prefix: &str) {
        self.trust_issuer(&json!({
            "issuer": {
                "url": issuer,
                "certificateAuthority": authority.pem,
                "audiences": audience,
                "audienceMatchPolicy": "MatchAny",
            },
            "claimMappings": {
                "username": {"claim": "preferred_username", "prefix": prefix},
                "groups": {"expression": "has(claims.groups) ? claims.groups : []"},
            },
        }));
    }

    /// Trusts an issuer, given as one of `jwt` in an `AuthenticationConfiguration`, and waits until the
    /// API server does: some ten seconds, for it looks only then whether it got the issuer's keys. So
    /// the issuer must be up. Each issuer URL is trusted in one way only, as the API server wants it.
    pub fn trust_issuer(&self, issuer: &Value) {
        let needed = {
            let mut trust = self.trust.lock().unwrap();
            let url = &issuer["issuer"]["url"];
            if let Some(other) = trust.issuers.iter().find(|other| other["issuer"]["url"] == *url) {
                assert_eq!(other, issuer, "is trusted in another way already");
            } else {
                trust.issuers.push(issuer.clone());
                trust.write(&self.folder);
            }
            // Others may add theirs while we wait, and the server may never load our version alone.
            trust.issuers.iter().position(|other| other == issuer).expect("is in")
        };
        poll("the API server with its new issuer (see its log)", LIMIT, || {
            let metrics = self.api("GET", "/metrics", &Value::Null).text;
            let line = metrics.lines().find(|line| line.starts_with(LOADED))?;
            let trust = self.trust.lock().unwrap();
            // The n-th version is the first with the n-th issuer; the one before all has none.
            let loaded = trust.versions.iter().position(|version| line.contains(version))?;
            (loaded > needed).then_some(())
        });
    }
}

/// The metric that says which version the API server uses.
const LOADED: &str = "apiserver_authentication_config_controller_last_config_info{";

impl Trust {
    /// The file that trusts nobody, for an API server that starts.
    pub(super) fn start(folder: &Path) -> Self {
        let mut trust = Self::default();
        trust.write(folder);
        trust
    }

    fn write(&mut self, folder: &Path) {
        let text = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AuthenticationConfiguration",
            "jwt": self.issuers,
        })
        .to_string();
        // Renamed into place, so that the API server never reads half of it.
        let path = file(folder);
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, &text).unwrap();
        fs::rename(&unfinished, &path).unwrap();
        let digest = digest(&SHA256, text.as_bytes());
        let digest = digest.as_ref().iter();
        self.versions.push(digest.fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}")));
    }
}

pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("authentication.json")
}
