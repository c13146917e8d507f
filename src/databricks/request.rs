//! Just as much of HTTP/1.1 (RFC 9112) as one request without a body has: its first line and its
//! fields, of bounded size, or the reason why it is none.

/// The most bytes of a head. The SDKs send some hundred.
pub(super) const LARGEST_HEAD: usize = 16 * 1024;

/// The head of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    fields: Vec<(&'a str, &'a str)>,
}

/// What is wrong with a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadHead {
    /// It is no request of HTTP/1.1.
    Malformed,
    /// It names a field twice that counts once.
    Twice,
}

/// Where the head ends, as far as it is here.
pub(super) fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n")
}

impl<'a> Head<'a> {
    /// Reads what stands before the empty line.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, BadHead> {
        // Security: only visible characters and blanks, so that nothing is seen differently elsewhere.
        let text = std::str::from_utf8(bytes).map_err(|_| BadHead::Malformed)?;
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target), Some("HTTP/1.1" | "HTTP/1.0"), None) =
            (first.next(), first.next(), first.next(), first.next())
        else {
            return Err(BadHead::Malformed);
        };
        let is_visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_visible(method) || !is_visible(target) {
            return Err(BadHead::Malformed);
        }
        let field = |line: &'a str| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim_matches([' ', '\t']);
            let is_sound = is_visible(name) && value.chars().all(|c| c == '\t' || !c.is_control());
            is_sound.then_some((name, value))
        };
        let fields = lines.map(field).collect::<Option<Vec<_>>>().ok_or(BadHead::Malformed)?;
        Ok(Self { method, target, fields })
    }

    /// The value of a field; none where it is not there.
    pub(super) fn field(&self, name: &str) -> Result<Option<&'a str>, BadHead> {
        let mut found = self.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(Some(value)),
            (None, _) => Ok(None),
            // Security: of two readers each may take another one.
            (Some(_), Some(_)) => Err(BadHead::Twice),
        }
    }

    /// Whether there is such a field, however often.
    pub(super) fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_and_what_is_none_is_not() {
        let head = Head::parse(b"GET /x HTTP/1.1\r\nHost: h:1\r\nX-A:  b c\t").unwrap();
        assert_eq!((head.method, head.target), ("GET", "/x"));
        assert_eq!(head.field("host"), Ok(Some("h:1")));
        assert_eq!(head.field("x-a"), Ok(Some("b c")));
        assert_eq!(head.field("x-b"), Ok(None));
        let twice = Head::parse(b"GET / HTTP/1.1\r\nHost: a\r\nhost: b").unwrap();
        assert_eq!((twice.field("Host"), twice.has("HOST")), (Err(BadHead::Twice), true));
        for none in [
            &b""[..],
            b"GET /",
            b"GET / HTTP/2",
            b"GET  / HTTP/1.1",
            b"GET / HTTP/1.1 x",
            b"\x16\x03\x01\x02\x00",
            b"GET /\xff HTTP/1.1",
            b"GET / HTTP/1.1\r\nHost",
            b"GET / HTTP/1.1\r\nHost : a",
            b"GET / HTTP/1.1\r\n folded: a",
            b"GET / HTTP/1.1\r\nX: a\rb",
            b"GET / HTTP/1.1\r\nX: a\nY: b",
            b"GET / HTTP/1.1\r\n: a",
        ] {
            assert_eq!(Head::parse(none), Err(BadHead::Malformed), "{}", String::from_utf8_lossy(none));
        }
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\n\r\nmore"), Some(14));
        assert_eq!(end_of_head(b"GET / HTTP/1.1\r\n\r"), None);
    }
}
