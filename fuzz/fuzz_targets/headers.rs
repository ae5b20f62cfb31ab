//! `Retry-After` in the first line, `Date` in the second (RFC 9110), read at several times.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use tokauth::seams::Reply;
use tokauth_fuzz::{NOW, S, ask, built_in, options};

/// 2001-09-09, 2026-11-21 and the end of 9999.
const TIMES: [u64; 3] = [1_000_000_000, NOW, 253_402_300_799];

fuzz_target!(|text: &str| {
    let mut lines = text.lines().map(|line| line.chars().filter(|c| *c == '\t' || matches!(c, ' '..='~')).collect());
    let mut line = || -> String { lines.next().unwrap_or_default() };
    let headers = vec![("retry-after".to_owned(), line()), ("date".to_owned(), line())];
    let digits = &headers[0].1;
    let whole = digits.parse::<u64>().ok().filter(|_| !digits.starts_with('+'));
    for now in TIMES.map(Duration::from_secs) {
        // The one refuses by its clock, the other asks to wait.
        for (name, status) in [("authvia", 401), ("oauth2", 429)] {
            let reply = Reply { status, headers: headers.clone(), body: Vec::new().into() };
            let builder = options(built_in(name)).provider(name);
            let error = ask(&builder, built_in(name), reply, now).expect_err("a refusal");
            if let (Some(seconds), "oauth2") = (whole, name) {
                let wait = error.retry_after().expect("a whole number of seconds is a wait");
                assert_eq!(wait, S * seconds.clamp(1, 3600) as u32);
            }
        }
    }
});
