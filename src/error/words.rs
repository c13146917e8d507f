//! Every error of this crate in the lines that a person reads, by enum in `words/`: a variant that is
//! in no list does not compile, and one that changes its words changes a file. What Vault's own
//! errors and templates say is pinned beside them. `SNAPSHOTS=overwrite` writes the files anew.

use std::path::PathBuf;

use chrono::DateTime;
use snapbox::{assert_data_eq, file};

use super::{Calling, Error, ExitCode, Failure};
use crate::cluster::ClusterFlaw;
use crate::config::{Alternatives, By, EntryKind, Place, Preset, SettingsError, SourceKind, ValueError};
use crate::databricks::{DatabricksError, Host};
use crate::exec::ExecError;
use crate::http::{ConnectCause, HttpError, TlsCause};
use crate::identity::{self, IdentityError, Provider};
use crate::keystore::{StoreError, Unreplaced};
use crate::oidc::OidcError;
use crate::oidc::callback::CallbackError;
use crate::oidc::id_token::Lie;
use crate::source::SourceError;
use crate::source::{token_exchange, vault_kubernetes};
use crate::token::{Flaw, Timestamp};
use crate::trust::{Difference, Mend, TrustError};
use crate::vault::VaultError;

/// The reports of these errors, each with its exit code.
fn told(errors: Vec<impl Into<Error>>) -> String {
    let calling =
        Calling { program: "kubectl vaulttoken".into(), profile: Some("prod".into()), ..Calling::default() };
    let report = |error: Error| format!("{} {}", error.exit_code(), error.report(&calling));
    errors.into_iter().map(Into::into).map(report).collect()
}

/// Asserts that all variants are among the errors.
macro_rules! all {
    ($errors:expr, $enum:ident: $($variant:ident)*) => {{
        let name = |error: &$enum| match error { $($enum::$variant { .. } => stringify!($variant)),* };
        let found: std::collections::BTreeSet<&str> = $errors.iter().map(name).collect();
        assert_eq!(found, std::collections::BTreeSet::from([$(stringify!($variant)),*]));
    }};
}

mod sources;

fn at(second: i64) -> Timestamp {
    DateTime::from_timestamp(1_893_456_000 + second, 0).unwrap()
}

fn evil(text: &str) -> String {
    format!("{text}\u{1b}[2J\r\nforged: line")
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn of_trust() {
    let server = || "https://evil.example:6443".to_owned();
    let other = |difference, context: Option<&str>| TrustError::OtherCluster {
        server: server(),
        known: "https://prod.example:6443".into(),
        difference,
        context: context.map(str::to_owned),
    };
    let memory = |reason: &str, mend| TrustError::Memory {
        path: "/state/trust.json".into(),
        reason: reason.into(),
        mend,
    };
    let errors = vec![
        other(Difference::Server, None),
        other(Difference::Authority, Some("evil")),
        other(Difference::Authority, Some("evil; echo 'owned' $(id)")),
        TrustError::TlsOff { server: server() },
        TrustError::NoClusterInfo,
        TrustError::Cluster(ClusterFlaw::Server(evil("no address"))),
        TrustError::Cluster(ClusterFlaw::Authority),
        TrustError::Cluster(ClusterFlaw::AuthorityFile("it is not a file".into())),
        TrustError::Cluster(ClusterFlaw::AuthorityMixed),
        TrustError::Pin { server: server(), flaw: ClusterFlaw::Authority },
        TrustError::UnknownVault { address: server(), foreign: Vec::new() },
        TrustError::UnknownVault { address: "https://evil.example/;id".into(), foreign: Vec::new() },
        TrustError::UnknownVault { address: server(), foreign: names(&["BAO_ADDR", "HOME"]) },
        TrustError::UnknownService { address: server() },
        TrustError::UnknownProvider { issuer: server(), foreign: Vec::new() },
        TrustError::UnknownProvider { issuer: server(), foreign: names(&["HOME"]) },
        TrustError::ContextMissing,
        TrustError::Fingerprint { server: server(), fingerprints: names(&["ab", "cd"]) },
        TrustError::Fingerprint { server: server(), fingerprints: Vec::new() },
        TrustError::NobodyToAsk { server: server(), fingerprints: names(&["ab"]) },
        TrustError::Declined { server: server() },
        TrustError::NotKept { path: "/state/trust.json".into(), reason: "read-only file system".into() },
        memory("expected value", Mend::PutAside),
        memory("it is no file that only you can have written", Mend::Guard),
        memory("`/state` can be written by other users (mode 0777)", Mend::GuardFolder("/state".into())),
        memory("`/state` belongs to another user (uid 7)", Mend::OtherFolder),
    ];
    all!(errors, TrustError: OtherCluster TlsOff NoClusterInfo Cluster Pin UnknownVault UnknownService UnknownProvider ContextMissing
        Fingerprint NobodyToAsk Declined NotKept Memory);
    assert_data_eq!(told(errors), file!["words/trust.txt"].raw());
}

#[test]
fn of_exec_and_store() {
    let errors = vec![
        ExecError::Malformed("expected value at line 1 column 1".into()),
        ExecError::UnknownVersion(evil("v9")),
        ExecError::UnknownKind(evil("Pod")),
        ExecError::NoSuchVersion(evil("v2")),
        ExecError::NotForClients("trust"),
        ExecError::NotForPersons("renew"),
        ExecError::Terminal,
        ExecError::Output("No space left on device (os error 28)".into()),
    ];
    all!(errors, ExecError: Malformed UnknownVersion UnknownKind NoSuchVersion NotForClients NotForPersons
        Terminal Output);
    assert_data_eq!(told(errors), file!["words/exec.txt"].raw());
    let not_replaced = |why| StoreError::NotReplaced { why };
    let errors = vec![
        StoreError::NoKeyring { reasons: names(&["system keyring: it is locked", "kernel keyring: no"]) },
        StoreError::NoFolder { store: "plain", reasons: names(&["the environment names no home directory"]) },
        StoreError::NotSealed { reasons: names(&["system keyring: it is locked"]) },
        not_replaced(Unreplaced::Keyring("system keyring: it is locked".into())),
        not_replaced(Unreplaced::Busy),
        not_replaced(Unreplaced::NoLock("`/home/ada/.cache` is on a network file system".into())),
        not_replaced(Unreplaced::InUse { entries: 2 }),
        not_replaced(Unreplaced::Stuck { entries: 1, why: "`/state` is on a network file system".into() }),
        not_replaced(Unreplaced::NoRandomness),
    ];
    all!(errors, StoreError: NoKeyring NoFolder NotSealed NotReplaced);
    assert_data_eq!(told(errors), file!["words/store.txt"].raw());
}

#[test]
fn of_the_network() {
    let host = || "vault.example:8200".to_owned();
    let connect = |cause, proxy: Option<&str>| HttpError::Connect {
        host: host(),
        cause,
        proxy: proxy.map(str::to_owned),
    };
    let connects = [
        ConnectCause::NameUnknown,
        ConnectCause::Refused,
        ConnectCause::TimedOut,
        ConnectCause::Proxy("unsuccessful".into()),
        ConnectCause::Other(evil("no route to host")),
    ];
    all!(connects, ConnectCause: NameUnknown Refused TimedOut Proxy Other);
    let distrusts = [
        TlsCause::UnknownIssuer,
        TlsCause::Expired,
        TlsCause::NotYetValid,
        TlsCause::WrongName(Vec::new()),
        TlsCause::WrongName(vec!["a.example".into(), evil("b.example")]),
        TlsCause::NotTls,
        TlsCause::ClientCertificate("alert CertificateRequired".into()),
        TlsCause::Other(evil("something else")),
    ];
    all!(distrusts, TlsCause: UnknownIssuer Expired NotYetValid WrongName NotTls ClientCertificate Other);
    let mut errors: Vec<HttpError> = connects.into_iter().map(|cause| connect(cause, None)).collect();
    errors.push(connect(ConnectCause::Refused, Some("proxy.example:3128")));
    errors.extend(distrusts.into_iter().map(|cause| HttpError::Tls { host: host(), cause }));
    errors.extend([
        HttpError::Deadline { host: host(), sent: true },
        HttpError::Deadline { host: host(), sent: false },
        HttpError::Interrupted { host: host(), why: "the connection was closed in the middle".into() },
        HttpError::TooLarge { host: host(), limit: 4_194_304 },
        HttpError::NotHttp { host: host(), why: evil("invalid HTTP version parsed") },
        HttpError::Header { name: "x-vault-token".into() },
        HttpError::Settings { what: "the proxy".into(), why: "no address".into() },
    ]);
    all!(errors, HttpError: Connect Tls Deadline Interrupted TooLarge NotHttp Header Settings);
    assert_data_eq!(
        told(errors.into_iter().map(VaultError::Http).collect()),
        file!["words/network.txt"].raw()
    );
}

#[test]
fn of_identities() {
    let who = || "identity `build`".to_owned();
    let file = || identity::Place::File("/tokens/token".into());
    let unreadable = |provider| IdentityError::Unreadable {
        who: who(),
        path: "/tokens/token".into(),
        cause: "Permission denied (os error 13)".into(),
        provider,
    };
    let missing =
        |provider| IdentityError::VariableMissing { who: who(), variable: "ID_TOKEN".into(), provider };
    let malformed = |place| IdentityError::Malformed { who: who(), place, why: "it is empty" };
    let dead = |place| IdentityError::Dead { who: who(), place, ended_at: at(0) };
    let refused = |status, words: Option<String>| IdentityError::Refused {
        who: who(),
        host: "tokens.example".into(),
        status,
        words,
        provider: Provider::Github,
    };
    let program = |exit_code, provider| IdentityError::ProgramFailed {
        who: who(),
        program: "svid".into(),
        cause: "exit status: 1 no identity issued".into(),
        exit_code,
        provider,
    };
    let variable = || identity::Place::Variable("ID_TOKEN".into());
    let answer = || identity::Place::Answer("tokens.example".into());
    let errors = vec![
        unreadable(Provider::Person),
        unreadable(Provider::Kubelet),
        missing(Provider::Person),
        missing(Provider::Github),
        missing(Provider::Gitlab),
        missing(Provider::Circleci),
        missing(Provider::Buildkite),
        missing(Provider::AzurePipelines),
        missing(Provider::Bitbucket),
        IdentityError::VariableMissing {
            who: who(),
            variable: "TFC_WORKLOAD_IDENTITY_TOKEN_VAULT".into(),
            provider: Provider::TerraformCloud,
        },
        unreadable(Provider::Spiffe),
        IdentityError::NoAddress {
            who: who(),
            variable: "ACTIONS_ID_TOKEN_REQUEST_URL",
            provider: Provider::Github,
        },
        malformed(file()),
        malformed(variable()),
        malformed(answer()),
        dead(file()),
        dead(variable()),
        dead(answer()),
        IdentityError::NotYet { who: who(), place: file(), starts_at: at(0) },
        IdentityError::WrongAudience { who: who(), place: file(), audience: "vault".into() },
        IdentityError::WrongAudience {
            who: who(),
            place: identity::Place::Output("buildkite-agent".into()),
            audience: "vault".into(),
        },
        IdentityError::Cleartext {
            who: who(),
            host: "evil.example".into(),
            variable: "SYSTEM_OIDCREQUESTURI",
            provider: Provider::AzurePipelines,
        },
        IdentityError::ProgramMissing {
            who: who(),
            program: "buildkite-agent",
            provider: Provider::Buildkite,
        },
        IdentityError::ProgramWithheld {
            who: who(),
            program: "/opt/svid".into(),
            why: "others can write to it".into(),
        },
        program(ExitCode::Unusable, Provider::Administrator),
        program(ExitCode::Unreachable, Provider::Circleci),
        refused(403, Some(evil("no"))),
        refused(500, None),
        refused(404, None),
        IdentityError::Http {
            who: who(),
            cause: HttpError::Connect {
                host: "tokens.example".into(),
                cause: ConnectCause::Refused,
                proxy: None,
            },
        },
        IdentityError::Issuer { who: who(), failure: failure() },
    ];
    all!(errors, IdentityError: Unreadable VariableMissing NoAddress Malformed Dead NotYet
        WrongAudience Cleartext Refused ProgramMissing ProgramWithheld ProgramFailed Http Issuer);
    assert_data_eq!(told(errors), file!["words/identity.txt"].raw());
}

#[test]
fn of_openid_providers() {
    let provider = || "https://sso.example".to_owned();
    let endpoint = || "https://sso.example/token".to_owned();
    let refused = |status, code: &str, words: Option<String>| OidcError::Refused {
        endpoint: endpoint(),
        status,
        code: code.into(),
        description: words,
        uri: None,
    };
    let lie = |lie| OidcError::IdToken { provider: provider(), lie };
    let errors = vec![
        OidcError::NoMetadata { provider: provider(), tried: endpoint(), status: 404 },
        OidcError::Metadata { provider: provider(), endpoint: endpoint(), why: "it is not JSON".into() },
        OidcError::OtherIssuer { provider: provider(), found: evil("https://evil.example") },
        OidcError::Endpoint {
            provider: provider(),
            field: "authorization_endpoint",
            endpoint: evil("http://sso.example"),
            why: "its address does not begin with `https://`",
        },
        OidcError::NotOffered {
            provider: provider(),
            field: "device_authorization_endpoint",
            without: "log-in by a code",
        },
        OidcError::Redirect { endpoint: endpoint(), target: "https://evil.example".into() },
        OidcError::Cleartext { endpoint: endpoint() },
        refused(400, "invalid_grant", Some(evil("spent"))),
        refused(401, "invalid_client", None),
        refused(400, "unauthorized_client", None),
        refused(400, "unsupported_grant_type", None),
        refused(400, "invalid_scope", None),
        refused(500, "server_error", None),
        OidcError::LoginRequired { provider: provider(), why: "the session has ended".into() },
        OidcError::Busy { provider: provider() },
        OidcError::Callback(CallbackError::Taken { port: 8000 }),
        OidcError::Callback(CallbackError::AllTaken { first: 8020, last: 8040 }),
        OidcError::OtherAnswerer { provider: provider(), found: Some(evil("https://evil.example")) },
        OidcError::OtherAnswerer { provider: provider(), found: None },
        OidcError::Denied { provider: provider() },
        OidcError::CodeExpired { provider: provider() },
        OidcError::NoRandomness,
        OidcError::NoIdToken { provider: provider() },
        OidcError::NoAccessToken { provider: provider() },
        lie(Lie::Malformed),
        lie(Lie::Unsigned),
        lie(Lie::SharedKey { found: "HS256".into() }),
        lie(Lie::UnknownAlgorithm { found: "ES512".into() }),
        lie(Lie::ForeignKey { found: Some(evil("a")) }),
        lie(Lie::ForeignKey { found: None }),
        lie(Lie::Signature),
        lie(Lie::Lacks { claim: "exp" }),
        lie(Lie::OtherIssuer { found: evil("https://evil.example") }),
        lie(Lie::OtherAudience { found: "`a`, `b`".into() }),
        lie(Lie::OtherParty { found: "a".into() }),
        lie(Lie::Expired { at: at(0) }),
        lie(Lie::FromTheFuture { at: at(0) }),
        lie(Lie::NotYet { at: at(0) }),
        lie(Lie::OtherNonce),
        lie(Lie::OtherAccessToken),
        lie(Lie::OtherSubject),
        OidcError::ClientSecret { file: "/etc/secret".into(), why: "it is empty".into() },
        OidcError::Unavailable { endpoint: endpoint(), status: 503 },
        OidcError::Unusable { endpoint: endpoint(), why: "it is not JSON".into() },
        OidcError::Http(HttpError::Deadline { host: "sso.example:443".into(), sent: true }),
        crate::oidc::databricks::HostError::AccountNeeded { host: "https://dbc.example/".into() }.into(),
    ];
    all!(errors, OidcError: Http NoMetadata Metadata OtherIssuer Endpoint NotOffered Redirect Cleartext Refused
        LoginRequired Busy Callback OtherAnswerer Denied CodeExpired NoRandomness NoIdToken NoAccessToken IdToken ClientSecret
        Unavailable Unusable Databricks);
    assert_data_eq!(told(errors), file!["words/openid.txt"].raw());
}

fn failure() -> Failure {
    Failure {
        exit_code: ExitCode::Unreachable,
        what: "`https://hub.example` is sealed".into(),
        why: None,
        hint: Some("ask an operator to unseal it, then try again".into()),
    }
}

#[test]
fn of_sources() {
    let (vault, path) = (|| "https://vault.example".to_owned(), || "kubernetes/creds/reader".to_owned());
    let unusable = |flaw| SourceError::UnusableToken { vault: vault(), path: path(), flaw };
    let errors = vec![
        SourceError::NoMount { vault: vault(), mount: "kubernetes".into() },
        SourceError::Answer { vault: vault(), path: path(), why: "it has no `data`".into() },
        unusable(Flaw::Empty),
        unusable(Flaw::Unprintable),
        unusable(Flaw::TooLong(70_000)),
        unusable(Flaw::Dead(at(0))),
        unusable(Flaw::NotYet(at(0))),
    ];
    assert_data_eq!(told(errors), file!["words/source.txt"].raw());
}

#[test]
fn of_exchanges() {
    use crate::oidc::OidcError;
    use crate::oidc::databricks::HostError;
    use token_exchange::{ExchangeError, SubjectFlaw};
    let endpoint = || "https://login.example/token".to_owned();
    let host = || "https://dbc.example/".to_owned();
    let refused = |preset, code: &str, words: &str| ExchangeError::Refused {
        preset,
        cause: OidcError::Refused {
            endpoint: endpoint(),
            status: 400,
            code: code.into(),
            description: Some(words.into()),
            uri: None,
        },
    };
    let entra = |code: u32| refused(Preset::Entra, "invalid_request", &format!("AADSTS{code}: no"));
    let of_host =
        |error: HostError| ExchangeError::Refused { preset: Preset::Databricks, cause: error.into() };
    let subject = |flaw| ExchangeError::Subject { endpoint: endpoint(), flaw };
    let token = |flaw| ExchangeError::Token { endpoint: endpoint(), flaw };
    let not_bearer =
        |token_type: &str| ExchangeError::NotBearer { endpoint: endpoint(), token_type: token_type.into() };
    let impersonation = |status| ExchangeError::Impersonation {
        account: "a@b.example".into(),
        status,
        words: Some("Permission denied".into()),
    };
    let mut errors = vec![
        refused(Preset::Generic, "invalid_target", "no such audience"),
        refused(Preset::Databricks, "invalid_grant", "no policy"),
        refused(Preset::Databricks, "invalid_client", "no"),
        refused(Preset::Google, "invalid_target", "no such pool"),
        refused(Preset::Google, "invalid_grant", "ID Token issued at 1 is stale to sign-in."),
        refused(Preset::Google, "invalid_grant", "The audience does not match"),
        refused(Preset::Keycloak, "access_denied", "Client is not within the token audience"),
        refused(Preset::Keycloak, "access_denied", "Client is not the holder of the token"),
        refused(Preset::Keycloak, "invalid_client", "Audience not found"),
        refused(Preset::Keycloak, "invalid_request", "Parameter 'subject_token' supports access tokens only"),
        refused(Preset::Keycloak, "unauthorized_client", "Invalid client or Invalid client credentials"),
        refused(Preset::Keycloak, "invalid_request", "Requested audience not available: x"),
        refused(
            Preset::Keycloak,
            "invalid_request",
            "Standard token exchange is not enabled for the requested client",
        ),
        refused(Preset::Dex, "invalid_request", "Requested connector does not exist."),
        refused(Preset::Okta, "invalid_scope", "no"),
        ExchangeError::Elsewhere(OidcError::Unusable {
            endpoint: endpoint(),
            why: "it has no `access_token`".into(),
        }),
        not_bearer("n_a"),
        not_bearer("dpop"),
        token(Flaw::Dead(at(0))),
        token(Flaw::Empty),
        subject(SubjectFlaw::NoHeader),
        subject(SubjectFlaw::Algorithm { found: "HS256".into(), accepted: Some("`RS256` or `ES256`") }),
        subject(SubjectFlaw::Algorithm { found: "none".into(), accepted: None }),
        subject(SubjectFlaw::AlmostOver { end: at(0) }),
        of_host(HostError::NotDatabricks { host: host(), status: 404 }),
        of_host(HostError::NotDatabricks { host: host(), status: 200 }),
        of_host(HostError::Down { host: host(), status: 503 }),
        of_host(HostError::AccountNeeded { host: host() }),
        of_host(HostError::Elsewhere {
            host: host(),
            field: "token_endpoint",
            found: "https://evil.example/t".into(),
        }),
        of_host(HostError::Elsewhere {
            host: host(),
            field: "authorization_endpoint",
            found: "https://evil.example/a".into(),
        }),
        impersonation(403),
        impersonation(500),
        impersonation(400),
        ExchangeError::Answer { host: host(), why: "its `expireTime` is no time".into() },
    ];
    for code in [
        70_021, 700_213, 700_211, 700_212, 700_024, 700_027, 700_016, 700_222, 7_000_215, 7_000_222, 90_002,
        500_011, 50_000,
    ] {
        errors.push(entra(code));
    }
    all!(errors, ExchangeError: Refused Elsewhere NotBearer Token Subject Impersonation Answer);
    assert_data_eq!(told(errors), file!["words/exchange.txt"].raw());
}

#[test]
fn of_the_kubernetes_engine() {
    use vault_kubernetes::{Reason, Refused};
    let reasons = [
        Reason::NoRole,
        Reason::NamespaceNotAllowed,
        Reason::NamespaceNeeded,
        Reason::ClusterWideBinding,
        Reason::Unconfigured,
        Reason::Unreachable,
        Reason::LifetimeTooShort,
        Reason::AccountMissing,
        Reason::NamespaceMissing,
        Reason::EngineForbidden,
        Reason::EngineUnauthorized,
        Reason::Other,
    ];
    all!(reasons, Reason: NoRole NamespaceNotAllowed NamespaceNeeded ClusterWideBinding Unconfigured Unreachable
        LifetimeTooShort AccountMissing NamespaceMissing EngineForbidden EngineUnauthorized Other);
    let mut errors = Vec::new();
    for reason in reasons {
        for namespace in [Some("team-a"), None] {
            errors.push(SourceError::Kubernetes(Box::new(Refused {
                vault: "https://vault.example".into(),
                mount: "kubernetes/prod eu".into(),
                role: "reader".into(),
                namespace: namespace.map(str::to_owned),
                reason,
                words: namespace.map(|_| evil("the server's words")),
            })));
        }
    }
    assert_data_eq!(told(errors), file!["words/kubernetes.txt"].raw());
}

#[test]
fn of_settings() {
    let file = || PathBuf::from("/home/me/my config.yaml");
    let place = || Place { file: file(), line: 3, column: 7 };
    let instead = |meant: Option<&str>, known: &[&str]| {
        Box::new(Alternatives { meant: meant.map(str::to_owned), known: names(known) })
    };
    let value = || -> ValueError { SourceKind::try_from("vault-k8s".to_owned()).unwrap_err() };
    let missing = |named_by| SettingsError::Missing { file: file(), named_by };
    let unknown = |what, word: &str, instead| SettingsError::Unknown {
        place: place(),
        what,
        word: word.into(),
        instead,
    };
    let not_known = |by, kind, instead| SettingsError::NotKnown { by, kind, name: "prof".into(), instead };
    let misplaced = |by| SettingsError::Misplaced { by, source_kind: "vaultIdentity" };
    let many: Vec<String> = (0..20).map(|number| format!("p{number}")).collect();
    let errors = vec![
        missing(By::Flag("--config")),
        missing(By::Variable("VAULTTOKEN_CONFIG")),
        missing(By::Extension("profile")),
        SettingsError::Unreadable { file: file(), cause: "Permission denied (os error 13)".into() },
        SettingsError::NotAFile { file: file() },
        SettingsError::TooLarge { file: file(), limit: 1_048_576 },
        SettingsError::NotText { file: file() },
        SettingsError::Unguarded { file: file(), owner: 1_000, mode: 0o666 },
        SettingsError::Syntax { place: place(), cause: "unclosed quote".into() },
        SettingsError::WrongType { place: place(), expected: "a mapping".into() },
        unknown("field", &evil("adress"), instead(Some("address"), &["address", "auth"])),
        unknown("kind", "x", instead(None, &["oidc"])),
        unknown("field", "x", instead(None, &[])),
        SettingsError::MissingField { place: place(), field: "apiVersion".into() },
        SettingsError::MissingField { place: place(), field: "kind".into() },
        SettingsError::MissingField { place: place(), field: "role".into() },
        SettingsError::GivenTwice { place: place(), key: "vaults".into() },
        SettingsError::TwoKinds { place: place() },
        SettingsError::BadValue { place: place(), problem: "`x` cannot be a duration".into() },
        SettingsError::Combination { place: place(), problem: "`a` and `b` exclude each other" },
        SettingsError::NoSuchEntry {
            place: place(),
            kind: EntryKind::Vault,
            name: "crop".into(),
            instead: instead(Some("corp"), &["corp"]),
        },
        SettingsError::NoSuchEntry {
            place: place(),
            kind: EntryKind::Identity,
            name: "pod".into(),
            instead: instead(None, &[]),
        },
        SettingsError::Circle { vault: "corp".into() },
        SettingsError::ForAdministrators { place: place(), field: "command" },
        SettingsError::Word { by: By::Flag("--source"), problem: value() },
        SettingsError::Word { by: By::Extension("role"), problem: value() },
        SettingsError::Variable { variable: "VAULT_SKIP_VERIFY".into(), problem: "true or false".into() },
        SettingsError::Extension { problem: "it is not a mapping".into(), allowed: None },
        SettingsError::Extension { problem: evil("it may not hold `x`"), allowed: Some("`profile`") },
        not_known(By::Flag("--profile"), EntryKind::Profile, instead(Some("prod"), &["prod", "test"])),
        not_known(By::Variable("VAULTTOKEN_PROFILE"), EntryKind::Profile, instead(Some("prod"), &["prod"])),
        not_known(By::Flag("--profile"), EntryKind::Profile, instead(None, &["x"])),
        not_known(By::Flag("--vault"), EntryKind::Vault, instead(None, &[])),
        not_known(By::Flag("--profile"), EntryKind::Provider, instead(None, &["x"])),
        SettingsError::ProfileNeeded { known: many },
        SettingsError::NoProfile,
        SettingsError::SourceMisplaced { by: By::Flag("--source"), source_kind: "oidc", cause: "so".into() },
        misplaced(By::Flag("--ttl")),
        misplaced(By::Variable("VAULTTOKEN_TTL")),
        misplaced(By::Extension("ttl")),
        SettingsError::Needed { source_kind: "vaultKubernetes", what: "a role", flag: "--role" },
        SettingsError::VaultNeeded { known: Vec::new() },
        SettingsError::VaultNeeded { known: names(&["corp", "hub"]) },
        SettingsError::TwoVaults { first: By::Flag("--vault"), second: By::Flag("--vault-address") },
        SettingsError::LogIn { by: By::Flag("--username"), problem: "it is empty".into() },
        SettingsError::NoSuchContext { name: evil("x"), instead: instead(None, &["a"]) },
        SettingsError::NoSuchContext { name: "prd".into(), instead: instead(Some("prod"), &["prod"]) },
        SettingsError::NoCurrentContext { known: names(&["a", "b"]) },
        SettingsError::BrokenContext { context: evil("x"), cause: "it names no cluster".into() },
    ];
    all!(errors, SettingsError: Missing Unreadable NotAFile TooLarge NotText Unguarded Syntax WrongType Unknown
        MissingField GivenTwice TwoKinds BadValue Combination NoSuchEntry Circle ForAdministrators Word Variable
        Extension NotKnown ProfileNeeded NoProfile SourceMisplaced Misplaced Needed VaultNeeded TwoVaults LogIn NoSuchContext
        NoCurrentContext BrokenContext);
    assert_data_eq!(told(errors), file!["words/settings.txt"].raw());
}

#[test]
fn of_databricks() {
    let host = |name: &str| Host::parse(&format!("https://{name}.example")).unwrap();
    let silent =
        |refused| DatabricksError::ClusterSilent { path: "/x", refused, reason: "kubectl's words".into() };
    let known = || names(&["`lake` for https://dbc-1.example", "`sea` for https://dbc-2.example"]);
    let errors = vec![
        DatabricksError::NoProfiles,
        DatabricksError::NoSuchProfile { name: evil("lak"), known: known() },
        DatabricksError::NoProfileFor { host: Some(host("dbc-3")), known: known() },
        DatabricksError::SeveralProfiles { host: Some(host("dbc-2")), profiles: names(&["sea", "sea-too"]) },
        DatabricksError::SeveralProfiles { host: None, profiles: names(&["lake", "sea"]) },
        DatabricksError::OtherHost { profile: "lake".into(), asked: host("dbc-2"), own: host("dbc-1") },
        DatabricksError::NotAHost(evil("a b")),
        DatabricksError::NotAnHttpPath(evil("/sql;x")),
        DatabricksError::HttpPathAlone,
        DatabricksError::NoPlaceForFile,
        DatabricksError::FileNotWritten { path: "/etc/d".into(), reason: "Permission denied".into() },
        DatabricksError::NotRun { program: evil("pythn"), reason: "No such file or directory".into() },
        DatabricksError::NoSubject { profile: "lake".into() },
        DatabricksError::ConfigForTheCli,
        DatabricksError::NoAudience,
        DatabricksError::NoNamespace,
        DatabricksError::NoKeySet,
        silent(true),
        silent(false),
        DatabricksError::ClusterUnclear { path: "/x", reason: "missing field `issuer`".into() },
        DatabricksError::TokenFile(evil("/t")),
        DatabricksError::ListenElsewhere(evil("0.0.0.0:0")),
        DatabricksError::NotListening { address: "127.0.0.1:80".into(), reason: "Permission denied".into() },
    ];
    all!(errors, DatabricksError: NoProfiles NoSuchProfile NoProfileFor SeveralProfiles OtherHost NotAHost
        NotAnHttpPath HttpPathAlone NoPlaceForFile FileNotWritten NotRun NoSubject ConfigForTheCli
        NoAudience NoNamespace NoKeySet ClusterSilent ClusterUnclear TokenFile ListenElsewhere NotListening);
    assert_data_eq!(told(errors), file!["words/databricks.txt"].raw());
}

#[test]
fn of_this_program() {
    let errors = vec![
        Error::Earlier(failure()),
        Error::Interrupted(ExitCode::Interrupted),
        Error::Interrupted(ExitCode::Terminated),
        Error::Fault("no runtime: Too many open files (os error 24)".into()),
    ];
    assert_data_eq!(told(errors), file!["words/program.txt"].raw());
}
