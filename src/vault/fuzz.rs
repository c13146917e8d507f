//! What the fuzz targets reach of this module. Compiled for them alone.

use serde_json::Value;

use super::answer;
use super::wire::Envelope;

/// An answer of a Vault, or of what stands before it.
pub fn answer(body: &[u8]) {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(body)
        && let Some(auth) = envelope.auth
    {
        assert!(auth.subject().is_none_or(|subject| !subject.is_empty()));
    }
    let _ = answer::data::<Value>(body);
}
