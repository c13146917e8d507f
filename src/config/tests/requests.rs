//! Whose word counts: flag, variable, extension, profile; and which vault is meant.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::file;
use crate::config::{
    ClusterProfile, Name, NamedBy, Overrides, Pem, Request, Settings, SettingsError, SourceSettings,
};
use crate::env::Env;
use crate::error::{ExitCode, Explain as _};

const ONE: &str = "vaults: {corp: {address: https://corp:8200, auth: {oidc: {}}}}
profiles:
  prod: {cluster: {server: https://prod}, source: {vaultKubernetes: {mount: m-profile, role: r-profile, namespace: n-profile, ttl: 1h, audiences: [a-profile]}}}
";
const MANY: &str = "vaults: {corp: {address: https://corp:8200, addresses: [https://corp-2:8200]}, lab: {address: https://lab}}
providers: {sso: {issuer: https://sso, clientId: c}}
profiles:
  prod: {source: {vaultKubernetes: {vault: corp, role: r}}}
  jobs: {source: {vaultKv: {vault: corp}}}
  trusted: {source: {vaultIdentity: {vault: corp, role: r}}}
  people: {source: {oidc: {provider: sso}}}
  open: {source: {vaultKubernetes: {role: r}}}
  hub: {source: {tokenRequest: {context: c, namespace: n, serviceAccount: s}}}
";

/// Puts together one call.
#[derive(Default)]
struct Call {
    settings: String,
    variables: Vec<(String, String)>,
    flags: Overrides,
    extension: Option<ClusterProfile>,
}

fn call(settings: &str) -> Call {
    Call { settings: file(settings), ..Call::default() }
}

impl Call {
    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn flag(mut self, name: &str, value: &str) -> Self {
        let value = value.to_owned();
        match name {
            "profile" => self.flags.profile = Some(value),
            "source" => self.flags.source = Some(value),
            "vault" => self.flags.vault = Some(value),
            "vaultAddress" => self.flags.vault_address = Some(value),
            "mount" => self.flags.mount = Some(value),
            "role" => self.flags.role = Some(value),
            "namespace" => self.flags.namespace = Some(value),
            "audiences" => self.flags.audiences.push(value),
            "ttl" => self.flags.ttl = Some(value),
            "cluster" => self.flags.cluster = Some(value),
            "team" => self.flags.team = Some(value),
            other => panic!("{other}"),
        }
        self
    }

    fn extension(mut self, mut fields: Value) -> Self {
        fields["apiVersion"] = json!("vaulttoken.dev/v1alpha1");
        fields["kind"] = json!("ClusterProfile");
        self.extension = ClusterProfile::parse(&fields).unwrap();
        self
    }

    fn resolve(self) -> Result<Request, SettingsError> {
        let settings = Arc::new(Settings::of_text(&self.settings).unwrap());
        Request::resolve(&settings, &Env::of(self.variables), &self.flags, self.extension.as_ref())
    }

    fn request(self) -> Request {
        self.resolve().unwrap()
    }

    /// What, why and what mends it.
    fn refused(self) -> Told {
        let error = self.resolve().unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Usage);
        Told { what: error.to_string(), why: error.why(), hint: error.hint() }
    }
}

/// What a person reads.
#[derive(Debug, PartialEq)]
struct Told {
    what: String,
    why: Option<String>,
    hint: Option<String>,
}

/// Empty: nothing is said.
fn told(what: &str, why: &str, hint: &str) -> Told {
    let said = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Told { what: what.to_owned(), why: said(why), hint: said(hint) }
}

/// The value that a request has for a field.
fn field(request: &Request, name: &str) -> String {
    match (&request.source, name) {
        (SourceSettings::VaultKubernetes(source), "mount") => source.mount.clone(),
        (SourceSettings::VaultKubernetes(source), "role") => source.role.clone(),
        (SourceSettings::VaultKubernetes(source), "namespace") => source.namespace.clone().unwrap(),
        (SourceSettings::VaultKubernetes(source), "audiences") => source.audiences.join("+"),
        (SourceSettings::VaultKubernetes(source), "ttl") => {
            crate::config::print_duration(source.ttl.unwrap())
        }
        (SourceSettings::VaultKv(source), "cluster") => source.cluster.clone().unwrap(),
        (SourceSettings::VaultKv(source), "team") => source.team.clone().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_flag_goes_before_a_variable_before_the_extension_before_the_profile() {
    let kv = "vaults: {corp: {address: https://v}}\nprofiles: {jobs: {source: {vaultKv: {cluster: c-profile, team: t-profile}}}}\n";
    for (settings, name, variable, [by_flag, by_variable, by_extension, by_profile]) in [
        (ONE, "mount", "VAULTTOKEN_MOUNT", ["m-flag", "m-variable", "m-extension", "m-profile"]),
        (ONE, "role", "VAULTTOKEN_ROLE", ["r-flag", "r-variable", "r-extension", "r-profile"]),
        (ONE, "namespace", "VAULTTOKEN_NAMESPACE", ["n-flag", "n-variable", "n-extension", "n-profile"]),
        (ONE, "audiences", "VAULTTOKEN_AUDIENCES", ["a-flag", "a-variable", "a-extension", "a-profile"]),
        (ONE, "ttl", "VAULTTOKEN_TTL", ["4m", "3m", "2m", "1h"]),
        (kv, "cluster", "VAULTTOKEN_CLUSTER", ["c-flag", "c-variable", "c-extension", "c-profile"]),
        (kv, "team", "VAULTTOKEN_TEAM", ["t-flag", "t-variable", "t-extension", "t-profile"]),
    ] {
        let extension = || {
            let value = if name == "audiences" { json!([by_extension]) } else { json!(by_extension) };
            call(settings).extension(json!({ name: value }))
        };
        let all = extension().variable(variable, by_variable).flag(name, by_flag);
        assert_eq!(field(&all.request(), name), by_flag);
        assert_eq!(field(&extension().variable(variable, by_variable).request(), name), by_variable);
        assert_eq!(
            field(&extension().variable(variable, "").request(), name),
            by_extension,
            "empty is unset"
        );
        assert_eq!(field(&extension().request(), name), by_extension);
        assert_eq!(field(&call(settings).request(), name), by_profile);
    }
    let list = call(ONE).variable("VAULTTOKEN_AUDIENCES", "a, b").request();
    assert_eq!(field(&list, "audiences"), "a+b");
}

#[test]
fn the_profile_is_flag_then_extension_then_variable_then_the_only_one() {
    let of = |call: Call| call.request().profile.unwrap().to_string();
    let extension = || call(MANY).extension(json!({"profile": "trusted"}));
    assert_eq!(of(extension().variable("VAULTTOKEN_PROFILE", "open").flag("profile", "prod")), "prod");
    assert_eq!(
        of(extension().variable("VAULTTOKEN_PROFILE", "prod")),
        "trusted",
        "the variable names one where nothing else does"
    );
    assert_eq!(of(call(MANY).variable("VAULTTOKEN_PROFILE", "prod")), "prod");
    assert_eq!(of(call(ONE)), "prod");
}

#[test]
fn a_request_carries_what_its_profile_says() {
    let request = call(ONE).variable("VAULT_CACERT", "/ca").request();
    assert_eq!(request.profile_label, "prod");
    assert_eq!(request.pins[0].server.as_str(), "https://prod/");
    assert_eq!(request.named_by, NamedBy::Settings);
    assert_eq!(request.file.as_deref(), Some(std::path::Path::new("/home/me/config.yaml")));
    let vault = request.vault.as_ref().unwrap();
    assert_eq!(vault.tls.certificate_authorities, [Pem::File("/ca".into())], "the settings leave it open");
    assert_eq!(request.source.vault(), vault.name.as_ref(), "the source names the vault that it got");
    assert_eq!(request.vault_named(&Name::parse("corp").unwrap()).as_ref(), Some(vault));
    assert!(call(MANY).flag("profile", "people").request().vault.is_none());
}

#[test]
fn no_profile_or_a_wrong_one_is_told() {
    assert_eq!(
        call(MANY).flag("profile", "prdo").refused(),
        told(
            "`--profile`: there is no profile `prdo`",
            "there are `hub`, `jobs`, `open`, `people`, `prod`, `trusted`",
            "write `--profile=prod`"
        )
    );
    assert_eq!(
        call(MANY).extension(json!({"profile": "nothing-like-it"})).refused(),
        told(
            "`profile` of the cluster extension: there is no profile `nothing-like-it`",
            "there are `hub`, `jobs`, `open`, `people`, `prod`, `trusted`",
            "{program} status{config}"
        )
    );
    assert_eq!(
        call(MANY).refused(),
        told(
            "there are several profiles, and none was named",
            "there are `hub`, `jobs`, `open`, `people`, `prod`, `trusted`",
            "name one, such as `--profile=hub`"
        )
    );
    assert_eq!(
        call("").refused(),
        told(
            "there is no profile",
            "no settings file has one, and neither `--source` nor `--role` stands for one",
            "write one under `profiles` in your settings file, `~/.config/vaulttoken/config.yaml`"
        )
    );
    assert_eq!(
        call(ONE).flag("profile", "../x").refused().what,
        "`--profile`: `../x` cannot be a name: a letter or digit is expected, then up to 62 letters, digits, `.`, `_` and `-`"
    );
}

#[test]
fn flags_and_the_environment_are_enough_without_a_file() {
    let bare = || call("").variable("VAULT_ADDR", "https://env:8200").variable("VAULT_NAMESPACE", "n1/");
    let request = bare()
        .flag("source", "vault-kubernetes")
        .flag("role", "deployer")
        .flag("namespace", "team-a")
        .flag("ttl", "15m")
        .request();
    assert_eq!(request.profile, None);
    assert_eq!(request.profile_label, "vault-kubernetes:kubernetes/deployer");
    assert_eq!(request.named_by, NamedBy::Flag);
    let SourceSettings::VaultKubernetes(source) = &request.source else { panic!() };
    assert_eq!((source.namespace.as_deref(), source.ttl), (Some("team-a"), Some(Duration::from_secs(900))));
    let vault = request.vault.unwrap();
    assert_eq!((vault.named_by, vault.namespace.as_deref()), (NamedBy::Environment, Some("n1")));

    let request = bare().flag("role", "deployer").request();
    assert_eq!(request.source.name(), "vaultKubernetes", "a role alone means the Kubernetes engine");
    let request = bare().flag("source", "vault-kv").flag("cluster", "c").flag("team", "t").request();
    assert_eq!(request.profile_label, "vault-kv:secret/service-account-tokens/c/t");
    let request = bare().variable("VAULTTOKEN_SOURCE", "vault-identity").flag("role", "r").request();
    assert_eq!(request.profile_label, "vault-identity:r");

    assert_eq!(
        bare().flag("source", "vault-kubernetes").refused(),
        told("a `vaultKubernetes` source needs a role", "", "add `--role`")
    );
    assert_eq!(
        bare().flag("source", "vault-kv").flag("cluster", "c").refused(),
        told("a `vaultKv` source needs a team for its path", "", "add `--team`")
    );
    assert_eq!(
        bare().flag("source", "oidc").refused(),
        told("`--source`: `oidc` cannot be used here", "such a source needs a profile", "")
    );
    assert_eq!(
        bare().flag("source", "vaultKv").refused().what,
        "`--source`: `vaultKv` cannot be a source: `vault-kubernetes`, `vault-kv`, `vault-identity`, `oidc`, `token-exchange` or `token-request` is expected"
    );
    assert_eq!(
        call("").flag("role", "r").refused(),
        told(
            "no vault is named",
            "neither the settings nor `VAULT_ADDR` or `BAO_ADDR` name one",
            "export VAULT_ADDR=https://vault.example:8200"
        )
    );
}

#[test]
fn a_source_must_be_the_profiles() {
    assert!(call(MANY).flag("profile", "prod").flag("source", "vault-kubernetes").resolve().is_ok());
    assert_eq!(
        call(MANY).flag("profile", "prod").flag("source", "vault-kv").refused(),
        told(
            "`--source`: `vault-kv` cannot be used here",
            "profile `prod` has a `vaultKubernetes` source",
            ""
        )
    );
    let request = call(ONE).flag("source", "vault-kubernetes").flag("role", "x").request();
    assert_eq!(request.profile, None, "`--source` alone asks for no profile");
    assert!(request.pins.is_empty());
}

#[test]
fn a_word_without_meaning_for_the_source_is_refused() {
    for (profile, flag, value, shown, kind) in [
        ("prod", "cluster", "c", "--cluster", "vaultKubernetes"),
        ("prod", "team", "t", "--team", "vaultKubernetes"),
        ("jobs", "role", "r", "--role", "vaultKv"),
        ("jobs", "ttl", "5m", "--ttl", "vaultKv"),
        ("jobs", "namespace", "n", "--namespace", "vaultKv"),
        ("jobs", "audiences", "a", "--audience", "vaultKv"),
        ("trusted", "mount", "m", "--mount", "vaultIdentity"),
        ("trusted", "ttl", "5m", "--ttl", "vaultIdentity"),
        ("people", "role", "r", "--role", "oidc"),
        ("people", "vault", "corp", "--vault", "oidc"),
        ("people", "vaultAddress", "https://corp:8200", "--vault-address", "oidc"),
        ("hub", "mount", "m", "--mount", "tokenRequest"),
    ] {
        let call = call(MANY).flag("profile", profile).flag(flag, value);
        let call = if profile == "jobs" { call.flag("cluster", "c").flag("team", "t") } else { call };
        assert_eq!(
            call.refused(),
            told(
                &format!("`{shown}` has no meaning for a `{kind}` source"),
                "",
                &format!("leave `{shown}` out")
            )
        );
    }
    let by_variable = call(MANY).flag("profile", "trusted").variable("VAULTTOKEN_TTL", "5m").refused();
    assert_eq!(by_variable.what, "`VAULTTOKEN_TTL` has no meaning for a `vaultIdentity` source");
    assert_eq!(by_variable.hint.as_deref(), Some("unset VAULTTOKEN_TTL"));
    let by_extension = call(MANY).extension(json!({"profile": "trusted", "team": "t"})).refused();
    assert_eq!(
        by_extension.what,
        "`team` of the cluster extension has no meaning for a `vaultIdentity` source"
    );
    assert_eq!(by_extension.hint.as_deref(), Some("remove `team` from the cluster's extension"));
    let hub = call(MANY).flag("profile", "hub").flag("namespace", "n2").request();
    let SourceSettings::TokenRequest(source) = &hub.source else { panic!() };
    assert_eq!(source.namespace, "n2");
}

#[test]
fn a_word_is_held_to_the_rules_of_the_file() {
    for (flag, value) in
        [("mount", "a/../b"), ("role", "a\r\nb"), ("namespace", "N"), ("ttl", "0s"), ("audiences", "")]
    {
        assert!(matches!(call(ONE).flag(flag, value).resolve(), Err(SettingsError::Word { .. })), "{flag}");
    }
    assert_eq!(
        call(ONE).variable("VAULTTOKEN_TTL", "60").refused().what,
        "`VAULTTOKEN_TTL`: `60` cannot be a duration: write it as `90s`, `15m` or `1h30m`"
    );
}

#[test]
fn only_flags_and_their_variables_pick_a_vault_and_none_changes_it() {
    let vault = |call: Call| call.request().vault.unwrap();
    let prod = || call(MANY).flag("profile", "prod");
    let with_vault = vault(prod().flag("vault", "lab"));
    assert_eq!(
        (with_vault.address.to_string().as_str(), with_vault.named_by),
        ("https://lab", NamedBy::Settings)
    );
    assert_eq!(vault(prod().variable("VAULTTOKEN_VAULT", "lab")).name, Name::parse("lab"));

    let same = vault(prod().flag("vaultAddress", "https://LAB/"));
    assert_eq!((same.name, same.named_by), (Name::parse("lab"), NamedBy::Settings));
    let node = vault(prod().flag("vaultAddress", "https://corp-2:8200"));
    assert_eq!(node.name, Name::parse("corp"), "a further node is the vault itself");

    let environment = || prod().variable("VAULT_ADDR", "https://env").variable("VAULT_SKIP_VERIFY", "true");
    assert_eq!(vault(environment()).name, Name::parse("corp"), "the profile names its vault");
    let same = vault(environment().flag("vaultAddress", "https://env"));
    assert_eq!((same.named_by, same.tls.skip_verify), (NamedBy::Environment, true));
    for strange in ["https://other", "https://env/prefix", "http://env", "https://env:8200"] {
        for call in [
            environment().flag("vaultAddress", strange),
            environment().variable("VAULTTOKEN_VAULT_ADDRESS", strange),
        ] {
            let vault = vault(call);
            assert_eq!(
                (vault.named_by, vault.tls.skip_verify, vault.name),
                (NamedBy::Flag, false, None),
                "{strange}"
            );
        }
    }
    let settings =
        vault(environment().variable("VAULT_NAMESPACE", "n").variable("VAULT_TLS_SERVER_NAME", "s"));
    assert_eq!((settings.namespace, settings.tls.server_name, settings.tls.skip_verify), (None, None, false));

    assert_eq!(
        prod().flag("vault", "lap").refused(),
        told("`--vault`: there is no vault `lap`", "there are `corp`, `lab`", "write `--vault=lab`")
    );
    assert_eq!(
        prod().flag("vault", "lab").flag("vaultAddress", "https://x").refused(),
        told("`--vault` and `--vault-address` both name a vault", "", "leave `--vault-address` out")
    );
    let flag_first = prod().flag("vault", "lab").variable("VAULTTOKEN_VAULT_ADDRESS", "https://x");
    assert_eq!(vault(flag_first).name, Name::parse("lab"));
}

#[test]
fn a_source_without_a_vault_takes_the_only_one_or_the_environments() {
    let open = || call(MANY).flag("profile", "open");
    assert_eq!(
        open().refused(),
        told("several vaults could be meant", "there are `corp`, `lab`", "name one, such as `--vault=corp`")
    );
    let environments = open().variable("BAO_ADDR", "https://env").request().vault.unwrap();
    assert_eq!(environments.named_by, NamedBy::Environment);
    let only = call(ONE).variable("VAULT_ADDR", "https://env").request().vault.unwrap();
    assert_eq!(only.name, Name::parse("corp"));
    let twice = "vaults: {a: {address: https://v}, b: {address: https://v, namespace: n}}\n";
    let refused = call(twice).flag("role", "r").flag("vaultAddress", "https://v").refused();
    assert_eq!(refused.why.as_deref(), Some("there are `a`, `b`"));
}

#[test]
fn a_log_in_without_a_profile_has_no_use_for_words_about_tokens() {
    let settings = Arc::new(Settings::of_text(&file(MANY)).unwrap());
    let variables = [
        ("VAULTTOKEN_PROFILE", "nobody"),
        ("VAULTTOKEN_SOURCE", "vault-kv"),
        ("VAULTTOKEN_MOUNT", "m"),
        ("VAULTTOKEN_ROLE", "r"),
        ("VAULTTOKEN_NAMESPACE", "n"),
        ("VAULTTOKEN_AUDIENCES", "a"),
        ("VAULTTOKEN_TTL", "1h"),
        ("VAULTTOKEN_CLUSTER", "c"),
        ("VAULTTOKEN_TEAM", "t"),
        ("VAULTTOKEN_VAULT", "lab"),
    ];
    let env = Env::of(variables.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let request = Request::for_login(&settings, &env, &Overrides::default()).unwrap();
    assert_eq!(request.vault.and_then(|vault| vault.name), Name::parse("lab"));
}

#[test]
fn every_profile_has_its_request_or_its_error() {
    let settings = Arc::new(Settings::of_text(&file(MANY)).unwrap());
    let all = Request::of_every_profile(&settings, &Env::default());
    let good: Vec<(&str, bool)> =
        all.iter().map(|(name, request)| (name.as_str(), request.is_ok())).collect();
    assert_eq!(
        good,
        [
            ("hub", true),
            ("jobs", false),
            ("open", false),
            ("people", true),
            ("prod", true),
            ("trusted", true)
        ]
    );
}

#[test]
fn a_workload_of_azure_is_known_by_the_variables_of_aks() {
    let profile = "profiles: {a: {source: {tokenExchange: {preset: entra, scopes: [databricks]}}}}\n";
    let in_pod = || {
        call(profile)
            .variable("AZURE_CLIENT_ID", "client")
            .variable("AZURE_TENANT_ID", "tenant")
            .variable("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.us/")
            .variable("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token")
    };
    let exchange = |call: Call| match call.resolve().unwrap().source {
        SourceSettings::TokenExchange(exchange) => exchange,
        other => panic!("{other:?}"),
    };
    let found = exchange(in_pod());
    assert_eq!((found.client_id.as_deref(), found.tenant_id.as_deref()), (Some("client"), Some("tenant")));
    assert_eq!(found.authority_host.unwrap().as_str(), "https://login.microsoftonline.us/");
    let token_file = found.federated_token_file.unwrap();
    assert_eq!(token_file.to_str(), Some("/var/run/secrets/azure/tokens/azure-identity-token"));
    assert_eq!(found.scopes, ["2ff814a6-3304-4ab8-85cb-cd0e6f879c1d/.default"]);
    // What the settings say goes before it.
    let said = profile
        .replace("entra, ", "entra, clientId: mine, authorityHost: https://login.example, identity: pod, ");
    let mut own = in_pod();
    own.settings = file(&format!("identities: {{pod: {{file: {{path: /t}}}}}}\n{said}"));
    let found = exchange(own);
    assert_eq!(found.client_id.as_deref(), Some("mine"));
    assert_eq!(
        (found.federated_token_file, found.authority_host.unwrap().as_str()),
        (None, "https://login.example/")
    );
    for (missing, expected) in [
        (
            "AZURE_TENANT_ID",
            "a `tokenExchange` source needs `tenantId`, or `AZURE_TENANT_ID` in its environment",
        ),
        (
            "AZURE_CLIENT_ID",
            "a `tokenExchange` source needs `clientId`, or `AZURE_CLIENT_ID` in its environment",
        ),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            "a `tokenExchange` source needs `identity`, or `AZURE_FEDERATED_TOKEN_FILE` in its environment",
        ),
    ] {
        let mut call = in_pod();
        call.variables.retain(|(name, _)| name != missing);
        assert_eq!(call.resolve().unwrap_err().to_string(), expected);
    }
    let mut call = in_pod();
    call.variables.iter_mut().find(|(name, _)| name == "AZURE_TENANT_ID").unwrap().1 = "../other".to_owned();
    assert!(call.resolve().unwrap_err().to_string().starts_with("`AZURE_TENANT_ID`: "));
}
