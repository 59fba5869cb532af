//! The daemon: keeps a store current with repositories that change.
//!
//! Owns when what is done, what is remembered of it, and the server that tells of it. Refuses to mine, fetch or decide
//! about rows by itself: what becomes of one repository is what `gitlode mine` makes of it.

pub mod event;
mod host;
pub mod http;
pub mod metrics;
pub mod notify;
pub mod repository;
pub mod schedule;
mod sources;
pub mod watch;
pub mod webhook;
mod work;
