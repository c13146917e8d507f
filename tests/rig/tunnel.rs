//! A proxy through which a browser reaches servers with TLS and nothing else: its machine is another
//! one, so that what listens on this machine's loopback for it does not answer.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The proxy. It takes no new connections once dropped.
pub(super) struct Tunnel {
    /// `127.0.0.1:PORT`.
    pub(super) address: String,
    ended: Arc<AtomicBool>,
}

impl Tunnel {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let ended = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&ended);
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                // A browser that goes away in the middle is no fault.
                thread::spawn(move || serve(client));
            }
        });
        Self { address, ended }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(&self.address));
    }
}

/// RFC 9110, section 9.3.6: `CONNECT host:port`. Anything else is a page without TLS.
fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && head.len() < 65_536 {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split_whitespace();
    if words.next() != Some("CONNECT") {
        let page = "<p>no such machine</p>";
        let length = page.len();
        return write!(
            client,
            "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n{page}"
        );
    }
    let mut server = TcpStream::connect(words.next().unwrap_or_default())?;
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let answers = thread::spawn(move || {
        let copied = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
        copied
    });
    io::copy(&mut client, &mut server)?;
    let _ = server.shutdown(Shutdown::Write);
    let _ = answers.join();
    Ok(())
}
