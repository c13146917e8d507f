//! Asks the servers of names, for both kinds of addresses at once.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::NameError;
use super::configuration::Configuration;
use super::message::{Answer, Kind, Question};

/// How much longer than the first kind of addresses the other one is waited for: some servers never
/// answer to one of them.
const PATIENCE: Duration = Duration::from_millis(500);
/// No answer that fits into a datagram is longer; a question says that by not saying otherwise.
const LARGEST_DATAGRAM: usize = 4096;

/// The addresses of a host, of the first of its candidates that has any.
pub(super) async fn addresses(by: &Configuration, host: &str) -> Result<Vec<IpAddr>, NameError> {
    let mut outcome = NameError::Unknown;
    for name in by.candidates(host) {
        match both_kinds(by, &name).await {
            Ok(found) => return Ok(found),
            Err(NameError::Unknown) => {}
            // A server that knows nothing of one domain may know the next.
            Err(error @ NameError::Failed(_)) => outcome = error,
            Err(error) => return Err(error),
        }
    }
    Err(outcome)
}

async fn both_kinds(by: &Configuration, name: &str) -> Result<Vec<IpAddr>, NameError> {
    if by.no_ipv6 {
        return merged([one_kind(by, name, Kind::Ipv4).await]);
    }
    let mut ipv4 = pin!(one_kind(by, name, Kind::Ipv4));
    let mut ipv6 = pin!(one_kind(by, name, Kind::Ipv6));
    let both = tokio::select! {
        first = &mut ipv4 => second(first, ipv6).await,
        first = &mut ipv6 => second(first, ipv4).await,
    };
    merged(both)
}

type Outcome = Result<Vec<IpAddr>, NameError>;

async fn second(first: Outcome, other: impl Future<Output = Outcome>) -> [Outcome; 2] {
    let other = match first {
        Ok(_) => timeout(PATIENCE, other).await.unwrap_or(Err(NameError::Unknown)),
        Err(_) => other.await,
    };
    [first, other]
}

/// What both know; an error only where neither knows an address.
fn merged(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
    let (mut found, mut failure) = (Vec::new(), NameError::Unknown);
    for outcome in outcomes {
        match outcome {
            Ok(addresses) => found.extend(addresses),
            Err(NameError::Unknown) => {}
            Err(error) => failure = error,
        }
    }
    if found.is_empty() { Err(failure) } else { Ok(found) }
}

/// Asks each server in turn, as often as the settings say.
async fn one_kind(by: &Configuration, name: &str, kind: Kind) -> Outcome {
    let random = SystemRandom::new();
    let mut bytes = [0; 3];
    random.fill(&mut bytes).map_err(|_| NameError::Failed("no random number".to_owned()))?;
    let [high, low, turn] = bytes;
    let id = u16::from_be_bytes([high, low]);
    let question = Question::new(id, name, kind).ok_or(NameError::Unknown)?;
    let mut servers = by.servers.clone();
    if by.rotate && !servers.is_empty() {
        let by = usize::from(turn) % servers.len();
        servers.rotate_left(by);
    }
    let mut said = None;
    for _ in 0..by.attempts {
        for server in &servers {
            match timeout(by.wait, ask(*server, &question, by.streams_only)).await {
                Ok(Ok(Answer::Addresses(found))) if !found.is_empty() => return Ok(found),
                Ok(Ok(Answer::Addresses(_) | Answer::NoSuchName)) => return Err(NameError::Unknown),
                Ok(Ok(Answer::Failed(code))) => {
                    said = Some(format!("{} says {}", server.ip(), in_words(code)));
                }
                // Nobody listens there, or nobody answered: the next one may.
                Ok(Ok(Answer::Truncated) | Err(_)) | Err(_) => {}
            }
        }
        // Whoever said that it cannot find out says the same again.
        if said.is_some() {
            break;
        }
    }
    let asked = || servers.iter().map(|server| server.ip().to_string()).collect::<Vec<_>>().join(", ");
    Err(said.map_or_else(|| NameError::Unanswered(asked()), NameError::Failed))
}

/// RFC 1035, section 4.1.1.
fn in_words(code: u8) -> String {
    match code {
        2 => "that it failed".to_owned(),
        5 => "that it refuses".to_owned(),
        code => format!("code {code}"),
    }
}

async fn ask(server: SocketAddr, question: &Question, streams_only: bool) -> io::Result<Answer> {
    if !streams_only {
        let answer = by_datagram(server, question).await?;
        if answer != Answer::Truncated {
            return Ok(answer);
        }
    }
    by_stream(server, question).await
}

/// On a socket of its own for each question: answers to two from one port are lost behind some
/// routers, and a port that is not known is hard to forge for.
async fn by_datagram(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    // Security: what others than this server send does not arrive.
    socket.connect(server).await?;
    socket.send(&question.bytes).await?;
    let mut buffer = vec![0; LARGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).and_then(|message| question.answered_by(message));
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
}

/// RFC 1035, section 4.2.2: with its length before it.
async fn by_stream(server: SocketAddr, question: &Question) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.bytes.len()).map_err(io::Error::other)?;
    let message = [&length.to_be_bytes(), question.bytes.as_slice()].concat();
    stream.write_all(&message).await?;
    let length = stream.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await?;
    question.answered_by(&message).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests;
