//! Log-out: revoking what is ours on the server, and saying honestly what became of it.

use serde_json::json;
use zeroize::Zeroizing;

use super::call::Health;
use super::exchange::Ask;
use super::{Call, Vault, VaultError};

/// What became of something that was to be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// It is revoked.
    Done,
    /// No policy of ours allows it, or it is of a kind that cannot be: it lives until its own end.
    NotAllowed,
    /// It was gone already.
    Gone,
    /// There was nothing of ours; a token that was found is never revoked.
    Nothing,
}

impl Vault {
    /// Revokes the kept session and, once the server has it no more, forgets it here.
    ///
    /// A session that may not revoke itself stays kept; [`Self::forget_session`] drops it.
    pub async fn revoke_session(&self) -> Result<Revocation, VaultError> {
        let Some(session) = self.kept_session() else { return Ok(Revocation::Nothing) };
        if session.method == "token" {
            // A person brought it, and may use it elsewhere: it is forgotten here, and lives on.
            self.forget_session();
            return Ok(Revocation::Nothing);
        }
        let path = "auth/token/revoke-self";
        let mut ask = Ask::post(path, Zeroizing::new(b"{}".to_vec()), self.deadline());
        ask.token = Some(&session.token);
        // A second one finds nothing to revoke.
        ask.repeatable = true;
        let reply = self.exchange.ask(ask).await?;
        let outcome = match reply.status {
            200..=299 => Revocation::Done,
            403 => match self.health(&session).await? {
                Health::Alive => Revocation::NotAllowed,
                Health::Dead => Revocation::Gone,
            },
            // No server keeps a record of batch tokens that it could delete.
            400 if reply.messages().iter().any(|message| message.contains("batch token")) => {
                Revocation::NotAllowed
            }
            _ => return Err(self.rejected(path, &reply)),
        };
        if outcome != Revocation::NotAllowed {
            self.forget_session();
        }
        Ok(outcome)
    }

    /// Revokes a lease and waits until the server has done so.
    pub async fn revoke_lease(&self, lease_id: &str) -> Result<Revocation, VaultError> {
        let body = json!({"lease_id": lease_id, "sync": true});
        let call = Call { repeatable: true, ..Call::write("sys/leases/revoke", body) };
        match self.call(call).await {
            Ok(answer) if answer.status == 404 => Ok(Revocation::Gone),
            Ok(_) => Ok(Revocation::Done),
            Err(VaultError::Denied { .. }) => Ok(Revocation::NotAllowed),
            Err(VaultError::Rejected { status: 400, messages, .. })
                if messages.iter().any(|message| message.contains("invalid lease")) =>
            {
                Ok(Revocation::Gone)
            }
            Err(error) => Err(error),
        }
    }
}
