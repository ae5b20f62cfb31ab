//! What the types of a description cannot say.

use super::read::Fault;
use super::template::{Piece, Pointer, Template, is_name};
use super::{Auth, BodyKind, CLIENT_ID, CLIENT_SECRET, Computed, Field, InputKind, Ordered, Provider, TOKEN};
use crate::options::OPTIONS;
use crate::quota::Budget;

/// Headers that the transport writes, or that would change how it reads.
pub(crate) const RESERVED_HEADERS: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "expect", "upgrade", "accept-encoding"];
/// Headers that a log shows.
pub(crate) const PLAIN_HEADERS: [&str; 3] = ["accept", "content-type", "user-agent"];

/// The parts of the place, and the reason.
fn fault(path: &[&str], reason: &str) -> Result<(), Fault> {
    Err(Box::new((path.concat(), reason.to_owned())))
}

/// Options that a provider may take or not, none of them secret; the names of all others are taken.
pub(crate) const SHARED: [&str; 4] = [CLIENT_ID, "scope", "audience", "resource"];

impl Provider {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let auth = &self.request.auth;
        if let Some(twice) = (1..auth.len()).find(|index| auth[..*index].contains(&auth[*index])) {
            return fault(&["request.auth.", &twice.to_string()], "this stands here twice");
        }
        if self.name.is_empty() || !self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return fault(&["name"], "a name is of a-z, 0-9 and -");
        }
        self.check_inputs()?;
        let inputs: Vec<&str> = self.inputs.iter().map(|(name, _)| name).chain([CLIENT_ID]).collect();
        if let Some(url) = &self.token_url {
            knows(&inputs, url, &["token_url"])?;
        }
        for (name, header) in self.request.headers.iter() {
            if let Some(value) = header.names().find(|name| self.computed.get(name).is_some()) {
                let reason = format!("{{{value}}} is made after the head has left: it can stand in the body only");
                return fault(&["request.headers.", name], &reason);
            }
        }
        let with_secret: Vec<&str> = inputs.iter().copied().chain([CLIENT_SECRET]).collect();
        check_headers(&self.request.headers, &with_secret, "request.headers.")?;
        let known = self.check_computed(inputs.clone())?;
        self.check_fields(known)?;
        let with_token: Vec<&str> = inputs.into_iter().chain([TOKEN]).collect();
        check_headers(&self.api.headers, &with_token, "api.headers.")?;
        if !self.api.headers.iter().any(|(_, header)| header.names().any(|name| name == TOKEN)) {
            return fault(&["api.headers"], "no header holds {token}");
        }
        if self.limits.lockout.is_some_and(|wrong| wrong < 2) {
            return fault(&["limits.lockout"], "a secret that may not be wrong once cannot be tried");
        }
        if let Some(Err(reason)) = self.limits.quota.as_deref().map(Budget::parse) {
            return fault(&["limits.quota"], reason);
        }
        if self.limits.quota_headers.iter().any(|name| *name != name.to_ascii_lowercase()) {
            return fault(&["limits.quota_headers"], "a name is not in lower case");
        }
        self.check_response()
    }

    fn check_inputs(&self) -> Result<(), Fault> {
        for (name, input) in self.inputs.iter() {
            let taken = OPTIONS.iter().any(|option| option.name == name) && !SHARED.contains(&name);
            let reason = if !is_name(name) || name == TOKEN || taken {
                "this cannot be the name of an input"
            } else if input.required && input.default.is_some() {
                "an input with a default is never missing: drop \"required\" or \"default\""
            } else if input.min_length.zip(input.max_length).is_some_and(|(min, max)| min > max) {
                "no text has these lengths: min_length is above max_length"
            } else {
                continue;
            };
            return fault(&["inputs.", name], reason);
        }
        Ok(())
    }

    /// All names that fields may use: `known` and the computed ones.
    fn check_computed<'a>(&'a self, mut known: Vec<&'a str>) -> Result<Vec<&'a str>, Fault> {
        // What is signed or measured must be there.
        let mut certain: Vec<&str> = self
            .inputs
            .iter()
            .filter(|(_, input)| input.required || input.default.is_some())
            .map(|(name, _)| name)
            .chain([CLIENT_ID])
            .collect();
        for (name, value) in self.computed.iter() {
            let path = ["computed.", name];
            if !is_name(name) || known.contains(&name) || name == CLIENT_SECRET || name == TOKEN {
                fault(&path, "this name is taken or not of a-z, 0-9 and _")?;
            }
            match value {
                Computed::Random(length) if !(1..=1024).contains(length) => {
                    fault(&path, "a random value has 1 to 1024 characters")?;
                }
                Computed::LengthOf(other) if !certain.contains(&other.as_str()) => {
                    fault(&path, &format!("\"{other}\" is not always there; what is: {}", certain.join(", ")))?;
                }
                Computed::HmacSha256(hmac) => {
                    if let Some(other) = hmac.message.names().find(|name| !certain.contains(name)) {
                        let reason = format!("{{{other}}} is not always there; what is: {}", certain.join(", "));
                        fault(&["computed.", name, ".hmac_sha256.message"], &reason)?;
                    }
                }
                _ => {}
            }
            known.push(name);
            certain.push(name);
        }
        Ok(known)
    }

    fn check_fields<'a>(&'a self, mut known: Vec<&'a str>) -> Result<(), Fault> {
        let signs = self.computed.iter().any(|(_, value)| matches!(value, Computed::HmacSha256(_)));
        let has_auth = !self.request.auth.is_empty();
        // RFC 6749 section 2.3: never more than one way.
        let mut is_shown = has_auth;
        let mut shows = |template: &Template, path: &[&str]| {
            let shows = template.names().any(|used| used == CLIENT_SECRET);
            if shows && is_shown {
                return fault(path, "the client secret is shown already; keep one way");
            }
            is_shown |= shows;
            Ok(())
        };
        for (name, header) in self.request.headers.iter() {
            let path = ["request.headers.", name];
            if has_auth && name.eq_ignore_ascii_case("authorization") {
                return fault(&path, "auth brings this header itself");
            }
            if PLAIN_HEADERS.contains(&&*name.to_ascii_lowercase()) && header.names().next().is_some() {
                return fault(&path, "this header is shown in logs: it holds no placeholder");
            }
            shows(header, &path)?;
        }
        known.push(CLIENT_SECRET);
        for (name, field) in self.request.fields.iter() {
            let path = ["request.fields.", name];
            if self.request.auth.contains(&Auth::Post) && [CLIENT_ID, CLIENT_SECRET].contains(&name) {
                fault(&path, "auth post brings this field itself")?;
            }
            match field {
                Field::Text(template) => {
                    knows(&known, template, &path)?;
                    shows(template, &path)?;
                }
                Field::EachOf(_) if self.request.body == BodyKind::Json => {
                    fault(&path, "a field can be repeated in a form only")?;
                }
                Field::EachOf(input) if self.inputs.get(input).is_none() => {
                    fault(&path, &format!("\"{input}\" is not an input"))?;
                }
                Field::EachOf(_) | Field::Number(_) | Field::Bool(_) => {}
            }
        }
        if signs || is_shown {
            return Ok(());
        }
        fault(&["request"], "the client secret is used neither by auth, nor in a header, a field or a signature")
    }

    fn check_response(&self) -> Result<(), Fault> {
        let response = &self.response;
        if let Some((pointer, _)) = response.expect.iter().find(|(pointer, _)| !Pointer::is_sound(pointer)) {
            return fault(&["response.expect.", pointer], "this is not a JSON pointer such as \"/content/token\"");
        }
        if let Some(index) = response.errors.iter().position(|known| known.status.is_none() && known.code.is_none()) {
            return fault(&["response.errors.", &index.to_string()], "neither status nor code says when this applies");
        }
        let life = response.requested_life.as_ref();
        if life.is_some_and(|name| self.inputs.get(name).map(|input| input.kind) != Some(InputKind::Duration)) {
            return fault(&["response.requested_life"], "this is not an input of type \"duration\"");
        }
        Ok(())
    }
}

fn knows(known: &[&str], template: &Template, path: &[&str]) -> Result<(), Fault> {
    match template.names().find(|name| !known.contains(name)) {
        Some(name) => fault(path, &format!("{{{name}}} is not known here; known are {}", known.join(", "))),
        None => Ok(()),
    }
}

fn check_headers(headers: &Ordered<Template>, known: &[&str], section: &str) -> Result<(), Fault> {
    let mut seen: Vec<String> = Vec::new();
    for (name, header) in headers.iter() {
        let path = [section, name];
        let lower = name.to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return fault(&path, "this is not the name of a header");
        }
        if RESERVED_HEADERS.contains(&&*lower) {
            return fault(&path, "this header is the HTTP client's own");
        }
        if seen.contains(&lower) {
            return fault(&path, "this header stands here twice, in different case");
        }
        let literals = header.pieces().iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text),
            Piece::Name(_) => None,
        });
        if !literals.into_iter().all(|text| is_header_value(text)) {
            return fault(&path, "a header is of visible ASCII");
        }
        knows(known, header, &path)?;
        seen.push(lower);
    }
    Ok(())
}

/// What every server takes as the value of a header (RFC 9110 section 5.5), less the obsolete rest.
pub(crate) fn is_header_value(text: &str) -> bool {
    text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
}

#[cfg(test)]
pub(super) mod tests {
    use std::borrow::Cow;

    use serde_json::{Value, json};

    use super::super::BUILT_IN;
    use super::*;

    #[test]
    fn every_built_in_description_is_sound_and_named_like_its_file() {
        for (name, text) in BUILT_IN {
            let provider = Provider::parse(Cow::Borrowed(text)).unwrap();
            assert_eq!(provider.name, *name);
            assert!(!provider._sources.is_empty(), "{name} names no source");
        }
        assert!(BUILT_IN.is_sorted());
    }

    /// A sound description to break.
    fn sound() -> Value {
        json!({
            "name": "mine", "about": "A provider.",
            "token_url": "https://auth.example/{tenant}/token",
            "inputs": {"tenant": {"required": true}},
            "computed": {"now": {"unix_time": "seconds"}, "sig": {"hmac_sha256": {"message": "{tenant}{now}", "encoding": "hex"}}},
            "request": {"body": "json", "fields": {"id": "{client_id}", "at": "{now}", "sig": "{sig}"}},
            "response": {"token": "/data/token"},
            "api": {"headers": {"Authorization": "Bearer {token}"}},
        })
    }

    /// Every way to break it, one member each: where it is broken then, and the words that say how.
    pub(in crate::provider) fn broken() -> Vec<(Value, &'static str, &'static str)> {
        let with = |pointer: &str, value: Value| {
            let mut description = sound();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = if parent.is_empty() { &mut description } else { description.pointer_mut(parent).unwrap() };
            parent[name] = value;
            description
        };
        let table = [
            ("/name", json!("My Provider"), "name", "a-z, 0-9 and -"),
            ("/nmae", json!("x"), "nmae", "unknown field"),
            ("/request/body", json!("xml"), "request.body", "unknown variant"),
            ("/request/fields/id", json!(["x"]), "request.fields.id", "a text, a whole number, a boolean or"),
            ("/request/fields/id", json!("{client_ident}"), "request.fields.id", "known are tenant, client_id"),
            ("/request/fields/id", json!("{client_id"), "request.fields.id", "unpaired brace"),
            ("/request/fields/id", json!("{Client Id}"), "request.fields.id", "not a placeholder"),
            ("/request/fields/id", json!({"each_of": "tenant"}), "request.fields.id", "repeated in a form only"),
            ("/request/fields/id", json!({"each_off": "tenant"}), "request.fields.id.each_off", "unknown field"),
            ("/request/fields/id", json!(1.5), "request.fields.id", "invalid type"),
            (
                "/request",
                json!({"body": "form", "fields": {"r": {"each_of": "sig"}}}),
                "request.fields.r",
                "\"sig\" is not an input",
            ),
            (
                "/request",
                json!({"body": "form", "auth": ["basic"], "headers": {"authorization": "{tenant}"}}),
                "request.headers.authorization",
                "auth brings this header",
            ),
            (
                "/request",
                json!({"body": "form", "auth": ["basic"], "headers": {"X-Key": "{client_secret}"}}),
                "request.headers.X-Key",
                "keep one way",
            ),
            (
                "/request",
                json!({"body": "form", "auth": ["basic"], "fields": {"key": "{client_secret}"}}),
                "request.fields.key",
                "keep one way",
            ),
            (
                "/request",
                json!({"body": "form", "headers": {"Authorization": "{client_secret}"}, "fields": {"key": "{client_secret}"}}),
                "request.fields.key",
                "keep one way",
            ),
            (
                "/request",
                json!({"body": "form", "headers": {"User-Agent": "{tenant}"}}),
                "request.headers.User-Agent",
                "shown in logs",
            ),
            ("/request", json!({"body": "form", "auth": ["post", "basic", "post"]}), "request.auth.2", "twice"),
            ("/request", json!("canary-of-a-secret"), "request", "invalid type, expected"),
            ("/request/body", json!("canary-of-a-secret"), "request.body", "unknown variant, expected"),
            ("/request/fields/id", json!("canary{of-a-secret"), "request.fields.id", "unpaired brace"),
            ("/request/fields/id", json!("{canary of a secret}"), "request.fields.id", "not a placeholder"),
            ("/response/token", json!("canary-of-a-secret"), "response.token", "not a JSON pointer"),
            (
                "/request",
                json!({"body": "form", "auth": ["post"], "fields": {"client_id": "{client_id}"}}),
                "request.fields.client_id",
                "auth post brings this field",
            ),
            ("/request", json!({"fields": {}}), "request", "missing field `body`"),
            ("/api", json!({"headers": {"X-Key": "{client_secret}{token}"}}), "api.headers.X-Key", "not known here"),
            ("/response/expiry", json!({"at": "/a", "unit": "minutes"}), "response.expiry.unit", "unknown variant"),
            ("/response/expiry", json!({"at": "/a"}), "response.expiry", "missing field `unit`"),
            (
                "/response/expiry",
                json!({"at": "/a", "unit": "seconds", "zero_is_unknown": 1}),
                "response.expiry.zero_is_unknown",
                "invalid type",
            ),
            (
                "/response/retry_after",
                json!({"at": "a", "unit": "seconds"}),
                "response.retry_after.at",
                "not a JSON pointer",
            ),
            ("/response/error_code", json!("/code"), "response.error_code", "invalid type"),
            ("/response/default_ttl_s", json!(-1), "response.default_ttl_s", "invalid value"),
            ("/computed/now", json!({"unix_time": "minutes"}), "computed.now.unix_time", "unknown variant"),
            ("/computed/now", json!({"hmac_md5": {}}), "computed.now.hmac_md5", "unknown variant"),
            ("/limits", json!({"clock_s": "5"}), "limits.clock_s", "invalid type"),
            ("/limits", json!({"lockout": 1}), "limits.lockout", "cannot be tried"),
            ("/limits", json!({"lockout": -4}), "limits.lockout", "invalid value"),
            ("/request/headers", json!({"X-Sig": "{sig}"}), "request.headers.X-Sig", "in the body only"),
            ("/request/headers", json!({"X Sig": "1"}), "request.headers.X Sig", "not the name of a header"),
            (
                "/computed/sig",
                json!({"hmac_sha256": {"message": "{later}", "encoding": "hex"}}),
                "computed.sig.hmac_sha256.message",
                "what is: tenant, client_id, now",
            ),
            (
                "/computed/sig",
                json!({"hmac_sha256": {"message": "{now}", "encoding": "rot13"}}),
                "computed.sig.hmac_sha256.encoding",
                "unknown variant",
            ),
            ("/computed/sig", json!({"random": 5}), "request", "the client secret is used neither"),
            ("/computed/tenant", json!({"random": 5}), "computed.tenant", "taken"),
            ("/computed/nonce", json!({"random": 0}), "computed.nonce", "1 to 1024"),
            ("/computed/length", json!({"length_of": "nonce"}), "computed.length", "not always there"),
            ("/response/token", json!("data.token"), "response.token", "not a JSON pointer"),
            ("/response/requested_life", json!("tenant"), "response.requested_life", "duration"),
            ("/inputs/token", json!({}), "inputs.token", "cannot be the name"),
            ("/inputs/tenant", json!({"required": true, "default": "x"}), "inputs.tenant", "never missing"),
            ("/inputs/tenant", json!({"min_length": 5, "max_length": 4}), "inputs.tenant", "above max_length"),
            ("/inputs/proxy", json!({}), "inputs.proxy", "cannot be the name"),
            ("/inputs/client_secret", json!({}), "inputs.client_secret", "cannot be the name"),
            ("/inputs/maybe", json!(5), "inputs.maybe", "invalid type"),
            ("/request/auth", json!(["post", "header"]), "request.auth.1", "unknown variant"),
            (
                "/request/headers",
                json!({"Content-Length": "1"}),
                "request.headers.Content-Length",
                "the HTTP client's own",
            ),
            ("/api/headers", json!({"A": "{token}", "a": "{token}"}), "api.headers.a", "twice"),
            ("/api/headers", json!({"A": "Bearer\r\nX: {token}"}), "api.headers.A", "visible ASCII"),
            ("/response/token", json!("/a~2"), "response.token", "not a JSON pointer"),
            ("/response/expect", json!({"ok": true}), "response.expect.ok", "not a JSON pointer"),
            ("/response/errors", json!([{"hint": "x"}]), "response.errors.0", "neither status nor code"),
            ("/inputs", json!({"tenant": {}}), "computed.sig.hmac_sha256.message", "{tenant} is not always there"),
            ("/limits", json!({"quota": "31/moon"}), "limits.quota", "has a window"),
            ("/limits", json!({"quota": 31}), "limits.quota", "invalid type"),
            ("/limits", json!({"quota_headers": ["X-Left"]}), "limits.quota_headers", "not in lower case"),
            ("/token_url", json!("https://{sig}/"), "token_url", "not known here"),
            ("/api/headers", json!({"X-Key": "{tenant}"}), "api.headers", "no header holds {token}"),
            (
                "/api/headers/Authorization",
                json!("Bearer {tokn}"),
                "api.headers.Authorization",
                "known are tenant, client_id, token",
            ),
        ];
        table.into_iter().map(|(pointer, value, place, reason)| (with(pointer, value), place, reason)).collect()
    }

    #[test]
    fn a_broken_description_is_refused_with_its_place_and_the_reason() {
        Provider::parse(sound().to_string().into()).unwrap();
        for (description, place, reason) in broken() {
            let message = Provider::parse(description.to_string().into()).unwrap_err().to_string();
            assert!(message.contains(&format!("broken at {place}: ")), "{place}: {message}");
            assert!(message.contains(reason), "{place}: {message}");
        }
        for (text, place, reason) in [
            ("", "the top", "this is not a JSON object"),
            ("123456789", "the top", "this is not a JSON object"),
            ("-1", "the top", "this is not a JSON object"),
            ("{", "the top", "EOF"),
            ("{\n\"name\": \"canary\" \"about\": \"\"}", "the top", "expected `,` or `}` at line 2 column 18"),
            (r#"{"name": "canary \ud800"}"#, "the top", "escape at line 1 column 24"),
            (r#"{"limits": {"clock_s": 1e999}}"#, "the top", "number out of range at line 1 column 28"),
            (&format!(r#"{{"response": {{"expect": {{"/a": {}"#, "[".repeat(126)), "the top", "recursion limit"),
            (r#"{"name": "a", "name": "b"}"#, "name", "twice"),
            (r#"{"limits": [5]}"#, "limits", "invalid type"),
            (r#"{"computed": {"a": {}}}"#, "computed.a", "one member"),
            (r#"{"request": {"body": {"json": null}}}"#, "request.body", "invalid type, expected a text"),
            ("[]", "the top", "this is not a JSON object"),
            (r#""canary-of-a-secret""#, "the top", "this is not a JSON object"),
            ("canary-of-a-secret", "the top", "this is not a JSON object"),
            (
                r#"{"name": "a", "about": "", "request": {"body": "json"}, "response": {"errors": [{"hint": "", "code": "1"}, {"hint": "", "status": "x"}]}}"#,
                "response.errors.1.status",
                "invalid type",
            ),
            (r#"{"inputs": {"a": {}, "a": {}}}"#, "inputs", "twice"),
            (r#"{"about": "no name", "request": {"body": "json"}}"#, "the top", "missing field"),
        ] {
            let message = Provider::parse(text.to_owned().into()).unwrap_err().to_string();
            assert!(message.contains(&format!("broken at {place}")) && message.contains(reason), "{text}: {message}");
            assert!(!message.contains("canary"), "{message}");
        }
        let trailing = format!("{} {{}}", sound());
        assert!(Provider::parse(trailing.into()).unwrap_err().to_string().contains("trailing characters"));
    }
}
