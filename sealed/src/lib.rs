//! Sealed tensors: a safetensors file inside a standard age file, signed by its sender.
//!
//! The safetensors format itself has no encryption, no signature and no access control, and a name may stand in it twice. Nothing is
//! claimed for a bare file: what follows holds for `model.safetensors.age`.
//!
//! * Only recipients read it; names, shapes and metadata are encrypted as well. Any age opens it.
//! * Nothing in it can be changed, cut, moved or swapped unnoticed: not by strangers (authenticated chunks), not by other recipients
//!   (signed digests of every tensor).
//! * It says for whom and for what it was made, under the sender's signature.
//!
//! What it deliberately does not do: take a key back. Whoever has once had an identity and the file has the contents, and can pass them
//! on; [`gate`] asks and records on machines that use this library, and nowhere else. Sizes and the number of recipients are visible.
//!
//! Where it sits: beside the path of a round. It depends on `common` alone, without network, async code, or randomness and clocks of its
//! own: both are arguments.
//!
//! | module | what it gives |
//! |---|---|
//! | [`mod@file`] | [`SealedWriter`], [`SealedFile`] |
//! | [`age`] | the container: header, payload, chunks |
//! | [`recipient`], [`keys`] | who may open; who signs |
//! | [`manifest`], [`grant`], [`sshsig`], [`trust`] | what is signed, in which form, and whose signatures count |
//! | [`rewrap`], [`registry`] | passing a file on, sealing it anew; recipients by name |
//! | [`gate`] | who is asked and who writes it down |

pub mod age;
pub mod entropy;
pub mod error;
pub mod file;
pub mod gate;
pub mod grant;
pub mod keys;
pub mod manifest;
pub mod recipient;
pub mod registry;
pub mod rewrap;
pub mod sshsig;
mod threads;
pub mod trust;

pub use entropy::Entropy;
pub use error::Error;
pub use file::{Declared, Opening, Outline, SealedFile, SealedWriter, Sender, TensorBuf, Verify};
pub use keys::{SshIdentity, SshPublic};
pub use manifest::{Manifest, Statement};
pub use recipient::{Fingerprint, Identity, Lock, Passphrase, Recipient};
pub use registry::Registry;
pub use rewrap::{Effect, Terms, reseal};
pub use trust::Trust;
