//! Names and values judged together, before anything is sent.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::nanos;
use crate::credential::{Credential, read_bytes, read_limited};
use crate::date::duration_seconds;
use crate::error::Error;
use crate::expiry::{DEFAULT_TTL, MAX_TTL, RefreshAhead, Wishes};
use crate::log::Log;
use crate::options::{FIXED, MAX_TEXT, OPTIONS, short, shown};
use crate::provider::{
    Auth, BUILT_IN, CLIENT_ID, Input, InputKind, Piece, Provider, RESERVED_HEADERS, is_header_value,
};
use crate::quota::{Budget, FORM};
use crate::secret::Secret;
use crate::settings::{Inputs, Place, Settings, StoreKey, fill, input};
use crate::store::INSTEAD;

/// Ten years: arithmetic with it cannot go wrong, and no machine token lives longer.
const LONGEST_TTL: Duration = Duration::from_secs(10 * 365 * 86_400);
/// No description is longer, in bytes.
const DESCRIPTION_MAX: u64 = 1024 * 1024;

/// Where a description comes from.
enum Source<'a> {
    BuiltIn(&'a str),
    File(&'a str),
}

impl Source<'_> {
    fn read(&self) -> Result<Provider, Error> {
        match self {
            Source::BuiltIn(name) => Provider::built_in(name).unwrap_or_else(|| {
                let names = BUILT_IN.iter().map(|(name, _)| *name);
                let all: Vec<&str> = names.clone().collect();
                let near = nearest(name, names);
                let all = all.join(", ");
                Err(Error::config(format!("provider names no built-in provider; did you mean {near}? There are {all}")))
            }),
            Source::File(path) => {
                let fault = |e| {
                    let message = format!("provider_file cannot be read: {e}; give the path of a JSON file");
                    Error::config(message).with_source(e)
                };
                let text = read_limited(path.as_ref(), DESCRIPTION_MAX).map_err(fault)?;
                Provider::parse(Cow::Owned(text))
            }
        }
    }
}

/// The texts as given.
pub(crate) struct Options<'a>(pub(crate) &'a [(String, Secret)]);

impl<'a> Options<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.expose())
    }

    /// Judges all together. Reads files, does not touch the network; a sibling shares what its client read.
    pub(crate) fn judge(
        &self,
        log: Log,
        own_store: Option<usize>,
        sibling: Option<&Settings>,
    ) -> Result<Settings, Error> {
        let provider = match (sibling, self.source()?) {
            (Some(sibling), _) => sibling.provider.clone(),
            (None, Some(source)) => Arc::new(source.read()?),
            (None, None) => {
                self.judge_names(None)?;
                let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
                return Err(Error::config(format!(
                    "provider is missing; set it to one of {}, or set provider_file",
                    names.join(", ")
                )));
            }
        };
        self.judge_names(Some(&provider))?;
        for (name, value) in self.0 {
            judge_value(name, value.expose())?;
        }
        let auth = self.auth(&provider)?;
        let client_id = self.require(CLIENT_ID, &provider)?.to_owned();
        let credential = match sibling {
            Some(sibling) => sibling.credential.clone(),
            None => self.credential()?,
        };
        if auth == Some(Auth::BasicRaw) && client_id.contains(':') {
            return Err(Error::config(
                "client_id holds a colon, which ends it in basic_raw (RFC 7617); set auth to basic or post",
            ));
        }
        let inputs = self.inputs(&provider)?;
        let (token_url, endpoint) = self.token_url(&provider, &inputs)?;
        let (store, budget) = self.store_and_budget(&provider, own_store)?;
        let store_key = self.store_key(&store)?;
        let headers = self.headers(&provider, auth)?;
        let params = self.params()?;
        let refresh_ahead = match self.get("refresh_ahead") {
            None | Some("auto") => RefreshAhead::Auto,
            Some("off") => RefreshAhead::Off,
            Some(_) => RefreshAhead::Lead(nanos(
                self.seconds("refresh_ahead")
                    .map_err(|_| Error::config("refresh_ahead is auto, off, or whole seconds"))?
                    .unwrap_or_default(),
            )),
        };
        let timeout = self.number("timeout_ms")?.unwrap_or(10_000);
        if !(1..=600_000).contains(&timeout) {
            return Err(Error::config("timeout_ms is from 1 to 600000 milliseconds"));
        }
        let max_ttl = self.seconds("max_ttl_s")?.unwrap_or(MAX_TTL);
        let default_ttl = self.seconds("default_ttl_s")?.or(provider.default_ttl()).unwrap_or(DEFAULT_TTL);
        for (name, life) in [("max_ttl_s", max_ttl), ("default_ttl_s", default_ttl)] {
            if !(Duration::from_secs(1)..=LONGEST_TTL).contains(&life) {
                return Err(Error::config(format!("{name} is from 1 to {} seconds", LONGEST_TTL.as_secs())));
            }
        }
        let wishes = match budget {
            // None is asked for before the last one's end.
            Some(_) => Wishes::NONE,
            None => Wishes { min_valid: self.seconds("min_valid_s")?.map(nanos), refresh_ahead },
        };
        let own = |name: &str| self.get(name).map(str::to_owned);
        Ok(Settings {
            client_id,
            credential,
            auth,
            token_url,
            endpoint,
            headers,
            params,
            wishes,
            store,
            store_key,
            budget,
            timeout: Duration::from_millis(timeout),
            default_ttl,
            max_ttl,
            ca_file: own("ca_file"),
            proxy: own("proxy").map(Secret::new),
            user_agent: own("user_agent").unwrap_or_else(|| format!("libtokauth/{}", env!("CARGO_PKG_VERSION"))),
            log,
            inputs,
            provider,
        })
    }

    fn source(&self) -> Result<Option<Source<'a>>, Error> {
        match (self.get("provider"), self.get("provider_file")) {
            (Some(_), Some(_)) => Err(Error::config("provider and provider_file are both set; keep one")),
            (None, None) => Ok(None),
            (Some(name), None) => Ok(Some(Source::BuiltIn(name))),
            (None, Some(path)) => Ok(Some(Source::File(path))),
        }
    }

    fn judge_names(&self, provider: Option<&Provider>) -> Result<(), Error> {
        for (name, _) in self.0 {
            let standard = OPTIONS.iter().any(|option| option.name == name);
            let one_of_many = ["param.", "header."]
                .iter()
                .any(|family| name.strip_prefix(family).is_some_and(|rest| !rest.is_empty()));
            let input = provider.is_some_and(|provider| provider.takes(name));
            if input || one_of_many {
                continue;
            }
            if !standard {
                let inputs = provider.into_iter().flat_map(|provider| provider.inputs.iter().map(|(name, _)| name));
                let near = nearest(name, OPTIONS.iter().map(|option| option.name).chain(inputs));
                return Err(Error::config(format!("unknown option {}; did you mean {near}?", shown(name))));
            }
            if let (Some(provider), "scope" | "audience" | "resource") = (provider, name.as_str()) {
                return Err(Error::config(format!("{} takes no {name}; leave it out", provider.name)));
            }
        }
        Ok(())
    }

    fn require(&self, name: &str, provider: &Provider) -> Result<&'a str, Error> {
        self.get(name).ok_or_else(|| Error::config(format!("{name} is missing; {} needs it", provider.name)))
    }

    fn credential(&self) -> Result<Credential, Error> {
        let credential = match (self.get("client_secret"), self.get("client_secret_file")) {
            (Some(_), Some(_)) => Err(Error::config("client_secret and client_secret_file are both set; keep one")),
            (None, None) => Err(Error::config("client_secret is missing; set it, or client_secret_file")),
            (Some(secret), None) => Ok(Credential::Text(secret.into())),
            (None, Some(path)) => Ok(Credential::File(path.into())),
        }?;
        credential.read()?;
        Ok(credential)
    }

    fn inputs(&self, provider: &Provider) -> Result<Inputs, Error> {
        let mut inputs = Inputs::new();
        for (name, rules) in provider.inputs.iter() {
            let Some(value) = self.get(name).or(rules.default.as_deref()) else {
                if rules.required {
                    self.require(name, provider)?;
                }
                continue;
            };
            judge_input(name, value, rules, provider)?;
            let value = if rules.kind == InputKind::BaseUrl { value.trim_end_matches('/') } else { value };
            inputs.push((name.to_owned(), value.to_owned()));
        }
        if let (Some(client_id), None) = (self.get(CLIENT_ID), input(&inputs, CLIENT_ID)) {
            inputs.push((CLIENT_ID.to_owned(), client_id.to_owned()));
        }
        for (name, header) in provider.request.headers.iter().chain(provider.api.headers.iter()) {
            for piece in header.pieces() {
                if let Piece::Name(used) = piece {
                    if input(&inputs, used).is_some_and(|value| !is_header_value(value)) {
                        return Err(Error::config(format!("{used} goes into the header {name}: visible ASCII only")));
                    }
                }
            }
        }
        Ok(inputs)
    }

    fn auth(&self, provider: &Provider) -> Result<Option<Auth>, Error> {
        let offered = &provider.request.auth;
        let Some(wanted) = self.get("auth") else { return Ok(offered.first().copied()) };
        let names: Vec<&str> =
            Auth::ALL.iter().filter(|(_, auth)| offered.contains(auth)).map(|(name, _)| *name).collect();
        if names.is_empty() {
            return Err(Error::config(format!(
                "{} takes no auth: it has a way of its own; leave it out",
                provider.name
            )));
        }
        match Auth::ALL.iter().find(|(name, auth)| *name == wanted && offered.contains(auth)) {
            Some((_, auth)) => Ok(Some(*auth)),
            None => Err(Error::config(format!("auth is one of {} for {}", names.join(", "), provider.name))),
        }
    }

    /// The endpoint, and the option that it comes from.
    fn token_url(&self, provider: &Provider, inputs: &Inputs) -> Result<(String, String), Error> {
        let (url, option) = match (self.get("token_url"), &provider.token_url) {
            (None, Some(template)) => {
                let names: Vec<&str> = template.names().collect();
                let url = fill(template, inputs).ok_or_else(|| {
                    Error::config(format!("{} is missing: the token endpoint depends on it", names.join(" or ")))
                })?;
                (url, if names.is_empty() { "token_url".to_owned() } else { names.join(" and ") })
            }
            _ => (self.require("token_url", provider)?.to_owned(), "token_url".to_owned()),
        };
        judge_url(&option, &url)?;
        Ok((url, option))
    }

    /// What is allowed, and where that and the tokens are written down. `own`: where the store is that the program brings,
    /// if it does.
    fn store_and_budget(&self, provider: &Provider, own: Option<usize>) -> Result<(Place, Option<Budget>), Error> {
        let limited = provider.limits.quota.as_deref();
        let budget = match self.get("quota").or(limited) {
            None | Some("none") => None,
            Some(text) => Some(
                Budget::parse(text)
                    .map_err(|reason| Error::config(format!("quota {reason}; write it as {FORM}, or as none")))?,
            ),
        };
        match (own, self.get("store")) {
            (Some(own), None) => return Ok((Place::Given(own), budget)),
            (Some(_), Some(_)) => {
                return Err(Error::config("store is an option, and the program brings a store; leave one of them out"));
            }
            (None, _) => {}
        }
        let place = match self.get("store") {
            None if budget.is_none() && limited.is_none() => Place::Memory,
            None | Some("file") => Place::File(None),
            Some("memory") if budget.is_some() => {
                return Err(Error::config(format!(
                    "store is memory, which every start of a program forgets, and there is a token budget; set {}, or \
                     quota=none to ask without one",
                    INSTEAD[0]
                )));
            }
            Some("memory") => Place::Memory,
            Some(store) => match store.split_once(':') {
                Some(("file", directory)) if Path::new(directory).is_absolute() => {
                    Place::File(Some(directory.to_owned()))
                }
                Some(("file", _)) => {
                    return Err(Error::config("store=file: takes the absolute path of a directory after the colon"));
                }
                #[cfg(feature = "redis")]
                Some(("redis" | "rediss", _)) => Place::Redis(Secret::from(store)),
                #[cfg(not(feature = "redis"))]
                Some(("redis" | "rediss", _)) => {
                    let message = "this build has no store in Redis; build with the feature redis, or set ";
                    return Err(Error::unsupported([message, INSTEAD[1]].concat()));
                }
                _ => return Err(Error::config("store is memory, file, file:/directory, or redis://host")),
            },
        };
        Ok((place, budget))
    }

    fn store_key(&self, place: &Place) -> Result<Option<StoreKey>, Error> {
        let Some(path) = self.get("store_key_file") else { return Ok(None) };
        let fault = |reason: String| Error::config(format!("store_key_file {reason}; give a file of 32 random bytes"));
        if *place == Place::Memory {
            return Err(Error::config(
                "store_key_file seals a store that is shared, and store is memory; leave it out",
            ));
        }
        let key = read_bytes(path.as_ref(), 32).map_err(|e| fault(format!("cannot be read: {e}")).with_source(e))?;
        match key.len() {
            32 => Ok(Some(StoreKey { path: path.to_owned(), key })),
            length => Err(fault(format!("holds {length} bytes"))),
        }
    }

    fn headers(&self, provider: &Provider, auth: Option<Auth>) -> Result<Vec<(String, Secret)>, Error> {
        let mut headers: Vec<(String, Secret)> = Vec::new();
        for (name, value) in self.family("header.") {
            let fault = |reason: &str| Err(Error::config(format!("header.{} {reason}", short(name))));
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                return fault("is not the name of a header");
            }
            if RESERVED_HEADERS.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
                return fault("is the library's own; leave it out");
            }
            if name.eq_ignore_ascii_case("authorization") && auth.is_some() {
                return fault(&format!("would be a second way to authenticate; {} uses auth", provider.name));
            }
            if headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                return fault("is set twice, in different case; keep one");
            }
            if !is_header_value(value.expose()) {
                return fault("has a value that is not visible ASCII");
            }
            headers.push((name.to_owned(), value.clone()));
        }
        if self.get("user_agent").is_some_and(|value| !is_header_value(value)) {
            return Err(Error::config("user_agent is visible ASCII"));
        }
        Ok(headers)
    }

    fn params(&self) -> Result<Vec<(String, Secret)>, Error> {
        let params: Vec<(String, Secret)> =
            self.family("param.").map(|(name, value)| (name.to_owned(), value.clone())).collect();
        match params.iter().find(|(name, _)| FIXED.contains(&name.as_str())) {
            Some((name, _)) => Err(Error::config(format!("param.{name} would hide the option {name}; set that"))),
            None => Ok(params),
        }
    }

    fn family(&self, prefix: &'static str) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().filter_map(move |(name, value)| name.strip_prefix(prefix).map(|rest| (rest, value)))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(Some(text.parse().unwrap_or(u64::MAX))), // more than fits is too much for any limit
            false => Err(Error::config(format!("{name} is a whole number"))),
        }
    }

    fn seconds(&self, name: &str) -> Result<Option<Duration>, Error> {
        Ok(self.number(name)?.map(Duration::from_secs))
    }
}

fn judge_value(name: &str, value: &str) -> Result<(), Error> {
    let fault = |reason: &str| Err(Error::config(format!("{} {reason}", short(name))));
    if value.is_empty() {
        return fault("is empty; give it a value or leave it out");
    }
    if value.len() > MAX_TEXT {
        return fault("is longer than 64 KiB");
    }
    if name == "client_secret" && value.contains(['\r', '\n']) {
        return fault("holds a line break; did you mean client_secret_file?");
    }
    if value.contains(['\r', '\n', '\0']) {
        return fault("holds a line break or a NUL; take it out");
    }
    Ok(())
}

fn judge_input(name: &str, value: &str, rules: &Input, provider: &Provider) -> Result<(), Error> {
    let length = value.chars().count();
    let limits = match (rules.min_length, rules.max_length) {
        (Some(min), Some(max)) => Some((min, max, format!("{min} to {max}"))),
        (Some(min), None) => Some((min, usize::MAX, format!("at least {min}"))),
        (None, Some(max)) => Some((0, max, format!("at most {max}"))),
        (None, None) => None,
    };
    if let Some((min, max, told)) = limits {
        if !(min..=max).contains(&length) {
            return Err(Error::config(format!(
                "{name} has {told} characters at {}; this one has {length}",
                provider.name
            )));
        }
    }
    match rules.kind {
        InputKind::Text => Ok(()),
        InputKind::BaseUrl if value.contains('?') => Err(Error::config(format!("{name} holds a query; take it away"))),
        InputKind::BaseUrl => judge_url(name, value),
        InputKind::Duration => match duration_seconds(value) {
            Some(_) => Ok(()),
            None => Err(Error::config(format!("{name} is seconds, or a number with s, m, min, h, d or w"))),
        },
    }
}

/// https, or http to this machine: a secret crosses no network in the clear.
fn judge_url(name: &str, url: &str) -> Result<(), Error> {
    let fault = |reason: &str| Err(Error::config(format!("{name} {reason}")));
    if !url.is_ascii() {
        return fault("is not ASCII; percent-encode the path, and write the host in punycode");
    }
    let Ok(uri) = url.parse::<http::Uri>() else {
        return fault("is not a URL; write it as https://host/path");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return fault("is not a full URL; write it as https://host/path");
    };
    if authority.as_str().contains('@') {
        return fault("holds credentials; use client_id and client_secret");
    }
    // http::Uri lets through what is no port, and ureq would then take the default one.
    let port = authority.as_str().strip_prefix(authority.host());
    let port_is_sound = port.is_some_and(|port| match port.strip_prefix(':') {
        Some(number) => number.bytes().all(|b| b.is_ascii_digit()) && number.parse::<u16>().is_ok_and(|port| port > 0),
        None => port.is_empty(),
    });
    if authority.host().is_empty() || !port_is_sound {
        return fault("has no sound host and port; write it as https://host:8443/path");
    }
    if url.contains('#') {
        return fault("holds a fragment, which no server sees; take the # away");
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback(authority.host()) => Ok(()),
        "http" => fault("is http to another machine: the secret would cross the network in the clear; use https"),
        _ => fault("is neither https nor http"),
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = known.min_by_key(|known| edit_distance(name, known)).unwrap_or_default();
    format!("\"{near}\"")
}

/// Levenshtein's distance. Names are short; a very long one is only looked at by its beginning.
fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
