//! The only composition: introduces sources, git, classification and the store to each other.

pub mod assemble;
pub mod candidate;
pub mod changes;
pub mod compact;
mod draw;
pub mod export;
pub mod extract;
pub mod join;
pub mod known;
pub mod license;
pub mod mine;
mod negatives;
mod ordered;
mod others;
mod pairs;
pub mod progress;
pub mod purge;
pub mod read;
pub mod recipe;
pub mod redact;
pub mod remove;
pub mod report;
pub mod reversal;
mod roots;
pub mod run;
mod shuffle;
pub mod trial;
