//! Tests of whole steps and whole rounds: known answers, properties, and the attacks of protocol, section 23, by their numbers.

mod admission;
mod attacks;
mod bad_vectors;
mod certificates;
mod chacha;
mod channels;
mod contexts;
mod dealer;
mod evidence;
mod fixture;
mod holders;
pub mod kit;
mod layouts;
mod masks;
#[cfg(target_os = "linux")]
mod memory;
mod neighbours;
mod participants;
mod partition;
mod paths;
mod properties;
mod rounds;
mod span;
mod vectors;
mod views;
