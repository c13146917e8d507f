//! Every method's request, and what comes of its answers.

use super::*;
use crate::config::{JwtOrigin, Name, Pem};
use crate::http::scripted::{Authority, server_tls};

async fn logged_in(auth: AuthMethod, person: &Typist) -> (Session, Vec<String>) {
    let server = Scripted::new([granted("s.new", 60)]);
    let session = vault(&server, auth, &Arc::default()).login(person).await.unwrap();
    (session, asked(&server))
}

async fn refused(auth: AuthMethod, steps: Vec<Step>, person: &Typist) -> Vec<String> {
    let server = Scripted::new(steps);
    let store = Arc::<Store>::default();
    let error = vault(&server, auth, &store).login(person).await.unwrap_err();
    assert_eq!(store.token(), None);
    told(&error, &server)
}

#[tokio::test]
async fn userpass_asks_for_what_the_settings_lack() {
    let person = Typist::who_types(["hunter2 \""]);
    let (session, asked) = logged_in(userpass(), &person).await;
    assert_eq!(asked, [r#"- POST /v1/auth/userpass/login/alice {"password":"hunter2 \""}"#]);
    assert_eq!((session.method.as_str(), session.ours), ("userpass", true));
    assert_eq!((session.obtained_at, session.expires_at), (now(), Some(after(60))));
    assert_eq!((session.subject.as_deref(), session.accessor.as_deref()), (Some("ci"), Some("a.1")));
    assert!(person.said()[0].starts_with("password of alice for http://127.0.0.1:"));

    let person = Typist::who_types([" bob ", "pw"]);
    let auth = AuthMethod::Userpass { mount: "people/eu".into(), username: None };
    let (_, asked) = logged_in(auth, &person).await;
    assert_eq!(asked, [r#"- POST /v1/auth/people/eu/login/bob {"password":"pw"}"#]);
    assert!(person.said()[0].starts_with("user name for http://127.0.0.1:"));
}

#[tokio::test]
async fn ldap_has_the_same_form() {
    let auth = AuthMethod::Ldap { mount: "ldap".into(), username: Some("a.b@corp".into()) };
    let (session, asked) = logged_in(auth, &Typist::who_types(["pw"])).await;
    assert_eq!(asked, [r#"- POST /v1/auth/ldap/login/a.b%40corp {"password":"pw"}"#]);
    assert_eq!(session.method, "ldap");
}

#[tokio::test]
async fn jwt_and_kubernetes_send_the_workloads_token() {
    let nobody = Typist::default();
    let kubernetes = AuthMethod::Kubernetes { mount: "kubernetes".into(), role: "ci".into(), identity: None };
    let (_, asked) = logged_in(kubernetes, &nobody).await;
    assert_eq!(asked, [r#"- POST /v1/auth/kubernetes/login {"role":"ci","jwt":"eyJ.jwt.sig"}"#]);
    let from = JwtOrigin::Identity(Name::parse("pod").unwrap());
    let jwt = AuthMethod::Jwt { mount: "jwt".into(), role: None, from };
    let (_, asked) = logged_in(jwt.clone(), &nobody).await;
    assert_eq!(asked, [r#"- POST /v1/auth/jwt/login {"jwt":"eyJ.jwt.sig"}"#]);

    let server = Scripted::new([]);
    let mut parts = parts(&server.url, jwt, &Arc::default());
    parts.workload = None;
    let error = vault_of(parts).session().await.unwrap_err();
    assert_eq!(
        told(&error, &server),
        [
            "the method `jwt` cannot be used",
            "no identity gives the JWT that it needs",
            "name an `identity` in `auth` of this vault",
            "2",
        ]
    );
}

fn with_secret_id(file: &std::path::Path, wrapped: bool) -> AuthMethod {
    AuthMethod::Approle {
        mount: "approle".into(),
        role_id: "r-1".into(),
        secret_id_file: Some(file.to_owned()),
        secret_id_wrapped: wrapped,
    }
}

#[tokio::test]
async fn approle_reads_its_secret_id_when_it_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret-id");
    std::fs::write(&file, "  5ec-r37\n").unwrap();
    let (_, asked) = logged_in(with_secret_id(&file, false), &Typist::default()).await;
    assert_eq!(asked, [r#"- POST /v1/auth/approle/login {"role_id":"r-1","secret_id":"5ec-r37"}"#]);
    let (_, asked) = logged_in(approle(), &Typist::default()).await;
    assert_eq!(asked, [r#"- POST /v1/auth/approle/login {"role_id":"r-1"}"#]);

    for (text, why) in [("", "it is empty"), (&*"x".repeat(70_000), "it is larger than 64 KiB")] {
        std::fs::write(&file, text).unwrap();
        let told = refused(with_secret_id(&file, false), vec![], &Typist::default()).await;
        assert_eq!(told[0], format!("the secret id in `{}` cannot be used", file.display()));
        assert_eq!(told[1], why);
        assert_eq!(told[2..], ["check `secretIdFile` in `auth` of this vault", "2"]);
    }
    #[cfg(unix)]
    {
        // Nobody will ever write into it.
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let told = refused(with_secret_id(&pipe, false), vec![], &Typist::default()).await;
        assert_eq!(told[1], "it is not a file");
    }
}

const WRAPPED: &str = r#"{"data":{"creation_path":"auth/approle/role/ci/secret-id","creation_ttl":120}}"#;

#[tokio::test]
async fn a_wrapped_secret_id_is_looked_up_before_it_is_unwrapped() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrapped");
    std::fs::write(&file, "s.wrap\n").unwrap();
    let unwrapped = r#"{"data":{"secret_id":"5ec-r37","secret_id_accessor":"x"}}"#;
    let server = Scripted::new([reply(200, WRAPPED), reply(200, unwrapped), granted("s.new", 60)]);
    let store = Arc::<Store>::default();
    vault(&server, with_secret_id(&file, true), &store).session().await.unwrap();
    assert_eq!(
        asked(&server),
        [
            r#"- POST /v1/sys/wrapping/lookup {"token":"s.wrap"}"#,
            "s.wrap POST /v1/sys/wrapping/unwrap {}",
            r#"- POST /v1/auth/approle/login {"role_id":"r-1","secret_id":"5ec-r37"}"#,
        ]
    );
}

#[tokio::test]
async fn a_wrapping_token_that_was_used_or_planted_is_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrapped");
    std::fs::write(&file, "s.wrap\n").unwrap();
    let auth = with_secret_id(&file, true);
    let spent = errors(400, "wrapping token is not valid or does not exist");
    for steps in [vec![spent.clone()], vec![reply(200, WRAPPED), spent]] {
        let told = refused(auth.clone(), steps, &Typist::default()).await;
        assert_eq!(
            told,
            [
                format!(
                    "the wrapped secret id in `{}` is no longer valid: someone has unwrapped it, or it is too old",
                    file.display()
                ),
                "wrapping token is not valid or does not exist".into(),
                "if this machine did not unwrap it, revoke that secret id; ask for a new one of `auth/approle`".into(),
                "4".into(),
            ]
        );
    }
    let server = Scripted::new([reply(200, r#"{"data":{"creation_path":"sys/wrapping/wrap"}}"#)]);
    let error = vault(&server, auth, &Arc::default()).session().await.unwrap_err();
    assert!(matches!(error, VaultError::WrappingForeign { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 1, "it is not unwrapped");
}

#[tokio::test]
async fn cert_presents_its_pair_with_every_call() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (certificate, key) = clients.sign("ci");
    let server = Scripted::tls(
        [granted("s.new", 60), reply(200, r#"{"data":{}}"#)],
        server_tls(&authority.sign("127.0.0.1"), Some(&clients)),
    );
    let pair = Some((Pem::Inline(certificate), Pem::Inline(key)));
    let auth = AuthMethod::Cert { mount: "cert".into(), role: Some("ci".into()), pair };
    let mut parts = parts(&server.url, auth, &Arc::default());
    parts.settings.tls.certificate_authorities = vec![Pem::Inline(authority.pem.clone())];
    vault_of(parts).call(Call::read("x")).await.unwrap();
    assert_eq!(asked(&server), [r#"- POST /v1/auth/cert/login {"name":"ci"}"#, "s.new GET /v1/x"]);

    let without = AuthMethod::Cert { mount: "cert".into(), role: None, pair: None };
    let told = refused(without, vec![], &Typist::default()).await;
    assert_eq!(
        told,
        [
            "the method `cert` cannot be used",
            "there is no client certificate",
            "set `certificate` and `key`, or `VAULT_CLIENT_CERT` and `VAULT_CLIENT_KEY`",
            "2",
        ]
    );
}

#[tokio::test]
async fn a_refused_log_in_names_method_mount_and_person_and_is_not_repeated() {
    let told =
        refused(userpass(), vec![errors(400, "invalid username or password")], &Typist::who_types(["x"]))
            .await;
    assert_eq!(
        told,
        [
            "`VAULT` refused the log-in of `alice` with `userpass` at `auth/userpass`",
            "invalid username or password",
            "{program} login{profile}{vault}{config}",
            "4",
        ]
    );
    let told = refused(approle(), vec![errors(403, "permission denied")], &Typist::default()).await;
    assert_eq!(
        told,
        [
            "`VAULT` refused the log-in with `approle` at `auth/approle`",
            "permission denied (which is also said where nothing is mounted there)",
            "check that `auth/approle` exists and that this identity may log in there",
            "4",
        ]
    );
    let server = Scripted::new([Step::Close, granted("s.new", 60)]);
    assert!(vault(&server, approle(), &Arc::default()).session().await.is_err());
    assert_eq!(server.seen().len(), 1, "a log-in whose fate is unknown may have locked the person out");
}

#[tokio::test]
async fn an_answer_without_a_token_is_no_log_in() {
    for (body, why) in [
        (r#"{"auth":null}"#, "it holds no `auth`"),
        (r#"{"auth":{"client_token":""}}"#, "its `client_token` is empty"),
        (r#"{"auth":{"client_token":null}}"#, "its `client_token` is empty"),
        (r#"{"wrap_info":{"token":"s.w"},"auth":null}"#, "it is wrapped, which nobody asked for"),
    ] {
        let told = refused(approle(), vec![reply(200, body)], &Typist::default()).await;
        assert_eq!(told[..2], ["the answer of `VAULT` to `auth/approle/login` cannot be used", why]);
        assert_eq!(told[3], "6");
    }
}

#[tokio::test]
async fn a_person_who_is_not_there_or_gives_up_is_told_apart() {
    let told = refused(userpass(), vec![], &Typist::default()).await;
    assert_eq!(told[1], "nobody can be asked for a password here");
    assert_eq!(told[3], "3");
    let told = refused(userpass(), vec![], &Typist::who_fails(NoAnswer::Interrupted)).await;
    assert_eq!((told[0].as_str(), told[2].as_str()), ("the log-in to `VAULT` was given up", "130"));
    let broken = Typist::who_fails(NoAnswer::Failed("input/output error".into()));
    let told = refused(userpass(), vec![], &broken).await;
    assert_eq!(told, ["the terminal cannot be used", "input/output error", "2"]);
}

fn second_factor(methods: &[(&str, &str, bool)]) -> Step {
    let constraints: serde_json::Map<_, _> = methods
        .iter()
        .map(|(kind, id, passcode)| {
            let any = serde_json::json!({"any": [{"type": kind, "id": id, "uses_passcode": passcode}]});
            (format!("need-{kind}"), any)
        })
        .collect();
    let auth = serde_json::json!({"auth": {
        "client_token": "",
        "mfa_requirement": {"mfa_request_id": "m-1", "mfa_constraints": constraints},
    }});
    reply(200, &auth.to_string())
}

#[tokio::test]
async fn every_factor_is_satisfied_in_one_request() {
    let server = Scripted::new([
        second_factor(&[("duo", "id-d", false), ("totp", "id-t", true)]),
        granted("s.new", 60),
    ]);
    let person = Typist::who_types(["pw", " 123456 "]);
    let session = vault(&server, userpass(), &Arc::default()).login(&person).await.unwrap();
    assert_eq!(session.token.expose_secret(), "s.new");
    assert_eq!(
        server.lines()[1],
        r#"POST /v1/sys/mfa/validate {"mfa_request_id":"m-1","mfa_payload":{"id-d":[],"id-t":["123456"]}}"#
    );
    assert_eq!(
        person.said()[1..],
        ["passcode (totp) for need-totp: ", "waiting for you to confirm the log-in on your other device"]
    );
}

#[tokio::test]
async fn a_wrong_passcode_may_be_typed_again_once() {
    let wrong = errors(403, "failed to satisfy enforcement e. error: ...");
    let factor = second_factor(&[("totp", "id-t", true)]);
    let server = Scripted::new([factor.clone(), wrong.clone(), granted("s.new", 60)]);
    let person = Typist::who_types(["pw", "111111", "222222"]);
    vault(&server, userpass(), &Arc::default()).login(&person).await.unwrap();
    assert_eq!(server.lines()[2], server.lines()[1].replace("111111", "222222"));
    assert_eq!(person.said()[2], "that passcode was refused; one more try");

    let person = Typist::who_types(["pw", "1", "2", "3"]);
    let told = refused(userpass(), vec![factor, wrong.clone(), wrong], &person).await;
    assert_eq!(
        told,
        [
            "`VAULT` refused the second factor of `alice`",
            "failed to satisfy enforcement e. error: ...",
            "{program} login{profile}{vault}{config}",
            "4",
        ]
    );
    assert_eq!(person.said().len(), 4);
}

#[tokio::test]
async fn without_a_person_a_push_will_do_and_a_passcode_will_not() {
    let server = Scripted::new([second_factor(&[("duo", "id-d", false)]), granted("s.new", 60)]);
    vault(&server, approle(), &Arc::default()).session().await.unwrap();
    assert_eq!(server.seen().len(), 2);
    let server = Scripted::new([second_factor(&[("totp", "id-t", true)])]);
    let error = vault(&server, approle(), &Arc::default()).session().await.unwrap_err();
    assert_eq!(told(&error, &server)[1], "nobody can be asked for a passcode here");
    assert_eq!(error.exit_code(), crate::error::ExitCode::LoginRequired);
}

#[tokio::test]
async fn what_hung_on_the_session_before_goes_before_the_new_one_is_kept() {
    let server = Scripted::new([granted("s.new", 60)]);
    let store = Arc::new(Store::default());
    let forget = || held(&store.log).push("forget".into());
    let person = Typist::who_types(["pw"]);
    vault(&server, userpass(), &store).login_after(&person, &forget).await.unwrap();
    assert_eq!(store.log(), ["forget", "save s.new"]);

    let store = Arc::new(Store::default());
    let forget = || held(&store.log).push("forget".into());
    let server = Scripted::new([errors(400, "invalid username or password")]);
    let person = Typist::who_types(["pw"]);
    vault(&server, userpass(), &store).login_after(&person, &forget).await.unwrap_err();
    assert_eq!(store.log(), [""; 0], "a log-in that fails changes nothing");
}

#[tokio::test]
async fn no_typed_secret_is_in_an_error() {
    let person = Typist::who_types(["planted"]);
    let server = Scripted::new([errors(400, "invalid username or password")]);
    let error = vault(&server, userpass(), &Arc::default()).login(&person).await.unwrap_err();
    assert!(!format!("{error:?} {error} {:?} {:?}", error.why(), error.hint()).contains("planted"));
}
