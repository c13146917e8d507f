//! What a call with a kept token asks of the system: a handful of small files and a key, and nothing
//! that another process, the network or a lock could delay.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::home::{Home, PLUGIN, exec_info};
use crate::rig::{Vault, folder, tool, unique};

/// Calls of the program itself, from the first line of `main` on; those of its allocator do not count.
/// Some more than it makes where the kernel keeps the sealing key.
const MOST: usize = 68;

/// What waits for somebody else, or makes another process or thread.
const FORBIDDEN: [&str; 25] = [
    "accept4",
    "bind",
    "clock_nanosleep",
    "clone",
    "clone3",
    "connect",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_wait",
    "eventfd2",
    "execve",
    "flock",
    "fork",
    "futex",
    "io_uring_setup",
    "listen",
    "nanosleep",
    "pipe2",
    "recvfrom",
    "sendto",
    "socket",
    "socketpair",
    "vfork",
    "wait4",
];

const ALLOCATOR: [&str; 6] = ["brk", "madvise", "mmap", "mprotect", "mremap", "munmap"];

/// A call as `strace` writes it.
struct Call {
    name: String,
    line: String,
}

impl Call {
    fn read(line: &str) -> Option<Self> {
        let (_process, call) = line.split_once(char::is_whitespace)?;
        let (name, _) = call.trim_start().split_once('(')?;
        // A check of the standard library in builds that are not for release.
        let counts = !call.contains("F_GETFD");
        counts.then(|| Self { name: name.trim().to_owned(), line: call.trim().to_owned() })
    }

    /// The path that it opens, where it opens one and there is something.
    fn opened(&self) -> Option<&str> {
        let path = self.line.strip_prefix("openat(")?.split('"').nth(1)?;
        (!self.line.contains(" = -1 ")).then_some(path)
    }
}

/// A home with a kept token of a day, which came over TLS from a vault with an authority of its own.
fn home_with_a_kept_token() -> (Home, PathBuf) {
    let (vault, mount, policy) = (Vault::shared(), unique("kv"), unique("read"));
    let secret = unique("a-token-that-lives-a-day");
    let end = chrono::Utc::now() + chrono::TimeDelta::days(1);
    vault.root().key_value(&mount, 2);
    vault.root().write(
        &format!("{mount}/data/jobs"),
        &json!({"data": {"token": secret, "expirationTimestamp": end.to_rfc3339()}}),
    );
    vault.root().write_policy(&policy, &format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}"));
    let token = vault.root().child_token(&json!({"policies": [policy]}));
    let home = Home::new();
    home.plant(&token);
    home.set("VAULT_TOKEN", &token);
    let authority = home.write("vault.pem", &fs::read_to_string(vault.ca_file()).unwrap());
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": authority}},
        "profiles": {"prod": {"source": {"vaultKv": {"vault": "corp", "mount": mount, "path": "jobs"}}}},
    }));
    (home, authority)
}

#[test]
fn a_call_with_a_kept_token_waits_for_nobody() {
    let (home, authority) = home_with_a_kept_token();
    let info = exec_info("v1", Some(json!({"server": "https://prod.example:6443", "config": null})));
    let first = home.get_token(&["--profile=prod"], Some(&info)).quiet().token();

    let trace = folder("trace").join("calls");
    let mut strace = under_strace(&home, &trace);
    let output = strace.env("KUBERNETES_EXEC_INFO", info.to_string()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let credential: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(credential["status"]["token"], first, "it was kept");

    let text = fs::read_to_string(&trace).unwrap();
    let calls: Vec<Call> = text.lines().filter_map(Call::read).collect();
    // The first thing that `main` does is to forbid core files.
    let main = calls.iter().position(|call| call.line.contains("RLIMIT_CORE")).expect("main began");
    let forbidden: Vec<&str> = calls[main..]
        .iter()
        .filter(|call| FORBIDDEN.contains(&call.name.as_str()) || call.line.contains("F_SETLK"))
        .map(|call| call.line.as_str())
        .collect();
    assert!(forbidden.is_empty(), "{forbidden:#?}");

    let ours = calls[main..].iter().filter(|call| !ALLOCATOR.contains(&call.name.as_str()));
    let ours: Vec<&str> = ours.map(|call| call.line.as_str()).collect();
    assert!(ours.len() <= MOST, "{} calls: {ours:#?}", ours.len());

    // Absolute paths; the entry is opened by its name in the folder.
    let opened: BTreeSet<&Path> = calls[main..].iter().filter_map(Call::opened).map(Path::new).collect();
    assert!(!opened.contains(authority.as_path()), "a hit verifies nobody: {opened:?}");
    let administrator = Path::new("/etc/vaulttoken/config.yaml");
    let strange: Vec<&&Path> = opened
        .iter()
        .filter(|path| path.is_absolute() && **path != administrator && !path.starts_with(home.path("")))
        // Who runs us, and what of our environment is the person's own.
        .filter(|path| !path.starts_with("/proc"))
        .collect();
    assert!(strange.is_empty(), "{strange:?}");
    let entries = opened.iter().filter(|path| path.extension().is_some_and(|ending| ending == "token"));
    assert_eq!(entries.count(), 1, "{opened:?}");
}

#[test]
fn a_first_call_of_a_job_opens_one_connection_and_waits_for_no_disk() {
    let (home, authority) = home_with_a_kept_token();
    let (vault, auth, policy) = (Vault::shared(), unique("approle"), unique("read"));
    let mount = unique("kv");
    vault.root().key_value(&mount, 2);
    vault.root().write(&format!("{mount}/data/jobs"), &json!({"data": {"token": unique("a-token")}}));
    vault.root().write_policy(&policy, &format!("path \"{mount}/*\" {{ capabilities = [\"read\"] }}"));
    vault.root().enable_auth("approle", &auth);
    let (role_id, secret_id) = vault.root().approle(&auth, "job", &[&policy]);
    let file = home.write("secret-id", &secret_id);
    let approle = json!({"approle": {"mount": auth, "roleId": role_id, "secretIdFile": file}});
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address, "certificateAuthority": authority, "auth": approle}},
        "profiles": {"prod": {"source": {"vaultKv": {"vault": "corp", "mount": mount, "path": "jobs"}}}},
    }));
    // The key, and which cluster the profile is for.
    home.get_token(&["--profile=prod"], None).quiet();
    for kept in [".cache/vaulttoken", ".local/state/vaulttoken/sessions"] {
        fs::remove_dir_all(home.path(kept)).unwrap();
    }

    let trace = folder("trace").join("first");
    let output = under_strace(&home, &trace).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&trace).unwrap();
    let calls: Vec<Call> = text.lines().filter_map(Call::read).collect();
    let named = |names: &[&str]| -> Vec<&str> {
        let found = calls.iter().filter(|call| names.contains(&call.name.as_str()));
        found.map(|call| call.line.as_str()).collect()
    };
    // What is lost by a crash of the machine is had again as it was.
    assert_eq!(named(&["fsync", "fdatasync", "sync", "syncfs"]), [""; 0]);
    assert_eq!(named(&["clone", "clone3", "fork", "vfork"]), [""; 0]);
    let connections = named(&["connect"]);
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_eq!(
        fs::read_dir(home.path(".local/state/vaulttoken/sessions")).unwrap().count(),
        2,
        "and its lock"
    );
}

/// The plugin with its calls, and those of all its threads and children, written to `trace`.
fn under_strace(home: &Home, trace: &Path) -> Command {
    let mut strace = Command::new(tool("strace"));
    // Without strings: paths are written all the same, keys and tokens are not.
    strace.args(["--follow-forks", "--string-limit=0", "--output"]).arg(trace);
    strace.arg(PLUGIN).args(["get-token", "--profile=prod"]).stdin(Stdio::null());
    // The same environment as beneath the shell that is a home's usual client.
    strace.env_clear();
    for (name, value) in home.command(&[]).get_envs() {
        strace.env(name, value.expect("none is taken away"));
    }
    strace
}
