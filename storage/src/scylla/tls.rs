//! TLS to the nodes.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The authorities in a file, or a sentence.
pub(super) fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let unreadable = |error: rustls::pki_types::pem::Error| format!("{} can not be read: {error}", file.display());
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
        let added = authorities.add(certificate.map_err(unreadable)?);
        added.map_err(|error| format!("{} holds no certificate: {error}", file.display()))?;
    }
    if authorities.is_empty() {
        return Err(format!("{} holds no certificate", file.display()));
    }
    Ok(authorities)
}

/// TLS with nodes whose certificates these authorities have signed.
///
/// The crypto library is named: which one is the default depends on what else is in the build.
pub(super) fn client(authorities: RootCertStore) -> Result<Arc<ClientConfig>, rustls::Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let config = builder.with_safe_default_protocol_versions()?.with_root_certificates(authorities);
    Ok(Arc::new(config.with_no_client_auth()))
}
