//! From an HTTP reply to a token or an error. Pure; the reply is hostile until proven otherwise.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::expiry::Told;
use crate::provider::{ExpiryUnit, Meaning, Pointer, Provider, duration_seconds};
use crate::secret::Secret;

/// What came back: a whole reply.
#[allow(clippy::exhaustive_structs)] // transports make them
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Names in lower case, with their values; values that are not ASCII are left out.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Zeroizing<Vec<u8>>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").field("status", &self.status).field("body_len", &self.body.len()).finish()
    }
}

/// A usable token and what the reply says about it.
pub(crate) struct Grant {
    pub(crate) token: Zeroizing<String>,
    pub(crate) token_type: Option<String>,
    pub(crate) scope: Option<String>,
    pub(crate) told: Told,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("told", &self.told).finish_non_exhaustive()
    }
}

/// What the reader must know of the request.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) provider: &'a Provider,
    /// The option that says where the token endpoint is.
    pub(crate) endpoint: &'a str,
    /// The life that was asked for, as the option gave it.
    pub(crate) requested_life: Option<&'a str>,
    /// Whatever must not be repeated from the reply into an error.
    pub(crate) secrets: &'a [Secret],
    /// Time since 1970 when the reply came.
    pub(crate) now: Duration,
}

/// Padding is tolerated, though a JWT has none (RFC 7515 section 2).
const CLAIMS: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// The longest wait that a provider is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// How much of a provider's own words an error repeats.
const WORDS_MAX: usize = 200;
/// So many characters in a row of a secret give it away.
const TELLTALE: usize = 8;

/// Any 2xx with a usable token is success; anything else is an error that names the step.
pub(crate) fn read(asked: &Asked<'_>, reply: &Reply) -> Result<Grant, Error> {
    let document = parse(&reply.body);
    match reply.status {
        200..=299 => match &document {
            Some(document) => accept(asked, reply, document),
            None => Err(unreadable(asked, reply)),
        },
        300..=399 => Err(redirect(asked, reply)),
        _ => Err(refusal(asked, reply, document.as_ref())),
    }
}

fn parse(body: &[u8]) -> Option<Value> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body); // RFC 8259 section 8.1 lets a reader skip a BOM
    serde_json::from_slice(body).ok()
}

fn accept(asked: &Asked<'_>, reply: &Reply, document: &Value) -> Result<Grant, Error> {
    let rules = &asked.provider.response;
    for (pointer, expected) in rules.expect.iter() {
        if document.pointer(pointer) != Some(expected) {
            return Err(refusal(asked, reply, Some(document)));
        }
    }
    let unusable = |reason: &str| {
        let message = format!(
            "{} answered HTTP {} but the token at {} {reason}; is {} the token endpoint?",
            asked.provider.name, reply.status, rules.token, asked.endpoint
        );
        Error::new(ErrorKind::BadResponse, Step::Token, message)
            .with_reply(reply.status, None)
            .with_class(RetryClass::Ambiguous)
    };
    let token = match rules.token.find(document) {
        Some(Value::String(token)) => token.trim_ascii(),
        None | Some(Value::Null) if tells_error(asked.provider, document) => {
            return Err(refusal(asked, reply, Some(document)));
        }
        None | Some(Value::Null) => return Err(unusable("is missing")),
        Some(_) => return Err(unusable("is not a text")),
    };
    if token.is_empty() || token == "null" {
        return Err(unusable("is empty"));
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(unusable("holds something other than visible ASCII"));
    }
    let mut told =
        Told { jwt_exp: jwt_exp(token), requested: asked.requested_life.and_then(duration_seconds), ..Told::default() };
    if let Some(number) = rules.expiry.at.find(document).and_then(whole) {
        match rules.expiry.unit {
            ExpiryUnit::Seconds => told.duration = Some(number),
            ExpiryUnit::Milliseconds => told.duration = Some(number.div_euclid(1000)),
            // The year 5138 in seconds, 1973 in milliseconds.
            ExpiryUnit::Epoch if number >= 100_000_000_000 => told.absolute = Some(number / 1000),
            ExpiryUnit::Epoch => told.absolute = Some(number),
        }
    }
    Ok(Grant {
        token: Zeroizing::new(token.to_owned()),
        token_type: rules.token_type.find(document).and_then(words).filter(|text| !text.is_empty()),
        scope: rules.scope.find(document).and_then(words),
        told,
    })
}

/// 200 with an error inside: GitHub, WeChat and others. A number may be the code of a success.
fn tells_error(provider: &Provider, document: &Value) -> bool {
    let rules = &provider.response;
    rules.error_code.iter().filter_map(|pointer| pointer.find(document)).any(|code| match code {
        Value::String(_) => true,
        Value::Number(number) => rules.errors.iter().any(|known| known.code.as_deref() == Some(&*number.to_string())),
        _ => false,
    })
}

/// A text, or a list of texts joined by blanks; nothing that could break out of a header.
fn words(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(" "),
        _ => return None,
    };
    (!text.contains(char::is_control)).then_some(text)
}

/// A whole number from `3600`, `"3600"`, `3600.0`, `"3.6e3"`; fractions are cut, what is too large is the largest.
fn whole(value: &Value) -> Option<i64> {
    let cut = |float: f64| float.is_finite().then_some(float.floor() as i64);
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(cut)),
        // By JSON's own grammar of numbers: nothing like "inf" or "1_000".
        Value::String(text) => match serde_json::from_str(text.trim()).ok()? {
            Value::Number(number) => whole(&Value::Number(number)),
            _ => None,
        },
        _ => None,
    }
}

/// The `exp` claim, if the token is a JWT. Only a hint for caching: the signature is not looked at (RFC 8725).
fn jwt_exp(token: &str) -> Option<i64> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = Zeroizing::new(CLAIMS.decode(claims).ok()?);
    whole(serde_json::from_slice::<Value>(&claims).ok()?.get("exp")?)
}

fn first(pointers: &[Pointer], document: &Value) -> Option<String> {
    pointers.iter().find_map(|pointer| match pointer.find(document)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn unreadable(asked: &Asked<'_>, reply: &Reply) -> Error {
    let label = |name| reply.header(name).and_then(|label| quote(label, asked.secrets));
    let found = match (label("content-encoding"), label("content-type")) {
        _ if reply.body.is_empty() => "an empty body".to_owned(),
        (Some(coding), _) => format!("a body in {coding}, which was not asked for"),
        (None, Some(label)) => format!("{label} that is no JSON"),
        (None, None) => "a body that is no JSON".to_owned(),
    };
    let message = format!(
        "{} answered HTTP {} with {found}; is {} the token endpoint?",
        asked.provider.name, reply.status, asked.endpoint
    );
    Error::new(ErrorKind::BadResponse, Step::Reply, message)
        .with_reply(reply.status, None)
        .with_class(RetryClass::Ambiguous)
}

/// Never followed: the secret would go to whoever the reply names. Only the origin is told; the rest may hold anything.
fn redirect(asked: &Asked<'_>, reply: &Reply) -> Error {
    let target = reply.header("location").and_then(|location| location.parse::<http::Uri>().ok());
    let origin = match target.as_ref().map(|uri| (uri.scheme_str(), uri.authority())) {
        Some((Some(scheme), Some(authority))) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            quote(&format!("{scheme}://{host}"), asked.secrets).map(|origin| format!("to {origin}"))
        }
        Some((None, None)) => Some("to another path of the same host".to_owned()),
        _ => None,
    };
    let message = format!(
        "{} answered HTTP {}, a redirect {}, and a secret is never sent after one; set {} to the final address",
        asked.provider.name,
        reply.status,
        origin.as_deref().unwrap_or("elsewhere"),
        asked.endpoint
    );
    Error::new(ErrorKind::BadResponse, Step::Reply, message)
        .with_reply(reply.status, None)
        .with_class(RetryClass::Refused)
}

fn refusal(asked: &Asked<'_>, reply: &Reply, document: Option<&Value>) -> Error {
    let rules = &asked.provider.response;
    let mut secrets = asked.secrets.to_vec();
    secrets.extend(document.and_then(|document| rules.token.find(document)?.as_str()).map(Secret::from));
    let code = document.and_then(|document| first(&rules.error_code, document));
    let code = code.filter(|code| is_code(code) && quote(code, &secrets).is_some());
    let meaning = rules.errors.iter().find(|meaning| fits(meaning, reply.status, code.as_deref()));
    let retry_after = reply.header("retry-after").and_then(|value| retry_after(value, asked.now));
    let kind = match (meaning.and_then(|meaning| meaning.kind), reply.status) {
        (Some(kind), _) => kind.into(),
        (None, 429) => ErrorKind::RateLimited,
        (None, 503) if retry_after.is_some() => ErrorKind::RateLimited,
        // Request Timeout and Too Early say "again", not "no" (RFC 9110 section 15.5.9, RFC 8470 section 5.2).
        (None, 408 | 425 | 500..) => ErrorKind::Server,
        (None, _) => ErrorKind::Denied,
    };
    let mut message = format!("{} ", asked.provider.name);
    message += match kind {
        ErrorKind::Denied => "refused the request",
        ErrorKind::RateLimited => "asks to wait",
        _ => "failed",
    };
    message += &format!(" (HTTP {}", reply.status);
    if let Some(code) = &code {
        message += &format!(", code {code}");
    }
    message += ")";
    if let Some(words) = document.and_then(|document| first(&rules.error_message, document)) {
        if let Some(words) = quote(&words, &secrets) {
            message += &format!(", saying \"{words}\"");
        }
    }
    message += "; ";
    message += &match meaning {
        Some(meaning) => meaning.hint.clone(),
        None => advice(asked, kind, reply.status, code.as_deref(), retry_after),
    };
    if kind == ErrorKind::Denied {
        message += &clock_off(asked, reply).unwrap_or_default();
    }
    let class = match (kind, reply.status) {
        (ErrorKind::Server, 408 | 425) => RetryClass::NotSent,
        // A gateway may fail after the server behind it has issued a token.
        (ErrorKind::Server, _) => RetryClass::Ambiguous,
        _ => RetryClass::Refused,
    };
    let step = if kind == ErrorKind::Denied { Step::Token } else { Step::Reply };
    Error::new(kind, step, message).with_reply(reply.status, code).with_class(class).with_retry_after(retry_after)
}

/// What to do about a refusal that the description does not know.
fn advice(
    asked: &Asked<'_>,
    kind: ErrorKind,
    status: u16,
    code: Option<&str>,
    retry_after: Option<Duration>,
) -> String {
    match (kind, code, status) {
        (ErrorKind::RateLimited, ..) if retry_after.is_some() => {
            format!("ask again in {} s", retry_after.unwrap_or_default().as_secs())
        }
        // RFC 6749 section 5.2, RFC 8707 section 2.
        (ErrorKind::Denied, Some("invalid_client"), _) | (ErrorKind::Denied, None, 401) => {
            "check client_id, client_secret and auth".to_owned()
        }
        (ErrorKind::Denied, Some("invalid_scope"), _) => "check scope".to_owned(),
        (ErrorKind::Denied, Some("invalid_target"), _) => "check resource and audience".to_owned(),
        (ErrorKind::Denied, Some("unauthorized_client" | "unsupported_grant_type"), _) => {
            "this client may not use the client credentials grant; ask the provider to allow it".to_owned()
        }
        (ErrorKind::Denied, None, 404 | 405) => format!("is {} the token endpoint?", asked.endpoint),
        (ErrorKind::Denied, ..) => "check the credentials and the options".to_owned(),
        _ => "ask again later".to_owned(),
    }
}

/// Told to those who sign the time, where it is what the provider may have refused.
fn clock_off(asked: &Asked<'_>, reply: &Reply) -> Option<String> {
    let bound = asked.provider.limits.clock_s?;
    let date = reply.header("date").and_then(seconds_of_date)?;
    let off = i128::from(asked.now.as_secs()) - i128::from(date);
    let side = if off > 0 { "ahead of" } else { "behind" };
    (off.unsigned_abs() > u128::from(bound)).then(|| {
        format!("; this machine's clock is {} s {side} the server's, which bears {bound} s: set it", off.abs())
    })
}

fn fits(meaning: &Meaning, status: u16, code: Option<&str>) -> bool {
    meaning.status.is_none_or(|wanted| wanted == status)
        && meaning.code.as_deref().is_none_or(|wanted| Some(wanted) == code)
}

/// Seconds, whole or not, or an HTTP date (RFC 9110 section 10.2.3).
fn retry_after(value: &str, now: Duration) -> Option<Duration> {
    let wait = match serde_json::from_str::<f64>(value.trim()) {
        Ok(seconds) if seconds >= 0.0 => Duration::try_from_secs_f64(seconds).unwrap_or(RETRY_AFTER_MAX),
        Ok(_) => return None,
        Err(_) => Duration::from_secs(seconds_of_date(value)?.saturating_sub(now.as_secs())),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

fn seconds_of_date(value: &str) -> Option<u64> {
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:/ ".contains(&b))
}

/// A foreign text as an error may repeat it: one line, printable, short; `None` if nothing is left of it or it would
/// give a secret away.
fn quote(text: &str, secrets: &[Secret]) -> Option<String> {
    let begin = cut(text, 2 * WORDS_MAX);
    let line = begin
        .split(|c: char| c.is_control() || c.is_whitespace() || is_invisible(c))
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    // The text as it came too: a blank less could hide a secret.
    if line.is_empty() || gives_away(begin, secrets) || gives_away(&line, secrets) {
        return None;
    }
    let short = cut(&line, WORDS_MAX);
    Some(if short.len() < line.len() { format!("{short}…") } else { line })
}

fn cut(text: &str, chars: usize) -> &str {
    text.char_indices().nth(chars).map_or(text, |(end, _)| &text[..end])
}

/// Marks that change how a line is shown, but not what it says (Unicode's general category Cf, its usual part).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether a foreign text repeats a secret, or so much of one that it helps to guess it.
fn gives_away(text: &str, secrets: &[Secret]) -> bool {
    secrets.iter().map(Secret::expose).filter(|secret| !secret.is_empty()).any(|secret| {
        let starts = text.char_indices().map(|(start, _)| start);
        let mut runs = starts.filter_map(|start| {
            let run = cut(&text[start..], TELLTALE);
            (run.chars().count() == TELLTALE).then_some(run)
        });
        text.contains(secret) || runs.any(|run| secret.contains(run))
    })
}
