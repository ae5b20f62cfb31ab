//! The body of a reply, read by a built-in provider: the first line is its name and the HTTP status, the rest the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokauth::seams::Reply;
use tokauth_fuzz::{BUILT_IN, NOW, S, ask, options};

fuzz_target!(|bytes: &[u8]| {
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let Some((name, status)) = head.split_once(' ') else { return };
    let Some((name, description)) = BUILT_IN.iter().find(|(known, _)| *known == name) else { return };
    let Some(status) = status.parse().ok().filter(|status| (200..=999).contains(status)) else { return };
    let reply = Reply { status, headers: Vec::new(), body: bytes[end + 1..].to_vec().into() };
    let _ = ask(&options(description).provider(*name), description, reply, NOW as u32 * S);
});
