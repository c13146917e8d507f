//! `serve`: the metadata service of Databricks' SDKs, on a real socket, and what it refuses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::home::{Home, PLUGIN};

/// A `serve` that runs. It is killed when dropped.
pub struct Serving {
    child: Child,
    /// `127.0.0.1:PORT`.
    pub authority: String,
    pub path: String,
}

impl Serving {
    pub fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = Command::new(PLUGIN);
        home.prepare(&mut command);
        command
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.strip_prefix("DATABRICKS_METADATA_SERVICE_URL=http://");
        let url = url.unwrap_or_else(|| panic!("it did not start: {line:?}"));
        let (authority, path) = url.trim_end().split_once('/').unwrap();
        Self { authority: authority.to_owned(), path: format!("/{path}"), child }
    }

    pub fn url(&self) -> String {
        format!("http://{}{}", self.authority, self.path)
    }

    /// Sends bytes and reads all that comes back.
    pub fn send(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.authority).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // Whoever has read enough may have answered already.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    /// Asks as an SDK does; the status and the JSON.
    pub fn ask(&self, host: &str) -> (u16, Value) {
        self.ask_with(&format!("GET {}", self.path), &format!("Host: {}\r\n", self.authority), host)
    }

    fn ask_with(&self, first: &str, fields: &str, host: &str) -> (u16, Value) {
        let answer = self.send(
            format!("{first} HTTP/1.1\r\n{fields}X-Databricks-Metadata-Version: 1\r\nX-Databricks-Host: {host}\r\n\r\n")
                .as_bytes(),
        );
        parsed(&answer)
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Ends it as a service manager would, and gives what it wrote to standard error.
    pub fn end(mut self, home: &Home) -> (i32, String) {
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap();
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        home.showed(&said);
        (status.code().unwrap(), said)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parsed(answer: &str) -> (u16, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(head.contains("\r\nCache-Control: no-store"), "{head}");
    (status, serde_json::from_str(body).unwrap())
}

fn home() -> Home {
    let home = Home::new();
    home.write_secret("subject", "s3cret-no-jwt");
    home.settings(&json!({
        "identities": {"pod": {"file": {"path": home.path("subject")}}},
        "profiles": {
            "lake": {"source": {"tokenExchange": {
                "preset": "databricks", "host": "https://dbc-1.example", "identity": "pod", "clientId": "7f",
            }}},
            "sea": {"source": {"tokenExchange": {
                "preset": "databricks", "host": "https://dbc-2.example", "identity": "pod", "clientId": "8f",
            }}},
        },
    }));
    home
}

#[test]
fn what_is_not_for_it_is_refused_and_told_nothing() {
    let home = home();
    let serving = Serving::start(&home, &["-v"]);
    let own = format!("Host: {}\r\n", serving.authority);
    let get = format!("GET {}", serving.path);
    let port = serving.authority.rsplit_once(':').unwrap().1;
    for (first, fields, status) in [
        ("GET /".to_owned(), own.clone(), 404),
        (format!("{get}x"), own.clone(), 404),
        (get.replace("GET", "POST"), own.clone(), 405),
        (get.clone(), String::new(), 403),
        (get.clone(), "Host: attacker.example\r\n".to_owned(), 403),
        (get.clone(), format!("Host: attacker.example:{port}\r\n"), 403),
        (get.clone(), format!("{own}Origin: https://attacker.example\r\n"), 403),
        (get.clone(), format!("{own}Sec-Fetch-Site: cross-site\r\n"), 403),
        (get.clone(), format!("{own}{own}"), 400),
        (get.clone(), format!("{own}X-Databricks-Metadata-Version: 1\r\n"), 400),
        (get.clone(), format!("{own}folded\r\n"), 400),
    ] {
        let (got, body) = serving.ask_with(&first, &fields, "https://dbc-1.example");
        assert_eq!(got, status, "{first} {fields} {body}");
        assert!(!body.to_string().contains(&serving.path) && body["access_token"].is_null(), "{body}");
    }
    let (status, body) = serving.ask("https://dbc-3.example");
    assert_eq!(status, 403);
    assert_eq!(
        body["error"],
        "error: no profile of the settings is for https://dbc-3.example; why: there are `lake` for \
         https://dbc-1.example, `sea` for https://dbc-2.example; try: add a profile with `tokenExchange: \
         {preset: databricks, host: …}` to the settings;"
    );
    let (status, body) = serving.ask("http://dbc-1.example");
    assert_eq!(status, 403, "not the same place: {body}");
    assert!(
        serving.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").starts_with("HTTP/1.1 400 ")
    );
    let (code, said) = serving.end(&home);
    assert_eq!(code, 143);
    assert!(said.contains("no token for https://dbc-3.example"), "{said}");
}

#[test]
fn large_slow_and_silent_clients_keep_nobody_else_waiting() {
    let home = home();
    let serving = Serving::start(&home, &[]);
    let large = format!("GET {} HTTP/1.1\r\nX: {}", serving.path, "x".repeat(64 * 1024));
    assert!(serving.send(large.as_bytes()).starts_with("HTTP/1.1 431 "));
    // Fewer than may be there at once.
    let silent: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(&serving.authority).unwrap()).collect();
    let slow = TcpStream::connect(&serving.authority).unwrap();
    (&slow).write_all(b"GET /").unwrap();
    assert_eq!(serving.ask("https://dbc-3.example").0, 403);
    // They are not waited for for ever.
    slow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = String::new();
    (&slow).read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    drop(silent);
}

#[test]
fn many_ask_at_once_and_each_is_answered() {
    let home = home();
    let serving = Serving::start(&home, &[]);
    thread::scope(|scope| {
        let ask = || scope.spawn(|| serving.ask("https://dbc-3.example").0);
        let asking: Vec<_> = (0..200).map(|_| ask()).collect();
        assert!(asking.into_iter().all(|asked| asked.join().unwrap() == 403));
    });
    serving.signal(Signal::INT);
    let mut serving = serving;
    assert_eq!(serving.child.wait().unwrap().code(), Some(130));
}

#[test]
fn it_listens_on_loopback_alone_and_says_what_is_wrong_before_it_is_ready() {
    let home = home();
    for elsewhere in ["0.0.0.0:0", "[::1]:0", "10.0.0.1:0", "8020"] {
        let run = home.run(&["serve", "--listen", elsewhere]);
        assert!(run.failed(2).contains("is refused\n"), "{run:?}");
    }
    let serving = Serving::start(&home, &["--listen", "127.0.0.1:0", "--profile", "sea"]);
    let run = home.run(&["serve", "--listen", &serving.authority]);
    assert!(run.failed(5).starts_with(&format!("error: {} cannot be listened on\n", serving.authority)));
    assert_eq!(serving.ask("https://dbc-1.example").0, 403, "only the one that was named");
    let run = home.run(&["serve", "--profile", "lak"]);
    assert!(run.failed(2).contains("there are `lake` for https://dbc-1.example, `sea` for"), "{run:?}");
    home.set("KUBERNETES_EXEC_INFO", "{}");
    assert!(home.run(&["serve"]).failed(7).contains("a kubeconfig may run `get-token` and nothing else"));
    home.unset("KUBERNETES_EXEC_INFO");
    home.settings(&json!({}));
    assert!(home.run(&["serve"]).failed(2).contains("no profile of the settings is for Databricks"));
}
