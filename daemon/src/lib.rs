//! What both processes need around them: configuration, time, randomness, stopping, files, TLS and logs.
//!
//! Nothing here knows what a round is. The crate stands beside the path of a message, not on it: the coordinator and
//! the participant call it when they start, when they need the clock or randomness, and when they must judge a peer's
//! certificate.
//!
//! # What lives where
//!
//! | module | what it gives |
//! |---|---|
//! | [`config`] | a TOML file and the environment, as one raw struct; every error says where the bad value came from |
//! | [`clock`], [`entropy`] | the only callers of "now" and of the operating system's randomness |
//! | [`shutdown`], [`backoff`] | stopping in order; how long to wait before trying again |
//! | [`dumps`] | no core dumps |
//! | [`faults`] | the folder of fault files, which outlives its run |
//! | [`workers`] | pure work over many pieces, on a bounded number of threads |
//! | [`files`] | secrets in files only their owner can read; replacement that survives a crash |
//! | [`tls`], [`identity`], [`refusal`] | TLS 1.3 with client certificates; who the peer is; why a handshake failed |
//! | [`binding`] | an organisation's signature that ties a protocol key to its certificate |
//! | [`telemetry`] | logs to standard error; nothing leaves the process |

pub mod backoff;
pub mod binding;
pub mod clock;
pub mod config;
pub mod dumps;
pub mod entropy;
pub mod faults;
pub mod files;
pub mod identity;
pub mod refusal;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod workers;
