//! The few fields of kubeconfigs that `trust`, `doctor` and `tokenRequest` need, read as leniently as
//! kubectl reads them: unknown fields are passed over. It never runs what a kubeconfig names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::problem::{Alternatives, By, SettingsError};
use super::read::{Owner, SETTINGS_LIMIT, read_text};
use super::yaml::{self, Node, Twice};
use crate::env::Env;

/// The longest kubeconfig: some hold hundreds of clusters, each with its CA inline.
pub(super) const KUBECONFIG_LIMIT: u64 = 16 * 1024 * 1024;
/// The extension that client-go hands to exec plugins.
const EXTENSION: &str = "client.authentication.k8s.io/exec";

/// Which kubeconfigs count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KubeconfigFiles {
    /// The one that `--kubeconfig` names: it must exist.
    Named(PathBuf),
    /// Those of `KUBECONFIG`, or the usual one: what is missing is passed over.
    Usual(Vec<PathBuf>),
}

impl KubeconfigFiles {
    /// The files of a call; `flag` is what `--kubeconfig` says.
    #[must_use]
    pub fn of(env: &Env, flag: Option<&Path>) -> Self {
        if let Some(flag) = flag {
            return Self::Named(flag.to_owned());
        }
        let list: Vec<PathBuf> = match env.filled("KUBECONFIG") {
            Some(list) => std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect(),
            None => env.home().map(|home| home.join(".kube").join("config")).into_iter().collect(),
        };
        Self::Usual(list)
    }
}

/// Several kubeconfigs as one: of entries with the same name the first counts.
#[derive(Debug, Clone, Default)]
pub struct Kubeconfig {
    current: Option<String>,
    contexts: BTreeMap<String, Context>,
    clusters: BTreeMap<String, (PathBuf, Cluster)>,
    users: BTreeMap<String, (PathBuf, User)>,
}

/// One context, with what hangs on it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextView {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterView,
    /// The name of its user.
    pub user: Option<String>,
    /// The exec plugin of its user.
    pub exec: Option<ExecView>,
    /// The namespace that it sets.
    pub namespace: Option<String>,
}

/// A cluster, as the exec info would show it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterView {
    /// The API server, as it is written.
    pub server: String,
    /// Its CA: inline, or the text of the file.
    pub certificate_authority_pem: Option<String>,
    /// The name that its certificate must have.
    pub tls_server_name: Option<String>,
    /// Whether verification is switched off.
    pub insecure_skip_tls_verify: bool,
    /// The proxy to it.
    pub proxy_url: Option<String>,
    /// The extension for exec plugins; `Null` where there is none.
    pub extension: Value,
}

/// An exec plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecView {
    /// The version of the contract.
    pub api_version: Option<String>,
    /// The command, as it is written.
    pub command: String,
    /// The folder of its kubeconfig, from which a path that is not absolute is meant.
    pub folder: PathBuf,
    /// Whether a person may be asked: `Never`, `IfAvailable` or `Always`.
    pub interactive_mode: Option<String>,
    /// Whether it is told the cluster.
    pub provide_cluster_info: bool,
    /// Its arguments.
    pub args: Vec<String>,
    /// Variables that are added to its environment.
    pub env: BTreeMap<String, String>,
}

/// Kubeconfigs in the wild hold `null` for an empty list.
pub(super) fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    #[serde(rename = "current-context")]
    current_context: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    contexts: Vec<NamedContext>,
    #[serde(deserialize_with = "or_empty")]
    clusters: Vec<NamedCluster>,
    #[serde(deserialize_with = "or_empty")]
    users: Vec<NamedUser>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    #[serde(default, deserialize_with = "or_empty")]
    context: Context,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
struct Context {
    cluster: Option<String>,
    user: Option<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    #[serde(default, deserialize_with = "or_empty")]
    cluster: Cluster,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: Option<String>,
    certificate_authority: Option<String>,
    certificate_authority_data: Option<String>,
    tls_server_name: Option<String>,
    insecure_skip_tls_verify: Option<bool>,
    proxy_url: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    extensions: Vec<NamedExtension>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
struct NamedExtension {
    name: Option<String>,
    extension: Value,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    #[serde(default, deserialize_with = "or_empty")]
    user: User,
}

/// Security: tokens, passwords and keys of a user are not even read.
#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
struct User {
    exec: Option<Exec>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
struct Exec {
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    #[serde(rename = "interactiveMode")]
    interactive_mode: Option<String>,
    #[serde(rename = "provideClusterInfo")]
    provide_cluster_info: Option<bool>,
    command: Option<String>,
    #[serde(deserialize_with = "or_empty")]
    args: Vec<String>,
    #[serde(deserialize_with = "or_empty")]
    env: Vec<ExecVariable>,
}

#[derive(Debug, Clone, Deserialize, Default)]
#[serde(default)]
struct ExecVariable {
    name: Option<String>,
    value: Option<String>,
}

impl Kubeconfig {
    /// Reads and merges the files.
    pub fn load(files: &KubeconfigFiles) -> Result<Self, SettingsError> {
        let mut whole = Self::default();
        match files {
            KubeconfigFiles::Named(file) => {
                let named_by = By::Flag("--kubeconfig");
                let text = read_text(file, KUBECONFIG_LIMIT, Owner::Anybody)?
                    .ok_or_else(|| SettingsError::Missing { file: file.clone(), named_by })?;
                whole.put_beneath(file, &text)?;
            }
            KubeconfigFiles::Usual(list) => {
                for file in list {
                    if let Some(text) = read_text(file, KUBECONFIG_LIMIT, Owner::Anybody)? {
                        whole.put_beneath(file, &text)?;
                    }
                }
            }
        }
        Ok(whole)
    }

    pub(super) fn put_beneath(&mut self, file: &Path, text: &str) -> Result<(), SettingsError> {
        if text.trim_start_matches('\u{feff}').trim().is_empty() {
            return Ok(());
        }
        let read = Node::parse(text, Twice::LastCounts).and_then(|node| yaml::read::<Option<File>>(&node));
        let read = read.map_err(|error| super::document::explain(file, error))?;
        let read = read.unwrap_or_default();
        let folder = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        let folder = folder.parent().unwrap_or(Path::new("")).to_owned();
        if self.current.is_none() {
            self.current = read.current_context.filter(|name| !name.is_empty());
        }
        for entry in read.contexts {
            self.contexts.entry(entry.name).or_insert(entry.context);
        }
        for entry in read.clusters {
            self.clusters.entry(entry.name).or_insert_with(|| (folder.clone(), entry.cluster));
        }
        for entry in read.users {
            self.users.entry(entry.name).or_insert_with(|| (folder.clone(), entry.user));
        }
        Ok(())
    }

    /// The names of all contexts, in order.
    pub fn contexts(&self) -> impl Iterator<Item = &str> {
        self.contexts.keys().map(String::as_str)
    }

    /// A context by its name, or the current one.
    pub fn context(&self, name: Option<&str>) -> Result<ContextView, SettingsError> {
        let known = || self.contexts().map(str::to_owned).collect();
        let name = name
            .or(self.current.as_deref())
            .ok_or_else(|| SettingsError::NoCurrentContext { known: known() })?;
        let context = self.contexts.get(name).ok_or_else(|| SettingsError::NoSuchContext {
            name: name.to_owned(),
            instead: Box::new(Alternatives::to(name, self.contexts())),
        })?;
        let broken = |cause: String| SettingsError::BrokenContext { context: name.to_owned(), cause };
        let cluster_name = context.cluster.as_deref().unwrap_or_default();
        let (folder, cluster) = self
            .clusters
            .get(cluster_name)
            .ok_or_else(|| broken(format!("there is no cluster `{cluster_name}`")))?;
        let server = cluster.server.clone().filter(|server| !server.is_empty());
        let user = context.user.as_ref().and_then(|user| self.users.get(user));
        Ok(ContextView {
            name: name.to_owned(),
            cluster: ClusterView {
                server: server.ok_or_else(|| broken(format!("cluster `{cluster_name}` names no server")))?,
                certificate_authority_pem: cluster.certificate_authority_pem(folder).map_err(broken)?,
                tls_server_name: cluster.tls_server_name.clone().filter(|name| !name.is_empty()),
                insecure_skip_tls_verify: cluster.insecure_skip_tls_verify.unwrap_or_default(),
                proxy_url: cluster.proxy_url.clone().filter(|url| !url.is_empty()),
                extension: cluster.extension(),
            },
            user: context.user.clone(),
            exec: user.and_then(|(folder, user)| user.exec.as_ref()?.view(folder)),
            namespace: context.namespace.clone().filter(|namespace| !namespace.is_empty()),
        })
    }
}

impl Cluster {
    /// As client-go does: data goes before a file, and a file's path is relative to its kubeconfig.
    fn certificate_authority_pem(&self, folder: &Path) -> Result<Option<String>, String> {
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(data) = filled(&self.certificate_authority_data) {
            let compact: String = data.split_ascii_whitespace().collect();
            let bytes = STANDARD.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            return bytes
                .map(Some)
                .ok_or_else(|| "`certificate-authority-data` is not a PEM in base64".to_owned());
        }
        let Some(path) = filled(&self.certificate_authority) else { return Ok(None) };
        let file = folder.join(path);
        match read_text(&file, SETTINGS_LIMIT, Owner::Anybody) {
            Ok(Some(pem)) => Ok(Some(pem)),
            Ok(None) => Err(format!("`{}` does not exist", file.display())),
            Err(error) => Err(error.to_string()),
        }
    }

    fn extension(&self) -> Value {
        let ours = self.extensions.iter().find(|entry| entry.name.as_deref() == Some(EXTENSION));
        ours.map_or(Value::Null, |entry| entry.extension.clone())
    }
}

impl Exec {
    fn view(&self, folder: &Path) -> Option<ExecView> {
        let variable = |entry: &ExecVariable| Some((entry.name.clone()?, entry.value.clone()?));
        Some(ExecView {
            api_version: self.api_version.clone(),
            command: self.command.clone()?,
            folder: folder.to_owned(),
            interactive_mode: self.interactive_mode.clone(),
            provide_cluster_info: self.provide_cluster_info.unwrap_or_default(),
            args: self.args.clone(),
            env: self.env.iter().filter_map(variable).collect(),
        })
    }
}

impl ExecView {
    /// Our own arguments, where the command is this program: under its own name, or as
    /// `kubectl vaulttoken`.
    #[must_use]
    pub fn own_args(&self) -> Option<&[String]> {
        let file = self.command.rsplit(['/', '\\']).next().unwrap_or_default();
        match (file.strip_suffix(".exe").unwrap_or(file), self.args.split_first()) {
            ("kubectl-vaulttoken", _) => Some(&self.args),
            ("kubectl", Some((first, rest))) if first == "vaulttoken" => Some(rest),
            _ => None,
        }
    }
}

/// The profile that a context uses: that of our arguments, else the extension's, else the variable's
/// that `exec.env` sets. `None` where the context is not ours or leaves it open.
#[must_use]
pub fn profile_of(context: &ContextView) -> Option<String> {
    let exec = context.exec.as_ref()?;
    let args = exec.own_args()?;
    let of_extension = || context.cluster.extension.get("profile")?.as_str().map(str::to_owned);
    let of_variable = || exec.env.get("VAULTTOKEN_PROFILE").filter(|name| !name.is_empty()).cloned();
    profile_argument(args).or_else(of_extension).or_else(of_variable)
}

fn profile_argument(args: &[String]) -> Option<String> {
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--profile" || arg == "-p" {
            return args.next().cloned();
        }
        let value = arg.strip_prefix("--profile=").or_else(|| {
            // As the command line is read: `-pprod` and `-p=prod`.
            let value = arg.strip_prefix("-p")?;
            Some(value.strip_prefix('=').unwrap_or(value))
        });
        if let Some(value) = value {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(text: &str) -> Kubeconfig {
        let mut whole = Kubeconfig::default();
        whole.put_beneath(Path::new("/k/config"), text).unwrap();
        whole
    }

    const TWO: &str = r#"
apiVersion: v1
kind: Config
current-context: prod
preferences: {}
contexts:
- name: prod
  context: {cluster: prod, user: ours, namespace: team-a}
- name: stage
  context: {cluster: stage, user: ours}
- name: other
  context: {cluster: prod, user: other}
- name: lost
  context: {cluster: nowhere, user: ours}
clusters:
- name: prod
  cluster:
    server: https://prod.example:6443/
    certificate-authority-data: UEVN
    tls-server-name: prod.internal
    proxy-url: http://proxy:3128
    extensions:
    - name: something-else
      extension: [1]
    - name: client.authentication.k8s.io/exec
      extension: {apiVersion: vaulttoken.dev/v1alpha1, kind: ClusterProfile, profile: prod}
- name: stage
  cluster: {server: "https://stage.example", insecure-skip-tls-verify: true, certificate-authority-data: null}
users:
- name: ours
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: /usr/local/bin/kubectl-vaulttoken, args: [get-token]}
- name: other
  user: {token: secret-token, exec: null}
"#;

    #[test]
    fn a_context_is_shown_as_the_exec_info_would_show_it() {
        let whole = config(TWO);
        assert_eq!(whole.contexts().collect::<Vec<_>>(), ["lost", "other", "prod", "stage"]);
        let prod = whole.context(None).unwrap();
        assert_eq!((prod.name.as_str(), prod.namespace.as_deref()), ("prod", Some("team-a")));
        assert_eq!(prod.cluster.server, "https://prod.example:6443/");
        assert_eq!(prod.cluster.certificate_authority_pem.as_deref(), Some("PEM"));
        assert_eq!(prod.cluster.tls_server_name.as_deref(), Some("prod.internal"));
        assert_eq!(prod.cluster.proxy_url.as_deref(), Some("http://proxy:3128"));
        assert_eq!(profile_of(&prod).as_deref(), Some("prod"));
        let stage = whole.context(Some("stage")).unwrap();
        assert!(stage.cluster.insecure_skip_tls_verify);
        assert_eq!(
            (stage.cluster.certificate_authority_pem.as_deref(), &stage.cluster.extension),
            (None, &Value::Null)
        );
        assert_eq!(profile_of(&stage), None);
        assert_eq!(whole.context(Some("other")).unwrap().exec, None);
        assert!(!format!("{whole:?}").contains("secret-token"), "other credentials are not read");
    }

    #[test]
    fn what_cannot_be_found_is_named() {
        use crate::error::Explain as _;
        let whole = config(TWO);
        let error = whole.context(Some("stag")).unwrap_err();
        assert_eq!(error.to_string(), "the kubeconfig has no context `stag`");
        assert_eq!(error.why().unwrap(), "there are `lost`, `other`, `prod`, `stage`");
        assert_eq!(error.hint().unwrap(), "write `--context=stage`");
        let error = whole.context(Some("lost")).unwrap_err();
        assert_eq!(error.to_string(), "context `lost` of the kubeconfig cannot be used");
        assert_eq!(error.why().unwrap(), "there is no cluster `nowhere`");
        let error = config("").context(None).unwrap_err();
        assert_eq!(error.to_string(), "the kubeconfig has no current context");
        assert_eq!(error.hint().unwrap(), "kubectl config get-contexts");
        let bad = config(
            "contexts: [{name: a, context: {cluster: a}}]\nclusters: [{name: a, cluster: {server: s, certificate-authority-data: '%'}}]",
        );
        assert_eq!(
            bad.context(Some("a")).unwrap_err().why().unwrap(),
            "`certificate-authority-data` is not a PEM in base64"
        );
    }

    #[test]
    fn bottomless_and_exploding_files_are_refused() {
        let extension = |value: &str| {
            format!("clusters: [{{name: a, cluster: {{extensions: [{{extension: {value}}}]}}}}]")
        };
        let mut bomb = "x0: &x0 [a, a, a, a, a, a, a, a, a, a]\n".to_owned();
        for level in 1..8 {
            let below = format!("*x{}, ", level - 1).repeat(10);
            bomb = format!("{bomb}x{level}: &x{level} [{below}]\n");
        }
        bomb.push_str(&extension("*x7"));
        for text in [
            extension(&"[".repeat(5_000)),
            extension(&format!("{}{}", "[".repeat(500), "]".repeat(500))),
            bomb,
        ] {
            let error = Kubeconfig::default().put_beneath(Path::new("k"), &text).unwrap_err();
            assert!(matches!(error, SettingsError::Syntax { .. }), "{error:?}");
        }
    }

    #[test]
    fn of_several_files_the_first_counts_and_paths_are_relative_to_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("b")).unwrap();
        std::fs::write(at("a"), "clusters: [{name: c, cluster: {server: https://first}}]\ncontexts:\n")
            .unwrap();
        std::fs::write(
            at("b/config"),
            "current-context: x\ncontexts: [{name: x, context: {cluster: c}}, {name: y, context: {cluster: d}}]\nclusters: [{name: c, cluster: {server: https://second}}, {name: d, cluster: {server: https://d, certificate-authority: ca.pem}}]",
        )
        .unwrap();
        std::fs::write(at("b/ca.pem"), "the CA").unwrap();
        let list =
            std::env::join_paths([at("missing"), at("a"), at("b/config")]).unwrap().into_string().unwrap();
        let env = Env::of([("KUBECONFIG".to_owned(), list)]);
        let whole = Kubeconfig::load(&KubeconfigFiles::of(&env, None)).unwrap();
        assert_eq!(whole.context(None).unwrap().cluster.server, "https://first");
        let of_file = whole.context(Some("y")).unwrap().cluster.certificate_authority_pem;
        assert_eq!(of_file.as_deref(), Some("the CA"));
        let named = KubeconfigFiles::of(&env, Some(&at("missing")));
        assert_eq!(
            Kubeconfig::load(&named).unwrap_err(),
            SettingsError::Missing { file: at("missing"), named_by: By::Flag("--kubeconfig") }
        );
        let home = Env::of([("HOME".to_owned(), "/home/me".to_owned())]);
        assert_eq!(
            KubeconfigFiles::of(&home, None),
            KubeconfigFiles::Usual(vec![PathBuf::from("/home/me/.kube/config")])
        );
    }

    #[test]
    fn our_profile_is_found_in_every_way_to_write_it() {
        let of = |command: &str, args: &[&str], env: &[(&str, &str)]| {
            let mut context = config(TWO).context(Some("stage")).unwrap();
            context.exec = Some(ExecView {
                command: command.to_owned(),
                args: args.iter().map(|arg| (*arg).to_owned()).collect(),
                env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
                ..ExecView::default()
            });
            profile_of(&context)
        };
        let x = Some("x".to_owned());
        assert_eq!(of("kubectl-vaulttoken", &["get-token", "--profile=x"], &[]), x);
        assert_eq!(of("./bin/kubectl-vaulttoken", &["get-token", "--profile", "x"], &[]), x);
        assert_eq!(of(r"C:\bin\kubectl-vaulttoken.exe", &["get-token", "-p", "x"], &[]), x);
        assert_eq!(of("kubectl", &["vaulttoken", "get-token", "-px"], &[]), x);
        assert_eq!(of("/usr/bin/kubectl", &["vaulttoken", "-p=x", "get-token"], &[]), x);
        assert_eq!(of("kubectl-vaulttoken", &["get-token"], &[("VAULTTOKEN_PROFILE", "x")]), x);
        assert_eq!(of("kubectl-vaulttoken", &["get-token", "--profile"], &[]), None);
        assert_eq!(of("kubelogin", &["get-token", "--profile=x"], &[]), None);
        assert_eq!(of("kubectl", &["oidc-login", "--profile=x"], &[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn reading_never_panics(text in any::<String>()) {
            let _ = Kubeconfig::default().put_beneath(Path::new("k"), &text);
        }
    }
}
