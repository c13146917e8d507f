//! The settings as a whole: what files say, what is refused in which words, and whose word counts.

mod files;
mod requests;
mod words;

/// A settings file with this body.
fn file(body: &str) -> String {
    format!("apiVersion: vaulttoken.dev/v1alpha1\nkind: Config\n{body}")
}
