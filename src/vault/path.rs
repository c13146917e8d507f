//! Paths of Vault's API: each segment percent-encoded, none that climbs.

use std::fmt::Write as _;

use super::VaultError;

/// Joins mount paths, names and words to one path. A part may hold several segments
/// (`kubernetes/prod`); slashes at its ends are dropped.
///
/// # Errors
/// [`VaultError::Path`] where a part is empty or holds an empty, `.` or `..` segment.
pub fn join(parts: &[&str]) -> Result<String, VaultError> {
    let mut path = String::new();
    for part in parts {
        for segment in part.trim_matches('/').split('/') {
            // Security: `..` in a role of a kubeconfig would choose another engine.
            if matches!(segment, "" | "." | "..") {
                return Err(VaultError::Path { part: (*part).to_owned() });
            }
            if !path.is_empty() {
                path.push('/');
            }
            encode(segment, &mut path);
        }
    }
    Ok(path)
}

/// RFC 3986: whatever is not unreserved is encoded.
fn encode(segment: &str, path: &mut String) {
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_and_encoded() {
        assert_eq!(join(&["kubernetes/prod/", "creds", "dev"]).unwrap(), "kubernetes/prod/creds/dev");
        assert_eq!(join(&["secret", "data", "a b/ü?#%2e"]).unwrap(), "secret/data/a%20b/%C3%BC%3F%23%252e");
    }

    #[test]
    fn nothing_climbs_or_vanishes() {
        for part in ["", "/", "..", "a/../b", "./x", "a//b"] {
            assert!(join(&["auth", part]).is_err(), "{part}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_joined_stays_below_its_first_part(part in "\\PC{1,40}") {
            if let Ok(path) = join(&["kubernetes", "creds", &part]) {
                let mut url = url::Url::parse("https://vault:8200").unwrap();
                url.set_path(&format!("/v1/{path}"));
                let kept = url.path().starts_with("/v1/kubernetes/creds/");
                proptest::prop_assert!(kept && url.query().is_none() && url.fragment().is_none());
                proptest::prop_assert_eq!(url.path(), format!("/v1/{path}"));
            }
        }
    }
}
