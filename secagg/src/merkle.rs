//! Merkle trees over canonical leaves, in the shape of RFC 9162 (split at the largest power of two below the length).
//!
//! The kind of tree is part of every hash, so a leaf of one kind cannot stand in another. The number of leaves is always bound
//! elsewhere; leaves are whatever their owner makes of them. Source: protocol, section 3.

use crate::codec::{Digest, hash};
use crate::labels;

/// Which tree; its name is hashed into every leaf and node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tree {
    /// Roster entries, ascending id.
    Roster,
    /// Commit cores, ascending index.
    Cohort,
    /// Committed share pairs of one dealer, by holder position.
    Shares,
    /// Packed chunks of one upload.
    Chunks,
    /// Upload hashes of the survivors, ascending index.
    Uploads,
}

impl Tree {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Roster => b"roster",
            Self::Cohort => b"cohort",
            Self::Shares => b"shares",
            Self::Chunks => b"chunks",
            Self::Uploads => b"uploads",
        }
    }

    fn leaf(self, data: &[u8]) -> Digest {
        hash(labels::MERKLE_LEAF, &[self.name(), data])
    }

    fn node(self, left: &Digest, right: &Digest) -> Digest {
        hash(labels::MERKLE_NODE, &[self.name(), &left.0, &right.0])
    }

    /// Root over `leaves`; `None` for an empty tree, which the protocol refuses.
    pub fn root<L: AsRef<[u8]>>(self, leaves: &[L]) -> Option<Digest> {
        match leaves {
            [] => None,
            [only] => Some(self.leaf(only.as_ref())),
            _ => {
                let (left, right) = leaves.split_at(split(leaves.len()));
                Some(self.node(&self.root(left)?, &self.root(right)?))
            }
        }
    }

    /// Path from leaf `index` upwards; `None` when there is no such leaf.
    pub fn path<L: AsRef<[u8]>>(self, leaves: &[L], index: usize) -> Option<Vec<Digest>> {
        match leaves.len() {
            0 => None,
            1 => (index == 0).then(Vec::new),
            len => {
                let (left, right) = leaves.split_at(split(len));
                let (mut path, other) = if index < left.len() {
                    (self.path(left, index)?, right)
                } else {
                    (self.path(right, index - left.len())?, left)
                };
                path.push(self.root(other)?);
                Some(path)
            }
        }
    }

    /// Root implied by a leaf, its index, the number of leaves and its path; `None` if the path has the wrong length.
    pub fn root_from_path(
        self,
        leaf: &[u8],
        index: usize,
        size: usize,
        path: &[Digest],
    ) -> Option<Digest> {
        if index >= size {
            return None;
        }
        if size == 1 {
            return path.is_empty().then(|| self.leaf(leaf));
        }
        let (top, below) = path.split_last()?;
        let left = split(size);
        Some(if index < left {
            self.node(&self.root_from_path(leaf, index, left, below)?, top)
        } else {
            self.node(
                top,
                &self.root_from_path(leaf, index - left, size - left, below)?,
            )
        })
    }
}

/// Largest power of two below `len`, for `len` ≥ 2.
fn split(len: usize) -> usize {
    len.next_power_of_two() / 2
}
