//! A ledger of requests as it may lie in a store: as it is, and with sound checks, which no fuzzer would find.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sha2::{Digest, Sha256};
use tokauth::seams::read_ledger;

fuzz_target!(|text: &str| {
    for document in [text.to_owned(), checked(text)] {
        if let Some(again) = read_ledger(document.as_bytes()) {
            assert_eq!(read_ledger(&again).as_ref(), Some(&again), "what was written is read as it was");
        }
    }
});

/// Behind each line of numbers the check that it should have; the first line begins with more than numbers.
fn checked(text: &str) -> String {
    let mut document = String::from("tokauth ledger ");
    for line in text.lines() {
        let line = format!("{} ", line.trim());
        let check = Sha256::digest(line.as_bytes())[..4].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        document.push_str(&format!("{line}{check}\n"));
    }
    document
}
