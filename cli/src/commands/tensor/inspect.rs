//! `veilsum tensor inspect`: what a sealed file shows of itself, without a key and with one. No tensor is read.

use std::path::Path;

use serde_json::{Value, json};
use veilsum_daemon::files::{self, Reading};
use veilsum_sealed::{Outline, SealedFile};

use super::open::voucher;
use super::{opened, sealed};
use crate::args::tensor::Inspect;
use crate::error::Error;
use crate::render::{Output, table};

pub(super) fn run(asked: &Inspect) -> Result<Output, Error> {
    let source = Reading::open(&asked.file)?;
    let outline = Outline::read(&source).map_err(|error| sealed(&asked.file, error))?;
    if asked.outside {
        return Ok(outside(&outline));
    }
    opened(&asked.file, &asked.reader, |file| {
        if let Some(path) = &asked.manifest {
            export(file, path)
                .ok_or_else(|| sealed(&asked.file, veilsum_sealed::Error::ManifestMissing))??;
        }
        Ok(inside(&outline, file, asked.manifest.as_deref()))
    })
}

/// What anybody can see.
fn outside(outline: &Outline) -> Output {
    let Outline {
        stanzas,
        header_bytes,
        file_bytes,
        granted,
    } = outline;
    let kinds = stanzas.join(", ");
    Output {
        data: outline_data(outline),
        text: format!(
            "recipients    {kinds}\nheader        {header_bytes} bytes\nfile          {file_bytes} bytes\npassed on     {}",
            if *granted { "yes, by a grant" } else { "no" }
        ),
        next: vec![
            "with an identity it shows its tensors: veilsum tensor inspect FILE --identity KEY"
                .to_owned(),
        ],
    }
}

fn outline_data(outline: &Outline) -> Value {
    json!({
        "stanzas": outline.stanzas,
        "header_bytes": outline.header_bytes,
        "file_bytes": outline.file_bytes,
        "granted": outline.granted,
    })
}

/// What a reader can see.
fn inside(outline: &Outline, file: &SealedFile<'_>, manifest: Option<&Path>) -> Output {
    let (who, mut data) = voucher(file);
    let mut rows = vec![
        ["tensor", "type", "shape", "bytes"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let mut tensors = Vec::new();
    for placed in file.tensors() {
        let len_bytes = placed.place.end - placed.place.start;
        let shape: Vec<_> = placed.shape.iter().map(u64::to_string).collect();
        rows.push(vec![
            placed.name.escape_debug().to_string(),
            placed.dtype.to_string(),
            shape.join("x"),
            len_bytes.to_string(),
        ]);
        tensors.push(json!({
            "name": placed.name,
            "dtype": placed.dtype.to_string(),
            "shape": placed.shape,
            "len_bytes": len_bytes,
        }));
    }
    data["outside"] = outline_data(outline);
    data["tensors"] = tensors.into();
    data["metadata"] = json!(file.metadata());
    data["recipients"] = json!(file.manifest().map(|manifest| &manifest.recipients));
    Output {
        data,
        text: format!("{}\n{who}", table(&rows)),
        next: manifest.map(check_with_ssh).into_iter().collect(),
    }
}

/// Writes the manifest and its signature; none if there is none.
fn export(file: &SealedFile<'_>, path: &Path) -> Option<Result<(), Error>> {
    let manifest = file.manifest()?.canonical();
    let (signature, _) = file.signature()?;
    let written = files::write_atomic(path, manifest.as_bytes())
        .and_then(|()| files::write_atomic(&beside(path), signature.as_bytes()));
    Some(written.map_err(Error::from))
}

fn beside(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

fn check_with_ssh(path: &Path) -> String {
    let (manifest, signature) = (path.display(), beside(path));
    let signature = signature.display();
    format!(
        "ssh-keygen -Y verify -f SIGNERS -I SENDER -n veilsum/v1/manifest -s {signature} < {manifest}"
    )
}
