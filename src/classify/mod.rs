//! Labels: what contents, messages and authors are. Pure functions over bytes and text: no I/O, no clock, no dice.

pub mod author;
pub mod catalog;
pub mod language;
pub mod license;
pub mod message;
pub mod natural;
mod parts;
