use super::scripted::{Authority, Scripted, Step, reply, reply_with, server_tls};
use super::*;
use crate::config::Pem;
use crate::error::{ExitCode, Explain};

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

fn get(url: &Url) -> Request {
    Request::new(Method::GET, url.clone(), soon())
}

fn post(url: &Url) -> Request {
    Request::new(Method::POST, url.clone(), soon())
        .body("application/json", Zeroizing::new(b"{\"password\":\"hunter2\"}".to_vec()))
}

fn plain() -> Client {
    Client::new(&TlsSettings::default(), &Transport::default(), None).unwrap().impatient()
}

fn trusting(authority: &str) -> TlsSettings {
    TlsSettings { certificate_authorities: vec![Pem::Inline(authority.into())], ..TlsSettings::default() }
}

fn client(tls: &TlsSettings) -> Client {
    Client::new(tls, &Transport::default(), None).unwrap().impatient()
}

/// What failed, why, the hint and the exit code, as a person would see them.
fn told(error: &HttpError, server: &Scripted) -> Vec<String> {
    let authority = format!("127.0.0.1:{}", server.url.port().unwrap());
    [Some(error.to_string()), error.why(), error.hint(), Some(error.exit_code().to_string())]
        .into_iter()
        .flatten()
        .map(|line| line.replace(&authority, "HOST"))
        .collect()
}

async fn failure(client: &Client, server: &Scripted) -> Vec<String> {
    let error = client.send(get(&server.url)).await.err().expect("it must fail");
    told(&error, server)
}

#[tokio::test]
async fn an_answer_comes_whole_with_the_servers_clock() {
    let server = Scripted::new([reply_with(
        201,
        &[("Date", "Sun, 06 Nov 1994 08:49:37 GMT"), ("Retry-After", "7")],
        "{}",
    )]);
    let request = post(&server.url)
        .secret_header(HeaderName::from_static("x-vault-token"), "", &SecretString::from("s.abc"))
        .unwrap();
    let response = plain().send(request).await.unwrap();
    assert_eq!((response.status, response.body.as_slice()), (201, b"{}".as_slice()));
    assert_eq!(response.date.unwrap().to_rfc3339(), "1994-11-06T08:49:37+00:00");
    assert_eq!(response.retry_after(), Some(Duration::from_secs(7)));
    let seen = server.seen();
    assert_eq!(seen[0].line(), r#"POST / {"password":"hunter2"}"#);
    assert_eq!(seen[0].header("x-vault-token"), Some("s.abc"));
    assert_eq!(seen[0].header("user-agent"), Some(concat!("kubectl-vaulttoken/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(seen[0].header("referer"), None);
}

#[test]
fn a_secret_that_would_split_a_header_is_refused_and_not_shown() {
    for secret in ["s.abc\nX-Evil: 1", "s.\u{7f}", "s.é", "\u{0}"] {
        let error = get(&Url::parse("http://localhost").unwrap())
            .secret_header(HeaderName::from_static("x-vault-token"), "", &SecretString::from(secret))
            .err()
            .unwrap();
        assert_eq!(
            error.to_string(),
            "the value of the header `x-vault-token` holds a character that no header can carry"
        );
        assert_eq!(error.exit_code(), ExitCode::Usage);
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nothing_is_sent_on() {
    let elsewhere = Scripted::new([]);
    let server = Scripted::new([reply_with(307, &[("Location", elsewhere.url.as_str())], "")]);
    assert_eq!(plain().send(get(&server.url)).await.unwrap().status, 307);
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn where_nobody_listens_it_is_said_and_nothing_was_sent() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{free}")).unwrap();
    let error = plain().send(get(&url)).await.err().unwrap();
    assert!(!error.may_have_been_processed());
    assert_eq!(error.to_string(), format!("cannot reach `{free}`"));
    assert_eq!(error.why().unwrap(), "the connection was refused: nobody listens there");
    assert_eq!(error.exit_code(), ExitCode::Unreachable);
}

#[tokio::test]
async fn a_name_without_address_is_told_apart() {
    let url = Url::parse("http://no-such-host.invalid").unwrap();
    let error = plain().send(get(&url)).await.err().unwrap();
    assert_eq!(error.why().unwrap(), "its name has no address");
    assert_eq!(error.hint().unwrap(), "check the name in the address, and whether a VPN is needed");
}

#[tokio::test]
async fn only_what_is_repeatable_is_repeated_after_a_broken_connection() {
    let server = Scripted::new([Step::Close, Step::Close, reply(200, "{}")]);
    assert_eq!(plain().send(get(&server.url)).await.unwrap().status, 200);
    assert_eq!(server.seen().len(), 3);

    let server = Scripted::new([Step::Close, reply(200, "{}")]);
    let error = plain().send(post(&server.url)).await.err().unwrap();
    assert!(error.may_have_been_processed());
    assert_eq!(server.seen().len(), 1, "its fate is unknown, so it is not sent again");
    assert_eq!(error.exit_code(), ExitCode::Unreachable);
}

#[tokio::test]
async fn passing_trouble_is_waited_for_and_the_last_answer_returned() {
    let server = Scripted::new([reply(429, "{}"), reply(503, "{}"), reply(200, "{}")]);
    assert_eq!(plain().send(get(&server.url)).await.unwrap().status, 200);

    let server = Scripted::new(vec![reply(502, "{}"); 10]);
    assert_eq!(plain().send(get(&server.url)).await.unwrap().status, 502);
    assert_eq!(server.seen().len(), 6);

    let server = Scripted::new([reply(502, "{}")]);
    assert_eq!(plain().send(post(&server.url)).await.unwrap().status, 502);

    let server = Scripted::new([reply_with(429, &[("Retry-After", "3600")], "{}"), reply(200, "{}")]);
    assert_eq!(plain().send(get(&server.url)).await.unwrap().status, 429, "an hour is beyond the deadline");
}

#[tokio::test]
async fn the_number_of_repetitions_is_the_persons() {
    let transport = Transport { max_retries: Some(0), ..Transport::default() };
    let client = Client::new(&TlsSettings::default(), &transport, None).unwrap();
    let server = Scripted::new([reply(429, "{}"), reply(200, "{}")]);
    assert_eq!(client.send(get(&server.url)).await.unwrap().status, 429);
}

#[tokio::test]
async fn the_deadline_holds_for_the_whole_exchange() {
    let server = Scripted::new([Step::Hang]);
    let mut request = get(&server.url);
    request.deadline = Instant::now() + Duration::from_millis(80);
    let error = plain().send(request).await.err().unwrap();
    assert_eq!(
        told(&error, &server),
        [
            "no answer from `HOST` in time",
            "it may have acted on the request all the same",
            "try again, or allow more time with `--timeout`",
            "5",
        ]
    );
    let mut request = get(&server.url);
    request.deadline = Instant::now();
    let error = plain().send(request).await.err().unwrap();
    assert!(!error.may_have_been_processed());
}

#[tokio::test]
async fn vaults_own_variable_bounds_each_request_to_a_vault_and_no_other() {
    let moment = Duration::from_millis(80);
    let transport = Transport { timeout: Some(moment), ..Transport::default() };
    let server = Scripted::new([Step::Hang, Step::Hang]);
    let client = Client::for_vault(&TlsSettings::default(), &transport, None).unwrap();
    let mut request = get(&server.url);
    request.deadline = Instant::now() + Duration::from_secs(3_600);
    let error = client.send(request).await.err().unwrap();
    assert!(matches!(error, HttpError::Deadline { sent: true, .. }), "{error:?}");

    let client = Client::new(&TlsSettings::default(), &transport, None).unwrap();
    let mut request = get(&server.url);
    request.deadline = Instant::now() + 4 * moment;
    let begun = Instant::now();
    client.send(request).await.err().unwrap();
    assert!(begun.elapsed() >= 3 * moment);
}

#[tokio::test]
async fn a_body_that_is_too_large_cut_off_or_endless_is_no_answer() {
    let announced = Step::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec());
    let server = Scripted::new([announced, Step::Endless(&[b'x'; 8_192])]);
    for _ in 0..2 {
        assert_eq!(
            failure(&plain(), &server).await,
            [
                "the answer of `HOST` is larger than 4194304 bytes",
                "check that the address is the server's",
                "6"
            ]
        );
    }
    let cut = Step::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":".to_vec());
    let server = Scripted::new(vec![cut; 6]);
    let error = plain().send(post(&server.url)).await.err().unwrap();
    assert!(matches!(error, HttpError::Interrupted { .. }), "{error:?}");
    assert_eq!(told(&error, &server)[0], "`HOST` broke off before its answer was complete");
}

#[tokio::test]
async fn what_is_not_http_is_told_apart() {
    let server = Scripted::new([Step::Raw(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec())]);
    let told = failure(&plain(), &server).await;
    assert_eq!(told.first().unwrap(), "the answer of `HOST` is not HTTP");
    assert_eq!(told.last().unwrap(), "6");
}

#[tokio::test]
async fn a_trusted_server_answers_over_tls() {
    let authority = Authority::new();
    let server = Scripted::tls([reply(200, "{}")], server_tls(&authority.sign("127.0.0.1"), None));
    assert_eq!(client(&trusting(&authority.pem)).send(get(&server.url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_unknown_authority_is_named_as_such() {
    let server = Scripted::tls([], server_tls(&Authority::new().sign("127.0.0.1"), None));
    for other in [Authority::named("another"), Authority::new()] {
        assert_eq!(
            failure(&client(&trusting(&other.pem)), &server).await,
            [
                "no trusted TLS connection to `HOST`",
                "its certificate is of an authority that is not trusted here",
                "set `certificateAuthority` to the authority of that server",
                "5",
            ]
        );
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_expired_certificate_is_named_as_such() {
    let authority = Authority::new();
    let expired = authority.sign_as("127.0.0.1", |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
    });
    let server = Scripted::tls([], server_tls(&expired, None));
    assert_eq!(
        failure(&client(&trusting(&authority.pem)), &server).await,
        [
            "no trusted TLS connection to `HOST`",
            "its certificate has expired",
            "have the server's certificate renewed; check the clock of this machine",
            "5",
        ]
    );
    let early = authority.sign_as("127.0.0.1", |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2090, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2091, 1, 1);
    });
    let server = Scripted::tls([], server_tls(&early, None));
    assert_eq!(
        failure(&client(&trusting(&authority.pem)), &server).await[1],
        "its certificate is not valid yet"
    );
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_unless_that_name_is_set() {
    let authority = Authority::new();
    let pair = authority.sign("vault.corp.example");
    let server = Scripted::tls([reply(200, "{}")], server_tls(&pair, None));
    let mut tls = trusting(&authority.pem);
    assert_eq!(
        failure(&client(&tls), &server).await,
        [
            "no trusted TLS connection to `HOST`",
            "its certificate is for `vault.corp.example`",
            "use a name of the certificate in the address",
            "5",
        ]
    );
    tls.server_name = Some("vault.corp.example".into());
    assert_eq!(client(&tls).send(get(&server.url)).await.unwrap().status, 200);
    assert_eq!(server.seen()[0].header("host"), Some(server.url.authority()));
    tls.server_name = Some("other.corp.example".into());
    assert_eq!(failure(&client(&tls), &server).await[0], "no trusted TLS connection to `HOST`");
}

#[tokio::test]
async fn a_server_name_does_not_go_with_a_proxy() {
    let transport = Transport { https_proxy: Some("proxy:3128".into()), ..Transport::default() };
    let tls = TlsSettings { server_name: Some("vault.corp.example".into()), ..TlsSettings::default() };
    let client = Client::new(&tls, &transport, None).unwrap();
    let error = client.send(get(&Url::parse("https://10.0.0.1").unwrap())).await.err().unwrap();
    assert_eq!(error.to_string(), "the TLS server name `vault.corp.example` cannot be used");
    assert_eq!(error.why().unwrap(), "through a proxy, a host cannot be asked for by another name");
}

#[tokio::test]
async fn tls_spoken_to_a_plain_port_is_named_as_such() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = Url::parse(&format!("https://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        use std::io::Write as _;
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = client(&trusting(&Authority::new().pem)).send(get(&url)).await.err().unwrap();
    assert_eq!(error.why().unwrap(), "it answered in clear: it does not speak TLS", "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_is_presented_and_missed() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let config = || server_tls(&authority.sign("127.0.0.1"), Some(&clients));
    let (certificate, key) = clients.sign("ci");
    let mut tls = trusting(&authority.pem);
    let server = Scripted::tls([], config());
    let told = failure(&client(&tls), &server).await;
    assert_eq!(told[0], "no trusted TLS connection to `HOST`");
    assert_eq!(told[1], "it refused our client certificate, or wants one: alert CertificateRequired");
    assert!(server.seen().is_empty());

    tls.client_certificate = Some((Pem::Inline(certificate), Pem::Inline(key)));
    let server = Scripted::tls([reply(200, "{}")], config());
    assert_eq!(client(&tls).send(get(&server.url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn authorities_of_the_settings_replace_those_of_the_environment() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = Scripted::tls(vec![reply(200, "{}"); 2], server_tls(&theirs.sign("127.0.0.1"), None));
    let transport =
        Transport { certificate_authorities: vec![Pem::Inline(theirs.pem.clone())], ..Transport::default() };
    let beneath = Client::new(&TlsSettings::default(), &transport, None).unwrap();
    assert_eq!(beneath.send(get(&server.url)).await.unwrap().status, 200);
    let replaced = Client::new(&trusting(&ours.pem), &transport, None).unwrap();
    assert_eq!(failure(&replaced, &server).await[0], "no trusted TLS connection to `HOST`");
}

#[test]
fn a_bundle_of_public_authorities_is_nobodys_own() {
    let pem = Authority::new().pem;
    assert!(tls::is_own_authority(&trusting(&pem.repeat(16))));
    assert!(!tls::is_own_authority(&trusting(&pem.repeat(17))));
    assert!(!tls::is_own_authority(&TlsSettings::default()));
    assert!(!tls::is_own_authority(&TlsSettings { skip_verify: true, ..trusting(&pem) }));
}

#[tokio::test]
async fn verification_can_be_switched_off_where_the_settings_say_so() {
    let server = Scripted::tls([reply(200, "{}")], server_tls(&Authority::new().sign("x"), None));
    let tls = TlsSettings { skip_verify: true, ..TlsSettings::default() };
    assert_eq!(client(&tls).send(get(&server.url)).await.unwrap().status, 200);
}

#[tokio::test]
async fn an_authority_that_is_none_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, empty) = (folder.path().join("missing.pem"), folder.path().join("empty.pem"));
    std::fs::write(&empty, "no certificate").unwrap();
    let url = Url::parse("https://127.0.0.1:1").unwrap();
    let mut whys = Vec::new();
    for pem in [
        Pem::File(missing),
        Pem::File(empty),
        Pem::Inline("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into()),
    ] {
        let tls = TlsSettings { certificate_authorities: vec![pem], ..TlsSettings::default() };
        let error = client(&tls).send(get(&url)).await.err().unwrap();
        assert_eq!(error.exit_code(), ExitCode::Usage);
        whys.push(format!("{error}: {}", error.why().unwrap()).replace(folder.path().to_str().unwrap(), ""));
    }
    assert_eq!(
        whys,
        [
            "the certificate authority `/missing.pem` cannot be used: No such file or directory (os error 2)",
            "the certificate authority `/empty.pem` cannot be used: it holds no certificate in PEM form",
            "the certificate authority in the settings cannot be used: a certificate in it is malformed",
        ]
    );
}

#[tokio::test]
async fn the_standard_proxies_serve_other_machines_only() {
    let proxy = Scripted::new([reply(200, "{}"), reply(200, "{}")]);
    let direct = Scripted::new([reply(200, "{}")]);
    let transport = Transport {
        http_proxy: Some(proxy.url.authority().into()),
        no_proxy: Some("internal.example".into()),
        ..Transport::default()
    };
    let client = Client::new(&TlsSettings::default(), &transport, None).unwrap().impatient();
    let far = Url::parse("http://vault.example.invalid/x").unwrap();
    assert_eq!(client.send(get(&far)).await.unwrap().status, 200);
    assert_eq!(proxy.lines(), ["GET http://vault.example.invalid/x"]);
    assert_eq!(client.send(get(&direct.url)).await.unwrap().status, 200);
    assert_eq!(direct.seen().len(), 1, "this machine is reached directly");
    let excepted = Url::parse("http://db.internal.example").unwrap();
    assert!(client.send(get(&excepted)).await.is_err());
    assert_eq!(proxy.seen().len(), 1);
}

#[tokio::test]
async fn vaults_own_proxy_wins_and_a_refusal_of_it_is_told() {
    let proxy = Scripted::new(vec![reply(403, ""); 3]);
    let mut address = proxy.url.clone();
    address.set_username("me").unwrap();
    address.set_password(Some("hunter2")).unwrap();
    let transport = Transport {
        vault_proxy: Some(address.as_str().into()),
        https_proxy: Some("http://127.0.0.1:1".into()),
        ..Transport::default()
    };
    let client = Client::for_vault(&trusting(&Authority::new().pem), &transport, None).unwrap().impatient();
    let url = Url::parse("https://vault.example.invalid:8200").unwrap();
    let error = client.send(get(&url)).await.err().unwrap();
    assert!(matches!(&error, HttpError::Connect { cause: ConnectCause::Proxy(_), .. }), "{error:?}");
    assert_eq!(proxy.lines(), ["CONNECT vault.example.invalid:8200"]);
    assert_eq!(proxy.seen()[0].header("proxy-authorization"), Some("Basic bWU6aHVudGVyMg=="));
    assert!(!format!("{error:?} {error} {:?} {:?}", error.why(), error.hint()).contains("hunter2"));
    assert_eq!(error.hint().unwrap(), "check `HTTPS_PROXY`, or name the host in `NO_PROXY`");
}

#[test]
fn a_proxy_that_is_none_is_refused_without_showing_it() {
    for address in ["ftp://me:hunter2@proxy", "http://", "me:hunter2@ proxy"] {
        let transport = Transport { https_proxy: Some(address.into()), ..Transport::default() };
        let error = Client::new(&TlsSettings::default(), &transport, None).err().unwrap();
        assert_eq!(error.to_string(), "the proxy of the environment cannot be used");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_used_and_named() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4096];
        std::io::Read::read(&mut stream, &mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
    });
    let url = Url::parse("http://localhost/v1/x").unwrap();
    let transport = Transport { http_proxy: Some("http://127.0.0.1:1".into()), ..Transport::default() };
    let client = Client::new(&TlsSettings::default(), &transport, Some(&path)).unwrap().impatient();
    assert_eq!(client.send(get(&url)).await.unwrap().status, 200);
    let missing = folder.path().join("missing.sock");
    let client = Client::new(&TlsSettings::default(), &transport, Some(&missing)).unwrap().impatient();
    let error = client.send(get(&url)).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot reach `{}`", missing.display()));
    assert_eq!(error.why().unwrap(), "the connection was refused: nobody listens there");
}

#[test]
fn loopback_is_this_machine_and_nothing_that_looks_like_it() {
    for (url, expected) in [
        ("http://localhost:8200", true),
        ("http://vault.localhost", true),
        ("http://127.3.2.1", true),
        ("http://[::1]:8200", true),
        ("http://[::ffff:127.0.0.1]", true),
        ("http://localhost.example", false),
        ("http://127.0.0.1.nip.example", false),
        ("http://10.0.0.1", false),
        ("http://0.0.0.0", false),
    ] {
        assert_eq!(is_loopback(&Url::parse(url).unwrap()), expected, "{url}");
    }
}
