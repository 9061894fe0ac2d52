//! The site's daemon: it trains on the site's own data and sends the coordinator only masked updates.
//!
//! What may leave is decided by the machine of `veilsum-engine` and the site's own policy; this crate journals, trains, masks and
//! talks. Path of an update: [`driver`] → [`trainer`] → [`update`] (checked and pinned) → masked in `driver` → [`link`].

pub mod config;
pub mod consent;
pub mod driver;
pub mod enrol;
pub mod faults;
pub mod journal;
pub mod keystore;
pub mod leftovers;
pub mod link;
pub mod models;
mod replay;
pub mod runs;
pub mod site;
pub mod trainer;
pub mod update;

#[cfg(test)]
mod test_support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use veilsum_daemon::identity::{Federation, PeerIdentity, Role};
use veilsum_daemon::shutdown::Shutdown;
use veilsum_daemon::{dumps, entropy, files, telemetry, tls};
use veilsum_secagg::keys::{Identity, Seed};

use config::Config;
use journal::Journal;
use keystore::StoreKey;
use link::Link;
use site::Site;

/// Runs the participant of a configuration file until SIGTERM, SIGINT or a failed store.
///
/// # Errors
/// What is wrong with the configuration, the keys or the data directory; or why the store failed.
pub fn daemon(path: &Path) -> anyhow::Result<()> {
    dumps::forbid()?;
    let config = Config::load(path, std::env::vars_os())?;
    telemetry::init(config.log.format, config.log.level.as_deref())?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    // One thread: a site waits most of the time, and its heavy work runs in blocking tasks.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let site = open(config)?;
        tracing::info!(name = %site.name, id = %site.identity.public().id(), "participant ready");
        let served = runs::serve(site).await;
        tracing::info!("participant stopped");
        Ok(served?)
    })
}

/// Opens a site's keys and store. Must be called within a tokio runtime.
///
/// # Errors
/// As [`daemon`].
pub fn open(config: Config) -> anyhow::Result<Arc<Site>> {
    let credentials = tls::Credentials::load(&config.tls.cert, &config.tls.key)?;
    own_certificate(&config, credentials.leaf())?;
    let trust = tls::Trust::load(&config.tls.ca, &[])?;
    let channel = link::connect(&config.coordinator, tls::client(&credentials, &trust)?)?;
    files::private_directory(&config.data_dir)?;
    let store_key = StoreKey::open(&config.store_key, entropy::fill)?;
    let seed = keystore::load_identity(&config.identity_key)?;
    let journal = Journal::open(&config.data_dir, store_key, entropy::fill)?;
    leftovers::sweep(&config.data_dir, &config.marker_dir, &journal.streams()?)?;
    Ok(Arc::new(Site {
        name: config.name,
        organisation: config.organisation,
        identity: Arc::new(Identity::from_seed(&Seed::new(*seed))),
        policy: config.policy,
        hook: config.hook,
        chain: credentials
            .chain()
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect(),
        key_pem: files::read_secret(&config.tls.key)?,
        data_dir: config.data_dir,
        marker_dir: config.marker_dir,
        link: Link::new(channel),
        shutdown: Shutdown::on_signals()?,
        journal: Mutex::new(journal),
    }))
}

/// The certificate is a participant's and this site's. The coordinator would refuse any other, but only the site knows which file it is.
fn own_certificate(config: &Config, leaf: &[u8]) -> anyhow::Result<()> {
    let federation = Federation::of_leaf(leaf)?;
    let PeerIdentity { role, name, .. } = PeerIdentity::from_leaf(leaf, &federation)?;
    let file = config.tls.cert.display();
    anyhow::ensure!(
        role == Role::Participant,
        "{file} is the certificate of {name} as {role}, a site needs a participant's; issue one with --role participant"
    );
    anyhow::ensure!(
        name == config.name,
        "{file} is the certificate of {name}, this site is {} (name in site.toml); use the certificate issued for it",
        config.name
    );
    Ok(())
}
