//! Who masks with whom. Silo: everybody with everybody.
//!
//! The graph is a value, so that a sparse public graph can stand here without a change elsewhere. Who holds shares is not here: in silo
//! the announcement lists them ([`crate::context::Attempt`]). Source: protocol, section 6.5.

use crate::bitmap::Bitmap;

/// The mask graph of one epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MaskGraph {
    /// All pairs of a roster of this size.
    Complete {
        /// Members of the roster.
        members: u32,
    },
}

impl MaskGraph {
    /// Neighbours of `member`, ascending.
    pub fn neighbours(&self, member: u32) -> impl Iterator<Item = u32> + use<> {
        let Self::Complete { members } = *self;
        (0..members).filter(move |&other| other != member)
    }

    /// Neighbours of `member` in the whole roster.
    pub fn degree(&self, member: u32) -> u32 {
        let Self::Complete { members } = *self;
        if member < members { members - 1 } else { 0 }
    }

    /// Neighbours of `member` that are in `set`.
    pub fn alive(&self, member: u32, set: &Bitmap) -> u32 {
        let Self::Complete { .. } = *self;
        set.count() - u32::from(set.contains(member))
    }
}
