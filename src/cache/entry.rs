//! What is kept of a token, and its JSON form inside a sealed file. It owns the one place where a
//! token's secret is put into an entry, and decides nothing about its times.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::token::{Lease, Limit, Timestamp, Token};

/// Version of the fields below; an entry of another version is a miss.
const VERSION: u32 = 1;

/// What an entry says about its token, for `status`, `logout` and the next call.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The profile it was fetched for, or what stands for one.
    pub profile: String,
    /// The source's name in the settings.
    pub source: String,
    /// The API server it is for, where that is known.
    pub cluster_server: Option<String>,
    /// The [`SessionKey`](crate::vault::session::SessionKey) that its lease hangs on.
    pub session_key: Option<String>,
}

/// A token as it was kept.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The token.
    pub token: Token,
    /// What it is for.
    pub about: About,
}

/// The fields as they are written: secret and description are borrowed then, and owned when read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<S, A> {
    version: u32,
    secret: S,
    issued_at: Timestamp,
    refresh_after: Timestamp,
    usable_until: Timestamp,
    expires_at: Option<Timestamp>,
    limited_by: Limit,
    subject: Option<String>,
    token_id: Option<String>,
    lease: Option<Lease>,
    about: A,
}

/// The content of an entry.
///
/// Security: the only place where a token's secret goes into an entry; what is returned is wiped
/// when it is dropped, and [`seal`](super::seal) closes it.
pub(super) fn encode(token: &Token, about: &About) -> Option<Zeroizing<Vec<u8>>> {
    let secret = token.secret.expose_secret();
    // Room enough that it does not grow: a vector that grows leaves copies behind.
    let mut content = Zeroizing::new(Vec::with_capacity(secret.len() + 16 * 1024));
    let fields = Fields {
        version: VERSION,
        secret,
        issued_at: token.issued_at,
        refresh_after: token.refresh_after,
        usable_until: token.usable_until,
        expires_at: token.expires_at,
        limited_by: token.limited_by,
        subject: token.subject.clone(),
        token_id: token.token_id.clone(),
        lease: token.lease.clone(),
        about,
    };
    serde_json::to_writer(&mut *content, &fields).ok()?;
    Some(content)
}

/// Reads what [`encode`] wrote; anything else is `None`.
pub(super) fn decode(content: &[u8]) -> Option<Kept> {
    let fields: Fields<String, About> = serde_json::from_slice(content).ok()?;
    if fields.version != VERSION {
        return None;
    }
    let token = Token {
        secret: SecretString::from(fields.secret),
        issued_at: fields.issued_at,
        refresh_after: fields.refresh_after,
        usable_until: fields.usable_until,
        expires_at: fields.expires_at,
        limited_by: fields.limited_by,
        subject: fields.subject,
        token_id: fields.token_id,
        lease: fields.lease,
    };
    Some(Kept { token, about: fields.about })
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::DateTime;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn any_time() -> impl Strategy<Value = Timestamp> {
        // To the nanosecond, over the years that RFC 3339 can write.
        (0..253_402_300_799_i64, 0..1_000_000_000_u32)
            .prop_map(|(seconds, part)| DateTime::from_timestamp(seconds, part).unwrap())
    }

    pub(in crate::cache) fn any_limit() -> impl Strategy<Value = Limit> {
        prop_oneof![
            Just(Limit::Expiry),
            Just(Limit::WarnAfter),
            Just(Limit::ExpiresIn),
            Just(Limit::Lease),
            Just(Limit::Session),
            Just(Limit::Document),
            Just(Limit::Assumed),
        ]
    }

    prop_compose! {
        pub(in crate::cache) fn any_token()(
            secret in "[!-~]{1,400}",
            times in [any_time(), any_time(), any_time()],
            expires_at in option::of(any_time()),
            limited_by in any_limit(),
            subject in option::of(".*"),
            token_id in option::of(".*"),
            lease in option::of((".*", option::of(any::<bool>()))),
        ) -> Token {
            let [issued_at, refresh_after, usable_until] = times;
            Token {
                secret: SecretString::from(secret),
                issued_at, refresh_after, usable_until, expires_at, limited_by, subject, token_id,
                lease: lease.map(|(id, ends_token)| Lease { id, ends_token }),
            }
        }
    }

    prop_compose! {
        pub(in crate::cache) fn any_about()(
            profile in ".*", source in ".*",
            cluster_server in option::of(".*"), session_key in option::of(".*"),
        ) -> About {
            About { profile, source, cluster_server, session_key }
        }
    }

    /// All that a token has, as it can be compared.
    pub(in crate::cache) fn bare(token: &Token) -> impl PartialEq + std::fmt::Debug + use<> {
        let Token { secret, issued_at, refresh_after, usable_until, expires_at, .. } = token.clone();
        let Token { limited_by, subject, token_id, lease, .. } = token.clone();
        let times = (issued_at, refresh_after, usable_until, expires_at);
        (secret.expose_secret().to_owned(), times, limited_by, subject, token_id, lease)
    }

    proptest! {
        #[test]
        fn every_field_comes_back(token in any_token(), about in any_about()) {
            let kept = decode(&encode(&token, &about).unwrap()).unwrap();
            prop_assert_eq!(bare(&kept.token), bare(&token));
            prop_assert_eq!(kept.about, about);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>) {
            prop_assert!(decode(&bytes).is_none());
        }
    }

    fn example() -> (Token, About) {
        let at = |seconds| DateTime::from_timestamp(1_800_000_000_i64 + seconds, 0).unwrap();
        let token = Token {
            secret: SecretString::from("planted-token"),
            issued_at: at(0),
            refresh_after: at(2700),
            usable_until: at(3600),
            expires_at: Some(at(7200)),
            limited_by: Limit::Lease,
            subject: Some("system:serviceaccount:team-a:deployer".into()),
            token_id: None,
            lease: Some(Lease { id: "kubernetes/creds/x/1".into(), ends_token: Some(true) }),
        };
        let about = About {
            profile: "prod".into(),
            source: "vaultKubernetes".into(),
            cluster_server: Some("https://prod.example:6443".into()),
            session_key: None,
        };
        (token, about)
    }

    #[test]
    fn its_form_is_what_other_versions_read() {
        let (token, about) = example();
        let content = encode(&token, &about).unwrap();
        assert_eq!(
            std::str::from_utf8(&content).unwrap(),
            concat!(
                r#"{"version":1,"secret":"planted-token","issuedAt":"2027-01-15T08:00:00Z","#,
                r#""refreshAfter":"2027-01-15T08:45:00Z","usableUntil":"2027-01-15T09:00:00Z","#,
                r#""expiresAt":"2027-01-15T10:00:00Z","limitedBy":"lease","#,
                r#""subject":"system:serviceaccount:team-a:deployer","tokenId":null,"#,
                r#""lease":{"id":"kubernetes/creds/x/1","endsToken":true},"#,
                r#""about":{"profile":"prod","source":"vaultKubernetes","#,
                r#""clusterServer":"https://prod.example:6443","sessionKey":null}}"#,
            )
        );
        let later = String::from_utf8(content.to_vec()).unwrap().replace(r#""version":1"#, r#""version":2"#);
        assert!(decode(later.as_bytes()).is_none(), "another version is a miss");
    }

    #[test]
    fn what_is_kept_does_not_show_its_secret() {
        let (token, about) = example();
        let kept = decode(&encode(&token, &about).unwrap()).unwrap();
        assert!(!format!("{kept:?}").contains("planted-token"));
    }
}
