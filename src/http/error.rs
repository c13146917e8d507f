//! What can go wrong between two machines, told apart by what the caller may do next.

use std::error::Error as StdError;
use std::io;

use rustls::{AlertDescription, CertificateError};

use super::names::NameError;
use crate::error::{ExitCode, Explain, printable};

/// Why there is no answer, or none that is whole. `host` is `host:port` or a socket's path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No connection was made: nothing was sent.
    #[error("cannot reach `{host}`")]
    Connect {
        /// Whom.
        host: String,
        /// Why not.
        cause: ConnectCause,
        /// The proxy that is set for it (`NO_PROXY` may have switched it off).
        proxy: Option<String>,
    },
    /// A connection, but not to whom we trust: nothing was sent.
    #[error("no trusted TLS connection to `{host}`")]
    Tls {
        /// To whom.
        host: String,
        /// Why not.
        cause: TlsCause,
    },
    /// The time was over.
    #[error("no answer from `{host}` in time")]
    Deadline {
        /// From whom.
        host: String,
        /// Whether the request may have arrived.
        sent: bool,
    },
    /// The connection broke before the answer was whole.
    #[error("`{host}` broke off before its answer was complete")]
    Interrupted {
        /// Who.
        host: String,
        /// In the words of the system.
        why: String,
    },
    /// The answer is larger than anything we ask for.
    #[error("the answer of `{host}` is larger than {limit} bytes")]
    TooLarge {
        /// Whose.
        host: String,
        /// The most we take.
        limit: usize,
    },
    /// What answered does not speak HTTP.
    #[error("the answer of `{host}` is not HTTP")]
    NotHttp {
        /// Whose.
        host: String,
        /// In the words of the parser.
        why: String,
    },
    /// A header cannot be sent: its value holds a line break or another such character.
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
    /// It took too long.
    TimedOut,
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
    /// The certificate is for these other names.
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
        match self {
            // A certificate that cannot be trusted counts as not reachable: whoever answers is not
            // the server, and once its certificate or our authority is mended the same call works.
            Self::Connect { .. } | Self::Tls { .. } | Self::Deadline { .. } | Self::Interrupted { .. } => {
                ExitCode::Unreachable
            }
            Self::TooLarge { .. } | Self::NotHttp { .. } => ExitCode::Unusable,
            Self::Header { .. } | Self::Settings { .. } => ExitCode::Usage,
        }
    }

    fn why(&self) -> Option<String> {
        Some(match self {
            Self::Connect { cause, proxy, .. } => {
                let why = cause.in_words();
                proxy.as_ref().map_or(why.clone(), |proxy| format!("{why}; the proxy `{proxy}` is set"))
            }
            Self::Tls { cause, .. } => cause.in_words(),
            Self::Deadline { sent: true, .. } => "it may have acted on the request all the same".into(),
            Self::Deadline { sent: false, .. } => "the time was over before anything was sent".into(),
            Self::Interrupted { why, .. } | Self::NotHttp { why, .. } | Self::Settings { why, .. } => {
                printable(why)
            }
            Self::TooLarge { .. } | Self::Header { .. } => return None,
        })
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Connect { cause: ConnectCause::NameUnknown, .. } => {
                "check the name in the address, and whether a VPN is needed"
            }
            Self::Connect { cause: ConnectCause::Proxy(_), .. } => {
                "check `HTTPS_PROXY`, or name the host in `NO_PROXY`"
            }
            Self::Connect { .. } => "check the address and that the server runs",
            Self::Tls { cause, .. } => cause.hint(),
            Self::Deadline { .. } => "try again, or allow more time with `--timeout`",
            Self::Interrupted { .. } => "try again",
            Self::TooLarge { .. } | Self::NotHttp { .. } => "check that the address is the server's",
            Self::Header { .. } => "look for line breaks and blanks where the value comes from",
            Self::Settings { .. } => return None,
        };
        Some(hint.into())
    }
}

impl ConnectCause {
    fn in_words(&self) -> String {
        match self {
            Self::NameUnknown => "its name has no address".into(),
            Self::Refused => "the connection was refused: nobody listens there".into(),
            Self::TimedOut => "the connection took too long".into(),
            Self::Proxy(why) => format!("the proxy did not let us through: {}", printable(why)),
            Self::Other(why) => printable(why),
        }
    }
}

impl TlsCause {
    fn in_words(&self) -> String {
        match self {
            Self::UnknownIssuer => "its certificate is of an authority that is not trusted here".into(),
            Self::Expired => "its certificate has expired".into(),
            Self::NotYetValid => "its certificate is not valid yet".into(),
            Self::WrongName(names) if names.is_empty() => "its certificate is for another name".into(),
            Self::WrongName(names) => format!("its certificate is for `{}`", printable(&names.join("`, `"))),
            Self::NotTls => "it answered in clear: it does not speak TLS".into(),
            Self::ClientCertificate(why) => format!("it refused our client certificate, or wants one: {why}"),
            Self::Other(why) => printable(why),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::UnknownIssuer => "set `certificateAuthority` to the authority of that server",
            Self::Expired => "have the server's certificate renewed; check the clock of this machine",
            Self::NotYetValid => "check the clock of this machine",
            Self::WrongName(_) => "use a name of the certificate in the address",
            Self::NotTls => "check the port; only a server on this machine may be used with `http://`",
            Self::ClientCertificate(_) => "check the client certificate of the settings",
            Self::Other(_) => "check that the address is the server's",
        }
    }
}

/// The library's error in our terms.
pub(super) fn from_library(host: String, proxy: Option<String>, error: &reqwest::Error) -> HttpError {
    if let Some(failure) = find::<rustls::Error>(error) {
        if let Some(cause) = judge_tls(failure) {
            return HttpError::Tls { host, cause };
        }
        if error.is_connect() {
            return HttpError::Tls { host, cause: TlsCause::Other(failure.to_string()) };
        }
    }
    if error.is_connect() {
        let cause = if error.is_timeout() {
            ConnectCause::TimedOut
        } else if let Some(failure) = find::<NameError>(error) {
            match failure {
                NameError::Unknown => ConnectCause::NameUnknown,
                failure => ConnectCause::Other(failure.to_string()),
            }
        } else {
            judge_connect(error)
        };
        return HttpError::Connect { host, cause, proxy };
    }
    let why = innermost(error);
    if error.is_builder() {
        return HttpError::Settings { what: format!("the address of `{host}`"), why };
    }
    if find::<io::Error>(error).is_none() && why.starts_with("invalid HTTP") {
        return HttpError::NotHttp { host, why };
    }
    let ended = find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof);
    // The TLS library's words for it are a link to its manual.
    let why = if ended { "the connection was closed in the middle".into() } else { why };
    HttpError::Interrupted { host, why }
}

fn judge_connect(error: &reqwest::Error) -> ConnectCause {
    let refused = find::<io::Error>(error).is_some_and(|error| {
        matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
    });
    if refused {
        return ConnectCause::Refused;
    }
    let why = innermost(error);
    if chain(error).any(|error| error.to_string().contains("tunnel")) {
        return ConnectCause::Proxy(why);
    }
    ConnectCause::Other(why)
}

/// `None`: not about trust, so it says no more than any broken connection.
fn judge_tls(error: &rustls::Error) -> Option<TlsCause> {
    Some(match error {
        rustls::Error::InvalidCertificate(error) => match error {
            // The second: an authority that was made anew under its old name.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => TlsCause::UnknownIssuer,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsCause::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsCause::NotYetValid
            }
            CertificateError::NotValidForName => TlsCause::WrongName(Vec::new()),
            CertificateError::NotValidForNameContext { presented, .. } => {
                TlsCause::WrongName(presented.iter().map(|name| bare(name)).collect())
            }
            other => TlsCause::Other(other.to_string()),
        },
        rustls::Error::InvalidMessage(_) => TlsCause::NotTls,
        // In TLS 1.3 the server judges our certificate when we believe to be through already.
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure),
        ) => TlsCause::ClientCertificate(format!("alert {alert:?}")),
        _ => return None,
    })
}

/// The name in `DnsName("name")`.
fn bare(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(presented).trim_matches('"').to_owned()
}

/// All errors beneath an error. `io::Error` hides what it wraps from `source`.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error| beneath(*error))
}

fn beneath<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref())
}

/// The last error of the chain says what happened; those above say where. None of them repeats the
/// URL, which the library's own one would.
pub(super) fn innermost(error: &reqwest::Error) -> String {
    chain(error).last().map_or_else(String::new, |last| {
        if last.is::<reqwest::Error>() { "the request failed".into() } else { last.to_string() }
    })
}
