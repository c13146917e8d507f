//! The OpenID and OAuth client: what a provider says about itself, and what its token endpoint
//! answers.
//!
//! It sends a secret only to an endpoint that the issuer of the settings names, over TLS, and follows
//! no redirect. It never reads the environment or the settings file, prints, or keeps a token itself.

pub mod callback;
mod error;
pub mod metadata;
pub mod token_endpoint;

pub use error::OidcError;
