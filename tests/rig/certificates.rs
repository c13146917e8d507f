//! Certificate authorities and the certificates that they sign, as PEM text and as files. Each server
//! of the rig has an authority of its own, so that trusting one says nothing about another.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use serde_json::Value;

use super::http::{Answer, Client};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    /// The authority's certificate.
    pub file: PathBuf,
    pub pem: String,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub pem: String,
    pub key_pem: String,
    pub file: PathBuf,
    pub key_file: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let folder = super::folder(&format!("{name}-certificates"));
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, format!("{name} test authority"));
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
        let pem = issuer.pem();
        let file = folder.join("ca.crt");
        fs::write(&file, &pem).unwrap();
        Self { issuer, folder, file, pem }
    }

    /// For a server at `localhost`, `127.0.0.1`, `::1` and `names`.
    pub fn server(&self, names: &[&str]) -> Certificate {
        self.sign("server", server_parameters(names))
    }

    /// As [`Authority::server`], but it ended long ago.
    pub fn expired_server(&self, names: &[&str]) -> Certificate {
        self.sign("server", expired(server_parameters(names)))
    }

    /// For a client; Kubernetes takes the common name for the user, the organizations for the groups.
    pub fn client(&self, common_name: &str, organizations: &[&str]) -> Certificate {
        self.sign("client", client_parameters(common_name, organizations))
    }

    /// As [`Authority::client`], but it ended long ago.
    pub fn expired_client(&self, common_name: &str) -> Certificate {
        self.sign("client", expired(client_parameters(common_name, &[])))
    }

    /// One call to a server with a certificate of this authority; an error is one of the connection.
    pub fn ask(&self, method: &str, url: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        Client::new(&self.pem, None).call(method, url, &[], body)
    }

    /// As [`Authority::ask`], with headers of the caller's.
    pub fn ask_with(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, reqwest::Error> {
        Client::new(&self.pem, None).call(method, url, headers, body)
    }

    /// One call with a body as it is, such as a form.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        Client::new(&self.pem, None).send(method, url, headers, body)
    }

    fn sign(&self, kind: &str, mut parameters: CertificateParams) -> Certificate {
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let pem = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        let name = super::unique(kind);
        let certificate = Certificate {
            pem,
            key_pem: key.serialize_pem(),
            file: self.folder.join(format!("{name}.crt")),
            key_file: self.folder.join(format!("{name}.key")),
        };
        fs::write(&certificate.file, &certificate.pem).unwrap();
        write_private(&certificate.key_file, &certificate.key_pem);
        certificate
    }
}

/// Writes a file that only this user can read: clients refuse keys that others can.
pub fn write_private(path: &Path, text: &str) {
    let mut file =
        fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn server_parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<String> =
        ["localhost", "127.0.0.1", "::1"].iter().chain(names).map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters
}

fn client_parameters(common_name: &str, organizations: &[&str]) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, common_name);
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}

fn expired(mut parameters: CertificateParams) -> CertificateParams {
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2020, 2, 1);
    parameters
}
