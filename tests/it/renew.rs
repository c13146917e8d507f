//! A token that is due is handed out at once and renewed beside the caller, who is left nothing of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::home::{Home, exec_info};
use crate::rig::{Cluster, Double, Reply, Vault, poll, unique};

const LIMIT: Duration = Duration::from_secs(60);

/// Seconds: due after two fifths of it.
const LIFETIME: i64 = 30;

/// What the server before the vault does with reads of the document.
const PASS: u8 = 0;
const HANG: u8 = 1;
const FAIL: u8 = 2;

/// A home whose profile `jobs` reads a token document, through a server that counts and can hang.
struct Due {
    home: Home,
    front: Double,
    mode: Arc<AtomicU8>,
    mount: String,
    token: String,
}

impl Due {
    fn new(cluster: &Cluster) -> Self {
        let (vault, mount, home) = (Vault::shared(), unique("kv"), Home::new());
        let namespace = cluster.namespace("due");
        cluster.service_account(&namespace, "reader");
        let token = cluster.token_for((&namespace, "reader"), 3600, &[]);
        vault.root().key_value(&mount, 2);
        let policy = unique("read");
        vault
            .root()
            .write_policy(&policy, &format!("path \"{mount}/data/*\" {{ capabilities = [\"read\"] }}"));
        let session = vault.root().child_token(&json!({"policies": [policy], "ttl": "1h"}));
        home.plant(&session);
        home.set("VAULT_TOKEN", &session);
        let mode = Arc::new(AtomicU8::new(PASS));
        let (seen, data) = (Arc::clone(&mode), format!("/v1/{mount}/data/"));
        let front = Double::before(&vault.authority, &vault.address, move |request| {
            match (request.path.starts_with(&data), seen.load(Ordering::SeqCst)) {
                (true, HANG) => Reply::Hung,
                (true, FAIL) => Reply::Answer { status: 503, headers: Vec::new(), body: b"{}".to_vec() },
                _ => Reply::Passed,
            }
        });
        home.settings(&json!({
            "vaults": {"corp": {"address": front.address, "certificateAuthority": vault.ca_file()}},
            "profiles": {"jobs": {"source": {"vaultKv": {"vault": "corp", "mount": mount, "path": "t"}}}},
        }));
        let due = Self { home, front, mode, mount, token };
        due.write_document(LIFETIME);
        due
    }

    /// A document whose token may be used for so many seconds from now.
    fn write_document(&self, seconds: i64) {
        let end = (chrono::Utc::now() + chrono::TimeDelta::seconds(seconds)).to_rfc3339();
        let body = json!({"data": {"token": self.token, "expirationTimestamp": end}});
        Vault::shared().root().write(&format!("{}/data/t", self.mount), &body);
    }

    fn reads(&self) -> usize {
        let data = format!("/v1/{}/data/", self.mount);
        self.front.seen().iter().filter(|request| request.path.starts_with(&data)).count()
    }

    fn state(&self) -> Value {
        self.home.run(&["status", "-o", "json"]).json()["items"][0]["token"]["state"].clone()
    }

    fn wait_until_due(&self) {
        poll("a token that is due", LIMIT, || (self.state() == "refreshDue").then_some(()));
    }
}

#[test]
fn kubectl_behind_a_pipe_ends_at_once_while_the_renewal_hangs() {
    let cluster = Cluster::shared();
    let due = Due::new(cluster);
    let kubeconfig = due.home.kubeconfig(cluster, &json!({"args": ["get-token", "--profile=jobs"]}), None);
    due.home.kubectl(&kubeconfig, &["get", "--raw=/version"]).quiet();
    let before = due.reads();
    due.wait_until_due();
    due.mode.store(HANG, Ordering::SeqCst);
    let began = Instant::now();
    // Whoever holds any of these three keeps `cat` waiting.
    let run = due.home.shell(Some(&kubeconfig), "\"$KUBECTL\" get --raw=/version 2>&1 9>&1 | cat");
    let lasted = began.elapsed();
    assert!(run.quiet().stdout.contains("gitVersion"));
    poll("a renewal that hangs", LIMIT, || (due.reads() > before).then_some(()));
    assert!(lasted < Duration::from_secs(8), "kubectl waited for the renewal: {lasted:?}");
    assert_eq!(due.home.journal().last().unwrap()["outcome"], "due");
}

#[test]
fn many_callers_with_a_token_that_is_due_cause_one_renewal_and_none_waits() {
    let due = Due::new(Cluster::shared());
    due.home.get_token(&["--profile=jobs"], None).quiet();
    due.wait_until_due();
    due.write_document(3600);
    let before = due.reads();
    let commands: Vec<_> = (0..12).map(|_| due.home.command(&["get-token", "--profile=jobs"])).collect();
    thread::scope(|scope| {
        for mut command in commands {
            scope.spawn(move || assert!(command.output().unwrap().status.success()));
        }
    });
    poll("a new token", LIMIT, || (due.state() == "valid").then_some(()));
    assert_eq!(due.reads(), before + 1);
    // The line of the renewal names the call that caused it.
    let journal = due.home.journal();
    let mint = journal.iter().rfind(|line| line["event"] == "mint").unwrap();
    let cause = journal.iter().find(|line| line["invocation"] == mint["invocation"]).unwrap();
    assert_eq!((&cause["event"], &cause["outcome"]), (&json!("handOut"), &json!("due")));
}

#[test]
fn an_outage_is_told_to_a_person_at_a_terminal_and_to_nobody_else() {
    let due = Due::new(Cluster::shared());
    due.home.get_token(&["--profile=jobs"], None).quiet();
    due.wait_until_due();
    due.mode.store(FAIL, Ordering::SeqCst);
    // The renewal fails, and from then on the old token goes out without another try.
    poll("a remembered failure", LIMIT, || {
        due.home.get_token(&["--profile=jobs"], None).quiet();
        (due.home.journal().last().unwrap()["outcome"] == "stale").then_some(())
    });
    let mut info = exec_info("v1", None);
    info["spec"]["interactive"] = json!(true);
    due.home.set("KUBERNETES_EXEC_INFO", &info.to_string());
    let script =
        "script -qec '\"$PLUGIN\" get-token --profile=jobs >/dev/null' typed >/dev/null; cat typed >&2";
    let run = due.home.shell(None, script);
    due.home.unset("KUBERNETES_EXEC_INFO");
    assert!(run.stderr.contains("warning: an older token is used, for fetching a new one failed"), "{run:?}");
    assert_eq!(run.stderr.matches("warning: ").count(), 1, "{run:?}");
}

#[test]
fn a_persons_command_renews_in_the_foreground() {
    let due = Due::new(Cluster::shared());
    due.home.run(&["refresh", "jobs"]).succeeded();
    due.wait_until_due();
    due.write_document(3600);
    let before = due.reads();
    due.home.run(&["login", "jobs"]).succeeded();
    assert_eq!((due.reads(), due.state()), (before + 1, json!("valid")));
}

#[test]
fn renew_is_no_command_for_clients_or_persons() {
    let home = Home::new();
    home.set("KUBERNETES_EXEC_INFO", &exec_info("v1", None).to_string());
    home.run(&["renew"]).failed(7);
    home.unset("KUBERNETES_EXEC_INFO");
    home.run(&["renew"]).failed(2);
    let task = json!({"arguments": ["x", "trust", "p"], "variables": {}, "foreign": [], "invocation": "1"});
    home.run_with_input(&["renew"], &task.to_string()).failed(2);
    assert!(!home.run(&["--help"]).stdout.contains("renew"));
}
