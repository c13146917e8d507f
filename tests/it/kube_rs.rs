//! kube-rs as a caller: it runs the plugin three times for each client, and ignores a 401.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::json;

use crate::heal::Minting;
use crate::rig::Cluster;

/// What the process of the test below does: its own runs of the plugin must have one living parent.
#[test]
#[ignore = "a process of its own, which the other test starts"]
fn client_process() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        assert!(is_served().await, "the first token");
        println!("served");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
        // A verdict is believed for half a minute.
        for _ in 0..120 {
            if is_served().await {
                println!("healed");
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        panic!("it never healed");
    });
}

async fn is_served() -> bool {
    let client = kube::Client::try_default().await.unwrap();
    client.list_core_api_versions().await.is_ok()
}

#[test]
fn a_client_that_asks_three_times_costs_one_mint_and_its_refused_token_heals() {
    let cluster = Cluster::shared();
    let minting = Minting::generated(cluster);
    let exec = json!({"args": ["get-token", "--profile=prod"]});
    let kubeconfig = minting.home.kubeconfig(cluster, &exec, None);
    let mut client = minting.home.program(&std::env::current_exe().unwrap());
    client.args(["kube_rs::client_process", "--exact", "--ignored", "--nocapture"]);
    client.env("KUBECONFIG", kubeconfig).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut client = client.spawn().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("served")));
    let asked = minting.home.journal().iter().filter(|line| line["event"] == "handOut").count();
    assert!(asked > 1, "it asked {asked} times");
    assert_eq!(minting.mints(), 1);
    minting.revoke(cluster);
    client.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert!(lines.any(|line| line.ends_with("healed")));
    assert!(client.wait().unwrap().success());
    assert_eq!(minting.mints(), 2);
}
