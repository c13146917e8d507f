//! The rig's own HTTP client: blocking, trusting one authority, using no proxy. Tests look at servers
//! through it, so it must share nothing with the client that is tested.

use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use reqwest::Method;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::runtime::{Builder, Handle};

use super::certificates::Certificate;

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
    /// The body as JSON; null where it is none.
    pub json: Value,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// A client that trusts one authority, and perhaps shows a certificate.
#[derive(Clone)]
pub struct Client(reqwest::Client);

impl Client {
    pub fn new(authority_pem: &str, identity: Option<&Certificate>) -> Self {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(authority_pem, identity))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self(client)
    }

    /// Sends one request; `body` is left out where it is null. An error is one of the connection.
    pub fn call(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, reqwest::Error> {
        let mut headers = headers.to_vec();
        let mut bytes = Vec::new();
        if !body.is_null() {
            headers.push(("Content-Type", "application/json"));
            bytes = body.to_string().into_bytes();
        }
        self.send(method, url, &headers, bytes)
    }

    /// Sends one request as it is.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, reqwest::Error> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.0.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        wait_for(async move {
            let response = request.send().await?;
            let status = response.status().as_u16();
            let headers = response.headers().iter();
            let headers = headers
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect();
            let text = response.text().await?;
            let json = serde_json::from_str(&text).unwrap_or_default();
            Ok(Answer { status, headers, text, json })
        })
    }
}

fn tls(authority_pem: &str, identity: Option<&Certificate>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    // The provider is named here, so that no test depends on who installs a default one first.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain =
                CertificateDer::pem_slice_iter(identity.pem.as_bytes()).collect::<Result<_, _>>().unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

/// Runs a future on the rig's own thread and waits for it, which also works inside another runtime.
fn wait_for<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    let handle = RUNTIME.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let handle = runtime.handle().clone();
        thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
        handle
    });
    let (sender, receiver) = mpsc::channel();
    handle.spawn(async move { sender.send(future.await) });
    receiver.recv().expect("the future ended without panicking")
}
