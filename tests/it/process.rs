//! What the process leaves behind of itself while it holds secrets.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::home::{Home, PLUGIN};
use crate::rig::{Double, Reply, poll};

/// Somebody without rights, where the tests run as root: to root the kernel shows no difference.
const NOBODY: u32 = 65_534;

#[test]
fn a_process_that_holds_secrets_leaves_no_core_file_and_lets_nobody_look_in() {
    let vault = Double::http(|_| Reply::Hung);
    let home = Home::new();
    home.set("VAULT_TOKEN", "hvs.not-a-real-token");
    home.settings(&json!({
        "store": "none",
        "vaults": {"corp": {"address": vault.address}},
        "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "role": "reader"}}}},
    }));
    // Where whoever it is can run it.
    let program = home.path("plugin");
    fs::copy(PLUGIN, &program).unwrap();
    let mut command = std::process::Command::new("/bin/sh");
    // As on a machine where programs do leave core files.
    command
        .args(["-c", "ulimit -S -c \"$(ulimit -H -c)\"; ulimit -c; \"$0\" get-token; exit $?"])
        .arg(&program);
    home.prepare(&mut command);
    let us = rustix::process::geteuid().as_raw();
    let user = if us == 0 { NOBODY } else { us };
    if us == 0 {
        for path in ["", ".config", ".config/vaulttoken", ".config/vaulttoken/config.yaml", "plugin"] {
            chown(home.path(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut shell =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    poll("a request that hangs", Duration::from_secs(20), || (!vault.seen().is_empty()).then_some(()));
    let children = format!("/proc/{0}/task/{0}/children", shell.id());
    let plugin = fs::read_to_string(children).unwrap();
    let plugin = plugin.trim();
    let owner = |process: &str| fs::metadata(format!("/proc/{process}/environ")).unwrap().uid();
    assert_eq!(owner(&shell.id().to_string()), user, "a usual process of this user");
    // The kernel gives what belongs to a process that is not dumpable to root, and its memory to nobody
    // without the right to trace others.
    assert_eq!(owner(plugin), 0);
    let limits = fs::read_to_string(format!("/proc/{plugin}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    // The second is what a program that `exec` runs may have.
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    let most = core.split_whitespace().nth(5).unwrap();
    let ended = std::process::Command::new("kill").arg(plugin).status().unwrap();
    assert!(ended.success());
    let mut limit = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut limit).unwrap();
    assert_eq!(limit.trim(), most, "as many as the machine allows before");
    shell.wait().unwrap();
}
