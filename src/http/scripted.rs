//! A server for tests that plays a script, one step for each request, and remembers what it was
//! asked. Over TLS too, with certificates made for the test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

/// What the server does with one request.
#[derive(Clone)]
pub(crate) enum Step {
    /// Answers with these bytes, and closes.
    Raw(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Says nothing until the client gives up.
    Hang,
    /// Answers with this body, in which `SERVER` is the server's own address.
    Own(u16, String),
    /// Sends this for ever.
    Endless(&'static [u8]),
}

/// An answer with a JSON body.
pub(crate) fn reply(status: u16, body: &str) -> Step {
    reply_with(status, &[("Content-Type", "application/json")], body)
}

/// An answer with headers.
pub(crate) fn reply_with(status: u16, headers: &[(&str, &str)], body: &str) -> Step {
    let headers = headers.iter().flat_map(|(name, value)| [*name, ": ", *value, "\r\n"]).collect::<String>();
    Step::Raw(
        format!(
            "HTTP/1.1 {status} Status\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes(),
    )
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    /// A header's value; the name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// `METHOD target body`.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}", self.method, self.target, self.body).trim_end().to_owned()
    }
}

pub(crate) struct Scripted {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Scripted {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::bind(|_| steps, None)
    }

    /// With steps that speak of the server's own address.
    pub(crate) fn with<S: IntoIterator<Item = Step>>(steps: impl FnOnce(&Url) -> S) -> Self {
        Self::bind(steps, None)
    }

    pub(crate) fn tls(steps: impl IntoIterator<Item = Step>, config: rustls::ServerConfig) -> Self {
        Self::bind(|_| steps, Some(Arc::new(config)))
    }

    fn bind<S: IntoIterator<Item = Step>>(
        steps: impl FnOnce(&Url) -> S,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = Url::parse(&format!("{scheme}://{}", listener.local_addr().unwrap())).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let own = url.as_str().trim_end_matches('/').to_owned();
        let steps = steps(&url).into_iter().map(|step| match step {
            Step::Own(status, body) => reply(status, &body.replace("SERVER", &own)),
            step => step,
        });
        let (steps, record) = (steps.collect::<Vec<_>>(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut steps = steps.into_iter();
            for stream in listener.incoming().map_while(Result::ok) {
                if let Some(tls) = &tls {
                    let connection = rustls::ServerConnection::new(Arc::clone(tls)).unwrap();
                    let mut stream = rustls::StreamOwned::new(connection, stream);
                    serve(&mut stream, &mut steps, &record);
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                } else {
                    let mut stream: TcpStream = stream;
                    serve(&mut stream, &mut steps, &record);
                }
            }
        });
        Self { url, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What arrived, one line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(Seen::line).collect()
    }
}

fn serve(stream: &mut (impl Read + Write), steps: &mut std::vec::IntoIter<Step>, record: &Mutex<Vec<Seen>>) {
    // A client that leaves during the handshake does not use up a step.
    let Some(request) = read_request(stream) else { return };
    record.lock().unwrap().push(request);
    match steps.next().unwrap_or_else(|| reply(418, r#"{"errors":["the script is over"]}"#)) {
        Step::Raw(bytes) => {
            let _ = stream.write_all(&bytes);
            let _ = stream.flush();
        }
        Step::Close | Step::Own(..) => {}
        Step::Hang => {
            let _ = stream.read(&mut [0]);
        }
        Step::Endless(bytes) => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
            while stream.write_all(&chunk).is_ok() {}
        }
    }
}

fn read_request(stream: &mut impl Read) -> Option<Seen> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).ok()?;
    Some(Seen { method, target, headers, body: String::from_utf8(body).unwrap() })
}

/// An authority for a test and what it signs.
pub(crate) struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    /// Its certificate.
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { issuer: rcgen::Issuer::new(parameters, key), pem }
    }

    /// A certificate and its key for this name, in PEM form.
    pub(crate) fn sign(&self, name: &str) -> (String, String) {
        self.sign_as(name, |_| {})
    }

    /// The same with something changed.
    pub(crate) fn sign_as(
        &self,
        name: &str,
        change: impl FnOnce(&mut rcgen::CertificateParams),
    ) -> (String, String) {
        let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut parameters);
        let key = rcgen::KeyPair::generate().unwrap();
        (parameters.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server's side of TLS; with an authority for clients it wants a certificate of theirs.
pub(crate) fn server_tls(
    (certificate, key): &(String, String),
    clients: Option<&Authority>,
) -> rustls::ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
            builder.with_client_cert_verifier(
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap(),
            )
        }
    };
    builder
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap()
}
