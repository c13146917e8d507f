//! Every way to log in, at the real server: the unattended ones log in by themselves on a miss, the
//! others end with the command that does, and that command works from a pipe and at a terminal.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use ring::hmac;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::engine::{self, Engine, corp, home_with, subject};
use crate::home::{Home, exec_info};
use crate::rig::{Authority, Cluster, Double, Issuer, Reply, Vault, unique};

/// Gets a token without anybody's help, and makes sure whose it is.
#[track_caller]
fn gets_a_token(home: &Home, engine: &Engine) {
    let token = home.get_token(&[], Some(&exec_info("v1", None))).quiet().token();
    assert_eq!(subject(Cluster::shared(), &token).as_deref(), Some(engine.reader().as_str()));
}

/// How often somebody logged in at `mount`.
fn log_ins(mount: &str) -> usize {
    let path = format!("auth/{mount}/login");
    let log = Vault::shared().audit_log();
    let is_log_in = |entry: &&Value| {
        entry["type"] == "response"
            && entry["request"]["path"].as_str().is_some_and(|at| at.starts_with(&path))
    };
    log.iter().filter(is_log_in).count()
}

// --- token

#[test]
fn a_token_is_found_where_the_commands_of_both_products_find_it() {
    let (engine, root) = (engine::shared(), Vault::shared().root());
    let home = home_with(&engine, "reader", None);
    let (good, dead) = (engine.vault_token(&root), "s.nobody-knows-this-one");
    home.plant(&good);
    let refused = home.get_token(&[], None);
    assert!(refused.failed(3).contains("`vault login` or `bao login`"), "{refused:?}");

    // The file, where nothing else is there.
    let file = home.write_secret(".vault-token", &format!("{good}\n"));
    gets_a_token(&home, &engine);
    // A helper goes before the file.
    std::fs::write(&file, dead).unwrap();
    let helper = home
        .write("helper", &format!("#!/bin/sh\n[ \"$1\" = get ] && cat {}\n", home.path("held").display()));
    std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o700)).unwrap();
    home.write_secret("held", &good);
    home.write(".vault", &format!("token_helper = \"{}\"\n", helper.display()));
    gets_a_token(&home, &engine);
    // A variable goes before the helper, and OpenBao's, even an empty one, before Vault's.
    home.set("VAULT_TOKEN", dead);
    let run = home.get_token(&[], None);
    assert!(run.failed(3).contains("the token in `VAULT_TOKEN` has expired or was revoked"), "{run:?}");
    home.set("BAO_TOKEN", &good);
    gets_a_token(&home, &engine);
    home.set("BAO_TOKEN", "").set("VAULT_TOKEN", dead);
    gets_a_token(&home, &engine);
}

#[test]
fn a_token_that_a_person_pastes_is_kept_and_never_revoked() {
    let (engine, root) = (engine::shared(), Vault::shared().root());
    let home = home_with(&engine, "reader", None);
    let token = engine.vault_token(&root);
    home.plant(&token);
    home.run_with_input(&["login"], &format!("{token}\n")).succeeded();
    gets_a_token(&home, &engine);
    let run = home.run(&["logout"]).succeeded();
    assert!(run.stdout.contains("prod: "), "{run:?}");
    assert_eq!(Vault::shared().session(&token).read("auth/token/lookup-self")["ttl"].is_number(), true);
    assert_eq!(home.get_token(&[], None).code, 3);
}

// --- name and password

fn home_with_password(engine: &Engine, password: &str, username: bool) -> (Home, String) {
    let (root, mount) = (Vault::shared().root(), unique("userpass"));
    root.enable_auth("userpass", &mount);
    root.userpass_user(&mount, "alice", password, &[&engine.policy]);
    let mut auth = json!({"userpass": {"mount": mount}});
    if username {
        auth["userpass"]["username"] = json!("alice");
    }
    let home = home_with(engine, "reader", Some(&auth));
    home.plant(password);
    (home, mount)
}

#[test]
fn a_password_comes_through_a_pipe() {
    let engine = engine::shared();
    let (home, mount) = home_with_password(&engine, "correct horse", true);
    let run = home.get_token(&[], Some(&exec_info("v1", None)));
    assert!(run.failed(3).contains("try: kubectl-vaulttoken login prod\n"), "{run:?}");
    let wrong = home.run_with_input(&["login"], "battery staple\n");
    assert_eq!(wrong.code, 4, "{wrong:?}");
    assert!(wrong.stderr.contains("refused the log-in of `alice` with `userpass`"), "{wrong:?}");
    let nothing = home.run(&["login"]);
    assert_eq!(nothing.code, 130, "{nothing:?}");
    let run = home.run_with_input(&["login"], "correct horse\n").succeeded();
    assert!(
        run.stderr.contains(&format!("as {mount}-alice until ")) || run.stderr.contains("alice until "),
        "{run:?}"
    );
    assert!(run.stderr.contains("prod: a token for "), "the first token is fetched: {run:?}");
    gets_a_token(&home, &engine);
}

#[test]
fn name_and_method_can_be_said_by_flags() {
    let engine = engine::shared();
    let (home, mount) = home_with_password(&engine, "correct horse", false);
    home.run_with_input(&["login", "--username", "alice"], "correct horse\n").succeeded();
    home.run(&["logout"]).succeeded();
    // Asked for, one line each.
    home.run_with_input(&["login"], "alice\ncorrect horse\n").succeeded();
    home.run(&["logout"]).succeeded();
    let token_home = home_with(&engine, "reader", None);
    token_home.plant("correct horse");
    let flags = ["login", "--method=userpass", "--mount", &mount, "--username=alice"];
    token_home.run_with_input(&flags, "correct horse\n").succeeded();
    gets_a_token(&token_home, &engine);
}

#[test]
fn a_terminal_does_not_show_the_password_and_is_left_as_it_was() {
    let engine = engine::shared();
    let (home, _) = home_with_password(&engine, "correct horse", true);
    let mut terminal = home.at_terminal(&["login"]);
    terminal.wait_for("password of alice for ");
    terminal.wait_for_silence();
    // A slip, taken back with Backspace, and a whole line with Ctrl-U.
    terminal.type_text("battery\u{15}correct horsx\u{7f}e\r");
    let ended = terminal.end();
    home.showed(&ended.shown);
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert!(!ended.shown.contains("battery"), "{ended:?}");
    gets_a_token(&home, &engine);
}

#[test]
fn control_c_at_a_prompt_gives_up_and_leaves_the_terminal_as_it_was() {
    let engine = engine::shared();
    let (home, mount) = home_with_password(&engine, "correct horse", true);
    let mut terminal = home.at_terminal(&["login"]);
    terminal.wait_for("password of alice for ");
    terminal.wait_for_silence();
    terminal.type_text("half a pass\u{3}");
    let ended = terminal.end();
    assert_eq!((ended.code, ended.restored), (Some(130), true), "{ended:?}");
    assert!(!ended.shown.contains("half"), "{ended:?}");
    assert_eq!(log_ins(&mount), 0);
}

#[test]
fn a_termination_at_a_prompt_leaves_the_terminal_as_it_was() {
    let engine = engine::shared();
    let (home, _) = home_with_password(&engine, "correct horse", true);
    let terminal = home.at_terminal(&["login"]);
    terminal.wait_for("password of alice for ");
    terminal.wait_for_silence();
    terminal.signal(Signal::TERM);
    let ended = terminal.end();
    assert_eq!((ended.code, ended.restored), (Some(143), true), "{ended:?}");
}

#[test]
fn an_interrupt_ends_a_visible_question_too() {
    let engine = engine::shared();
    let (home, _) = home_with_password(&engine, "correct horse", false);
    let terminal = home.at_terminal(&["login"]);
    terminal.wait_for("user name for ");
    // A terminal in its usual mode makes this signal of Ctrl-C.
    terminal.signal(Signal::INT);
    let ended = terminal.end();
    assert_eq!((ended.code, ended.restored), (Some(130), true), "{ended:?}");
}

// --- a second factor

/// The code of RFC 6238 for this moment, as an authenticator app shows it: SHA-1, six digits, 30 s.
fn passcode(secret: &[u8], now: SystemTime) -> String {
    let step = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() / 30;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// RFC 4648 base32, as the address of a TOTP secret writes it.
fn base32(text: &str) -> Vec<u8> {
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for letter in text.trim_end_matches('=').bytes() {
        let value = if letter.is_ascii_digit() { letter - b'2' + 26 } else { letter - b'A' };
        held = (held << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).unwrap());
        }
    }
    bytes
}

#[test]
fn the_codes_of_the_test_are_those_of_the_standard() {
    // RFC 6238, appendix B: of eight digits the last six.
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let secret = base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    assert_eq!(secret, b"12345678901234567890");
    assert_eq!(passcode(&secret, at(59)), "287082");
    assert_eq!(passcode(&secret, at(1_111_111_109)), "081804");
}

#[test]
fn a_second_factor_is_asked_for_and_may_be_mistyped_once() {
    let (engine, root) = (engine::shared(), Vault::shared().root());
    let (home, mount) = home_with_password(&engine, "correct horse", true);
    let anonymous = Vault::shared().anonymous();
    let body = json!({"password": "correct horse"});
    let alice = anonymous.log_in(&format!("auth/{mount}/login/alice"), &body);
    let entity = alice.read("auth/token/lookup-self")["entity_id"].as_str().unwrap().to_owned();
    let options = json!({"issuer": "rig", "period": 30, "algorithm": "SHA1", "digits": 6, "key_size": 20});
    let method =
        root.write("identity/mfa/method/totp", &options)["data"]["method_id"].as_str().unwrap().to_owned();
    let generate = json!({"method_id": method, "entity_id": entity});
    let answer = root.write("identity/mfa/method/totp/admin-generate", &generate);
    let url = answer["data"]["url"].as_str().unwrap();
    let secret = base32(url.split("secret=").nth(1).unwrap().split('&').next().unwrap());
    let accessor = root.read(&format!("sys/auth/{mount}"))["accessor"].take();
    let enforcement = json!({"mfa_method_ids": [method], "auth_method_accessors": [accessor]});
    root.write(&format!("identity/mfa/login-enforcement/{mount}"), &enforcement);

    let wrong = home.run_with_input(&["login"], "correct horse\n000000\n000000\n");
    assert_eq!(wrong.code, 4, "{wrong:?}");
    // A code counts once, so the right one is not tried before.
    let code = passcode(&secret, SystemTime::now());
    let mut terminal = home.at_terminal(&["login"]);
    terminal.wait_for("password of alice");
    terminal.wait_for_silence();
    terminal.type_text("correct horse\r");
    terminal.wait_for("passcode (totp) for ");
    terminal.wait_for_silence();
    terminal.type_text("000000\r");
    terminal.wait_for("that passcode was refused; one more try");
    terminal.wait_for_silence();
    terminal.type_text(&format!("{code}\r"));
    let ended = terminal.end();
    home.showed(&ended.shown);
    assert_eq!((ended.code, ended.restored), (Some(0), true), "{ended:?}");
    assert!(!ended.shown.contains(&code), "{ended:?}");
    gets_a_token(&home, &engine);
}

// --- approle

#[test]
fn an_approle_logs_in_by_itself() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("approle"));
    root.enable_auth("approle", &mount);
    let (role_id, secret_id) = root.approle(&mount, "job", &[&engine.policy]);
    let auth = json!({"approle": {"mount": mount, "roleId": role_id, "secretIdFile": "secret-id"}});
    let home = home_with(&engine, "reader", Some(&auth));
    // Relative to the settings file.
    home.write_secret(".config/vaulttoken/secret-id", &format!("{secret_id}\n"));
    gets_a_token(&home, &engine);
    gets_a_token(&home, &engine);
    home.run(&["refresh"]).succeeded();
    assert_eq!(log_ins(&mount), 1, "one session serves all calls");
    let status = home.run(&["status", "--output=json"]).json();
    assert_eq!(status["items"][0]["session"]["method"], "approle");
}

#[test]
fn a_wrapped_secret_id_is_unwrapped_once_and_a_spent_one_is_an_alarm() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("approle"));
    root.enable_auth("approle", &mount);
    let (role_id, _) = root.approle(&mount, "job", &[&engine.policy]);
    let path = format!("auth/{mount}/role/job/secret-id");
    // Wrapping is asked for by a header, which only the raw call can send.
    let wrap = |path: &str| {
        let options = [
            ("X-Vault-Wrap-TTL", "120"),
            ("X-Vault-Request", "true"),
            ("X-Vault-Token", root.token.as_deref().unwrap()),
        ];
        let url = format!("{}/v1/{path}", Vault::shared().address);
        let answer = Vault::shared().authority.ask_with("PUT", &url, &options, &json!({})).unwrap();
        answer.json["wrap_info"]["token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
    };
    let auth = json!({"approle": {
        "mount": mount, "roleId": role_id, "secretIdFile": "wrapped", "secretIdWrapped": true,
    }});
    let home = home_with(&engine, "reader", Some(&auth));
    home.write_secret(".config/vaulttoken/wrapped", &wrap(&path));
    gets_a_token(&home, &engine);

    // Another home finds the same token: somebody was quicker.
    let late = home_with(&engine, "reader", Some(&auth));
    let token = std::fs::read_to_string(home.path(".config/vaulttoken/wrapped")).unwrap();
    late.write_secret(".config/vaulttoken/wrapped", &token);
    let run = late.get_token(&[], None);
    assert!(run.failed(4).contains("someone has unwrapped it"), "{run:?}");
    assert!(run.stderr.contains("revoke that secret id"), "{run:?}");

    // What was wrapped elsewhere is not unwrapped at all.
    let foreign = wrap("sys/wrapping/wrap");
    late.write_secret(".config/vaulttoken/wrapped", &foreign);
    let run = late.get_token(&[], None);
    assert!(run.failed(4).contains("is no secret id of"), "{run:?}");
    let lookup = root.call("PUT", "sys/wrapping/lookup", &json!({"token": foreign}));
    assert!(lookup.is_success(), "it is still whole: {}", lookup.text);
}

// --- workloads

#[test]
fn a_service_account_of_the_cluster_logs_in_by_itself() {
    let (engine, vault, cluster) = (engine::shared(), Vault::shared(), Cluster::shared());
    let (root, mount) = (vault.root(), unique("pods"));
    let namespace = cluster.namespace("pods");
    cluster.service_account(&namespace, "pod");
    root.enable_auth("kubernetes", &mount);
    root.kubernetes_auth(&mount, cluster);
    root.kubernetes_auth_role(&mount, "app", (&namespace, "pod"), &[&engine.policy]);
    let home = Home::new();
    let file = home.write_secret("mounted/token", &cluster.token_for((&namespace, "pod"), 600, &[]));
    let auth = json!({"kubernetes": {"mount": mount, "role": "app", "identity": "pod"}});
    home.settings(&json!({
        "vaults": corp(vault, Some(&auth)),
        "identities": {"pod": {"kubernetes": {"path": file}}},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    gets_a_token(&home, &engine);
    // The kubelet replaces the file; whose token it is stays the same, and so does the session.
    home.write_secret("mounted/token", &cluster.token_for((&namespace, "pod"), 700, &[]));
    home.run(&["refresh"]).succeeded();
    assert_eq!(log_ins(&mount), 1);
}

/// A jwt method that trusts `issuer` for the audience `vault`, and a home that logs in with `identity`.
fn home_with_jwt(engine: &Engine, issuer: &Issuer, identity: &Value) -> (Home, String) {
    let (root, mount) = (Vault::shared().root(), unique("jwt"));
    root.enable_auth("jwt", &mount);
    root.jwt_trust(&mount, issuer);
    root.jwt_role(&mount, "job", "vault", &[&engine.policy]);
    let home = Home::new();
    let auth = json!({"jwt": {"mount": mount, "role": "job", "identity": "me"}});
    home.settings(&json!({
        "vaults": corp(Vault::shared(), Some(&auth)),
        "identities": {"me": identity},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    (home, mount)
}

#[test]
fn a_jwt_in_a_file_logs_in() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    let (home, mount) = home_with_jwt(&engine, &issuer, &json!({"file": {"path": "/nowhere"}}));
    let missing = home.get_token(&[], None);
    assert!(missing.failed(missing.code).contains("`/nowhere`"), "{missing:?}");
    assert_eq!((missing.code, log_ins(&mount)), (6, 0), "{missing:?}");
    let (home, _) = home_with_jwt(&engine, &issuer, &json!({"file": {"path": "jwt"}}));
    home.write_secret(
        ".config/vaulttoken/jwt",
        &format!("{}\n", issuer.token("job-1", "vault", &Value::Null)),
    );
    gets_a_token(&home, &engine);
    // For another audience, and of another issuer: the server's own words.
    for token in [
        issuer.token("job-1", "elsewhere", &Value::Null),
        Issuer::new().token("job-1", "vault", &Value::Null),
    ] {
        let (home, _) = home_with_jwt(&engine, &issuer, &json!({"file": {"path": "jwt"}}));
        home.write_secret(".config/vaulttoken/jwt", &token);
        let run = home.get_token(&[], None);
        assert!(run.failed(4).contains("refused the log-in"), "{run:?}");
    }
}

#[test]
fn a_jwt_in_a_variable_logs_in() {
    let (engine, issuer) = (engine::shared(), Issuer::new());
    for (identity, variable) in [
        (json!({"env": {"variable": "MY_JWT"}}), "MY_JWT"),
        (json!({"gitlab": {}}), "VAULT_ID_TOKEN"),
        (json!({"gitlab": {"variable": "OTHER_ID_TOKEN"}}), "OTHER_ID_TOKEN"),
    ] {
        let (home, mount) = home_with_jwt(&engine, &issuer, &identity);
        let run = home.get_token(&[], None);
        assert!(run.failed(6).contains(variable), "{run:?}");
        let job = issuer.token("project_path:team/app", "vault", &Value::Null);
        home.plant(&job);
        home.set(variable, &job);
        gets_a_token(&home, &engine);
        assert_eq!(log_ins(&mount), 1);
    }
}

/// The answers follow GitHub's "OpenID Connect reference", section on requesting the JWT: a GET of the
/// runner's address with `audience` added, and its token as bearer; the JWT is the answer's `value`.
#[test]
fn a_job_of_github_actions_logs_in() {
    let (engine, issuer, service) = (engine::shared(), Issuer::new(), Authority::new("actions"));
    let jwt = issuer.token("repo:team/app:ref:refs/heads/main", "vault", &Value::Null);
    let value = jwt.clone();
    let double = Double::https(&service, &[], move |seen| {
        if seen
            .header("authorization")
            .is_some_and(|bearer| bearer.eq_ignore_ascii_case("bearer runner-token"))
            && seen.path == "/token?api-version=2.0&audience=vault"
        {
            Reply::json(200, &json!({"value": value}))
        } else {
            Reply::text(401, "text/plain", "unauthorized")
        }
    });
    let identity = json!({"githubActions": {"audience": "vault"}});
    let (home, mount) = home_with_jwt(&engine, &issuer, &identity);
    home.plant(&jwt);
    home.plant("runner-token");
    let outside = home.get_token(&[], None);
    assert!(outside.failed(6).contains("ACTIONS_ID_TOKEN_REQUEST_"), "{outside:?}");
    home.set("ACTIONS_ID_TOKEN_REQUEST_URL", &format!("{}/token?api-version=2.0", double.address));
    home.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "runner-token");
    home.set("SSL_CERT_FILE", &service.file.display().to_string());
    gets_a_token(&home, &engine);
    assert_eq!((double.seen().len(), log_ins(&mount)), (1, 1));
}

#[test]
fn an_identity_of_one_vault_logs_in_to_another() {
    let (vault, other) = (Vault::shared(), Vault::other());
    // At the first: a job with an identity for the audience `vault`.
    let (root, name) = (vault.root(), unique("issuing"));
    root.enable_auth("approle", &name);
    root.identity_role(&name, "vault", &name);
    root.write_policy(&name, &format!("path \"identity/oidc/token/{name}\" {{ capabilities = [\"read\"] }}"));
    let (role_id, secret_id) = root.approle(&name, "job", &[&name]);
    // The other believes the first.
    let (engine, mount) = (Engine::new(&other.root(), Cluster::shared()), unique("jwt"));
    other.root().enable_auth("jwt", &mount);
    let trust = json!({
        "oidc_discovery_url": format!("{}/v1/identity/oidc", vault.address),
        "oidc_discovery_ca_pem": vault.authority.pem,
    });
    other.root().write(&format!("auth/{mount}/config"), &trust);
    other.root().jwt_role(&mount, "job", "vault", &[&engine.policy]);
    let home = Home::new();
    let file = home.write_secret("secret-id", &secret_id);
    home.settings(&json!({
        "vaults": {
            "issuing": {
                "address": vault.address, "certificateAuthority": vault.ca_file(),
                "auth": {"approle": {"mount": name, "roleId": role_id, "secretIdFile": file}},
            },
            "corp": {
                "address": other.address, "certificateAuthority": other.ca_file(),
                "auth": {"jwt": {"mount": mount, "role": "job", "identity": "me"}},
            },
        },
        "identities": {"me": {"vaultIdentity": {"vault": "issuing", "role": name}}},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    gets_a_token(&home, &engine);
    home.run(&["refresh"]).succeeded();
    assert_eq!(log_ins(&name), 1, "both sessions are kept");
}

#[test]
fn a_client_certificate_logs_in() {
    let (engine, root, mount) = (engine::shared(), Vault::shared().root(), unique("cert"));
    let staff = Authority::new("staff");
    root.enable_auth("cert", &mount);
    root.cert_role(&mount, "robots", &staff.pem, &[&engine.policy]);
    let robot = staff.client("robot-1", &[]);
    let pair = |certificate: &PathBuf, key: &PathBuf| json!({"cert": {"mount": mount, "role": "robots", "certificate": certificate, "key": key}});
    let home = home_with(&engine, "reader", Some(&pair(&robot.file, &robot.key_file)));
    gets_a_token(&home, &engine);
    // By the variables of both products.
    let auth = json!({"cert": {"mount": mount}});
    let home = home_with(&engine, "reader", Some(&auth));
    let run = home.get_token(&[], None);
    assert!(run.failed(2).contains("there is no client certificate"), "{run:?}");
    home.set("VAULT_CLIENT_CERT", &robot.file.display().to_string());
    home.set("VAULT_CLIENT_KEY", &robot.key_file.display().to_string());
    gets_a_token(&home, &engine);
    let stranger = Authority::new("strangers").client("robot-1", &[]);
    let home = home_with(&engine, "reader", Some(&pair(&stranger.file, &stranger.key_file)));
    let run = home.get_token(&[], None);
    assert!(run.failed(4).contains("refused the log-in"), "{run:?}");
}

// --- ldap

/// The answers follow the "LDAP auth method (API)" of both products' documentation: a POST of the
/// password to `auth/<mount>/login/<name>`, answered with `auth` or with 400.
#[test]
fn a_directorys_name_and_password_log_in() {
    let (engine, vault) = (engine::shared(), Vault::shared());
    let session = engine.vault_token(&vault.root());
    let given = session.clone();
    let double = Double::before(&vault.authority, &vault.address, move |seen| {
        if seen.path != "/v1/auth/corp-ldap/login/alice" {
            return Reply::Passed;
        }
        if seen.json()["password"] != "in the directory" {
            return Reply::json(400, &json!({"errors": ["ldap operation failed: failed to bind as user"]}));
        }
        let auth = json!({
            "client_token": given, "accessor": "a", "policies": ["default"], "lease_duration": 3600,
            "renewable": false, "metadata": {"username": "alice"},
        });
        Reply::json(200, &json!({"auth": auth}))
    });
    let home = Home::new();
    home.plant(&session);
    home.plant("in the directory");
    home.settings(&json!({
        "vaults": {"corp": {
            "address": double.address, "certificateAuthority": vault.ca_file(),
            "auth": {"ldap": {"mount": "corp-ldap", "username": "alice"}},
        }},
        "profiles": {"prod": {"source": engine.source("reader")}},
    }));
    assert!(home.get_token(&[], None).failed(3).contains("login prod\n"));
    let wrong = home.run_with_input(&["login"], "out of it\n");
    assert!(wrong.code == 4 && wrong.stderr.contains("failed to bind as user"), "{wrong:?}");
    home.run_with_input(&["login"], "in the directory\n").succeeded();
    gets_a_token(&home, &engine);
}

#[test]
fn a_method_that_is_not_mounted_is_named() {
    let engine = engine::shared();
    let mount = unique("nowhere");
    let home = home_with(&engine, "reader", Some(&json!({"ldap": {"mount": mount, "username": "alice"}})));
    let run = home.run_with_input(&["login"], "anything\n");
    assert!(run.code == 4 && run.stderr.contains(&format!("check that `auth/{mount}` exists")), "{run:?}");
}
