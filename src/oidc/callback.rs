//! The listener on this machine's loopback to which a browser brings the provider's answer (RFC 8252
//! §7.3), or the terminal, into which a person pastes it. It takes one answer, that of this log-in,
//! and is rude to everything else; it never learns what a code is worth.

mod page;
mod query;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    //! What a browser brings and what a person pastes.
    use super::query::{self, Expected, Said};

    /// Nothing but an answer with our state is taken, however it comes; a bare code is the person's word.
    pub fn callback(text: &str) {
        let expected = Expected::new("the-state");
        if query::read(text, &expected).is_ok() {
            assert!(text.contains("state"));
        }
        if let Ok(Said::Code { issuer: Some(_), .. }) = query::read_pasted(text, &expected) {
            assert!(text.contains("iss"));
        }
    }
}
mod request;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Url;

use crate::browser::NotOpened;
use crate::error::{ExitCode, Explain, printable};
use crate::person::{self, NoAnswer, Person};
use query::{Expected, NotOurs, Said};
use request::Desk;

/// How many connections are held at once; a further one ends the oldest.
const MOST_CONNECTIONS: usize = 32;

/// How long one connection may take.
const LONGEST_CONNECTION: Duration = Duration::from_secs(10);

/// How often the terminal is looked at.
const GLANCE: Duration = Duration::from_millis(100);

/// What the redirect address calls this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loopback {
    /// `127.0.0.1`, and `[::1]` too where it can be had: RFC 8252 §8.3 prefers the literal.
    Addresses,
    /// `localhost`, at both addresses: what the roles of a Vault allow.
    Localhost,
}

/// Which port the listener takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// Any that is free.
    Free,
    /// This one or none: a provider that compares it accepts no other.
    Exactly(u16),
    /// This one, or any that is free where another program has it.
    Rather(u16),
    /// The first of these that is free.
    Among {
        /// The one that is tried first.
        first: u16,
        /// The one that is tried last.
        last: u16,
    },
}

/// Where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen {
    /// What the redirect address calls this machine.
    pub host: Loopback,
    /// The port.
    pub port: Port,
    /// The path, with its slash. The redirect address ends without one where this is the slash alone.
    pub path: &'static str,
}

/// Why there is no code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallbackError {
    /// Another program listens where the provider expects us.
    #[error("port {port} of this machine is taken by another program")]
    Taken {
        /// The port.
        port: u16,
    },
    /// Other programs listen at all ports where the provider accepts us.
    #[error("the ports {first} to {last} of this machine are taken by other programs")]
    AllTaken {
        /// The first.
        first: u16,
        /// The last.
        last: u16,
    },
    /// The system refuses to listen.
    #[error("no browser's answer can be waited for on this machine's loopback")]
    Listen {
        /// In its words.
        why: String,
    },
    /// The provider said no, or the person did there.
    #[error("the provider refused the log-in")]
    Refused {
        /// `error`, made printable.
        code: String,
        /// `error_description`, made printable.
        description: Option<String>,
    },
    /// Nobody answered in time.
    #[error("no answer came in time")]
    Unanswered {
        /// How many answers came that were another log-in's.
        others: usize,
    },
    /// Ctrl-C.
    #[error("the log-in was given up")]
    GivenUp,
}

impl Explain for CallbackError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Taken { .. } | Self::AllTaken { .. } | Self::Unanswered { .. } => ExitCode::Unreachable,
            Self::Listen { .. } => ExitCode::Fault,
            Self::Refused { .. } => ExitCode::Refused,
            Self::GivenUp => ExitCode::Interrupted,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            Self::Taken { .. } => Some("the provider sends the browser to this port and to no other".into()),
            Self::AllTaken { .. } => {
                Some("the provider sends the browser to these ports and to no other".into())
            }
            Self::Listen { why } => Some(printable(why)),
            Self::Refused { code, description } => {
                Some(description.as_ref().map_or_else(|| code.clone(), |words| format!("{code}: {words}")))
            }
            Self::Unanswered { others: 0 } | Self::GivenUp => None,
            Self::Unanswered { others } => {
                Some(format!("{others} came that did not belong to this log-in, and were refused"))
            }
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Taken { .. } => "end that program (perhaps another log-in), then try again".into(),
            Self::AllTaken { .. } => "end one of them, then try again".into(),
            Self::Listen { .. } => "{program} login --device-code{profile}{vault}{config}".into(),
            Self::Refused { code, .. } if code == "access_denied" => {
                "{program} login{profile}{vault}{config}".into()
            }
            Self::Refused { .. } => "ask whoever runs the provider what this client may ask for".into(),
            Self::Unanswered { .. } => "try again, or allow more time with `--login-timeout`".into(),
            Self::GivenUp => "{program} login{profile}{vault}{config}".into(),
        })
    }
}

/// The provider's answer: a code that is good once and for a minute.
///
/// As long as this is kept, a browser that comes again is told that it is late.
#[derive(Debug)]
pub struct Arrived {
    /// The code.
    pub code: SecretString,
    /// `iss` (RFC 9207), to be compared by whoever knows the issuer; never there where a bare code was
    /// pasted.
    pub issuer: Option<String>,
    /// A person copied it: what a browser would have brought along may be missing.
    pub is_pasted: bool,
    _listening: JoinSet<()>,
}

/// A listener that waits for one answer.
#[derive(Debug)]
pub struct Callback {
    listeners: Vec<TcpListener>,
    hosts: Vec<String>,
    path: &'static str,
    redirect_uri: String,
    instead_of: Option<u16>,
}

impl Callback {
    /// Listens, before any browser is opened.
    ///
    /// # Errors
    /// [`CallbackError::Taken`] for a port that has to be this one, [`CallbackError::Listen`] where
    /// the system refuses.
    pub async fn listen(at: Listen) -> Result<Self, CallbackError> {
        let failed = |error: io::Error| CallbackError::Listen { why: error.to_string() };
        let (bound, instead_of) = match at.port {
            Port::Free => (bind_any(at.host).await, None),
            Port::Exactly(port) => (bind(at.host, port).await, None),
            Port::Rather(port) => match bind(at.host, port).await {
                Err(error) if is_taken(&error) => (bind_any(at.host).await, Some(port)),
                bound => (bound, None),
            },
            Port::Among { first, last } => (bind_first(at.host, first..=last).await, None),
        };
        let listeners = bound.map_err(|error| match at.port {
            Port::Exactly(port) if is_taken(&error) => CallbackError::Taken { port },
            Port::Among { first, last } if is_taken(&error) => CallbackError::AllTaken { first, last },
            _ => failed(error),
        })?;
        let mut hosts = Vec::new();
        for listener in &listeners {
            // Written with its port, which is not 80, as a browser does.
            hosts.push(listener.local_addr().map_err(failed)?.to_string());
        }
        if at.host == Loopback::Localhost {
            let port = hosts.first().and_then(|host| host.rsplit_once(':')).map_or("", |(_, port)| port);
            hosts = vec![format!("localhost:{port}")];
        }
        let host = hosts.first().map_or("", String::as_str);
        let redirect_uri = format!("http://{host}{}", if at.path == "/" { "" } else { at.path });
        Ok(Self { listeners, hosts, path: at.path, redirect_uri, instead_of })
    }

    /// Where the provider is to send the browser.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// The port that was wanted, where another program has it.
    #[must_use]
    pub fn instead_of(&self) -> Option<u16> {
        self.instead_of
    }

    /// Waits for the answer that bears this `state`; with `paste`, also at the terminal.
    ///
    /// # Errors
    /// [`CallbackError::Refused`] in the provider's words, [`CallbackError::Unanswered`] after the
    /// deadline, [`CallbackError::GivenUp`].
    pub async fn wait(
        self,
        state: &str,
        deadline: Instant,
        paste: Option<&dyn Person>,
    ) -> Result<Arrived, CallbackError> {
        let (sender, mut answers) = mpsc::channel(1);
        let desk = Arc::new(Desk {
            hosts: self.hosts,
            path: self.path,
            expected: Expected::new(state),
            taken: AtomicBool::new(false),
            others: AtomicUsize::new(0),
            answers: sender,
        });
        let mut listening = JoinSet::new();
        for listener in self.listeners {
            listening.spawn(serve(listener, Arc::clone(&desk)));
        }
        let (said, is_pasted) = tokio::select! {
            biased;
            said = answers.recv() => (said, false),
            said = pasted(paste, &desk.expected) => (Some(said?), true),
            () = tokio::time::sleep_until(deadline.into()) => (None, false),
        };
        // Whoever comes now comes late.
        desk.taken.store(true, Ordering::Relaxed);
        match said {
            Some(Said::Code { code, issuer }) => {
                Ok(Arrived { code, issuer, is_pasted, _listening: listening })
            }
            Some(Said::Error { code, description }) => Err(CallbackError::Refused {
                code: printable(&code),
                description: description.map(|words| printable(&words)),
            }),
            None => Err(CallbackError::Unanswered { others: desk.others.load(Ordering::Relaxed) }),
        }
    }
}

impl Callback {
    /// Sends a person to `address` and waits for the answer that bears this `state`, as long as they
    /// may take. Where no browser is asked here, the terminal takes the answer too.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub async fn answer_of(
        self,
        person: &dyn Person,
        address: &Url,
        state: &str,
    ) -> Result<Arrived, CallbackError> {
        let deadline = Instant::now() + person.patience();
        let port = self.port();
        if let Some(wanted) = self.instead_of {
            person.tell(&format!(
                "port {wanted} is taken by another program, so this log-in ends at port {port}, which the provider may refuse"
            ));
        }
        let opened = person::send(person, address);
        if opened == Err(NotOpened::Remote) {
            person.tell(&format!(
                "a browser on another machine reaches this one through `ssh -L {port}:localhost:{port}`"
            ));
        }
        let paste = opened.is_err().then_some(person);
        if paste.is_some() {
            person.tell(
                "or paste here the address that the browser ends at, even where it shows no page, or the code in it:",
            );
        }
        self.wait(state, deadline, paste).await
    }

    fn port(&self) -> u16 {
        let address = self.listeners.first().and_then(|listener| listener.local_addr().ok());
        address.map_or(0, |address| address.port())
    }
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

async fn bind_any(host: Loopback) -> io::Result<Vec<TcpListener>> {
    // The system chooses a port that is free at one address; at the other it may not be.
    const TRIES: usize = 16;
    let mut bound = bind(host, 0).await;
    for _ in 1..TRIES {
        if !bound.as_ref().is_err_and(is_taken) {
            break;
        }
        bound = bind(host, 0).await;
    }
    bound
}

async fn bind_first(host: Loopback, mut ports: RangeInclusive<u16>) -> io::Result<Vec<TcpListener>> {
    let mut bound = Err(io::ErrorKind::AddrInUse.into());
    while bound.as_ref().is_err_and(is_taken)
        && let Some(port) = ports.next()
    {
        bound = bind(host, port).await;
    }
    bound
}

async fn bind(host: Loopback, port: u16) -> io::Result<Vec<TcpListener>> {
    let four = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let port = four.local_addr()?.port();
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
        Ok(six) => Ok(vec![four, six]),
        // Security: a browser may take `localhost` for either address. Whoever sits at the other one
        // would be brought the code.
        Err(error) if host == Loopback::Localhost && is_taken(&error) => Err(error),
        // There is no IPv6 here, or nobody needs it.
        Err(_) => Ok(vec![four]),
    }
}

/// Answers every connection. A client that dawdles keeps nobody else from being answered.
async fn serve(listener: TcpListener, desk: Arc<Desk>) {
    let mut connections = JoinSet::new();
    let mut oldest = VecDeque::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Too many open files: some will be closed.
                    tokio::time::sleep(GLANCE).await;
                    continue;
                };
                if connections.len() >= MOST_CONNECTIONS {
                    oldest.pop_front().iter().for_each(tokio::task::AbortHandle::abort);
                }
                let answer = request::answer(stream, Arc::clone(&desk));
                oldest.push_back(connections.spawn(async move {
                    let _ = tokio::time::timeout(LONGEST_CONNECTION, answer).await;
                }));
            }
            Some(_) = connections.join_next() => oldest.retain(|handle| !handle.is_finished()),
        }
    }
}

/// What a person pastes, once it is an answer to this log-in.
async fn pasted(person: Option<&dyn Person>, expected: &Expected) -> Result<Said, CallbackError> {
    let Some(person) = person else { return std::future::pending().await };
    loop {
        match person.typed() {
            Ok(None) => tokio::time::sleep(GLANCE).await,
            Ok(Some(line)) if line.trim().is_empty() => {}
            Ok(Some(line)) => match query::read_pasted(&line, expected) {
                Ok(said) => return Ok(said),
                Err(NotOurs::State) => {
                    person.tell(
                        "that address belongs to another log-in; paste the one that this log-in ended at",
                    );
                }
                Err(NotOurs::Contradictory) => {
                    person.tell("that is neither the address that the browser ended at nor a code");
                }
            },
            Err(NoAnswer::Interrupted) => return Err(CallbackError::GivenUp),
            // Nothing will be typed any more; a browser may still come.
            Err(_) => return std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
