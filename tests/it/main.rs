//! The integration tests: one binary, so that its tests share the servers that the rig starts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "in a test to panic is to report"
)]

#[path = "../rig/mod.rs"]
mod rig;

mod hit;
mod home;
mod krew;
mod rig_works;
mod sources;
