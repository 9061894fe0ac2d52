//! Bech32 without its limit of length: a post-quantum recipient has 1,959 characters.
//!
//! Source: BIP 173; age's page on conventions. All lower or all upper case; the checksum is over the lower case.

use bech32::primitives::decode::CheckedHrpstring;
use bech32::{Bech32, Checksum, Hrp};
use zeroize::Zeroizing;

use crate::error::Error;

/// Bech32 that only gives up its promise of finding errors in longer texts.
struct Long;

impl Checksum for Long {
    type MidstateRepr = <Bech32 as Checksum>::MidstateRepr;
    type CorrectionField = <Bech32 as Checksum>::CorrectionField;

    const ROOT_GENERATOR: Self::CorrectionField = Bech32::ROOT_GENERATOR;
    const ROOT_EXPONENTS: core::ops::RangeInclusive<usize> = Bech32::ROOT_EXPONENTS;
    const CODE_LENGTH: usize = 4096;
    const CHECKSUM_LENGTH: usize = Bech32::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32::TARGET_RESIDUE;
}

/// The `N` bytes of a text with this prefix.
///
/// # Errors
/// [`Error::Key`]: mistyped, of another kind or length. The text is not quoted, since it may be a secret.
pub(crate) fn decode<const N: usize>(
    text: &str,
    prefix: &str,
) -> Result<Box<Zeroizing<[u8; N]>>, Error> {
    let wrong = || Error::Key("a key is mistyped or cut: its checksum does not fit");
    let parsed = CheckedHrpstring::new::<Long>(text).map_err(|_| wrong())?;
    let right = parsed.hrp().as_str().eq_ignore_ascii_case(prefix);
    if !right || parsed.validate_segwit_padding().is_err() {
        return Err(wrong());
    }
    let mut bytes = Box::new(Zeroizing::new([0; N]));
    let mut places = bytes.iter_mut();
    let mut found = parsed.byte_iter();
    for place in places.by_ref() {
        *place = found.next().ok_or_else(wrong)?;
    }
    if found.next().is_some() {
        return Err(wrong());
    }
    Ok(bytes)
}

/// The text, in lower case.
pub(crate) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let prefix = Hrp::parse(prefix).expect("our prefixes are valid");
    bech32::encode_lower::<Long>(prefix, bytes).expect("keys are shorter than the code")
}
