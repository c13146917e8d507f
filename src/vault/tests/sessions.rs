//! Which session is used: kept, renewed, made anew, found; and how it is revoked.

use super::*;

fn token(session: &Session) -> &str {
    session.token.expose_secret()
}

#[tokio::test]
async fn a_good_session_is_used_without_asking_anyone() {
    let server = Scripted::new([]);
    let store = Store::with(session("s.kept", 2_300));
    let vault = vault(&server, approle(), &store);
    assert_eq!(token(&vault.session().await.unwrap()), "s.kept");
    assert!(store.log().is_empty() && server.seen().is_empty());
}

#[tokio::test]
async fn without_a_session_there_is_one_log_in_for_all_who_wait() {
    let server = Scripted::new([granted("s.new", 3_600), granted("s.second", 3_600)]);
    let store = Arc::<Store>::default();
    let vault = vault(&server, approle(), &store);
    let (one, two, three) = tokio::join!(vault.session(), vault.session(), vault.session());
    for session in [one, two, three] {
        assert_eq!(token(&session.unwrap()), "s.new");
    }
    assert_eq!(server.seen().len(), 1);
    assert_eq!(held(&store.session).as_ref().unwrap().expires_at, Some(after(3_600)));
}

#[tokio::test]
async fn who_waited_for_the_lock_uses_what_another_process_made() {
    let server = Scripted::new([]);
    let store = Arc::<Store>::default();
    *held(&store.meanwhile) = Some(session("s.other", 0));
    assert_eq!(token(&vault(&server, approle(), &store).session().await.unwrap()), "s.other");
    assert_eq!(store.log(), ["lock"]);
}

#[tokio::test]
async fn a_session_past_two_thirds_is_renewed_and_kept() {
    let server = Scripted::new([granted("s.kept", 3_600)]);
    let store = Store::with(session("s.kept", 2_500));
    let renewed = vault(&server, userpass(), &store).session().await.unwrap();
    assert_eq!((renewed.obtained_at, renewed.expires_at), (now(), Some(after(3_600))));
    assert_eq!(renewed.accessor.as_deref(), Some("acc"));
    assert_eq!(asked(&server), ["s.kept POST /v1/auth/token/renew-self {}"]);
    assert_eq!(store.log(), ["lock", "save s.kept"]);
}

#[tokio::test]
async fn a_failed_renewal_is_not_fatal_while_the_session_lives() {
    for step in [errors(403, POLICY), errors(503, "Vault is sealed"), errors(500, "x")] {
        let server = Scripted::new([step]);
        let store = Store::with(session("s.kept", 2_500));
        let noted = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&noted);
        let mut parts = parts(&server.url, userpass(), &store);
        parts.note = Arc::new(move |line| held(&sink).push(line.to_owned()));
        assert_eq!(token(&vault_of(parts).session().await.unwrap()), "s.kept");
        assert!(held(&noted)[0].starts_with("the session was not renewed: "), "{noted:?}");
    }
}

#[tokio::test]
async fn at_its_maximum_an_unattended_session_is_made_anew_and_a_persons_is_used_up() {
    // The server renews by what was left.
    let server = Scripted::new([granted("s.kept", 1_100), granted("s.new", 3_600)]);
    let store = Store::with(session("s.kept", 2_500));
    assert_eq!(token(&vault(&server, approle(), &store).session().await.unwrap()), "s.new");
    assert_eq!(store.log(), ["lock", "save s.new"]);

    let server = Scripted::new([granted("s.kept", 1_100)]);
    let store = Store::with(session("s.kept", 2_500));
    let kept = vault(&server, userpass(), &store).session().await.unwrap();
    assert_eq!(kept.expires_at, Some(after(1_100)), "its end is the old one");
    assert_eq!(store.log(), ["lock"]);
}

#[tokio::test]
async fn a_failed_log_in_is_not_fatal_while_the_old_session_lives() {
    let server = Scripted::new([errors(403, POLICY), errors(400, "invalid role or secret ID")]);
    let store = Store::with(session("s.kept", 3_590));
    assert_eq!(token(&vault(&server, approle(), &store).session().await.unwrap()), "s.kept");
    let server = Scripted::new([errors(400, "invalid role or secret ID")]);
    let store = Store::with(session("s.kept", 3_600));
    let error = vault(&server, approle(), &store).session().await.unwrap_err();
    assert!(matches!(error, VaultError::LoginRefused { status: 400, .. }), "{error:?}");
}

#[tokio::test]
async fn what_cannot_be_renewed_is_not_asked_for() {
    let server = Scripted::new([]);
    let batch = Session { renewable: false, ..session("b.kept", 2_500) };
    let store = Store::with(batch);
    assert_eq!(token(&vault(&server, userpass(), &store).session().await.unwrap()), "b.kept");
    assert!(store.log().is_empty(), "and no lock is taken for it");
}

#[tokio::test]
async fn a_persons_session_that_ended_asks_for_a_log_in() {
    let server = Scripted::new([]);
    let error =
        vault(&server, userpass(), &Store::with(session("s.kept", 3_600))).session().await.unwrap_err();
    assert_eq!(
        told(&error, &server),
        [
            "log-in to `VAULT` required",
            "no session is kept, or it has ended",
            "{program} login{profile}{vault}{config}",
            "3",
        ]
    );
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_session_without_end_stays() {
    let server = Scripted::new([granted("s.root", 0)]);
    let made = vault(&server, approle(), &Arc::default()).session().await.unwrap();
    assert_eq!(made.expires_at, None);
}

fn with_found(server: &Scripted, store: &Arc<Store>) -> Vault {
    let mut parts = parts(&server.url, AuthMethod::Token, store);
    let token = SecretString::from("s.found");
    parts.found_token = Some(FoundToken { token, from: FoundIn::Environment("VAULT_TOKEN") });
    vault_of(parts)
}

const LOOKUP: &str = r#"{"data":{"display_name":"token-ci","expire_time":"2027-01-15T09:00:00.5Z","accessor":"a.9","renewable":true}}"#;

#[tokio::test]
async fn a_found_token_is_looked_up_once_and_never_kept_or_renewed() {
    let server =
        Scripted::new([reply(200, LOOKUP), reply(200, r#"{"data":{}}"#), reply(200, r#"{"data":{}}"#)]);
    let store = Arc::<Store>::default();
    let vault = with_found(&server, &store);
    let answer = vault.call(Call::read("x")).await.unwrap();
    vault.call(Call::read("y")).await.unwrap();
    let session = answer.session;
    assert_eq!(session.expires_at.unwrap().to_rfc3339(), "2027-01-15T09:00:00.500+00:00");
    assert_eq!(session.subject.as_deref(), Some("token-ci"));
    assert!(!session.ours && !session.renewable);
    assert_eq!(
        asked(&server),
        ["s.found GET /v1/auth/token/lookup-self", "s.found GET /v1/x", "s.found GET /v1/y"]
    );
    assert!(store.log().is_empty());
    assert_eq!(vault.revoke_session().await.unwrap(), Revocation::Nothing);
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn a_found_token_that_is_dead_says_where_it_is() {
    let expected = [
        "log-in to `VAULT` required",
        "the token in `VAULT_TOKEN` has expired or was revoked",
        "log in with `vault login` or `bao login`, or set `VAULT_TOKEN`",
        "3",
    ];
    let server = Scripted::new([errors(403, DEAD)]);
    let error = with_found(&server, &Arc::default()).session().await.unwrap_err();
    assert_eq!(told(&error, &server), expected);
    let server = Scripted::new([reply(200, LOOKUP), errors(403, DEAD), errors(403, DEAD)]);
    let error = with_found(&server, &Arc::default()).call(Call::read("x")).await.unwrap_err();
    assert_eq!(told(&error, &server), expected);
}

#[tokio::test]
async fn a_found_token_that_may_not_look_itself_up_is_used() {
    let server = Scripted::new([errors(403, POLICY)]);
    let session = with_found(&server, &Arc::default()).session().await.unwrap();
    assert_eq!((session.expires_at, token(&session)), (None, "s.found"));
}

#[tokio::test]
async fn without_a_found_token_a_person_is_told_where_one_could_be() {
    let server = Scripted::new([]);
    let error = vault(&server, AuthMethod::Token, &Arc::default()).session().await.unwrap_err();
    assert_eq!(
        error.why().unwrap(),
        "there is no token in `VAULT_TOKEN` or `BAO_TOKEN`, a token helper or `~/.vault-token`"
    );
}

#[tokio::test]
async fn a_found_token_with_a_line_break_inside_is_not_sent() {
    let server = Scripted::new([]);
    let mut parts = parts(&server.url, AuthMethod::Token, &Arc::default());
    let token = SecretString::from("s.fou\nnd");
    parts.found_token = Some(FoundToken { token, from: FoundIn::Environment("VAULT_TOKEN") });
    let error = vault_of(parts).session().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value of the header `x-vault-token` holds a character that no header can carry"
    );
    assert!(server.seen().is_empty() && !format!("{error:?}").contains("fou"));
}

#[tokio::test]
async fn who_the_session_is_can_be_asked() {
    let server = Scripted::new([reply(200, LOOKUP)]);
    let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
    let lookup = vault.lookup().await.unwrap();
    assert_eq!(lookup.display_name.as_deref(), Some("token-ci"));
    assert_eq!(lookup.accessor.as_deref(), Some("a.9"));
}

#[tokio::test]
async fn a_session_is_revoked_and_forgotten() {
    let done = Step::Raw(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec());
    for (steps, expected, kept) in [
        (vec![done], Revocation::Done, false),
        (vec![errors(403, DEAD), errors(403, DEAD)], Revocation::Gone, false),
        (vec![errors(403, POLICY), reply(200, LOOKUP)], Revocation::NotAllowed, true),
    ] {
        let server = Scripted::new(steps);
        let store = Store::with(session("s.kept", 60));
        let vault = vault(&server, approle(), &store);
        assert_eq!(vault.revoke_session().await.unwrap(), expected);
        assert_eq!(server.lines()[0], "POST /v1/auth/token/revoke-self {}");
        assert_eq!(store.token().is_some(), kept, "{expected:?}");
        vault.forget_session();
        assert_eq!(store.token(), None);
        assert_eq!(vault.revoke_session().await.unwrap(), Revocation::Nothing);
    }
    let server = Scripted::new([errors(503, "Vault is sealed")]);
    let store = Store::with(session("s.kept", 60));
    let error = vault(&server, approle(), &store).revoke_session().await.unwrap_err();
    assert!(matches!(error, VaultError::Sealed { .. }));
    assert!(store.token().is_some(), "what could not be revoked can be tried again");
}

#[tokio::test]
async fn a_lease_is_revoked_or_it_is_said_why_not() {
    let done = Step::Raw(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_vec());
    for (steps, expected) in [
        (vec![done], Revocation::Done),
        (vec![errors(403, POLICY), reply(200, LOOKUP)], Revocation::NotAllowed),
        (vec![errors(400, "invalid lease")], Revocation::Gone),
    ] {
        let server = Scripted::new(steps);
        let vault = vault(&server, approle(), &Store::with(session("s.kept", 60)));
        assert_eq!(vault.revoke_lease("kubernetes/creds/ci/L").await.unwrap(), expected);
        assert_eq!(
            asked(&server)[0],
            r#"s.kept POST /v1/sys/leases/revoke {"lease_id":"kubernetes/creds/ci/L","sync":true}"#
        );
    }
}
