//! The socket before the metadata service: loopback alone, many connections at once, each with one
//! request, a limit of size and a limit of time. It reads and writes bytes; [`super::metadata`] judges.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::io::AsyncWrite as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::metadata::{self, Answer, Place};
use super::profiles::Asked;
use super::request::{Head, LARGEST_HEAD, end_of_head};
use super::{DatabricksError, Tokens};
use crate::error::{Calling, Error};
use crate::network::beside;

/// How long a client may take to send its request, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a token may take: the SDKs give up after ten seconds.
const LONGEST_ANSWER: Duration = Duration::from_millis(9_500);

/// What leaves room for an answer within that.
pub const LONGEST_FETCH: Duration = Duration::from_secs(8);

/// The most connections at once; further ones wait in the system's queue.
const MOST_CONNECTIONS: usize = 256;

/// Reads where to listen: `127.0.0.1:PORT` or `localhost:PORT`.
///
/// # Errors
/// Any other place.
pub fn place_to_listen(text: &str) -> Result<u16, DatabricksError> {
    let elsewhere = || DatabricksError::ListenElsewhere(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(elsewhere)?;
    // Security: no other address of this machine, and none of another family: nobody would ask there.
    if host != "127.0.0.1" && host != "localhost" {
        return Err(elsewhere());
    }
    port.parse().map_err(|_| elsewhere())
}

/// A metadata service that is ready.
pub struct Listener {
    socket: TcpListener,
    place: Place,
    tokens: Arc<Tokens>,
    calling: Calling,
}

impl Listener {
    /// Listens on loopback, at this port or (0) at a free one.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn bind(port: u16, tokens: Arc<Tokens>, calling: Calling) -> Result<Self, Error> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let failed = |error: std::io::Error| DatabricksError::NotListening {
            address: address.to_string(),
            reason: error.to_string(),
        };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let place = Place::new(socket.local_addr().map_err(failed)?.port())?;
        Ok(Self { socket, place, tokens, calling })
    }

    /// Its whole address, for `DATABRICKS_METADATA_SERVICE_URL`.
    #[must_use]
    pub fn url(&self) -> SecretString {
        self.place.url()
    }

    /// Serves until it is dropped.
    pub async fn serve(self) {
        let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
        let service = Arc::new(Service { place: self.place, tokens: self.tokens, calling: self.calling });
        loop {
            let Ok(seat) = Arc::clone(&room).acquire_owned().await else { return };
            let Ok((stream, _)) = self.socket.accept().await else {
                // Out of descriptors: some connection has to end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let service = Arc::clone(&service);
            tokio::spawn(async move {
                service.converse(stream).await;
                drop(seat);
            });
        }
    }
}

struct Service {
    place: Place,
    tokens: Arc<Tokens>,
    calling: Calling,
}

impl Service {
    async fn converse(&self, mut stream: TcpStream) {
        let answer = match timeout(PATIENCE, read_head(&stream)).await {
            Ok(Ok(head)) => self.answer(&head).await,
            Ok(Err(Some(answer))) => answer,
            // It went away, or said nothing in time.
            Ok(Err(None)) => return,
            Err(_) => Answer::refusal(408, "the request took too long"),
        };
        let text = response(&answer);
        // Whoever does not read it has gone.
        let _ = timeout(PATIENCE, async {
            write_all(&stream, text.as_bytes()).await?;
            poll_fn(|context| Pin::new(&mut stream).poll_shutdown(context)).await?;
            // What is left unread would make the system take the answer back.
            let mut rest = [0; 1024];
            loop {
                stream.readable().await?;
                match stream.try_read(&mut rest) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        })
        .await;
    }

    async fn answer(&self, head: &[u8]) -> Answer {
        let host = match Head::parse(head) {
            Ok(head) => metadata::judge(&self.place, &head),
            Err(flaw) => Err(flaw.into()),
        };
        let host = match host {
            Ok(host) => host,
            Err(answer) => return answer,
        };
        let (tokens, calling) = (Arc::clone(&self.tokens), self.calling.clone());
        let work = beside(move || {
            let asked = Asked { host: Some(host.clone()), ..Asked::default() };
            let token = tokens
                .choose(&asked)
                .and_then(|workspace| Ok((tokens.token(&workspace)?, workspace.profile.to_string())));
            match token {
                Ok((token, profile)) => {
                    tokens.note(&metadata::told(&host, &profile, token.usable_until));
                    Answer::token(&token)
                }
                Err(error) => {
                    tokens.note(&format!("no token for {host}: {error}"));
                    Answer::failure(&error, &calling)
                }
            }
        });
        match timeout(LONGEST_ANSWER, work).await {
            Ok(Some(answer)) => answer,
            Ok(None) => Answer::refusal(500, "a fault of ours"),
            Err(_) => Answer::refusal(503, "the token is still being fetched: ask again"),
        }
    }
}

/// The head of a request. `None`: there is nobody to answer.
async fn read_head(stream: &TcpStream) -> Result<Vec<u8>, Option<Answer>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        stream.readable().await.map_err(|_| None)?;
        let mut piece = [0; 2048];
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(None),
            Ok(count) => bytes.extend(piece.iter().take(count)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => return Err(None),
        }
        if let Some(end) = end_of_head(&bytes) {
            bytes.truncate(end);
            return Ok(bytes);
        }
        if bytes.len() > LARGEST_HEAD {
            return Err(Some(Answer::refusal(431, "the request is too large")));
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// One connection, one answer: nothing of a request that was not understood is taken for the next one.
fn response(answer: &Answer) -> Zeroizing<String> {
    let reason = match answer.status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        431 => "Request Header Fields Too Large",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    };
    let allow = if answer.status == 405 { "Allow: GET\r\n" } else { "" };
    Zeroizing::new(format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{allow}\
         Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{}",
        answer.status,
        answer.body.len(),
        answer.body.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_loopback_is_listened_on() {
        assert_eq!(place_to_listen("127.0.0.1:0"), Ok(0));
        assert_eq!(place_to_listen("localhost:8020"), Ok(8020));
        for other in [
            "0.0.0.0:0",
            "[::]:0",
            "[::1]:0",
            "127.0.0.2:0",
            "10.0.0.1:80",
            "8020",
            "127.0.0.1:",
            "127.0.0.1:99999",
            "",
        ] {
            assert!(place_to_listen(other).is_err(), "{other}");
        }
    }
}
