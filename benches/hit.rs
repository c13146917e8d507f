//! What a kept token costs: beside starting any process, beside other plugins, and within kubectl.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::launch::{Launch, word};
use crate::person::Person;
use crate::rig::{Cluster, tool};
use crate::table::{Table, column, median, ratio};

/// `get-token` beside a program that does nothing.
pub fn start(launch: &Launch, person: &Person, table: &mut Table) {
    let rounds = launch.pinned(2000, &[person.call(), vec![word(&launch.nothing)]]);
    let (call, nothing) = (median(column(&rounds, 0)), median(column(&rounds, 1)));
    table.ratio("get-token, kept", call, ("an empty C program", nothing), ratio(&rounds, 0, 1), Some(2.0));
}

/// `get-token` beside others' exec plugins.
pub fn peers(launch: &Launch, person: &Person, table: &mut Table) {
    let aws = [
        // Keys of Amazon's documentation: the token is signed here, and nobody is asked.
        "AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_REGION=eu-central-1",
        "AWS_EC2_METADATA_DISABLED=true",
        &word(&tool("aws-iam-authenticator")),
        "token",
        "-i",
        "demo",
    ];
    let aws = aws.map(str::to_owned).to_vec();
    let mut peers = vec![("aws-iam-authenticator token".to_owned(), aws, Some(0.05))];
    let named = std::env::var("BENCH_PEERS").unwrap_or_default();
    for peer in named.split(';').map(str::trim).filter(|peer| !peer.is_empty()) {
        let mut words: Vec<String> = peer.split_whitespace().map(str::to_owned).collect();
        words[0] = on_path(&words[0]);
        peers.push((peer.to_owned(), words, None));
    }
    for (name, command, goal) in peers {
        // Not on one processor: most of them have several threads.
        let rounds = launch.turns(200, 0, &[person.call(), command, vec![word(&launch.nothing)]]);
        let [call, peer, nothing] = [0, 1, 2].map(|at| median(column(&rounds, at)));
        table.ratio("get-token, kept", call, (&name, peer), ratio(&rounds, 0, 1), goal);
        // What would be left if a call cost no more than a process.
        table.ratio("an empty C program", nothing, (&name, peer), ratio(&rounds, 2, 1), None);
    }
}

fn on_path(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    word(
        &places
            .find(|place| place.is_file())
            .unwrap_or_else(|| panic!("BENCH_PEERS: no `{program}` on PATH")),
    )
}

/// A whole kubectl with us, with the quickest plugin that there can be, and with none.
pub fn kubectl(launch: &Launch, person: &Person, cluster: &Cluster, table: &mut Table) {
    let credential = person.get_token();
    let token = serde_json::from_str::<Value>(&credential).unwrap()["status"]["token"].take();
    let exec = |command: &PathBuf, arguments: &[&str]| {
        json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": command,
            "args": arguments,
            "interactiveMode": "IfAvailable",
            "provideClusterInfo": true,
        }})
    };
    let users = [
        ("ours", exec(&person.plugin, &["get-token", "--profile=prod"])),
        ("constant", exec(&launch.constant, &[credential.trim()])),
        ("token", json!({"token": token})),
    ];
    let commands = users.map(|(name, user)| {
        let kubeconfig = person.path(&format!("{name}.kubeconfig"));
        cluster.write_kubeconfig(&kubeconfig, &user, None);
        let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
        [&word(&tool("kubectl")), &kubeconfig, "get", "--raw", "/readyz"].map(str::to_owned).to_vec()
    });
    let rounds = launch.turns(300, 0, &commands);
    let [ours, constant, none] = [0, 1, 2].map(|at| median(column(&rounds, at)));
    let what = "kubectl get --raw /readyz through us";
    let beside = ("a C program that prints a constant", constant);
    table.ratio(what, ours, beside, ratio(&rounds, 0, 1), Some(1.02));
    table.ratio(
        "the same through that C program",
        constant,
        ("a static token", none),
        ratio(&rounds, 1, 2),
        None,
    );
}

/// How large the program is, and how much memory a call takes.
pub fn size_and_memory(launch: &Launch, person: &Person, table: &mut Table) {
    let size = fs::metadata(&person.plugin).unwrap().len() as f64 / 1e6;
    let goal = Some((size <= 6.0, "6 MB".to_owned()));
    table.row("size of the program", &format!("{size:.2} MB"), "", "", goal);
    let kib = launch.peak(20, &person.call());
    let floor = launch.peak(20, &[word(&launch.nothing)]);
    let floor = format!("{:.2} MiB (an empty C program)", floor / 1024.0);
    let goal = Some((kib <= 6.0 * 1024.0, "6 MiB".to_owned()));
    table.row("peak memory, kept", &format!("{:.2} MiB", kib / 1024.0), &floor, "", goal);
}
