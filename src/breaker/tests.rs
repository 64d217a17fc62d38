//! Simulations of the breaker, without a host: the shipped [`Fleet`](super::Fleet)s of several
//! workers over a [`store`] in memory, on a virtual clock.
//!
//! [`proxy`] runs the workers, [`traffic`] sends random requests, [`script`] reads a sequence from
//! a line of text. Everything is seeded, so a test always passes or always fails. Most simulations
//! print what they measured (`cargo test -p sidetrack breaker -- --nocapture`).

mod abandoned;
mod agreement;
mod capacity;
mod clock;
mod crowd;
mod fairness;
mod faults;
mod modes;
mod noise;
mod outage;
mod own;
mod proxy;
mod published;
mod random;
mod recovery;
mod requests;
mod script;
mod store;
mod traffic;
mod workers;
mod year;
