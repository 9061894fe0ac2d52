//! The wire, and the format of journal entries: what the `.proto` files give, and its conversion to and from the types
//! that mean something.
//!
//! It stands between the network and everything that decides: a message is converted once, when it comes in, and nothing
//! behind that looks at a length again. It deliberately holds no logic beyond conversion, and nothing here is hashed or
//! signed, since protobuf bytes are not canonical.

/// Package `veilsum.v1` as generated from `proto/veilsum/v1` by `cargo xtask codegen`. Not edited by hand.
#[expect(
    missing_docs,
    reason = "a comment in a .proto file may stand for a group of fields"
)]
#[allow(clippy::all, unused_qualifications, reason = "generated")]
pub mod pb {
    include!("gen/veilsum.v1.rs");

    /// The descriptors of the package, encoded: what a reflection service shows.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("gen/veilsum.v1.binpb");
}

pub mod convert;
mod redacted;
