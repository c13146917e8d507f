//! A scripted HTTP server in the place of one that cannot be run here, such as a cloud's metadata
//! service. Its answers follow the public documentation of what it stands for; a test that uses it
//! names that documentation. It records every request, and can fail in the ways that servers do.

mod wire;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::certificates::{Authority, Certificate};
use super::http::Client;
use super::process::poll;

/// One request that a double got.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The field of a body that is a form, decoded.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut pairs = url::form_urlencoded::parse(&self.body);
        let found = pairs.find(|(other, _)| other == name);
        found.map(|(_, value)| value.into_owned())
    }
}

/// What a double does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Answers, but only after this long.
    Late(Duration, Box<Reply>),
    /// Writes exactly these bytes and closes: answers that are no HTTP, or that break off.
    Raw(Vec<u8>),
    /// Closes the connection instead of answering, as when an answer is lost on its way.
    Lost,
    /// Neither answers nor closes.
    Hung,
    /// Writes exactly these bytes, and then neither goes on nor closes.
    Begun(Vec<u8>),
    /// Writes these bytes one by one, with so long a pause before each.
    Dripped(Duration, Vec<u8>),
    /// Writes the first, and then the second again and again, for as long as the client takes it.
    Endless(Vec<u8>, Vec<u8>),
    /// Answers as the real server behind answers; see [`Double::before`].
    Passed,
    /// Lets the real server behind act, then closes the connection: the client never learns of it.
    LostOnReturn,
}

impl Reply {
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", &body.to_string())
    }

    pub fn text(status: u16, content_type: &str, body: &str) -> Self {
        Self::Answer {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            body: body.as_bytes().to_vec(),
        }
    }

    pub fn not_found() -> Self {
        Self::text(404, "text/plain", "not found")
    }

    /// The same answer with one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

type Script = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The server. It ends when dropped.
pub struct Double {
    /// `https://127.0.0.1:PORT`, `http://127.0.0.1:PORT` or the path of a socket.
    pub address: String,
    state: Arc<State>,
}

struct State {
    script: Box<Script>,
    seen: Mutex<Vec<Seen>>,
    ended: AtomicBool,
}

impl Double {
    /// With TLS, and a certificate of `authority` for loopback and `names`.
    pub fn https(
        authority: &Authority,
        names: &[&str],
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::over_tls(anywhere(), &server_configuration(&authority.server(names), None), script)
    }

    /// As [`Double::https`], for clients that show a certificate of `clients`, and no others.
    pub fn https_for_clients_of(
        clients: &Authority,
        authority: &Authority,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let configuration = server_configuration(&authority.server(&[]), Some(clients));
        Self::over_tls(anywhere(), &configuration, script)
    }

    /// With a certificate of the caller's choice, such as an expired one.
    pub fn https_with(
        certificate: &Certificate,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::over_tls(anywhere(), &server_configuration(certificate, None), script)
    }

    /// In the place of one that is gone, with a certificate of another authority.
    pub fn in_place_of(
        address: &str,
        authority: &Authority,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let host = address.trim_start_matches("https://").to_owned();
        // Whoever was there needs a moment to let go of it.
        let listener =
            poll("a port that is free again", Duration::from_secs(10), || TcpListener::bind(&host).ok());
        Self::over_tls(listener, &server_configuration(&authority.server(&[]), None), script)
    }

    /// In front of the real server at `address`, with a certificate of that server's authority: what
    /// the script answers with [`Reply::Passed`] goes there, the rest are faults of the network or of
    /// the server. An answer is passed on whole, so watches do not work through it.
    pub fn before(
        authority: &Authority,
        address: &str,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let (client, address) = (Client::new(&authority.pem, None), address.to_owned());
        Self::https(authority, &[], move |request| match script(request) {
            Reply::Passed => pass(&client, &address, request),
            Reply::Late(delay, reply) if matches!(*reply, Reply::Passed) => {
                Reply::Late(delay, Box::new(pass(&client, &address, request)))
            }
            Reply::LostOnReturn => {
                pass(&client, &address, request);
                Reply::Lost
            }
            reply => reply,
        })
    }

    /// Without TLS.
    pub fn http(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = anywhere();
        let address = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(address, script, move || listener.accept().map(|(stream, _)| stream))
    }

    /// On a Unix socket at `path`, which must not exist yet.
    pub fn unix(path: &Path, script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        Self::serve(path.display().to_string(), script, move || listener.accept().map(|(stream, _)| stream))
    }

    /// What was asked so far, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    fn over_tls(
        listener: TcpListener,
        configuration: &Arc<ServerConfig>,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let address = format!("https://{}", listener.local_addr().unwrap());
        let configuration = Arc::clone(configuration);
        Self::serve(address, script, move || {
            let (stream, _) = listener.accept()?;
            let session = ServerConnection::new(Arc::clone(&configuration)).unwrap();
            Ok(StreamOwned::new(session, stream))
        })
    }

    fn serve<S: Read + Write + Send + 'static>(
        address: String,
        script: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
        accept: impl Fn() -> io::Result<S> + Send + 'static,
    ) -> Self {
        let state = Arc::new(State {
            script: Box::new(script),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || {
            while let Ok(stream) = accept() {
                if accepting.ended.load(Ordering::SeqCst) {
                    return;
                }
                let state = Arc::clone(&accepting);
                // A client that goes away in the middle is a fault of the test's own making.
                thread::spawn(move || converse(&state, stream));
            }
        });
        Self { address, state }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections, which then closes the listener.
        if let Some((_, host)) = self.address.split_once("://") {
            drop(TcpStream::connect(host));
        } else {
            drop(UnixStream::connect(&self.address));
            let _ = fs::remove_file(&self.address);
        }
    }
}

fn anywhere() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Asks the server behind. The headers that speak of the connection are not passed on.
fn pass(client: &Client, address: &str, request: &Seen) -> Reply {
    let of_the_connection = ["host", "connection", "content-length", "transfer-encoding"];
    let is_passed = |name: &str| !of_the_connection.contains(&name.to_ascii_lowercase().as_str());
    let headers: Vec<_> = request.headers.iter().filter(|(name, _)| is_passed(name)).collect();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let url = format!("{address}{}", request.path);
    match client.send(&request.method, &url, &headers, request.body.clone()) {
        Err(_) => Reply::Lost,
        Ok(answer) => Reply::Answer {
            status: answer.status,
            headers: answer.headers.into_iter().filter(|(name, _)| is_passed(name)).collect(),
            body: answer.text.into_bytes(),
        },
    }
}

/// Answers requests on one connection until either side has enough of it.
fn converse(state: &State, mut stream: impl Read + Write) -> io::Result<()> {
    let mut unread = Vec::new();
    while let Some(request) = wire::read(&mut stream, &mut unread)? {
        // Before it is answered: a client that is gone by then has asked all the same.
        state.seen.lock().unwrap().push(request.clone());
        let mut reply = (state.script)(&request);
        loop {
            match reply {
                Reply::Answer { status, headers, body } => {
                    wire::write(&mut stream, status, &headers, &body)?;
                    break;
                }
                Reply::Late(delay, later) => {
                    thread::sleep(delay);
                    reply = *later;
                }
                Reply::Raw(bytes) => {
                    stream.write_all(&bytes)?;
                    return stream.flush();
                }
                Reply::Begun(bytes) => {
                    stream.write_all(&bytes)?;
                    stream.flush()?;
                    reply = Reply::Hung;
                }
                Reply::Dripped(pause, bytes) => {
                    for byte in bytes {
                        thread::sleep(pause);
                        stream.write_all(&[byte])?;
                        stream.flush()?;
                    }
                    return Ok(());
                }
                Reply::Endless(first, again) => {
                    stream.write_all(&first)?;
                    loop {
                        stream.write_all(&again)?;
                    }
                }
                Reply::Lost => return Ok(()),
                Reply::Passed | Reply::LostOnReturn => panic!("there is no server behind this double"),
                Reply::Hung => {
                    // Until the client closes, or this process ends.
                    while stream.read(&mut [0; 1024])? > 0 {}
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn server_configuration(certificate: &Certificate, clients: Option<&Authority>) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = CertificateDer::pem_slice_iter(certificate.pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
            roots.add(root).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}
