//! `make bench`: the promise that a kept token costs about as much as starting a process, measured.
//!
//! One table from one run on this machine. Every figure stands beside the least that it could cost, and
//! was measured in turn with it, so that a busy machine slows both; the ratio is the result, the
//! milliseconds are this machine's. Nothing in the product is measured from inside.

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

fn main() -> ExitCode {
    let mut table = Table::default();
    let cluster = Cluster::shared();
    let (person, engine) = Person::with_an_engine(cluster);
    let launch = Launch::new(&person);
    person.get_token();
    table.note(&format!("store: {}", person.store()));
    hit::start(&launch, &person, &mut table);
    hit::peers(&launch, &person, &mut table);
    hit::kubectl(&launch, &person, cluster, &mut table);
    cold::one(&launch, &person, &engine, &mut table);
    cold::crowd(&launch, &person, &engine, &mut table);
    calls::across_renewals(&mut table);
    hit::size_and_memory(&launch, &person, &mut table);
    table.print();
    if table.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
