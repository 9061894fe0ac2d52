//! Keys, certificates and configurations of a whole federation in one directory, made by the code of `veilsum ca` and `… csr`.
//!
//! ```text
//! DIR/ca/                    the authority
//! DIR/coordinator/           coordinator.toml, its key and certificate, data
//! DIR/operator/              the demo's own key and certificate
//! DIR/site-1/ …              site.toml, the site's keys and certificate, data; hold/ with --drop
//! DIR/study.toml, init.safetensors
//! ```

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use veilsum_common::SiteName;
use veilsum_common::study::Study;
use veilsum_coordinator::ca::{Authority, CERTIFICATE_FILE};
use veilsum_daemon::clock;
use veilsum_daemon::identity::Role;
use veilsum_participant::enrol;
use veilsum_secagg::keys::MemberId;

use super::DemoError;
use super::directory::Directory;
use crate::args::{CaIssue, Connection, Data};
use crate::commands::{ca, csr, synthetic};
use crate::error::Error;

/// Who plays, and what.
pub(super) struct Cast<'a> {
    /// Number of sites.
    pub sites: u32,
    /// `policy.min_cohort` of every site.
    pub min_cohort: u32,
    /// The study file.
    pub study_text: &'a str,
    /// The same, checked.
    pub study: &'a Study,
    /// What the sites' trainers do.
    pub work: Work,
}

/// What a trainer does.
#[derive(Clone, Copy)]
pub(super) enum Work {
    /// Learns from bundled data.
    Learn {
        data: Data,
        seed: u64,
        /// Whether the demo keeps rounds from closing.
        held: bool,
    },
    /// Writes the synthetic update.
    Fill { params: u64 },
}

/// A site's name, counted from 0.
pub(super) fn site_name(site: u32) -> SiteName {
    format!("site-{}", site + 1)
        .parse()
        .expect("a lower-case word, a dash and a number are a site's name")
}

/// A federation on disk.
pub(super) struct Federation {
    dir: PathBuf,
    /// Name and protocol id of each site.
    sites: Vec<(SiteName, MemberId)>,
}

impl Federation {
    /// Makes every key and certificate, the coordinator's configuration and the study.
    pub(super) fn create(cast: &Cast<'_>, directory: &Directory) -> Result<Self, Error> {
        let dir = directory.path().to_owned();
        Authority::init(&dir.join(CA), TRUST_DOMAIN, "demo", clock::now())?;
        let federation = Self {
            sites: Vec::new(),
            dir,
        };
        federation.enrol_transport(COORDINATOR, Role::Coordinator)?;
        federation.enrol_transport(OPERATOR, Role::Operator)?;
        let sites = (0..cast.sites).map(|site| federation.enrol_site(site_name(site)));
        let sites = sites.collect::<Result<_, _>>()?;
        directory.write("study.toml", cast.study_text.as_bytes())?;
        directory.write(
            "coordinator/coordinator.toml",
            coordinator_toml().to_string().as_bytes(),
        )?;
        Ok(Self {
            sites,
            ..federation
        })
    }

    /// Writes every site.toml, now that the coordinator's address is known.
    pub(super) fn configure_sites(
        &self,
        cast: &Cast<'_>,
        executable: &Path,
        coordinator: SocketAddr,
    ) -> Result<(), DemoError> {
        for (site, (name, _)) in self.sites.iter().enumerate() {
            let toml = self.site_toml(cast, executable, coordinator, site);
            let path = self.site_config(name);
            fs::write(&path, toml.to_string()).map_err(|source| DemoError::Io { path, source })?;
        }
        Ok(())
    }

    /// The coordinator's configuration file.
    pub(super) fn coordinator_config(&self) -> PathBuf {
        self.dir.join(COORDINATOR).join("coordinator.toml")
    }

    /// A site's configuration file.
    pub(super) fn site_config(&self, name: &SiteName) -> PathBuf {
        self.dir.join(name.as_str()).join("site.toml")
    }

    /// While a file `round-N` is in here, the site's trainer does not end round N.
    pub(super) fn hold(&self, name: &SiteName) -> PathBuf {
        self.dir.join(name.as_str()).join(HOLD)
    }

    /// `metrics.jsonl` of a run.
    pub(super) fn metrics(&self, run: &str) -> PathBuf {
        self.dir
            .join(COORDINATOR)
            .join("data/runs")
            .join(run)
            .join(super::directory::METRICS)
    }

    /// How the demo itself calls the coordinator.
    pub(super) fn connection(&self, coordinator: SocketAddr) -> Connection {
        let operator = self.dir.join(OPERATOR);
        Connection {
            at: format!("https://{coordinator}"),
            ca: self.dir.join(CA).join(CERTIFICATE_FILE),
            cert: operator.join(certificate(OPERATOR)),
            key: enrol::key_path(&operator),
        }
    }

    fn enrol_transport(&self, name: &str, role: Role) -> Result<(), Error> {
        let site: SiteName = name.parse().expect("a lower-case word is a name");
        let request = csr::make_transport(&self.dir.join(name), &site)?;
        self.issue(request, role)
    }

    fn enrol_site(&self, name: SiteName) -> Result<(SiteName, MemberId), Error> {
        let (request, id) = csr::make_site(&self.dir.join(name.as_str()), &name)?;
        self.issue(request, Role::Participant)?;
        Ok((name, id))
    }

    fn issue(&self, csr: PathBuf, role: Role) -> Result<(), Error> {
        let hosts = if role == Role::Coordinator {
            vec!["127.0.0.1".to_owned()]
        } else {
            Vec::new()
        };
        let out = csr.with_extension("pem");
        ca::issue(
            &CaIssue {
                csr,
                role,
                hosts,
                days: 1,
                dir: self.dir.join(CA),
                out: None,
            },
            &out,
        )?;
        Ok(())
    }

    fn site_toml(
        &self,
        cast: &Cast<'_>,
        executable: &Path,
        coordinator: SocketAddr,
        site: usize,
    ) -> Table {
        let (name, _) = &self.sites[site];
        let mut toml = Table::new();
        set(&mut toml, "schema", "veilsum.site/v1");
        set(&mut toml, "coordinator", format!("https://{coordinator}"));
        set(&mut toml, "name", name.as_str());
        set(&mut toml, "organisation", format!("Organisation of {name}"));
        set(&mut toml, "data_dir", "data");
        set(&mut toml, "tls", tls(name.as_str()));
        let studies = vec![Value::from(cast.study.digest().to_string())];
        set(
            &mut toml,
            "approve",
            table([("mode", Value::from("digest")), ("studies", studies.into())]),
        );
        let ids: Vec<Value> = self
            .sites
            .iter()
            .map(|(_, id)| id.to_string().into())
            .collect();
        set(&mut toml, "peers", table([("ids", ids.into())]));
        set(
            &mut toml,
            "policy",
            table([
                ("min_cohort", Value::Integer(cast.min_cohort.into())),
                ("max_update", max_update(cast.work).into()),
            ]),
        );
        let command = self
            .trainer(cast, executable, site)
            .into_iter()
            .map(Value::from)
            .collect::<Vec<_>>();
        set(
            &mut toml,
            "trainer",
            table([("command", command.into()), ("timeout", Value::from("2m"))]),
        );
        set(&mut toml, "log", table([("format", Value::from("json"))]));
        toml
    }

    fn trainer(&self, cast: &Cast<'_>, executable: &Path, site: usize) -> Vec<String> {
        let mut command = vec![executable.display().to_string(), "trainer".to_owned()];
        let mut flag = |name: &str, value: String| command.extend([name.to_owned(), value]);
        match cast.work {
            Work::Fill { params } => flag("--params", params.to_string()),
            Work::Learn { data, seed, held } => {
                let data = match data {
                    Data::Digits => "digits",
                    Data::BreastCancer => "breast-cancer",
                };
                flag("--data", data.to_owned());
                flag("--sites", cast.sites.to_string());
                flag("--site", site.to_string());
                flag("--seed", seed.to_string());
                if held {
                    let hold = self.hold(&self.sites[site].0);
                    flag("--hold", hold.display().to_string());
                }
            }
        }
        command
    }
}

/// What a site lets out at most: the default, or the synthetic model with its header.
fn max_update(work: Work) -> String {
    match work {
        Work::Learn { .. } => "2 GiB".to_owned(),
        Work::Fill { params } => format!("{} B", synthetic::file_bytes(params)),
    }
}

/// Port 0: the system chooses a free one, and the coordinator's log says which.
fn coordinator_toml() -> Table {
    let mut toml = Table::new();
    set(&mut toml, "schema", "veilsum.coordinator/v1");
    set(&mut toml, "listen", "127.0.0.1:0");
    set(&mut toml, "data_dir", "data");
    set(&mut toml, "tls", tls(COORDINATOR));
    set(&mut toml, "log", table([("format", Value::from("json"))]));
    toml
}

fn tls(name: &str) -> Table {
    table([
        ("ca", Value::from(format!("../{CA}/{CERTIFICATE_FILE}"))),
        ("cert", certificate(name).into()),
        ("key", enrol::KEY_FILE.into()),
    ])
}

fn certificate(name: &str) -> String {
    format!("{name}.pem")
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn set(toml: &mut Table, key: &str, value: impl Into<Value>) {
    toml.insert(key.to_owned(), value.into());
}

const CA: &str = "ca";
const COORDINATOR: &str = "coordinator";
const OPERATOR: &str = "operator";
const HOLD: &str = "hold";

/// The top-level domain for private use.
const TRUST_DOMAIN: &str = "demo.internal";
