//! x
use crate::token::Token;
/// What an entry says about its token, for `status`, `logout` and the next call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// The profile it was fetched for, or what stands for one.
    pub profile: String,
    /// The source's name in the settings.
    pub source: String,
    /// The API server it is for, where that is known.
    pub cluster_server: Option<String>,
    /// The session that its lease hangs on.
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
