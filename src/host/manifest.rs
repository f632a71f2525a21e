//! `spin.toml`: the subset of manifest version 2 that this host runs.
//!
//! An unknown key is an error that names it, because to run an application while ignoring a part of its manifest is to
//! run another application. What this host knows beyond Spin stands in `[component.….tool.gha-slurm]`: `tool` is where
//! Spin lets each tool keep its settings, and ignores them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyper::header::HeaderName;
use serde::Deserialize;
use thiserror::Error;

use super::routing::{RouteError, Router};
use super::variables::{self, Provider, VariableError};

/// A manifest as read.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    spin_manifest_version: u32,
    /// What the application is called.
    pub application: Application,
    /// The application's variables.
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    /// What starts a component.
    pub trigger: Triggers,
    /// The components by id.
    pub component: BTreeMap<String, Component>,
}

/// `[application]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// For people.
    #[serde(default)]
    pub authors: Vec<String>,
}

/// `[variables]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its value when no provider has one.
    pub default: Option<String>,
    /// Whether it must be given.
    #[serde(default)]
    pub required: bool,
    /// Whether its value is not to be shown.
    #[serde(default)]
    pub secret: bool,
}

/// `[[trigger.…]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triggers {
    /// HTTP routes.
    pub http: Vec<HttpTrigger>,
}

/// `[[trigger.http]]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTrigger {
    /// For people.
    #[serde(default)]
    pub id: String,
    /// The route.
    pub route: String,
    /// The id of the component that serves it.
    pub component: String,
}

/// `[component.…]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The `.wasm` file, seen from the manifest's folder.
    pub source: PathBuf,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// The stores that it may open.
    #[serde(default)]
    pub key_value_stores: Vec<String>,
    /// The hosts that it may reach.
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<String>,
    /// Its variables, as templates over the application's.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// How it is built.
    pub build: Option<Build>,
    /// Settings of tools; only this host's are looked at.
    #[serde(default)]
    tool: Tools,
}

impl Component {
    /// What a request must be to reach this component.
    pub fn requests(&self) -> &Requests {
        &self.tool.own
    }
}

/// `[component.….tool]`
#[derive(Debug, Default, Deserialize)]
struct Tools {
    #[serde(default, rename = "gha-slurm")]
    own: Requests,
}

/// `[component.….tool.gha-slurm]`: what a request must be to reach a component. One that is not is refused before its body
/// is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Headers without which a request with a body gets 400, in lower case.
    #[serde(default)]
    pub required_headers: Vec<String>,
    /// The longest body in bytes, where that is less than the host's own limit; past it the answer is 413.
    pub max_body_bytes: Option<usize>,
}

/// `[component.….build]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// A shell command.
    pub command: String,
    /// Where to run it, seen from the manifest's folder.
    pub workdir: Option<PathBuf>,
    /// What `spin watch` looks at; not used here.
    #[serde(default)]
    pub watch: Vec<String>,
}

/// What is wrong with a manifest.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("{path} cannot be read: {why}; name the application's manifest with --from")]
    Unreadable {
        /// The manifest.
        path: PathBuf,
        /// The reason.
        why: std::io::Error,
    },
    /// It is not what this host understands; the text names the key and the line.
    #[error("{path} has something that this host does not support (Spin may):\n{why}")]
    Unsupported {
        /// The manifest.
        path: PathBuf,
        /// Where and what.
        why: String,
    },
    /// An entry of `allowed_outbound_hosts` is malformed.
    #[error("component {component}: allowed_outbound_hosts has {entry:?}: {why}")]
    AllowedHost {
        /// The component's id.
        component: String,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
}

impl Manifest {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Self, ManifestError> {
        let text =
            std::fs::read_to_string(path).map_err(|why| ManifestError::Unreadable { path: path.to_path_buf(), why })?;
        Self::parse(&text).map_err(|why| ManifestError::Unsupported { path: path.to_path_buf(), why })
    }

    /// Reads the text of a manifest, and checks all that can be checked without looking at another file. The error names
    /// what is wrong, and the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if manifest.spin_manifest_version != 2 {
            return Err(format!("spin_manifest_version = {}: only 2 is", manifest.spin_manifest_version));
        }
        for (id, component) in &manifest.component {
            for store in &component.key_value_stores {
                if store != "default" {
                    return Err(format!("[component.{id}] key_value_stores = [{store:?}]: only \"default\" is"));
                }
            }
            for name in &component.requests().required_headers {
                let lower = HeaderName::from_lowercase(name.as_bytes());
                lower.map_err(|_| {
                    format!(
                        "[component.{id}.tool.gha-slurm] required_headers: {name:?} is no header's name in lower case"
                    )
                })?;
            }
        }
        for trigger in &manifest.trigger.http {
            if !manifest.component.contains_key(&trigger.component) {
                let (route, component) = (&trigger.route, &trigger.component);
                return Err(format!("the route {route} is for the component {component}, which is not there"));
            }
        }
        let routes = manifest.trigger.http.iter().map(|trigger| (trigger.route.clone(), ()));
        Router::new(routes.collect()).map_err(|error: RouteError| error.to_string())?;
        Ok(manifest)
    }

    /// The value of one of the application's variables.
    pub fn variable(&self, name: &str, provider: &Provider) -> Result<String, VariableError> {
        let Some(declared) = self.variables.get(name) else {
            return Err(VariableError::Undefined(format!("no variable {name} in [variables]")));
        };
        provider
            .get(name)
            .or_else(|| declared.default.clone())
            .ok_or_else(|| VariableError::Undefined(format!("the variable {name} has no value")))
    }

    /// The values of a component's variables, or why there is none. Settled once: providers do not change while an
    /// application runs.
    pub fn component_variables(
        &self,
        component: &Component,
        provider: &Provider,
    ) -> BTreeMap<String, Result<String, VariableError>> {
        let value = |template: &str| variables::render(template, &|name| self.variable(name, provider));
        component.variables.iter().map(|(name, template)| (name.clone(), value(template))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "a"
        [variables]
        given = { required = true, secret = true }
        preset = { default = "p" }
        [[trigger.http]]
        route = "/x"
        component = "x"
        [component.x]
        source = "x.wasm"
        variables = { both = "{{ given }}-{{preset}}", typo = "{{ givn }}" }
    "#;

    #[test]
    fn component_variables_are_templates_over_the_applications() {
        let manifest = Manifest::parse(MINIMAL).unwrap();
        let values = |provider| manifest.component_variables(&manifest.component["x"], &provider);
        let given = values(Provider::fixed([("given", "g")]));
        assert_eq!(given["both"].as_deref(), Ok("g-p"));
        assert!(matches!(given["typo"], Err(VariableError::Undefined(_))));
        assert!(matches!(values(Provider::default())["both"], Err(VariableError::Undefined(_))));
    }

    #[test]
    fn what_is_not_supported_is_refused_by_name() {
        for (added, named) in [
            ("files = ['a']", "files"),
            ("sqlite_databases = ['default']", "sqlite_databases"),
            ("ai_models = ['m']", "ai_models"),
            ("key_value_stores = ['other']", "other"),
            ("[component.x.dependencies]\n'a:b' = '1'", "dependencies"),
            ("[component.x.tool.gha-slurm]\nmax_instances = 1", "max_instances"),
            ("[component.x.tool.gha-slurm]\nrequired_headers = ['X-Given']", "X-Given"),
            ("[[trigger.http]]\nroute = '/y'\ncomponent = 'y'", "component y"),
            ("[[trigger.http]]\nroute = '/x/'\ncomponent = 'x'", "/x/"),
            ("[[trigger.redis]]\nchannel = 'c'\ncomponent = 'x'", "redis"),
            ("[component.y]\nsource = { url = 'https://x', digest = 'd' }", "source"),
        ] {
            let error = Manifest::parse(&format!("{MINIMAL}\n{added}")).unwrap_err();
            assert!(error.contains(named), "{added}: {error}");
        }
        let error = Manifest::parse(&MINIMAL.replace("version = 2", "version = 1")).unwrap_err();
        assert!(error.contains("spin_manifest_version"), "{error}");
    }

    #[test]
    fn what_a_request_must_be_stands_where_spin_keeps_the_settings_of_tools() {
        let text = format!(
            "{MINIMAL}\n[component.x.tool.gha-slurm]\nrequired_headers = ['x-given']\nmax_body_bytes = 9\n\
             [component.x.tool.other]\nanything = true"
        );
        let manifest = Manifest::parse(&text).unwrap();
        let requests = manifest.component["x"].requests();
        assert_eq!(
            (requests.required_headers.as_slice(), requests.max_body_bytes),
            (&["x-given".to_owned()][..], Some(9))
        );
    }

    #[test]
    fn the_applications_own_manifest_is_supported() {
        let manifest = Manifest::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/spin.toml"))).unwrap();
        let mut components: Vec<_> = manifest.component.keys().map(String::as_str).collect();
        components.sort_unstable();
        assert_eq!(components, ["cluster", "console", "runner", "setup", "tick", "webhook"]);
    }
}
