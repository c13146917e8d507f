use secrecy::SecretString;
use snapbox::{assert_data_eq, str};

use super::script::{Script, VAULT, at, jwt, now, told};
use super::*;
use crate::token::{Bound, Limit};

fn minted(secret: &str, bounds: Vec<Bound>) -> Minted {
    let warnings = vec!["capped".to_owned()];
    Minted {
        secret: SecretString::from(secret),
        bounds,
        subject: None,
        lease: None,
        warnings,
        request_id: None,
    }
}

fn no_exchange(_: &config::TokenExchange) -> Result<Exchange, Error> {
    panic!("nothing is exchanged")
}

fn no_provider(_: &Name) -> Result<oidc::Oidc, Error> {
    panic!("no provider is asked")
}

fn no_hub(_: &str) -> Result<token_request::Hub, Error> {
    panic!("no kubeconfig is needed")
}

#[test]
fn the_settings_say_which_vault_is_asked() {
    let settings = SourceSettings::VaultIdentity(config::VaultIdentity {
        vault: Some(Name::parse("corp").unwrap()),
        role: "r".into(),
    });
    let failed = Source::new(
        &settings,
        |name| Err(Error::Fault(format!("asked for {}", name.map_or("the environment's", Name::as_str)))),
        no_exchange,
        no_provider,
        no_hub,
    );
    assert_eq!(failed.err().unwrap().to_string(), "a fault of ours: asked for corp");
}

#[test]
fn warnings_come_with_the_token() {
    let fetched = fetched(VAULT, "k/creds/r", minted("opaque", Vec::new()), None, now()).unwrap();
    assert_eq!(fetched.warnings, ["capped"]);
    assert_eq!(fetched.token.usable_until, at(300));
}

#[test]
fn tokens_that_cannot_be_handed_out() {
    let unusable = |secret: &str, bounds| {
        told(&fetched(VAULT, "k/creds/r", minted(secret, bounds), None, now()).unwrap_err().into())
    };
    assert_data_eq!(
        unusable("opaque", vec![Bound { by: Limit::Session, at: at(-1) }]),
        str![[r#"
exit 6
error: profile `prod`: the token that `https://vault.example:8200` gave for `k/creds/r` cannot be used
  why: it ended at 2029-12-31 23:59:59 UTC
  try: compare the clock of this machine with the server's: `date -u`

"#]]
    );
    assert_data_eq!(
        unusable("two words", Vec::new()),
        str![[r#"
exit 6
error: profile `prod`: the token that `https://vault.example:8200` gave for `k/creds/r` cannot be used
  why: it holds a line break, a blank or another character that no bearer token has

"#]]
    );
    let later = jwt("ES256", &serde_json::json!({"nbf": at(90).timestamp()}));
    assert_data_eq!(
        unusable(&later, Vec::new()),
        str![[r#"
exit 6
error: profile `prod`: the token that `https://vault.example:8200` gave for `k/creds/r` cannot be used
  why: it is not valid before 2030-01-01 00:01:30 UTC
  try: compare the clock of this machine with the server's: `date -u`

"#]]
    );
}

#[test]
fn a_moment_beyond_time_is_the_end_of_time() {
    assert_eq!(after(now(), 60), at(60));
    assert_eq!(after(now(), u64::MAX), Timestamp::MAX_UTC);
    assert_eq!(after(now(), i64::MAX.unsigned_abs()), Timestamp::MAX_UTC);
}

#[test]
fn the_servers_words_are_one_line() {
    assert_eq!(
        words(&["1 error occurred:\n\t* a\n\n".into(), "b".into()]).unwrap(),
        "1 error occurred: * a ; b"
    );
    assert_eq!(words(&[]), None);
    assert_eq!(words(&[" ".into()]), None);
}

mod clusters {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn certificate() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap().self_signed(&key).unwrap().pem()
    }

    fn document(server: Option<&str>, pem: Option<&str>) -> DocumentCluster {
        DocumentCluster {
            server: server.map(str::to_owned),
            certificate_authority_data: pem.map(|pem| STANDARD.encode(pem)),
        }
    }

    fn asking(server: Option<&str>, pem: Option<&str>) -> Asking {
        Asking {
            server: server.map(str::to_owned),
            certificate_authority: pem.map(|pem| pem.as_bytes().to_vec()),
        }
    }

    #[test]
    fn the_authority_decides_where_both_give_one() {
        let (ours, theirs) = (certificate(), certificate());
        let (here, there) = (Some("https://a.example"), Some("https://b.example"));
        let compare =
            |ours: &str, theirs: &str| document(here, Some(ours)).compare(&asking(there, Some(theirs)));
        assert_eq!(compare(&ours, &ours), Comparison::Same, "whatever name it is reached by");
        assert_eq!(compare(&format!("{theirs}{ours}"), &ours), Comparison::Same, "while it is replaced");
        assert_eq!(
            compare(&ours, &format!("{theirs}{ours}")),
            Comparison::OtherAuthority,
            "whoever holds a certificate of the second CA could answer"
        );
        assert_eq!(compare(&ours, &theirs), Comparison::OtherAuthority);
        assert_eq!(
            document(here, Some(&ours)).compare(&asking(here, Some(&theirs))),
            Comparison::OtherAuthority,
            "the same name is not enough"
        );
        assert_eq!(
            document(here, Some("junk")).compare(&asking(there, Some(&theirs))),
            Comparison::OtherServer
        );
    }

    #[test]
    fn else_the_address_decides() {
        let compare = |ours, theirs| document(ours, None).compare(&asking(theirs, None));
        let here = Some("https://prod.example:6443");
        assert_eq!(compare(here, Some("https://PROD.example:6443/path")), Comparison::Same);
        assert_eq!(compare(Some("https://prod.example"), Some("https://prod.example:443")), Comparison::Same);
        assert_eq!(compare(here, Some("https://prod.example")), Comparison::OtherServer);
        assert_eq!(compare(here, Some("http://prod.example:6443")), Comparison::OtherServer);
        assert_eq!(compare(here, Some("nonsense")), Comparison::OtherServer);
        assert_eq!(compare(here, None), Comparison::Unknown);
        assert_eq!(compare(None, here), Comparison::Unknown);
    }
}

/// The controller mints on many threads.
#[test]
fn a_mint_may_move_between_threads() {
    fn moves<T: Send>(_: impl FnOnce(&'static Source, &'static Asking) -> T) {}
    moves(|source, asking| source.mint(asking, now));
}

#[tokio::test]
async fn a_document_whose_token_is_dead_was_not_rotated_in_time() {
    let settings = config::VaultKv {
        vault: None,
        mount: "secret".into(),
        path: "sa/prod".into(),
        field: "token".into(),
        cluster: None,
        team: None,
    };
    let fetch = async |token: &str, end: &str| {
        let answer = serde_json::json!({"data": {"metadata": {},
            "data": {"token": token, "expirationTimestamp": end, "server": "https://prod.example"}}});
        let script = Script::new().on("GET secret/data/sa/prod", 200, answer);
        document(&script, &settings, &Asking::default(), now).await
    };
    let error = fetch("opaque", "2029-12-31T23:59:00Z").await.unwrap_err();
    assert_data_eq!(
        told(&error),
        str![[r#"
exit 6
error: profile `prod`: the token in `secret/sa/prod` of `https://vault.example:8200` is already dead: its rotation is late
  why: it ended at 2029-12-31T23:59:00Z
  try: see why whoever rotates `secret/sa/prod` has not written a new version

"#]]
    );
    let error = fetch("two words", "2030-01-01T01:00:00Z").await.unwrap_err();
    assert_data_eq!(
        told(&error),
        str![[r#"
exit 6
error: profile `prod`: the token that `https://vault.example:8200` gave for `secret/sa/prod` cannot be used
  why: it holds a line break, a blank or another character that no bearer token has

"#]]
    );
    let fetched = fetch("opaque", "2030-01-01T01:00:00Z").await.unwrap();
    assert_eq!(fetched.document.unwrap().server.as_deref(), Some("https://prod.example"));
    assert_eq!(fetched.token.usable_until, at(3_600));
}

mod over_http {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::{
        AuthMethod, NamedBy, TlsSettings, Transport, VaultAddress, VaultKubernetes, VaultKv, VaultSettings,
    };
    use crate::http::scripted::{Scripted, Step, reply};
    use crate::vault::session::{Session, SessionKey, SessionStore};
    use crate::vault::{FoundIn, FoundToken, Parts, Patience};

    struct NoStore;

    impl SessionStore for NoStore {
        fn load(&self, _: &SessionKey) -> Option<Session> {
            None
        }
        fn save(&self, _: &SessionKey, _: &Session) {}
        fn remove(&self, _: &SessionKey) {}
        fn lock(&self, _: &SessionKey) -> Option<Box<dyn Send>> {
            None
        }
    }

    fn lookup() -> Step {
        reply(200, r#"{"data": {"expire_time": "2030-01-01T02:00:00Z", "renewable": true}}"#)
    }

    fn source(settings: &SourceSettings, server: &Scripted) -> Source {
        let parts = Parts {
            settings: VaultSettings {
                name: None,
                named_by: NamedBy::Settings,
                address: VaultAddress::Url(server.url.clone()),
                addresses: Vec::new(),
                namespace: None,
                tls: TlsSettings::default(),
                auth: AuthMethod::Token,
            },
            transport: Transport::default(),
            sessions: Arc::new(NoStore),
            session_key: SessionKey("test".into()),
            workload: None,
            found_token: Some(FoundToken {
                token: SecretString::from("s.found"),
                from: FoundIn::Environment("VAULT_TOKEN"),
            }),
            clock: now,
            patience: Patience::Until(Instant::now() + Duration::from_secs(10)),
            note: Arc::new(|_| {}),
        };
        Source::new(settings, |_| Ok(Arc::new(Vault::new(parts)?)), no_exchange, no_provider, no_hub).unwrap()
    }

    #[tokio::test]
    async fn a_document_is_read_with_the_session() {
        let document = r#"{"data": {"data": {"token": "opaque"}, "metadata": {"created_time": ""}}}"#;
        let server = Scripted::new([lookup(), reply(200, document)]);
        let settings = SourceSettings::VaultKv(VaultKv {
            vault: None,
            mount: "secret".into(),
            path: "sa/{cluster}".into(),
            field: "token".into(),
            cluster: Some("prod eu".into()),
            team: None,
        });
        let source = source(&settings, &server);
        let fetched = source.mint(&Asking::default(), now).await.unwrap();
        assert_eq!(fetched.token.usable_until, at(300));
        assert_eq!(server.lines(), ["GET /v1/auth/token/lookup-self", "GET /v1/secret/data/sa/prod%20eu"]);
        let lease = Lease { id: "l".into(), ends_token: None };
        assert_eq!(source.revoke(&lease).await.unwrap(), Revocation::Nothing);
    }

    #[tokio::test]
    async fn a_cluster_token_is_minted_and_its_lease_revoked() {
        let token = jwt("RS256", &serde_json::json!({"exp": at(3_600).timestamp()}));
        let credential = format!(
            r#"{{"lease_id": "k/creds/r/1", "lease_duration": 3600, "data": {{"service_account_name": "a",
                "service_account_namespace": "n", "service_account_token": "{token}"}}}}"#
        );
        let missing = r#"{"errors": ["role 'r' does not exist"]}"#;
        let server = Scripted::new([lookup(), reply(200, &credential), reply(204, ""), reply(400, missing)]);
        let settings = SourceSettings::VaultKubernetes(VaultKubernetes {
            vault: None,
            mount: "k".into(),
            role: "r".into(),
            namespace: None,
            ttl: None,
            audiences: Vec::new(),
            cluster_role_binding: false,
        });
        let source = source(&settings, &server);
        let token = source.mint(&Asking::default(), now).await.unwrap().token;
        assert_eq!(token.usable_until, at(3_600));
        let lease = token.lease.unwrap();
        assert_eq!(source.revoke(&lease).await.unwrap(), Revocation::Done);
        let error = source.mint(&Asking::default(), now).await.unwrap_err();
        assert!(error.to_string().ends_with("has no role `r` in `k`"), "{error}");
        assert_eq!(server.seen()[1].header("x-vault-token"), Some("s.found"));
        assert_eq!(server.lines()[1], "POST /v1/k/creds/r {}");
    }
}
