//! What a first call costs, alone and when two hundred come at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use crate::launch::Launch;
use crate::person::{Engine, Person};
use crate::table::{Table, column, median, milliseconds, ratio};

/// The engine's own client of the cluster makes ten calls at once and then five a second: whoever is
/// quicker measures that.
const PACE: Duration = Duration::from_millis(250);

/// A log-in and a mint, beside the same two requests on one connection.
pub fn one(launch: &Launch, person: &Person, engine: &Engine, table: &mut Table) {
    let bare = Bare::new(engine);
    let round = |_| {
        person.forget();
        thread::sleep(PACE);
        let call = launch.turns(1, 0, &[person.call()])[0][0];
        thread::sleep(PACE);
        vec![call, bare.exchange(engine)]
    };
    let rounds: Vec<Vec<f64>> = (0..60).map(round).collect();
    let (call, requests) = (median(column(&rounds, 0)), median(column(&rounds, 1)));
    let what = "get-token, nothing kept: log in and mint";
    table.ratio(what, call, ("the two requests alone", requests), ratio(&rounds, 0, 1), Some(1.5));
}

const CROWD: usize = 200;

/// Two hundred at once with nothing kept: one of them fetches, the others wait and read.
pub fn crowd(launch: &Launch, person: &Person, engine: &Engine, table: &mut Table) {
    let mut fetches = Vec::new();
    let mut round = || {
        person.forget();
        thread::sleep(PACE);
        let one = launch.turns(1, 0, &[person.call()])[0][0];
        let warm = launch.crowd(CROWD, &person.call());
        person.forget();
        thread::sleep(PACE);
        let before = engine.asked();
        let cold = launch.crowd(CROWD, &person.call());
        let after = engine.asked();
        fetches.push((after.0 - before.0, after.1 - before.1));
        vec![cold, one + warm]
    };
    let rounds: Vec<Vec<f64>> = (0..9).map(|_| round()).collect();
    let (cold, least) = (median(column(&rounds, 0)), median(column(&rounds, 1)));
    let floor = ("one such call, then 200 with a kept token", least);
    table.ratio("200 at once, nothing kept", cold, floor, ratio(&rounds, 0, 1), Some(1.2));
    let one_each = fetches.iter().all(|asked| *asked == (1, 1));
    let (log_ins, mints) = fetches.iter().fold((0, 0), |sum, asked| (sum.0.max(asked.0), sum.1.max(asked.1)));
    let figure = format!("{log_ins} log-in, {mints} mint");
    let goal = Some((one_each, "1 and 1".to_owned()));
    table.row("what the server saw of those 200, at most", &figure, "its audit log", "", goal);
    table.note(&format!("200 at once by round: {}", said(&column(&rounds, 0))));
}

fn said(values: &[f64]) -> String {
    values.iter().map(|value| milliseconds(*value)).collect::<Vec<_>>().join(", ")
}

impl Engine {
    /// How many log-ins and mints the server was asked for so far.
    fn asked(&self) -> (usize, usize) {
        let log = self.vault.audit_log();
        let count = |path: &str| {
            log.iter().filter(|entry| entry["type"] == "request" && entry["request"]["path"] == path).count()
        };
        (count(&self.log_in), count(&self.mint))
    }
}

/// The two requests with nothing round them: no settings, no cache, no process.
struct Bare {
    configuration: Arc<ClientConfig>,
    host: String,
}

impl Bare {
    fn new(engine: &Engine) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(engine.vault.authority.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut configuration = builder.unwrap().with_root_certificates(roots).with_no_client_auth();
        // Each connection is a first one, as that of a new process is.
        configuration.resumption = rustls::client::Resumption::disabled();
        let host = engine.vault.address.strip_prefix("https://").unwrap().to_owned();
        Self { configuration: Arc::new(configuration), host }
    }

    /// Nanoseconds from the connection to the end of the second answer.
    fn exchange(&self, engine: &Engine) -> f64 {
        let log_in = json!({"role_id": engine.role_id, "secret_id": engine.secret_id});
        let began = Instant::now();
        let stream = TcpStream::connect(&self.host).unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let session = ClientConnection::new(Arc::clone(&self.configuration), name).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        let session = self.ask(&mut stream, &engine.log_in, "", &log_in);
        let token = session["auth"]["client_token"].as_str().unwrap();
        let credential =
            self.ask(&mut stream, &engine.mint, &format!("X-Vault-Token: {token}\r\n"), &json!({}));
        assert!(credential["data"]["service_account_token"].is_string());
        began.elapsed().as_nanos() as f64
    }

    fn ask(&self, stream: &mut (impl Read + Write), path: &str, header: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "POST /v1/{path} HTTP/1.1\r\nHost: {}\r\n{header}X-Vault-Request: true\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the server closed: {}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&buffer[..count]);
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            assert!(head.starts_with("HTTP/1.1 200"), "{path}: {text}");
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let length: usize = length.expect("a length: answers are short");
            if body.len() >= length {
                return serde_json::from_str(body).unwrap();
            }
        }
    }
}
