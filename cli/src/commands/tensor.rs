//! `veilsum tensor`: sealed files on this machine. What they are and what they promise is crate `sealed`'s business; here are keys,
//! paths, the access log and progress.

mod home;
mod inspect;
mod keygen;
mod open;
mod progress;
mod seal;

use std::path::Path;
use std::time::Duration;

use veilsum_common::limits::MAX_KEYS_BYTES;
use veilsum_daemon::clock;
use veilsum_daemon::files::{self, Reading};
use veilsum_sealed::gate::Gate;
use veilsum_sealed::gate::local::{LocalLog, LogError};
use veilsum_sealed::{Identity, Opening, Passphrase, SealedFile, Trust, Verify};
use zeroize::Zeroizing;

use crate::args::tensor::{Reader, TensorCommand};
use crate::error::Error;
use crate::render::{Form, Output};
use home::Home;

pub(crate) fn run(command: TensorCommand, form: Form) -> Result<Output, Error> {
    match command {
        TensorCommand::Keygen(asked) => keygen::run(&asked),
        TensorCommand::Seal(asked) => seal::run(&asked, form),
        TensorCommand::Open(asked) => open::run(&asked, form),
        TensorCommand::Inspect(asked) => inspect::run(&asked),
        TensorCommand::Verify(asked) => open::verify(&asked, form),
    }
}

/// Opens a file as `reader` says, and hands it to `with`.
fn opened<T>(
    path: &Path,
    reader: &Reader,
    with: impl FnOnce(&SealedFile<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    let home = Home::of(&reader.home)?;
    let identities = identities(reader, &home)?;
    let trust = match &reader.signers {
        _ if reader.any_sender => Trust::default(),
        Some(path) => signers(path)?,
        None => signers(&home.signers())?,
    };
    let verify = if reader.any_sender {
        Verify::Anybody
    } else {
        Verify::Sender {
            trust: &trust,
            purpose: reader.purpose.as_deref(),
        }
    };
    let mut log = access_log(&home)?;
    let allowed = home.allowed(&identities)?;
    let mut gate = Gate {
        decide: &allowed,
        record: &mut log,
        at: clock::now(),
    };
    let source = Reading::open(path)?;
    let opening = Opening {
        identities: &identities,
        verify,
        gate: &mut gate,
    };
    let file = SealedFile::open(&source, opening).map_err(|error| sealed(path, error))?;
    // Others may write to it while this file is read.
    drop(log);
    with(&file)
}

/// The access log, after a short wait if somebody else is opening a file just now.
fn access_log(home: &Home) -> Result<LocalLog, Error> {
    let path = home.access_log()?;
    for _ in 0..LOG_TRIES {
        match LocalLog::open(&path) {
            Err(LogError::Locked) => std::thread::sleep(LOG_PAUSE),
            opened => return opened.map_err(|source| Error::AccessLog { path, source }),
        }
    }
    let source = LogError::Locked;
    Err(Error::AccessLog { path, source })
}

fn identities(reader: &Reader, home: &Home) -> Result<Vec<Identity>, Error> {
    let mut identities = Vec::new();
    if let Some(path) = &reader.passphrase_file {
        identities.push(Identity::passphrase(passphrase(path)?));
    }
    let mut paths = reader.identities.clone();
    if paths.is_empty() && identities.is_empty() {
        paths.push(home.identity());
    }
    for path in paths {
        let text = secret_text(&path)?;
        let found = Identity::parse_file(&text).map_err(|error| sealed(&path, error))?;
        identities.extend(found);
    }
    Ok(identities)
}

/// The passphrase in a file, without the end of its line.
fn passphrase(path: &Path) -> Result<Passphrase, Error> {
    let text = secret_text(path)?;
    let line = Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned());
    Ok(Passphrase::new(line))
}

fn signers(path: &Path) -> Result<Trust, Error> {
    Trust::parse(&text(path)?).map_err(|error| sealed(path, error))
}

/// A text file that is no secret.
fn text(path: &Path) -> Result<String, Error> {
    let bytes = files::read(path, MAX_KEYS_BYTES)?;
    String::from_utf8(bytes).map_err(|_| Error::NotText {
        path: path.to_owned(),
    })
}

/// A text file that only its owner may read.
fn secret_text(path: &Path) -> Result<Zeroizing<String>, Error> {
    let bytes = files::read_secret(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Error::NotText {
        path: path.to_owned(),
    })?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn sealed(path: &Path, source: veilsum_sealed::Error) -> Error {
    Error::Sealed {
        path: path.to_owned(),
        source: Box::new(source),
    }
}

/// Standard input or output, as it is written on a command line.
fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// The envelope and the data cannot both have standard output.
fn check_output(path: &Path, form: Form) -> Result<(), Error> {
    if is_standard(path) && form == Form::Json {
        return Err(Error::TwoOutputs);
    }
    Ok(())
}

/// Five seconds in all: a line is written in milliseconds.
const LOG_TRIES: u32 = 250;
const LOG_PAUSE: Duration = Duration::from_millis(20);
