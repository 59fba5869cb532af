//! gitlode mines Git history into instruction-tuning data.
//!
//! In reading order: [`sample`] is the row, [`verdict`] the account; [`source`] says which repositories, [`git`] reads
//! them, [`classify`] labels what they hold, [`filter`] keeps or drops, [`store`] keeps the rows, [`export`] writes
//! them for other programs, `hub` uploads those, and [`pipeline`] puts them together. [`cli`] is the program. `docs/architecture.md` has the data flow and the invariants.

pub mod sample;
pub mod verdict;

pub mod source;

pub mod git;

pub mod bytes;
pub mod classify;

pub mod filter;

pub mod dedup;

pub mod store;

pub mod export;

#[cfg(feature = "push")]
pub mod hub;

pub mod pipeline;

pub mod daemon;

pub mod cli;
