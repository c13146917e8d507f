//! Where secrets are and are not: the check that the other tests rely on finds what is planted, the
//! code opens secrets only where somebody said why, and children are told none.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::home::{Home, PLUGIN};
use crate::rig::{Authority, Double, Reply, poll};

const SECRET: &str = "hvs.s3cret-that-is-planted";

/// Asserts that the check finds one leak, and that a test with it would have failed.
#[track_caller]
fn found(home: Home, words: &str) {
    let leaks = home.leaks();
    assert!(leaks.len() == 1 && leaks[0].contains(words), "{leaks:?}");
    assert!(catch_unwind(AssertUnwindSafe(|| drop(home))).is_err(), "a leak must fail its test");
}

#[test]
fn a_secret_on_standard_error_is_found() {
    let home = Home::new();
    home.plant(SECRET);
    assert_eq!(home.leaks(), [""; 0]);
    home.run_program("/bin/sh", &["-c", &format!("echo 'error: {SECRET}' >&2")]);
    found(home, "was printed");
}

#[test]
fn a_secret_on_standard_output_is_found_unless_it_is_the_credential() {
    let home = Home::new();
    home.plant(SECRET);
    let credential = json!({"kind": "ExecCredential", "status": {"token": SECRET}}).to_string();
    home.run_program("/bin/sh", &["-c", &format!("echo '{credential}'")]);
    assert_eq!(home.leaks(), [""; 0]);
    // The same words of a command that failed are none.
    home.run_program("/bin/sh", &["-c", &format!("echo '{credential}'; exit 1")]);
    found(home, "was printed");
}

#[test]
fn a_secret_in_a_plain_file_is_found_wherever_it_lies() {
    for place in ["note", ".cache/vaulttoken/tokens/entry", "run/deep/er"] {
        let home = Home::new();
        home.plant(SECRET);
        home.write_secret("given", SECRET);
        assert_eq!(home.leaks(), [""; 0], "what the test itself wrote is no leak");
        home.write(place, &format!("\u{0}\u{1}{SECRET}\u{0}"));
        found(home, "lies in");
    }
}

#[test]
fn a_token_that_was_handed_out_is_looked_for_too() {
    let home = Home::new();
    home.run_program("/bin/sh", &["-c", r#"echo '{"status": {"token": "s3cret-handed-out"}}'"#]);
    home.write("cache", "s3cret-handed-out");
    found(home, "s3cret-handed-out lies in");
}

/// A Vault that never answers a mint.
fn hanging_vault(authority: &Authority) -> Double {
    Double::https(authority, &[], |request| {
        if request.path.ends_with("lookup-self") {
            return Reply::json(200, &json!({"data": {"ttl": 3600, "type": "service"}}));
        }
        Reply::Hung
    })
}

fn settings(home: &Home, vault: &Double, authority: &Authority) {
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": authority.file}},
        "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "mount": "m", "role": "r"}}}},
    }));
}

#[test]
fn a_token_helper_is_told_no_secret_and_no_argument_holds_one() {
    let authority = Authority::new("corp");
    let vault = hanging_vault(&authority);
    let home = Home::new();
    settings(&home, &vault, &authority);
    home.plant("hvs.s3cret-of-the-environment");
    // An empty BAO_TOKEN wins, and is none: so the helper is asked, with the other one at hand.
    home.set("BAO_TOKEN", "").set("VAULT_TOKEN", "hvs.s3cret-of-the-environment");
    // What it writes lies in the home, where `Home` looks for every secret.
    let script = "#!/bin/sh\nenv > seen-environment\n\
                  tr '\\0' ' ' < /proc/$$/cmdline > seen-arguments\n\
                  tr '\\0' ' ' < /proc/$PPID/cmdline >> seen-arguments\necho hvs.s3cret-of-the-helper\n";
    let helper = home.write("helper", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).unwrap();
    home.write_secret("helper", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).unwrap();
    home.plant("hvs.s3cret-of-the-helper");
    home.write(".vault", &format!("token_helper = \"{}\"\n", helper.display()));

    let mut command = std::process::Command::new(PLUGIN);
    home.prepare(&mut command);
    command.args(["get-token", "--profile=prod"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    poll("a mint", Duration::from_secs(30), || (vault.seen().len() > 1).then_some(()));
    let own = fs::read_to_string(format!("/proc/{}/cmdline", child.id())).unwrap();
    assert!(own.ends_with("get-token\0--profile=prod\0"), "{own}");
    child.kill().unwrap();
    home.finished(&child.wait_with_output().unwrap());

    assert_eq!(vault.seen()[0].header("x-vault-token"), Some("hvs.s3cret-of-the-helper"));
    let environment = fs::read_to_string(home.path("seen-environment")).unwrap();
    assert!(environment.contains(&format!("VAULT_ADDR={}", vault.address)), "{environment}");
    assert!(!environment.contains("_TOKEN="), "{environment}");
    let arguments = fs::read_to_string(home.path("seen-arguments")).unwrap();
    assert!(arguments.contains("helper get"), "{arguments}");
}

#[test]
fn a_token_helper_has_the_environment_of_whoever_ran_the_client() {
    let authority = Authority::new("corp");
    let vault = hanging_vault(&authority);
    let home = Home::new();
    settings(&home, &vault, &authority);
    let script = "#!/bin/bash\nenv > seen-environment\nexit 3\n";
    let helper = home.write("helper", script);
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).unwrap();
    home.write(".vault", &format!("token_helper = \"{}\"\n", helper.display()));
    home.write("evil/bash-env", "touch evil-ran\n");
    home.set("MINE", "of-the-person");

    // As a client does: what the kubeconfig adds is with us, and not with our parent.
    let added = "BASH_ENV=evil/bash-env ENV=evil/bash-env PATH=evil EVIL=1 KUBERNETES_EXEC_INFO={}";
    let run = home.script(&format!("env {added} {PLUGIN} get-token --profile=prod || exit $?"), "");
    assert!(run.failed(2).contains("the token helper"), "{run:?}");

    assert!(!home.path("evil-ran").exists(), "a kubeconfig names no program to run");
    let environment = fs::read_to_string(home.path("seen-environment")).unwrap();
    assert!(environment.contains("MINE=of-the-person"), "{environment}");
    assert!(environment.contains(&format!("VAULT_ADDR={}", vault.address)), "{environment}");
    assert!(!environment.to_lowercase().contains("evil"), "{environment}");
}

#[test]
fn a_signal_ends_the_wait_for_a_token_helper_and_the_helper() {
    let authority = Authority::new("corp");
    let vault = hanging_vault(&authority);
    let home = Home::new();
    settings(&home, &vault, &authority);
    let helper = home.write("helper", "#!/bin/sh\necho $$ > running\nexec sleep 600\n");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o700)).unwrap();
    home.write(".vault", &format!("token_helper = \"{}\"\n", helper.display()));

    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let _ = fs::remove_file(home.path("running"));
        let mut command = std::process::Command::new(PLUGIN);
        home.prepare(&mut command);
        command.args(["get-token", "--profile=prod", "--timeout=10m"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let helper = poll("the helper", Duration::from_secs(30), || {
            fs::read_to_string(home.path("running")).ok()?.trim().parse::<i32>().ok()
        });
        kill_process(Pid::from_child(&child), signal).unwrap();
        let run = home.finished(&child.wait_with_output().unwrap());
        assert_eq!(run.failed(code), "error: profile `prod`: interrupted\n", "{run:?}");
        // Nobody may have waited for it: then it is a name and no program any more.
        poll("the helper's end", Duration::from_secs(30), || {
            let line = fs::read(format!("/proc/{helper}/cmdline")).unwrap_or_default();
            line.is_empty().then_some(())
        });
    }
}

#[test]
fn standard_output_that_takes_nothing_is_a_fault_and_the_token_goes_nowhere_else() {
    let authority = Authority::new("corp");
    let vault = Double::https(&authority, &[], |_| {
        Reply::json(
            200,
            &json!({"data": {"data": {"token": "s3cret-of-a-document"}, "metadata": {"version": 1,
                "created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": false}}}),
        )
    });
    let home = Home::new();
    home.plant("s3cret-of-a-document");
    home.plant(SECRET);
    home.set("VAULT_TOKEN", SECRET);
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": authority.file}},
        "profiles": {"prod": {"source": {"vaultKv": {"vault": "corp", "mount": "secret", "path": "sa"}}}},
    }));
    let run = home.run_program("/bin/sh", &["-c", &format!("{PLUGIN} get-token -p prod > /dev/full")]);
    let report = run.failed(1);
    assert!(
        report.starts_with("error: profile `prod`: standard output did not take what was written\n"),
        "{report}"
    );
}

#[test]
fn a_closed_pipe_is_an_exit_code_and_no_panic() {
    let home = Home::new();
    // Of a panic there would be 101, or a word on standard error.
    for (script, code) in [
        ("{} --help > /dev/full", 1),
        ("{} version 2> /dev/full", 0),
        ("{} --nonsense 2> /dev/full", 2),
        ("{} get-token -p unknown 2> /dev/full", 2),
        ("{} get-token -p unknown 2>&-", 2),
    ] {
        let run = home.run_program("/bin/sh", &["-c", &script.replace("{}", PLUGIN)]);
        assert_eq!(run.code, code, "{script}: {run:?}");
        assert!(!run.stderr.contains("panicked"), "{script}: {run:?}");
    }
}

/// Each place that opens a secret, how often, and what for. Whoever adds one says why here.
const OPENED: &[(&str, usize, &str)] = &[
    ("cache/entry.rs", 1, "writes an entry, whose bytes are sealed"),
    ("cache/provider_sessions.rs", 1, "writes a session, whose bytes are sealed"),
    ("cache/sessions.rs", 1, "writes a session, whose bytes are sealed"),
    ("cli/exec.rs", 1, "the end of a subject token, which the person is told"),
    ("cli/output.rs", 2, "`token` prints it, or puts it where the person says: that is what was asked for"),
    ("databricks/child.rs", 1, "the address of the metadata service, for the program that asks there"),
    (
        "databricks/metadata.rs",
        3,
        "an SDK's answer, and the path where it is had, which only its program knows",
    ),
    ("config/kubeconfig_user.rs", 2, "a certificate or key in base64, for the HTTP client"),
    ("exec.rs", 1, "the credential on standard output: that is what the client asked for"),
    ("http.rs", 3, "a header of a request; the address of a proxy may hold a password"),
    ("http/connector.rs", 1, "the address of a proxy may hold a password"),
    ("identity/fingerprint.rs", 2, "digests of a workload's token or of its claims"),
    ("identity/mod.rs", 1, "looks at the claims of a workload's token before it is sent"),
    ("oidc/id_token.rs", 3, "looks at a token's signature and claims before anybody believes it"),
    ("oidc/log_in.rs", 1, "the challenge that is made of a log-in's verifier"),
    ("oidc/session.rs", 2, "whether two sessions are renewed with one token"),
    ("oidc/token_endpoint/form.rs", 4, "the form of a request, and what must not be repeated of it"),
    ("oidc/token_endpoint.rs", 3, "the header of a request, and whether a token came"),
    ("identity/svid.rs", 1, "a JWT-SVID out of the JSON that its agent writes"),
    ("source/field.rs", 2, "fields of an answer are secret until somebody knows better"),
    ("source/token_exchange.rs", 1, "claims of the token that came"),
    ("source/token_exchange/subject.rs", 1, "algorithm and end of a token before it is handed over"),
    ("source/token_request.rs", 1, "claims of a token"),
    ("source/token_request/plugin.rs", 1, "the key of a client certificate, for the HTTP client"),
    ("source/vault_identity.rs", 3, "algorithm and claims of a token, and whether it is empty"),
    ("source/vault_kubernetes.rs", 2, "claims of a token, and whether it is empty"),
    ("source/vault_kv/document.rs", 4, "claims, emptiness, and the fields beside the token"),
    (
        "token.rs",
        5,
        "claims of a token, also for `doctor`; its subject, whether a header can carry it, and the digest that names it",
    ),
    ("vault/auth/mfa.rs", 1, "trims what a person typed"),
    ("vault/auth/mod.rs", 3, "the body of a log-in, and whether a session came back"),
    ("vault/auth/oidc.rs", 1, "the code of a browser, in the query of the log-in that it is for"),
    ("vault/call.rs", 2, "whether two sessions are one"),
    ("vault/sessions.rs", 1, "trims what a person typed"),
];

#[test]
fn secrets_are_opened_only_where_somebody_said_why() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    for file in rust_files(&source) {
        let name = file.strip_prefix(&source).unwrap().display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let count = without_tests(&text).matches(".expose_secret()").count();
        if count > 0 {
            found.insert(name, count);
        }
    }
    let listed: BTreeMap<String, usize> =
        OPENED.iter().map(|(name, count, _)| ((*name).to_owned(), *count)).collect();
    assert_eq!(found, listed, "left: what the code does, right: what is listed here with a reason");
    assert!(OPENED.iter().all(|(_, _, why)| why.len() > 10));
}

/// The files of the product; those of unit tests alone are left out.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "tests" {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && !["tests.rs", "script.rs", "scripted.rs"].contains(&name.as_str())
        {
            files.push(path);
        }
    }
    files
}

/// What comes before the unit tests at the end of a file.
fn without_tests(text: &str) -> &str {
    let mut places = text.match_indices("#[cfg(test)]\n");
    let is_tests = |at: usize| text[at..].lines().nth(1).is_some_and(|line| line.contains("mod tests"));
    &text[..places.find(|(at, _)| is_tests(*at)).map_or(text.len(), |(at, _)| at)]
}
