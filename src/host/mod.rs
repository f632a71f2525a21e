//! A minimal Spin-compatible host.
//!
//! It runs the same `spin.toml` and the same `.wasm` files as Spin, with Spin's names for flags and files, so that an
//! application runs and is tested where Spin is not installed. It is no second Spin: what it does not support in a
//! manifest it refuses by name. It knows nothing of what an application does.
//!
//! A guest is trusted with nothing: a fresh instance per request, no files, no environment, only the stores, variables
//! and hosts that the manifest names for it, and limits on memory, time and size.

#![warn(missing_docs)]

mod body;
mod budget;
pub mod client_address;
pub mod componentize;
mod connections;
pub mod engine;
pub mod key_value;
pub mod limits;
pub mod manifest;
pub mod outbound;
mod paced_writes;
mod permits;
pub mod precompiled;
pub mod private_files;
mod request;
pub mod routing;
pub mod runtime_config;
pub mod sandbox;
pub mod server;
mod spin_headers;
pub mod variables;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use self::client_address::TrustedProxies;
use self::engine::Engine;
use self::key_value::KeyValue;
use self::limits::Limits;
use self::manifest::Manifest;
use self::outbound::tls::{ClientTls, TlsError};
use self::outbound::{AllowedHosts, Client};
use self::permits::Permits;
use self::precompiled::Precompiled;
use self::private_files::PrivacyError;
use self::request::Target;
use self::routing::Router;
use self::sandbox::Guest;
use self::server::Server;
use self::variables::Provider;

/// Where the key-value store is.
#[derive(Clone)]
pub enum State {
    /// In a folder, in the file that Spin uses as well.
    Folder(PathBuf),
    /// Gone with the process.
    Memory,
    /// On the Redis or Valkey server of this URL, which may hold a password.
    Redis(String),
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "Folder({})", folder.display()),
            Self::Memory => f.write_str("Memory"),
            Self::Redis(_) => f.write_str("Redis(…)"),
        }
    }
}

/// What to run, and how.
#[derive(Debug)]
pub struct Options {
    /// The manifest's path.
    pub manifest: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where variables come from.
    pub variables: Provider,
    /// Where the key-value store is.
    pub state: State,
    /// Whether to leave out what guests print.
    pub quiet: bool,
    /// What the application may take of this machine.
    pub limits: Limits,
    /// Where compiled code is kept, if it is.
    pub compiled: Option<PathBuf>,
    /// Certificates of some components and hosts.
    pub client_tls: Vec<ClientTls>,
    /// Who may say whose request he passes on.
    pub trusted_proxies: TrustedProxies,
}

/// Why an application does not run.
#[derive(Debug, Error)]
pub enum Error {
    /// The manifest, or what it names, is not right.
    #[error("{0}")]
    Manifest(#[from] manifest::ManifestError),
    /// A component's `.wasm` is missing.
    #[error("{path} is not there: build the components first, with --build")]
    NotBuilt {
        /// The file that the manifest names.
        path: PathBuf,
    },
    /// A component cannot be loaded.
    #[error("component {component} cannot be loaded from {path}: {why}")]
    Load {
        /// The component's id.
        component: String,
        /// Its file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// The engine cannot be set up on this machine.
    #[error("the WebAssembly engine cannot start: {0}")]
    Engine(String),
    /// The store cannot be opened.
    #[error("the key-value store cannot be opened: {0}")]
    KeyValue(#[from] key_value::KeyValueError),
    /// The store's files are open to others.
    #[error("the key-value store is not used: {0}")]
    Privacy(#[from] PrivacyError),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be bound.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The reason.
        why: std::io::Error,
    },
}

impl Error {
    /// Whether the way out is to change the manifest or a flag.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Manifest(_) | Self::NotBuilt { .. } | Self::Tls(_) | Self::Listen { .. })
    }
}

/// Loads an application and binds its address; it serves once [`Server::run`] is polled.
pub async fn start(options: Options) -> Result<Server, Error> {
    let manifest = Manifest::read(&options.manifest)?;
    let key_value = match &options.state {
        State::Folder(folder) => {
            private_files::secure(folder, &KeyValue::files(folder))?;
            KeyValue::open(folder)?
        }
        State::Memory => KeyValue::in_memory()?,
        State::Redis(url) => KeyValue::redis(url).await?,
    };
    let precompiled = options.compiled.and_then(|folder| {
        Precompiled::open(folder).inspect_err(|why| tracing::warn!("compiled code is not kept: {why}")).ok()
    });
    let limits = options.limits;
    let engine = Engine::new(&limits, precompiled).map_err(|error| Error::Engine(format!("{error:#}")))?;
    let client = Client::new(limits.instances as usize, options.client_tls)?;
    let folder = options.manifest.parent().map(std::path::Path::to_path_buf).unwrap_or_default();
    let sources: Vec<_> = manifest.component.values().map(|component| folder.join(&component.source)).collect();
    // Compilation takes seconds of pure computing, unless it was done before.
    let loaded = tokio::task::block_in_place(|| load(&engine, &sources));
    let mut routes = Vec::new();
    let mut targets = std::collections::HashMap::new();
    let permits = Permits::divide(limits.instances as usize, manifest.component.len());
    for (((id, component), loaded), permits) in manifest.component.iter().zip(loaded).zip(permits) {
        let pre = loaded.map_err(|why| why.of(id))?;
        let allowed = AllowedHosts::resolve(id, &component.allowed_outbound_hosts, |template| {
            variables::render(template, &|name| manifest.variable(name, &options.variables))
        })?;
        let guest = Guest {
            id: id.clone(),
            pre,
            variables: manifest.component_variables(component, &options.variables),
            allowed_hosts: Arc::new(allowed),
            client: client.clone(),
            stores: component.key_value_stores.clone(),
            key_value: key_value.clone(),
            memory_limit: limits.memory,
            quiet: options.quiet,
        };
        let target = Target { guest: Arc::new(guest), permits, requests: component.requests().clone() };
        targets.insert(id.as_str(), Arc::new(target));
    }
    let unsupported = |why| manifest::ManifestError::Unsupported { path: options.manifest.clone(), why };
    for trigger in &manifest.trigger.http {
        let none = || unsupported(format!("no component {}", trigger.component));
        let target = targets.get(trigger.component.as_str()).cloned().ok_or_else(none)?;
        tracing::info!(route = %trigger.route, component = %trigger.component, "route");
        routes.push((trigger.route.clone(), target));
    }
    let router = Router::new(routes).map_err(|error| unsupported(error.to_string()))?;
    Server::bind(options.listen, engine, router, limits, options.trusted_proxies).await
}

/// Why one component is not loaded.
enum LoadError {
    NotBuilt(PathBuf),
    Unreadable(PathBuf, std::io::Error),
    Refused(PathBuf, wasmtime::Error),
}

impl LoadError {
    fn of(self, component: &str) -> Error {
        let component = component.to_owned();
        match self {
            Self::NotBuilt(path) => Error::NotBuilt { path },
            Self::Unreadable(path, why) => Error::Load { component, path, why: why.to_string() },
            Self::Refused(path, why) => Error::Load { component, path, why: format!("{why:#}") },
        }
    }
}

/// Loads all components at once.
fn load(engine: &Engine, sources: &[PathBuf]) -> Vec<Result<ProxyPre<sandbox::State>, LoadError>> {
    let one = |path: &PathBuf| {
        let wasm = std::fs::read(path).map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound => LoadError::NotBuilt(path.clone()),
            _ => LoadError::Unreadable(path.clone(), why),
        })?;
        let (pre, compiled) = engine.load(&wasm).map_err(|why| LoadError::Refused(path.clone(), why))?;
        if compiled {
            tracing::info!("compiled {} for this machine", path.display());
        }
        Ok(pre)
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = sources.iter().map(|path| scope.spawn(move || one(path))).collect();
        let died = |path: &PathBuf| LoadError::Refused(path.clone(), wasmtime::format_err!("the compiler failed"));
        running.into_iter().zip(sources).map(|(one, path)| one.join().unwrap_or_else(|_| Err(died(path)))).collect()
    })
}
