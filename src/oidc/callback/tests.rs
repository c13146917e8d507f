//! The listener against raw sockets: what a browser brings, and what else comes along.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;

use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::*;

const STATE: &str = "st_0123456789";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn listen(host: Loopback) -> (Callback, SocketAddr) {
    let callback = Callback::listen(Listen { host, port: Port::Free, path: "/callback" }).await.unwrap();
    let address = callback.listeners[0].local_addr().unwrap();
    (callback, address)
}

/// Sends these bytes and returns all that comes back.
fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // The answer may come before all is sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(address: SocketAddr, target: &str) -> String {
    exchange(address, format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n").as_bytes())
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("nothing")
}

/// Lets a browser act while the listener waits; it ends with the right answer, unless told otherwise.
async fn waited<T: Send + 'static>(
    callback: Callback,
    browser: impl FnOnce() -> T + Send + 'static,
) -> (Result<Arrived, CallbackError>, T) {
    let browser = tokio::task::spawn_blocking(browser);
    let arrived = callback.wait(STATE, soon(), None).await;
    (arrived, browser.await.unwrap())
}

#[tokio::test]
async fn a_browser_brings_the_code_and_is_sent_back_to_the_terminal() {
    let (callback, address) = listen(Loopback::Addresses).await;
    assert_eq!(callback.redirect_uri(), format!("http://127.0.0.1:{}/callback", address.port()));
    let target = format!("/callback?iss=https%3A%2F%2Fsso.example&state={STATE}&code=4%2Fa+b%26c");
    let (arrived, page) = waited(callback, move || get(address, &target)).await;
    let arrived = arrived.unwrap();
    assert_eq!(arrived.code.expose_secret(), "4/a b&c");
    assert_eq!((arrived.issuer.as_deref(), arrived.is_pasted), (Some("https://sso.example"), false));
    assert_eq!(status(&page), "200");
    assert!(page.contains("Your answer has arrived. The terminal says"), "{page}");
    assert!(!page.contains("4/a") && !page.contains(STATE) && !page.contains("<script"), "{page}");
    for header in [
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
        "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ] {
        assert!(page.contains(&format!("\r\n{header}\r\n")), "{header} in {page}");
    }
}

#[tokio::test]
async fn a_request_in_pieces_is_one_request() {
    let (callback, address) = listen(Loopback::Addresses).await;
    let (arrived, page) = waited(callback, move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let text = format!("GET /callback?code=c&state={STATE} HTTP/1.1\r\nHost: {address}\r\n\r\n");
        for byte in text.bytes() {
            stream.write_all(&[byte]).unwrap();
        }
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    })
    .await;
    assert_eq!((arrived.unwrap().code.expose_secret(), status(&page)), ("c", "200"));
}

#[tokio::test]
async fn whatever_else_comes_is_refused_and_ends_nothing() {
    let (callback, address) = listen(Loopback::Addresses).await;
    let right = format!("/callback?code=right&state={STATE}");
    let port = address.port();
    let (arrived, statuses) = waited(callback, move || {
        let host = format!("Host: 127.0.0.1:{port}\r\n");
        let cases = [
            ("403", format!("GET {right} HTTP/1.1\r\nHost: evil.example:{port}\r\n\r\n")),
            ("403", format!("GET {right} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n")),
            ("403", format!("GET {right} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")),
            ("400", format!("GET {right} HTTP/1.1\r\n\r\n")),
            ("400", format!("GET {right} HTTP/1.1\r\n{host}{host}\r\n")),
            ("400", format!("GET {right} HTTP/1.1\r\nHost : 127.0.0.1:{port}\r\n\r\n")),
            ("400", format!("GET http://127.0.0.1:{port}{right} HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET {right} HTTP/2.0\r\n{host}\r\n")),
            ("400", format!("GET  {right} HTTP/1.1\r\n{host}\r\n")),
            ("400", "\u{1}\u{3}\u{1} TLS, perhaps\r\n\r\n".to_owned()),
            ("405", format!("POST {right} HTTP/1.1\r\n{host}Content-Length: 4\r\n\r\ncode")),
            ("405", format!("HEAD {right} HTTP/1.1\r\n{host}\r\n")),
            ("405", format!("OPTIONS {right} HTTP/1.1\r\n{host}\r\n")),
            ("404", format!("GET /favicon.ico HTTP/1.1\r\n{host}\r\n")),
            ("404", format!("GET /callback/?code=right&state={STATE} HTTP/1.1\r\n{host}\r\n")),
            ("404", format!("GET /x/../callback?code=right&state={STATE} HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET /callback HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET /callback?code=wrong HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET /callback?code=wrong&state={STATE}x HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET /callback?error=access_denied&state=other HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET {right}&code=wrong HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET {right}&state={STATE} HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET {right}&error=access_denied HTTP/1.1\r\n{host}\r\n")),
            ("400", format!("GET /callback?code=&state={STATE} HTTP/1.1\r\n{host}\r\n")),
            ("431", format!("GET {right} HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(64 * 1024))),
            ("431", format!("GET /callback?code={} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024))),
        ];
        let wrong: Vec<String> = cases
            .iter()
            .filter(|(expected, request)| status(&exchange(address, request.as_bytes())) != *expected)
            .map(|(expected, request)| format!("{expected} {request}"))
            .collect();
        get(address, &format!("/callback?code=right&state={STATE}"));
        wrong
    })
    .await;
    assert_eq!(statuses, Vec::<String>::new());
    assert_eq!(arrived.unwrap().code.expose_secret(), "right");
}

#[tokio::test]
async fn only_the_first_answer_counts_and_a_late_one_is_told_so() {
    let (callback, address) = listen(Loopback::Addresses).await;
    let target = format!("/callback?code=first&state={STATE}");
    let (arrived, _) = waited(callback, move || get(address, &target)).await;
    let arrived = arrived.unwrap();
    let late = move |target: String| tokio::task::spawn_blocking(move || get(address, &target));
    for target in [format!("/callback?code=second&state={STATE}"), "/callback?code=x&state=other".to_owned()]
    {
        let page = late(target).await.unwrap();
        assert_eq!(status(&page), "410", "{page}");
    }
    drop(arrived);
    // The tasks that listened are gone with the next turn of the runtime.
    tokio::task::yield_now().await;
    assert!(TcpStream::connect(address).is_err(), "nothing listens any more");
}

#[tokio::test]
async fn the_providers_error_is_told_in_its_words_and_never_as_markup() {
    let (callback, address) = listen(Loopback::Addresses).await;
    let target = format!(
        "/callback?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C%2Fscript%3E%1b%5B2J&state={STATE}"
    );
    let (arrived, page) = waited(callback, move || get(address, &target)).await;
    let error = arrived.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Refused);
    assert_eq!(error.why().unwrap(), "access_denied: <script>alert(1)</script>\u{fffd}[2J");
    assert!(page.contains("access_denied: &lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}[2J."), "{page}");
}

#[tokio::test]
async fn those_who_dawdle_keep_nobody_waiting() {
    let (callback, address) = listen(Loopback::Addresses).await;
    let target = format!("/callback?code=c&state={STATE}");
    let begun = Instant::now();
    let (arrived, page) = waited(callback, move || {
        let mut slow: Vec<TcpStream> = (0..2 * MOST_CONNECTIONS)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET /callback?code=").unwrap();
                stream
            })
            .collect();
        let page = get(address, &target);
        slow.clear();
        page
    })
    .await;
    assert_eq!((arrived.unwrap().code.expose_secret(), status(&page)), ("c", "200"));
    assert!(begun.elapsed() < LONGEST_CONNECTION, "they were waited for");
}

#[tokio::test]
async fn nobody_is_waited_for_beyond_the_deadline() {
    let (callback, address) = listen(Loopback::Addresses).await;
    let stranger = tokio::task::spawn_blocking(move || get(address, "/callback?code=x&state=other"));
    let deadline = Instant::now() + Duration::from_millis(300);
    let error = callback.wait(STATE, deadline, None).await.unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Unreachable);
    assert_eq!(stranger.await.map(|page| status(&page).to_owned()).unwrap(), "400");
    assert_eq!(error, CallbackError::Unanswered { others: 1 });
}

#[tokio::test]
async fn localhost_is_listened_for_at_both_of_its_addresses() {
    let (callback, address) = listen(Loopback::Localhost).await;
    let port = address.port();
    assert_eq!(callback.redirect_uri(), format!("http://localhost:{port}/callback"));
    let addresses: Vec<SocketAddr> =
        callback.listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    let (arrived, statuses) = waited(callback, move || {
        let ask = |address, host: &str, target: &str| {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n");
            status(&exchange(address, request.as_bytes())).to_owned()
        };
        let mut statuses: Vec<String> =
            addresses.iter().map(|address| ask(*address, "LocalHost", "/other")).collect();
        statuses.push(ask(addresses[0], "127.0.0.1", "/callback"));
        ask(*addresses.last().unwrap(), "localhost", &format!("/callback?code=c&state={STATE}"));
        statuses
    })
    .await;
    assert_eq!(arrived.unwrap().code.expose_secret(), "c");
    assert_eq!(statuses.split_last().unwrap().1, vec!["404"; statuses.len() - 1]);
    assert_eq!(statuses.last().unwrap(), "403", "the redirect names localhost, and so does a browser");
}

#[tokio::test]
async fn a_taken_port_is_named_or_another_one_taken() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let at = |port| Listen { host: Loopback::Localhost, port, path: "/oidc/callback" };
    let error = Callback::listen(at(Port::Exactly(port))).await.unwrap_err();
    assert_eq!(error, CallbackError::Taken { port });
    let callback = Callback::listen(at(Port::Rather(port))).await.unwrap();
    assert_eq!(callback.instead_of(), Some(port));
    assert!(!callback.redirect_uri().contains(&format!(":{port}/")));
    drop((other, callback));
    let callback = Callback::listen(at(Port::Rather(port))).await.unwrap();
    assert_eq!(callback.instead_of(), None);
    assert_eq!(callback.redirect_uri(), format!("http://localhost:{port}/oidc/callback"));
}

#[tokio::test]
async fn the_first_free_port_of_a_range_is_taken_and_a_full_range_named() {
    // Two neighbours that both can be had: ports of the system's choice may have one in use.
    let pair = (0..50).find_map(|_| {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        let second = std::net::TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok()?;
        Some((first, second, port))
    });
    let (first, second, port) = pair.unwrap();
    let (first_port, last) = (port, port + 1);
    let at = Listen { host: Loopback::Localhost, port: Port::Among { first: first_port, last }, path: "/" };
    let error = Callback::listen(at).await.unwrap_err();
    assert_eq!(error, CallbackError::AllTaken { first: first_port, last });
    drop(second);
    let callback = Callback::listen(at).await.unwrap();
    assert_eq!(callback.redirect_uri(), format!("http://localhost:{last}"));
    drop(first);
}

#[tokio::test]
async fn whoever_sits_at_the_other_address_of_localhost_gets_no_code() {
    // Another test may take the same number at the other address meanwhile: then with a new one.
    for _ in 0..20 {
        let Ok(other) = std::net::TcpListener::bind("[::1]:0") else { return };
        let port = other.local_addr().unwrap().port();
        let at = |host| Listen { host, port: Port::Exactly(port), path: "/callback" };
        let error = Callback::listen(at(Loopback::Localhost)).await.unwrap_err();
        assert_eq!(error, CallbackError::Taken { port });
        // An address says which one is meant.
        if Callback::listen(at(Loopback::Addresses)).await.is_ok() {
            return;
        }
    }
    panic!("an address that nobody has was not taken");
}

/// A person who has these lines ready, and then says no more.
struct Typist {
    lines: Mutex<VecDeque<&'static str>>,
    said: Mutex<Vec<String>>,
    end: NoAnswer,
}

impl Person for Typist {
    fn ask(&self, _: &str) -> Result<String, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
    fn ask_secret(&self, _: &str) -> Result<SecretString, NoAnswer> {
        Err(NoAnswer::Nobody)
    }
    fn tell(&self, line: &str) {
        self.said.lock().unwrap().push(line.to_owned());
    }
    fn typed(&self) -> Result<Option<Zeroizing<String>>, NoAnswer> {
        match self.lines.lock().unwrap().pop_front() {
            Some(line) => Ok(Some(Zeroizing::new(line.to_owned()))),
            None => Err(self.end.clone()),
        }
    }
}

async fn typed<const N: usize>(
    lines: [&'static str; N],
    end: NoAnswer,
) -> (Result<Arrived, CallbackError>, usize) {
    let (callback, _) = listen(Loopback::Addresses).await;
    let person = Typist { lines: Mutex::new(lines.into()), said: Mutex::default(), end };
    let deadline = Instant::now() + Duration::from_millis(300);
    let arrived = callback.wait(STATE, deadline, Some(&person)).await;
    let said = person.said.lock().unwrap().len();
    (arrived, said)
}

#[tokio::test]
async fn a_person_pastes_the_address_or_the_code() {
    for (line, code, issuer) in [
        (
            "http://127.0.0.1:1/callback?code=a%2Fb&state=st_0123456789&iss=https%3A%2F%2Fx",
            "a/b",
            Some("https://x"),
        ),
        ("  http://127.0.0.1:1/callback?state=st_0123456789&code=abc#_=_ \r", "abc", None),
        ("code=abc&state=st_0123456789", "abc", None),
        ("abc+/=~", "abc+/=~", None),
        ("4%2Fa+b", "4/a+b", None),
    ] {
        let (arrived, said) = typed([line], NoAnswer::Nobody).await;
        let arrived = arrived.unwrap();
        assert_eq!((arrived.code.expose_secret(), arrived.issuer.as_deref()), (code, issuer));
        assert!(arrived.is_pasted && said == 0);
    }
}

#[tokio::test]
async fn what_was_pasted_by_mistake_is_said_and_something_else_waited_for() {
    let wrong = [
        "",
        "http://127.0.0.1:1/callback?code=abc&state=other",
        "http://127.0.0.1:1/callback?code=abc",
        "code=abc&code=abd&state=st_0123456789",
        "what do I paste here",
        "http://127.0.0.1:1/callback?code=right&state=st_0123456789",
    ];
    let (arrived, said) = typed(wrong, NoAnswer::Nobody).await;
    assert_eq!((arrived.unwrap().code.expose_secret(), said), ("right", 4));
    let (refused, _) = typed(["x?error=access_denied&state=st_0123456789"], NoAnswer::Nobody).await;
    assert_eq!(refused.unwrap_err().exit_code(), ExitCode::Refused);
    let (left, _) = typed([], NoAnswer::Interrupted).await;
    assert_eq!(left.unwrap_err(), CallbackError::GivenUp);
    let (nobody, _) = typed([], NoAnswer::Nobody).await;
    assert_eq!(nobody.unwrap_err(), CallbackError::Unanswered { others: 0 });
}
