//! One question to a server of names, and its answer (RFC 1035, section 4; RFC 3596 for IPv6). What
//! comes from the network is believed only as far as it answers this question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const CNAME: u16 = 5;
const INTERNET: u16 = 1;
const HEADER: usize = 12;
/// Aliases of aliases that are followed.
const MOST_ALIASES: usize = 16;

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `A`.
    Ipv4,
    /// `AAAA`.
    Ipv6,
}

impl Kind {
    fn number(self) -> u16 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 28,
        }
    }

    fn address(self, data: &[u8]) -> Option<IpAddr> {
        match self {
            Self::Ipv4 => <[u8; 4]>::try_from(data).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
            Self::Ipv6 => <[u8; 16]>::try_from(data).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        }
    }
}

/// A question as it is sent.
pub(super) struct Question {
    kind: Kind,
    /// In lower case, as labels with their lengths.
    name: Vec<u8>,
    /// The whole message.
    pub(super) bytes: Vec<u8>,
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// These; none: the name exists, but not with such an address.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// It could not find out; the response code.
    Failed(u8),
    /// It is too long for a datagram.
    Truncated,
}

impl Question {
    /// `None`: no name of a host looks like that.
    pub(super) fn new(id: u16, name: &str, kind: Kind) -> Option<Self> {
        let mut labels = Vec::with_capacity(name.len() + 2);
        for label in name.split('.') {
            let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
            labels.push(length);
            labels.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        labels.push(0);
        if labels.len() > 255 {
            return None;
        }
        // One question; recursion is wanted.
        let mut bytes = Vec::with_capacity(HEADER + labels.len() + 4);
        bytes.extend_from_slice(&id.to_be_bytes());
        bytes.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&labels);
        bytes.extend_from_slice(&kind.number().to_be_bytes());
        bytes.extend_from_slice(&INTERNET.to_be_bytes());
        Some(Self { kind, name: labels, bytes })
    }

    /// The answer in a message; `None` where it is none to this question.
    pub(super) fn answered_by(&self, message: &[u8]) -> Option<Answer> {
        // Security: whoever does not see the question has to guess its number and our port.
        if message.get(..2)? != self.bytes.get(..2)? {
            return None;
        }
        let (flags, code) = (*message.get(2)?, message.get(3)? & 0x0f);
        let count = |at| number(message, at);
        let (questions, answers) = (count(4)?, count(6)?);
        let (is_response, is_query, truncated) = (flags & 0x80 != 0, flags & 0x78 == 0, flags & 0x02 != 0);
        if !is_response || !is_query {
            return None;
        }
        if questions == 0 && code != 0 {
            return Some(Answer::Failed(code));
        }
        let mut at = HEADER;
        // Security: the answer to another question is none.
        let asked = name(message, &mut at)?;
        let (kind, class) = (number(message, at)?, number(message, at + 2)?);
        if questions != 1 || asked != self.name || kind != self.kind.number() || class != INTERNET {
            return None;
        }
        at += 4;
        match code {
            0 if truncated => Some(Answer::Truncated),
            0 => {
                let addresses = self.addresses(message, at, answers)?;
                // It refers us elsewhere: it does not look up for us (the C library judges the same).
                let refers = answers == 0 && flags & 0x04 == 0 && message.get(3)? & 0x80 == 0;
                Some(if refers { Answer::Failed(code) } else { Answer::Addresses(addresses) })
            }
            3 => Some(Answer::NoSuchName),
            code => Some(Answer::Failed(code)),
        }
    }

    /// The addresses of the name that was asked for, or of what it is an alias of.
    fn addresses(&self, message: &[u8], mut at: usize, answers: u16) -> Option<Vec<IpAddr>> {
        let (mut aliases, mut found) = (Vec::new(), Vec::new());
        for _ in 0..answers {
            let owner = name(message, &mut at)?;
            let (kind, class) = (number(message, at)?, number(message, at + 2)?);
            let length = usize::from(number(message, at + 8)?);
            at += 10;
            let data = message.get(at..at + length)?;
            if class == INTERNET && kind == CNAME {
                aliases.push((owner, name(message, &mut at.clone())?));
            } else if class == INTERNET && kind == self.kind.number() {
                found.push((owner, self.kind.address(data)?));
            }
            at += length;
        }
        let mut host = &self.name;
        for _ in 0..MOST_ALIASES {
            match aliases.iter().find(|(owner, _)| owner == host) {
                Some((_, target)) => host = target,
                None => break,
            }
        }
        // Security: what else a server adds is not about this host.
        Some(found.iter().filter(|(owner, _)| owner == host).map(|(_, address)| *address).collect())
    }
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(message.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// Reads a name at `at`, which afterwards is behind it. Names may end in a pointer to another one
/// (RFC 1035, section 4.1.4).
fn name(message: &[u8], at: &mut usize) -> Option<Vec<u8>> {
    let (mut labels, mut here, mut behind) = (Vec::new(), *at, None);
    loop {
        let length = *message.get(here)?;
        match length {
            0 => {
                labels.push(0);
                *at = behind.unwrap_or(here + 1);
                return Some(labels);
            }
            1..=63 => {
                let end = here + 1 + usize::from(length);
                labels.push(length);
                labels.extend(message.get(here + 1..end)?.iter().map(u8::to_ascii_lowercase));
                here = end;
            }
            192.. => {
                let to = usize::from(number(message, here)? & 0x3fff);
                behind.get_or_insert(here + 2);
                // Security: only backwards, so that it ends.
                if to >= here {
                    return None;
                }
                here = to;
            }
            _ => return None,
        }
        if labels.len() > 255 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question() -> Question {
        Question::new(7, "Vault.Example", Kind::Ipv4).unwrap()
    }

    /// The question back with flags, and so many answers.
    fn message(flags: [u8; 2], answers: &[&[u8]]) -> Vec<u8> {
        let mut bytes = question().bytes;
        bytes[2..4].copy_from_slice(&flags);
        bytes[7] = u8::try_from(answers.len()).unwrap();
        bytes.extend(answers.iter().copied().flatten());
        bytes
    }

    /// A record of the name at `owner`.
    fn record(owner: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
        let length = u8::try_from(data.len()).unwrap();
        [owner, &[0, kind, 0, 1, 0, 0, 0, 60, 0, length], data].concat()
    }

    /// The name that was asked for, by pointer.
    const ASKED: [u8; 2] = [0xc0, 12];
    const OK: [u8; 2] = [0x81, 0x80];

    fn addresses(of: &[&str]) -> Answer {
        Answer::Addresses(of.iter().map(|address| address.parse().unwrap()).collect())
    }

    #[test]
    fn a_question_is_as_rfc_1035_writes_it() {
        let expected = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x05vault\x07example\0\0\x01\0\x01";
        assert_eq!(question().bytes, expected);
        for flawed in ["", "a..b", &"a".repeat(64), &["abcdefgh"; 29].join(".")] {
            assert!(Question::new(7, flawed, Kind::Ipv6).is_none(), "{flawed}");
        }
    }

    #[test]
    fn aliases_are_followed_and_strangers_left_out() {
        let alias = record(&ASKED, 5, b"\x01a\xc0\x12");
        let first = record(b"\x01A\x07EXAMPLE\0", 1, &[192, 0, 2, 1]);
        let second = record(b"\x01a\xc0\x12", 1, &[192, 0, 2, 2]);
        let stranger = record(b"\x04evil\0", 1, &[192, 0, 2, 66]);
        let other_kind = record(b"\x01a\xc0\x12", 28, &[0; 16]);
        let whole = message(OK, &[&first, &alias, &stranger, &other_kind, &second]);
        assert_eq!(question().answered_by(&whole), Some(addresses(&["192.0.2.1", "192.0.2.2"])));
        let of_another = message(OK, &[&stranger]);
        assert_eq!(question().answered_by(&of_another), Some(addresses(&[])));
    }

    #[test]
    fn only_the_answer_to_this_question_counts() {
        let whole = message(OK, &[&record(&ASKED, 1, &[192, 0, 2, 1])]);
        assert_eq!(question().answered_by(&whole), Some(addresses(&["192.0.2.1"])));
        let other_kind = Question::new(7, "vault.example", Kind::Ipv6).unwrap();
        let other_name = Question::new(7, "vault.exemple", Kind::Ipv4).unwrap();
        let other_id = Question::new(8, "vault.example", Kind::Ipv4).unwrap();
        for other in [other_kind, other_name, other_id] {
            assert_eq!(other.answered_by(&whole), None);
        }
        assert_eq!(question().answered_by(&question().bytes), None, "a question is no answer");
    }

    #[test]
    fn what_a_server_could_not_say_is_told_apart() {
        let says = |flags| question().answered_by(&message(flags, &[]));
        assert_eq!(says([0x81, 0x83]), Some(Answer::NoSuchName));
        assert_eq!(says([0x81, 0x82]), Some(Answer::Failed(2)));
        assert_eq!(says([0x83, 0x80]), Some(Answer::Truncated));
        assert_eq!(says(OK), Some(addresses(&[])));
        assert_eq!(says([0x81, 0]), Some(Answer::Failed(0)), "it only refers us elsewhere");
        let bare = [0, 7, 0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(question().answered_by(&bare), Some(Answer::Failed(1)));
    }

    proptest::proptest! {
        #[test]
        fn nothing_from_the_network_stops_or_holds_us(
            mut bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600),
            flips in proptest::collection::vec((0_usize..100, proptest::num::u8::ANY), 0..4),
        ) {
            let _ = question().answered_by(&bytes);
            let mut whole = message(OK, &[&record(&ASKED, 5, b"\x01a\xc0\x12"), &record(&ASKED, 1, &[1, 2, 3, 4])]);
            for (at, value) in flips {
                let length = whole.len();
                whole[at % length] = value;
            }
            let _ = question().answered_by(&whole);
            bytes.splice(0..0, message(OK, &[]));
            let _ = question().answered_by(&bytes);
        }
    }
}
