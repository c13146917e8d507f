//! Whom a client believes and what it presents: reads PEM files when the first TLS connection
//! needs them. Given authorities replace the system's.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use super::HttpError;
use crate::config::{Pem, TlsSettings, Transport};
use crate::foreign_file::{self, NotRead};

/// No bundle of authorities is larger.
const LARGEST_PEM: usize = 8 * 1024 * 1024;

/// Where systems keep their authorities in one file. Reading one file costs a tenth of the hundreds
/// in `/etc/ssl/certs`.
#[cfg(all(unix, not(target_vendor = "apple")))]
const SYSTEM_BUNDLES: [&str; 8] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// Makes ring the process's provider of cryptography; no client can be made without one.
pub(super) fn install_provider() {
    // That another part of the process was quicker with the same is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// TLS as the settings want it; `transport` fills what they leave out.
pub(super) fn configure(
    builder: reqwest::ClientBuilder,
    tls: &TlsSettings,
    transport: &Transport,
) -> Result<reqwest::ClientBuilder, HttpError> {
    let mut builder = builder;
    if tls.skip_verify {
        // Security: only the person's own `VAULT_SKIP_VERIFY` gets here, see `TlsSettings`.
        builder = builder.tls_danger_accept_invalid_certs(true);
    } else {
        let given = [&tls.certificate_authorities, &transport.certificate_authorities];
        let roots = match given.into_iter().find(|authorities| !authorities.is_empty()) {
            Some(authorities) => Some(read_authorities(authorities)?),
            None => system_roots()?,
        };
        if let Some(roots) = roots {
            builder = builder.tls_certs_only(roots);
        }
    }
    let pair = tls.client_certificate.as_ref();
    if let Some((certificate, key)) = pair {
        builder = builder.identity(read_identity(certificate, key)?);
    }
    Ok(builder)
}

/// Whether a certificate of the settings' authorities says that its holder is one of the server's
/// own: not where verification is off, nor where they are a bundle of the public ones, of which
/// anybody can have a certificate.
pub(crate) fn is_own_authority(tls: &TlsSettings) -> bool {
    const MOST: usize = 16;
    !tls.skip_verify
        && read_authorities(&tls.certificate_authorities).is_ok_and(|roots| (1..=MOST).contains(&roots.len()))
}

fn read_authorities(authorities: &[Pem]) -> Result<Vec<reqwest::Certificate>, HttpError> {
    let mut roots = Vec::new();
    for authority in authorities {
        let what = format!("the certificate authority {}", described(authority));
        let before = roots.len();
        for text in read_texts(authority, &what)? {
            for der in CertificateDer::pem_slice_iter(&text) {
                let root = der.ok().and_then(|der| anchor(&der));
                roots.push(root.ok_or_else(|| unusable(&what, "a certificate in it is malformed"))?);
            }
        }
        if roots.len() == before {
            return Err(unusable(&what, "it holds no certificate in PEM form"));
        }
    }
    Ok(roots)
}

/// The certificate, if it can stand as an authority: the builder of the client would refuse all
/// because of one.
fn anchor(der: &CertificateDer<'_>) -> Option<reqwest::Certificate> {
    RootCertStore::empty().add(der.clone()).ok()?;
    reqwest::Certificate::from_der(der).ok()
}

/// The system's authorities; `None`: the TLS library asks the system itself.
///
/// Security: that library would let `SSL_CERT_FILE` of the process decide, which a kubeconfig can
/// set. The person's own one comes in through [`Transport`].
#[cfg(all(unix, not(target_vendor = "apple")))]
fn system_roots() -> Result<Option<Vec<reqwest::Certificate>>, HttpError> {
    for bundle in SYSTEM_BUNDLES.map(Path::new) {
        let Ok(text) = foreign_file::read(bundle, LARGEST_PEM) else { continue };
        // A single odd certificate among the system's is none of a person's business.
        let roots: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .filter_map(|der| der.ok().and_then(|der| anchor(&der)))
            .collect();
        if !roots.is_empty() {
            return Ok(Some(roots));
        }
    }
    Err(unusable("the system's certificate authorities", "none of the usual files holds one"))
}

#[cfg(not(all(unix, not(target_vendor = "apple"))))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn system_roots() -> Result<Option<Vec<reqwest::Certificate>>, HttpError> {
    Ok(None)
}

fn read_identity(certificate: &Pem, key: &Pem) -> Result<reqwest::Identity, HttpError> {
    let what = format!("the client certificate {} with the key {}", described(certificate), described(key));
    let mut both = Zeroizing::new(Vec::new());
    for pem in [certificate, key] {
        for text in read_texts(pem, &what)? {
            both.reserve_exact(text.len() + 1);
            both.extend_from_slice(&text);
            both.push(b'\n');
        }
    }
    reqwest::Identity::from_pem(&both).map_err(|_| {
        unusable(&what, "there must be a certificate and its unencrypted private key in PEM form")
    })
}

fn read_texts(pem: &Pem, what: &str) -> Result<Vec<Zeroizing<Vec<u8>>>, HttpError> {
    let failed = |error: NotRead| unusable(what, &error.to_string());
    let refused = |error: std::io::Error| failed(error.into());
    match pem {
        Pem::Inline(text) => Ok(vec![Zeroizing::new(text.clone().into_bytes())]),
        Pem::File(path) => Ok(vec![foreign_file::read(path, LARGEST_PEM).map_err(failed)?]),
        Pem::Folder(folder) => {
            let mut texts = Vec::new();
            for entry in std::fs::read_dir(folder).map_err(refused)? {
                let path = entry.map_err(refused)?.path();
                if path.is_file() {
                    texts.push(foreign_file::read(&path, LARGEST_PEM).map_err(failed)?);
                }
            }
            Ok(texts)
        }
    }
}

fn described(pem: &Pem) -> String {
    match pem {
        Pem::Inline(_) => "in the settings".into(),
        Pem::File(path) | Pem::Folder(path) => format!("`{}`", path.display()),
    }
}

fn unusable(what: &str, why: &str) -> HttpError {
    HttpError::Settings { what: what.into(), why: why.into() }
}
