//! The page of all built-in providers, `src/providers/README.md`: made of their descriptions.

use std::path::Path;

use super::template::{Ordered, Piece, Template};
use super::{Auth, BodyKind, TimeUnit};
use super::{BUILT_IN, Computed, Encoding, ExpiryUnit, Field, Input, InputKind, Meaning, Provider, RefusalKind};

const HEAD: &str = "# The built-in providers

One JSON file each; the code knows none of them by name, and this page is made of the files. `client_id` and
`client_secret` (or `client_secret_file`) are needed everywhere, `token_url` replaces the endpoint everywhere, and a token
lives as long as the reply says, else as the token itself says. What is sent, to the byte, stands in `tests/requests.rs`;
what is answered, in `tests/replies.rs`.
";

fn written(template: &Template) -> String {
    let piece = |piece: &Piece| match piece {
        Piece::Literal(text) => text.clone(),
        Piece::Name(name) => format!("{{{name}}}"),
    };
    template.pieces().iter().map(piece).collect()
}

fn coded(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect();
    names.join(", ")
}

fn headers(headers: &Ordered<Template>) -> String {
    coded(headers.iter().map(|(name, value)| format!("{name}: {}", written(value))))
}

fn request(provider: &Provider) -> String {
    let endpoint =
        provider.token_url.as_ref().map_or("`token_url`, which you give".into(), |url| coded([written(url)]));
    let body = match provider.request.body {
        BodyKind::Json => "JSON",
        BodyKind::Form => "a form",
    };
    let field = |(name, field): (&str, &Field)| match field {
        Field::Text(template) => format!("{name}: {}", written(template)),
        Field::Number(number) => format!("{name}: {number}"),
        Field::Bool(value) => format!("{name}: {value}"),
        Field::EachOf(input) => format!("{name}: each word of {{{input}}}"),
    };
    let fields: Vec<String> = provider.request.fields.iter().map(field).collect();
    let mut text = format!("{body} to {endpoint}");
    if !fields.is_empty() {
        text += &format!(": {}", coded(fields));
    }
    if provider.request.headers.iter().next().is_some() {
        text += &format!("; with {}", headers(&provider.request.headers));
    }
    text
}

fn credentials(provider: &Provider) -> String {
    let way = |auth: &Auth| match auth {
        Auth::Post => "`post` (`client_id` and `client_secret` as fields)",
        Auth::Basic => "`basic` (percent-encoded, RFC 6749 section 2.3.1)",
        Auth::BasicRaw => "`basic_raw` (for servers that do not decode)",
    };
    let ways: Vec<&str> = provider.request.auth.iter().map(way).collect();
    ways.join(", or ")
}

fn computed((name, computed): (&str, &Computed)) -> String {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Seconds => "seconds",
        TimeUnit::Milliseconds => "milliseconds",
    };
    let what = match computed {
        Computed::UnixTime(time) => format!("{} since 1970", unit(time)),
        Computed::Random(count) => format!("{count} random characters"),
        Computed::LengthOf(other) => format!("the length of `{other}`"),
        Computed::HmacSha256(hmac) => {
            let encoding = match hmac.encoding {
                Encoding::Hex => "lower-case hex",
                Encoding::Base64 => "base64",
                Encoding::Base64url => "base64url",
            };
            format!("HMAC-SHA256 of `{}` under the secret, in {encoding}", written(&hmac.message))
        }
    };
    format!("`{name}`: {what}")
}

fn reply(provider: &Provider) -> String {
    let response = &provider.response;
    let mut parts = vec![format!("token at `{}`", response.token.0)];
    let unit = match response.expiry.unit {
        ExpiryUnit::Seconds => "in seconds",
        ExpiryUnit::Milliseconds => "in milliseconds",
        ExpiryUnit::Epoch => "a time since 1970, or a date",
    };
    parts.push(format!("life at `{}`, {unit}", response.expiry.at.0));
    parts.extend(response.requested_life.iter().map(|input| format!("else the `{input}` that was asked for")));
    parts.push(format!("else {} s", response.default_ttl_s.unwrap_or(300)));
    parts.extend(response.expect.iter().map(|(at, value)| format!("a success only with `{value}` at `{at}`")));
    parts.join("; ")
}

fn limits(provider: &Provider) -> String {
    let limits = &provider.limits;
    let mut parts = Vec::new();
    parts.extend(limits.quota.iter().map(|quota| format!("`quota` is `{quota}` and `store` is `file` unless set")));
    if !limits.quota_headers.is_empty() {
        parts.push(format!("{} tell what is left", coded(&limits.quota_headers)));
    }
    parts.extend(limits.clock_s.map(|seconds| format!("the clock may be {seconds} s off")));
    parts.extend(limits.lockout.map(|count| format!("{count} wrong secrets lock the client")));
    parts.join("; ")
}

fn input((name, input): (&str, &Input)) -> String {
    let mut parts = Vec::new();
    if input.required {
        parts.push("needed".to_owned());
    }
    parts.extend(input._about.clone());
    match input.kind {
        InputKind::Text => {}
        InputKind::BaseUrl => parts.push("an https URL (http on loopback)".to_owned()),
        InputKind::Duration => parts.push("a duration".to_owned()),
    }
    match (input.min_length, input.max_length) {
        (None, None) => {}
        (least, None) => parts.push(format!("at least {} characters", least.unwrap_or(0))),
        (least, Some(most)) => parts.push(format!("{} to {most} characters", least.unwrap_or(0))),
    }
    parts.extend(input.default.iter().map(|default| format!("`{default}` unless set")));
    if parts.is_empty() {
        parts.push("sent if set".to_owned());
    }
    format!("| `{name}` | {} |\n", parts.join("; "))
}

fn meaning(meaning: &Meaning) -> String {
    let status = meaning.status.map_or("any".to_owned(), |status| status.to_string());
    let code = meaning.code.as_ref().map_or(String::new(), |code| format!("`{code}`"));
    let kind = match meaning.kind {
        None => "",
        Some(RefusalKind::Denied) => "denied: ",
        Some(RefusalKind::RateLimited) => "rate limited: ",
        Some(RefusalKind::Server) => "server: ",
    };
    format!("| {status} | {code} | {kind}{} |\n", meaning.hint)
}

/// A table, if it has rows.
fn table(head: &str, rows: impl Iterator<Item = String>) -> String {
    let rows: String = rows.collect();
    if rows.is_empty() { String::new() } else { format!("\n{head}{rows}") }
}

fn section(provider: &Provider) -> String {
    let computed: Vec<String> = provider.computed.iter().map(computed).collect();
    let facts = [
        ("request", request(provider)),
        ("credentials", credentials(provider)),
        ("made anew for each request", computed.join("; ")),
        ("reply", reply(provider)),
        ("API calls need", headers(&provider.api.headers)),
        ("limits", limits(provider)),
    ];
    let facts = facts.iter().filter(|(_, fact)| !fact.is_empty()).map(|(what, fact)| format!("| {what} | {fact} |\n"));
    let mut text = format!("\n## {}\n\n{}.\n", provider.name, provider._about);
    provider._notes.iter().for_each(|note| text += &format!("\n{note}\n"));
    text += &table("| | |\n|---|---|\n", facts);
    text += &table("| input | |\n|---|---|\n", provider.inputs.iter().map(input));
    text += &table(
        "| refused with HTTP | and code | means |\n|---|---|---|\n",
        provider.response.errors.iter().map(meaning),
    );
    let sources: Vec<String> = provider._sources.iter().map(|source| format!("<{source}>")).collect();
    text + &format!("\nSources: {}\n", sources.join(", "))
}

fn generate() -> String {
    let provider = |(name, _): &(&str, &str)| section(&Provider::built_in(name).unwrap().unwrap());
    HEAD.to_owned() + &BUILT_IN.iter().map(provider).collect::<String>()
}

#[test]
fn the_committed_page_of_providers_is_made_of_their_descriptions() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/providers/README.md");
    let generated = generate();
    if std::env::var_os("LIBTOKAUTH_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
        return;
    }
    assert!(
        std::fs::read_to_string(&path).unwrap_or_default() == generated,
        "src/providers/README.md differs from the descriptions; bless it with: LIBTOKAUTH_BLESS=1 cargo test --lib page"
    );
}
