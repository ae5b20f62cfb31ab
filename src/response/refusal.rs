//! What a reply without a token says: the family, the provider's code and words, how long to wait, what to do.

use std::time::Duration;

use serde_json::Value;

use super::words::{is_code, quote, title};
use super::{Asked, Reply, is_token, whole, whole_body};
use crate::date;
use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::provider::{Meaning, Pointer, Provider, TimeUnit};
use crate::secret::Secret;

/// What stands for no error where others have a code.
const WELL: [&str; 5] = ["ok", "success", "none", "null", "false"];
/// The longest wait that a provider is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Whatever no error may repeat: also the token that stands beside an error, and others that nobody asked for.
fn unspeakable(asked: &Asked<'_>, document: Option<&Value>) -> Vec<Secret> {
    fn tokens(value: &Value, found: &mut Vec<Secret>) {
        value.as_array().into_iter().flatten().for_each(|item| tokens(item, found));
        for (name, member) in value.as_object().into_iter().flatten() {
            match member {
                Value::String(text) if text.len() >= 8 && name.to_ascii_lowercase().contains("token") => {
                    found.push(Secret::from(text.as_str()));
                }
                _ => tokens(member, found),
            }
        }
    }
    let mut secrets = asked.secrets.to_vec();
    let pointed_at = document.and_then(|document| asked.provider.response.token.find(document)?.as_str());
    secrets.extend(pointed_at.map(Secret::from));
    document.into_iter().for_each(|document| tokens(document, &mut secrets));
    secrets
}

/// The provider says no, wait, or that it is broken.
pub(super) fn refused(asked: &Asked<'_>, reply: &Reply, document: Option<&Value>) -> Error {
    let rules = &asked.provider.response;
    let secrets = unspeakable(asked, document);
    let found = document.and_then(|document| first(&rules.error_code, document));
    let code = found.clone().filter(|code| is_code(code) && quote(code, &secrets).is_some());
    let meaning = rules.errors.iter().find(|meaning| fits(meaning, reply.status, code.as_deref()));
    let retry_after = wait(asked, reply, document);
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
    let said = document.and_then(|document| first(&rules.error_message, document));
    // Some write a sentence where others have a code.
    let said = said.or_else(|| found.filter(|found| !is_code(found)));
    let said = said.or_else(|| title(&reply.body).map(str::to_owned));
    if let Some(words) = said.and_then(|words| quote(&words, &secrets)) {
        message += &format!(", saying \"{words}\"");
    }
    message += "; ";
    message += &match meaning {
        Some(meaning) => meaning.hint.clone(),
        None => advice(asked, kind, reply.status, code.as_deref(), retry_after),
    };
    if kind == ErrorKind::Denied {
        message += &clock_off(asked, reply).unwrap_or_default();
    }
    let has_token = document.is_some_and(|document| is_token(rules.token.find(document)));
    let class = match (kind, reply.status) {
        (_, 200..=299) if has_token => RetryClass::Ambiguous,
        (ErrorKind::Server, 408 | 425) => RetryClass::NotSent,
        // A gateway may fail after the server behind it has issued a token.
        (ErrorKind::Server, _) => RetryClass::Ambiguous,
        _ => RetryClass::Refused,
    };
    let step = if kind == ErrorKind::Denied { Step::Token } else { Step::Reply };
    Error::new(kind, step, message).with_reply(reply.status, code).with_class(class).with_retry_after(retry_after)
}

/// Whether a reply tells an error whatever its status: GitHub, WeChat and others answer so with 200. Something under a
/// name such as `code` may be that of a success, unless the description knows it.
pub(super) fn tells_error(provider: &Provider, document: &Value) -> bool {
    let rules = &provider.response;
    let known = |code: &str| rules.errors.iter().any(|known| known.code.as_deref() == Some(code));
    rules.error_code.iter().any(|pointer| match pointer.find(document) {
        Some(found) if pointer.says_error() => says_something(found),
        Some(Value::String(code)) => known(code.trim()),
        Some(Value::Number(code)) => known(&code.to_string()),
        _ => false,
    })
}

/// Whether what stands in the place of an error is one: some say there that all is well.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => {
            let text = text.trim();
            !text.bytes().all(|b| b == b'0') && !WELL.iter().any(|well| text.eq_ignore_ascii_case(well))
        }
        Value::Array(items) => items.iter().any(says_something),
        Value::Object(members) => members.get("code").map_or(!members.is_empty(), says_something),
    }
}

/// Never followed: the secret would go to whoever the reply names. Only the origin is told; the rest may hold anything.
pub(super) fn redirected(asked: &Asked<'_>, reply: &Reply, document: Option<&Value>, location: &str) -> Error {
    let mut secrets = unspeakable(asked, document);
    if document.is_none() {
        secrets.push(whole_body(reply));
    }
    let target = if location.starts_with("//") { format!("https:{location}") } else { location.to_owned() };
    let target = target.parse::<http::Uri>().ok();
    let origin = match target.as_ref().map(|uri| (uri.scheme_str(), uri.authority())) {
        Some((Some(scheme), Some(authority))) => {
            let host = authority.as_str().rsplit('@').next().unwrap_or_default();
            quote(&format!("{scheme}://{host}"), &secrets).map(|origin| format!("to {origin}"))
        }
        // Browsers take a backslash for a slash.
        Some((None, None)) if location.starts_with('/') && !location[1..].starts_with(['/', '\\']) => {
            Some("to another path of the same host".to_owned())
        }
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

/// The first text or number that is there.
fn first(pointers: &[Pointer], document: &Value) -> Option<String> {
    pointers.iter().find_map(|pointer| match pointer.find(document)? {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
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
            format!("ask again in {} s", retry_after.unwrap_or_default().as_millis().div_ceil(1000))
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
    if asked.now != asked.wall {
        return None; // corrected, so it is not that
    }
    let now = seconds(asked.wall);
    let Some(date) = reply.date() else {
        let now = date::rfc3339_text(now);
        return Some(format!("; the server bears {bound} s, and this machine's clock says {now}: is that right?"));
    };
    let off = now.saturating_sub(date);
    let side = if off > 0 { "ahead of" } else { "behind" };
    (off.unsigned_abs() > bound).then(|| {
        format!("; this machine's clock is {} s {side} the server's, which bears {bound} s: set it", off.abs())
    })
}

fn seconds(since_epoch: Duration) -> i64 {
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}

fn fits(meaning: &Meaning, status: u16, code: Option<&str>) -> bool {
    meaning.status.is_none_or(|wanted| wanted == status)
        && meaning.code.as_deref().is_none_or(|wanted| Some(wanted) == code)
}

/// The longest wait that the reply asks for, in `Retry-After` or where the description points.
fn wait(asked: &Asked<'_>, reply: &Reply, document: Option<&Value>) -> Option<Duration> {
    // A date is meant by the clock that wrote it.
    let now = reply.date().unwrap_or_else(|| seconds(asked.now));
    let headers = reply.headers.iter().filter(|(name, _)| name == "retry-after");
    let headers = headers.filter_map(|(_, value)| {
        let date = || date::http(value)?.saturating_sub(now).max(0).try_into().ok();
        delay(value.trim()).or_else(|| date().map(Duration::from_secs))
    });
    let member = asked.provider.response.retry_after.as_ref().zip(document).and_then(|(wait, document)| {
        let amount = u64::try_from(whole(wait.at.find(document)?)?).ok()?;
        Some(match wait.unit {
            TimeUnit::Seconds => Duration::from_secs(amount),
            TimeUnit::Milliseconds => Duration::from_millis(amount),
        })
    });
    headers.chain(member).max().map(|wait| wait.min(RETRY_AFTER_MAX))
}

/// Seconds (RFC 9110 section 10.2.3), and the fraction that some servers add.
fn delay(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let seconds = whole.parse().unwrap_or(u64::MAX); // it is only too long
    let milliseconds = format!("{fraction:0<3.3}").parse().ok()?;
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_millis(milliseconds)))
}
