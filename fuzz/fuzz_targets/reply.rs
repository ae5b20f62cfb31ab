//! A whole HTTP reply, read by the provider that most servers are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokauth_fuzz::{NOW, S, ask, built_in, options, reply};

fuzz_target!(|bytes: &[u8]| {
    let description = built_in("oauth2");
    let _ = ask(&options(description).provider("oauth2"), description, reply(bytes), NOW as u32 * S);
});
