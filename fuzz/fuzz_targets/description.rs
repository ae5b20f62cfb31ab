//! A provider description, and a client that lives by it. A line `---` parts it from the reply that the client gets.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokauth::seams::check_description;
use tokauth_fuzz::{NOW, S, SECRET, TOKEN, ask, check_error, gives_away, options, reply};

/// Where `provider_file` finds it.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("tokauth-fuzz-{}.json", std::process::id())));

fuzz_target!(|text: &str| {
    let (text, answer) = text.split_once("\n---\n").unwrap_or((text, "200\n\n{\"access_token\": \"t\"}"));
    if let Err(error) = check_description(text) {
        assert!(error.to_string().starts_with("config: "), "{error}");
        return check_error(&error, &[], usize::MAX);
    }
    let description: Value = serde_json::from_str(text).expect("a description is JSON");
    if [SECRET, TOKEN].iter().any(|secret| gives_away(&description.to_string(), secret)) {
        return; // what the host's own file says is no leak
    }
    std::fs::write(&*FILE, text).expect("a directory for temporary files");
    let builder = options(&description).provider_file(FILE.to_str().expect("a path in UTF-8"));
    if let Err(error) = ask(&builder, &description, reply(answer.as_bytes()), NOW as u32 * S) {
        assert!(!error.to_string().contains("the provider description is broken"), "{error}");
    }
});
