//! Which cluster a token is for, and when two descriptions mean the same one.
//!
//! A cluster is known by its CA where there is one, because whoever answers must hold a certificate
//! of it, and by host and port where the system's roots decide. It reads CA files that a client
//! names by path; it opens no connection.

use std::collections::BTreeSet;
use std::path::Path;

use ring::digest;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::config::ClusterView;
use crate::exec::ClusterInfo;
use crate::foreign_file;
use crate::hex::hex;

/// SHA-256 of one CA certificate, as lower-case hex.
pub type Fingerprint = String;

/// A cluster that a token would be carried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Scheme, host, port and path, normalised: kubectl passes the kubeconfig's words verbatim.
    pub server: String,
    /// The CA certificates that the client will believe; empty: the system's roots.
    pub authorities: BTreeSet<Fingerprint>,
    /// The name that the server's certificate must have, where it is not the address's host.
    pub tls_server_name: Option<String>,
    /// The client will believe whoever answers, or speaks in clear.
    pub insecure: bool,
    /// The PEM text that `authorities` were read from, to compare with a token document.
    pub authority_pem: Option<Vec<u8>>,
}

/// A cluster that a profile serves already: pinned in the settings, or remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownCluster {
    /// Normalised like [`Cluster::server`].
    pub server: String,
    /// Its CA certificates; empty: the system's roots, or (for a pin without a CA) not known yet.
    pub authorities: BTreeSet<Fingerprint>,
}

/// Why a description of a cluster cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterFlaw {
    /// The server is no address.
    #[error("`{0}` is no address of an API server")]
    Server(String),
    /// The CA is no PEM certificate.
    #[error("its certificate authority holds no certificate")]
    Authority,
    /// Its file cannot be read.
    #[error("its certificate authority cannot be read: {0}")]
    AuthorityFile(String),
    /// Something in it is not written as a certificate, and a client may believe it all the same.
    #[error("its certificate authority holds something beside `CERTIFICATE` sections")]
    AuthorityMixed,
}

impl Cluster {
    /// Understands what the client says.
    ///
    /// # Errors
    /// A [`ClusterFlaw`] where the server or the CA makes no sense.
    pub fn of(info: &ClusterInfo) -> Result<Self, ClusterFlaw> {
        let authority_pem = match (&info.certificate_authority_data, &info.certificate_authority) {
            (Some(pem), _) => Some(pem.clone()),
            (None, Some(path)) => Some(read_authority(Path::new(path))?),
            (None, None) => None,
        };
        let authorities = authority_pem.as_deref().map(fingerprints).transpose()?.unwrap_or_default();
        let server = normalised(&info.server)?;
        let url = Url::parse(&server).ok();
        let host = url.as_ref().and_then(Url::host_str).map(str::to_owned);
        let scheme = url.as_ref().map_or("", Url::scheme);
        Ok(Self {
            server,
            authorities,
            // The host's own name says nothing new.
            tls_server_name: info.tls_server_name.clone().filter(|name| Some(name) != host.as_ref()),
            insecure: info.insecure_skip_tls_verify || scheme == "http",
            authority_pem,
        })
    }

    /// The cluster of a kubeconfig's context.
    ///
    /// # Errors
    /// A [`ClusterFlaw`] where the server or the CA makes no sense.
    pub fn of_view(view: &ClusterView) -> Result<Self, ClusterFlaw> {
        Self::of(&ClusterInfo {
            server: view.server.clone(),
            tls_server_name: view.tls_server_name.clone(),
            insecure_skip_tls_verify: view.insecure_skip_tls_verify,
            certificate_authority_data: view.certificate_authority_pem.clone().map(String::into_bytes),
            ..ClusterInfo::default()
        })
    }

    /// A cluster that is known already, to be served without a client's word.
    #[must_use]
    pub fn of_known(known: &KnownCluster) -> Self {
        Self {
            server: known.server.clone(),
            authorities: known.authorities.clone(),
            tls_server_name: None,
            insecure: false,
            authority_pem: None,
        }
    }

    /// Whether a token for `known` may go here.
    #[must_use]
    pub fn is(&self, known: &KnownCluster) -> bool {
        if self.authorities.is_empty() {
            // Security: with the system's roots the name decides, so another name in the
            // certificate would let its holder answer for this host.
            self.tls_server_name.is_none() && known.is_at(&self.server)
        } else {
            // Fewer certificates than known are no weaker; one that is not known is.
            self.authorities.is_subset(&known.authorities)
        }
    }

    /// This cluster as it is remembered.
    #[must_use]
    pub fn to_known(&self) -> KnownCluster {
        KnownCluster { server: self.server.clone(), authorities: self.authorities.clone() }
    }
}

impl KnownCluster {
    /// Whether host and port are the same.
    #[must_use]
    pub fn is_at(&self, server: &str) -> bool {
        host_and_port(&self.server) == host_and_port(server)
    }
}

fn host_and_port(server: &str) -> Option<(String, u16)> {
    let url = Url::parse(server).ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// The address in one form: lower-case host, port said, no slash at the end.
///
/// # Errors
/// Where it is no http or https address. A bare `host:port` is taken as https, as client-go does
/// where TLS is configured.
pub fn normalised(server: &str) -> Result<String, ClusterFlaw> {
    let flaw = || ClusterFlaw::Server(crate::error::printable(server));
    let text = if server.contains("://") { server.to_owned() } else { format!("https://{server}") };
    let url = Url::parse(&text).map_err(|_| flaw())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(flaw());
    }
    let (host, port) = (url.host_str().ok_or_else(flaw)?, url.port_or_known_default().ok_or_else(flaw)?);
    Ok(format!("{}://{host}:{port}{}", url.scheme(), url.path().trim_end_matches('/')))
}

/// The largest CA bundle that is read: the environment takes no more than 128 KiB anyway.
const LARGEST_AUTHORITY: usize = 1024 * 1024;

/// Reads a file of PEM certificates.
///
/// # Errors
/// [`ClusterFlaw::AuthorityFile`] where it cannot be read whole.
pub(crate) fn read_authority(path: &Path) -> Result<Vec<u8>, ClusterFlaw> {
    match foreign_file::read(path, LARGEST_AUTHORITY) {
        Ok(pem) => Ok(pem.to_vec()),
        Err(error) => Err(ClusterFlaw::AuthorityFile(error.to_string())),
    }
}

/// The fingerprints of all certificates in a PEM text.
///
/// # Errors
/// [`ClusterFlaw::Authority`] where there is none, or one that is broken, and
/// [`ClusterFlaw::AuthorityMixed`] where there is anything else.
pub fn fingerprints(pem: &[u8]) -> Result<BTreeSet<Fingerprint>, ClusterFlaw> {
    const BEGIN: &[u8] = b"-----BEGIN";
    let mut found = BTreeSet::new();
    let mut read = 0;
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| ClusterFlaw::Authority)?;
        found.insert(hex(digest::digest(&digest::SHA256, &certificate).as_ref()));
        read += 1;
    }
    if found.is_empty() {
        return Err(ClusterFlaw::Authority);
    }
    // Security: OpenSSL also believes `TRUSTED CERTIFICATE` and `X509 CERTIFICATE`, which are skipped
    // above: a CA that we have not seen would answer beside the known one.
    let begun = pem.windows(BEGIN.len()).filter(|window| *window == BEGIN).count();
    if begun == read { Ok(found) } else { Err(ClusterFlaw::AuthorityMixed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(server: &str, authorities: &[&str]) -> Cluster {
        Cluster {
            server: normalised(server).unwrap(),
            authorities: authorities.iter().map(|name| (*name).to_owned()).collect(),
            tls_server_name: None,
            insecure: false,
            authority_pem: None,
        }
    }

    #[test]
    fn addresses_are_compared_in_one_form() {
        for same in
            ["https://Prod.example", "https://prod.example:443/", "prod.example:443", "https://prod.example"]
        {
            assert_eq!(normalised(same).unwrap(), "https://prod.example:443");
        }
        assert_eq!(normalised("https://a:6443/k8s/c-1/").unwrap(), "https://a:6443/k8s/c-1");
        for wrong in ["", "ftp://a", "https://", "unix:///x", "https:///x y"] {
            assert!(normalised(wrong).is_err(), "{wrong}");
        }
    }

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[test]
    fn a_bundle_is_read_whole_or_not_at_all() {
        assert_eq!(fingerprints(PEM.as_bytes()).unwrap().len(), 1);
        assert_eq!(fingerprints(format!("a comment\n{PEM}\n{PEM}").as_bytes()).unwrap().len(), 1);
        for also in ["TRUSTED CERTIFICATE", "X509 CERTIFICATE", "PRIVATE KEY"] {
            let other = PEM.replace("CERTIFICATE", also);
            for mixed in [format!("{PEM}{other}"), format!("{other}{PEM}")] {
                assert_eq!(fingerprints(mixed.as_bytes()), Err(ClusterFlaw::AuthorityMixed), "{mixed}");
            }
            assert_eq!(fingerprints(other.as_bytes()), Err(ClusterFlaw::Authority));
        }
        for broken in ["", "-----BEGIN CERTIFICATE-----\n", "-----BEGIN CERTIFICATE-----\n%\n"] {
            assert_eq!(fingerprints(broken.as_bytes()), Err(ClusterFlaw::Authority), "{broken}");
        }
    }

    #[test]
    fn a_file_of_authorities_is_not_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let of = || {
            let certificate_authority = Some(path.display().to_string());
            Cluster::of(&ClusterInfo {
                server: "https://a".into(),
                certificate_authority,
                ..Default::default()
            })
        };
        std::fs::write(&path, PEM).unwrap();
        assert_eq!(of().unwrap().authorities, fingerprints(PEM.as_bytes()).unwrap());
        std::fs::write(&path, format!("{PEM}{}", " ".repeat(1024 * 1024))).unwrap();
        assert_eq!(
            of().unwrap_err().to_string(),
            "its certificate authority cannot be read: it is larger than 1024 KiB"
        );
    }

    #[test]
    fn a_ca_names_the_cluster_wherever_it_is() {
        let known = cluster("https://prod:6443", &["ca-1", "ca-2"]).to_known();
        assert!(cluster("https://10.0.0.1:6443", &["ca-1"]).is(&known));
        assert!(!cluster("https://prod:6443", &["evil"]).is(&known));
        assert!(!cluster("https://prod:6443", &["ca-1", "evil"]).is(&known), "one more CA is one too many");
    }

    #[test]
    fn without_a_ca_host_and_port_decide_and_no_other_name_may_answer() {
        let known = cluster("https://prod.example", &[]).to_known();
        assert!(cluster("https://prod.example:443/x", &[]).is(&known));
        assert!(!cluster("https://prod.example:6443", &[]).is(&known));
        assert!(!cluster("https://evil.example", &[]).is(&known));
        assert!(!cluster("https://prod.example", &["evil"]).is(&known), "a CA that nobody knows");
        let mut renamed = cluster("https://prod.example", &[]);
        renamed.tls_server_name = Some("evil.example".into());
        assert!(!renamed.is(&known));
    }
}
