//! The ways to log in that ask a person: without one they end with the command that does, and that
//! command works from a pipe and at a terminal, with a second factor too.

use std::time::{Duration, SystemTime};

use ring::hmac;
use rustix::process::Signal;
use serde_json::json;

use crate::engine::{self, Engine, gets_a_token, home_with, log_ins};
use crate::home::{Home, exec_info};
use crate::rig::{Double, Reply, Vault, unique};

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
fn a_person_who_does_not_answer_is_not_waited_for_for_ever() {
    let engine = engine::shared();
    for (username, prompt) in [(true, "password of alice for "), (false, "user name for ")] {
        let (home, mount) = home_with_password(&engine, "correct horse", username);
        let terminal = home.at_terminal(&["login", "--login-timeout=1s"]);
        terminal.wait_for(prompt);
        let ended = terminal.end();
        home.showed(&ended.shown);
        assert_eq!((ended.code, ended.restored), (Some(5), true), "{ended:?}");
        assert!(ended.shown.contains("nobody answered in time"), "{ended:?}");
        assert!(ended.shown.contains("`--login-timeout`"), "{ended:?}");
        assert_eq!(log_ins(&mount), 0);
    }
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
