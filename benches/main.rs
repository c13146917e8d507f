//! `make bench`: the promise that a kept token costs about as much as starting a process, measured.
//!
//! One table from one run on this machine. Every figure stands beside the least that it could cost, and
//! was measured in turn with it, so that a busy machine slows both; the ratio is the result, the
//! milliseconds are this machine's. Nothing in the product is measured from inside.
//!
//! Words of the command line choose parts of it (`cargo bench --bench cost -- start cold`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a benchmark stops at the first surprise"
)]

#[path = "../tests/rig/mod.rs"]
mod rig;

mod calls;
mod cold;
mod hit;
mod launch;
mod person;
mod table;

use std::process::ExitCode;

use launch::Launch;
use person::Person;
use rig::Cluster;
use table::Table;

/// Measures, and adds what it finds.
type Part<'a> = &'a dyn Fn(&mut Table);

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut table = Table::default();
    table.note(&format!("load before: {}", load()));
    let cluster = Cluster::shared();
    let (person, engine) = Person::with_an_engine(cluster);
    let launch = Launch::new(&person);
    person.get_token();
    table.note(&format!("store: {}", person.store()));
    let parts: [(&str, Part); 7] = [
        ("start", &|table| hit::start(&launch, &person, table)),
        ("peers", &|table| hit::peers(&launch, &person, table)),
        ("kubectl", &|table| hit::kubectl(&launch, &person, cluster, table)),
        ("cold", &|table| cold::one(&launch, &person, &engine, table)),
        ("crowd", &|table| cold::crowd(&launch, &person, &engine, table)),
        ("calls", &calls::across_renewals),
        ("size", &|table| hit::size_and_memory(&launch, &person, table)),
    ];
    let unknown = chosen.iter().find(|word| parts.iter().all(|(name, _)| name != word));
    assert!(unknown.is_none(), "{unknown:?} is none of {:?}", parts.map(|(name, _)| name));
    for (name, measure) in parts {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            measure(&mut table);
        }
    }
    table.note(&format!("load after: {}", load()));
    table.print();
    if table.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How busy the machine was in the last 1, 5 and 15 minutes, and how many processors it has.
fn load() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap();
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    format!("{} on {processors} processors", averages.join(", "))
}
