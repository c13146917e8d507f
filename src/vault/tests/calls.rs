//! Calls: what goes out, what comes back, and what a 403 means.

use super::*;

#[derive(Debug, serde::Deserialize, PartialEq)]
struct Creds {
    service_account_token: String,
}

#[tokio::test]
async fn a_call_carries_the_session_and_brings_the_whole_answer() {
    let server = Scripted::new([reply(
        200,
        r#"{"request_id":"q-1","lease_id":"kubernetes/creds/ci/L","renewable":false,"lease_duration":900,
           "data":{"service_account_token":"eyJ"},"warnings":["ttl of 2h0m0s is\n\u001b[31mcapped"],"auth":null,"wrap_info":null}"#,
    )]);
    let store = Store::with(session("s.kept", 60));
    let mut parts = parts(&server.url, approle(), &store);
    parts.settings.namespace = Some("team/a".into());
    let vault = vault_of(parts);
    let path = path::join(&["kubernetes", "creds", "ci"]).unwrap();
    let answer = vault.call(Call::write(&path, serde_json::json!({"ttl": "15m"}))).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.request_id.as_deref(), Some("q-1"));
    assert_eq!(answer.lease_id.as_deref(), Some("kubernetes/creds/ci/L"));
    assert_eq!((answer.lease_duration, answer.renewable), (900, false));
    assert_eq!(answer.warnings, ["ttl of 2h0m0s is \u{fffd}[31mcapped"]);
    assert_eq!(answer.session.expires_at, Some(after(3_540)));
    assert_eq!(answer.data::<Creds>().unwrap(), Creds { service_account_token: "eyJ".into() });
    assert_eq!(asked(&server), [r#"s.kept POST /v1/kubernetes/creds/ci {"ttl":"15m"}"#]);
    let seen = server.seen();
    assert_eq!(seen[0].header("x-vault-request"), Some("true"));
    assert_eq!(seen[0].header("x-vault-namespace"), Some("team/a"));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].header("user-agent"), Some(concat!("kubectl-vaulttoken/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn each_operation_has_its_method_and_a_prefix_is_kept() {
    let server = Scripted::new(vec![reply(200, r#"{"data":null}"#); 4]);
    let store = Store::with(session("s.kept", 60));
    let mut address = server.url.clone();
    address.set_path("/prefix");
    let vault = vault_of(parts(&address, approle(), &store));
    for operation in [Operation::Read, Operation::Write, Operation::List, Operation::Delete] {
        vault.call(Call { operation, path: "x/a%20b", body: None, repeatable: true }).await.unwrap();
    }
    assert_eq!(
        server.lines(),
        [
            "GET /prefix/v1/x/a%20b",
            "POST /prefix/v1/x/a%20b",
            "GET /prefix/v1/x/a%20b?list=true",
            "DELETE /prefix/v1/x/a%20b",
        ]
    );
    assert_eq!(vault.origin(), address.as_str());
}

#[tokio::test]
async fn a_path_that_a_url_would_change_is_not_sent() {
    let server = Scripted::new([]);
    let store = Store::with(session("s.kept", 60));
    let vault = vault(&server, approle(), &store);
    for path in ["kubernetes/../sys/seal", "a/%2e%2e/b", "a?list=true", "a#b", "a\nb"] {
        let error = vault.call(Call::read(path)).await.unwrap_err();
        assert!(matches!(error, VaultError::Path { .. }), "{path}: {error:?}");
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn an_empty_answer_is_one_and_a_missing_thing_keeps_its_body() {
    let server = Scripted::new([
        Step::Raw(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec()),
        reply(404, r#"{"errors":[],"data":{"metadata":{"destroyed":true}}}"#),
        errors(404, "no handler for route \"x\""),
    ]);
    let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
    let empty = vault.call(Call::read("x")).await.unwrap();
    assert_eq!(empty.status, 204);
    let error = empty.data::<Creds>().unwrap_err();
    assert_eq!(told(&error, &server)[..2], ["the answer of `VAULT` to `x` cannot be used", "it is empty"]);
    let missing = vault.call(Call::read("x")).await.unwrap();
    assert_eq!((missing.status, missing.messages().len()), (404, 0));
    assert!(missing.data::<serde_json::Value>().unwrap()["metadata"]["destroyed"].as_bool().unwrap());
    assert_eq!(vault.call(Call::read("x")).await.unwrap().messages(), ["no handler for route \"x\""]);
}

#[tokio::test]
async fn data_of_another_form_is_named_without_quoting_it() {
    let server = Scripted::new([reply(200, r#"{"data":{"service_account_token":{"planted":"secret"}}}"#)]);
    let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
    let answer = vault.call(Call::read("x")).await.unwrap();
    let error = answer.data::<Creds>().unwrap_err();
    assert_eq!(error.why().unwrap(), "its `data` has another form than expected (column 33)");
    assert!(!format!("{answer:?} {error:?}").contains("planted"));
}

#[tokio::test]
async fn a_refused_call_names_path_and_capability() {
    let server = Scripted::new([errors(403, POLICY), reply(200, r#"{"data":{}}"#)]);
    let store = Store::with(session("s.kept", 60));
    let vault = vault(&server, approle(), &store);
    let error = vault.call(Call::write("kubernetes/creds/ci", serde_json::json!({}))).await.unwrap_err();
    assert_eq!(
        told(&error, &server),
        [
            "`VAULT` denied to write to `kubernetes/creds/ci`",
            "1 error occurred: * permission denied",
            "ask for a policy with `path \"kubernetes/creds/ci\" { capabilities = [\"update\"] }`",
            "4",
        ]
    );
    assert_eq!(
        asked(&server),
        ["s.kept POST /v1/kubernetes/creds/ci {}", "s.kept GET /v1/auth/token/lookup-self"]
    );
    assert_eq!(store.token().as_deref(), Some("s.kept"), "a good session stays");
}

#[tokio::test]
async fn a_session_that_may_not_look_itself_up_is_not_taken_for_dead() {
    let server = Scripted::new([errors(403, POLICY), errors(403, POLICY)]);
    let store = Store::with(session("s.kept", 60));
    let error = vault(&server, approle(), &store).call(Call::read("x")).await.unwrap_err();
    assert!(matches!(error, VaultError::Denied { .. }));
    assert_eq!(store.token().as_deref(), Some("s.kept"));
}

#[tokio::test]
async fn a_dead_session_is_replaced_once_by_one_log_in() {
    for dead in [
        DEAD,
        "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
        "1 error occurred:\n\t* invalid token\n\n",
    ] {
        let server = Scripted::new([
            errors(403, dead),
            errors(403, dead),
            granted("s.new", 3_600),
            reply(200, r#"{"data":{}}"#),
        ]);
        // However young it is.
        let store = Store::with(session("s.dead", 0));
        let answer = vault(&server, approle(), &store).call(Call::read("x")).await.unwrap();
        assert_eq!(answer.session.token.expose_secret(), "s.new");
        assert_eq!(
            asked(&server),
            [
                "s.dead GET /v1/x",
                "s.dead GET /v1/auth/token/lookup-self",
                r#"- POST /v1/auth/approle/login {"role_id":"r-1"}"#,
                "s.new GET /v1/x",
            ]
        );
        assert_eq!(store.log(), ["lock", "remove", "save s.new"]);
    }
}

#[tokio::test]
async fn a_session_made_for_the_call_is_not_replaced_again() {
    let server = Scripted::new([granted("s.new", 3_600), errors(403, DEAD)]);
    let error = vault(&server, approle(), &Arc::default()).call(Call::read("x")).await.unwrap_err();
    assert!(matches!(error, VaultError::Denied { .. }));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn what_another_process_logged_in_is_used_in_place_of_a_dead_session() {
    let server = Scripted::new([errors(403, DEAD), errors(403, DEAD), reply(200, r#"{"data":{}}"#)]);
    let store = Store::with(session("s.dead", 60));
    *held(&store.meanwhile) = Some(session("s.other", 1));
    let answer = vault(&server, approle(), &store).call(Call::read("x")).await.unwrap();
    assert_eq!(answer.session.token.expose_secret(), "s.other");
    assert_eq!(store.log(), ["lock"]);
}

#[tokio::test]
async fn where_only_a_person_can_log_in_a_dead_session_says_so() {
    let server = Scripted::new([errors(403, DEAD), errors(403, DEAD)]);
    let store = Store::with(session("s.dead", 60));
    let error = vault(&server, userpass(), &store).call(Call::read("x")).await.unwrap_err();
    assert_eq!(
        told(&error, &server),
        [
            "log-in to `VAULT` required",
            "the session was revoked, or has ended",
            "{program} login{profile}{vault}{config}",
            "3"
        ]
    );
    assert_eq!(store.token(), None, "it is dropped");
}

#[tokio::test]
async fn other_refusals_are_told_with_the_servers_words() {
    let cases = [
        (400, "role 'nope' does not exist"),
        (405, "1 error occurred:\n\t* unsupported operation\n\n"),
        (500, "failed to create a service account token for test/ci: not found"),
        (412, "missing \"X-Vault-Request\" header"),
    ];
    for (status, message) in cases {
        let server = Scripted::new([errors(status, message)]);
        let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
        let error = vault.call(Call::write("x", serde_json::json!({}))).await.unwrap_err();
        assert_eq!(
            told(&error, &server),
            [
                format!("`VAULT` rejected the call to `x` with status {status}"),
                crate::error::printable(message),
                "4".into(),
            ]
        );
        assert_eq!(server.seen().len(), 1, "{status} is not repeated");
    }
}

#[tokio::test]
async fn nothing_secret_is_shown_by_debug() {
    let server = Scripted::new([reply(200, r#"{"data":{"token":"planted"}}"#)]);
    let vault = vault(&server, approle(), &Store::with(session("planted", 60)));
    let call = Call::write("x", serde_json::json!({"jwt": "planted"}));
    assert!(!format!("{call:?}").contains("planted"));
    let answer = vault.call(call).await.unwrap();
    assert!(!format!("{vault:?} {answer:?} {:?}", answer.session).contains("planted"));
}
