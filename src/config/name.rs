//! Names of profiles, vaults, providers and identities, and the one that was probably meant where a
//! name is not known.

use super::value::ValueError;

/// `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Name(String);

impl Name {
    /// Checks a name; `None` where it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = text.bytes();
        let starts_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let goes_on_well = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        (starts_well && goes_on_well && text.len() <= 63).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        Self::parse(&text).ok_or_else(|| {
            ValueError::of(
                &text,
                "a name",
                "a letter or digit is expected, then up to 62 letters, digits, `.`, `_` and `-`",
            )
        })
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The one of `known` that was probably meant: few edits away, once case, `-` and `_` are set aside.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// A longer word is not a slip of the pen, and the comparison takes quadratic time.
    const LONGEST: usize = 64;
    if word.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.replace(['-', '_'], "").to_ascii_lowercase();
    let word = plain(word);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .filter(|(edits, candidate)| *edits <= (candidate.len().min(word.len()) / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_is_what_the_settings_page_says() {
        for good in ["a", "7", "prod", "prod-eu.1_x", &"x".repeat(63)] {
            assert!(Name::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-a", ".", "..", "a/b", "a b", "é", "a\n", "a\0", &"x".repeat(64)] {
            assert!(Name::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_is_a_slip_away_or_nothing() {
        let known = ["vaultKubernetes", "vaultKv", "oidc", "role"];
        assert_eq!(nearest("vaultKuberntes", known), Some("vaultKubernetes"));
        assert_eq!(nearest("vault-kubernetes", known), Some("vaultKubernetes"));
        assert_eq!(nearest("vault_kv", known), Some("vaultKv"));
        assert_eq!(nearest("rloe", known), Some("role"));
        assert_eq!(nearest("token", known), None);
        assert_eq!(nearest(&"r".repeat(65), known), None);
    }

    proptest! {
        #[test]
        fn names_are_kept_as_they_are(text in "[A-Za-z0-9][A-Za-z0-9._-]{0,62}") {
            prop_assert_eq!(Name::parse(&text).map(|name| name.to_string()), Some(text));
        }

        #[test]
        fn whatever_is_accepted_is_safe_in_a_path_and_on_a_terminal(text in any::<String>()) {
            if let Some(name) = Name::parse(&text) {
                prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\'));
                prop_assert!(!name.as_str().starts_with(['.', '-']));
            }
        }
    }
}
