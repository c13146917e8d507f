//! The OpenID and OAuth client: what a provider says about itself, and what its token endpoint
//! answers.
//!
//! It sends a secret only to an endpoint that the issuer of the settings names, over TLS, and follows
//! no redirect. It never reads the environment or the settings file, prints, or keeps a token itself.

pub mod callback;
mod client;
pub mod client_secret;
pub mod databricks;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
pub mod id_token;
pub mod jwks;
mod log_in;
mod log_out;
pub mod metadata;
pub mod provider;
mod session;
pub mod token_endpoint;

pub use client::{Client, Freshness, Parts};
pub use error::OidcError;
pub use log_out::{ProviderSessionEnd, Revoked};
pub use session::{ProviderSession, ProviderSessionStore, Turn};
