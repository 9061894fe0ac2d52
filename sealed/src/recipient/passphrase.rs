//! Passphrases, stretched by scrypt. Source: <https://c2sp.org/age>, section "The scrypt recipient type"; RFC 7914.

use data_encoding::BASE64_NOPAD;
use scrypt::Params;
use veilsum_common::limits::MAX_SCRYPT_LOG_N;
use zeroize::Zeroizing;

use super::{Addressed, decoded, expect};
use crate::age::FileKey;
use crate::age::header::Stanza;
use crate::entropy::{Entropy, draw};
use crate::error::Error;

/// A passphrase and the work that guessing it is to cost.
pub struct Passphrase {
    text: Zeroizing<String>,
    log_n: u8,
}

impl Passphrase {
    /// With the usual work: 2^18, about a second and 256 MiB.
    pub fn new(text: Zeroizing<String>) -> Self {
        Self {
            text,
            log_n: DEFAULT_LOG_N,
        }
    }

    /// With work of 2^`log_n`, from 1 to what we open ourselves.
    pub fn with_work(text: Zeroizing<String>, log_n: u8) -> Self {
        Self {
            text,
            log_n: log_n.clamp(1, MAX_SCRYPT_LOG_N),
        }
    }

    pub(super) fn wrap(&self, file_key: &FileKey, entropy: &mut dyn Entropy) -> Stanza {
        let salt = draw::<SALT_BYTES>(entropy);
        let body = file_key.wrapped(&self.wrap_key(&salt, self.log_n));
        let salt = BASE64_NOPAD.encode(&salt[..]);
        Stanza::new(&[KIND, &salt, &self.log_n.to_string()], body)
    }

    pub(super) fn unwrap(&self, stanza: &Stanza) -> Result<Option<FileKey>, Error> {
        let Some(Addressed { arguments, body }) = expect::<2>(stanza, KIND)? else {
            return Ok(None);
        };
        let [salt, log_n] = arguments;
        let salt = decoded(salt, KIND)?;
        let log_n = work(log_n)?;
        Ok(FileKey::unwrapped(&self.wrap_key(&salt, log_n), body))
    }

    /// `scrypt(N = work factor, r = 8, p = 1, dkLen = 32, S = "age-encryption.org/v1/scrypt" || salt, P = passphrase)`
    fn wrap_key(&self, salt: &[u8; SALT_BYTES], log_n: u8) -> Zeroizing<[u8; 32]> {
        let salt = [LABEL, salt].concat();
        let params = Params::new(log_n, 8, 1).expect("the work is within its bounds");
        let mut key = Zeroizing::new([0; 32]);
        scrypt::scrypt(self.text.as_bytes(), &salt, &params, &mut key[..])
            .expect("32 bytes are a length that scrypt gives");
        key
    }
}

/// A decimal number without a leading zero, within the bound on memory.
fn work(word: &str) -> Result<u8, Error> {
    let digits = word.bytes().all(|b| b.is_ascii_digit());
    if !digits || word.is_empty() || word.starts_with('0') {
        return Err(Error::Stanza {
            kind: KIND,
            what: "its work factor is not a number",
        });
    }
    let log_n = word.parse().ok().filter(|n| *n <= MAX_SCRYPT_LOG_N);
    log_n.ok_or(Error::WorkFactor {
        limit: MAX_SCRYPT_LOG_N,
    })
}

pub(super) const KIND: &str = "scrypt";
const LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const SALT_BYTES: usize = 16;
/// What age uses: about a second on a laptop.
const DEFAULT_LOG_N: u8 = 18;
