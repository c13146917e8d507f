//! The words in which a mistake in a file is told: each message with its place, pinned.

use proptest::prelude::*;
use snapbox::assert_data_eq;

use super::file;
use crate::config::{Settings, SettingsError};
use crate::error::{ExitCode, Explain as _};

fn mistake(body: &str) -> SettingsError {
    let error = Settings::of_text(&file(body)).unwrap_err();
    assert_eq!(error.exit_code(), ExitCode::Usage);
    assert_eq!(error.file(), Some(std::path::Path::new("/home/me/config.yaml")));
    error
}

/// Body (its first line is line 3), line and column, message.
fn check(cases: &[(&str, &str, &str)]) {
    let told: Vec<String> = cases.iter().map(|(body, _, _)| mistake(body).to_string()).collect();
    let expected: Vec<String> = cases
        .iter()
        .map(|(_, place, message)| format!("`/home/me/config.yaml:{place}`: {message}"))
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn an_unknown_field_is_told_with_the_one_that_was_meant() {
    let error = mistake("profiles:\n  prod:\n    source:\n      vaultKubernetes: {rloe: deployer}\n");
    assert_eq!(error.to_string(), "`/home/me/config.yaml:6:25`: there is no field `rloe` here");
    assert_eq!(
        error.why().unwrap(),
        "allowed here: `vault`, `mount`, `role`, `namespace`, `ttl`, `audiences`, `clusterRoleBinding`"
    );
    assert_eq!(error.hint().unwrap(), "write `role`");
    let error = mistake("vaults:\n  corp: {address: https://v, certificate-authority: x}\n");
    assert_eq!(error.hint().unwrap(), "write `certificateAuthority`");
    let error = mistake("profiles: {a: {source: {vaultKubernets: {role: x}}}}\n");
    assert_eq!(error.to_string(), "`/home/me/config.yaml:3:25`: there is no kind `vaultKubernets` here");
    assert_eq!(error.hint().unwrap(), "write `vaultKubernetes`");
    let error = mistake("profiles: {a: {source: {vault: {role: x}}}}\n");
    assert_eq!(error.hint(), None, "nothing is guessed from afar");
    let error =
        mistake("profiles:\n  a:\n    cluster:\n    - server: https://a\n      ca: x\n    source: {}\n");
    assert_eq!(error.to_string(), "`/home/me/config.yaml:7:7`: there is no field `ca` here");
}

#[test]
fn a_wrong_shape_is_told_with_what_is_expected() {
    check(&[
        ("vaults: 3\n", "3:9", "a mapping is expected here"),
        ("vaults:\n  corp:\n", "4:7", "a mapping is expected here"),
        ("vaults: {corp: {address: [x]}}\n", "3:26", "a text is expected here"),
        ("vaults: {corp: {address: null}}\n", "3:26", "a value is expected here"),
        ("vaults: {corp: {address: https://v, addresses: x}}\n", "3:48", "a list is expected here"),
        (
            "vaults: {corp: {address: https://v, auth: [token]}}\n",
            "3:43",
            "a key that names the kind is expected here",
        ),
        (
            "vaults: {corp: {address: https://v, auth: {approle: {roleId: x, secretIdWrapped: yes}}}}\n",
            "3:82",
            "`true` or `false` is expected here",
        ),
        (
            "profiles: {a: {cluster: x, source: {}}}\n",
            "3:25",
            "a cluster or a list of clusters is expected here",
        ),
        ("profiles: {a: {source: {vaultKv: {}, oidc: {provider: x}}}}\n", "3:38", "this names a second kind"),
        ("profiles: {a: {}}\n", "3:15", "`source` is missing"),
        ("profiles: {a: {cluster: {}, source: {}}}\n", "3:25", "`server` is missing"),
        ("vaults: {a: {address: https://v}, a: {address: https://v}}\n", "3:35", "`a` is given twice"),
        ("store: sealed\nstore: plain\n", "4:1", "`store` is given twice"),
        ("store: sealled\n", "3:8", "there is no kind `sealled` here"),
    ]);
    assert_eq!(
        mistake("profiles: {a: {source: {vaultKv: {}, oidc: {provider: x}}}}\n").why().unwrap(),
        "exactly one key names the kind"
    );
}

#[test]
fn a_bad_value_is_told_with_its_rule() {
    const PATH: &str = "a path such as `kubernetes/prod` is expected, without slashes at its ends and without empty, `.` or `..` parts";
    let mount = |text: &str| {
        format!("profiles: {{a: {{source: {{vaultKubernetes: {{role: r, mount: {text}}}}}}}}}\n")
    };
    check(&[
        (&mount("a/../b"), "3:59", &format!("`a/../b` cannot be a mount: {PATH}")),
        (&mount("/a"), "3:59", &format!("`/a` cannot be a mount: {PATH}")),
        (&mount("''"), "3:59", &format!("an empty text cannot be a mount: {PATH}")),
        (
            "profiles: {a: {source: {vaultKubernetes: {role: ''}}}}\n",
            "3:49",
            "an empty text cannot be a role: a name without slashes and control characters is expected",
        ),
        (
            "profiles: {a: {source: {vaultKubernetes: {role: r, ttl: 60}}}}\n",
            "3:57",
            "`60` cannot be a duration: write it as `90s`, `15m` or `1h30m`",
        ),
        (
            "profiles: {a: {source: {vaultKubernetes: {role: r, namespace: Team_A}}}}\n",
            "3:63",
            "`Team_A` cannot be a Kubernetes namespace: up to 63 small letters, digits and inner `-` are expected",
        ),
        (
            "vaults:\n  a/b: {address: https://v}\n",
            "4:3",
            "`a/b` cannot be a name: a letter or digit is expected, then up to 62 letters, digits, `.`, `_` and `-`",
        ),
        (
            "vaults: {corp: {address: 'https://me:hunter2@v'}}\n",
            "3:26",
            "this cannot be a Vault address: an address must not hold a user or a password",
        ),
        (
            "vaults: {corp: {address: vault:8200}}\n",
            "3:26",
            "`vault:8200` cannot be a Vault address: `https://host[:port][/prefix]` or `unix:///path` is expected",
        ),
        (
            "providers: {sso: {issuer: https://s, clientId: x, redirectPort: 70000}}\n",
            "3:65",
            "`70000` cannot be a port: a number from 1 to 65535 is expected",
        ),
        (
            "profiles: {a: {cluster: {server: 'https://a?b'}, source: {}}}\n",
            "3:34",
            "`https://a?b` cannot be an API server: `https://host[:port][/path]` is expected",
        ),
        (
            "vaults: {corp: {address: https://v, namespace: a/}}\n",
            "3:48",
            "`a/` cannot be a Vault namespace: a path such as `platform/eu` is expected, without slashes at its ends and without empty, `.` or `..` parts",
        ),
    ]);
}

#[test]
fn fields_that_need_or_exclude_each_other_are_told() {
    let auth = |auth: &str| format!("vaults: {{corp: {{address: https://v, auth: {auth}}}}}\n");
    check(&[
        (&auth("{jwt: {}}"), "3:43", "`jwt` needs either `identity` or `provider`"),
        (&auth("{jwt: {identity: a, provider: b}}"), "3:43", "`jwt` needs either `identity` or `provider`"),
        (
            &auth("{approle: {roleId: a, secretIdWrapped: true}}"),
            "3:43",
            "`secretIdWrapped` needs `secretIdFile`",
        ),
        (&auth("{cert: {key: a}}"), "3:43", "`certificate` and `key` go together"),
        (
            "vaults: {corp: {address: https://v, clientKey: k}}\n",
            "3:16",
            "`clientCertificate` and `clientKey` go together",
        ),
        (
            "profiles: {a: {source: {tokenExchange: {clientId: x}}}}\n",
            "3:40",
            "one of `preset`, `issuer` and `tokenEndpoint` is needed",
        ),
        (
            "profiles: {a: {source: {tokenExchange: {issuer: https://i, tokenEndpoint: https://t}}}}\n",
            "3:40",
            "`issuer` and `tokenEndpoint` exclude each other",
        ),
    ]);
}

/// What is wrong with the fields of an exchange.
fn mistaken_exchange(fields: &str) -> String {
    let body = format!(
        "identities: {{pod: {{file: {{path: /t}}}}}}\nprofiles: {{a: {{source: {{tokenExchange: {{{fields}}}}}}}}}\n"
    );
    let error = mistake(&body);
    let lines = [Some(error.to_string()), error.why(), error.hint()];
    let told = lines.into_iter().flatten().collect::<Vec<_>>().join(" | ");
    format!("{fields}\n    {}", told.replace("`/home/me/config.yaml:", "`"))
}

#[test]
fn an_exchange_that_makes_no_sense_says_which_field() {
    let all: Vec<String> = [
        "preset: databrick, host: https://h, identity: pod",
        "preset: saml",
        "preset: databricks, identity: pod",
        "preset: databricks, host: https://h, issuer: https://i, identity: pod",
        "preset: databricks, host: https://h, identity: pod, clientId: c, clientSecretFile: s",
        "preset: databricks, host: https://h, clientId: c",
        "preset: databricks, host: https://h, clientSecretFile: s",
        "preset: databricks, host: https://h, tokenEndpoint: https://t",
        "preset: databricks, host: https://h, parameters: {a: b}",
        "preset: databricks, host: https://h, accountId: ../x, identity: pod",
        "preset: generic, identity: pod",
        "issuer: https://i",
        "issuer: https://i, identity: pod, host: https://h",
        "issuer: https://i, identity: pod, clientAuthentication: post",
        "issuer: https://i, identity: pod, parameters: {subject_token: x}",
        "preset: keycloak, issuer: https://i, identity: pod, clientId: c",
        "preset: dex, issuer: https://i, identity: pod, clientId: c, clientSecretFile: s",
        "preset: okta, tokenEndpoint: https://t, identity: pod",
        "preset: entra, identity: pod",
        "preset: entra, scopes: [keyvault, aks]",
        "preset: entra, scopes: [key-vault]",
        "preset: entra, scopes: [aks], audiences: [x]",
        "preset: entra, scopes: [aks], identity: pod, clientId: c, clientSecretFile: s",
        "preset: google, identity: pod",
        "preset: google, identity: pod, audiences: ['https://iam.googleapis.com/x']",
        "preset: google, audiences: ['//iam.googleapis.com/x']",
        "preset: google, identity: pod, audiences: ['//x'], result: idtoken",
    ]
    .map(mistaken_exchange)
    .into();
    assert_data_eq!(all.join("\n") + "\n", snapbox::file!["exchange.txt"].raw());
}

#[test]
fn a_reference_to_nothing_is_told_with_the_nearest_name() {
    let body = "vaults: {corp: {address: https://v}}\nprofiles: {a: {source: {vaultIdentity: {vault: crop, role: r}}}}\n";
    let error = mistake(body);
    assert_eq!(error.to_string(), "`/home/me/config.yaml:4:48`: there is no vault `crop`");
    assert_eq!(error.why().unwrap(), "there are `corp`");
    assert_eq!(error.hint().unwrap(), "write `corp`");
    for (body, message) in [
        (
            "vaults: {corp: {address: https://v, auth: {jwt: {identity: pod}}}}\n",
            "3:60`: there is no identity `pod`",
        ),
        (
            "vaults: {corp: {address: https://v, auth: {jwt: {provider: sso}}}}\n",
            "3:60`: there is no provider `sso`",
        ),
        ("identities: {i: {vaultIdentity: {vault: corp, role: r}}}\n", "3:41`: there is no vault `corp`"),
        ("identities: {i: {oidc: {provider: sso}}}\n", "3:35`: there is no provider `sso`"),
        ("profiles: {a: {source: {oidc: {provider: sso}}}}\n", "3:42`: there is no provider `sso`"),
        ("profiles: {a: {source: {oidc: {vault: corp}}}}\n", "3:39`: there is no vault `corp`"),
        (
            "profiles: {a: {source: {tokenExchange: {issuer: https://i, identity: pod}}}}\n",
            "3:70`: there is no identity `pod`",
        ),
    ] {
        assert_eq!(mistake(body).to_string(), format!("`/home/me/config.yaml:{message}"));
    }
    assert_eq!(
        mistake("identities: {i: {oidc: {provider: sso}}}\n").why().unwrap(),
        "there is no provider at all"
    );
}

#[test]
fn a_token_of_a_provider_comes_from_it_or_through_a_vault() {
    for (fields, problem) in [
        ("", "`oidc` needs either `provider` or `vault`"),
        ("vault: corp, provider: sso", "`oidc` needs either `provider` or `vault`"),
        ("provider: sso, token: access", "which `token` it is stands with the provider"),
    ] {
        let error = mistake(&format!("profiles: {{a: {{source: {{oidc: {{{fields}}}}}}}}}\n"));
        assert_eq!(error.to_string(), format!("`/home/me/config.yaml:3:31`: {problem}"));
    }
}

#[test]
fn a_log_in_that_needs_itself_is_refused() {
    let body = "vaults:
  a: {address: https://a, auth: {jwt: {identity: of-b}}}
  b: {address: https://b, auth: {kubernetes: {role: r, identity: of-a}}}
identities:
  of-a: {vaultIdentity: {vault: a, role: r}}
  of-b: {vaultIdentity: {vault: b, role: r}}
";
    let error = Settings::of_text(&file(body)).unwrap_err();
    assert_eq!(error.to_string(), "the log-in of vault `a` needs a log-in to itself");
    assert_eq!(error.why().unwrap(), "its identity is an identity token of that vault");
    assert_eq!(error.hint().unwrap(), "give vault `a` another `auth` or another identity");
}

#[test]
fn what_is_not_yaml_or_not_ours_is_told() {
    let of = |text: &str| {
        let error = Settings::of_text(text).unwrap_err();
        (error.to_string(), error.why(), error.hint())
    };
    let at = |message: &str| format!("`/home/me/config.yaml:{message}");
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        of("apiVersion: 'x"),
        (at("1:13`: this is not YAML that can be used"), some("unclosed quote"), None)
    );
    assert_eq!(
        of(&file("---\nkind: Config\n")),
        (at("4:1`: this is not YAML that can be used"), some("a second document begins here"), None)
    );
    assert_eq!(
        of("kind: Config\n"),
        (at("1:1`: `apiVersion` is missing"), None, some("write `apiVersion: vaulttoken.dev/v1alpha1`"))
    );
    assert_eq!(
        of("apiVersion: vaulttoken.dev/v1alpha1\n"),
        (at("1:1`: `kind` is missing"), None, some("write `kind: Config`"))
    );
    assert_eq!(
        of("apiVersion: v1\nkind: Config\n").0,
        at("1:13`: `v1` cannot be the `apiVersion`: this program knows `vaulttoken.dev/v1alpha1`")
    );
    assert_eq!(
        of("apiVersion: vaulttoken.dev/v1alpha1\nkind: List\n").0,
        at("2:7`: `List` cannot be the `kind` of a settings file: `Config` is expected")
    );
    assert_eq!(of("just words\n").0, at("1:1`: a mapping is expected here"));
}

proptest! {
    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Settings::of_text(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(at in 0..6_000_usize, with in any::<char>()) {
        let mut text: Vec<char> = include_str!("../../../examples/config.yaml").chars().collect();
        let at = at % text.len();
        text[at] = with;
        let _ = Settings::of_text(&text.into_iter().collect::<String>());
    }
}
