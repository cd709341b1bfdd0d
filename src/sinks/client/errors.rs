//! What went wrong on the way, in words for the operator.

use rustls::{AlertDescription, CertificateError, Error as TlsError};
use std::io;
use ureq::{Error, Timeout};

/// Says what kept a request from its answer. Shows nothing of what was sent.
pub(super) fn explain(error: Error) -> String {
    match error {
        Error::HostNotFound => "the host's name cannot be resolved".into(),
        Error::Timeout(timeout) => out_of_time(timeout).into(),
        Error::Io(error) => io_error(&error),
        Error::Rustls(error) => tls_error(&error),
        Error::LargeResponseHeader(..) => format!("the answer's head is over {} bytes", super::HEAD_MAX),
        Error::Protocol(error) => format!("the answer is no HTTP/1.1: {error}"),
        other => other.to_string(),
    }
}

fn out_of_time(timeout: Timeout) -> &'static str {
    match timeout {
        Timeout::Resolve => "the host's name was not resolved within `connect_timeout`",
        Timeout::Connect => "not connected within `connect_timeout`",
        _ => "no whole answer within `timeout`",
    }
}

fn io_error(error: &io::Error) -> String {
    if let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) {
        return tls_error(error);
    }
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            "the connection was broken before a whole answer had come".into()
        }
        io::ErrorKind::UnexpectedEof => "the connection was closed before a whole answer had come".into(),
        _ => error.to_string(),
    }
}

fn tls_error(error: &TlsError) -> String {
    let what = match error {
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is signed by nobody trusted here: name the authority in `tls.ca`".into()
        }
        TlsError::InvalidCertificate(
            why @ (CertificateError::Expired | CertificateError::ExpiredContext { .. }),
        ) => format!("its certificate has expired: {why}"),
        TlsError::InvalidCertificate(
            why @ (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }),
        ) => format!("its certificate is another host's: {why}"),
        TlsError::InvalidCertificate(why) => format!("its certificate is not valid: {why}"),
        TlsError::AlertReceived(AlertDescription::CertificateRequired) => {
            "it wants a client certificate: give one by `tls.cert` and `tls.key`".into()
        }
        TlsError::AlertReceived(AlertDescription::ProtocolVersion) => {
            "it does not speak TLS 1.2 or 1.3".into()
        }
        TlsError::AlertReceived(alert) => format!("it refuses us: {alert:?}"),
        TlsError::InvalidMessage(_) => "it does not speak TLS".into(),
        other => other.to_string(),
    };
    format!("TLS: {what}")
}
