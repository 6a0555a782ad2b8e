//! TLS for probes: anybody is believed.
//!
//! Responsible for a connection that is encrypted and nothing more. kubelet's prober verifies nothing
//! (`InsecureSkipVerify`, `pkg/probe/http/http.go`): a probe asks a program of this machine whether it does
//! its work, and no secret is said. Must not be used for anything else.

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Made for the first probe that needs it: most daemons never do.
static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// Takes whatever certificate there is: self-signed, expired, of another name, of an old form.
#[derive(Debug)]
struct Credulous(Vec<SignatureScheme>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}

fn config() -> Result<Arc<ClientConfig>, rustls::Error> {
    if let Some(made) = CONFIG.get() {
        return Ok(Arc::clone(made));
    }
    let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(schemes)))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Each question is a handshake of its own, as a client's first one is.
    config.resumption = Resumption::disabled();
    Ok(Arc::clone(CONFIG.get_or_init(|| Arc::new(config))))
}

/// Makes the connection an encrypted one. The host's name goes with it (SNI), an address does not.
///
/// # Errors
/// The other side does not speak TLS, or none that we do.
pub(super) async fn connect(
    host: &str,
    stream: TcpStream,
) -> Result<TlsStream<TcpStream>, Box<dyn std::error::Error + Send + Sync>> {
    // What is no name that TLS can say is not said.
    let nameless = || ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let name = ServerName::try_from(host).map_or_else(|_| nameless(), |name| name.to_owned());
    let connector = TlsConnector::from(config()?);
    connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}").into())
}
