//! The listener's certificate and key.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::{self, ConfigError, Tls};

fn named(path: &Path, error: &dyn std::fmt::Display) -> ConfigError {
    config::invalid("tls", format!("{}: {error}", path.display()))
}

/// A file that cannot be read comes with the advice of any other one.
fn unread(path: &Path, error: pem::Error) -> ConfigError {
    match error {
        pem::Error::Io(error) => {
            let unreadable = ConfigError::Unreadable { path: path.to_owned(), error };
            config::invalid("tls", unreadable.to_string())
        }
        error => named(path, &error),
    }
}

/// Reads certificate and key.
pub(crate) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ConfigError> {
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect)
        .map_err(|error| unread(&tls.certificate, error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unread(&tls.key, error))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(|error| named(&tls.certificate, &error))?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_what_helps() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(&certificate, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let tls = Tls { certificate, key };
        assert!(acceptor(&tls).is_ok());
        let read = |path: &Path| {
            let error = pem::Error::Io(std::io::ErrorKind::PermissionDenied.into());
            unread(path, error).to_string()
        };
        let said = read(&tls.key);
        assert!(said.starts_with("tls: cannot read ") && said.contains("chmod 0640"), "{said}");
        std::fs::write(&tls.key, "no key").unwrap();
        let said = acceptor(&tls).map(|_| ()).unwrap_err().to_string();
        assert!(said.starts_with("tls: /") && said.contains("key.pem"), "{said}");
    }
}
