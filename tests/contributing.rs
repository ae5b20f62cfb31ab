//! The worked example of CONTRIBUTING.md works, and the page tells the truth about the format and its errors.
#![allow(clippy::unwrap_used, clippy::expect_used)] // the lints know test functions, not their helpers

mod canary;
mod temp;
mod world;

use serde_json::{Value, json};
use temp::TempFile;
use tokauth::{Builder, Client, Error, Token};
use world::{Act, NOW, World};

/// The page, with a secret and a token that can be searched for.
fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/CONTRIBUTING.md");
    std::fs::read_to_string(path)
        .unwrap()
        .replace("my-secret", "canary-secret-acme")
        .replace("a-session-token", "canary-token-acme")
}

/// The block of the page that begins so.
fn block(begin: &str) -> String {
    let page = page();
    let (_, block) = page.split_once(&format!("\n{begin}")).unwrap();
    format!("{begin}{}", block.split_once("\n```").unwrap().0)
}

fn description() -> Value {
    serde_json::from_str(&block("{\n  \"$schema\"")).unwrap()
}

fn acme(file: &TempFile) -> Builder {
    Client::builder().provider_file(file.path()).client_id("my-id").client_secret("canary-secret-acme")
}

/// What a client with this description makes of this reply.
fn read(description: &Value, body: &str) -> Result<Token, Error> {
    let world = World::new();
    world.provider.always(Act::Reply(200, vec![], body.into()));
    let file = TempFile::new(description.to_string());
    world.client(&acme(&file)).token()
}

#[test]
fn the_description_sends_what_the_curl_command_sends() {
    let world = World::new();
    let file = TempFile::new(block("{\n  \"$schema\""));
    let _ = world.client(&acme(&file)).token();
    let request = world.provider.last();
    let curl = block("curl ");
    assert!(curl.starts_with(&format!("curl {} ", request.url)), "{curl}");
    let quoted = |flag: &str| -> Vec<String> {
        let parts = curl.split(flag).skip(1).map(|part| part.split('\'').nth(1).unwrap().to_owned());
        parts.collect()
    };
    assert_eq!(quoted(" -d ").concat(), request.body);
    for header in quoted(" -H ") {
        let (name, value) = header.split_once(": ").unwrap();
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    assert_eq!(quoted(" -H ").len(), 2);
    let _ = world.client(&acme(&file).set("site", "us")).token();
    assert_eq!(world.provider.last().url, "https://api.acme.example/v2/us/login");
}

#[test]
fn the_description_reads_both_answers() {
    let token = read(&description(), &block("{\"ok\": true")).unwrap();
    assert_eq!(token.headers().collect::<Vec<_>>(), [("X-Acme-Session", "canary-token-acme")]);
    assert_eq!(token.expires_at(), NOW as i64 + 3600);
    let error = read(&description(), &block("{\"ok\": false")).unwrap_err();
    assert_eq!(error.provider_code(), Some("E17"));
    assert!(error.to_string().contains("saying \"bad key\"; wrong client_id or client_secret; check both"), "{error}");
}

#[test]
fn the_errors_that_the_page_tells_of_come_in_these_words() {
    let success = block("{\"ok\": true");
    let with = |pointer: &str, value: Value| {
        let mut description = description();
        *description.pointer_mut(pointer).unwrap() = value;
        description
    };
    let world = World::new();
    let unset = |description: Value, name: &str| {
        let file = TempFile::new(description.to_string());
        world.build(&acme(&file).set(name, "us")).unwrap_err()
    };
    let errors = [
        unset(with("/request/body", json!("xml")), "site"),
        unset(with("/request/fields/app", json!("{tenant}")), "site"),
        unset(description(), "sit"),
        read(&with("/response/token", json!("/data/token")), &success).unwrap_err(),
        read(&description(), "<p>Log in</p>").unwrap_err(),
        read(&description(), &block("{\"ok\": false")).unwrap_err(),
        read(&with("/request", json!({"body": "form", "auth": ["basic"]})), &success).unwrap_err(),
    ];
    let page = page();
    let (_, table) = page.split_once("| the error says | then |\n").unwrap();
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let told: Vec<&str> = rows.map(|row| row.split('`').nth(1).unwrap()).collect();
    assert_eq!(told.len(), errors.len());
    for (told, error) in told.iter().zip(errors) {
        assert!(error.to_string().contains(told), "{error}\n  lacks {told}");
    }
}

#[test]
fn every_member_of_the_format_stands_on_the_page() {
    fn names(schema: &Value, found: &mut Vec<String>) {
        for (keyword, rules) in schema.as_object().into_iter().flatten() {
            if keyword == "properties" {
                found.extend(rules.as_object().unwrap().keys().cloned());
            }
            names(rules, found);
        }
        schema.as_array().into_iter().flatten().for_each(|schema| names(schema, found));
    }
    let schema = serde_json::from_str(include_str!("../src/providers/schema.json")).unwrap();
    let mut found = Vec::new();
    names(&schema, &mut found);
    assert!(found.len() > 40, "{found:?}");
    let page = page();
    let chapter = page.split_once("\n## Your own provider").unwrap().1;
    for name in found {
        let told = [format!("\"{name}\":"), format!("`{name}`"), format!(".{name}`")];
        assert!(told.iter().any(|told| chapter.contains(told)), "{name} is not explained");
    }
}

#[test]
fn the_page_names_the_commands_that_the_readme_names() {
    let readme = include_str!("../README.md");
    for command in ["cargo run --example quickstart", "cargo test"] {
        assert!(readme.contains(&format!("\n{command} ")) && page().contains(&format!("\n{command} ")), "{command}");
    }
}
