//! The whole coordinator around a store that is given: tests pass their own, `main` passes SQLite.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::service::Routes;
use veilsum_common::run::RunSpec;
use veilsum_daemon::files;
use veilsum_daemon::identity::Federation;
use veilsum_daemon::shutdown::Shutdown;
use veilsum_engine::round;
use veilsum_proto::convert::journal::{Journalled as _, RunCreated};
use veilsum_proto::pb::round_service_server::RoundServiceServer;
use veilsum_proto::pb::run_service_server::RunServiceServer;
use veilsum_secagg::keys::{Identity, Seed};

use crate::grpc::round_service::Rounds;
use crate::grpc::run_service::Runs;
use crate::grpc::{self, Context};
use crate::live::{LiveRun, Shared};
use crate::serve::{Limits, serve};
use crate::store::blobs::{Blobs, Error as BlobError};
use crate::store::{Error as StoreError, Journal, StreamId};

/// What a coordinator is made from.
pub struct Parts<J> {
    /// Where it listens.
    pub listener: TcpListener,
    /// Its TLS configuration; a new one counts from the next handshake on.
    pub tls: watch::Receiver<Arc<ServerConfig>>,
    /// Whose certificates count.
    pub federation: Federation,
    /// The journal.
    pub journal: J,
    /// Descriptions and models.
    pub blobs: Blobs,
    /// For the runs' keys and metrics, and for staged uploads.
    pub data_dir: PathBuf,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Why a coordinator stopped or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A run in the journal cannot be brought back.
    #[error(
        "run {run} cannot be brought back: {what}; restore the data directory from a backup or move it away"
    )]
    Run {
        /// The run.
        run: veilsum_common::RunId,
        /// What is missing or damaged.
        what: &'static str,
    },
    /// A blob could not be made durable, or the directory of staged uploads cannot be used.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// A directory cannot be made.
    #[error(transparent)]
    Files(#[from] files::FileError),
}

/// Brings back every open run and serves until `shutdown`, or until the store has failed.
///
/// # Errors
/// [`ServerError`]; after a failed store the process must exit, since what it acknowledged can no longer be trusted to be durable.
pub async fn run<J: Journal>(parts: Parts<J>) -> Result<(), ServerError> {
    let keys_dir = parts.data_dir.join("keys");
    files::private_directory(&keys_dir)?;
    let (fatal, mut failed) = mpsc::channel(1);
    let shared = Arc::new(Shared {
        journal: parts.journal,
        blobs: parts.blobs,
        uploads: Blobs::new(&parts.data_dir.join("uploads"))?,
        runs_dir: parts.data_dir.join("runs"),
        fatal,
    });
    let shutdown = parts.shutdown.clone();
    let context = Arc::new(Context::new(
        Arc::clone(&shared),
        parts.federation,
        shutdown.clone(),
        keys_dir,
    ));
    revive(&context).await?;

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<RoundServiceServer<Rounds<J>>>().await;
    health.set_serving::<RunServiceServer<Runs<J>>>().await;
    let routes = grpc::services(&context, Routes::new(health_service));

    let stop = shutdown.clone();
    let serving = serve(
        parts.listener,
        parts.tls,
        grpc::reasoned(routes),
        Limits::default(),
        async move {
            stop.triggered().await;
        },
    );
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => Ok(()),
        Some(error) = failed.recv() => {
            shutdown.trigger();
            Err(error.into())
        }
        error = shared.blobs.failed() => {
            shutdown.trigger();
            Err(error.into())
        }
        error = shared.uploads.failed() => {
            shutdown.trigger();
            Err(error.into())
        }
    }
}

/// Replays every run in the journal. There is no recovery mode: this is how a coordinator starts.
async fn revive<J: Journal>(context: &Context<J>) -> Result<(), ServerError> {
    sweep_uploads(&context.shared).await?;
    for stream in context.shared.journal.open().await? {
        let StreamId::Run(run) = stream else { continue };
        let damaged = |what| ServerError::Run { run, what };
        let entries = context.shared.journal.read(stream, 0).await?;
        let first = entries
            .first()
            .ok_or(damaged("its first entry is missing"))?;
        let created = RunCreated::decode(&first.payload)
            .map_err(|_| damaged("its first entry does not decode"))?;
        let blobs = &context.shared.blobs;
        let spec = blobs
            .read(&created.spec)
            .map_err(|_| damaged("its parameters are missing or damaged"))?;
        let spec =
            RunSpec::from_bytes(&spec).map_err(|_| damaged("its parameters do not parse"))?;
        let key = context.keys_dir.join(format!("{run}.key"));
        let seed = files::read_secret(&key)
            .map_err(|_| damaged("its key file is missing or open to others"))?;
        let seed = Seed::restore(&seed).ok_or(damaged("its key file has not 32 bytes"))?;
        let live = LiveRun::start(
            Arc::clone(&context.shared),
            spec,
            created,
            Identity::from_seed(&seed),
        )
        .await?;
        context.add(live);
    }
    Ok(())
}

/// Removes staged uploads that no attempt in flight names: of a process that ended between the bytes and their entry, or between the end
/// of an attempt and what it discards. Nothing else is swept, since a model outlives a journal that was lost.
async fn sweep_uploads<J: Journal>(shared: &Shared<J>) -> Result<(), ServerError> {
    let mut newest = BTreeMap::new();
    for stream in shared.journal.open().await? {
        if let StreamId::Round { run, .. } = stream {
            newest.insert(run, stream); // in order: an earlier attempt is over
        }
    }
    let mut named = BTreeSet::new();
    for stream in newest.into_values() {
        let entries = shared.journal.read(stream, 0).await?;
        for (number, entry) in (0..).zip(&entries).skip(1) {
            let event = round::Event::decode(&entry.payload)
                .map_err(|_| StoreError::Diverged { stream, number })?;
            if let round::Event::Uploaded(upload) = event {
                named.insert(upload.blob.digest);
            }
        }
    }
    let swept = shared.uploads.sweep(&named)?;
    if swept > 0 {
        tracing::info!(swept, "removed staged uploads that nothing names");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
