//! What Vault refused, or why it could not be asked; each variant is one thing to do next.

use crate::error::{ExitCode, Explain};
use crate::http::HttpError;
use crate::identity::IdentityError;

use super::Operation;

/// Why there is no answer of a Vault that can be used. `vault` is its printable address.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are named alike throughout and explained at the head")]
pub enum VaultError {
    /// A person must log in.
    #[error("log-in to `{vault}` required")]
    LoginRequired { vault: String, why: String },
    /// Vault refused the log-in.
    #[error("`{vault}` refused the log-in with `{method}` at `auth/{mount}`")]
    LoginRefused {
        vault: String,
        method: &'static str,
        mount: String,
        who: Option<String>,
        status: u16,
        messages: Vec<String>,
    },
    /// The session is good, its policies do not allow the call.
    #[error("`{vault}` denied access to `{path}`")]
    Denied { vault: String, path: String, operation: Operation, messages: Vec<String> },
    /// Vault (or what stands behind the engine) said no for another reason: 400, 405, 500 …
    #[error("`{vault}` rejected the call to `{path}` with status {status}")]
    Rejected { vault: String, path: String, status: u16, messages: Vec<String> },
    /// The namespace does not exist.
    #[error("`{vault}` has no namespace `{namespace}`")]
    NamespaceUnknown { vault: String, namespace: String },
    /// Someone else has used the wrapping token: an alarm.
    #[error("the wrapped secret id for `auth/{mount}` was used or has expired before we unwrapped it")]
    WrappingSpent { vault: String, mount: String, messages: Vec<String> },
    /// The wrapping token wraps something that is no secret id of this mount: an alarm.
    #[error("the wrapped secret id for `auth/{mount}` was made elsewhere, at `{creation_path}`")]
    WrappingForeign { vault: String, mount: String, creation_path: String },
    /// Sealed, or not initialised.
    #[error("`{vault}` is sealed")]
    Sealed { vault: String },
    /// A rate limit.
    #[error("`{vault}` is too busy")]
    Busy { vault: String, messages: Vec<String> },
    /// 502, 503, 504, a node without a leader.
    #[error("`{vault}` cannot serve at the moment: status {status}")]
    Unavailable { vault: String, status: u16, messages: Vec<String> },
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// An answer that cannot be used.
    #[error("the answer of `{vault}` to `{path}` cannot be used")]
    Unusable { vault: String, path: String, why: String },
    /// A redirect to where our secrets may not go.
    #[error("`{vault}` redirects to `{target}`, which was not followed")]
    Redirect { vault: String, target: String, why: &'static str },
    /// It would have gone over the wire in clear.
    #[error("no secret is sent to `{vault}` over plain http")]
    Cleartext { vault: String },
    /// A path that is none.
    #[error("`{part}` cannot be part of a path in Vault")]
    Path { part: String },
    /// A file or field that the log-in needs.
    #[error("{what} cannot be used")]
    Settings { what: String, why: String, hint: Option<String> },
    /// The workload's own JWT could not be had.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The person gave up.
    #[error("the log-in to `{vault}` was given up")]
    GivenUp { vault: String },
}

impl Explain for VaultError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Fault
    }
    fn why(&self) -> Option<String> {
        None
    }
    fn hint(&self) -> Option<String> {
        None
    }
}
