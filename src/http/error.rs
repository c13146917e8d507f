//! What can go wrong between two machines, told apart by what the caller may do next.

use crate::error::{ExitCode, Explain};

/// Why there is no answer, or none that is whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No connection was made: nothing was sent.
    #[error("cannot reach `{host}`")]
    Connect {
        /// `host:port`, or the socket's path.
        host: String,
        /// Why not.
        cause: ConnectCause,
    },
    /// A connection, but not to whom we trust: nothing was sent.
    #[error("no trusted TLS connection to `{host}`")]
    Tls {
        /// `host:port`.
        host: String,
        /// Why not.
        cause: TlsCause,
    },
    /// The time was over.
    #[error("no answer from `{host}` in time")]
    Deadline {
        /// `host:port`.
        host: String,
        /// Whether the request may have arrived.
        sent: bool,
    },
    /// The connection broke before the answer was whole.
    #[error("`{host}` broke off the connection before its answer was complete")]
    Interrupted {
        /// `host:port`.
        host: String,
        /// In the words of the system.
        why: String,
    },
    /// The answer is larger than anything we ask for.
    #[error("the answer of `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// `host:port`.
        host: String,
        /// The most we take.
        limit: usize,
    },
    /// What answered does not speak HTTP.
    #[error("the answer of `{host}` is not HTTP")]
    NotHttp {
        /// `host:port`.
        host: String,
        /// In the words of the parser.
        why: String,
    },
    /// A header cannot be sent: line breaks or other control characters in its value.
    #[error("the value of the header `{name}` holds a character that no header can carry")]
    Header {
        /// The header; never its value.
        name: String,
    },
    /// A certificate, key or proxy of the settings cannot be used.
    #[error("{what} cannot be used")]
    Settings {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
}

/// Why no connection was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectCause {
    /// The name has no address.
    NameUnknown,
    /// Nobody listens there.
    Refused,
    /// The proxy did not let us through.
    Proxy(String),
    /// Something else, in the words of the system.
    Other(String),
}

/// Why the other side is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsCause {
    /// The certificate is of an authority that we do not know.
    UnknownIssuer,
    /// The certificate has expired.
    Expired,
    /// The certificate is not valid yet.
    NotYetValid,
    /// The certificate is for other names.
    WrongName(Vec<String>),
    /// It does not speak TLS.
    NotTls,
    /// It wants a client certificate, or refuses ours.
    ClientCertificate(String),
    /// Something else, in the words of the TLS library.
    Other(String),
}

impl HttpError {
    /// Whether the server may have acted on the request.
    #[must_use]
    pub fn may_have_been_processed(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Tls { .. } | Self::Header { .. } | Self::Settings { .. } => false,
            Self::Deadline { sent, .. } => *sent,
            Self::Interrupted { .. } | Self::TooLarge { .. } | Self::NotHttp { .. } => true,
        }
    }
}

impl Explain for HttpError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Unreachable
    }
    fn why(&self) -> Option<String> {
        None
    }
    fn hint(&self) -> Option<String> {
        None
    }
}
