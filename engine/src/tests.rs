//! Tests of whole rounds: a federation in one thread, and the rules of protocol, section 23, by their numbers.

mod attacks;
mod chaos;
mod consent;
mod contract;
mod figure;
mod hostile;
pub mod kit;
mod results;
mod retries;
mod rounds;
mod secrets;
