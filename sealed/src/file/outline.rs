//! What a file shows without a key.

use veilsum_common::model::Source;

use crate::age::header::Header;
use crate::error::Error;
use crate::grant;

/// What can be said of a file without a key, none of it proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Kinds of the stanzas, in their order.
    pub stanzas: Vec<String>,
    /// Length of the age header.
    pub header_bytes: u64,
    /// Length of the file.
    pub file_bytes: u64,
    /// Whether a grant was added to it.
    pub granted: bool,
}

impl Outline {
    /// Reads the age header.
    ///
    /// # Errors
    /// [`Error`]: it is no age file, or a damaged one.
    pub fn read(source: &dyn Source) -> Result<Self, Error> {
        let (age, header_bytes) = Header::read(source)?;
        let kinds = age.stanzas.iter().map(|stanza| stanza.kind().to_owned());
        Ok(Self {
            granted: age.stanzas.iter().any(|one| one.kind() == grant::KIND),
            stanzas: kinds.collect(),
            header_bytes,
            file_bytes: source.len_bytes(),
        })
    }
}
