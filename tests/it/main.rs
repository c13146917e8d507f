//! The integration tests: one binary, so that its tests share the servers that the rig starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "in a test to panic is to report"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod addresses;
mod ages;
mod apart;
mod browser;
mod browser_log_ins;
mod cases;
mod clouds;
mod commands;
mod completion;
mod databricks;
mod databricks_people;
mod databricks_sdk;
mod databricks_tokens;
mod disk;
mod doctor;
mod documents;
mod engine;
mod exchange;
mod exec;
mod failing;
mod faults;
mod federation;
mod front;
mod heal;
mod hit;
mod home;
mod journal;
mod kernel_keys;
mod keystore;
mod killed;
mod krew;
mod kube_rs;
mod kubectl;
mod liar;
mod lifetimes;
mod methods;
mod notices;
mod passwords;
mod platforms;
mod process;
mod providers;
mod refusals;
mod renew;
mod rig_providers;
mod rig_works;
mod scene;
mod secrets;
mod serve;
mod sources;
mod storms;
mod terminal;
mod token_request;
mod trust;
mod whole_lives;
