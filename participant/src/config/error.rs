//! What can be wrong with `site.toml`, where, and what would do; and what is allowed but worth saying.

use std::path::PathBuf;

use veilsum_common::limits::{DEFAULT_COHORT, MAX_BITS, MAX_COHORT, MIN_BITS, MIN_COHORT};
use veilsum_daemon::config::Origin;

/// Why the configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read, or says something that is no key or no value of its type.
    #[error(transparent)]
    Load(#[from] Box<veilsum_daemon::config::ConfigError>),
    /// A value is out of its bounds.
    #[error("{origin}: {key} {problem}")]
    Refused {
        /// Where it is written.
        origin: Origin,
        /// Which key, dotted.
        key: &'static str,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a value. Reads on after the key's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file is for another version.
    #[error("is `{found}`, this version reads `{expected}`")]
    Schema {
        /// What is written.
        found: String,
        /// What would do.
        expected: &'static str,
    },
    /// Not the address of a coordinator.
    #[error(
        "is `{found}`; write https://HOST:PORT with nothing behind the port (there is no unencrypted mode)"
    )]
    Coordinator {
        /// What is written.
        found: String,
    },
    /// Not a text for a certificate-like statement.
    #[error(
        "has {len_bytes} bytes; write the organisation's name in 1 to {limit_bytes} bytes, without control characters"
    )]
    Organisation {
        /// Length of what is written.
        len_bytes: usize,
        /// The longest.
        limit_bytes: usize,
    },
    /// A path that names no directory of its own.
    #[error("is `{}`; name a directory of its own", path.display())]
    Directory {
        /// What is written.
        path: PathBuf,
    },
    /// A backup of one would hold the other.
    #[error("is `{}`; it must lie outside data_dir, or a restored backup could not be told from the truth", path.display())]
    MarkerInside {
        /// What is written.
        path: PathBuf,
    },
    /// Both kinds of pin.
    #[error(
        "is set beside peers.ids; keep one of the two: the ids you trust, or the hash of the whole roster you approved"
    )]
    BothPins,
    /// Nothing in a list that must name something.
    #[error("is empty; {remedy}")]
    Empty {
        /// What would do.
        remedy: &'static str,
    },
    /// Not a hash.
    #[error("has `{found}`; write 64 hexadecimal digits, as `veilsum` prints them")]
    NotADigest {
        /// What is written, shortened.
        found: String,
    },
    /// Digests beside a mode that does not look at them.
    #[error(
        "is set although approve.mode is \"all\", which approves every study; set the mode to \"digest\" or remove the list"
    )]
    StudiesUnused,
    /// A cohort in which a sum protects nobody, or larger than any.
    #[error(
        "is {found}, possible is {MIN_COHORT} to {MAX_COHORT}, and {DEFAULT_COHORT} is the default: \
         in a sum over two sites each can read the other's update"
    )]
    MinCohort {
        /// What is written.
        found: u32,
    },
    /// Bits that no run can have.
    #[error("is {found}, possible is {MIN_BITS} to {MAX_BITS}")]
    Bits {
        /// What is written.
        found: u8,
    },
    /// No time at all.
    #[error("is zero; write how long a training may take, as in \"30m\"")]
    NoTime,
    /// Not a variable that may be handed on.
    #[error(
        "has `{found}`; write names of environment variables (letters, digits and `_`), none of VEILSUM_"
    )]
    Variable {
        /// What is written, shortened.
        found: String,
    },
}

/// What is allowed, but should be said at every start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigWarning {
    /// A small cohort.
    #[error(
        "policy.min_cohort is {min_cohort}: in so small a cohort a single colluding site leaves few honest updates \
         to hide among; {DEFAULT_COHORT} or more is recommended"
    )]
    SmallCohort {
        /// What is configured.
        min_cohort: u32,
    },
    /// No pins.
    #[error(
        "no peers are pinned, so this site joins no epoch: set peers.ids or peers.roster in site.toml"
    )]
    NoPeers,
    /// Pins that can never make a cohort.
    #[error(
        "peers.ids pins {have} ids, policy.min_cohort is {need}: this site will refuse every roster"
    )]
    FewPeers {
        /// How many are pinned, this site included.
        have: usize,
        /// How many a cohort needs.
        need: u32,
    },
    /// Nothing is approved.
    #[error(
        "approve.mode is \"digest\" and approve.studies is empty, so this site takes part in no run"
    )]
    NoStudies,
}
