//! Tokens (RFC 7519) of an issuer that tests play.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The issuer.
pub const ISSUER: &str = "https://login.example.com";

/// The keys of an issuer.
#[derive(Debug)]
pub enum Keys {
    /// A secret of at most 64 bytes, for HS256.
    Secret(&'static [u8]),
    /// A key pair, for ES256.
    Pair(Box<KeyPair>),
}

impl Keys {
    /// A new key pair.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn pair() -> anyhow::Result<Self> {
        Ok(Self::Pair(Box::new(KeyPair::generate()?)))
    }

    /// What verifies the tokens, as a JSON Web Key Set (RFC 7517).
    #[must_use]
    pub fn set(&self) -> Value {
        let key = match self {
            Self::Secret(secret) => {
                json!({"kty": "oct", "alg": "HS256", "kid": "1", "k": base64url(secret)})
            }
            Self::Pair(pair) => {
                // A byte for the format of the point, then its coordinates.
                let (x, y) = pair.public_key_raw().get(1..65).unwrap_or_default().split_at(32);
                json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "1",
                    "x": base64url(x), "y": base64url(y)})
            }
        };
        json!({"keys": [key]})
    }

    /// The value of `authorization` with these claims beside those of the issuer, which they may replace.
    #[must_use]
    pub fn bearer(&self, claims: &Value) -> String {
        let mut all = json!({"iss": ISSUER, "exp": 4_000_000_000_u64});
        if let (Some(all), Some(claims)) = (all.as_object_mut(), claims.as_object()) {
            all.extend(claims.clone());
        }
        let algorithm = if matches!(self, Self::Pair(_)) { "ES256" } else { "HS256" };
        let header = json!({"alg": algorithm, "kid": "1", "typ": "JWT"});
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(&header), part(&all));
        let signature = match self {
            Self::Secret(secret) => hmac(secret, signed.as_bytes()),
            Self::Pair(pair) => raw(&pair.sign(signed.as_bytes()).unwrap_or_default()),
        };
        format!("Bearer {signed}.{}", base64url(&signature))
    }
}

fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// HMAC (RFC 2104) with SHA-256, for keys of at most 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = key.to_vec();
    block.resize(64, 0);
    let hash = |pad: u8, message: &[u8]| {
        let key: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
        Sha256::digest([&key, message].concat()).to_vec()
    };
    hash(0x5c, &hash(0x36, message))
}

/// The two numbers of an ECDSA signature in DER (RFC 3279), as a token has them (RFC 7518, 3.4).
fn raw(der: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    let mut rest = der.get(2..).unwrap_or_default();
    while let Some((&[_, length], after)) = rest.split_first_chunk::<2>() {
        let (number, after) = after.split_at(usize::from(length).min(after.len()));
        let significant = number.get(number.len().saturating_sub(32)..).unwrap_or_default();
        raw.resize(raw.len() + 32 - significant.len(), 0);
        raw.extend(significant);
        rest = after;
    }
    raw
}
