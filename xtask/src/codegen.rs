//! Rust code from the .proto files, in pure Rust: no protoc, no build script.
//!
//! The result is committed, so that a reader sees what is compiled and nobody needs a generator to build;
//! `xtask/tests/codegen_in_step.rs` compares it with what the .proto files give.

use std::fs;
use std::path::{Path, PathBuf};

use protox::prost_reflect::prost_types::FileDescriptorSet;

use crate::Error;

/// The files of package `veilsum.v1`, relative to `proto/`.
pub const PROTO_FILES: [&str; 5] = [
    "veilsum/v1/types.proto",
    "veilsum/v1/participant.proto",
    "veilsum/v1/run.proto",
    "veilsum/v1/journal.proto",
    "veilsum/v1/fault.proto",
];

/// The one file they give, relative to the workspace.
pub const GENERATED: &str = "proto/src/gen/veilsum.v1.rs";

/// Long byte strings: shared rather than copied on their way through the program.
const SHARED_BYTES: [&str; 2] = [".veilsum.v1.BlobChunk.data", ".veilsum.v1.UploadPiece.data"];

/// Messages that hold secrets: their `Debug` is written by hand in `proto` and shows lengths only.
const SECRET: [&str; 2] = [".veilsum.v1.UnmaskList", ".veilsum.v1.UpdatePinned"];

/// Compiles the .proto files, comments and positions included.
///
/// # Errors
/// If they do not compile.
pub fn descriptors(root: &Path) -> Result<FileDescriptorSet, Error> {
    Ok(protox::compile(PROTO_FILES, [root.join("proto")])?)
}

/// The generated code, formatted.
///
/// # Errors
/// If the .proto files do not compile, or there is no place for temporary files.
pub fn generate(root: &Path) -> Result<String, Error> {
    let folder = tempfile::tempdir().map_err(Error::Generate)?;
    let mut builder = tonic_prost_build::configure()
        .out_dir(folder.path())
        .emit_rerun_if_changed(false)
        .btree_map(".")
        .skip_debug(SECRET);
    for path in SHARED_BYTES {
        builder = builder.bytes(path);
    }
    builder
        .compile_fds(descriptors(root)?)
        .map_err(Error::Generate)?;
    read(&folder.path().join("veilsum.v1.rs"))
}

/// Writes the generated code into the tree; returns its path.
///
/// # Errors
/// As [`generate`], or if the file cannot be written.
pub fn write(root: &Path) -> Result<PathBuf, Error> {
    let path = root.join(GENERATED);
    let folder = path.parent().expect("the generated file lies in a folder");
    fs::create_dir_all(folder).map_err(|source| Error::File {
        path: folder.to_owned(),
        source,
    })?;
    fs::write(&path, generate(root)?).map_err(|source| Error::File {
        path: path.clone(),
        source,
    })?;
    Ok(path)
}

/// Compares the committed code with what the .proto files give.
///
/// # Errors
/// [`Error::Stale`] if they differ; else as [`generate`].
pub fn check(root: &Path) -> Result<(), Error> {
    let path = root.join(GENERATED);
    if read(&path)? == generate(root)? {
        Ok(())
    } else {
        Err(Error::Stale { path })
    }
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File {
        path: path.to_owned(),
        source,
    })
}
