//! What an API server says about the issuer of its service accounts' tokens, read with the person's own
//! `kubectl`: it knows every way to log in to a cluster, and inside a pod the pod's own.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::DatabricksError;
use super::policy::Discovery;
use crate::error::printable;

/// The largest document that is read.
const LARGEST: u64 = 1024 * 1024;

/// A cluster to ask.
pub struct Asked {
    /// The program: what started us as its plugin, else `kubectl`.
    pub kubectl: PathBuf,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--context`.
    pub context: Option<String>,
    /// Longest use of the network for each document.
    pub timeout: Duration,
}

impl Asked {
    /// `/.well-known/openid-configuration`.
    ///
    /// # Errors
    /// The cluster does not tell, or tells no issuer.
    pub fn discovery(&self) -> Result<Discovery, DatabricksError> {
        const PATH: &str = "/.well-known/openid-configuration";
        let text = self.document(PATH)?;
        serde_json::from_str(&text)
            .map_err(|error| DatabricksError::ClusterUnclear { path: PATH, reason: error.to_string() })
    }

    /// `/openid/v1/jwks`.
    ///
    /// # Errors
    /// The cluster does not tell.
    pub fn key_set(&self) -> Result<String, DatabricksError> {
        self.document("/openid/v1/jwks")
    }

    fn document(&self, path: &'static str) -> Result<String, DatabricksError> {
        let mut command = Command::new(&self.kubectl);
        if let Some(file) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(file);
        }
        if let Some(context) = &self.context {
            command.args(["--context", context]);
        }
        command.arg(format!("--request-timeout={}s", self.timeout.as_secs().max(1)));
        command.args(["get", "--raw", path]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let not_run = |error: std::io::Error| DatabricksError::NotRun {
            program: self.kubectl.display().to_string(),
            reason: error.to_string(),
        };
        let mut child = command.spawn().map_err(not_run)?;
        let errors = child.stderr.take().map(|pipe| std::thread::spawn(move || text_of(pipe)));
        let text = child.stdout.take().map(text_of).unwrap_or_default();
        // Nobody reads what comes beyond the limit.
        if text.len() as u64 > LARGEST {
            let _ = child.kill();
        }
        let status = child.wait().map_err(not_run)?;
        let said = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
        if status.success() {
            return Ok(text);
        }
        Err(DatabricksError::ClusterSilent {
            path,
            refused: said.contains("Forbidden") || said.contains("Unauthorized"),
            reason: printable(&said),
        })
    }
}

fn text_of(pipe: impl std::io::Read) -> String {
    let mut bytes = Vec::new();
    // What was read before it broke off is told.
    let _ = pipe.take(LARGEST + 1).read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
