//! What the fuzz targets share: a reply made of bytes, a client to ask with, and what holds whatever the bytes are.

#[path = "../../tests/canary/mod.rs"]
mod canary;
#[path = "../../tests/world/mod.rs"]
mod world;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokauth::seams::{Deadline, Head, Reply, Secret, Sent, Transport};
use tokauth::{Builder, Client, Error, Token};
use world::World;
pub use world::{NOW, S};

/// The secret of every client here.
pub const SECRET: &str = "canary-secret-1";
/// A token in a reply that holds this is never repeated.
pub const TOKEN: &str = "canary-token";
/// More than any error about a reply needs, in characters.
const LONGEST: usize = 1000;
const STEPS: [&str; 9] =
    ["config: ", "store: ", "budget: ", "resolve: ", "connect: ", "TLS: ", "request: ", "reply: ", "token: "];

/// The built-in descriptions, by name.
pub static BUILT_IN: LazyLock<Vec<(&'static str, Value)>> = LazyLock::new(|| {
    let read = |name| {
        let path = format!("{}/../src/providers/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_slice(&std::fs::read(path).expect("a built-in description")).expect("JSON")
    };
    tokauth::providers().map(|name| (name, read(name))).collect()
});

/// The description of a built-in provider.
pub fn built_in(name: &str) -> &'static Value {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, description)| description).expect("a built-in name")
}

/// A reply as HTTP writes it, but for the version, the reason and the line ends: `STATUS`, headers, an empty line, the
/// body. What the transport would not let through is left out.
pub fn reply(bytes: &[u8]) -> Reply {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((bytes, &[][..]), |end| (&bytes[..end], &bytes[end + 2..]));
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.parse().ok()).filter(|status| (200..=999).contains(status));
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.filter(|(_, value)| value.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic()));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Reply { status: status.unwrap_or(200), headers, body: body.to_vec().into() }
}

/// The options of a client of the provider that `description` describes, all but the one that names it.
pub fn options(description: &Value) -> Builder {
    let mut builder = Client::builder().client_id("a-fuzzed-client").client_secret(SECRET);
    builder = builder.store("memory").quota("none"); // no file is made
    if description.get("token_url").is_none() {
        builder = builder.token_url("https://auth.example/token");
    }
    let inputs = description.get("inputs").and_then(Value::as_object);
    for (name, rules) in inputs.into_iter().flatten().filter(|(_, rules)| rules.get("default").is_none()) {
        let length = rules.get("min_length").and_then(Value::as_u64).unwrap_or(1).clamp(1, 4096);
        builder = builder.set(
            name,
            match rules.get("type").and_then(Value::as_str) {
                Some("base_url") => "https://api.example".to_owned(),
                Some("duration") => "5m".to_owned(),
                _ => "x".repeat(length as usize),
            },
        );
    }
    builder
}

/// Asks once for a token, at `now`, and checks what holds for every outcome. The client's secret is [`SECRET`].
pub fn ask(builder: &Builder, description: &Value, reply: Reply, now: Duration) -> Result<Token, Error> {
    ask_keeping(&[SECRET], builder, description, reply, now)
}

/// The same where the client's secret is another.
pub fn ask_keeping(
    secrets: &[&str],
    builder: &Builder,
    description: &Value,
    reply: Reply,
    now: Duration,
) -> Result<Token, Error> {
    let pointer = description.pointer("/response/token").and_then(Value::as_str).unwrap_or("/access_token");
    let told = match serde_json::from_slice::<Value>(&reply.body) {
        Ok(told) => told.pointer(pointer).and_then(Value::as_str).map(str::to_owned),
        Err(_) => form(&reply.body).and_then(|form| form.get(pointer.strip_prefix('/')?).cloned()),
    };
    let tells_token = told.is_some_and(|token| token.contains(TOKEN));
    let secrets = &[secrets, if tells_token { &[TOKEN] } else { &[] }].concat();

    let mut world = World::new();
    world.clock.set_wall(now);
    world.seams.random = |bytes| {
        bytes.fill(7);
        Ok(())
    };
    world.seams.transport = Some(Arc::new(Wire { reply, requests: Mutex::new(0) }));
    let log = Arc::new(Mutex::new(Vec::new()));
    let lines = log.clone();
    let builder = builder.clone().log(move |_, line| lines.lock().unwrap().push(line.to_owned()));
    let outcome = builder.build_over(world.seams.clone()).and_then(|client| {
        let token = client.token()?;
        assert_eq!(client.cached()?.value(), token.value(), "the token that was got is the one that is cached");
        Ok(token)
    });

    for line in log.lock().unwrap().iter() {
        check_line(line, secrets);
    }
    match &outcome {
        Ok(token) => check_token(token, now),
        Err(error) => check_error(error, secrets, LONGEST + description.to_string().chars().count()),
    }
    outcome
}

/// The pairs of what is a form and nothing else, each name once.
fn form(body: &[u8]) -> Option<HashMap<String, String>> {
    let text = std::str::from_utf8(body).ok()?;
    let pairs: Vec<_> = text.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let form: HashMap<_, _> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}[]%+".contains(&b));
    (plain && form.len() == pairs.len()).then_some(form)
}

fn check_token(token: &Token, now: Duration) {
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    assert!(visible(token.value()), "{:?}", token.value());
    for (name, value) in token.headers() {
        assert!(visible(name) && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{name}: {value:?}");
    }
    assert!(token.headers().any(|(_, value)| value.contains(token.value())));
    assert!(!token.token_type().is_empty() && !token.token_type().contains(char::is_control));
    assert!(!token.scope().unwrap_or_default().contains(char::is_control));
    let life = token.expires_at() - now.as_secs() as i64;
    assert!((0..=31 * 86_400).contains(&life), "a life of {life} s");
}

/// One line of at most `longest` characters that opens with a step and holds no secret, its `Debug` included.
pub fn check_error(error: &Error, secrets: &[&str], longest: usize) {
    let text = error.to_string();
    assert!(STEPS.iter().any(|step| text.starts_with(step)), "no step: {text}");
    assert!(text.chars().count() <= longest, "too long: {text}");
    // An hour, or the day that a locked credential is kept back.
    assert!(error.retry_after().is_none_or(|wait| wait <= 3600 * S || wait == 86_400 * S), "{error:?}");
    check_line(&text, secrets);
    check_line(&format!("{error:?}"), secrets);
    check_line(error.provider_code().unwrap_or_default(), secrets);
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        check_line(&format!("{cause} {cause:?}"), secrets);
        source = cause.source();
    }
}

fn check_line(line: &str, secrets: &[&str]) {
    assert!(!line.contains(char::is_control), "more than one line: {line:?}");
    for secret in secrets {
        assert!(!gives_away(line, secret), "a secret leaks: {line}");
    }
}

/// Whether `text` holds eight characters in a row of `secret`.
pub fn gives_away(text: &str, secret: &str) -> bool {
    (8..=secret.len()).any(|end| text.contains(&secret[end - 8..end]))
}

/// Answers each attempt of one call alike, and checks that it may leave at all.
#[derive(Debug)]
struct Wire {
    reply: Reply,
    requests: Mutex<usize>,
}

impl Transport for Wire {
    fn send(
        &self,
        head: &Head,
        _deadline: Deadline,
        body: &mut dyn FnMut() -> Result<Secret, Error>,
    ) -> Result<Sent, Error> {
        let (scheme, rest) = head.url.split_once("://").expect("a full URL");
        let safe = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") && is_loopback(rest);
        assert!(safe, "in the clear: {}", head.url);
        assert!(!head.url.contains(|c: char| c.is_control() || c == ' '), "{:?}", head.url);
        for (name, value) in &head.headers {
            let text = |text: &str| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
            assert!(text(name) && text(value.expose()), "{name}: {:?}", value.expose());
        }
        let body = body()?;
        let body = body.expose();
        assert_eq!(body.len(), head.content_length, "the head tells the body's length");
        // A description may label a form as it likes, and JSON too.
        let is_json = serde_json::from_str::<Value>(body).is_ok_and(|body| body.is_object());
        assert!(is_json || body.bytes().all(|b| b.is_ascii_graphic()), "neither JSON nor a form: {body}");
        let mut requests = self.requests.lock().unwrap();
        *requests += 1;
        assert!(*requests <= 4, "three attempts, and one for a corrected time");
        let Reply { status, headers, body } = &self.reply;
        Ok(Sent::Reply(Reply { status: *status, headers: headers.clone(), body: body.clone() }))
    }
}

/// Whether what follows a URL's scheme names this machine.
fn is_loopback(rest: &str) -> bool {
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
