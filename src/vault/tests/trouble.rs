//! What goes wrong between us and Vault: statuses that pass, redirects, bodies that are none.

use super::*;
use crate::http::HttpError;
use crate::http::scripted::{Authority, server_tls};

/// The error of a read, and how many requests it took.
async fn failed(steps: Vec<Step>) -> (Vec<String>, usize) {
    let server = Scripted::new(steps);
    let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
    let error = vault.call(Call::read("x")).await.unwrap_err();
    (told(&error, &server), server.seen().len())
}

#[tokio::test]
async fn a_sealed_vault_is_told_at_once() {
    let (told, asked) = failed(vec![errors(503, "Vault is sealed"); 9]).await;
    assert_eq!(told, ["`VAULT` is sealed", "ask an operator to unseal it, then try again", "5"]);
    assert_eq!(asked, 1);
}

#[tokio::test]
async fn what_passes_is_waited_for_and_then_told() {
    let busy = errors(429, "request path \"x\": rate limit quota exceeded");
    let (told, asked) = failed(vec![busy; 9]).await;
    assert_eq!(
        told,
        [
            "`VAULT` is too busy for another request",
            "request path \"x\": rate limit quota exceeded",
            "try again in a minute",
            "5",
        ]
    );
    assert_eq!(asked, 6);
    for (status, message, requests) in [
        (502, "", 6),
        (503, "no healthy upstream", 6),
        (504, "", 6),
        (503, "no active Vault instance found", 9),
        (500, "local node not active but active cluster node not found", 9),
        (412, "required index state not present", 9),
    ] {
        let (told, asked) = failed(vec![errors(status, message); 10]).await;
        assert_eq!(told[0], format!("`VAULT` cannot serve at the moment (status {status})"));
        assert_eq!(asked, requests, "{status} {message}");
    }
    let page = reply_with(502, &[("Content-Type", "text/html")], "<html>Bad Gateway</html>");
    let (told, _) = failed(vec![page; 9]).await;
    assert_eq!(told[0], "`VAULT` cannot serve at the moment (status 502)");
}

#[tokio::test]
async fn a_mint_is_repeated_only_where_it_was_refused_unread() {
    for (step, expected) in [
        (errors(429, "quota"), 2),
        (errors(500, "local node not active but active cluster node not found"), 2),
        (errors(412, "required index state not present"), 2),
        (errors(503, "no active Vault instance found"), 2),
        (errors(502, ""), 1),
        (errors(503, "overloaded"), 1),
        (errors(504, ""), 1),
        (errors(500, "anything else"), 1),
        (Step::Close, 1),
    ] {
        let server = Scripted::new([step, reply(200, r#"{"data":{}}"#)]);
        let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
        let outcome = vault.call(Call::write("kubernetes/creds/ci", serde_json::json!({}))).await;
        assert_eq!(server.seen().len(), expected, "{outcome:?}");
        assert_eq!(outcome.is_ok(), expected == 2, "{outcome:?}");
    }
}

#[tokio::test]
async fn a_namespace_that_is_none_is_told() {
    let server = Scripted::new([errors(404, "namespace not found")]);
    let mut parts = parts(&server.url, approle(), &Store::with(session("s.kept", 60)));
    parts.settings.namespace = Some("nope".into());
    let error = vault_of(parts).call(Call::read("x")).await.unwrap_err();
    assert_eq!(
        told(&error, &server),
        ["`VAULT` knows no namespace `nope`", "check `namespace` of this vault in the settings", "4"]
    );
}

#[tokio::test]
async fn a_body_that_is_not_vaults_is_told_and_not_shown() {
    let page = |status, kind, body| reply_with(status, &[("Content-Type", kind)], body);
    for (step, why) in [
        (page(200, "text/html", "<html>planted"), "status 200 with `text/html` is not the JSON of a Vault"),
        (page(404, "text/plain", "planted"), "status 404 with `text/plain` is not the JSON of a Vault"),
        (
            page(200, "application/json", "{\"data\": {\"planted"),
            "status 200 with `application/json` is not the JSON of a Vault",
        ),
        (
            page(200, "application/json", "[]x\u{0}planted"),
            "status 200 with `application/json` is not the JSON of a Vault",
        ),
        (
            page(400, "text/plain", "Client sent an HTTP request to an HTTPS server.\n"),
            "it speaks TLS: its address must begin with `https://`",
        ),
    ] {
        let (told, _) = failed(vec![step]).await;
        assert_eq!(
            told,
            [
                "the answer of `VAULT` to `x` cannot be used",
                why,
                "check that the address is that of a Vault or OpenBao",
                "6",
            ]
        );
    }
}

fn to(location: &str) -> Step {
    reply_with(307, &[("Location", location)], "")
}

#[tokio::test]
async fn a_redirect_to_a_listed_node_is_followed_with_everything() {
    let leader = Scripted::new([reply(200, r#"{"data":{}}"#)]);
    let standby = Scripted::new([to(leader.url.join("/v1/x").unwrap().as_str())]);
    let mut parts = parts(&standby.url, approle(), &Store::with(session("s.kept", 60)));
    parts.settings.addresses = vec![VaultAddress::Url(leader.url.clone())];
    parts.settings.namespace = Some("team".into());
    let vault = vault_of(parts);
    vault.call(Call::write("x", serde_json::json!({"a": 1}))).await.unwrap();
    assert_eq!(asked(&leader), [r#"s.kept POST /v1/x {"a":1}"#]);
    assert_eq!(leader.seen()[0].header("x-vault-namespace"), Some("team"));
    assert_eq!(leader.seen()[0].header("x-vault-request"), Some("true"));
}

#[tokio::test]
async fn a_redirect_elsewhere_is_refused_and_named() {
    let elsewhere = Scripted::new([]);
    let server = Scripted::new([to(elsewhere.url.as_str())]);
    let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
    let error = vault.call(Call::read("x")).await.unwrap_err();
    let target = elsewhere.url.as_str().trim_end_matches('/');
    assert_eq!(
        told(&error, &server),
        [
            format!("`VAULT` redirects to `{target}`, where nothing secret is sent"),
            "that port is not among the `addresses` of this vault".into(),
            "if that is a node of this vault, list it in `addresses`, or set `certificateAuthority`".into(),
            "7".into(),
        ]
    );
    assert!(elsewhere.seen().is_empty());
    let (told, asked) =
        failed(vec![Step::Raw(b"HTTP/1.1 307 T\r\nContent-Length: 0\r\n\r\n".to_vec())]).await;
    assert_eq!(
        (told[1].as_str(), told[3].as_str(), asked),
        ("a redirect that does not say where to", "6", 1)
    );
    let see_other = reply_with(303, &[("Location", "/v1/y")], "");
    let (told, asked) = failed(vec![see_other]).await;
    assert_eq!((told[1].as_str(), asked), ("such a redirect would turn the request into another one", 1));
    assert_eq!(told[3], "7");
}

#[tokio::test]
async fn nodes_that_redirect_to_one_another_are_given_time_to_elect() {
    let server = Scripted::new([to("/v1/x"), to("/v1/x"), to("/v1/x"), reply(200, r#"{"data":{}}"#)]);
    let elected = vault(&server, approle(), &Store::with(session("s.kept", 60)));
    elected.call(Call::write("x", serde_json::json!({}))).await.unwrap();
    assert_eq!(server.seen().len(), 4);

    let (told, asked) = failed(vec![to("/v1/x"); 20]).await;
    assert_eq!(
        told,
        [
            "`VAULT` cannot serve at the moment (status 307)",
            "its nodes redirect to one another",
            "try again in a minute",
            "5",
        ]
    );
    assert_eq!(asked, 18);
}

#[tokio::test]
async fn a_second_redirect_to_elsewhere_is_refused_and_named() {
    let (told, asked) = failed(vec![to("/v1/y"), to("https://evil.example/v1/x")]).await;
    assert_eq!(told[0], "`VAULT` redirects to `https://evil.example`, where nothing secret is sent");
    assert_eq!((told[1].as_str(), asked), ("that host is not among the `addresses` of this vault", 2));
}

#[tokio::test]
async fn a_redirect_to_a_dead_leader_is_tried_again_even_for_a_mint() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = Url::parse(&format!("http://{dead}")).unwrap();
    let server = Scripted::new([
        to(dead.as_str()),
        to(dead.as_str()),
        to(dead.as_str()),
        reply(200, r#"{"data":{}}"#),
    ]);
    let mut parts = parts(&server.url, approle(), &Store::with(session("s.kept", 60)));
    parts.settings.addresses = vec![VaultAddress::Url(dead)];
    vault_of(parts).call(Call::write("x", serde_json::json!({}))).await.unwrap();
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_certificate_of_the_vaults_own_authority_makes_a_node() {
    use crate::config::Pem;
    let (authority, foreign) = (Authority::named("ours"), Authority::named("theirs"));
    let node = Scripted::tls([reply(200, r#"{"data":{}}"#)], server_tls(&authority.sign("127.0.0.1"), None));
    let mallory = Scripted::tls([], server_tls(&foreign.sign("127.0.0.1"), None));
    // The standby goes by another host, so that only the certificate can speak for the node.
    let standby = Scripted::tls(
        [to(node.url.as_str()), to(mallory.url.as_str())],
        server_tls(&authority.sign("localhost"), None),
    );
    let mut address = standby.url.clone();
    address.set_host(Some("localhost")).unwrap();
    let mut parts = parts(&address, approle(), &Store::with(session("s.kept", 60)));
    parts.settings.tls.certificate_authorities = vec![Pem::Inline(authority.pem.clone())];
    let vault = vault_of(parts);
    vault.call(Call::read("x")).await.unwrap();
    assert_eq!(asked(&node), ["s.kept GET /"]);
    let error = vault.call(Call::read("x")).await.unwrap_err();
    assert!(matches!(error, VaultError::Redirect { .. }), "{error:?}");
    assert!(mallory.seen().is_empty());
}

#[tokio::test]
async fn tls_is_never_left() {
    let authority = Authority::new();
    let plain = Scripted::new([]);
    let server = Scripted::tls([to(plain.url.as_str())], server_tls(&authority.sign("127.0.0.1"), None));
    let mut parts = parts(&server.url, approle(), &Store::with(session("s.kept", 60)));
    parts.settings.tls.certificate_authorities = vec![crate::config::Pem::Inline(authority.pem.clone())];
    // Not even to an address that is listed.
    parts.settings.addresses = vec![VaultAddress::Url(plain.url.clone())];
    let error = vault_of(parts).call(Call::read("x")).await.unwrap_err();
    assert_eq!(error.why().unwrap(), "it would have gone over the wire in clear");
    assert!(plain.seen().is_empty());
}

#[test]
fn nothing_goes_in_clear_to_another_machine() {
    let error = |address: &str, proxy: Option<&str>| {
        let mut parts = parts(&Url::parse(address).unwrap(), approle(), &Arc::default());
        parts.transport.vault_proxy = proxy.map(SecretString::from);
        Vault::new(parts).err().map(|error| error.to_string())
    };
    let refused = |address| Some(format!("nothing secret is sent to `{address}` without TLS"));
    assert_eq!(error("http://vault.example:8200", None), refused("http://vault.example:8200"));
    assert_eq!(error("http://10.0.0.1/prefix/", None), refused("http://10.0.0.1/prefix"));
    assert_eq!(
        error("http://127.0.0.1:8200", Some("http://proxy.example:3128")),
        refused("http://127.0.0.1:8200")
    );
    assert_eq!(error("http://127.0.0.1:8200", Some("proxy.example:3128")), refused("http://127.0.0.1:8200"));
    assert_eq!(error("http://127.0.0.1:8200", Some("http://127.0.0.1:3128")), None);
    assert_eq!(error("http://localhost:8200", None), None);
    assert_eq!(error("https://vault.example", Some("http://proxy.example:3128")), None);
}

#[tokio::test]
async fn an_unreachable_vault_is_told() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{free}")).unwrap();
    let vault = vault_of(parts(&url, approle(), &Store::with(session("s.kept", 60))));
    let error = vault.call(Call::read("x")).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach `{free}`"));
    assert_eq!(error.exit_code(), crate::error::ExitCode::Unreachable);
}

#[tokio::test]
async fn the_deadline_of_a_process_that_ends_is_one_for_all() {
    let server = Scripted::new([]);
    let mut parts = parts(&server.url, approle(), &Store::with(session("s.kept", 60)));
    parts.patience = Patience::Until(Instant::now());
    let error = vault_of(parts).call(Call::read("x")).await.unwrap_err();
    assert!(matches!(error, VaultError::Http(HttpError::Deadline { sent: false, .. })), "{error:?}");
    assert!(server.seen().is_empty());
}

#[test]
fn the_time_that_a_person_takes_does_not_count() {
    let mut parts = parts(&Url::parse("https://vault.example").unwrap(), userpass(), &Arc::default());
    let end = Instant::now();
    parts.patience = Patience::Until(end);
    let vault = vault_of(parts);
    *held(&vault.waited) = Duration::from_secs(40);
    let typed = vault.ask_person(Some(&Typist::who_types(["x"])), "a word", |person| person.ask("word: "));
    assert_eq!(typed.unwrap(), "x");
    assert!(vault.deadline() >= end + Duration::from_secs(40));
    assert!(vault.deadline() < end + Duration::from_secs(80));
}

#[cfg(unix)]
#[tokio::test]
async fn an_agents_socket_is_called_and_named() {
    use std::io::{Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4_096];
        let length = stream.read(&mut head).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"data\":{}}").unwrap();
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let url = Url::parse("http://unused").unwrap();
    let mut parts = parts(&url, approle(), &Store::with(session("s.kept", 60)));
    parts.settings.address = VaultAddress::UnixSocket(path.clone());
    let vault = vault_of(parts);
    assert_eq!(vault.origin(), format!("unix://{}", path.display()));
    vault.call(Call::read("x")).await.unwrap();
    let head = thread.join().unwrap().to_lowercase();
    assert!(head.starts_with("get /v1/x http/1.1\r\n") && head.contains("\r\nhost: localhost\r\n"), "{head}");
}
