//! Paths of Vault's API: each segment percent-encoded, none that climbs.

use super::VaultError;

/// Joins mount paths, names and words to one path. A part may hold several segments (`kubernetes/prod`);
/// slashes at its ends are dropped.
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
            for byte in segment.bytes() {
                if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                    path.push(char::from(byte));
                } else {
                    path.push('%');
                    path.push_str(&format!("{byte:02X}"));
                }
            }
        }
    }
    Ok(path)
}
