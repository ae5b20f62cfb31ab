//! The C functions: each converts, calls the Rust API, converts back, and decides nothing.
//!
//! The comments of this folder are the comments of the C header, so they speak to C programmers.

mod boundary;
mod client;
mod config;
mod library;
mod status;
mod values;

pub use client::*;
pub use config::*;
pub use library::*;
pub use status::*;
pub use values::*;
