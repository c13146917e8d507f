//! Calls to a vault with one token in one namespace. It says what the server said and knows no engine.

use serde_json::Value;

use super::super::http::{Answer, Client};

/// A token, perhaps a namespace, and the server that they are for.
#[derive(Clone)]
pub struct Session {
    pub(super) address: String,
    pub(super) client: Client,
    pub token: Option<String>,
    pub namespace: Option<String>,
}

impl Session {
    pub(super) fn new(address: &str, client: Client, token: Option<&str>) -> Self {
        Self { address: address.to_owned(), client, token: token.map(str::to_owned), namespace: None }
    }

    /// The same token, in `namespace`.
    #[must_use]
    pub fn within(&self, namespace: &str) -> Self {
        Self { namespace: Some(namespace.to_owned()), ..self.clone() }
    }

    /// The same token, sent to `address`, such as that of a [`Double`](super::super::Double) before the
    /// server.
    #[must_use]
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), ..self.clone() }
    }

    /// One call; `path` is what follows `/v1/`, and a null `body` is none.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error:?}"))
    }

    /// As [`Session::call`]; an error is one of the connection.
    pub fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Answer, reqwest::Error> {
        let mut headers = vec![("X-Vault-Request", "true")];
        headers.extend(self.token.as_deref().map(|token| ("X-Vault-Token", token)));
        headers.extend(self.namespace.as_deref().map(|namespace| ("X-Vault-Namespace", namespace)));
        let url = format!("{}/v1/{path}", self.address);
        self.client.call(method, &url, &headers, body)
    }

    /// The `data` of what lies at `path`. Panics where the server refuses.
    pub fn read(&self, path: &str) -> Value {
        self.successful("GET", path, &Value::Null)["data"].take()
    }

    /// The whole answer to a write. Panics where the server refuses.
    pub fn write(&self, path: &str, body: &Value) -> Value {
        self.successful("PUT", path, body)
    }

    /// Panics where the server refuses.
    pub fn delete(&self, path: &str) {
        self.successful("DELETE", path, &Value::Null);
    }

    /// The keys below `path`; none where there are none.
    pub fn list(&self, path: &str) -> Vec<String> {
        let answer = self.call("LIST", path, &Value::Null);
        if answer.status == 404 {
            return Vec::new();
        }
        assert!(answer.is_success(), "LIST {path}: {}", answer.text);
        serde_json::from_value(answer.json["data"]["keys"].clone()).unwrap()
    }

    fn successful(&self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.call(method, path, body);
        let Answer { status, text, .. } = &answer;
        assert!(answer.is_success(), "{method} {path}: {status} {text}");
        answer.json
    }
}
