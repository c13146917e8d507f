//! Databricks' own tools, unmodified: what their SDKs ask on this machine, answered with the tokens of
//! the profiles whose source is a Databricks workspace or account.
//!
//! [`profiles`] says which profile a host means, [`tokens`] has its token ready, [`metadata`] answers the
//! metadata service's one request, [`listener`] is the socket before it, and [`child`] the program that is
//! run beside it. [`policy`] and [`check`] are for those who set federation up. Nothing here knows how a
//! token is exchanged; that is the business of the source.

pub mod cfg;
pub mod check;
pub mod child;
pub mod cluster;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod host;
pub mod listener;
pub mod metadata;
pub mod policy;
pub mod profiles;
mod request;
pub mod sdk;
pub mod tokens;

pub use error::DatabricksError;
pub use host::Host;
pub use listener::Listener;
pub use profiles::{Profiles, Workspace};
pub use tokens::Tokens;
