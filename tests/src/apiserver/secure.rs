//! What stands before a real API server: TLS with a certificate authority of its own, client certificates, bearer tokens.
//!
//! A test makes an [`Authority`], lets the server listen with it, and says which tokens are good, at any time. Certificates
//! are made anew each time and written nowhere but where a test writes them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one, of that name.
    pub fn new(name: &str) -> Result<Authority> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?).context("making an authority")?;
        Ok(Authority { issuer })
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// What a client shows to be somebody.
    pub fn client(&self, name: &str) -> Result<Identity> {
        let (certificate, key) = self.issue(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// TLS for a server at that address.
    pub(crate) fn acceptor(&self, ip: IpAddr) -> Result<TlsAcceptor> {
        let (certificate, key) = self.issue("server", vec![ip.to_string()], ExtendedKeyUsagePurpose::ServerAuth)?;
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).context("trusting the authority")?;
        let provider = Arc::new(ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        // Who shows none must have a token.
        let clients = clients.allow_unauthenticated().build().context("checking clients' certificates")?;
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .context("making the server's TLS")?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn issue(
        &self,
        name: &str,
        addresses: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(rcgen::Certificate, KeyPair)> {
        let mut params = CertificateParams::new(addresses)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).with_context(|| format!("certifying {name}"))?;
        Ok((certificate, key))
    }
}

/// Who may ask a server that has TLS.
#[derive(Debug, Default)]
pub(crate) struct Tokens(pub(crate) BTreeSet<String>);

/// How a client has shown who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The server did not ask.
    None,
    /// A certificate.
    Certificate,
    /// This token.
    Token(String),
}

impl Tokens {
    /// What this client counts as; `None` where it may not ask.
    pub(crate) fn admit(&self, peer: Peer, authorization: &str) -> Option<Credential> {
        match peer {
            Peer::Plain => Some(Credential::None),
            Peer::Certified => Some(Credential::Certificate),
            Peer::Unknown => {
                let token = authorization.strip_prefix("Bearer ").filter(|token| self.0.contains(*token))?;
                Some(Credential::Token(token.to_owned()))
            }
        }
    }
}

/// What a connection says of its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// Without TLS anybody may ask.
    Plain,
    /// It has shown a certificate of the authority.
    Certified,
    /// It has shown none.
    Unknown,
}
