//! What the fuzz targets reach of this module. Compiled for them alone.

use std::path::Path;

use super::{ClusterProfile, Kubeconfig, Settings};

/// A settings file: read or refused, and never with a secret or a control character in the words.
pub fn settings(text: &str) {
    if let Err(error) = Settings::of_text(text) {
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

/// A kubeconfig of somebody else's.
pub fn kubeconfig(text: &str) {
    let mut whole = Kubeconfig::default();
    if whole.put_beneath(Path::new("/home/me/.kube/config"), text).is_err() {
        return;
    }
    let names: Vec<String> = whole.contexts().map(str::to_owned).collect();
    for name in names.iter().map(|name| Some(name.as_str())).chain([None]) {
        if let Ok(view) = whole.context(name) {
            let _ = super::kubeconfig::profile_of(&view);
        }
    }
}

/// The extension of a cluster in a kubeconfig.
pub fn extension(text: &str) {
    if let Ok(value) = serde_json::from_str(text) {
        let _ = ClusterProfile::parse(&value);
    }
}
