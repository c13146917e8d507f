//! A cluster token and the three times that decide about it. Pure: the clock is an argument.
//!
//! A JWT is read here, never believed: the API server verifies it, we only want to know until when
//! it is worth handing out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// A moment, in UTC.
pub type Timestamp = DateTime<Utc>;

/// How long a token is kept whose end nobody tells.
pub const ASSUMED_LIFETIME: TimeDelta = TimeDelta::minutes(5);

/// A token as a source minted it, with what bounds its life.
#[derive(Debug)]
pub struct Minted {
    /// The bearer token.
    pub secret: SecretString,
    /// Everything known to end its life; the earliest wins.
    pub bounds: Vec<Bound>,
    /// Whom the API server will see, where that can be read from the token or the answer.
    pub subject: Option<String>,
    /// The lease that hangs on it.
    pub lease: Option<Lease>,
    /// What the server had to say about it.
    pub warnings: Vec<String>,
    /// By which the issuer's audit log knows the request.
    pub request_id: Option<String>,
}

/// One end of a token's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// What ends it.
    pub by: Limit,
    /// When.
    pub at: Timestamp,
}

/// What ends a token's life first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// The JWT's `exp`.
    Expiry,
    /// `kubernetes.io.warnafter`: the API server extends such a token only for stragglers.
    WarnAfter,
    /// The issuer's `expires_in`.
    ExpiresIn,
    /// The lease whose end removes the account.
    Lease,
    /// The Vault session whose end revokes the lease.
    Session,
    /// `expirationTimestamp` or `ttl` of the document it was read from.
    Document,
    /// Nobody tells: [`ASSUMED_LIFETIME`].
    Assumed,
}

/// The lease of a token that Vault minted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lease {
    /// `lease_id` of the answer.
    pub id: String,
    /// Whether revoking the lease kills the token (a generated account), or leaves it valid until
    /// its own end (an existing service account). `None`: the role could not be read.
    pub ends_token: Option<bool>,
}

/// A token that can be handed out, and until when.
#[derive(Debug, Clone)]
pub struct Token {
    /// The bearer token.
    pub secret: SecretString,
    /// When we got it, by our clock.
    pub issued_at: Timestamp,
    /// From here on a new one is fetched.
    pub refresh_after: Timestamp,
    /// The earliest of its bounds: from here on nobody may be handed it.
    pub usable_until: Timestamp,
    /// Its own end, whatever else ends it before; none for an opaque token.
    pub expires_at: Option<Timestamp>,
    /// What `usable_until` comes from.
    pub limited_by: Limit,
    /// Whom the API server will see.
    pub subject: Option<String>,
    /// The JWT's `jti`, which the API server's audit log names as `credential-id`.
    pub token_id: Option<String>,
    /// The lease that hangs on it.
    pub lease: Option<Lease>,
}

/// The beginning of a token's SHA-256: enough to tell tokens apart, and of no use to anybody else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 8]);

impl Digest {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_ours = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = is_ours.then(|| u64::from_str_radix(text, 16).ok()).flatten()?;
        Some(Self(number.to_be_bytes()))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

/// What can be done with a token now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Hand it out.
    Valid,
    /// Hand it out, and fetch a new one.
    RefreshDue,
    /// Of no use any more.
    Expired,
}

/// Why a minted token cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// It would not survive an HTTP header, or is no text at all.
    #[error("it holds a line break, a blank or another character that no bearer token has")]
    Unprintable,
    /// Longer than any header a server takes.
    #[error("it is {0} bytes long")]
    TooLong(usize),
    /// It has ended already.
    #[error("it ended at {0}")]
    Dead(Timestamp),
    /// It starts later.
    #[error("it is not valid before {0}")]
    NotYet(Timestamp),
}

impl Token {
    /// Checks what was minted and works out its times.
    ///
    /// # Errors
    /// A [`Flaw`] where the token cannot be handed out at all.
    pub fn new(minted: Minted, now: Timestamp) -> Result<Self, Flaw> {
        let secret = checked(minted.secret)?;
        let claims = Claims::read(secret.expose_secret());
        let mut bounds = minted.bounds;
        // Some issuers write milliseconds: RFC 3339 ends with the year 9999, and with it clients.
        let latest = now.checked_add_signed(LONGEST_LIFETIME).unwrap_or(now);
        let (mut expires_at, mut token_id, mut subject) = (None, None, minted.subject);
        if let Some(claims) = claims {
            if let Some(not_before) = claims.not_before
                && not_before > now + CLOCK_TOLERANCE
            {
                return Err(Flaw::NotYet(not_before));
            }
            expires_at = claims.expires_at.map(|at| at.min(latest));
            bounds.extend(claims.expires_at.map(|at| Bound { by: Limit::Expiry, at }));
            bounds.extend(claims.warn_after.map(|at| Bound { by: Limit::WarnAfter, at }));
            token_id = claims.token_id;
            subject = subject.or(claims.subject);
        }
        // The earliest; of two at the same moment the first named.
        let bound = bounds
            .into_iter()
            .map(|bound| Bound { at: bound.at.min(latest), ..bound })
            .min_by_key(|bound| bound.at)
            .unwrap_or(Bound { by: Limit::Assumed, at: now + ASSUMED_LIFETIME });
        if bound.at <= now {
            return Err(Flaw::Dead(bound.at));
        }
        let token = Self {
            secret,
            issued_at: now,
            refresh_after: refresh_after(now, bound.at),
            usable_until: bound.at,
            expires_at,
            limited_by: bound.by,
            subject,
            token_id,
            lease: minted.lease,
        };
        // What a client would be told to throw away at once is dead as well.
        if token.state(now) == State::Expired { Err(Flaw::Dead(bound.at)) } else { Ok(token) }
    }

    /// What it says about itself; none for an opaque token.
    #[must_use]
    pub fn claims(&self) -> Option<Claims> {
        Claims::read(self.secret.expose_secret())
    }

    /// What it is known by where its secret must not stand.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let whole = ring::digest::digest(&ring::digest::SHA256, self.secret.expose_secret().as_bytes());
        Digest(whole.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// What can be done with it at `now`.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> State {
        if now >= self.reported_end() || self.issued_at - now > CLOCK_TOLERANCE {
            // A clock that went back before the token's birth tells nothing about its end.
            State::Expired
        } else if now >= self.refresh_after {
            State::RefreshDue
        } else {
            State::Valid
        }
    }

    /// The `expirationTimestamp` for the client, in whole seconds: a little before the end, because
    /// client-go compares without leeway and a request takes time to arrive.
    #[must_use]
    pub fn reported_end(&self) -> Timestamp {
        let lifetime = self.usable_until - self.issued_at;
        let margin = (lifetime / 20).clamp(TimeDelta::zero(), TimeDelta::seconds(30));
        // A kept one may say any time.
        let end = self.usable_until.checked_sub_signed(margin).unwrap_or(self.usable_until);
        DateTime::from_timestamp(end.timestamp(), 0).unwrap_or(end)
    }
}

/// Nothing is believed to live longer.
const LONGEST_LIFETIME: TimeDelta = TimeDelta::days(3650);

/// How far two clocks may differ before we say that one is wrong.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(60);

/// A share of the lifetime, never a constant: the last quarter, or up to six minutes (client-python
/// renews five minutes early) where that is not more than three fifths of a short life.
pub(crate) fn refresh_after(issued_at: Timestamp, usable_until: Timestamp) -> Timestamp {
    let lifetime = usable_until - issued_at;
    let early_clients = TimeDelta::minutes(6).min(lifetime * 3 / 5);
    usable_until - (lifetime / 4).max(early_clients)
}

/// `start` and so many seconds; the end of time where there is none.
pub(crate) fn after(start: Timestamp, seconds: u64) -> Timestamp {
    i64::try_from(seconds)
        .ok()
        .and_then(TimeDelta::try_seconds)
        .and_then(|lifetime| start.checked_add_signed(lifetime))
        .unwrap_or(Timestamp::MAX_UTC)
}

/// The longest token that is handed out: servers refuse headers of more than some kilobytes.
const LONGEST: usize = 64 * 1024;

/// Trims white space round a token, as text files and helpers add it, and refuses the rest.
fn checked(secret: SecretString) -> Result<SecretString, Flaw> {
    let text = secret.expose_secret();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(Flaw::Empty);
    }
    if trimmed.len() > LONGEST {
        return Err(Flaw::TooLong(trimmed.len()));
    }
    // Security: RFC 6750 tokens are visible ASCII; anything else could split a header.
    if !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::Unprintable);
    }
    if trimmed.len() == text.len() { Ok(secret) } else { Ok(SecretString::from(trimmed)) }
}

/// The claims of a JWT (RFC 7519) that say whom it is for and until when; unverified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claims {
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
    /// `aud`, one or many.
    pub audiences: Vec<String>,
    /// `exp`.
    pub expires_at: Option<Timestamp>,
    /// `iat`.
    pub issued_at: Option<Timestamp>,
    /// `nbf`.
    pub not_before: Option<Timestamp>,
    /// `jti`.
    pub token_id: Option<String>,
    /// `kubernetes.io.warnafter`.
    pub warn_after: Option<Timestamp>,
}

impl Claims {
    /// The claims of a token that we were given; `None` where it is no JWT.
    #[must_use]
    pub fn of(token: &SecretString) -> Option<Self> {
        Self::read(token.expose_secret())
    }

    /// Reads the claims; `None` where this is no JWT in compact form.
    #[must_use]
    pub fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.');
        let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || header.is_empty() || signature.is_empty() {
            return None;
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let wire: WireClaims = serde_json::from_slice(&payload).ok()?;
        Some(Self {
            issuer: wire.iss,
            subject: wire.sub,
            audiences: match wire.aud {
                None => Vec::new(),
                Some(OneOrMany::One(audience)) => vec![audience],
                Some(OneOrMany::Many(audiences)) => audiences,
            },
            expires_at: wire.exp.and_then(moment),
            issued_at: wire.iat.and_then(moment),
            not_before: wire.nbf.and_then(moment),
            token_id: wire.jti,
            warn_after: wire.kubernetes.and_then(|kubernetes| kubernetes.warnafter).and_then(moment),
        })
    }
}

/// A NumericDate (RFC 7519 §2): seconds, which some issuers write with a fraction.
#[expect(clippy::cast_possible_truncation, reason = "a float beyond i64 saturates, and is then no date")]
fn moment(seconds: f64) -> Option<Timestamp> {
    DateTime::from_timestamp(seconds.floor() as i64, 0)
}

#[derive(Deserialize)]
struct WireClaims {
    iss: Option<String>,
    sub: Option<String>,
    aud: Option<OneOrMany>,
    exp: Option<f64>,
    iat: Option<f64>,
    nbf: Option<f64>,
    jti: Option<String>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<WireKubernetes>,
}

#[derive(Deserialize)]
struct WireKubernetes {
    warnafter: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    fn minted(secret: &str, at: Option<Timestamp>) -> Minted {
        Minted {
            secret: SecretString::from(secret),
            bounds: at.map(|at| Bound { by: Limit::Lease, at }).into_iter().collect(),
            subject: None,
            lease: None,
            warnings: Vec::new(),
            request_id: None,
        }
    }

    #[test]
    fn an_end_beyond_all_years_is_ten_years_from_now() {
        let claims = URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{}}}", now().timestamp_millis()));
        let latest = now() + LONGEST_LIFETIME;
        for token in [
            minted(&format!("e30.{claims}.x"), None),
            minted(&format!("e30.{claims}.x"), Some(Timestamp::MAX_UTC)),
            minted("opaque", Some(Timestamp::MAX_UTC)),
        ] {
            let token = Token::new(token, now()).unwrap();
            assert_eq!(token.usable_until, latest);
            assert!(token.expires_at.is_none_or(|end| end == latest));
            assert_eq!(token.reported_end().to_rfc3339(), "2037-01-12T07:59:30+00:00");
            assert_eq!(token.state(now()), State::Valid);
        }
    }

    #[test]
    fn a_token_is_renewed_in_its_last_quarter_or_six_minutes_early_but_never_all_the_time() {
        for (lifetime, renewed_at) in [
            (TimeDelta::hours(8), TimeDelta::hours(6)),
            (TimeDelta::hours(1), TimeDelta::minutes(45)),
            (TimeDelta::minutes(20), TimeDelta::minutes(14)),
            (TimeDelta::minutes(10), TimeDelta::minutes(4)),
            (TimeDelta::minutes(5), TimeDelta::minutes(2)),
            (TimeDelta::seconds(10), TimeDelta::seconds(4)),
        ] {
            assert_eq!(refresh_after(now(), now() + lifetime), now() + renewed_at, "{lifetime}");
        }
    }

    #[test]
    fn only_three_parts_with_an_object_between_them_are_a_jwt() {
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"alice","aud":"x"}"#);
        let claims = Claims::read(&format!("e30.{payload}.x")).unwrap();
        assert_eq!((claims.subject.as_deref(), claims.audiences), (Some("alice"), vec!["x".to_owned()]));
        let list = URL_SAFE_NO_PAD.encode("[]");
        for none in [
            format!(".{payload}.x"),
            format!("e30.{payload}."),
            format!("e30.{payload}"),
            format!("e30.{payload}.x.y"),
            format!("e30.{list}.x"),
            "e30..x".into(),
            "opaque".into(),
        ] {
            assert_eq!(Claims::read(&none), None, "{none}");
        }
    }

    #[test]
    fn a_digest_is_written_alike_for_people_and_for_programmers() {
        let digest = Digest::parse("0123456789abcdef").unwrap();
        assert_eq!(format!("{digest} {digest:?}"), "0123456789abcdef Digest(0123456789abcdef)");
        for none in ["0123456789ABCDEF", "0123456789abcde", "0123456789abcdef0", "+123456789abcdef"] {
            assert_eq!(Digest::parse(none), None, "{none}");
        }
    }

    #[test]
    fn what_a_client_would_find_expired_is_not_a_token() {
        let lives = |milliseconds| {
            let end = now() + TimeDelta::milliseconds(milliseconds);
            Token::new(minted("opaque", Some(end)), now())
        };
        for (milliseconds, good) in [(0, false), (1, false), (1_000, false), (1_050, false), (2_000, true)] {
            match lives(milliseconds) {
                Ok(token) => assert!(good && token.reported_end() > now(), "{milliseconds}"),
                Err(flaw) => assert!(!good && matches!(flaw, Flaw::Dead(_)), "{milliseconds}"),
            }
        }
    }

    #[test]
    fn kept_times_of_any_kind_make_nobody_stumble() {
        let times = [Timestamp::MIN_UTC, Timestamp::UNIX_EPOCH, now(), Timestamp::MAX_UTC];
        let mut token = Token::new(minted("opaque", None), now()).unwrap();
        for issued_at in times {
            for usable_until in times {
                (token.issued_at, token.usable_until) = (issued_at, usable_until);
                for asked_at in times {
                    let _ = token.state(asked_at);
                }
            }
        }
        (token.issued_at, token.usable_until) = (now() + TimeDelta::seconds(61), Timestamp::MAX_UTC);
        assert_eq!(token.state(now()), State::Expired, "a clock that went back");
        token.issued_at = now() + TimeDelta::seconds(60);
        assert_eq!(token.state(now()), State::Valid);
    }
}
