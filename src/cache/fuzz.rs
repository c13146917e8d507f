//! What the fuzz targets reach of this module. Compiled for them alone.

use zeroize::Zeroizing;

use super::seal::{Kind, Seal};
use super::{CacheKey, KeyBuilder, entry, sessions};
use crate::keystore::{SealingKey, Tier};

/// A file in the place of an entry, and what a sealed one may hold.
pub fn entry(bytes: &[u8]) {
    let key = SealingKey::from_bytes([7; 32]);
    let name: CacheKey = KeyBuilder::new("token", 1).part("name", "a").finish();
    for tier in [Tier::Keyring, Tier::KernelKeyring, Tier::Plain] {
        let Some(seal) = Seal::of(tier, Some(&key)) else { continue };
        for kind in [Kind::Token, Kind::Failure, Kind::Session] {
            // Nobody guesses a tag or a digest.
            assert!(seal.open(kind, &name, Zeroizing::new(bytes.to_vec())).is_none());
        }
        // What was closed opens as it was, and under no other name or kind.
        let closed = seal.close(Kind::Token, &name, bytes);
        let Some(closed) = closed else { continue };
        let other = KeyBuilder::new("token", 1).part("name", "b").finish();
        assert!(seal.open(Kind::Session, &name, closed.clone()).is_none());
        assert!(seal.open(Kind::Token, &other, closed.clone()).is_none());
        assert!(seal.open(Kind::Token, &name, closed).is_some_and(|content| *content == bytes));
    }
    if let Some(kept) = entry::decode(bytes) {
        let again = entry::encode(&kept.token, &kept.about).and_then(|content| entry::decode(&content));
        assert!(again.is_some_and(|again| again.token.digest() == kept.token.digest() && again.about == kept.about));
        let _ = (kept.token.reported_end(), kept.token.state(kept.token.issued_at));
    }
    let _ = sessions::decode(bytes);
}
