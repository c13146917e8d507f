use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket as Datagrams};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// What a server does with a question: the name, whether for IPv6, and whether by stream.
type Script = fn(&str, bool, bool) -> Reply;

enum Reply {
    Silence,
    Code(u8),
    TooLong,
    Here(&'static [&'static str]),
}

/// A server of names on this machine, until the test's process ends.
struct Server {
    at: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(script: Script) -> Self {
        // The same number for both, which somebody else may have one of.
        let (datagrams, streams) = std::iter::repeat_with(|| {
            let datagrams = Datagrams::bind("127.0.0.1:0").unwrap();
            let streams = TcpListener::bind(datagrams.local_addr().unwrap());
            (datagrams, streams)
        })
        .take(100)
        .find_map(|(datagrams, streams)| Some((datagrams, streams.ok()?)))
        .unwrap();
        let at = datagrams.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            let mut buffer = [0; 600];
            while let Ok((length, from)) = datagrams.recv_from(&mut buffer) {
                if let Some(answer) = answer(&buffer[..length], script, false, &log) {
                    let _ = datagrams.send_to(&answer, from);
                }
            }
        });
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for mut stream in streams.incoming().flatten() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut question).unwrap();
                if let Some(answer) = answer(&question, script, true, &log) {
                    let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    stream.write_all(&[&length, answer.as_slice()].concat()).unwrap();
                }
            }
        });
        Self { at, asked }
    }

    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort_unstable();
        asked
    }
}

fn answer(question: &[u8], script: Script, by_stream: bool, log: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let (mut labels, mut at) = (Vec::new(), 12);
    while question[at] != 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let (name, ipv6) = (labels.join("."), question[at + 2] == 28);
    let (kind, way) = (if ipv6 { "AAAA" } else { "A" }, if by_stream { " by stream" } else { "" });
    log.lock().unwrap().push(format!("{name} {kind}{way}"));
    let mut message = question.to_vec();
    (message[2], message[3]) = (0x81, 0x80);
    match script(&name, ipv6, by_stream) {
        Reply::Silence => return None,
        Reply::Code(code) => message[3] |= code,
        Reply::TooLong => message[2] |= 2,
        Reply::Here(addresses) => {
            let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().unwrap());
            for address in addresses.filter(|address| address.is_ipv6() == ipv6) {
                let octets = match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                };
                let length = u8::try_from(octets.len()).unwrap();
                message.extend([0xc0, 12, 0, if ipv6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 9, 0, length]);
                message.extend(octets);
                message[7] += 1;
            }
        }
    }
    Some(message)
}

fn by(servers: &[&Server]) -> Configuration {
    Configuration {
        servers: servers.iter().map(|server| server.at).collect(),
        search: vec!["corp.example".to_owned()],
        dots: 1,
        wait: Duration::from_millis(300),
        attempts: 2,
        rotate: false,
        streams_only: false,
        no_ipv6: false,
    }
}

async fn found(by: &Configuration, host: &str) -> Result<Vec<String>, NameError> {
    let mut found: Vec<String> = addresses(by, host).await?.iter().map(ToString::to_string).collect();
    found.sort_unstable();
    Ok(found)
}

#[tokio::test]
async fn both_kinds_of_addresses_are_found() {
    let server = Server::new(|_, _, _| Reply::Here(&["192.0.2.1", "192.0.2.2", "2001:db8::1"]));
    let found = found(&by(&[&server]), "vault.example").await.unwrap();
    assert_eq!(found, ["192.0.2.1", "192.0.2.2", "2001:db8::1"]);
    assert_eq!(server.asked(), ["vault.example A", "vault.example AAAA"]);
}

#[tokio::test]
async fn a_short_name_is_found_in_its_domain_and_an_unknown_one_nowhere() {
    let server = Server::new(|name, _, _| match name {
        "vault.corp.example" => Reply::Here(&["192.0.2.1"]),
        _ => Reply::Code(3),
    });
    assert_eq!(found(&by(&[&server]), "vault").await.unwrap(), ["192.0.2.1"]);
    assert_eq!(found(&by(&[&server]), "other").await, Err(NameError::Unknown));
    let mut asked = server.asked();
    asked.dedup();
    let whole = ["other A", "other AAAA", "other.corp.example A", "other.corp.example AAAA"];
    assert_eq!(asked[..4], whole);
}

#[tokio::test]
async fn what_is_too_long_for_a_datagram_comes_by_stream() {
    let server =
        Server::new(
            |_, _, by_stream| {
                if by_stream { Reply::Here(&["192.0.2.1", "2001:db8::1"]) } else { Reply::TooLong }
            },
        );
    assert_eq!(found(&by(&[&server]), "a.example").await.unwrap(), ["192.0.2.1", "2001:db8::1"]);
    let streams_only = Configuration { streams_only: true, no_ipv6: true, ..by(&[&server]) };
    assert_eq!(found(&streams_only, "b.example").await.unwrap(), ["192.0.2.1"]);
    let expected = [
        "a.example A",
        "a.example A by stream",
        "a.example AAAA",
        "a.example AAAA by stream",
        "b.example A by stream",
    ];
    assert_eq!(server.asked(), expected);
}

#[tokio::test]
async fn the_next_server_is_asked_where_one_is_silent_gone_or_cannot_say() {
    let silent = Server::new(|_, _, _| Reply::Silence);
    let failing = Server::new(|_, _, _| Reply::Code(2));
    let well = Server::new(|_, _, _| Reply::Here(&["192.0.2.1"]));
    let mut by = by(&[&silent, &failing, &well]);
    let gone = Datagrams::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    by.servers.insert(0, gone);
    assert_eq!(found(&by, "vault.example").await.unwrap(), ["192.0.2.1"]);
    assert_eq!(well.asked(), ["vault.example A", "vault.example AAAA"]);
}

#[tokio::test]
async fn silence_and_failure_are_told_apart_from_a_name_that_is_not_there() {
    let silent = Server::new(|_, _, _| Reply::Silence);
    let quick = Configuration { wait: Duration::from_millis(20), ..by(&[&silent]) };
    assert_eq!(found(&quick, "a.example").await, Err(NameError::Unanswered("127.0.0.1".to_owned())));
    assert_eq!(silent.asked(), ["a.example A", "a.example A", "a.example AAAA", "a.example AAAA"]);
    let refusing = Server::new(|_, _, _| Reply::Code(5));
    let said = "127.0.0.1 says that it refuses".to_owned();
    assert_eq!(found(&by(&[&refusing]), "a.example").await, Err(NameError::Failed(said)));
    assert_eq!(found(&by(&[&refusing]), "a..example").await, Err(NameError::Unknown));
}

#[tokio::test]
async fn one_kind_that_never_comes_does_not_hold_the_other() {
    let server = Server::new(|_, ipv6, _| if ipv6 { Reply::Silence } else { Reply::Here(&["192.0.2.1"]) });
    let patient = Configuration { wait: Duration::from_secs(60), ..by(&[&server]) };
    let outcome = timeout(Duration::from_secs(20), found(&patient, "vault.example")).await;
    assert_eq!(outcome.unwrap().unwrap(), ["192.0.2.1"]);
}
