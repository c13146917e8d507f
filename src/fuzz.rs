//! What the fuzz targets in `fuzz/` call: each parser with what somebody else wrote, and what must
//! hold whatever that is. Compiled for them alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::DateTime;
use secrecy::SecretString;

pub use crate::cache::fuzz::entry;
pub use crate::config::fuzz::{extension, kubeconfig, settings};
pub use crate::databricks::fuzz::metadata_request;
pub use crate::oidc::fuzz::{callback, id_token, metadata, token_answer};
pub use crate::vault::fuzz::answer as vault_answer;

use crate::cluster::{Cluster, fingerprints, normalised};
use crate::config::ClusterProfile;
use crate::exec;
use crate::http::{HeaderMap, HeaderValue, Response, date};
use crate::journal;
use crate::suspicion::{Event, What, cure, suspect, worth_keeping};
use crate::token::{Bound, Claims, Limit, Minted, State, Timestamp, Token};

fn now() -> Timestamp {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

/// `KUBERNETES_EXEC_INFO`, with the cluster and the extension in it.
pub fn exec_info(text: &str) {
    let Ok(info) = exec::read(Some(text)) else { return };
    if let Some(cluster) = &info.cluster {
        let _ = Cluster::of(cluster);
        if let Some(config) = &cluster.config {
            let _ = ClusterProfile::parse(config);
        }
    }
}

/// The claims of a token, and the times that are made of them.
pub fn claims(bytes: &[u8]) {
    let text = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(bytes));
    let _ = std::str::from_utf8(bytes).map(Claims::read);
    let Some(claims) = Claims::read(&text) else { return };
    let bounds = [(Limit::Expiry, claims.expires_at), (Limit::WarnAfter, claims.warn_after)];
    let bounds = bounds.into_iter().filter_map(|(by, at)| Some(Bound { by, at: at? })).collect();
    let minted = Minted {
        secret: SecretString::from(text),
        bounds,
        subject: claims.subject,
        lease: None,
        warnings: Vec::new(),
        request_id: None,
    };
    if let Ok(token) = Token::new(minted, now()) {
        assert!(token.state(token.usable_until) == State::Expired);
        assert!(token.refresh_after <= token.usable_until);
        assert!(token.expires_at.is_none_or(|end| token.usable_until <= end));
        let _ = token.reported_end();
    }
}

/// A journal that somebody may have changed. The first byte says how much of it is the one before.
pub fn journal(bytes: &[u8]) {
    let Some((first, content)) = bytes.split_first() else { return };
    let (before, content) = content.split_at(content.len().min(usize::from(*first)));
    let before = (*first > 0).then_some(before);
    if let Ok(whole) = journal::verify(content, before) {
        assert_eq!(whole.lines, content.split_inclusive(|byte| *byte == b'\n').count());
        assert!(whole.open <= whole.lines);
    }
}

/// Who was handed which token, as it lies there.
pub fn hand_outs(text: &str) {
    let past: Vec<Event> = text.split_terminator('\n').filter_map(Event::parse).collect();
    for event in &past {
        assert_eq!(Event::parse(event.line().trim_end_matches('\n')).as_ref(), Some(event));
    }
    if let Some(last) = past.last() {
        let _ = suspect(&past, &last.caller, last.token, now());
        let _ = cure(&past, &last.caller, last.token, last.what == What::Given, now());
    }
    let most = past.len();
    assert!(worth_keeping(past, now(), |_| true).len() <= most);
}

/// `Retry-After` and `Date`.
pub fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    for name in ["retry-after", "date"] {
        headers.insert(name, value.clone());
    }
    let date = date(&headers);
    let response = Response { status: 429, headers, body: zeroize::Zeroizing::default(), date };
    if let Some(wait) = response.retry_after() {
        let _ = std::time::Instant::now().checked_add(wait);
    }
}

/// The address and the CA of a cluster, as a kubeconfig gives them.
pub fn cluster(bytes: &[u8]) {
    let _ = fingerprints(bytes);
    if let Ok(server) = std::str::from_utf8(bytes)
        && let Ok(once) = normalised(server)
    {
        // One cluster has one name.
        assert_eq!(normalised(&once).ok().as_ref(), Some(&once));
    }
}
