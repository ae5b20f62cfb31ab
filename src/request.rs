//! From a provider's description and a client's settings to an HTTP request. Pure: time and random bytes are arguments.

use std::fmt;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode_byte, utf8_percent_encode};
use zeroize::Zeroizing;

use crate::credential::{basic, sign};
use crate::error::{Error, ErrorKind, Step};
use crate::provider::{
    Auth, BodyKind, CLIENT_ID, CLIENT_SECRET, Computed, Field, Input, InputKind, PLAIN_HEADERS, Piece, SHARED,
    Template, TimeUnit, is_header_value,
};
use crate::secret::Secret;
use crate::settings::{Settings, without_query};

/// All of a request but its body: what leaves first. The method is POST.
#[allow(clippy::exhaustive_structs)] // transports take them apart
pub struct Head {
    /// Where to, byte for byte as configured.
    pub url: String,
    /// Names and values, without `Host` and `Content-Length`.
    pub headers: Vec<(String, Secret)>,
    /// The exact length of the body to come.
    pub content_length: usize,
}

impl Head {
    /// The head, secrets masked, for the log.
    pub(crate) fn shown(&self) -> String {
        let url = without_query(&self.url);
        let headers =
            self.headers.iter().map(|(name, value)| match PLAIN_HEADERS.contains(&&*name.to_ascii_lowercase()) {
                true => format!("{name}: {}", value.expose()),
                false => format!("{name}: ***"),
            });
        format!("POST {url}; {}", headers.collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("url", &without_query(&self.url))
            .field("content_length", &self.content_length)
            .finish()
    }
}

/// 2001-09-09. From here until 2286 a time has as many digits as any other, so that a body is as long as its head says.
const CLOCK_MIN: Duration = Duration::from_secs(1_000_000_000);

/// Everything but unreserved characters (RFC 3986 section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One attempt's view of what is to be sent.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    settings: &'a Settings,
    secret: Secret,
}

/// A body, and the signatures in it, which no error may repeat.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) text: Secret,
    pub(crate) signatures: Vec<Secret>,
    /// The fields, secrets masked, for the log.
    pub(crate) shown: String,
}

/// The source of random bytes.
pub(crate) type Random<'a> = &'a dyn Fn(&mut [u8]) -> Result<(), Error>;

impl<'a> Plan<'a> {
    pub(crate) fn new(settings: &'a Settings, secret: Secret) -> Plan<'a> {
        Plan { settings, secret }
    }

    /// The head; what it says of the body's length holds for the body of any moment.
    pub(crate) fn head(&self, now: Duration) -> Result<Head, Error> {
        let settings = self.settings;
        let provider = &settings.provider;
        let mut headers = Headers(Vec::new());
        headers.set("Accept", Secret::from("application/json"));
        headers.set(
            "Content-Type",
            Secret::from(match provider.request.body {
                BodyKind::Json => "application/json",
                BodyKind::Form => "application/x-www-form-urlencoded",
            }),
        );
        headers.set("User-Agent", Secret::from(settings.user_agent.as_str()));
        let encode = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        match settings.auth {
            Some(Auth::Basic) => {
                let secret = Secret::new(encode(self.secret.expose()));
                headers.set("Authorization", basic(&encode(&settings.client_id), &secret));
            }
            Some(Auth::BasicRaw) => headers.set("Authorization", basic(&settings.client_id, &self.secret)),
            Some(Auth::Post) | None => {}
        }
        for (name, template) in provider.request.headers.iter() {
            let Some(value) = self.evaluate(template, &[]).map(|value| value.to_text()) else { continue };
            if !is_header_value(value.expose()) {
                let message = format!("client_secret cannot stand in the header {name}: it is not visible ASCII");
                return Err(Error::new(ErrorKind::Config, Step::Request, message));
            }
            headers.set(name, value);
        }
        for (name, value) in &settings.headers {
            headers.set(name, value.clone());
        }
        // Random values, signatures and times are as long in every body, so any will do to measure.
        let content_length = self.body(now, &|_| Ok(()))?.text.expose().len();
        if content_length == 0 {
            // Nobody would ask for it, so nobody would know whether the request left.
            let message = "the body would be empty; give the description a field, or set param.NAME";
            return Err(Error::new(ErrorKind::Config, Step::Request, message));
        }
        Ok(Head { url: settings.token_url.clone(), headers: headers.0, content_length })
    }

    /// Whatever no error may repeat, but for the signatures. A short value of the host's own is hardly a secret, and
    /// would silence every error.
    pub(crate) fn secrets(&self, head: &Head) -> Vec<Secret> {
        let own = self.settings.params.iter().chain(&self.settings.headers).chain(&head.headers);
        let own = own.filter(|(name, _)| !PLAIN_HEADERS.contains(&&*name.to_ascii_lowercase()));
        let inputs = self.settings.provider.inputs.iter().filter(|(name, input)| may_be_secret(name, input));
        let inputs = inputs.filter_map(|(name, _)| self.settings.input(name).map(Secret::from));
        let query = head.url.split_once('?').map(|(_, query)| Secret::from(query));
        let own = own.map(|(_, value)| value.clone()).chain(inputs).chain(query);
        let own = own.filter(|value| value.expose().len() >= 8);
        let written = |secret: Secret| {
            // As Basic, a form and JSON write it.
            let percent = utf8_percent_encode(secret.expose(), RESERVED).to_string();
            let form = percent.replace("%20", "+");
            let json = serde_json::to_string(secret.expose()).unwrap_or_default();
            [percent, form, json.trim_matches('"').to_owned()].map(Secret::new).into_iter().chain([secret])
        };
        [self.secret.clone()].into_iter().chain(own).flat_map(written).collect()
    }

    /// The body, signed for this moment.
    pub(crate) fn body(&self, now: Duration, random: Random<'_>) -> Result<Body, Error> {
        let provider = &self.settings.provider;
        let computed = self.compute(now, random)?;
        let mut fields: Vec<(&str, Value)> = Vec::new();
        for (name, field) in provider.request.fields.iter() {
            match field {
                Field::Text(template) => fields.extend(self.evaluate(template, &computed).map(|value| (name, value))),
                Field::Number(number) => fields.push((name, Value::Number(*number))),
                Field::Bool(value) => fields.push((name, Value::Bool(*value))),
                Field::EachOf(input) => {
                    let words = self.settings.input(input).unwrap_or_default().split_ascii_whitespace();
                    fields.extend(words.map(|word| (name, Value::text(word))));
                }
            }
        }
        if self.settings.auth == Some(Auth::Post) {
            fields.push((CLIENT_ID, Value::text(&self.settings.client_id)));
            fields.push((CLIENT_SECRET, Value::Text(Sort::Secret, self.secret.clone())));
        }
        for (name, value) in &self.settings.params {
            fields.retain(|(known, _)| known != name);
            fields.push((name, Value::Text(Sort::Secret, value.clone())));
        }
        let shown: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", value.shown())).collect();
        let text = Secret::new(match provider.request.body {
            BodyKind::Json => json(&fields),
            BodyKind::Form => form(&fields),
        });
        let signatures = computed.into_iter().filter_map(|(_, value)| match value {
            Value::Text(Sort::Signature, signature) => Some(signature),
            _ => None,
        });
        Ok(Body { text, signatures: signatures.collect(), shown: shown.join(", ") })
    }

    fn compute(&self, now: Duration, random: Random<'_>) -> Result<Vec<(&'a str, Value)>, Error> {
        let mut values: Vec<(&str, Value)> = Vec::new();
        for (name, computed) in self.settings.provider.computed.iter() {
            let value = match computed {
                Computed::UnixTime(_) if now < CLOCK_MIN => {
                    let message = "this machine's clock is decades behind, and the request tells the time; set it";
                    return Err(Error::new(ErrorKind::Config, Step::Request, message));
                }
                Computed::UnixTime(TimeUnit::Seconds) => Value::Number(now.as_secs() as i64),
                Computed::UnixTime(TimeUnit::Milliseconds) => Value::Number(now.as_millis() as i64),
                Computed::Random(length) => Value::text(&random_text(*length, random)?),
                Computed::LengthOf(other) => {
                    let length =
                        self.lookup(other, &values).map_or(0, |value| value.to_text().expose().chars().count());
                    Value::Number(length as i64)
                }
                Computed::HmacSha256(hmac) => {
                    let message = self.evaluate(&hmac.message, &values).map(|message| message.to_text());
                    let message = message.ok_or_else(|| Error::bug(Step::Request, "a signed value is absent"))?;
                    let signature = sign(&self.secret, message.expose(), hmac.encoding);
                    Value::Text(Sort::Signature, Secret::new(signature))
                }
            };
            values.push((name, value));
        }
        Ok(values)
    }

    fn lookup(&self, name: &str, computed: &[(&str, Value)]) -> Option<Value> {
        if name == CLIENT_SECRET {
            return Some(Value::Text(Sort::Secret, self.secret.clone()));
        }
        match computed.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => Some(value.clone()),
            None => self.settings.input(name).map(|text| match self.settings.provider.inputs.get(name) {
                Some(input) if input.kind == InputKind::Duration => {
                    text.parse().map_or_else(|_| Value::text(text), Value::Number)
                }
                Some(input) if may_be_secret(name, input) => Value::Text(Sort::Secret, Secret::from(text)),
                _ => Value::text(text),
            }),
        }
    }

    /// `None` if a placeholder is absent.
    fn evaluate(&self, template: &Template, computed: &[(&str, Value)]) -> Option<Value> {
        if let [Piece::Name(name)] = template.pieces() {
            return self.lookup(name, computed);
        }
        let (mut sort, mut text) = (Sort::Plain, Zeroizing::new(String::new()));
        for piece in template.pieces() {
            match piece {
                Piece::Literal(literal) => text.push_str(literal),
                Piece::Name(name) => {
                    let value = self.lookup(name, computed)?;
                    text.push_str(value.to_text().expose());
                    sort = sort.max(value.sort());
                }
            }
        }
        Some(Value::Text(sort, Secret::new(std::mem::take(&mut text))))
    }
}

/// A provider's own input may be a second secret, whatever it is called.
fn may_be_secret(name: &str, input: &Input) -> bool {
    input.kind == InputKind::Text && !SHARED.contains(&name)
}

/// Names are compared without case, the later value wins.
struct Headers(Vec<(String, Secret)>);

impl Headers {
    fn set(&mut self, name: &str, value: Secret) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.0.push((name.to_owned(), value));
    }
}

/// The value of a field.
#[derive(Clone)]
enum Value {
    Text(Sort, Secret),
    Number(i64),
    Bool(bool),
}

/// What a text holds; of a mixture, the last of these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sort {
    Plain,
    /// Masked when shown.
    Secret,
    /// The same, and encoded so that its length does not depend on its bytes.
    Signature,
}

impl Value {
    fn text(text: &str) -> Value {
        Value::Text(Sort::Plain, Secret::from(text))
    }

    fn sort(&self) -> Sort {
        match self {
            Value::Text(sort, _) => *sort,
            Value::Number(_) | Value::Bool(_) => Sort::Plain,
        }
    }

    fn to_text(&self) -> Secret {
        match self {
            Value::Text(_, text) => text.clone(),
            Value::Number(number) => Secret::new(number.to_string()),
            Value::Bool(value) => Secret::new(value.to_string()),
        }
    }

    /// Fit for a log.
    fn shown(&self) -> String {
        match self.sort() {
            Sort::Plain => self.to_text().expose().to_owned(),
            Sort::Secret | Sort::Signature => "***".to_owned(),
        }
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Text(_, text) => serializer.serialize_str(text.expose()),
            Value::Number(number) => serializer.serialize_i64(*number),
            Value::Bool(value) => serializer.serialize_bool(*value),
        }
    }
}

fn json(fields: &[(&str, Value)]) -> String {
    struct Object<'a>(&'a [(&'a str, Value)]);
    impl serde::Serialize for Object<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
        }
    }
    // Texts and numbers under text names: nothing that could fail to be written.
    serde_json::to_string(&Object(fields)).unwrap_or_default()
}

/// `application/x-www-form-urlencoded`, as the URL standard writes it but for what needs no encoding.
fn form(fields: &[(&str, Value)]) -> String {
    let mut body = String::with_capacity(1024);
    let encode = |body: &mut String, text: &str| {
        for (index, word) in text.split(' ').enumerate() {
            if index > 0 {
                body.push('+');
            }
            body.extend(utf8_percent_encode(word, RESERVED));
        }
    };
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        encode(&mut body, name);
        body.push('=');
        match value {
            // Every character, or the length of a base64 signature would depend on its bytes.
            Value::Text(Sort::Signature, text) => body.extend(text.expose().bytes().map(percent_encode_byte)),
            other => encode(&mut body, other.to_text().expose()),
        }
    }
    body
}

/// Six bits a character, so that all are equally likely and every one is a single byte of ASCII.
fn random_text(length: usize, random: Random<'_>) -> Result<String, Error> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = vec![0; length];
    random(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect())
}
