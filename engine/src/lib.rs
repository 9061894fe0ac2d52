//! What to do next: the deterministic machines of both roles, without I/O.
//!
//! Four machines, all driven by the same verbs ([`machine::Machine`]): at the coordinator [`run::Run`] says which epoch, round and
//! attempt comes next, [`epoch::Epoch`] turns advertisements into a certified roster, [`round::Round`] takes one attempt from its
//! announcement to its result; at a site [`participant::Participant`] is everything the site has done and promised in a run. `admit`
//! checks an event and changes nothing; the caller makes it durable; `handle` takes it in; `poll_output` says what the world is asked
//! for; `due` and `deadline` say when to decide without being told. After a crash the same entries give the same state, and `resume`
//! asks again for whatever nobody has answered.
//!
//! Around them, pure functions and plain data: [`notice`] (what a site may be told), [`policy`] (when a site refuses), [`ledger`] (what
//! a site has promised for good), [`plan`] (which vectors are folded
//! together), [`statements`] (what others have signed, to hold them to it), [`vault`] (the secrets that entries depend
//! on), [`rejection`] (the two ways of saying no).
//!
//! What it deliberately leaves to others: cryptography to `secagg`, numbers to `common`, bytes on the wire and in the journal to
//! `proto`; sockets, files, clocks, randomness and threads to the daemons. A whole federation runs in one unit test.
//!
//! Source: protocol, sections 6 to 15.

pub mod epoch;
pub mod ledger;
pub mod machine;
pub mod notice;
pub mod participant;
pub mod plan;
pub mod policy;
pub mod rejection;
pub mod round;
pub mod run;
pub mod statements;
pub mod terms;
pub mod vault;

#[cfg(test)]
mod tests;
