//! Sets of roster members: bit i is bit (i mod 8), least significant first, of byte ⌊i/8⌋; unused bits are zero.
//!
//! Source: protocol, section 3.

use core::fmt;

/// A set of roster indices. Its canonical bytes are bound by hashes, so there is exactly one form of each set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bitmap {
    size: u32,
    bytes: Vec<u8>,
}

/// Why bytes are not a set over this roster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BitmapError {
    /// The number of bytes does not fit the roster.
    #[error("a set over {size} members takes {need} bytes, found {have}")]
    Length {
        /// Members of the roster.
        size: u32,
        /// Bytes found.
        have: usize,
        /// Bytes required.
        need: usize,
    },
    /// A bit beyond the roster is set.
    #[error("a bit beyond the {size} members of the roster is set")]
    UnusedBits {
        /// Members of the roster.
        size: u32,
    },
}

impl Bitmap {
    /// The empty set over a roster of `size`.
    pub fn empty(size: u32) -> Self {
        Self {
            size,
            bytes: vec![0; bytes_for(size)],
        }
    }

    /// Every member of a roster of `size`.
    pub fn full(size: u32) -> Self {
        Self::of(size, 0..size)
    }

    /// The set of `members`; indices beyond the roster are our own bug.
    pub fn of(size: u32, members: impl IntoIterator<Item = u32>) -> Self {
        let mut set = Self::empty(size);
        members.into_iter().for_each(|member| set.insert(member));
        set
    }

    /// Parses canonical bytes.
    ///
    /// # Errors
    /// [`BitmapError`] if the length does not fit or an unused bit is set.
    pub fn parse(size: u32, bytes: &[u8]) -> Result<Self, BitmapError> {
        let need = bytes_for(size);
        if bytes.len() != need {
            return Err(BitmapError::Length {
                size,
                have: bytes.len(),
                need,
            });
        }
        let spare = need * 8 - size as usize;
        if spare > 0 && bytes[need - 1] >> (8 - spare) != 0 {
            return Err(BitmapError::UnusedBits { size });
        }
        Ok(Self {
            size,
            bytes: bytes.to_vec(),
        })
    }

    /// Adds a member.
    ///
    /// # Panics
    /// If `member` is beyond the roster: our own bug, since indices are checked where they come in.
    pub fn insert(&mut self, member: u32) {
        assert!(
            member < self.size,
            "member {member} of a roster of {}",
            self.size
        );
        self.bytes[member as usize / 8] |= 1 << (member % 8);
    }

    /// Takes a member out.
    pub fn remove(&mut self, member: u32) {
        if member < self.size {
            self.bytes[member as usize / 8] &= !(1 << (member % 8));
        }
    }

    /// Whether `member` is in the set.
    pub fn contains(&self, member: u32) -> bool {
        member < self.size && self.bytes[member as usize / 8] >> (member % 8) & 1 == 1
    }

    /// Members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.size).filter(|&member| self.contains(member))
    }

    /// Number of members.
    pub fn count(&self) -> u32 {
        self.bytes.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Place of `member` among the members of the set, from 0.
    pub fn rank(&self, member: u32) -> Option<u32> {
        self.contains(member).then(|| {
            self.iter()
                .take_while(|&other| other < member)
                .map(|_| 1)
                .sum()
        })
    }

    /// Whether every member of `self` is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.size == other.size
            && self
                .bytes
                .iter()
                .zip(&other.bytes)
                .all(|(a, b)| a & !b == 0)
    }

    /// Size of the roster the set is over.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Bitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

fn bytes_for(size: u32) -> usize {
    (size as usize).div_ceil(8)
}
