//! The certificate authority of one cluster and the TLS setting of its server. Keys live in memory
//! only, and only HTTP/1.1 is offered because WebSocket upgrades need it.

use std::sync::Arc;

use anyhow::Context;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The acceptor of a server and the certificate that its clients trust.
pub(crate) struct Identity {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority's certificate in PEM.
    pub(crate) authority: String,
}

/// Makes an authority and a certificate for `localhost` and 127.0.0.1.
pub(crate) fn identity() -> anyhow::Result<Identity> {
    let mut authority = CertificateParams::default();
    authority
        .distinguished_name
        .push(DnType::CommonName, "local-cluster-ca");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    let key = KeyPair::generate().context("failed to make the key of the authority")?;
    let issuer = CertifiedIssuer::self_signed(authority, key)
        .context("failed to make the certificate of the authority")?;

    let names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "kubernetes".to_owned(),
    ];
    let mut server = CertificateParams::new(names).context("failed to name the server")?;
    server
        .distinguished_name
        .push(DnType::CommonName, "local-cluster");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server_key = KeyPair::generate().context("failed to make the key of the server")?;
    let certificate = server
        .signed_by(&server_key, &issuer)
        .context("failed to sign the certificate of the server")?;

    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .context("failed to choose TLS versions")?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .context("failed to use the certificate of the server")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        authority: issuer.pem(),
    })
}
