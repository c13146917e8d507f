//! Short-lived cluster tokens from Vault, OpenBao or a token exchange, for `kubectl`.
//!
//! The path of one call: [`exec`] reads what the client says, [`config`] resolves it to a request,
//! [`issue`] finds or fetches the token through the [`broker`], and [`exec`] writes it out.

#![warn(missing_docs)]
// Tests may stop at the first surprise.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice
    )
)]

pub mod admit;
pub mod attended;
pub mod broker;
pub mod browser;
pub mod cache;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod databricks;
pub mod desk;
pub mod doctor;
pub mod env;
pub mod error;
pub mod exec;
pub mod fetch;
mod foreign_file;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
pub mod heal;
mod hex;
pub mod http;
pub mod identity;
pub mod inventory;
pub mod issue;
pub mod journal;
pub mod keys;
pub mod keystore;
pub mod memory;
pub mod network;
pub mod oidc;
pub mod person;
pub mod probe;
pub mod process;
mod program;
pub mod prompt;
pub mod renew;
pub mod reseal;
pub mod revoke;
pub mod scope;
pub mod sign_in;
pub mod sign_out;
pub mod source;
pub mod suspicion;
pub mod token;
pub mod trust;
pub mod vault;
