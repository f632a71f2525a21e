//! Why a request got no answer: found in the chain of what the libraries below say, because each of them wraps the cause
//! in an error of its own.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use hyper_util::client::legacy;
use rustls::{AlertDescription, CertificateError};
use wasmtime_wasi_http::Error;

use super::connector::{ProxyError, Unresolved};

/// What a request met instead of an answer. Its text is for people, and holds no secret.
#[derive(Debug)]
pub struct Failure {
    cause: Cause,
    host: String,
}

#[derive(Debug)]
enum Cause {
    Late,
    Unknown(String),
    Refused,
    Unreachable(String),
    Ended,
    Issuer,
    Expired,
    NotYetValid,
    OtherName,
    Certificate(String),
    Alert(AlertDescription),
    NoTls(String),
    Proxy(String),
    Other(String),
}

impl Failure {
    /// Whether the other side was too slow.
    pub fn is_late(&self) -> bool {
        matches!(self.cause, Cause::Late)
    }

    pub(super) fn late() -> Self {
        Self { cause: Cause::Late, host: String::new() }
    }

    pub(super) fn of(host: &str, error: &legacy::Error) -> Self {
        let mut cause = None;
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = next {
            // What is further down is nearer to the cause.
            cause = Cause::of(error).or(cause);
            if cause.as_ref().is_some_and(Cause::is_final) {
                break;
            }
            next = match error.downcast_ref::<io::Error>() {
                // Its source is that of what it holds, which would be left out.
                Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
                None => error.source(),
            };
        }
        Self { cause: cause.unwrap_or_else(|| Cause::Other(error.to_string())), host: host.to_owned() }
    }

    /// What a guest is told.
    pub(super) fn code(self) -> Error {
        match self.cause {
            Cause::Late => Error::ConnectionReadTimeout,
            Cause::Unknown(why) => Error::DnsError { rcode: Some(why), info_code: None },
            Cause::Refused => Error::ConnectionRefused,
            Cause::Unreachable(_) => Error::DestinationUnavailable,
            Cause::Ended => Error::ConnectionTerminated,
            Cause::Issuer | Cause::Expired | Cause::NotYetValid | Cause::OtherName | Cause::Certificate(_) => {
                Error::TlsCertificateError
            }
            Cause::Alert(alert) => {
                Error::TlsAlertReceived { alert_id: Some(alert.into()), alert_message: Some(format!("{alert:?}")) }
            }
            Cause::NoTls(_) => Error::TlsProtocolError,
            // There is no code for it; this one has room for the reason.
            Cause::Proxy(why) | Cause::Other(why) => Error::InternalError(Some(why)),
        }
    }
}

impl Cause {
    /// What one error of the chain says.
    fn of(error: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref::<ProxyError>() {
            return Some(Self::Proxy(error.to_string()));
        }
        if let Some(error) = error.downcast_ref::<rustls::Error>() {
            return Some(Self::of_tls(error));
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(Self::of_io(error));
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return (error.is_incomplete_message() || error.is_canceled() || error.is_closed()).then_some(Self::Ended);
        }
        error.downcast_ref::<Unresolved>().map(|error| Self::Unknown(error.to_string()))
    }

    fn of_io(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::TimedOut => Self::Late,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
                Self::Unreachable(error.to_string())
            }
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Other(error.to_string()),
        }
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(why) => match why {
                // The second is an issuer of the same name with another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::Issuer,
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                other => Self::Certificate(other.to_string()),
            },
            rustls::Error::AlertReceived(alert) => Self::Alert(*alert),
            other => Self::NoTls(other.to_string()),
        }
    }

    /// Whether nothing further down can tell more.
    fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Proxy(_)
                | Self::Unknown(_)
                | Self::Issuer
                | Self::Expired
                | Self::NotYetValid
                | Self::OtherName
                | Self::Certificate(_)
                | Self::Alert(_)
                | Self::NoTls(_)
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match &self.cause {
            Cause::Late => f.write_str("no answer in time"),
            Cause::Unknown(why) => write!(f, "the name {host} cannot be resolved ({why})"),
            Cause::Refused => f.write_str("the connection was refused"),
            Cause::Unreachable(why) => write!(f, "{host} cannot be reached: {why}"),
            Cause::Ended => f.write_str("the connection ended before there was an answer"),
            Cause::Issuer => write!(
                f,
                "TLS: the certificate of {host} is by an issuer that is not trusted here; a private CA belongs into the \
                 system's certificates, or into a file that SSL_CERT_FILE names"
            ),
            Cause::Expired => write!(f, "TLS: the certificate of {host} has expired"),
            Cause::NotYetValid => {
                write!(f, "TLS: the certificate of {host} is not valid yet, or the clock of this machine is behind")
            }
            Cause::OtherName => write!(f, "TLS: the certificate is for another name than {host}"),
            Cause::Certificate(why) => write!(f, "TLS: the certificate of {host} is not accepted: {why}"),
            Cause::Alert(alert) => write!(f, "TLS: {host} ended the handshake with the alert {alert:?}"),
            Cause::NoTls(why) => write!(f, "TLS: {host} does not speak it as it should: {why}"),
            Cause::Proxy(why) | Cause::Other(why) => f.write_str(why),
        }
    }
}

impl StdError for Failure {}
