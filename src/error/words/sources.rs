//! What sources say that ask a Vault for what it keeps, issues or hands on, or a cluster.

use snapbox::{assert_data_eq, file};

use super::{at, evil, names, told};
use crate::config::ProviderToken;
use crate::error::ExitCode;
use crate::http::HttpError;
use crate::source::{SourceError, token_request, vault_identity, vault_kv};

#[test]
fn of_token_documents() {
    use vault_kv::{NotRead, Reason};
    let reasons = vec![
        Reason::NoSecret { with_data: true },
        Reason::NoSecret { with_data: false },
        Reason::Deleted { at: at(0), version: 3 },
        Reason::Outlived { at: at(0) },
        Reason::Destroyed,
        Reason::NotKv { engine: "kubernetes".into() },
        Reason::OtherMount { mount: "other".into() },
        Reason::Refused { words: Some(evil("no")) },
        Reason::FieldMissing { field: "token".into(), present: names(&["jwt", "note"]) },
        Reason::FieldMissing { field: "token".into(), present: Vec::new() },
        Reason::Field { field: "token".into(), why: "it is a list, not text".into() },
        Reason::OtherCluster { asked: "prod-eu".into(), found: evil("test-us") },
        Reason::OtherTeam { asked: "payments".into(), found: "others".into() },
        Reason::OtherServer { asked: "https://a".into(), found: "https://b".into() },
        Reason::OtherAuthority,
        Reason::Late { at: at(0) },
    ];
    all!(reasons, Reason: NoSecret Deleted Outlived Destroyed NotKv OtherMount Refused FieldMissing Field OtherCluster
        OtherTeam OtherServer OtherAuthority Late);
    let error = |reason| {
        let (vault, path) = ("https://vault.example".to_owned(), "secret/sa/prod-eu/payments".to_owned());
        SourceError::Kv(Box::new(NotRead { vault, path, reason }))
    };
    assert_data_eq!(told(reasons.into_iter().map(error).collect()), file!["documents.txt"].raw());
}

#[test]
fn of_identity_tokens() {
    use vault_identity::{NotIssued, Reason};
    let reasons = vec![
        Reason::NoEntity,
        Reason::NoRole,
        Reason::ClientNotAllowed,
        Reason::Algorithm(evil("EdDSA")),
        Reason::Other,
    ];
    all!(reasons, Reason: NoEntity NoRole ClientNotAllowed Algorithm Other);
    let error = |reason| {
        let (vault, role) = ("https://vault.example".to_owned(), "kubernetes".to_owned());
        SourceError::Identity(Box::new(NotIssued { vault, role, reason, words: Some("no".into()) }))
    };
    assert_data_eq!(told(reasons.into_iter().map(error).collect()), file!["identity-tokens.txt"].raw());
}

#[test]
fn of_tokens_of_service_accounts() {
    use token_request::{NotGranted, Reason};
    let forbidden =
        |who: &str| Some(format!("serviceaccounts \"reader\" is forbidden: User \"{who}\" cannot"));
    let plugin = |exit_code| Reason::Plugin { name: "aws".into(), cause: evil("no session"), exit_code };
    let reasons = vec![
        (Reason::Unusable("it names no user".into()), None),
        (Reason::Recursion("prod".into()), None),
        (Reason::TlsOff, None),
        (Reason::Cleartext, None),
        (plugin(ExitCode::LoginRequired), None),
        (plugin(ExitCode::Unusable), None),
        (Reason::Http(HttpError::Deadline { host: "hub.example".into(), sent: true }), None),
        (Reason::Unauthorized, Some("Unauthorized".into())),
        (Reason::MayNotRequest, forbidden("jane doe")),
        (Reason::MayNotRequest, forbidden("system:serviceaccount:ci:builder")),
        (Reason::MayNotBind, None),
        (Reason::NamespaceMissing, Some("namespaces \"team-a\" not found".into())),
        (Reason::AccountMissing, Some(evil("not found"))),
        (Reason::AccountReplaced, None),
        (Reason::AccountReplaced, Some("the UID in the request does not match".into())),
        (Reason::TooShort, Some("may not specify a duration less than 10 minutes".into())),
        (Reason::Invalid, Some("audiences: Invalid value".into())),
        (Reason::Status(503, "down".into()), None),
        (Reason::Status(418, String::new()), None),
        (Reason::Answer("it has no `status.token`".into()), None),
    ];
    let met: Vec<_> = reasons.iter().map(|(reason, _)| reason.clone()).collect();
    all!(met, Reason: Unusable Recursion TlsOff Cleartext Plugin Http Unauthorized MayNotRequest MayNotBind
        NamespaceMissing AccountMissing AccountReplaced TooShort Invalid Status Answer);
    let error = |(reason, words)| {
        let (context, server) = ("hub admin".to_owned(), "https://hub.example:6443".to_owned());
        let (namespace, account) = ("team-a".to_owned(), "reader".to_owned());
        SourceError::TokenRequest(Box::new(NotGranted { context, server, namespace, account, reason, words }))
    };
    assert_data_eq!(told(reasons.into_iter().map(error).collect()), file!["service-accounts.txt"].raw());
}

#[test]
fn of_tokens_that_a_vault_hands_on() {
    let error = |kind| SourceError::NotHandedOn { vault: "https://vault.example".into(), kind };
    let errors = [ProviderToken::Id, ProviderToken::Access].map(error).into();
    assert_data_eq!(told(errors), file!["handed-on.txt"].raw());
}
