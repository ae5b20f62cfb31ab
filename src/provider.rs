//! What a provider wants and how it answers, as data: one JSON file each, read and checked here, interpreted elsewhere.
//!
//! The template language is `{name}` and nothing else: an input or a computed value is inserted; a text that is exactly
//! one placeholder keeps the value's type; a text with an absent input is left out as a whole.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::error::{Error, ErrorKind};

macro_rules! built_in {
    ($($name:literal),*) => {
        /// Name and description of every built-in provider, sorted.
        pub(crate) const BUILT_IN: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("providers/", $name, ".json")))),*];
        /// The names again, to be lent to C.
        #[cfg(feature = "capi")]
        pub(crate) const BUILT_IN_WITH_NUL: &[&str] = &[$(concat!($name, "\0")),*];
    };
}
built_in!("authvia", "calenso", "calven", "calven-hmac", "event-temple", "eventhos", "oauth2");

/// The inputs that every provider has.
pub(crate) const CLIENT_ID: &str = "client_id";
pub(crate) const CLIENT_SECRET: &str = "client_secret";
/// The placeholder that only the headers of API calls may hold.
pub(crate) const TOKEN: &str = "token";

/// A provider's description.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    /// Lower-case letters, digits and hyphens.
    pub(crate) name: String,
    /// One line for people.
    #[serde(rename = "about")]
    _about: String,
    /// The pages that the facts come from.
    #[serde(rename = "sources", default)]
    _sources: Vec<String>,
    /// The token endpoint; without one the option `token_url` is required.
    pub(crate) token_url: Option<Template>,
    /// The inputs it takes besides client id and secret, and rules for them.
    #[serde(default)]
    pub(crate) inputs: Ordered<Input>,
    /// Values made anew for each attempt, in this order.
    #[serde(default)]
    pub(crate) computed: Ordered<Computed>,
    pub(crate) request: Request,
    #[serde(default)]
    pub(crate) response: Response,
    pub(crate) api: Api,
    #[serde(default)]
    pub(crate) limits: Limits,
    /// The text it was read from: two descriptions are the same if their texts are.
    #[serde(skip)]
    pub(crate) source: Cow<'static, str>,
}

/// An option of the provider's own, or a standard one that it takes.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Input {
    #[serde(rename = "about")]
    _about: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: InputKind,
    pub(crate) required: bool,
    pub(crate) default: Option<String>,
    /// Length limits, in characters.
    pub(crate) min_length: Option<usize>,
    pub(crate) max_length: Option<usize>,
}

/// What the text of an input means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputKind {
    #[default]
    Text,
    /// An https URL (http on loopback) without query; slashes at its end are dropped.
    BaseUrl,
    /// Seconds, or a number with a unit: `900`, `5m`, `12h`, `1d`. Bare seconds are a number in JSON.
    Duration,
}

/// A value made for one attempt.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Computed {
    /// The time of signing since 1970: a number.
    UnixTime(TimeUnit),
    /// So many random characters of `A-Z a-z 0-9 - _`.
    Random(usize),
    /// The number of characters of another value: a number.
    LengthOf(String),
    /// A signature with the client secret as key.
    HmacSha256(Hmac),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimeUnit {
    Seconds,
    Milliseconds,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hmac {
    pub(crate) message: Template,
    pub(crate) encoding: Encoding,
}

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    /// Lower-case hexadecimal.
    Hex,
    /// RFC 4648 section 4, with padding.
    Base64,
    /// RFC 4648 section 5, without padding.
    Base64url,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// The ways to show client id and secret that the option `auth` may name, the default first. None: they are used in
    /// the fields or in a signature.
    #[serde(default)]
    pub(crate) auth: Vec<Auth>,
    pub(crate) body: BodyKind,
    #[serde(default)]
    pub(crate) headers: Ordered<Template>,
    #[serde(default)]
    pub(crate) fields: Ordered<Field>,
}

/// RFC 6749 section 2.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Auth {
    /// `client_id` and `client_secret` as fields of the body.
    Post,
    /// HTTP Basic, both percent-encoded first.
    Basic,
    /// HTTP Basic with both as they are, for the many servers that do not decode.
    BasicRaw,
}

impl Auth {
    pub(crate) const ALL: [(&str, Auth); 3] =
        [("post", Auth::Post), ("basic", Auth::Basic), ("basic_raw", Auth::BasicRaw)];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BodyKind {
    Json,
    Form,
}

/// A field of the body.
#[derive(Debug)]
pub(crate) enum Field {
    Text(Template),
    Number(i64),
    Bool(bool),
}

/// Where things are in a reply: JSON pointers (RFC 6901). What is not said is as in RFC 6749 sections 5.1 and 5.2.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Response {
    pub(crate) token: Pointer,
    pub(crate) token_type: Pointer,
    pub(crate) scope: Pointer,
    pub(crate) expiry: Expiry,
    /// Members that must have these values, or the reply is a refusal.
    pub(crate) expect: Ordered<serde_json::Value>,
    /// Where the provider's own code and words are in a refusal; the first that is there.
    pub(crate) error_code: Vec<Pointer>,
    pub(crate) error_message: Vec<Pointer>,
    /// What refusals of this provider mean; the first that fits.
    pub(crate) errors: Vec<Meaning>,
    /// The life of a token that nothing is said about, in seconds.
    pub(crate) default_ttl_s: Option<u64>,
    /// The duration input that asks for a life.
    pub(crate) requested_life: Option<String>,
}

impl Default for Response {
    fn default() -> Response {
        Response {
            token: Pointer("/access_token".into()),
            token_type: Pointer("/token_type".into()),
            scope: Pointer("/scope".into()),
            expiry: Expiry { at: Pointer("/expires_in".into()), unit: ExpiryUnit::Seconds },
            expect: Ordered::default(),
            error_code: vec![Pointer("/error".into())],
            error_message: vec![Pointer("/error_description".into())],
            errors: Vec::new(),
            default_ttl_s: None,
            requested_life: None,
        }
    }
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expiry {
    pub(crate) at: Pointer,
    pub(crate) unit: ExpiryUnit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ExpiryUnit {
    /// A duration.
    Seconds,
    /// A duration.
    Milliseconds,
    /// Time since 1970, in seconds or milliseconds: told apart by size.
    Epoch,
}

/// What a refusal with this HTTP status and this code means.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meaning {
    pub(crate) status: Option<u16>,
    pub(crate) code: Option<String>,
    /// In place of the family that the HTTP status suggests.
    pub(crate) kind: Option<RefusalKind>,
    /// What it means and what to do, for people.
    pub(crate) hint: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RefusalKind {
    Denied,
    RateLimited,
    Server,
}

impl From<RefusalKind> for ErrorKind {
    fn from(kind: RefusalKind) -> ErrorKind {
        match kind {
            RefusalKind::Denied => ErrorKind::Denied,
            RefusalKind::RateLimited => ErrorKind::RateLimited,
            RefusalKind::Server => ErrorKind::Server,
        }
    }
}

/// How a token is shown to the provider's API.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Api {
    pub(crate) headers: Ordered<Template>,
}

/// What the provider bounds; told in errors.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Limits {
    /// So many wrong secrets lock the client.
    pub(crate) lockout: Option<u32>,
    /// A signature may be this many seconds away from the provider's clock.
    pub(crate) clock_s: Option<u64>,
}

/// Members in the order of the text; a name given twice is refused.
#[derive(Debug)]
pub(crate) struct Ordered<T>(Vec<(String, T)>);

impl<T> Ordered<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Ordered<T>, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut members: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(de::Error::custom(format!("\"{name}\" stands here twice")));
                    }
                    members.push((name, value));
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Members(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Field, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number or a boolean")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Field, E> {
                Template::parse(text).map(Field::Text).map_err(E::custom)
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Field, E> {
                Ok(Field::Number(number))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Field, E> {
                i64::try_from(number).map(Field::Number).map_err(E::custom)
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Field, E> {
                Ok(Field::Bool(value))
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

/// A text with placeholders.
#[derive(Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug)]
pub(crate) enum Piece {
    Literal(String),
    Name(String),
}

impl Template {
    fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, from) = rest.split_at(open);
            let Some((name, after)) = from.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
                return Err(format!("an unpaired brace in \"{text}\""));
            };
            if !is_name(name) {
                return Err(format!("\"{{{name}}}\" is not a placeholder: names are of a-z, 0-9 and _"));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Template, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Template::parse(&text).map_err(de::Error::custom)
    }
}

/// A JSON pointer (RFC 6901): `/content/jwt_token`.
#[derive(Debug)]
pub(crate) struct Pointer(String);

impl Pointer {
    pub(crate) fn find<'v>(&self, document: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        document.pointer(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pointer, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.starts_with('/') {
            true => Ok(Pointer(text)),
            false => Err(de::Error::custom(format!("\"{text}\" is not a JSON pointer such as \"/content/token\""))),
        }
    }
}

/// Seconds of `900`, `5m`, `12h`, `1d`.
pub(crate) fn duration_seconds(text: &str) -> Option<i64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

impl Provider {
    /// The built-in description of that name.
    pub(crate) fn built_in(name: &str) -> Option<Result<Provider, Error>> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Provider::parse(Cow::Borrowed(text)))
    }

    /// Reads and checks a description; the error says where it is broken and why.
    pub(crate) fn parse(text: Cow<'static, str>) -> Result<Provider, Error> {
        let mut provider: Provider =
            serde_json::from_str(&text).map_err(|e| broken(place(&text, &e), &e.to_string()))?;
        provider.check().map_err(|(path, reason)| broken(path, &reason))?;
        provider.source = text;
        Ok(provider)
    }

    /// Whether the provider takes an input of that name.
    pub(crate) fn takes(&self, name: &str) -> bool {
        name == CLIENT_ID || self.inputs.get(name).is_some()
    }

    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        self.response.default_ttl_s.map(Duration::from_secs)
    }

    /// Whether `template` holds a value that exists only when the request is signed.
    fn is_computed(&self, template: &Template) -> Option<String> {
        template.names().find(|name| self.computed.get(name).is_some()).map(str::to_owned)
    }

    /// What the types cannot say.
    fn check(&self) -> Result<(), (String, String)> {
        let fail = |path: String, reason: String| Err((path, reason));
        if self.name.is_empty() || !self.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return fail("name".into(), "a name is of a-z, 0-9 and -".into());
        }
        for (name, input) in self.inputs.iter() {
            let path = format!("inputs.{name}");
            if !is_name(name) || name == CLIENT_SECRET || name == TOKEN {
                return fail(path, "this cannot be the name of an input".into());
            }
            if input.required && input.default.is_some() {
                return fail(path, "an input with a default is never missing: drop \"required\" or \"default\"".into());
            }
        }
        let mut known: Vec<&str> = self.inputs.iter().map(|(name, _)| name).chain([CLIENT_ID]).collect();
        let knows = |known: &[&str], template: &Template, path: String| match template
            .names()
            .find(|name| !known.contains(name))
        {
            Some(name) => Err((path, format!("{{{name}}} is not known here; known are {}", known.join(", ")))),
            None => Ok(()),
        };
        if let Some(url) = &self.token_url {
            knows(&known, url, "token_url".into())?;
        }
        for (name, header) in self.request.headers.iter() {
            let path = format!("request.headers.{name}");
            if let Some(value) = self.is_computed(header) {
                return fail(
                    path,
                    format!("{{{value}}} is made after the head has left: it can stand in the body only"),
                );
            }
            header_name(name).map_err(|reason| (path.clone(), reason))?;
            knows(&known, header, path)?;
        }
        let mut uses_secret = !self.request.auth.is_empty();
        for (name, value) in self.computed.iter() {
            let path = format!("computed.{name}");
            if !is_name(name) || known.contains(&name) || name == CLIENT_SECRET {
                return fail(path, "this name is taken or not of a-z, 0-9 and _".into());
            }
            match value {
                Computed::Random(length) if !(1..=1024).contains(length) => {
                    return fail(path, "a random value has 1 to 1024 characters".into());
                }
                Computed::LengthOf(other) if !known.contains(&other.as_str()) => {
                    return fail(path, format!("\"{other}\" is not known here; known are {}", known.join(", ")));
                }
                Computed::HmacSha256(hmac) => {
                    knows(&known, &hmac.message, format!("{path}.hmac_sha256.message"))?;
                    uses_secret = true;
                }
                _ => {}
            }
            known.push(name);
        }
        known.push(CLIENT_SECRET);
        for (name, field) in self.request.fields.iter() {
            if let Field::Text(template) = field {
                knows(&known, template, format!("request.fields.{name}"))?;
                uses_secret |= template.names().any(|used| used == CLIENT_SECRET);
            }
        }
        if !uses_secret {
            return fail(
                "request".into(),
                "the client secret is used neither by auth, nor in a field, nor in a signature".into(),
            );
        }
        let inputs: Vec<&str> = self.inputs.iter().map(|(name, _)| name).chain([CLIENT_ID, TOKEN]).collect();
        for (name, header) in self.api.headers.iter() {
            let path = format!("api.headers.{name}");
            header_name(name).map_err(|reason| (path.clone(), reason))?;
            knows(&inputs, header, path)?;
        }
        if !self.api.headers.iter().any(|(_, header)| header.names().any(|name| name == TOKEN)) {
            return fail("api.headers".into(), "no header holds {token}".into());
        }
        if let Some(name) = &self.response.requested_life {
            if self.inputs.get(name).map(|input| input.kind) != Some(InputKind::Duration) {
                return fail("response.requested_life".into(), "this is not an input of type \"duration\"".into());
            }
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn header_name(name: &str) -> Result<(), String> {
    match http::HeaderName::from_bytes(name.as_bytes()) {
        Ok(_) => Ok(()),
        Err(_) => Err("this is not the name of a header".into()),
    }
}

/// Where in the text an error of serde_json is, as names joined by dots. It tells line and column only.
fn place(text: &str, error: &serde_json::Error) -> String {
    let line_start: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let end = (line_start + error.column()).min(text.len());
    // Of each object around the place, the latest name, and whether a name comes next; of an array, nothing.
    let mut around: Vec<(String, bool)> = Vec::new();
    let mut bytes = text.as_bytes()[..end].iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'{' => around.push((String::new(), true)),
            b'[' => around.push((String::new(), false)),
            b'}' | b']' if at + 1 < end => drop(around.pop()),
            b',' | b':' => {
                around.iter_mut().last().into_iter().for_each(|inner| inner.1 = *byte == b',' && !inner.0.is_empty())
            }
            b'"' => {
                let mut escaped = false;
                let close = bytes.find(|(_, byte)| {
                    let closes = **byte == b'"' && !escaped;
                    escaped = **byte == b'\\' && !escaped;
                    closes
                });
                if let (Some((name, expected @ true)), Some((close, _))) = (around.last_mut(), close) {
                    *name = text[at + 1..close].to_owned();
                    *expected = false;
                }
            }
            _ => {}
        }
    }
    // What is missing is missing in the object, not at its latest name.
    let missing = error.to_string().starts_with("missing field");
    let depth = around.len().saturating_sub(usize::from(missing));
    let names: Vec<&str> =
        around[..depth].iter().map(|(name, _)| name.as_str()).filter(|name| !name.is_empty()).collect();
    if names.is_empty() { "the top".to_owned() } else { names.join(".") }
}

fn broken(path: String, reason: &str) -> Error {
    Error::config(format!("the provider description is broken at {path}: {reason}"))
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_broken_description_is_refused_with_its_place_and_the_reason() {
        let sound = serde_json::json!({
            "name": "mine", "about": "A provider.",
            "token_url": "https://auth.example/{tenant}/token",
            "inputs": {"tenant": {"required": true}},
            "computed": {"now": {"unix_time": "seconds"}, "sig": {"hmac_sha256": {"message": "{now}", "encoding": "hex"}}},
            "request": {"body": "json", "fields": {"id": "{client_id}", "at": "{now}", "sig": "{sig}"}},
            "response": {"token": "/data/token"},
            "api": {"headers": {"Authorization": "Bearer {token}"}},
        });
        Provider::parse(sound.to_string().into()).unwrap();
        let broken = |pointer: &str, value: serde_json::Value| {
            let mut text = sound.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let parent = if parent.is_empty() { &mut text } else { text.pointer_mut(parent).unwrap() };
            parent[name] = value;
            Provider::parse(text.to_string().into()).unwrap_err().to_string()
        };
        use serde_json::json;
        for (pointer, value, place, reason) in [
            ("/name", json!("My Provider"), "name", "a-z, 0-9 and -"),
            ("/nmae", json!("x"), "nmae", "unknown field"),
            ("/request/body", json!("xml"), "request.body", "unknown variant"),
            ("/request/fields/id", json!(["x"]), "request.fields.id", "a text, a whole number or a boolean"),
            ("/request/fields/id", json!("{client_ident}"), "request.fields.id", "known are tenant, client_id"),
            ("/request/fields/id", json!("{client_id"), "request.fields.id", "unpaired brace"),
            ("/request/fields/id", json!("{Client Id}"), "request.fields.id", "not a placeholder"),
            ("/request/headers", json!({"X-Sig": "{sig}"}), "request.headers.X-Sig", "in the body only"),
            ("/request/headers", json!({"X Sig": "1"}), "request.headers.X Sig", "not the name of a header"),
            (
                "/computed/sig",
                json!({"hmac_sha256": {"message": "{later}", "encoding": "hex"}}),
                "computed.sig.hmac_sha256.message",
                "not known here",
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
            ("/computed/length", json!({"length_of": "nonce"}), "computed.length", "not known here"),
            ("/response/token", json!("data.token"), "response.token", "not a JSON pointer"),
            ("/response/requested_life", json!("tenant"), "response.requested_life", "duration"),
            ("/inputs/token", json!({}), "inputs.token", "cannot be the name"),
            ("/inputs/tenant", json!({"required": true, "default": "x"}), "inputs.tenant", "never missing"),
            ("/token_url", json!("https://{sig}/"), "token_url", "not known here"),
            ("/api/headers", json!({"X-Key": "{tenant}"}), "api.headers", "no header holds {token}"),
            (
                "/api/headers/Authorization",
                json!("Bearer {tokn}"),
                "api.headers.Authorization",
                "known are tenant, client_id, token",
            ),
        ] {
            let message = broken(pointer, value);
            assert!(message.contains(&format!("broken at {place}: ")), "{pointer}: {message}");
            assert!(message.contains(reason), "{pointer}: {message}");
        }
        for (text, place, reason) in [
            ("", "the top", "EOF"),
            ("[]", "the top", "expected struct Provider"),
            (r#"{"inputs": {"a": {}, "a": {}}}"#, "inputs", "twice"),
            (r#"{"about": "no name", "request": {"body": "json"}}"#, "the top", "missing field"),
        ] {
            let message = Provider::parse(text.to_owned().into()).unwrap_err().to_string();
            assert!(message.contains(&format!("broken at {place}")) && message.contains(reason), "{text}: {message}");
        }
        let trailing = format!("{sound} {{}}");
        assert!(Provider::parse(trailing.into()).unwrap_err().to_string().contains("trailing characters"));
    }

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        for (text, seconds) in [
            ("900", Some(900)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("30min", Some(1800)),
            ("12h", Some(43_200)),
            ("1d", Some(86_400)),
            ("2w", Some(1_209_600)),
            ("", None),
            ("m", None),
            ("5 m", None),
            ("-5m", None),
            ("1y", None),
            ("9223372036854775807w", None),
        ] {
            assert_eq!(duration_seconds(text), seconds, "{text}");
        }
    }
}
