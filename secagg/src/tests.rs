//! Tests of whole steps and whole rounds: known answers, properties, and the attacks of protocol, section 23, by their numbers.

mod bad_vectors;
mod channels;
mod contexts;
mod dealer;
mod fixture;
mod holders;
mod kit;
mod masks;
mod participants;
mod properties;
mod rounds;
mod span;
mod vectors;
mod views;
