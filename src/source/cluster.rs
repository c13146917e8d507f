//! Whether the cluster that a token document is for is the one that asks. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use url::Url;

/// The cluster that a client asks for, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asking {
    /// Its API server.
    pub server: Option<String>,
    /// Its CA, in PEM.
    pub certificate_authority: Option<Vec<u8>>,
}

/// The cluster that a token document names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentCluster {
    /// `server`.
    pub server: Option<String>,
    /// `certificateAuthorityData`: base64 of PEM, as in a kubeconfig.
    pub certificate_authority_data: Option<String>,
}

/// What the comparison of two clusters says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The same cluster.
    Same,
    /// Another one: it has another CA.
    OtherAuthority,
    /// Another one: it has another address.
    OtherServer,
    /// One of the two does not say enough.
    Unknown,
}

impl DocumentCluster {
    /// Compares by CA where both give one: whoever answers must hold a certificate of it, by whatever
    /// name it is reached. Else by host and port.
    #[must_use]
    pub fn compare(&self, asking: &Asking) -> Comparison {
        let ours = self.certificates();
        let theirs = asking.certificate_authority.as_deref().map(certificates).unwrap_or_default();
        if !ours.is_empty() && !theirs.is_empty() {
            // Security: one CA more than the document knows is one that could answer in its name.
            let known = theirs.iter().all(|certificate| ours.contains(certificate));
            return if known { Comparison::Same } else { Comparison::OtherAuthority };
        }
        match (self.server.as_deref(), asking.server.as_deref()) {
            (Some(ours), Some(theirs)) if place(ours) == place(theirs) => Comparison::Same,
            (Some(_), Some(_)) => Comparison::OtherServer,
            (None, _) | (_, None) => Comparison::Unknown,
        }
    }

    fn certificates(&self) -> Vec<CertificateDer<'static>> {
        self.certificate_authority_data
            .as_deref()
            .and_then(|data| STANDARD.decode(data.trim()).ok())
            .map(|pem| certificates(&pem))
            .unwrap_or_default()
    }
}

fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok).collect()
}

/// Scheme, host and port; the text itself where it is no address.
fn place(server: &str) -> String {
    Url::parse(server).ok().filter(Url::has_host).map_or_else(
        || server.to_owned(),
        |url| format!("{} {:?} {:?}", url.scheme(), url.host_str(), url.port_or_known_default()),
    )
}
