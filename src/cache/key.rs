//! The name of an entry: a digest of everything that changes the answer, each part named and
//! length-prefixed. It only builds and prints names, and never sees a secret.

use std::fmt;

use ring::digest::{SHA256, digest};

use crate::hex::hex;

/// The name of an entry. It is also bound into the entry itself, so that an entry that was moved
/// to another name does not open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// The digest itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what `Display` writes: 64 lower-case hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CacheKey({self})")
    }
}

/// Gathers the parts of a [`CacheKey`].
///
/// Order counts. A part that is left out, an empty one, a list of none and a list of one empty
/// string are four different things.
#[derive(Debug, Clone)]
pub struct KeyBuilder {
    encoded: Vec<u8>,
}

/// What follows a part's name.
const ABSENT: u8 = 0;
const VALUE: u8 = 1;
const LIST: u8 = 2;

impl KeyBuilder {
    /// Starts the name of a `kind` of thing. The version changes where the meaning of a part
    /// changes, so that what older programs kept is not found.
    #[must_use]
    pub fn new(kind: &str, version: u32) -> Self {
        let mut builder = Self { encoded: Vec::with_capacity(512) };
        builder.bytes(kind.as_bytes());
        builder.encoded.extend(version.to_be_bytes());
        builder
    }

    /// A part that is always there.
    #[must_use]
    pub fn part(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.named(name, VALUE);
        self.bytes(value.as_ref());
        self
    }

    /// A part that may be left out.
    #[must_use]
    pub fn optional(mut self, name: &str, value: Option<impl AsRef<[u8]>>) -> Self {
        if let Some(value) = value {
            return self.part(name, value);
        }
        self.named(name, ABSENT);
        self
    }

    /// A part of several values, in their order; sort them before where their order means nothing.
    #[must_use]
    pub fn list<V: AsRef<[u8]>>(mut self, name: &str, values: impl IntoIterator<Item = V>) -> Self {
        self.named(name, LIST);
        for value in values {
            self.encoded.push(VALUE);
            self.bytes(value.as_ref());
        }
        self.encoded.push(ABSENT);
        self
    }

    /// The name.
    #[must_use]
    pub fn finish(self) -> CacheKey {
        let mut bytes = [0; 32];
        for (byte, digested) in bytes.iter_mut().zip(digest(&SHA256, &self.encoded).as_ref()) {
            *byte = *digested;
        }
        CacheKey(bytes)
    }

    fn named(&mut self, name: &str, what_follows: u8) {
        self.bytes(name.as_bytes());
        self.encoded.push(what_follows);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // `usize` has at most 64 bits wherever this runs; the width is fixed so that names are
        // the same everywhere.
        self.encoded.extend((bytes.len() as u64).to_be_bytes());
        self.encoded.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    enum Part {
        Value(Vec<u8>),
        Optional(Option<Vec<u8>>),
        List(Vec<Vec<u8>>),
    }

    fn build(kind: &str, version: u32, parts: &[(String, Part)]) -> KeyBuilder {
        parts.iter().fold(KeyBuilder::new(kind, version), |builder, (name, part)| match part {
            Part::Value(value) => builder.part(name, value),
            Part::Optional(value) => builder.optional(name, value.as_ref()),
            Part::List(values) => builder.list(name, values),
        })
    }

    /// Reads an encoding back: that this is possible proves that no two lists of parts share one.
    fn decode(mut rest: &[u8]) -> (String, u32, Vec<(String, Part)>) {
        fn bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
            let (length, after) = rest.split_at(8);
            let length = usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap();
            let (bytes, after) = after.split_at(length);
            *rest = after;
            bytes
        }
        fn byte(rest: &mut &[u8]) -> u8 {
            let byte = rest[0];
            *rest = &rest[1..];
            byte
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let kind = text(bytes(&mut rest));
        let (version, after) = rest.split_at(4);
        rest = after;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let name = text(bytes(&mut rest));
            let part = match byte(&mut rest) {
                ABSENT => Part::Optional(None),
                VALUE => Part::Value(bytes(&mut rest).to_vec()),
                _ => {
                    let mut values = Vec::new();
                    while byte(&mut rest) == VALUE {
                        values.push(bytes(&mut rest).to_vec());
                    }
                    Part::List(values)
                }
            };
            parts.push((name, part));
        }
        (kind, u32::from_be_bytes(version.try_into().unwrap()), parts)
    }

    fn any_part() -> impl Strategy<Value = Part> {
        // Short strings of few values, so that splits and shifts of one another are common.
        let value = || proptest::collection::vec(prop_oneof![0..4u8, any::<u8>()], 0..12);
        prop_oneof![
            value().prop_map(Part::Value),
            proptest::option::of(value()).prop_map(Part::Optional),
            proptest::collection::vec(value(), 0..4).prop_map(Part::List),
        ]
    }

    proptest! {
        #[test]
        fn what_was_built_can_be_read_back(
            kind in ".{0,6}", version: u32,
            parts in proptest::collection::vec((".{0,4}", any_part()), 0..6),
        ) {
            // A value that is there means the same however it was added.
            let expected = parts.iter().cloned().map(|(name, part)| match part {
                Part::Optional(Some(value)) => (name, Part::Value(value)),
                other => (name, other),
            }).collect();
            prop_assert_eq!(decode(&build(&kind, version, &parts).encoded), (kind, version, expected));
        }

        #[test]
        fn names_are_written_and_read(bytes: [u8; 32], text in "[0-9a-fA-F]{60,66}") {
            let key = CacheKey(bytes);
            prop_assert_eq!(CacheKey::from_hex(&key.to_string()), Some(key));
            if let Some(key) = CacheKey::from_hex(&text) {
                prop_assert_eq!(key.to_string(), text);
            }
        }
    }

    #[test]
    fn shifted_empty_and_absent_parts_differ() {
        let start = || KeyBuilder::new("token", 1);
        let none: [&str; 0] = [];
        let keys = [
            start().finish(),
            KeyBuilder::new("token", 2).finish(),
            KeyBuilder::new("session", 1).finish(),
            start().part("ab", "c").finish(),
            start().part("a", "bc").finish(),
            start().part("a", "").finish(),
            start().optional("a", None::<&str>).finish(),
            start().list("a", none).finish(),
            start().list("a", [""]).finish(),
            start().list("a", ["", ""]).finish(),
            start().list("a", ["b", "c"]).finish(),
            start().list("a", ["bc"]).finish(),
            start().part("a", "1").part("b", "2").finish(),
            start().part("b", "2").part("a", "1").finish(),
            // Values that look like what separates parts.
            start().part("a", "1b\u{1}2").finish(),
            start().list("a", ["\u{1}"]).finish(),
            start().list("a", ["b\u{1}c"]).finish(),
        ];
        for (place, key) in keys.iter().enumerate() {
            assert!(!keys[..place].contains(key), "{place}");
        }
    }

    #[test]
    fn a_name_stays_the_same_from_release_to_release() {
        let key = KeyBuilder::new("token", 1)
            .part("vault", "https://vault.corp.example:8200")
            .optional("namespace", None::<&str>)
            .list("audiences", ["a", "b"])
            .finish();
        assert_eq!(key.to_string(), "f1221c6f3d02abeac88689a4510dee9ecfacf47e75200216e41698a3e77caafc");
    }
}
