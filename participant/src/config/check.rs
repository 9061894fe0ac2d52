//! From what was typed to what the daemon needs: every default, every bound, once.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use tonic::transport::Uri;
use veilsum_common::Span;
use veilsum_common::limits::{DEFAULT_COHORT, MAX_BITS, MAX_COHORT, MIN_BITS, MIN_COHORT};
use veilsum_daemon::config::Loaded;
use veilsum_engine::policy::{Approval, PeerTrust, Policy};
use veilsum_secagg::Digest;
use veilsum_secagg::keys::MemberId;

use super::raw::{self, ApproveMode, Raw};
use super::{Config, ConfigError, ConfigWarning, Log, Problem, Tls};
use crate::trainer::Hook;

/// Checks every value of `loaded`, which was read from `path`.
pub(super) fn check(path: &Path, loaded: &Loaded<Raw>) -> Result<Config, ConfigError> {
    let raw = &loaded.raw;
    let at = |key: &'static str| {
        move |problem| ConfigError::Refused {
            origin: loaded.origin(key),
            key,
            problem,
        }
    };
    // An empty parent means the directory we run in.
    let beside = path.parent().unwrap_or(Path::new(""));
    let beside = std::path::absolute(beside.join(".")).unwrap_or_else(|_| beside.to_owned());
    let resolve = |path: &Path| normal(&beside.join(path));

    check_schema(&raw.schema).map_err(at("schema"))?;
    let data_dir = resolve(&raw.data_dir);
    let marker_dir = match &raw.marker_dir {
        Some(dir) => outside(resolve(dir), &data_dir).map_err(at("marker_dir"))?,
        None => sibling(&data_dir).map_err(at("data_dir"))?,
    };
    Ok(Config {
        coordinator: coordinator(&raw.coordinator).map_err(at("coordinator"))?,
        name: raw.name.clone(),
        organisation: organisation(&raw.organisation).map_err(at("organisation"))?,
        data_dir,
        marker_dir,
        identity_key: beside.join("identity.key"),
        store_key: beside.join("store.key"),
        tls: Tls {
            ca: resolve(&raw.tls.ca),
            cert: resolve(&raw.tls.cert),
            key: resolve(&raw.tls.key),
        },
        policy: Policy {
            approve: approval(&raw.approve).map_err(at("approve.studies"))?,
            peers: peers(&raw.peers).map_err(|(key, problem)| at(key)(problem))?,
            min_cohort: min_cohort(raw.policy.min_cohort).map_err(at("policy.min_cohort"))?,
            bits_min: bits_min(raw.policy.bits_min).map_err(at("policy.bits_min"))?,
            max_update_bytes: raw
                .policy
                .max_update
                .map_or(MAX_UPDATE_BYTES, |size| size.0),
            metrics: raw
                .policy
                .metrics
                .as_ref()
                .map(|names| names.iter().cloned().collect()),
        },
        hook: Hook {
            command: command(&raw.trainer.command).map_err(at("trainer.command"))?,
            directory: beside.clone(),
            timeout: timeout(raw.trainer.timeout).map_err(at("trainer.timeout"))?,
            grace: Hook::GRACE,
            env: variables(&raw.trainer.env).map_err(at("trainer.env"))?,
        },
        log: Log {
            format: raw.log.format,
            level: raw.log.level.clone(),
        },
    })
}

/// What a policy allows but should be said.
pub(super) fn warnings(policy: &Policy) -> Vec<ConfigWarning> {
    let Policy {
        approve,
        peers,
        min_cohort,
        bits_min: _,
        max_update_bytes: _,
        metrics: _,
    } = policy;
    let small = (*min_cohort < DEFAULT_COHORT).then_some(ConfigWarning::SmallCohort {
        min_cohort: *min_cohort,
    });
    let pins = match peers {
        PeerTrust::None => Some(ConfigWarning::NoPeers),
        PeerTrust::Ids(ids) if u32::try_from(ids.len()).is_ok_and(|have| have < *min_cohort) => {
            Some(ConfigWarning::FewPeers {
                have: ids.len(),
                need: *min_cohort,
            })
        }
        PeerTrust::Ids(_) | PeerTrust::Roster(_) => None,
    };
    let studies = match approve {
        Approval::Studies(digests) if digests.is_empty() => Some(ConfigWarning::NoStudies),
        Approval::Studies(_) | Approval::All => None,
    };
    [small, pins, studies].into_iter().flatten().collect()
}

fn check_schema(found: &str) -> Result<(), Problem> {
    match found == SCHEMA {
        true => Ok(()),
        false => Err(Problem::Schema {
            found: shown(found),
            expected: SCHEMA,
        }),
    }
}

/// An origin and nothing else: a path or a user in it would be ignored in silence.
fn coordinator(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::Coordinator { found: shown(text) };
    let uri: Uri = text.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let plain = uri.scheme_str() == Some("https")
        && uri.path_and_query().is_none_or(|rest| rest.as_str() == "/")
        && !authority.host().is_empty()
        && !authority.as_str().contains('@')
        && authority.port_u16().is_some();
    if plain {
        Ok(format!("https://{authority}"))
    } else {
        Err(wrong())
    }
}

fn organisation(text: &str) -> Result<String, Problem> {
    let len_bytes = text.len();
    match !text.trim().is_empty()
        && len_bytes <= MAX_ORGANISATION_BYTES
        && !text.contains(char::is_control)
    {
        true => Ok(text.to_owned()),
        false => Err(Problem::Organisation {
            len_bytes,
            limit_bytes: MAX_ORGANISATION_BYTES,
        }),
    }
}

/// Without `.` and `..`, so that one path can be compared with another.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(normal.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                normal.push(component)
            }
        }
    }
    normal
}

fn outside(marker_dir: PathBuf, data_dir: &Path) -> Result<PathBuf, Problem> {
    match marker_dir.starts_with(data_dir) {
        false => Ok(marker_dir),
        true => Err(Problem::MarkerInside { path: marker_dir }),
    }
}

fn sibling(data_dir: &Path) -> Result<PathBuf, Problem> {
    let name = data_dir.file_name().ok_or_else(|| Problem::Directory {
        path: data_dir.into(),
    })?;
    let mut name = name.to_owned();
    name.push("-marker");
    Ok(data_dir.with_file_name(name))
}

fn approval(raw: &raw::Approve) -> Result<Approval, Problem> {
    match (raw.mode, &raw.studies) {
        (ApproveMode::All, None) => Ok(Approval::All),
        (ApproveMode::All, Some(_)) => Err(Problem::StudiesUnused),
        (ApproveMode::Digest, studies) => {
            let digests = studies.iter().flatten().map(|text| digest(text));
            digests.collect::<Result<_, _>>().map(Approval::Studies)
        }
    }
}

fn peers(raw: &raw::Peers) -> Result<PeerTrust, (&'static str, Problem)> {
    match (&raw.ids, &raw.roster) {
        (None, None) => Ok(PeerTrust::None),
        (Some(_), Some(_)) => Err(("peers.roster", Problem::BothPins)),
        (None, Some(roster)) => digest(roster)
            .map(PeerTrust::Roster)
            .map_err(|problem| ("peers.roster", problem)),
        (Some(ids), None) => pinned(ids)
            .map(PeerTrust::Ids)
            .map_err(|problem| ("peers.ids", problem)),
    }
}

fn pinned(ids: &[String]) -> Result<BTreeSet<MemberId>, Problem> {
    if ids.is_empty() {
        return Err(Problem::Empty {
            remedy: "list the ids of all members, this site's own included",
        });
    }
    ids.iter().map(|text| digest(text).map(MemberId)).collect()
}

fn digest(text: &str) -> Result<Digest, Problem> {
    text.parse()
        .map_err(|_| Problem::NotADigest { found: shown(text) })
}

fn min_cohort(typed: Option<u32>) -> Result<u32, Problem> {
    match typed.unwrap_or(DEFAULT_COHORT) {
        found @ MIN_COHORT..=MAX_COHORT => Ok(found),
        found => Err(Problem::MinCohort { found }),
    }
}

fn bits_min(typed: Option<u8>) -> Result<u8, Problem> {
    match typed.unwrap_or(BITS_MIN) {
        found @ MIN_BITS..=MAX_BITS => Ok(found),
        found => Err(Problem::Bits { found }),
    }
}

fn command(typed: &[String]) -> Result<Vec<String>, Problem> {
    match typed.first() {
        Some(program) if !program.is_empty() => Ok(typed.to_owned()),
        _ => Err(Problem::Empty {
            remedy: "write the trainer's program and arguments, as in [\"python\", \"train.py\"]",
        }),
    }
}

fn timeout(typed: Option<Span>) -> Result<Span, Problem> {
    match typed.unwrap_or(TRAINER_TIMEOUT) {
        Span(0) => Err(Problem::NoTime),
        timeout => Ok(timeout),
    }
}

fn variables(typed: &[String]) -> Result<Vec<String>, Problem> {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let fits = |name: &str| {
        name.bytes().next().is_some_and(letter)
            && name
                .bytes()
                .all(|byte| letter(byte) || byte.is_ascii_digit())
            && !name.starts_with("VEILSUM_")
    };
    match typed.iter().find(|name| !fits(name)) {
        None => Ok(typed.to_owned()),
        Some(name) => Err(Problem::Variable { found: shown(name) }),
    }
}

/// Fit for a message: not endless, no control characters.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

const SCHEMA: &str = "veilsum.site/v1";

/// A model of 500 million parameters in f32.
const MAX_UPDATE_BYTES: u64 = 2 << 30;

/// Twice the least that the protocol allows: of fewer bits, a sum gives more away about single inputs.
const BITS_MIN: u8 = 8;

/// Long enough for most trainings, short enough that a hanging one is noticed on the same day.
const TRAINER_TIMEOUT: Span = Span::from_secs(30 * 60);

/// The longest organisation that fits the wire's identity binding.
const MAX_ORGANISATION_BYTES: usize = 255;
