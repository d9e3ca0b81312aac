//! The secret that the processes of a cluster share, and the proof that a process knows it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use aws_lc_rs::hmac;

/// The shortest secret: somebody who records a handshake could find a shorter one by trying all.
const BYTES_MIN: usize = 16;
const FILE_BYTES_MAX: u64 = 4096;
/// Length of a proof, which is an HMAC-SHA-256.
pub const PROOF_BYTES: usize = 32;

/// A key for HMAC-SHA-256. It is never printed.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl Secret {
    /// Reads the secret in the file `path`, without leading and trailing white space.
    ///
    /// # Errors
    /// If the file cannot be read, or is too long, or the secret is too short.
    pub fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let bytes = std::fs::metadata(path)?.len();
            ensure!(bytes <= FILE_BYTES_MAX, "it has {bytes} bytes, and a secret has {FILE_BYTES_MAX} at most");
            Self::new(std::fs::read(path)?.trim_ascii())
        };
        read().with_context(|| format!("cannot use the secret in {}", path.display()))
    }

    fn new(bytes: &[u8]) -> Result<Self> {
        ensure!(
            bytes.len() >= BYTES_MIN,
            "it has {} bytes, and needs {BYTES_MIN} at least: `openssl rand -hex 32` makes a good one",
            bytes.len()
        );
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// Proof that we know the secret: the HMAC of our `role` and of the `transcript`, the hellos of both
    /// ends. The role is part of it so that the other end cannot send our proof back as its own.
    pub fn prove(&self, role: &str, transcript: &[u8]) -> [u8; PROOF_BYTES] {
        let mut proof = [0; PROOF_BYTES];
        proof.copy_from_slice(hmac::sign(&self.0, &message(role, transcript)).as_ref());
        proof
    }

    /// Whether `proof` is that of a process that knows the secret and has this `role`. Compares in
    /// constant time.
    pub fn is_proved(&self, role: &str, transcript: &[u8], proof: &[u8]) -> bool {
        hmac::verify(&self.0, &message(role, transcript), proof).is_ok()
    }
}

fn message(role: &str, transcript: &[u8]) -> Vec<u8> {
    [role.as_bytes(), b"\0", transcript].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_good_for_one_role_one_exchange_and_one_secret() {
        let [secret, other] = [b"0123456789abcdef", b"0123456789abcdeF"].map(|bytes| Secret::new(bytes).unwrap());
        let proof = secret.prove("accept", b"nonces");
        assert!(secret.is_proved("accept", b"nonces", &proof));
        assert!(!secret.is_proved("connect", b"nonces", &proof));
        assert!(!secret.is_proved("accept", b"Nonces", &proof));
        assert!(!other.is_proved("accept", b"nonces", &proof));
        assert!(!secret.is_proved("accept", b"nonces", &proof[..31]));
    }

    #[test]
    fn white_space_around_it_does_not_count_and_short_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "  0123456789abcdef\n").unwrap();
        let proof = Secret::read(&path).unwrap().prove("accept", b"");
        assert!(Secret::new(b"0123456789abcdef").unwrap().is_proved("accept", b"", &proof));
        std::fs::write(&path, "0123456789abcde\n").unwrap();
        let message = format!("{:#}", Secret::read(&path).err().unwrap());
        assert!(message.contains("15 bytes") && message.contains("secret"), "{message}");
    }
}
