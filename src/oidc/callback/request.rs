//! One connection of a browser: its request read within limits, judged, and answered with a page.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::page::Page;
use super::query::{self, Expected, NotOurs, Said};

/// The largest head of a request that is read. A code with its neighbours stays below a fourth of it.
const LARGEST_HEAD: usize = 32 * 1024;

/// How long a browser may take to read a page.
const LONGEST_FAREWELL: Duration = Duration::from_secs(1);

/// What all connections share.
pub(super) struct Desk {
    pub(super) hosts: Vec<String>,
    pub(super) path: &'static str,
    pub(super) expected: Expected,
    /// The answer has come.
    pub(super) taken: AtomicBool,
    /// How many answers were another log-in's.
    pub(super) others: AtomicUsize,
    pub(super) answers: mpsc::Sender<Said>,
}

/// Reads, judges and answers; the answer is handed on once the page is on its way.
pub(super) async fn answer(mut stream: TcpStream, desk: Arc<Desk>) {
    let (page, said) = match read_head(&mut stream).await {
        Ok(Some(head)) => desk.judge(&head),
        Ok(None) => return,
        Err(page) => (page, None),
    };
    // Whether the browser still listens changes nothing about the answer.
    let _ = tokio::time::timeout(LONGEST_FAREWELL, show(&mut stream, &page)).await;
    if let Some(said) = said {
        // Nobody waits any more where this fails.
        let _ = desk.answers.send(said).await;
    }
    let _ = tokio::time::timeout(LONGEST_FAREWELL, drain(&mut stream)).await;
}

async fn show(stream: &mut TcpStream, page: &Page) -> io::Result<()> {
    stream.write_all(page.response().as_bytes()).await?;
    stream.shutdown().await
}

/// Reads what else was sent: a connection that is closed over something unread takes the page back.
async fn drain(stream: &mut TcpStream) -> io::Result<()> {
    let mut rest = Zeroizing::new([0; 4096]);
    while stream.read(&mut *rest).await? > 0 {}
    Ok(())
}

/// The head of a request; none where the connection ends before anything came.
async fn read_head(stream: &mut TcpStream) -> Result<Option<Zeroizing<Vec<u8>>>, Page> {
    // Security: whole from the start, for the code is in it and a buffer that grows leaves copies.
    let mut head = Zeroizing::new(Vec::with_capacity(LARGEST_HEAD));
    let mut piece = Zeroizing::new([0; 4096]);
    loop {
        let count = stream.read(&mut *piece).await.unwrap_or(0);
        if count == 0 {
            return if head.is_empty() { Ok(None) } else { Err(Page::Malformed) };
        }
        if head.len() + count > LARGEST_HEAD {
            return Err(Page::TooLarge);
        }
        let seen = head.len().saturating_sub(3);
        head.extend(piece.iter().take(count));
        let end = head.windows(4).skip(seen).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            head.truncate(seen + end);
            return Ok(Some(head));
        }
    }
}

impl Desk {
    /// The page for this request, and the answer where it brought one.
    fn judge(&self, head: &[u8]) -> (Page, Option<Said>) {
        let Some(request) = Request::parse(head) else { return (Page::Malformed, None) };
        // Security: another site whose name leads to this machine (DNS rebinding) says its own name.
        if !self.hosts.iter().any(|host| host.eq_ignore_ascii_case(request.host)) {
            return (Page::OtherHost, None);
        }
        let (path, query) = request.target.split_once('?').unwrap_or((request.target, ""));
        if path != self.path {
            return (Page::NotFound, None);
        }
        if request.method != "GET" {
            return (Page::NotAllowed, None);
        }
        let said = match query::read(query, &self.expected) {
            Ok(said) => said,
            Err(_) if self.taken.load(Ordering::Relaxed) => return (Page::Gone, None),
            Err(NotOurs::State) => {
                self.others.fetch_add(1, Ordering::Relaxed);
                return (Page::OtherState, None);
            }
            Err(NotOurs::Contradictory) => return (Page::NoAnswer, None),
        };
        // Security: one answer, whoever else brings it again.
        if self.taken.swap(true, Ordering::Relaxed) {
            return (Page::Gone, None);
        }
        let page = match &said {
            Said::Code { .. } => Page::Arrived,
            Said::Error { code, description } => Page::Refused(
                description.as_ref().map_or_else(|| code.clone(), |words| format!("{code}: {words}")),
            ),
        };
        (page, Some(said))
    }
}

/// What of a request counts.
struct Request<'a> {
    method: &'a str,
    target: &'a str,
    host: &'a str,
}

impl<'a> Request<'a> {
    /// RFC 9112, as far as a browser's request needs it; none for anything odd.
    fn parse(head: &'a [u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(head).ok()?.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        if words.next().is_some() || !version.starts_with("HTTP/1.") || !target.starts_with('/') {
            return None;
        }
        let mut host = None;
        for line in lines {
            let (name, value) = line.split_once(':')?;
            // Security: `Host : other` or a folded line is read one way here and another way elsewhere.
            if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_whitespace()) {
                return None;
            }
            if name.eq_ignore_ascii_case("host") && host.replace(value.trim()).is_some() {
                return None;
            }
        }
        Some(Self { method, target, host: host? })
    }
}
