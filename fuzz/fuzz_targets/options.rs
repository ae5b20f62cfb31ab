//! Option text, read as JSON and as lines of `NAME=VALUE`, judged, and put to use if it is sound.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tokauth::{Builder, Client, OPTIONS};
use tokauth_fuzz::{NOW, S, ask_keeping, built_in, check_error, gives_away, reply};

/// No error quotes this, unless a name holds it too.
const VALUE: &str = "canary-value";

fuzz_target!(|text: &str| {
    match Client::builder().load_json(text) {
        Ok(builder) => {
            let members: Value = serde_json::from_str(text).expect("what was loaded is JSON");
            let members = members.as_object().expect("what was loaded is an object");
            judge(builder, members.keys().map(String::as_str));
        }
        Err(error) => {
            let names_a_member = error.to_string().starts_with("config: the JSON member ");
            check_error(&error, if names_a_member { &[] } else { &[VALUE] }, 300);
        }
    }
    let pairs = || text.lines().filter_map(|line| line.split_once('='));
    judge(pairs().fold(Client::builder(), |builder, (name, value)| builder.set(name, value)), pairs().map(|(n, _)| n));
});

fn judge<'a>(builder: Builder, mut names: impl Iterator<Item = &'a str>) {
    // No file is read or made on a fuzzer's word.
    let files = OPTIONS.iter().map(|option| option.name).filter(|name| name.ends_with("_file"));
    let builder = files.fold(builder, |builder, name| builder.remove(name)).store("memory");
    let outcome =
        ask_keeping(&[], &builder, built_in("oauth2"), reply(b"200\n\n{\"access_token\": \"t\"}"), NOW as u32 * S);
    if let Err(error) = outcome {
        let named = names.any(|name| gives_away(&name.replace(char::is_control, ""), VALUE));
        check_error(&error, if named { &[] } else { &[VALUE] }, 400);
    }
}
