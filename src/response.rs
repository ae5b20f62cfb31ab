//! From an HTTP reply to a token or an error. Pure; the reply is hostile until proven otherwise.

mod refusal;
mod words;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::date;
use crate::date::duration_seconds;
use crate::document;
use crate::error::{Error, ErrorKind, RetryClass, Step};
use crate::expiry::Told;
use crate::provider::{Expiry, ExpiryUnit, Provider};
use crate::secret::Secret;

use refusal::{redirected, refused, tells_error};
pub(crate) use words::quote;
use words::title;

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
    /// The server's time when it made the reply, in seconds since 1970; none if it gives several.
    pub(crate) fn date(&self) -> Option<i64> {
        let mut dates = self.headers.iter().filter(|(name, _)| name == "date").map(|(_, value)| value);
        date::http(dates.next()?).filter(|_| dates.next().is_none())
    }

    /// `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
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
    /// The member that should tell the end is there, and cannot be read.
    pub(crate) odd_expiry: bool,
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
    /// Time since 1970 when the request left, by this machine's wall clock.
    pub(crate) wall: Duration,
    /// The same as far as the provider's clock was known: what a signature tells.
    pub(crate) now: Duration,
}

/// Padding is tolerated, though a JWT has none (RFC 7515 section 2).
const CLAIMS: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
/// Few servers take a longer header.
const TOKEN_MAX: usize = 16 * 1024;
const NO_ANSWER: &str = "which no token request is answered with";
/// So many members are named to whoever looks for a token in vain.
const MEMBERS_MAX: usize = 5;

/// Any 2xx with a usable token is success; anything else is an error that names the step.
pub(crate) fn read(asked: &Asked<'_>, reply: &Reply) -> Result<Grant, Error> {
    let document = document::read(&reply.body, reply.header("content-type"));
    match (reply.status, reply.header("location")) {
        (200..=299, _) => match document {
            Ok(document) => accept(asked, reply, &document),
            Err(fault) => Err(unreadable(asked, reply, fault)),
        },
        (300..=399, Some(location)) => Err(redirected(asked, reply, document.as_deref().ok(), location)),
        (300..=399, None) => Err(unusable(asked, reply, Step::Reply, NO_ANSWER).with_class(RetryClass::Refused)),
        (400..=599, _) => Err(refused(asked, reply, document.as_deref().ok())),
        _ => Err(unusable(asked, reply, Step::Reply, NO_ANSWER)),
    }
}

fn accept(asked: &Asked<'_>, reply: &Reply, document: &Value) -> Result<Grant, Error> {
    let rules = &asked.provider.response;
    for (pointer, expected) in rules.expect.iter() {
        if document.pointer(pointer) != Some(expected) {
            return Err(refused(asked, reply, Some(document)));
        }
    }
    let fault = |reason: &str| {
        let found = format!("but the token at {} {reason}", rules.token);
        Err(unusable(asked, reply, Step::Token, &found))
    };
    let found = rules.token.find(document);
    let is_refusal = tells_error(asked.provider, document);
    let token = match found {
        _ if is_refusal && !is_token(found) => return Err(refused(asked, reply, Some(document))),
        Some(Value::String(token)) if is_token(found) => token.trim_ascii(),
        Some(Value::String(_)) => return fault("is empty"),
        None | Some(Value::Null) => return fault(&format!("is missing{}", members(asked, reply, document))),
        Some(_) => return fault("is not a text"),
    };
    if token.len() > TOKEN_MAX {
        return fault("is longer than 16 KiB");
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        return fault("holds something other than visible ASCII");
    }
    if is_refusal {
        return fault("stands beside an error");
    }
    let end = rules.expiry.at.find(document);
    let read = end.and_then(|end| told(&rules.expiry, end));
    Ok(Grant {
        token: Zeroizing::new(token.to_owned()),
        token_type: rules.token_type.find(document).and_then(joined).filter(|text| is_type(text)),
        scope: rules.scope.find(document).and_then(joined).filter(|text| text.len() <= TOKEN_MAX),
        odd_expiry: read.is_none() && end.is_some_and(|end| !end.is_null()),
        told: Told {
            jwt_exp: jwt_exp(token),
            requested: asked.requested_life.and_then(duration_seconds),
            ..read.unwrap_or_default()
        },
    })
}

/// Whether there is a token at all, usable or not.
fn is_token(found: Option<&Value>) -> bool {
    found.and_then(Value::as_str).is_some_and(|text| !["", "null"].contains(&text.trim()))
}

/// What the declared member says; `None` if it cannot be read.
fn told(rules: &Expiry, end: &Value) -> Option<Told> {
    let none = Told::default();
    Some(match (rules.unit, whole(end)) {
        (_, Some(0)) if rules.zero_is_unknown => none,
        (ExpiryUnit::Seconds, number) => Told { duration: Some(number?), ..none },
        (ExpiryUnit::Milliseconds, number) => Told { duration: Some(number?.div_euclid(1000)), ..none },
        // The year 5138 in seconds, 1973 in milliseconds.
        (ExpiryUnit::Epoch, Some(number)) if number >= 100_000_000_000 => {
            Told { absolute: Some(number / 1000), ..none }
        }
        (ExpiryUnit::Epoch, Some(number)) => Told { absolute: Some(number), ..none },
        (ExpiryUnit::Epoch, None) => Told { absolute: Some(date::rfc3339(end.as_str()?)?), ..none },
    })
}

/// A text, or a list of texts joined by blanks; nothing that could break out of a header.
fn joined(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Vec<_>>>()?.join(" "),
        _ => return None,
    };
    (!text.contains(char::is_control)).then_some(text)
}

/// Visible ASCII, blanks between: `Application Access Token`.
fn is_type(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
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
    whole(document::read(&claims, Some("application/json")).ok()?.get("exp")?)
}

/// Where a reply in JSON holds texts, for whoever looks for the token elsewhere. A name that could be a token itself is
/// not told, nor what is below it. (A bare token can look like a form.)
fn members(asked: &Asked<'_>, reply: &Reply, document: &Value) -> String {
    fn texts(value: &Value, path: &str, found: &mut Vec<String>) {
        let names = value.as_object().into_iter().flatten();
        for (name, member) in names.filter(|(name, _)| is_plain_name(name)) {
            if found.len() == MEMBERS_MAX {
                return;
            }
            let path = format!("{path}/{name}");
            match member {
                Value::String(_) => found.push(path),
                _ => texts(member, &path, found),
            }
        }
    }
    let mut found = Vec::new();
    if reply.body.trim_ascii_start().starts_with(b"{") {
        texts(document, "", &mut found);
    }
    quote(&found.join(", "), asked.secrets).map_or_else(String::new, |found| format!(" (there are texts at {found})"))
}

fn is_plain_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}

fn unreadable(asked: &Asked<'_>, reply: &Reply, fault: &str) -> Error {
    let body = [whole_body(reply)];
    let label = |name| {
        let label = quote(reply.header(name)?, asked.secrets)?;
        quote(&label, &body)
    };
    let title = || quote(title(&reply.body)?, asked.secrets);
    let found = match label("content-encoding") {
        _ if reply.body.is_empty() => "with an empty body".to_owned(),
        Some(coding) => format!("with a body in {coding}, which was not asked for"),
        None => match (title(), label("content-type")) {
            (Some(title), _) => format!("with a page \"{title}\""),
            (None, Some(label)) => format!("with {label} {fault}"),
            (None, None) => format!("with a body {fault}"),
        },
    };
    unusable(asked, reply, Step::Reply, &found)
}

/// Nobody knows what is a token in a body that cannot be read, so no header that repeats some of it is told.
fn whole_body(reply: &Reply) -> Secret {
    Secret::from(&*String::from_utf8_lossy(&reply.body))
}

/// A reply that may have been meant as a token.
fn unusable(asked: &Asked<'_>, reply: &Reply, step: Step, found: &str) -> Error {
    let (name, status) = (&asked.provider.name, reply.status);
    let own = if asked.provider.is_own() { ", and the description right" } else { "" };
    let message = format!("{name} answered HTTP {status} {found}; is {} the token endpoint{own}?", asked.endpoint);
    Error::new(ErrorKind::BadResponse, step, message).with_reply(status, None).with_class(RetryClass::Ambiguous)
}
