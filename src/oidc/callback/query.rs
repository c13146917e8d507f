//! The provider's answer in the query of the redirect (RFC 6749 §4.1.2, RFC 9207): whether it belongs
//! to this log-in, and what it says.

use std::collections::BTreeMap;

use ring::hmac;
use secrecy::SecretString;
use url::form_urlencoded;

/// By which an answer is known to be the answer to this log-in.
pub(super) struct Expected {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Expected {
    pub(super) fn new(state: &str) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"state");
        let tag = hmac::sign(&key, state.as_bytes());
        Self { key, tag }
    }

    /// Security: in the same time for each wrong one, so that none is found by trying.
    fn is(&self, state: &str) -> bool {
        hmac::verify(&self.key, state.as_bytes(), self.tag.as_ref()).is_ok()
    }
}

/// What a provider says with its redirect.
#[derive(Debug)]
pub(super) enum Said {
    /// A code.
    Code {
        /// The code.
        code: SecretString,
        /// `iss`: who says so.
        issuer: Option<String>,
    },
    /// An error of RFC 6749 §4.1.2.1 or OpenID Connect Core §3.1.2.6.
    Error {
        /// `error`.
        code: String,
        /// `error_description`.
        description: Option<String>,
    },
}

/// Why a query is no answer to this log-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotOurs {
    /// Another `state`, or none.
    State,
    /// A parameter twice, a code and an error, or neither.
    Contradictory,
}

/// The answer that a query holds.
pub(super) fn read(query: &str, expected: &Expected) -> Result<Said, NotOurs> {
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        // Security: RFC 6749 §3.1 allows each once. Which of two counts would be the sender's choice.
        if parameters.insert(name.into_owned(), value.into_owned()).is_some() {
            return Err(NotOurs::Contradictory);
        }
    }
    // Security: any page can send a browser here. Without our state it is another's answer, an error
    // included: it neither logs in as somebody else nor ends what is under way.
    if !parameters.get("state").is_some_and(|state| expected.is(state)) {
        return Err(NotOurs::State);
    }
    let mut take = |name: &str| parameters.remove(name).filter(|value| !value.is_empty());
    match (take("code"), take("error")) {
        (Some(code), None) => Ok(Said::Code { code: code.into(), issuer: take("iss") }),
        (None, Some(code)) => Ok(Said::Error { code, description: take("error_description") }),
        _ => Err(NotOurs::Contradictory),
    }
}

/// What a person pasted: the whole address that the browser ended at, its query, or the bare code.
pub(super) fn read_pasted(text: &str, expected: &Expected) -> Result<Said, NotOurs> {
    let text = text.trim();
    if let Some((_, query)) = text.split_once('?') {
        return read(query.split('#').next().unwrap_or_default(), expected);
    }
    if text.contains("code=") || text.contains("error=") {
        return read(text, expected);
    }
    // A code has no blank (RFC 6749, appendix A.11). That it is this log-in's is vouched for by the
    // person, and by PKCE: another's code is worth nothing with our verifier.
    let is_code = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_code {
        return Err(NotOurs::Contradictory);
    }
    Ok(Said::Code { code: decoded(text).into(), issuer: None })
}

/// A code that was copied out of an address is still encoded for it.
fn decoded(code: &str) -> String {
    if !code.contains('%') {
        return code.to_owned();
    }
    // A plus is itself: a code holds no blank that it could stand for.
    let query = code.replace('+', "%2B");
    form_urlencoded::parse(query.as_bytes()).map(|(text, _)| text).collect()
}
