//! What a provider wants and how it answers, as data: one JSON file each, read and checked here, interpreted elsewhere.
//!
//! The template language is `{name}` and nothing else: an input or a computed value is inserted; a text that is exactly
//! one placeholder keeps the value's type; a text with an absent input is left out as a whole.

mod check;
mod read;
mod template;

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

pub(crate) use check::{PLAIN_HEADERS, RESERVED_HEADERS, SHARED, is_header_value};
use read::{Fault, Found, Read, object, words};
pub(crate) use template::{Ordered, Piece, Pointer, Template};

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
built_in!("authvia", "calenso", "calven", "calven-hmac", "event-temple", "eventhos", "feishu", "oauth2");

/// The inputs that every provider has.
pub(crate) const CLIENT_ID: &str = "client_id";
pub(crate) const CLIENT_SECRET: &str = "client_secret";
/// The placeholder that only the headers of API calls may hold.
pub(crate) const TOKEN: &str = "token";

/// What a provider wants and how it answers.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(title = "A provider for libtokauth", deny_unknown_fields))]
pub(crate) struct Provider {
    /// Where an editor finds this schema; read by nothing else.
    #[cfg_attr(test, schemars(rename = "$schema", default))]
    _schema: Option<String>,
    /// Lower-case letters, digits and hyphens.
    #[cfg_attr(test, schemars(regex(pattern = schema::NAME)))]
    pub(crate) name: String,
    /// One line for people.
    #[cfg_attr(test, schemars(rename = "about"))]
    _about: String,
    /// The pages that the facts come from.
    #[cfg_attr(test, schemars(rename = "sources", default))]
    _sources: Vec<String>,
    /// What people should know besides: a paragraph each.
    #[cfg_attr(test, schemars(rename = "notes", default))]
    _notes: Vec<String>,
    /// The token endpoint; without one the option `token_url` is required.
    pub(crate) token_url: Option<Template>,
    /// The inputs it takes besides client id and secret, and rules for them.
    #[cfg_attr(test, schemars(default))]
    pub(crate) inputs: Ordered<Input>,
    /// Values made anew for each attempt, in this order.
    #[cfg_attr(test, schemars(default))]
    pub(crate) computed: Ordered<Computed>,
    /// What is sent.
    pub(crate) request: Request,
    /// What is answered; what is not said is as in RFC 6749.
    #[cfg_attr(test, schemars(default))]
    pub(crate) response: Response,
    /// What calls of the provider's API need.
    pub(crate) api: Api,
    /// What the provider bounds.
    #[cfg_attr(test, schemars(default))]
    pub(crate) limits: Limits,
    /// The text it was read from: two descriptions are the same if their texts are.
    #[cfg_attr(test, schemars(skip))]
    pub(crate) source: Cow<'static, str>,
}

object!(Provider
    needs { "name": name, "about": _about, "request": request, "api": api }
    takes {
        "$schema": _schema, "sources": _sources, "notes": _notes, "token_url": token_url, "inputs": inputs,
        "computed": computed, "response": response, "limits": limits,
    }
);

/// An option of the provider's own, or a standard one that it takes.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Input {
    /// A few words for people.
    #[cfg_attr(test, schemars(rename = "about"))]
    _about: Option<String>,
    /// What its text means; plain text unless set.
    #[cfg_attr(test, schemars(rename = "type"))]
    pub(crate) kind: InputKind,
    /// Without it there is no client.
    pub(crate) required: bool,
    /// What it is where the host sets none.
    pub(crate) default: Option<String>,
    /// The shortest, in characters.
    pub(crate) min_length: Option<usize>,
    /// The longest, in characters.
    pub(crate) max_length: Option<usize>,
}

object!(Input takes {
    "about": _about, "type": kind, "required": required, "default": default, "min_length": min_length,
    "max_length": max_length,
});

/// What the text of an input means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub(crate) enum InputKind {
    /// Anything.
    #[default]
    Text,
    /// An https URL (http on loopback) without query; slashes at its end are dropped.
    BaseUrl,
    /// Seconds, or a number with a unit: `900`, `5m`, `12h`, `1d`. Bare seconds are a number in JSON.
    Duration,
}

words!(InputKind { "text": Text, "base_url": BaseUrl, "duration": Duration });

/// A value made for one attempt.
#[derive(Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
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

impl Read for Computed {
    fn read(found: &Found<'_>) -> Result<Computed, Fault> {
        match &found.members()?[..] {
            [(name, json)] => {
                let value = found.within(name, json);
                match value.choose(name, &["unix_time", "random", "length_of", "hmac_sha256"])? {
                    0 => TimeUnit::read(&value).map(Computed::UnixTime),
                    1 => usize::read(&value).map(Computed::Random),
                    2 => value.text().map(Computed::LengthOf),
                    _ => Hmac::read(&value).map(Computed::HmacSha256),
                }
            }
            _ => Err(found.invalid("value", "one member, named as what is computed")),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub(crate) enum TimeUnit {
    #[default]
    Seconds,
    Milliseconds,
}

words!(TimeUnit { "seconds": Seconds, "milliseconds": Milliseconds });

#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(crate) struct Hmac {
    /// What is signed: of values that are always there.
    pub(crate) message: Template,
    /// How the signature is written.
    pub(crate) encoding: Encoding,
}

object!(Hmac needs { "message": message, "encoding": encoding });

/// How the bytes of a signature are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub(crate) enum Encoding {
    /// Lower-case hexadecimal.
    #[default]
    Hex,
    /// RFC 4648 section 4, with padding.
    Base64,
    /// RFC 4648 section 5, without padding.
    Base64url,
}

words!(Encoding { "hex": Hex, "base64": Base64, "base64url": Base64url });

#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(crate) struct Request {
    /// The ways to show client id and secret that the option `auth` may name, the default first. None: they are used in
    /// the fields or in a signature.
    #[cfg_attr(test, schemars(default))]
    pub(crate) auth: Vec<Auth>,
    /// How the fields are written.
    pub(crate) body: BodyKind,
    /// Besides those of every request. May hold `{client_secret}`, for providers that take it there.
    #[cfg_attr(test, schemars(default))]
    pub(crate) headers: Ordered<Template>,
    /// The body, in this order.
    #[cfg_attr(test, schemars(default))]
    pub(crate) fields: Ordered<Field>,
}

object!(Request needs { "body": body } takes { "auth": auth, "headers": headers, "fields": fields });

/// RFC 6749 section 2.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub(crate) enum Auth {
    /// `client_id` and `client_secret` as fields of the body.
    Post,
    /// HTTP Basic, both percent-encoded first.
    Basic,
    /// HTTP Basic with both as they are, for the many servers that do not decode.
    BasicRaw,
}

words!(Auth { "post": Post, "basic": Basic, "basic_raw": BasicRaw });

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub(crate) enum BodyKind {
    /// `application/json`: one object.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
}

words!(BodyKind { "json": Json, "form": Form });

/// A field of the body.
#[derive(Debug)]
pub(crate) enum Field {
    Text(Template),
    Number(i64),
    Bool(bool),
    /// `{"each_of": "resource"}`: the field once for each word of an input, as a form may repeat it.
    EachOf(String),
}

impl Read for Field {
    fn read(found: &Found<'_>) -> Result<Field, Fault> {
        let field = match found.value()? {
            Value::String(_) => return Template::read(found).map(Field::Text),
            Value::Object(_) => return Each::read(found).map(|each| Field::EachOf(each.each_of)),
            Value::Bool(value) => Some(Field::Bool(value)),
            Value::Number(number) => number.as_i64().map(Field::Number),
            Value::Null | Value::Array(_) => None,
        };
        field.ok_or_else(|| found.invalid("type", "a text, a whole number, a boolean or {\"each_of\": …}"))
    }
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
struct Each {
    /// The input whose words are sent.
    each_of: String,
}

object!(Each needs { "each_of": each_of });

/// Where things are in a reply: JSON pointers (RFC 6901). What is not said is as in RFC 6749 sections 5.1 and 5.2.
#[derive(Debug)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Response {
    /// The token: `/access_token` unless set.
    pub(crate) token: Pointer,
    /// Its type: `/token_type` unless set.
    pub(crate) token_type: Pointer,
    /// What it is good for: `/scope` unless set.
    pub(crate) scope: Pointer,
    /// Its end: `/expires_in` in seconds unless set. A JWT's own `exp` counts where the reply says nothing.
    pub(crate) expiry: Expiry,
    /// JSON pointers to members that must have these values, or the reply is a refusal.
    pub(crate) expect: Ordered<Value>,
    /// Where the provider's own code is in a refusal: the first that is there. `/error` unless set, then where Okta,
    /// Fitbit, UPS, WeChat and others have it. What stands under a name that begins with `err`, and a code that
    /// `errors` knows, make any reply a refusal.
    pub(crate) error_code: Vec<Pointer>,
    /// Where its words are: the first that is there. `/error_description` unless set, then `/message` and others.
    pub(crate) error_message: Vec<Pointer>,
    /// Where a refusal says how long to wait, besides `Retry-After`.
    pub(crate) retry_after: Option<Wait>,
    /// What refusals of this provider mean; the first that fits.
    pub(crate) errors: Vec<Meaning>,
    /// The life of a token that nothing is said about, in seconds.
    pub(crate) default_ttl_s: Option<u64>,
    /// The duration input that asks for a life.
    pub(crate) requested_life: Option<String>,
}

object!(Response takes {
    "token": token, "token_type": token_type, "scope": scope, "expiry": expiry, "expect": expect,
    "error_code": error_code, "error_message": error_message, "retry_after": retry_after, "errors": errors,
    "default_ttl_s": default_ttl_s, "requested_life": requested_life,
});

impl Default for Response {
    fn default() -> Response {
        Response {
            token: Pointer("/access_token".into()),
            token_type: Pointer("/token_type".into()),
            scope: Pointer("/scope".into()),
            expiry: Expiry { at: Pointer("/expires_in".into()), unit: ExpiryUnit::Seconds, zero_is_unknown: false },
            expect: Ordered::default(),
            error_code: pointers(&ERROR_CODES),
            error_message: pointers(&ERROR_MESSAGES),
            retry_after: None,
            errors: Vec::new(),
            default_ttl_s: None,
            requested_life: None,
        }
    }
}

/// RFC 6749 section 5.2 first; then what is in front of, or instead of, the servers that follow it: Okta, a firewall's
/// object, Fitbit, UPS, WeChat, and whatever else has a code.
const ERROR_CODES: [&str; 10] = [
    "/error",
    "/errorCode",
    "/error/code",
    "/error/status_code",
    "/errors/0/errorType",
    "/errors/0/code",
    "/errors/0",
    "/response/errors/0/code",
    "/errcode",
    "/code",
];
/// The words to those codes, and those of RFC 9457.
const ERROR_MESSAGES: [&str; 9] = [
    "/error_description",
    "/errorSummary",
    "/error/message",
    "/errors/0/message",
    "/response/errors/0/message",
    "/errmsg",
    "/message",
    "/detail",
    "/title",
];

fn pointers(texts: &[&str]) -> Vec<Pointer> {
    texts.iter().map(|text| Pointer((*text).into())).collect()
}

#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(crate) struct Expiry {
    /// Where it stands.
    pub(crate) at: Pointer,
    /// What it counts, and from when.
    pub(crate) unit: ExpiryUnit,
    /// Zero says nothing about the end, instead of "now".
    #[cfg_attr(test, schemars(default))]
    pub(crate) zero_is_unknown: bool,
}

object!(Expiry needs { "at": at, "unit": unit } takes { "zero_is_unknown": zero_is_unknown });

#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(crate) struct Wait {
    /// Where it stands.
    pub(crate) at: Pointer,
    /// What it counts.
    pub(crate) unit: TimeUnit,
}

object!(Wait needs { "at": at, "unit": unit });

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub(crate) enum ExpiryUnit {
    /// Seconds from now.
    #[default]
    Seconds,
    /// Milliseconds from now.
    Milliseconds,
    /// Time since 1970, in seconds or milliseconds, told apart by size; or a date (RFC 3339).
    Epoch,
}

words!(ExpiryUnit { "seconds": Seconds, "milliseconds": Milliseconds, "epoch": Epoch });

/// What a refusal with this HTTP status and this code means.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(crate) struct Meaning {
    /// The HTTP status; any unless set.
    pub(crate) status: Option<u16>,
    /// The provider's code, a number written as a text; any unless set. A code that stands here makes any reply a
    /// refusal, whatever its HTTP status.
    pub(crate) code: Option<String>,
    /// In place of the family that the HTTP status suggests.
    pub(crate) kind: Option<RefusalKind>,
    /// What it means and what to do, for people.
    pub(crate) hint: String,
}

object!(Meaning needs { "hint": hint } takes { "status": status, "code": code, "kind": kind });

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename_all = "snake_case"))]
pub(crate) enum RefusalKind {
    /// Asking again unchanged is pointless.
    Denied,
    /// Wait first.
    RateLimited,
    /// The provider is at fault: ask again later.
    Server,
}

words!(RefusalKind { "denied": Denied, "rate_limited": RateLimited, "server": Server });

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
#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub(crate) struct Api {
    /// All headers that an API call needs; one at least holds `{token}`.
    pub(crate) headers: Ordered<Template>,
}

object!(Api needs { "headers": headers });

/// What the provider bounds; told in errors.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(deny_unknown_fields, default))]
pub(crate) struct Limits {
    /// A signature may be this many seconds away from the provider's clock.
    pub(crate) clock_s: Option<u64>,
    /// So many wrong secrets lock the client: one is tried half as often at most, and never more than twice.
    pub(crate) lockout: Option<u32>,
    /// So many tokens may be asked for: `31/month`, `10/hour,50/day`.
    pub(crate) quota: Option<String>,
    /// Reply headers that tell what is left of it, as Auth0 writes them, in lower case.
    pub(crate) quota_headers: Vec<String>,
}

object!(Limits takes {
    "clock_s": clock_s, "lockout": lockout, "quota": quota, "quota_headers": quota_headers,
});

impl Provider {
    /// The built-in description of that name.
    pub(crate) fn built_in(name: &str) -> Option<Result<Provider, Error>> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        Some(Provider::parse(Cow::Borrowed(text)))
    }

    /// Reads and checks a description; the error says where it is broken and why.
    pub(crate) fn parse(text: Cow<'static, str>) -> Result<Provider, Error> {
        let read = read::read(&text).and_then(|provider: Provider| provider.check().map(|()| provider));
        let mut provider = read.map_err(|fault| {
            let (place, reason) = *fault;
            Error::config(format!("the provider description is broken at {place}: {reason}"))
        })?;
        provider.source = text;
        Ok(provider)
    }

    /// Whether the provider takes an input of that name.
    pub(crate) fn takes(&self, name: &str) -> bool {
        name == CLIENT_ID || self.inputs.get(name).is_some()
    }

    /// Whether the host brought the description.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.source, Cow::Owned(_))
    }

    pub(crate) fn default_ttl(&self) -> Option<Duration> {
        self.response.default_ttl_s.map(Duration::from_secs)
    }
}

#[cfg(test)]
mod page;
#[cfg(test)]
mod schema;
