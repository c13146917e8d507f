//! A form as a token endpoint takes it (RFC 6749 section 3.2). Its secrets are wiped, are shown to nobody,
//! and are taken out of a server's words; who sends it is not its business.

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// The fields of a request in their order; one may come several times (`audience`, `resource`).
#[derive(Clone, Default)]
#[must_use = "a form does nothing until it is sent"]
pub struct Form {
    fields: Vec<(String, Value)>,
}

#[derive(Clone)]
enum Value {
    Plain(String),
    Secret(SecretString),
}

impl Form {
    /// The form of a grant.
    pub fn of_grant(grant_type: &str) -> Self {
        Self::default().field("grant_type", grant_type)
    }

    /// One more field.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), Value::Plain(value.to_owned())));
        self
    }

    /// One more field where there is something to say.
    pub fn optional(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    /// One more field that nobody may read.
    pub fn secret(mut self, name: &str, value: &SecretString) -> Self {
        self.fields.push((name.to_owned(), Value::Secret(value.clone())));
        self
    }

    /// As it is sent: sized at once, as a buffer that grows leaves copies of secrets behind.
    pub(super) fn encoded(&self) -> Zeroizing<Vec<u8>> {
        let text = |value: &Value| match value {
            Value::Plain(text) => text.len(),
            Value::Secret(secret) => secret.expose_secret().len(),
        };
        // Each byte of a value becomes three at most.
        let most = self.fields.iter().map(|(name, value)| 3 * (name.len() + text(value)) + 2).sum();
        let mut body = Zeroizing::new(Vec::with_capacity(most));
        for (name, value) in &self.fields {
            if !body.is_empty() {
                body.push(b'&');
            }
            append(&mut body, name);
            body.push(b'=');
            match value {
                Value::Plain(text) => append(&mut body, text),
                Value::Secret(secret) => append(&mut body, secret.expose_secret()),
            }
        }
        body
    }

    /// Security: a server may repeat in an error what it was sent; it is not repeated after it.
    pub(super) fn without_secrets(&self, words: String) -> String {
        self.fields.iter().fold(words, |words, (_, value)| match value {
            Value::Secret(secret) if !secret.expose_secret().is_empty() => {
                words.replace(secret.expose_secret(), "…")
            }
            Value::Secret(_) | Value::Plain(_) => words,
        })
    }
}

pub(super) fn append(body: &mut Vec<u8>, text: &str) {
    for part in byte_serialize(text.as_bytes()) {
        body.extend_from_slice(part.as_bytes());
    }
}
