//! What the fuzz targets reach of this module. Compiled for them alone.

use super::host::Host;
use super::metadata::{Place, judge};
use super::request::{Head, end_of_head};

/// What whoever finds the port of `serve` sends.
pub fn metadata_request(bytes: &[u8]) {
    let end = end_of_head(bytes).unwrap_or(bytes.len());
    let Some(head) = bytes.get(..end) else { return };
    if let (Ok(head), Ok(place)) = (Head::parse(head), Place::new(8080)) {
        // Nobody guesses the path.
        assert!(judge(&place, &head).is_err());
    }
    if let Some(host) = std::str::from_utf8(bytes).ok().and_then(Host::parse) {
        assert_eq!(
            Host::parse(host.as_str()).map(|again| again.as_str().to_owned()).as_deref(),
            Some(host.as_str())
        );
    }
}
