//! The whole coordinator around a store that is given: tests pass their own, `main` passes SQLite.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use veilsum_common::ids::RunId;
use veilsum_common::limits::MAX_PEER_CALLS;
use veilsum_common::run::RunSpec;
use veilsum_daemon::files;
use veilsum_daemon::identity::Federation;
use veilsum_daemon::shutdown::Shutdown;
use veilsum_proto::convert::journal::{Journalled as _, RunCreated};
use veilsum_proto::pb::round_service_server::RoundServiceServer;
use veilsum_proto::pb::run_service_server::RunServiceServer;
use veilsum_secagg::keys::{Identity, Seed};

use crate::admin;
use crate::grpc::round_service::Rounds;
use crate::grpc::run_service::Runs;
use crate::grpc::{self, Context, Edge};
use crate::live::{LiveRun, Shared};
use crate::serve::{Limits, serve};
use crate::store::blobs::{Blobs, Error as BlobError};
use crate::store::staging::Staging;
use crate::store::{Error as StoreError, Journal, StreamId};

/// What a coordinator is made from.
pub struct Parts<J> {
    /// Where it listens.
    pub listener: TcpListener,
    /// Where it answers this machine's operators, if anywhere.
    pub admin: Option<TcpListener>,
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
    /// What the books of staged uploads are kept with; the same at every start.
    pub books: Seed,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// Why a coordinator stopped or did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
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
        uploads: Staging::new(&parts.data_dir.join("uploads"), parts.books)?,
        data_dir: parts.data_dir.clone(),
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
    let routes = grpc::services(&context, Routes::new(health_service.clone()));
    let admin = answer_operators(parts.admin, health_service, shutdown.clone());

    let stop = shutdown.clone();
    let serving = serve(
        parts.listener,
        parts.tls,
        Edge::new(routes, MAX_PEER_CALLS),
        Limits::default(),
        async move {
            stop.triggered().await;
        },
    );
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => Ok(()),
        never = admin => match never {},
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

/// Answers on the admin listener as long as the caller waits. Its end is nobody's end but its own: sites are served without it.
async fn answer_operators(
    listener: Option<TcpListener>,
    health: HealthServer<impl Health>,
    shutdown: Shutdown,
) -> Infallible {
    if let Some(listener) = listener {
        let stop = async move { shutdown.triggered().await };
        if let Err(error) = admin::serve(listener, health, stop).await {
            tracing::error!(%error, "the admin listener failed; sites are served without it");
        }
    }
    future::pending().await
}

/// Replays every run in the journal. There is no recovery mode: this is how a coordinator starts.
///
/// A run whose own files do not fit is marked, and the others are served.
pub(crate) async fn revive<J: Journal>(context: &Context<J>) -> Result<(), ServerError> {
    sweep_uploads(&context.shared).await?;
    for stream in context.shared.journal.open().await? {
        let StreamId::Run(run) = stream else { continue };
        match bring_back(context, run).await {
            Ok(live) => context.add(live),
            Err(Unfit::Damaged(what)) => context.mark_damaged(run, what.to_owned()),
            Err(Unfit::Store(error)) if error.concerns_one_stream() => {
                context.mark_damaged(run, error.to_string());
            }
            Err(Unfit::Store(error)) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Why a run was not brought back.
enum Unfit {
    Damaged(&'static str),
    Store(StoreError),
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn bring_back<J: Journal>(
    context: &Context<J>,
    run: RunId,
) -> Result<Arc<LiveRun<J>>, Unfit> {
    let damaged = |what| move |_: BlobError| Unfit::Damaged(what);
    let (shared, stream) = (&context.shared, StreamId::run(run));
    let entries = shared.journal.read(stream, 0).await?;
    let first = entries
        .first()
        .ok_or(Unfit::Damaged("its first entry is missing"))?;
    let created = RunCreated::decode(&first.payload)
        .map_err(|_| Unfit::Damaged("its first entry does not decode"))?;
    let spec = shared.blobs.read(&created.spec);
    let spec = spec.map_err(damaged("its parameters are missing or damaged"))?;
    let spec =
        RunSpec::from_bytes(&spec).map_err(|_| Unfit::Damaged("its parameters do not parse"))?;
    let key = context.keys_dir.join(format!("{run}.key"));
    let seed = files::read_secret(&key)
        .map_err(|_| Unfit::Damaged("its key file is missing or open to others"))?;
    let seed = Seed::restore(&seed).ok_or(Unfit::Damaged("its key file has not 32 bytes"))?;
    let identity = Identity::from_seed(&seed);
    let live = LiveRun::start(Arc::clone(shared), spec, created, identity).await?;
    let model = shared.blobs.open(&live.run().read().model());
    model.map_err(damaged("its current model is missing or damaged"))?;
    Ok(live)
}

/// Removes the uploads of attempts that are over: of a process that ended before it discarded them. What an attempt in flight has of
/// uploads stays, whether they were accepted or not.
async fn sweep_uploads<J: Journal>(shared: &Shared<J>) -> Result<(), ServerError> {
    let mut newest = BTreeMap::new();
    for stream in shared.journal.open().await? {
        if let StreamId::Round { run, .. } = stream {
            newest.insert(run, stream); // in order: an earlier attempt is over
        }
    }
    let swept = shared.uploads.sweep(&newest.into_values().collect())?;
    if swept > 0 {
        tracing::info!(
            attempts = swept,
            "removed uploads of attempts that are over"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
