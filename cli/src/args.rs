//! What was typed: the whole command line as clap reads it, and nothing decided yet.
//!
//! Order of precedence is flag, then `VEILSUM_*` variable, then default; clap reports an error in any of them with exit code 2. What a command
//! needs beyond the types here is checked where the command runs.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use veilsum_common::ids::{RunId, SiteName};
use veilsum_common::limits::MAX_ELEMENTS;
use veilsum_common::time::Span;
use veilsum_daemon::identity::Role;
use veilsum_proto::convert;
use veilsum_secagg::Digest;

pub(crate) mod tensor;

/// Train one model on the data of many sites; nobody sees anybody's update.
#[derive(Debug, Parser)]
#[command(
    name = "veilsum",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
pub(crate) struct Arguments {
    /// Print exactly one JSON object to standard output
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the whole thing on this machine: a coordinator, five sites, real data, masked training
    Demo(Demo),
    /// Run the coordinator, or make its key
    Coordinator(Coordinator),
    /// Run a site's daemon, or make and show its keys
    Participant(Participant),
    /// Make the key of a person or program that controls runs
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// The built-in certificate authority
    #[command(subcommand)]
    Ca(CaCommand),
    /// Submit and control runs
    #[command(subcommand)]
    Run(RunCommand),
    /// Look at and fetch the models of a run
    #[command(subcommand)]
    Model(ModelCommand),
    /// Encrypt, sign, open and check files of tensors
    #[command(subcommand)]
    Tensor(tensor::TensorCommand),
    /// Check a fault file: a proof, complete in itself, that the coordinator or a site lied
    VerifyFault(VerifyFault),
    /// What an error's code word means and what to do about it
    Explain(Explain),
    /// The built-in example trainer, started by a participant through the trainer contract
    #[command(hide = true)]
    Trainer(Trainer),
}

/// Explains one code word, or all.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A code word, such as ROUND_QUORUM_LOST; without it the whole page
    pub code: Option<String>,
}

/// Runs the coordinator until SIGTERM.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Coordinator {
    #[command(subcommand)]
    pub command: Option<CoordinatorCommand>,
    /// Configuration file
    #[arg(long, default_value = "/etc/veilsum/coordinator.toml")]
    pub config: PathBuf,
    #[command(flatten)]
    pub parent: Parent,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CoordinatorCommand {
    /// Make the coordinator's TLS key and a signing request for it
    Csr(Csr),
}

/// Runs a site's daemon until SIGTERM.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Participant {
    #[command(subcommand)]
    pub command: Option<ParticipantCommand>,
    #[command(flatten)]
    pub run: ParticipantRun,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParticipantCommand {
    /// Run the daemon until SIGTERM; `veilsum participant --config FILE` does the same
    Run(ParticipantRun),
    /// Make the site's keys and a signing request; the keys never leave the directory
    Csr(Csr),
    /// Let this site's update into one more sum after an attempt was lost; the daemon is stopped meanwhile
    Consent(ParticipantConsent),
    /// The proofs of lies that this site keeps; also while its daemon runs
    Faults(ParticipantFaults),
    /// Show the site's protocol id, which its peers pin
    Id {
        /// Directory of site.toml and the keys
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Hash the protocol ids of all members, which a site may pin instead of the list
    RosterHash {
        /// Protocol id of every member, in any order
        #[arg(required = true, value_name = "ID")]
        ids: Vec<Digest>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ParticipantRun {
    /// Configuration file
    #[arg(long, default_value = "/etc/veilsum/site.toml")]
    pub config: PathBuf,
    #[command(flatten)]
    pub parent: Parent,
}

/// Says what is spent at this site and what one more sum over the same update may reveal, and asks.
#[derive(Debug, Args)]
pub(crate) struct ParticipantConsent {
    /// The run
    pub run: RunId,
    /// Configuration file of the site
    #[arg(long, default_value = "/etc/veilsum/site.toml")]
    pub config: PathBuf,
    /// Do not ask: whoever types this has read what it means
    #[arg(long)]
    pub yes: bool,
}

/// Lists the fault files of a site, or copies one for others to check with `veilsum verify-fault`.
#[derive(Debug, Args)]
pub(crate) struct ParticipantFaults {
    /// Configuration file
    #[arg(long, default_value = "/etc/veilsum/site.toml")]
    pub config: PathBuf,
    /// Copy the fault file with this id to FILE
    #[arg(long, num_args = 2, value_names = ["ID", "FILE"])]
    pub export: Option<Vec<String>>,
}

/// For daemons that the demo starts.
#[derive(Debug, Args)]
pub(crate) struct Parent {
    /// Die when this process, which started us, dies
    #[arg(long, hide = true, value_name = "PID")]
    pub die_with_parent: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct Csr {
    /// Name to stand in the certificate: a-z, 0-9 and `-`
    pub name: SiteName,
    /// Directory for the keys and the request; made if need be
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Make an operator's TLS key and a signing request for it
    Csr(Csr),
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make an authority: a key and a certificate that sites and the coordinator trust
    Init {
        /// Directory of the authority
        #[arg(long, default_value = "ca")]
        dir: PathBuf,
        /// Domain under which the names in certificates are unique
        #[arg(long, default_value = "veilsum.internal")]
        trust_domain: String,
        /// Name of the federation
        #[arg(long, default_value = "main")]
        federation: String,
    },
    /// Issue a certificate for a signing request
    Issue(CaIssue),
}

#[derive(Debug, Args)]
pub(crate) struct CaIssue {
    /// The signing request, as `csr` wrote it
    pub csr: PathBuf,
    /// What the holder may act as
    #[arg(long, default_value = "participant", value_parser = role)]
    pub role: Role,
    /// Name or address by which sites call the coordinator; may be repeated
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Days until the certificate expires: nothing renews it by itself in this version
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..))]
    pub days: u32,
    /// Directory of the authority
    #[arg(long, default_value = "ca")]
    pub dir: PathBuf,
    /// Where the certificate goes; beside the request if not given
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Where the coordinator is, and who asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct Connection {
    /// The coordinator
    #[arg(long, env = "VEILSUM_AT", value_name = "URL", hide_env_values = true)]
    pub at: String,
    /// Authority that vouches for the coordinator
    #[arg(long, env = "VEILSUM_CA", value_name = "PEM", hide_env_values = true)]
    pub ca: PathBuf,
    /// Your certificate, issued with --role operator
    #[arg(long, env = "VEILSUM_CERT", value_name = "PEM", hide_env_values = true)]
    pub cert: PathBuf,
    /// Its private key
    #[arg(long, env = "VEILSUM_KEY", value_name = "PEM", hide_env_values = true)]
    pub key: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunCommand {
    /// Submit a study
    Create(RunCreate),
    /// All runs, newest first
    List {
        #[command(flatten)]
        connection: Connection,
    },
    /// How a run stands, with the metrics of its rounds
    Show {
        /// The run
        run: RunId,
        #[command(flatten)]
        connection: Connection,
    },
    /// Wait until a run is where you want it, or paused; the exit code says whether it is
    Wait(RunWait),
    /// Follow a run until it is over
    Watch {
        /// The run
        run: RunId,
        /// One JSON object a line, the last with "terminal": true
        #[arg(long, conflicts_with = "json")]
        jsonl: bool,
        #[command(flatten)]
        connection: Connection,
    },
    /// Go on with a paused run: open the next round for the same model, for the sites that consent
    Resume {
        /// The run
        run: RunId,
        /// A UUID of your choice: the same id is the same request
        #[arg(long, value_name = "UUID", value_parser = uuid)]
        request_id: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
    /// End a run; what is under way is given up
    Cancel {
        /// The run
        run: RunId,
        /// A UUID of your choice: the same id is the same request
        #[arg(long, value_name = "UUID", value_parser = uuid)]
        request_id: Option<String>,
        #[command(flatten)]
        connection: Connection,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunCreate {
    /// Study file
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Override a key of the study's config table for this run; may be repeated
    #[arg(short, long = "config", value_name = "KEY=VALUE")]
    pub config: Vec<Override>,
    /// A UUID of your choice: submitting again with the same id gives the same run
    #[arg(long, value_name = "UUID", value_parser = uuid)]
    pub request_id: Option<String>,
    /// Wait until the run is completed
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct RunWait {
    /// The run
    pub run: RunId,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value = "completed")]
    pub awaited: Awaited,
    /// Stop waiting after this time (the run goes on), as in 90s or 2h
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<Span>,
    #[command(flatten)]
    pub connection: Connection,
}

/// A state of a run to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Awaited {
    /// Its first round was opened
    Running,
    /// All rounds are done
    Completed,
    /// It is over, however it ended
    Ended,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// The model versions of a run, oldest first
    List {
        /// The run
        run: RunId,
        #[command(flatten)]
        connection: Connection,
    },
    /// Fetch a model version as a safetensors file
    Get(ModelGet),
}

#[derive(Debug, Args)]
pub(crate) struct ModelGet {
    /// The run
    pub run: RunId,
    /// A round's number (0 is the initial model), `last`, or `best:METRIC`
    #[arg(long, default_value = "last", value_name = "ROUND")]
    pub round: Version,
    /// Where the model goes; a file that is there is replaced
    #[arg(short, long, value_name = "FILE")]
    pub out: PathBuf,
    /// Also compare what was written with the digest in the run's history
    #[arg(long)]
    pub verify: bool,
    #[command(flatten)]
    pub connection: Connection,
}

/// Which model version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The newest.
    Last,
    /// The one that this round made.
    Round(u64),
    /// The one whose round had the best mean of this metric.
    Best(String),
}

/// `key=value` of `run create -c`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Override {
    /// Keys from the table `[config]` inwards.
    pub path: Vec<String>,
    /// What it shall be.
    pub value: toml::Value,
}

/// Checks a fault file without any network: exits with 0 if it convicts somebody, and says whom, of what, and what that leaves open.
#[derive(Debug, Args)]
pub(crate) struct VerifyFault {
    /// The file, as a site keeps it and `veilsum participant faults --export` copies it
    pub file: PathBuf,
    /// Key that you know as the coordinator's in this run; a proof about a run with another one is refused
    #[arg(long, value_name = "KEY")]
    pub coordinator_key: Option<Digest>,
    /// site.toml with the ids of the members that you know; a proof against another member is refused
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs the built-in example trainer once.
#[derive(Debug, Args)]
pub(crate) struct Trainer {
    /// The synthetic update of a model of this many parameters
    #[arg(long, value_name = "N", exclusive = true)]
    pub params: Option<u64>,
    /// Data and model
    #[arg(long, value_enum, default_value = "digits")]
    pub data: Data,
    /// Number of sites among which the rows are shared out
    #[arg(long, default_value_t = 1)]
    pub sites: usize,
    /// Which of them this is, from 0
    #[arg(long, default_value_t = 0)]
    pub site: usize,
    /// Seed of the split
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Do not end round N while the file `round-N` is in this directory
    #[arg(long, value_name = "DIR")]
    pub hold: Option<PathBuf>,
}

/// A coordinator and sites on this machine train a model together: separate processes, mutual TLS, masked updates, bundled data.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Data and model
    #[arg(long, value_enum, default_value = "digits")]
    pub data: Data,
    /// No training: a synthetic model of this many F32 parameters, to see what its size costs here
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_ELEMENTS), conflicts_with_all = ["data", "drop", "plain", "seed"])]
    pub params: Option<u64>,
    /// Number of sites; fewer than 5 weaken what masking can hide
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub sites: u32,
    /// Rounds to train; by default what the data needs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: Option<u32>,
    /// Seed of the split, the initial model and the trainers; never of a mask
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u64).range(..=SEED_MAX))]
    pub seed: u64,
    /// In each round kill this share of the sites between their commit and the end of their upload
    #[arg(long, value_name = "RATE", conflicts_with = "plain")]
    pub drop: Option<f64>,
    /// For comparison: the same trainers and integers without masks, in this one process
    #[arg(long)]
    pub plain: bool,
    /// Directory for everything the demo makes
    #[arg(long, default_value = "veilsum-demo", value_name = "DIR")]
    pub out: PathBuf,
    /// Keep configurations, keys and data directories of the processes
    #[arg(long)]
    pub keep: bool,
    /// Show the logs of all processes
    #[arg(long)]
    pub verbose: bool,
}

/// A bundled data set with its model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Data {
    /// Handwritten digits, two classes per site
    Digits,
    /// Breast cancer, all sites alike
    BreastCancer,
}

impl FromStr for Version {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "last" => Ok(Self::Last),
            Some(("best", metric)) if !metric.is_empty() => Ok(Self::Best(metric.to_owned())),
            _ => text
                .parse()
                .map(Self::Round)
                .map_err(|_| "write a round's number, `last` or `best:METRIC`"),
        }
    }
}

impl FromStr for Override {
    type Err = &'static str;

    /// The value is read as TOML and, if it is none, as the text itself.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (key, value) = text
            .split_once('=')
            .ok_or("write KEY=VALUE, as in lr=0.05")?;
        let path: Vec<String> = key.split('.').map(|part| part.trim().to_owned()).collect();
        if path.iter().any(String::is_empty) {
            return Err("the key is empty; write KEY=VALUE, as in lr=0.05");
        }
        let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
        let typed = parsed
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("value"));
        Ok(Self {
            path,
            value: typed.unwrap_or_else(|| toml::Value::String(value.to_owned())),
        })
    }
}

/// Whole numbers in a study file have a sign.
const SEED_MAX: u64 = i64::MAX as u64;

fn uuid(text: &str) -> Result<String, String> {
    convert::run::request_id(text)
        .map_err(|_| "write a UUID, for example what `uuidgen` prints".to_owned())
}

fn role(text: &str) -> Result<Role, String> {
    text.parse()
        .map_err(|error: veilsum_daemon::identity::IdentityError| error.to_string())
}

#[cfg(test)]
mod tests;
