//! What providers let pass and we must not do, and the reading of request bodies.

use super::{Recorded, State, clients};
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const JSON: &str = "application/json";

pub(super) fn audit(state: &mut State, provider: &str, request: &Recorded) {
    let mut found = Vec::new();
    let header = |name| request.header(name);
    if header("accept") != Some(JSON) {
        found.push(format!("Accept is {:?}", header("accept")));
    }
    let user_agent = header("user-agent").unwrap_or_default();
    let right = match &state.user_agent {
        Some(expected) => user_agent == expected,
        None => user_agent.starts_with("libtokauth/"),
    };
    if !right {
        found.push(format!("User-Agent is {user_agent:?}"));
    }
    if header("content-length").is_none() {
        found.push("no Content-Length".into());
    }
    for name in ["accept-encoding", "transfer-encoding", "expect", "cookie"] {
        if header(name).is_some() {
            found.push(format!("header {name}"));
        }
    }
    if header("authorization").is_some() && provider != "oauth2" {
        found.push("header authorization".into());
    }
    if request.path.contains('?') {
        found.push("a query".into());
    }
    for (name, value) in body_fields(request).unwrap_or_default() {
        if !is_known(state, provider, &name) {
            found.push(format!("stray field {name}"));
        }
        if value.as_str().is_some_and(|text| text.contains('{')) {
            found.push(format!("unfilled field {name}"));
        }
    }
    state.violations.extend(found.into_iter().map(|what| format!("{provider}: {what}")));
}

pub(super) fn is_known(state: &mut State, provider: &str, field: &str) -> bool {
    clients::fields(provider).contains(&field)
        || state.endpoint(provider).extra_fields.iter().any(|extra| extra == field)
}

/// The media type without its parameters, in lower case.
pub(super) fn media_type(request: &Recorded) -> String {
    let full = request.header("content-type").unwrap_or_default();
    full.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The fields of a form or JSON body; a form field given twice is an array. No fields for another media type.
pub(super) fn body_fields(request: &Recorded) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    match media_type(request).as_str() {
        JSON => match serde_json::from_str(&request.body) {
            Ok(Value::Object(object)) => fields = object,
            _ => return Err("the body is not a JSON object".into()),
        },
        FORM => {
            for pair in request.body.split('&').filter(|pair| !pair.is_empty()) {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let value = Value::String(decode_form(value)?);
                let merged = match fields.remove(&decode_form(name)?) {
                    None => value,
                    Some(Value::Array(mut all)) => {
                        all.push(value);
                        Value::Array(all)
                    }
                    Some(first) => Value::Array(vec![first, value]),
                };
                fields.insert(decode_form(name)?, merged);
            }
        }
        _ => {}
    }
    Ok(fields)
}

fn decode_form(text: &str) -> Result<String, String> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8().map_err(|_| "the form is not UTF-8")?;
    Ok(decoded.into_owned())
}
