//! The server: it collects masked updates, closes sets, asks for unmask shares, computes sums and publishes models.
//!
//! Everything it decides is decided by the machines of `veilsum-engine`; this crate authenticates, journals, stores and computes.
//! It holds no secret of any site. Entry points: [`server::run`] with a store of the caller's, [`daemon`] from a configuration file.

pub mod admin;
pub mod ca;
pub mod config;
pub mod driver;
pub mod faults;
pub mod feed;
pub mod grpc;
pub mod live;
pub mod metrics;
pub mod serve;
pub mod server;
pub mod store;
pub mod transfer;
pub mod worker;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use veilsum_daemon::identity::Federation;
use veilsum_daemon::shutdown::Shutdown;
use veilsum_daemon::{dumps, entropy, files, telemetry, tls};

use config::Config;
use store::blobs::Blobs;
use store::sqlite::SqliteJournal;

/// Runs the coordinator of a configuration file until SIGTERM, SIGINT or a failed store.
///
/// # Errors
/// What is wrong with the configuration, the certificates, the data directory or the port; or why the store failed.
pub fn daemon(path: &Path) -> anyhow::Result<()> {
    dumps::forbid()?;
    let config = Config::load(path)?;
    telemetry::init(
        config.log_format.unwrap_or_default(),
        config.log_level.as_deref(),
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(serve_config(config))
}

async fn serve_config(config: Config) -> anyhow::Result<()> {
    let credentials = tls::Credentials::load(&config.tls.cert, &config.tls.key)?;
    let trust = tls::Trust::load(&config.tls.ca, &config.tls.crl)?;
    let federation = Federation::of_leaf(credentials.leaf())?;
    files::private_directory(&config.data_dir)?;
    let journal = SqliteJournal::open_in(&config.data_dir, entropy::fill)?;
    let blobs = Blobs::new(&config.data_dir.join("blobs"))?;
    let listener = bind(config.listen, "listen").await?;
    let admin = match config.admin {
        Some(address) => Some(bind(address, "admin").await?),
        None => None,
    };
    tracing::info!(listen = %listener.local_addr()?, "coordinator ready");
    let (_reload, tls) = watch::channel(tls::server(&credentials, &trust)?);
    let parts = server::Parts {
        listener,
        admin,
        tls,
        federation,
        journal: journal.clone(),
        blobs,
        data_dir: config.data_dir,
        books: journal.books(),
        shutdown: Shutdown::on_signals()?,
    };
    let served = server::run(parts).await;
    journal.close().await;
    tracing::info!("coordinator stopped");
    Ok(served?)
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}: is another coordinator running, or the port taken? Choose another one under {key}")
    })
}
