//! The body of a reply, read by each built-in provider: the first byte chooses it, the second the status.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokauth::seams::Reply;
use tokauth_fuzz::{BUILT_IN, NOW, S, ask, options};

const STATUSES: [u16; 10] = [200, 201, 302, 400, 401, 403, 404, 429, 500, 501];

fuzz_target!(|bytes: &[u8]| {
    let [provider, status, body @ ..] = bytes else { return };
    let pick = |byte: u8, first: u8, count: usize| usize::from(byte.wrapping_sub(first)) % count;
    let (name, description) = &BUILT_IN[pick(*provider, b'a', BUILT_IN.len())];
    let status = STATUSES[pick(*status, b'0', STATUSES.len())];
    let reply = Reply { status, headers: Vec::new(), body: body.to_vec().into() };
    let _ = ask(&options(description).provider(*name), description, reply, NOW as u32 * S);
});
