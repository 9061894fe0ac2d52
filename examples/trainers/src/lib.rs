//! The built-in example trainer: two small data sets, a softmax network that learns from one site's rows, and the hook that a participant starts.
//!
//! `veilsum demo` starts it as a subprocess through the same files and variables as any other trainer ([`hook`]), so it depends on no other veilsum
//! crate and knows nothing of masks, keys or peers. The path of a round is [`recipe`] → [`split`] → [`scale`] → [`learn`] → [`hook`];
//! [`mod@reference`] trains what the federated model is compared with. It is an example, not a machine-learning library: dense layers,
//! stochastic gradient descent, nothing else.
//!
//! The same seed gives the same model bytes on the same machine. Another processor may round a matrix product differently.

pub mod data;
pub mod hook;
pub mod learn;
pub mod model;
pub mod recipe;
pub mod reference;
pub mod rng;
pub mod scale;
pub mod split;

pub use data::Dataset;
pub use hook::{HookEnv, HookError, run_hook};
pub use learn::{Score, TrainConfig, TrainError};
pub use model::{FileKind, Model, ModelError};
pub use recipe::{BREAST_CANCER, DIGITS, Partition, Recipe};
pub use reference::Reference;
