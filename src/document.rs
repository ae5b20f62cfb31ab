//! From the bytes of a body to a JSON document. Pure; the bytes are hostile until proven otherwise.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value, from_str};
use zeroize::Zeroize;

/// No reply nests deeper. Also the depth of this module's recursion: serde_json itself skips a value without any.
const DEPTH_MAX: usize = 32;

/// A document, wiped when dropped: it may hold tokens that nobody asked for.
pub(crate) struct Document(Value);

impl std::ops::Deref for Document {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// No reply holds more objects and lists; an empty one of two bytes takes hundreds here.
const CONTAINERS_MAX: usize = 1000;

/// What stands there instead of a document.
pub(crate) type Fault = &'static str;
const NO_JSON: Fault = "that is no JSON";

/// JSON whatever its label says (RFC 8259), or a form, as some servers still answer.
pub(crate) fn read(body: &[u8], label: Option<&str>) -> Result<Document, Fault> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body); // RFC 8259 section 8.1 lets a reader skip a BOM
    if body.starts_with(b"\x1f\x8b") {
        return Err("that is gzip, which was not asked for");
    }
    let text = std::str::from_utf8(body).map_err(|_| "that is not UTF-8")?;
    let value = match from_str::<&RawValue>(text) {
        Ok(document) => value(document.get(), DEPTH_MAX, &mut { CONTAINERS_MAX }),
        Err(_) => form(text.trim_ascii(), label).unwrap_or(Err(NO_JSON)),
    };
    value.map(Document)
}

/// One value; each level is taken apart by itself, so that a number that nobody looks at cannot spoil the rest.
fn value(text: &str, depth: usize, left: &mut usize) -> Result<Value, Fault> {
    let first = text.as_bytes().first();
    if let Some(b'{' | b'[') = first {
        *left = left.checked_sub(1).ok_or("that holds more than 1,000 objects and lists")?;
    }
    let mut inner = |raw: &RawValue| value(raw.get(), depth - 1, left);
    match first {
        Some(b'{' | b'[') if depth == 0 => Err("that nests deeper than 32 levels"),
        Some(b'{') => {
            let mut object = Map::new();
            for (name, member) in from_str::<Members<'_>>(text).map_err(|_| NO_JSON)?.0 {
                add(&mut object, name, inner(member)?)?;
            }
            Ok(Value::Object(object))
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = from_str(text).map_err(|_| NO_JSON)?;
            items.into_iter().map(inner).collect::<Result<_, _>>().map(Value::Array)
        }
        // A number that no float holds says nothing.
        Some(b'-' | b'0'..=b'9') => Ok(from_str(text).unwrap_or(Value::Null)),
        // A lone surrogate is the one thing that passes as JSON and is no text.
        _ => from_str(text).map_err(|_| NO_JSON),
    }
}

/// Two readers of a member given twice may see two tokens.
fn add(object: &mut Map<String, Value>, name: String, value: Value) -> Result<(), Fault> {
    match object.get(&name) {
        Some(known) if *known != value => Err("that gives one member two values"),
        _ => {
            object.insert(name, value);
            Ok(())
        }
    }
}

/// `application/x-www-form-urlencoded`, by its label or, without one that says JSON, by its looks.
fn form(text: &str, label: Option<&str>) -> Option<Result<Value, Fault>> {
    let label = label.unwrap_or_default().to_ascii_lowercase();
    let looks = text.contains('=') && text.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"{}[]".contains(&b));
    if text.is_empty() || !(label.contains("x-www-form-urlencoded") || looks && !label.contains("json")) {
        return None;
    }
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().map(String::from);
    let mut object = Map::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Ok(name), Ok(value)) = (decode(name), decode(value)) else { return Some(Err("that is not UTF-8")) };
        if let Err(fault) = add(&mut object, name, Value::String(value)) {
            return Some(Err(fault));
        }
    }
    Some(Ok(Value::Object(object)))
}

/// The members of an object as they stand, repeated ones too.
pub(crate) struct Members<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The whole table is in tests/replies.rs.
    #[test]
    fn json_and_forms_are_read_and_all_else_refused() {
        let read = |body: &str, label| read(body.as_bytes(), label).map(|document| document.to_string());
        for (body, label, document) in [
            (r#"{"a": {"b": [1, "\u00e9"]}}"#, None, r#"{"a":{"b":[1,"é"]}}"#),
            ("a=b+c&d=%C3%A9", Some("application/x-www-form-urlencoded"), r#"{"a":"b c","d":"é"}"#),
        ] {
            assert_eq!(read(body, label).as_deref(), Ok(document));
        }
        for body in ["", "{", r#"{"a": 1, "a": 2}"#, &"[".repeat(40), "\u{1f}\u{8b}"] {
            assert!(read(body, None).is_err(), "{body}");
        }
    }
}
