//! `Debug` of messages that hold secrets: lengths and ids, never content.
//!
//! The generator is told to leave these out (`xtask/src/codegen.rs`), so that a message that is logged or printed by a
//! failing assertion gives nothing away.

use std::fmt;

use crate::pb::{UnmaskList, UpdatePinned};

impl fmt::Debug for UnmaskList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            digest,
            position,
            present_bitmap,
            scalars,
            sig,
        } = self;
        f.debug_struct("UnmaskList")
            .field("digest_bytes", &digest.len())
            .field("position", position)
            .field("present_bitmap_bytes", &present_bitmap.len())
            .field("scalars", &"<redacted>")
            .field("scalars_bytes", &scalars.len())
            .field("sig_bytes", &sig.len())
            .finish()
    }
}

impl fmt::Debug for UpdatePinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            round,
            model_hash,
            roundcfg_hash,
            update,
            weight: _,
            meta_lanes,
        } = self;
        f.debug_struct("UpdatePinned")
            .field("round", round)
            .field("model_hash_bytes", &model_hash.len())
            .field("roundcfg_hash_bytes", &roundcfg_hash.len())
            .field("update", update)
            .field("weight", &"<redacted>")
            .field("meta_lanes", &"<redacted>")
            .field("meta_lanes_len", &meta_lanes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
