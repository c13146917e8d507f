//! What the sources ask of a Vault: [`Vault`] answers in the program, a script in the tests.

use std::future::Future;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::vault::session::Session;
use crate::vault::{Answer, Call, Vault, VaultError};

/// Calls in the name of a session.
pub(crate) trait Ask: Sync {
    /// The address, for messages.
    fn origin(&self) -> &str;

    /// One call whose answer's `data` is a `T`.
    fn ask<T: DeserializeOwned + Send>(
        &self,
        call: Call<'_>,
    ) -> impl Future<Output = Result<Reply<T>, VaultError>> + Send;
}

/// An answer as far as a source needs it.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    /// 200, 204 or 404.
    pub(crate) status: u16,
    /// `data`; with a 404 only where it was there.
    pub(crate) data: Option<T>,
    pub(crate) lease_id: Option<String>,
    /// In seconds.
    pub(crate) lease_duration: u64,
    pub(crate) warnings: Vec<String>,
    pub(crate) request_id: Option<String>,
    /// `errors`.
    pub(crate) messages: Vec<String>,
    /// The session that made the call.
    pub(crate) session: Session,
}

impl<T> Reply<T> {
    /// A 404 because nothing is mounted there.
    pub(crate) fn is_without_mount(&self) -> bool {
        self.status == 404 && self.messages.iter().any(|message| message.contains("no handler for route"))
    }
}

impl<T: DeserializeOwned> TryFrom<Answer> for Reply<T> {
    type Error = VaultError;

    fn try_from(answer: Answer) -> Result<Self, VaultError> {
        let data = match answer.status {
            200 => Some(answer.data()?),
            _ => answer.data().ok(),
        };
        let messages = answer.messages().to_vec();
        let Answer { status, request_id, lease_id, lease_duration, warnings, session, .. } = answer;
        Ok(Self { status, data, lease_id, lease_duration, warnings, request_id, messages, session })
    }
}

impl Ask for Vault {
    fn origin(&self) -> &str {
        self.origin()
    }

    async fn ask<T: DeserializeOwned + Send>(&self, call: Call<'_>) -> Result<Reply<T>, VaultError> {
        self.call(call).await?.try_into()
    }
}

/// An answer without `data`, or whose `data` does not matter.
#[derive(Debug, Deserialize)]
pub(crate) struct Ignored {}
