//! Attacks of section 23 and their controls: the same attack with one defence left out inside the harness, and the harm it then does.
//!
//! A control shows the harm itself: an update bit for bit, two secrets of one site, a sum that nobody signed. Beside each stands, here or
//! in the files by theme, the test that the attack fails.

mod context;
mod dealers;
mod numbers;
mod releases;
mod seizure;
mod shares;
mod surroundings;
mod survivors;
mod uploads;
