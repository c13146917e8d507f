//! Asks a cluster whether it refuses a token: one cheap request in its bearer's name. It sends the
//! token nowhere but to the cluster that it is for, and never without checking who answers.

use std::time::{Duration, Instant};

use url::Url;
use zeroize::Zeroizing;

use crate::cluster::Cluster;
use crate::config::{ClusterPin, Pem, TlsSettings, Transport};
use crate::http::{Client, HeaderName, HttpError, Method, Request};
use crate::token::{Timestamp, Token};

/// A caller waits for the answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The API server, for messages too.
    pub server: String,
    tls: TlsSettings,
}

/// What the cluster says to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It does not know whose it is (401).
    Refused,
    /// Anything else that it answers: it may forbid a lot, but it knows who asks.
    Accepted,
    /// It did not answer.
    Silent,
}

/// The answer to a `SelfSubjectReview` (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/>).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// The status of the answer.
    pub status: u16,
    /// Whom the cluster sees.
    pub user: Option<String>,
    /// The cluster's clock.
    pub date: Option<Timestamp>,
}

impl Target {
    /// The cluster that the client names, else the one that the profile is pinned to. `None` where
    /// neither says enough to know who answers.
    #[must_use]
    pub fn of(cluster: Option<&Cluster>, pins: &[ClusterPin]) -> Option<Self> {
        match (cluster, pins) {
            (Some(cluster), _) => Self::of_cluster(cluster).or_else(|| {
                // A person's own command knows the CA by its fingerprint alone; the pin has it whole.
                let pin = pins.iter().find(|pin| cluster.to_known().is_at(pin.server.as_str()));
                pin.filter(|_| !cluster.insecure).and_then(Self::of_pin)
            }),
            (None, [pin]) => Self::of_pin(pin),
            (None, _) => None,
        }
    }

    fn of_cluster(cluster: &Cluster) -> Option<Self> {
        let authorities = match &cluster.authority_pem {
            Some(pem) => vec![Pem::Inline(String::from_utf8(pem.clone()).ok()?)],
            None if cluster.authorities.is_empty() => Vec::new(),
            None => return None,
        };
        // Security: whoever switches verification off gets no token from us.
        (!cluster.insecure).then_some(())?;
        Self::new(&cluster.server, authorities, cluster.tls_server_name.clone())
    }

    fn of_pin(pin: &ClusterPin) -> Option<Self> {
        Self::new(pin.server.as_str(), pin.certificate_authority.iter().cloned().collect(), None)
    }

    fn new(server: &str, certificate_authorities: Vec<Pem>, server_name: Option<String>) -> Option<Self> {
        server.starts_with("https://").then(|| Self {
            server: server.to_owned(),
            tls: TlsSettings { certificate_authorities, server_name, ..TlsSettings::default() },
        })
    }

    /// Asks once. `SelfSubjectReview` needs authentication and nothing else, also behind a proxy
    /// that lets everybody read the version; where it does not exist the answer is 404, after the
    /// token was looked at.
    pub async fn ask(&self, token: &Token, transport: &Transport) -> Verdict {
        self.try_to_ask(token, transport).await.unwrap_or(Verdict::Silent)
    }

    async fn try_to_ask(&self, token: &Token, transport: &Transport) -> Option<Verdict> {
        let review = self.review(token, transport, Instant::now() + PATIENCE).await.ok()?;
        Some(if review.status == 401 { Verdict::Refused } else { Verdict::Accepted })
    }

    /// Asks the same for a person, who wants to know all that is answered.
    ///
    /// # Errors
    /// No answer.
    pub async fn review(
        &self,
        token: &Token,
        transport: &Transport,
        deadline: Instant,
    ) -> Result<Review, HttpError> {
        let path = "apis/authentication.k8s.io/v1/selfsubjectreviews";
        let url = Url::parse(&format!("{}/{path}", self.server.trim_end_matches('/')));
        let url = url.map_err(|error| HttpError::Settings {
            what: format!("the address `{}`", self.server),
            why: error.to_string(),
        })?;
        let body = br#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        let request = Request::new(Method::POST, url, deadline)
            .secret_header(HeaderName::from_static("authorization"), "Bearer ", &token.secret)?
            .body("application/json", Zeroizing::new(body.to_vec()));
        let response = Client::new(&self.tls, transport, None)?.send_once(&request).await?;
        let answer = serde_json::from_slice::<serde_json::Value>(&response.body).unwrap_or_default();
        let user = answer.pointer("/status/userInfo/username").and_then(serde_json::Value::as_str);
        Ok(Review { status: response.status, user: user.map(str::to_owned), date: response.date })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cluster(server: &str) -> Cluster {
        Cluster {
            server: server.into(),
            authorities: BTreeSet::from(["ca".to_owned()]),
            tls_server_name: Some("api.internal".into()),
            insecure: false,
            authority_pem: Some(b"PEM".to_vec()),
        }
    }

    #[test]
    fn only_whoever_can_be_checked_is_asked() {
        let whole = cluster("https://prod:6443");
        let target = Target::of(Some(&whole), &[]).unwrap();
        assert_eq!(target.tls.certificate_authorities, [Pem::Inline("PEM".into())]);
        assert_eq!(target.tls.server_name.as_deref(), Some("api.internal"));
        assert!(!target.tls.skip_verify);
        let none = |cluster: Cluster| Target::of(Some(&cluster), &[]).is_none();
        assert!(none(Cluster { insecure: true, ..whole.clone() }));
        assert!(none(Cluster { authority_pem: None, ..whole.clone() }), "a CA that is only known by name");
        assert!(none(cluster("http://prod:6443")));
        let by_the_systems_roots =
            Cluster { authority_pem: None, authorities: BTreeSet::new(), ..whole.clone() };
        assert!(Target::of(Some(&by_the_systems_roots), &[]).is_some());
        assert!(Target::of(None, &[]).is_none());
    }

    #[test]
    fn a_pin_says_who_is_asked_where_the_client_does_not() {
        let pin = |server: &str| ClusterPin {
            server: Url::parse(server).unwrap(),
            certificate_authority: Some(Pem::Inline("PIN".into())),
            insecure_skip_tls_verify: true,
            without_cluster_info: true,
        };
        let target = Target::of(None, &[pin("https://prod:6443")]).unwrap();
        assert!(!target.tls.skip_verify, "whatever the pin lets others do");
        assert_eq!(target.server.trim_end_matches('/'), "https://prod:6443");
        assert!(Target::of(None, &[pin("https://a"), pin("https://b")]).is_none(), "which one?");
        let known = Cluster { authority_pem: None, ..cluster("https://prod:6443") };
        let target = Target::of(Some(&known), &[pin("https://prod:6443")]).unwrap();
        assert_eq!(target.tls.certificate_authorities, [Pem::Inline("PIN".into())]);
        assert!(Target::of(Some(&known), &[pin("https://other:6443")]).is_none());
    }
}
