//! Reading certificates and keys from PEM files (RFC 7468), with errors that name the file.

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longest file read, in bytes: the bundles that systems ship are a fifth of it.
const FILE_MAX: u64 = 1 << 20;

/// The bytes of the file at `path`.
///
/// Errors: it cannot be read, or is longer than a file of certificates ever is.
pub fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("{} has more than {FILE_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

/// All certificates of `pem`, the content of the file at `path`, in its order.
///
/// Errors: there is none, or one is damaged.
pub fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(format!(
            "{} holds no certificate: expected PEM, `-----BEGIN CERTIFICATE-----`",
            path.display()
        )),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{} holds a damaged certificate: {error}", path.display())),
    }
}

/// The first private key of `pem`, the content of the file at `path`: PKCS#8, PKCS#1 (RSA) or SEC1 (EC).
///
/// Errors: there is none, it is damaged, or it is encrypted.
pub fn private_key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let path = path.display();
        let encrypted = String::from_utf8_lossy(pem).contains("BEGIN ENCRYPTED PRIVATE KEY");
        match error {
            _ if encrypted => format!(
                "{path} holds an encrypted key, and nobody is here to type its password: decrypt it with `openssl \
                 pkey -in {path}` and protect the file by its mode"
            ),
            pem::Error::NoItemsFound => {
                format!("{path} holds no private key: expected PEM, `-----BEGIN PRIVATE KEY-----`")
            }
            error => format!("{path} holds a damaged private key: {error}"),
        }
    })
}

/// A store of the certificates of `pem`, the content of the file at `path`, as those to trust.
///
/// Errors: as of [`certificates`], or one of them cannot be a root.
pub fn roots(pem: &[u8], path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem, path)? {
        roots.add(certificate).map_err(|error| {
            format!("{} holds a certificate that cannot be trusted: {error}", path.display())
        })?;
    }
    Ok(roots)
}
