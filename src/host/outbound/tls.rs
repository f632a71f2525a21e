//! Whose certificates are believed.
//!
//! By default the system's roots, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name instead, as for OpenSSL and curl.
//! Where a system has none at all, as in an empty container, Mozilla's list that is built in stands in for them. The
//! runtime configuration may say otherwise for some components and hosts, in Spin's words (`client_tls`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use thiserror::Error;

/// Certificates that cannot be used.
#[derive(Debug, Error)]
pub enum TlsError {
    /// What the environment names has none.
    #[error("SSL_CERT_FILE or SSL_CERT_DIR names no usable certificate: {0}")]
    Environment(String),
    /// A file of the runtime configuration.
    #[error("{path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// An entry of the runtime configuration that says too little.
    #[error("client_tls: {0}")]
    Entry(&'static str),
    /// A certificate or key that the TLS library refuses.
    #[error("client_tls: {0}")]
    Refused(#[from] rustls::Error),
}

/// One `[[client_tls]]` of the runtime configuration, as Spin has it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    component_ids: Vec<String>,
    hosts: Vec<String>,
    ca_use_platform_roots: Option<bool>,
    ca_use_webpki_roots: Option<bool>,
    ca_roots_file: Option<PathBuf>,
    client_cert_file: Option<PathBuf>,
    client_private_key_file: Option<PathBuf>,
}

impl ClientTls {
    /// Whether it is for this component and host; this program's own requests are as any component's.
    pub(super) fn is_for(&self, component: Option<&str>, host: &str) -> bool {
        component.is_none_or(|component| self.component_ids.iter().any(|id| id == component))
            && self.hosts.iter().any(|named| named.eq_ignore_ascii_case(host))
    }

    /// Its files are seen from there.
    pub fn seen_from(mut self, folder: &Path) -> Self {
        for file in [&mut self.ca_roots_file, &mut self.client_cert_file, &mut self.client_private_key_file] {
            *file = file.take().map(|file| folder.join(file));
        }
        self
    }

    pub(super) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if self.component_ids.is_empty() || self.hosts.is_empty() {
            return Err(TlsError::Entry("component_ids and hosts may not be empty"));
        }
        let mut roots = RootCertStore::empty();
        // Unless something is said, the system's where no file is named.
        let nothing_said = self.ca_use_platform_roots.is_none() && self.ca_use_webpki_roots.is_none();
        if self.ca_use_platform_roots.unwrap_or(nothing_said && self.ca_roots_file.is_none()) {
            roots = system_roots()?;
        }
        if self.ca_use_webpki_roots == Some(true) {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if let Some(file) = &self.ca_roots_file {
            let (added, _) = roots.add_parsable_certificates(certificates(file)?);
            if added == 0 {
                return Err(TlsError::File { path: file.clone(), why: "it has no certificate".to_owned() });
            }
        }
        if roots.is_empty() {
            return Err(TlsError::Entry("no roots are left: nothing could be reached"));
        }
        let config = builder()?.with_root_certificates(roots);
        let config = match (&self.client_cert_file, &self.client_private_key_file) {
            (Some(chain), Some(key)) => {
                let read = PrivateKeyDer::from_pem_file(key);
                let read = read.map_err(|why| TlsError::File { path: key.clone(), why: why.to_string() })?;
                config.with_client_auth_cert(certificates(chain)?, read)?
            }
            (None, None) => config.with_no_client_auth(),
            _ => return Err(TlsError::Entry("client_cert_file and client_private_key_file go together")),
        };
        Ok(Arc::new(config))
    }
}

/// What holds where nothing else is said.
pub(super) fn default_config() -> Result<Arc<ClientConfig>, TlsError> {
    Ok(Arc::new(builder()?.with_root_certificates(system_roots()?).with_no_client_auth()))
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|why| TlsError::File { path: file.to_path_buf(), why: why.to_string() })
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
        if named {
            let why = found.errors.first().map_or_else(|| "they are empty".to_owned(), ToString::to_string);
            return Err(TlsError::Environment(why));
        }
        tracing::warn!("this system has no root certificates: those that are built in are used");
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> ClientTls {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn an_entry_is_for_its_components_and_hosts() {
        let entry = entry("component_ids = ['a']\nhosts = ['Host.example']");
        assert!(entry.is_for(Some("a"), "host.example") && entry.is_for(None, "host.example"));
        assert!(!entry.is_for(Some("b"), "host.example") && !entry.is_for(Some("a"), "example"));
    }

    #[test]
    fn an_entry_that_says_too_little_is_refused() {
        for (text, named) in [
            ("component_ids = []\nhosts = ['h']", "component_ids"),
            ("component_ids = ['a']\nhosts = ['h']\nca_use_webpki_roots = false", "no roots"),
            ("component_ids = ['a']\nhosts = ['h']\nca_roots_file = '/no/such'", "/no/such"),
            ("component_ids = ['a']\nhosts = ['h']\nca_use_webpki_roots = true\nclient_cert_file = 'x'", "go together"),
        ] {
            let error = entry(text).config().unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
        assert!(entry("component_ids = ['a']\nhosts = ['h']\nca_use_webpki_roots = true").config().is_ok());
    }
}
