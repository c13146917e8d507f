//! Fields of an answer that may hold a secret. Unlike the JSON library's own types these never
//! quote a value in an error message and wipe text when they are dropped.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Text that may be a secret.
pub(crate) struct SecretText(pub(crate) SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Field::deserialize(deserializer)? {
            Field::Text(text) => Ok(Self(text)),
            other => Err(serde::de::Error::custom(format_args!("the field {}", other.is_not("text")))),
        }
    }
}

/// A field as it came, whatever its type.
#[derive(Default)]
pub(crate) enum Field {
    /// Text.
    Text(SecretString),
    /// A whole number.
    Number(i64),
    /// Something else, by the name of its type.
    Other(&'static str),
    /// `null`, or not there.
    #[default]
    Nothing,
}

impl Field {
    /// The text; for fields that are not secret.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.expose_secret()),
            Self::Number(_) | Self::Other(_) | Self::Nothing => None,
        }
    }

    /// The text, where there is some.
    pub(crate) fn filled(self) -> Option<SecretString> {
        match self {
            Self::Text(text) if !text.expose_secret().is_empty() => Some(text),
            Self::Text(_) | Self::Number(_) | Self::Other(_) | Self::Nothing => None,
        }
    }

    /// Why it is not what was wanted ("text", "a number").
    pub(crate) fn is_not(&self, wanted: &str) -> String {
        match self {
            Self::Nothing => "is missing".to_owned(),
            other => format!("is {}, not {wanted}", other.kind()),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Number(_) => "a number",
            Self::Other(kind) => kind,
            Self::Nothing => "nothing",
        }
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FieldVisitor)
    }
}

struct FieldVisitor;

impl<'de> Visitor<'de> for FieldVisitor {
    type Value = Field;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field::Text(SecretString::from(text)))
    }

    fn visit_string<E>(self, text: String) -> Result<Field, E> {
        Ok(Field::Text(SecretString::from(text)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field, E> {
        Ok(Field::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        Ok(i64::try_from(number).map_or(Field::Other("a number that is too large"), Field::Number))
    }

    fn visit_f64<E>(self, _number: f64) -> Result<Field, E> {
        Ok(Field::Other("a fraction"))
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Field, E> {
        Ok(Field::Other("true or false"))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Field, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Field, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_json_value_is_a_field_and_none_is_quoted() {
        let kind = |json: &str| serde_json::from_str::<Field>(json).unwrap().kind();
        assert_eq!(kind("\"a\""), "text");
        assert_eq!(kind("-3"), "a number");
        assert_eq!(kind("18446744073709551615"), "a number that is too large");
        assert_eq!(kind("1.5"), "a fraction");
        assert_eq!(kind("true"), "true or false");
        assert_eq!(kind("null"), "nothing");
        assert_eq!(kind("[1, [\"s3cret\"]]"), "a list");
        assert_eq!(kind("{\"a\": {\"b\": 1}}"), "an object");
        let error = serde_json::from_str::<SecretText>("[\"s3cret\"]").err().unwrap().to_string();
        assert_eq!(error, "the field is a list, not text");
    }
}
