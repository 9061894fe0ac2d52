//! A checkpoint's bytes, by position: what reads them is the edge's business.

/// Why bytes could not be read, in the words of whoever reads them.
pub type Unread = Box<dyn std::error::Error + Send + Sync>;

/// Bytes that can be read anywhere, in any order; nothing is kept of them here, so that a model may be larger than memory.
pub trait Source: Sync {
    /// How many there are. It does not change.
    fn len_bytes(&self) -> u64;

    /// Fills `out` with the bytes from `offset` on.
    ///
    /// # Errors
    /// Of the operating system; or there are not so many bytes, which means that the file was cut short since it was opened.
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<(), Unread>;
}

impl Source for &[u8] {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<(), Unread> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = self.get(start..).and_then(|from| from.get(..out.len()));
        out.copy_from_slice(found.ok_or("there are not so many bytes")?);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn len_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> Result<(), Unread> {
        self.as_slice().read_exact_at(out, offset)
    }
}
