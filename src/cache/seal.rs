//! The form of a file that is kept: a short header, then the content, sealed under a key or, where
//! there is none, guarded by a checksum. It owns the bytes and knows nothing of what they mean.
//!
//! Either way the header, the kind of thing and its name are bound in: a file that is cut, changed
//! in any byte, renamed or put in the place of another kind does not open, and counts as not there.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::CacheKey;
use crate::keystore::{SealingKey, Tier};

/// `magic`, `version`, tier, kind.
const HEADER: usize = 7;
const MAGIC: [u8; 4] = *b"kvtk";
const VERSION: u8 = 1;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A token and what it is for.
    Token,
    /// A failure of the last seconds.
    Failure,
    /// A Vault session.
    Session,
    /// A provider session.
    ProviderSession,
}

/// How the files of a place are guarded.
#[derive(Clone, Copy)]
pub struct Seal<'a> {
    tier: Tier,
    key: Option<&'a SealingKey>,
}

impl<'a> Seal<'a> {
    /// The form of a tier; `None` where nothing is kept, or where a sealed tier lacks its key.
    #[must_use]
    pub fn of(tier: Tier, key: Option<&'a SealingKey>) -> Option<Self> {
        match (tier, key) {
            (Tier::Keyring | Tier::KernelKeyring, Some(_)) => Some(Self { tier, key }),
            // Security: a plain file is never read where files are sealed, nor the other way
            // round; the tier is part of the header.
            (Tier::Plain, _) => Some(Self { tier, key: None }),
            (Tier::Keyring | Tier::KernelKeyring, None) | (Tier::None, _) => None,
        }
    }

    /// The file for `content`. `None` only where the system has no randomness to give.
    #[must_use]
    pub fn close(&self, kind: Kind, name: &CacheKey, content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let header = self.header(kind);
        // Room for all of it at once: a vector that grows leaves copies behind.
        let mut file =
            Zeroizing::new(Vec::with_capacity(HEADER + NONCE_LEN + content.len() + SHA256_OUTPUT_LEN));
        file.extend(header);
        match self.key {
            None => {
                file.extend(content);
                file.extend(checksum(header, name, content).as_ref());
            }
            Some(key) => {
                let mut nonce = [0; NONCE_LEN];
                // 96 random bits: 2^32 files under one key stay clear of a repetition.
                SystemRandom::new().fill(&mut nonce).ok()?;
                file.extend(nonce);
                let start = file.len();
                file.extend(content);
                let tag = cipher(key)?
                    .seal_in_place_separate_tag(
                        Nonce::assume_unique_for_key(nonce),
                        Aad::from(bound(header, name)),
                        file.get_mut(start..)?,
                    )
                    .ok()?;
                file.extend(tag.as_ref());
            }
        }
        Some(file)
    }

    /// The content of a file that was closed by this same place under this name; else `None`.
    #[must_use]
    pub fn open(
        &self,
        kind: Kind,
        name: &CacheKey,
        mut file: Zeroizing<Vec<u8>>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let header = self.header(kind);
        let (found, rest) = file.split_first_chunk_mut::<HEADER>()?;
        if *found != header {
            return None;
        }
        match self.key {
            None => {
                let (content, found) = rest.split_last_chunk::<SHA256_OUTPUT_LEN>()?;
                (checksum(header, name, content).as_ref() == found).then(|| Zeroizing::new(content.to_vec()))
            }
            Some(key) => {
                let (nonce, sealed) = rest.split_first_chunk_mut::<NONCE_LEN>()?;
                let nonce = Nonce::assume_unique_for_key(*nonce);
                let aad = Aad::from(bound(header, name));
                let content = cipher(key)?.open_in_place(nonce, aad, sealed).ok()?;
                Some(Zeroizing::new(content.to_vec()))
            }
        }
    }

    fn header(&self, kind: Kind) -> [u8; HEADER] {
        let [a, b, c, d] = MAGIC;
        let tier = match self.tier {
            Tier::None => 0,
            Tier::Keyring => 1,
            Tier::KernelKeyring => 2,
            Tier::Plain => 3,
        };
        let kind = match kind {
            Kind::Token => 1,
            Kind::Failure => 2,
            Kind::Session => 3,
            Kind::ProviderSession => 4,
        };
        [a, b, c, d, VERSION, tier, kind]
    }
}

fn cipher(key: &SealingKey) -> Option<LessSafeKey> {
    UnboundKey::new(&CHACHA20_POLY1305, key.expose()).ok().map(LessSafeKey::new)
}

/// What is bound to the content without being part of it. Both parts have a fixed length.
fn bound(header: [u8; HEADER], name: &CacheKey) -> Vec<u8> {
    [header.as_slice(), name.as_bytes()].concat()
}

fn checksum(header: [u8; HEADER], name: &CacheKey, content: &[u8]) -> ring::digest::Digest {
    let mut digest = Context::new(&SHA256);
    digest.update(&bound(header, name));
    digest.update(content);
    digest.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cache::KeyBuilder;

    fn name(of: &str) -> CacheKey {
        KeyBuilder::new("test", 1).part("name", of).finish()
    }

    const KINDS: [Kind; 4] = [Kind::Token, Kind::Failure, Kind::Session, Kind::ProviderSession];

    fn forms() -> Vec<(Tier, Option<SealingKey>)> {
        let key = |byte| Some(SealingKey::from_bytes([byte; 32]));
        vec![
            (Tier::Keyring, key(1)),
            (Tier::Keyring, key(2)),
            (Tier::KernelKeyring, key(1)),
            (Tier::Plain, None),
        ]
    }

    fn copy(file: &Zeroizing<Vec<u8>>) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(file.to_vec())
    }

    #[test]
    fn what_was_closed_opens_in_the_same_place_under_the_same_name_and_nowhere_else() {
        let forms = forms();
        for (at, (tier, key)) in forms.iter().enumerate() {
            let seal = Seal::of(*tier, key.as_ref()).unwrap();
            for kind in KINDS {
                let file = seal.close(kind, &name("a"), b"content").unwrap();
                assert_eq!(seal.open(kind, &name("a"), copy(&file)).unwrap().as_slice(), b"content");
                assert!(seal.open(kind, &name("b"), copy(&file)).is_none(), "renamed");
                for other in KINDS {
                    assert_eq!(seal.open(other, &name("a"), copy(&file)).is_some(), other == kind);
                }
                for (elsewhere, (tier, key)) in forms.iter().enumerate() {
                    let other = Seal::of(*tier, key.as_ref()).unwrap();
                    assert_eq!(other.open(kind, &name("a"), copy(&file)).is_some(), elsewhere == at);
                }
            }
        }
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_a_miss() {
        for (tier, key) in forms() {
            let seal = Seal::of(tier, key.as_ref()).unwrap();
            let file = seal.close(Kind::Token, &name("a"), b"some content").unwrap();
            for at in 0..file.len() {
                for bit in 0..8 {
                    let mut changed = copy(&file);
                    changed[at] ^= 1 << bit;
                    assert!(seal.open(Kind::Token, &name("a"), changed).is_none(), "{tier:?} {at} {bit}");
                }
            }
            for length in 0..file.len() {
                let cut = Zeroizing::new(file[..length].to_vec());
                assert!(seal.open(Kind::Token, &name("a"), cut).is_none(), "{tier:?} cut to {length}");
                let tail = Zeroizing::new(file[file.len() - length..].to_vec());
                assert!(seal.open(Kind::Token, &name("a"), tail).is_none(), "{tier:?} tail of {length}");
            }
            let mut longer = copy(&file);
            longer.push(0);
            assert!(seal.open(Kind::Token, &name("a"), longer).is_none());
        }
    }

    #[test]
    fn a_sealed_file_shows_nothing_and_is_different_each_time() {
        let key = SealingKey::from_bytes([1; 32]);
        let seal = Seal::of(Tier::Keyring, Some(&key)).unwrap();
        let file = seal.close(Kind::Token, &name("a"), b"planted-secret").unwrap();
        assert!(!file.windows(7).any(|part| part == b"planted"));
        assert_ne!(file, seal.close(Kind::Token, &name("a"), b"planted-secret").unwrap());
    }

    #[test]
    fn without_its_key_a_sealed_tier_keeps_nothing() {
        assert!(Seal::of(Tier::Keyring, None).is_none());
        assert!(Seal::of(Tier::KernelKeyring, None).is_none());
        assert!(Seal::of(Tier::None, Some(&SealingKey::from_bytes([1; 32]))).is_none());
    }

    proptest! {
        #[test]
        fn any_content_comes_back(content: Vec<u8>) {
            for (tier, key) in forms() {
                let seal = Seal::of(tier, key.as_ref()).unwrap();
                let file = seal.close(Kind::Session, &name("a"), &content).unwrap();
                let opened = seal.open(Kind::Session, &name("a"), file).unwrap();
                prop_assert_eq!(opened.as_slice(), content.as_slice());
            }
        }

        #[test]
        fn any_bytes_are_a_miss(mut bytes: Vec<u8>, with_header: bool) {
            for (tier, key) in forms() {
                let seal = Seal::of(tier, key.as_ref()).unwrap();
                if with_header {
                    bytes.splice(..0, seal.header(Kind::Token));
                }
                prop_assert!(seal.open(Kind::Token, &name("a"), Zeroizing::new(bytes.clone())).is_none());
            }
        }
    }
}
