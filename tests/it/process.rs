//! What the process leaves behind of itself while it holds secrets.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;

use crate::home::Home;
use crate::rig::{Double, Reply, poll};

#[test]
fn a_process_that_holds_secrets_leaves_no_core_file_and_lets_nobody_look_in() {
    let vault = Double::http(|_| Reply::Hung);
    let home = Home::new();
    home.set("VAULT_TOKEN", "hvs.not-a-real-token");
    home.settings(&json!({
        "vaults": {"corp": {"address": vault.address}},
        "profiles": {"prod": {"source": {"vaultKubernetes": {"vault": "corp", "role": "reader"}}}},
    }));
    let mut shell = home.command(&["get-token"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    poll("a request that hangs", Duration::from_secs(20), || (!vault.seen().is_empty()).then_some(()));
    let children = format!("/proc/{0}/task/{0}/children", shell.id());
    let plugin = fs::read_to_string(children).unwrap();
    let plugin = plugin.trim();
    let limits = fs::read_to_string(format!("/proc/{plugin}/limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    // The second is what a program that `exec` runs may have.
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // The kernel gives what belongs to a process that is not dumpable to root, and its memory to nobody
    // without the right to trace others.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{plugin}/environ")).unwrap());
    assert_eq!(owner, 0);
    let ended = std::process::Command::new("kill").arg(plugin).status().unwrap();
    assert!(ended.success());
    shell.wait().unwrap();
}
