//! The test rig: real servers on loopback, each started when a test first asks for it, shared by the
//! tests of one process, and gone when that process is gone, however it ends. It knows nothing of the
//! product that is tested with it, and never skips: what is missing fails, naming `make tools`.
//!
//! Logs and data of one process lie in `target/rig/<process id>`; the folders of dead processes are
//! removed by the next one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    missing_docs,
    unreachable_pub,
    reason = "in a test to panic is to report, `pub` marks what tests may use, and the walls of the \
              product are not the rig's"
)]
#![allow(dead_code, unused_imports, reason = "each binary that includes the rig uses a part of it")]

mod browser;
mod certificates;
mod clouds;
mod cluster;
mod double;
mod folder;
mod http;
mod jwt;
mod keycloak;
mod openid;
mod ports;
mod process;
mod python;
mod secret_service;
mod tools;
mod tunnel;
mod vault;

use std::sync::atomic::{AtomicU32, Ordering};

pub use browser::Browser;
pub use certificates::{Authority, Certificate};
pub use clouds::{Databricks, Entra, Google, Policy};
pub use cluster::Cluster;
pub use double::{Double, Reply, Seen};
pub use folder::folder;
pub use http::{Answer, Client};
pub use jwt::{Issuer, PublicKey, claims};
pub use keycloak::Keycloak;
pub use openid::OpenIdProvider;
pub use process::poll;
pub use python::{Sdk, python, python_program};
pub use secret_service::SecretService;
pub use tools::tool;
pub use vault::{Session, Vault, VaultProvider};

/// A name that no other caller in this process gets, so that tests can share servers. It is valid as
/// a DNS label, a mount path and a user name.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
