//! The certificates of pods, for mutual TLS: no certificate authority of Istio runs here. The agents read them from files
//! (`FILE_MOUNTED_CERTS`) and hand them to Envoy, as they hand out those of an authority.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};

/// The authority of this mesh.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Authority {
    fn make() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut root = CertificateParams::new(Vec::new())?;
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        root.distinguished_name.push(DnType::OrganizationName, "cluster.local");
        let text = root.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(root, key), root: text })
    }
}

/// Writes the key and the certificate of a service account, where the agent of a pod with this working directory finds
/// them.
pub(super) fn write(folder: &Path, namespace: &str, account: &str) -> Result<()> {
    static AUTHORITY: OnceLock<Result<Authority, String>> = OnceLock::new();
    let authority = AUTHORITY
        .get_or_init(|| Authority::make().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(anyhow::Error::msg)?;
    let identity = format!("spiffe://cluster.local/ns/{namespace}/sa/{account}");
    let key = KeyPair::generate()?;
    let mut certificate = CertificateParams::new(Vec::new())?;
    certificate.subject_alt_names.push(SanType::URI(identity.try_into()?));
    let certificate = certificate.signed_by(&key, &authority.issuer)?;
    let folder = folder.join("etc/certs");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("cert-chain.pem"), certificate.pem())?;
    fs::write(folder.join("key.pem"), key.serialize_pem())?;
    fs::write(folder.join("root-cert.pem"), &authority.root)?;
    Ok(())
}
