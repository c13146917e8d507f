//! JWT-SVIDs as their tools write them: `spiffe-helper` the bare token, `spire-agent api fetch jwt
//! -output json` a list whose first element holds the SVIDs and whose second the trust bundles.

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::source::field::SecretText;

#[derive(Deserialize)]
struct Fetched {
    #[serde(default)]
    svids: Vec<Svid>,
}

#[derive(Deserialize)]
struct Svid {
    svid: SecretText,
}

/// The token in such a text; the text itself where it is no JSON. A workload with several SPIFFE IDs
/// is served under the first, as the Workload API's specification (section 5.3) has it by default.
pub(super) fn token_of(text: SecretString) -> Result<SecretString, &'static str> {
    let json = text.expose_secret().trim_start();
    if !json.starts_with(['[', '{']) {
        return Ok(text);
    }
    let fetched = if json.starts_with('[') {
        serde_json::from_str::<Vec<Fetched>>(json)
            .map(|list| list.into_iter().flat_map(|one| one.svids).next())
    } else {
        serde_json::from_str::<Fetched>(json).map(|one| one.svids.into_iter().next())
    };
    // The parser's own words are left out: they could quote the token.
    match fetched {
        Ok(Some(svid)) => Ok(svid.svid.0),
        Ok(None) | Err(_) => Err("it is JSON without `svids[0].svid`"),
    }
}
