//! `oidc` through a Vault: the token that a provider gave Vault when somebody logged in there, where the
//! role hands it on (`oauth2_metadata`; see `auth/jwt/role` in the API documentation of OpenBao).
//!
//! It is among the metadata of the session and as old as the log-in: only another one brings a new one.

use chrono::TimeDelta;
use serde::Deserialize;

use super::SourceError;
use super::ask::Ask;
use super::field::Field;
use crate::config::ProviderToken;
use crate::error::Error;
use crate::token::{ASSUMED_LIFETIME, Bound, Claims, Limit, Minted, Timestamp};
use crate::vault::{Call, VaultError};

/// What Vault knows about the session.
pub(super) const PATH: &str = "auth/token/lookup-self";

/// How much of a token is left that is worth handing out.
const ENOUGH: TimeDelta = TimeDelta::seconds(10);

/// The part of the answer that counts here.
#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    meta: Option<Metadata>,
    #[serde(default)]
    creation_time: Option<i64>,
}

/// Security: the metadata are secrets, and nothing else of them is read.
#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    oauth2_id_token: Field,
    #[serde(default)]
    oauth2_access_token: Field,
}

/// Asks for the token that came with the log-in.
pub(crate) async fn mint<V: Ask>(
    vault: &V,
    kind: ProviderToken,
    clock: fn() -> Timestamp,
) -> Result<Minted, Error> {
    let reply = vault.ask::<Known>(Call::read(PATH)).await?;
    let known = reply.data;
    let handed_on =
        known.as_ref().and_then(|known| known.creation_time).and_then(|at| Timestamp::from_timestamp(at, 0));
    let token = known.and_then(|known| known.meta).map(|meta| match kind {
        ProviderToken::Id => meta.oauth2_id_token,
        ProviderToken::Access => meta.oauth2_access_token,
    });
    // A role hands on an empty one where the provider gave none.
    let Some(secret) = token.and_then(Field::filled) else {
        return Err(SourceError::NotHandedOn { vault: vault.origin().to_owned(), kind }.into());
    };
    let claims = Claims::of(&secret).unwrap_or_default();
    let bound = match claims.expires_at {
        Some(at) => Bound { by: Limit::Expiry, at },
        None => Bound { by: Limit::Assumed, at: handed_on.unwrap_or_else(clock) + ASSUMED_LIFETIME },
    };
    if bound.at <= clock() + ENOUGH {
        return Err(Error::Vault(VaultError::LoginRequired {
            vault: vault.origin().to_owned(),
            method: "oidc",
            why: format!(
                "the provider's token came with the last log-in and ended at {}",
                bound.at.format("%Y-%m-%d %H:%M:%SZ")
            ),
        }));
    }
    Ok(Minted {
        secret,
        bounds: vec![bound],
        subject: claims.subject,
        lease: None,
        warnings: reply.warnings,
        request_id: reply.request_id,
    })
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret as _, SecretString};
    use serde_json::{Value, json};

    use super::*;
    use crate::source::script::{Script, at, jwt, now, told};
    use crate::token::Token;

    const LOOK: &str = "GET auth/token/lookup-self";

    /// A session that was made a minute ago.
    fn session(meta: &Value) -> Script {
        let data = json!({"id": "", "path": "auth/oidc/oidc/callback", "meta": meta,
            "creation_time": at(-60).timestamp()});
        Script::new().session_until(at(600)).on(LOOK, 200, json!({"data": data}))
    }

    fn id_token(end: i64) -> String {
        jwt("RS256", &json!({"sub": "alice", "exp": at(end).timestamp()}))
    }

    #[tokio::test]
    async fn the_token_of_the_log_in_ends_when_it_says_and_not_with_the_session() {
        let meta =
            json!({"role": "dev", "oauth2_id_token": id_token(3_600), "oauth2_access_token": "opaque"});
        let minted = mint(&session(&meta), ProviderToken::Id, now).await.unwrap();
        assert_eq!(minted.subject.as_deref(), Some("alice"));
        let token = Token::new(minted, now()).unwrap();
        assert_eq!((token.usable_until, token.limited_by), (at(3_600), Limit::Expiry));
        // Whose end nobody tells is as old as the log-in all the same.
        let minted = mint(&session(&meta), ProviderToken::Access, now).await.unwrap();
        assert_eq!(minted.secret.expose_secret(), SecretString::from("opaque").expose_secret());
        let token = Token::new(minted, now()).unwrap();
        assert_eq!((token.usable_until, token.limited_by), (at(240), Limit::Assumed));
    }

    #[tokio::test]
    async fn what_has_ended_needs_a_person_and_what_is_not_there_an_operator() {
        let mut said = String::new();
        for meta in [
            json!({"oauth2_id_token": id_token(5)}),
            json!({"oauth2_id_token": ""}),
            json!({"oauth2_id_token": 7}),
            json!({"role": "dev"}),
            json!(null),
        ] {
            let error = mint(&session(&meta), ProviderToken::Id, now).await.unwrap_err();
            said.push_str(&told(&error));
        }
        let ended = "exit 3\nerror: profile `prod`: log-in to `https://vault.example:8200` required";
        assert!(said.starts_with(ended), "{said}");
        assert!(said.contains("came with the last log-in and ended at 2030-01-01 00:00:05Z\n"), "{said}");
        assert_eq!(said.matches("hands on no ID token of a provider\n").count(), 4, "{said}");
    }
}
