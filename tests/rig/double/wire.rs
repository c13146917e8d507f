//! Just enough of HTTP/1.1 to be called by real clients: bodies with a length or in chunks, and several
//! requests on one connection.

use std::io::{self, Read, Write};

use super::Seen;

/// The next request, or none where the client has closed. `unread` keeps what came after it.
pub(super) fn read(stream: &mut impl Read, unread: &mut Vec<u8>) -> io::Result<Option<Seen>> {
    let Some(head) = take_until(stream, unread, b"\r\n\r\n")? else {
        return Ok(None);
    };
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let mut request = Seen {
        method: first.next().unwrap_or_default().to_owned(),
        path: first.next().unwrap_or_default().to_owned(),
        headers: lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: Vec::new(),
    };
    if request.header("Transfer-Encoding").is_some() {
        request.body = read_chunks(stream, unread)?;
    } else if let Some(length) = request.header("Content-Length") {
        let length = length.parse().map_err(io::Error::other)?;
        request.body = take(stream, unread, length)?;
    }
    Ok(Some(request))
}

pub(super) fn write(
    stream: &mut impl Write,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    // Written at once, as what comes in small pieces takes as many packets.
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n").into_bytes();
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n")?;
    }
    if status != 204 {
        write!(head, "Content-Length: {}\r\n", body.len())?;
    }
    head.extend(b"\r\n");
    stream.write_all(&head)?;
    stream.write_all(body)?;
    stream.flush()
}

fn read_chunks(stream: &mut impl Read, unread: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = take_until(stream, unread, b"\r\n")?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let length = String::from_utf8_lossy(&line).into_owned();
        let length = usize::from_str_radix(length.trim(), 16).map_err(io::Error::other)?;
        body.extend(take(stream, unread, length)?);
        take(stream, unread, 2)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

/// What comes before `end`, which is taken too; none where the stream ends before.
fn take_until(stream: &mut impl Read, unread: &mut Vec<u8>, end: &[u8]) -> io::Result<Option<Vec<u8>>> {
    loop {
        let found = unread.windows(end.len()).position(|window| window == end);
        if let Some(position) = found {
            let mut taken: Vec<u8> = unread.drain(..position + end.len()).collect();
            taken.truncate(position);
            return Ok(Some(taken));
        }
        if !read_more(stream, unread)? {
            return Ok(None);
        }
    }
}

fn take(stream: &mut impl Read, unread: &mut Vec<u8>, length: usize) -> io::Result<Vec<u8>> {
    while unread.len() < length {
        if !read_more(stream, unread)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(unread.drain(..length).collect())
}

fn read_more(stream: &mut impl Read, unread: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    unread.extend_from_slice(&buffer[..count]);
    Ok(count > 0)
}
