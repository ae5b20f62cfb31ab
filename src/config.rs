//! The ways to fill the options: code, the environment, JSON.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::error::Error;
use crate::judge::Options;
use crate::log::{Log, LogLevel};
use crate::options::{FIXED, shown, with_options};
use crate::secret::Secret;
use crate::settings::Settings;
use crate::store::Store;

/// Texts under names, in any order; names and values are judged together, by [`build`](Builder::build).
///
/// Every option of [`OPTIONS`](crate::OPTIONS) has a method; a provider's own inputs go through [`set`](Builder::set).
/// Every value is a text, as in the environment and in JSON. `Debug` shows the names only.
///
/// ```
/// use tokauth::{Client, ErrorKind};
///
/// let builder = Client::builder().provider("event-temple").client_id("my-id").client_secret("my-secret");
/// let client = builder.clone().set("org_id", "org-4711").timeout_ms("5000").build()?;
///
/// let error = builder.set("org-id", "org-4711").build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Config);
/// assert_eq!(error.to_string(), "config: unknown option \"org-id\"; did you mean \"org_id\"?");
/// # Ok::<(), tokauth::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Builder {
    values: Vec<(String, Secret)>,
    log: Log,
    pub(crate) store: Option<Arc<dyn Store>>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.iter().map(|(name, _)| name)).finish()
    }
}

macro_rules! methods {
    ($($name:ident, $default:literal, $about:literal, $example:literal;)*) => {
        impl Builder {
            $(#[doc = concat!("Sets `", stringify!($name), "`: ", $about, ". Default: ", $default, ".\n\n")]
            #[doc = concat!("```\nlet builder = tokauth::Client::builder().", stringify!($name))]
            #[doc = concat!("(\"", $example, "\");\n```")]
            #[must_use]
            pub fn $name(self, value: impl Into<String>) -> Builder {
                self.set(stringify!($name), value)
            })*
        }
    };
}
with_options!(methods);

impl Builder {
    /// Sets the option `name`; a later value replaces an earlier one.
    ///
    /// ```
    /// let builder = tokauth::Client::builder().provider("event-temple").set("org_id", "org-4711");
    /// ```
    #[must_use]
    pub fn set(mut self, name: impl Into<String>, value: impl Into<String>) -> Builder {
        self.put(name.into(), Some(Secret::new(value.into())));
        self
    }

    /// Sets one more field of the body of the token request: `param.NAME`.
    ///
    /// ```
    /// let builder = tokauth::Client::builder().provider("oauth2").param("tenant", "4711");
    /// ```
    #[must_use]
    pub fn param(self, name: &str, value: impl Into<String>) -> Builder {
        self.set(format!("param.{name}"), value)
    }

    /// Sets one more header of the token request: `header.NAME`.
    ///
    /// ```
    /// let builder = tokauth::Client::builder().provider("oauth2").header("X-Tenant", "4711");
    /// ```
    #[must_use]
    pub fn header(self, name: &str, value: impl Into<String>) -> Builder {
        self.set(format!("header.{name}"), value)
    }

    /// Removes the option `name`, if it is set: what applies then is its default.
    ///
    /// ```
    /// let builder = tokauth::Client::builder().load_env(Some("MY_PROGRAM_"))?.remove("proxy");
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    #[must_use]
    pub fn remove(mut self, name: &str) -> Builder {
        self.put(name.to_owned(), None);
        self
    }

    /// Sends log lines to `log`, besides the facade of the [`log`](https://docs.rs/log) crate, which gets them in any
    /// case under the target `tokauth`. Both are called on threads that ask for a token, with no lock held, while
    /// others may wait for that token: they must be quick and must not ask a client for one. Siblings and clones of the
    /// client have the same log.
    ///
    /// ```
    /// # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/loopback/mod.rs")); }
    /// use std::sync::{Arc, Mutex};
    /// use tokauth::LogLevel;
    ///
    /// # let token_url = server::token_endpoint();
    /// # let builder = tokauth::Client::builder().provider("oauth2").token_url(token_url);
    /// # let builder = builder.client_id("my-id").client_secret("my-secret");
    /// let worth_a_look = Arc::new(Mutex::new(Vec::new()));
    /// let lines = worth_a_look.clone();
    /// let client = builder.log(move |level, line| {
    ///     if level <= LogLevel::Warning {
    ///         lines.lock().unwrap().push(line.to_owned());
    ///     }
    /// });
    /// let client = client.build()?;
    /// client.invalidate(&client.token()?)?;
    /// assert!(worth_a_look.lock().unwrap()[0].starts_with("oauth2: the API rejected a token"));
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    #[must_use]
    pub fn log(mut self, log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Builder {
        self.log = Log::new(log);
        self
    }

    /// Sends log lines to the facade only, as is the default.
    ///
    /// ```
    /// let loud = tokauth::Client::builder().log(|_, line| eprintln!("{line}"));
    /// let quiet = loud.clone().without_log();
    /// ```
    #[must_use]
    pub fn without_log(mut self) -> Builder {
        self.log = Log::default();
        self
    }

    /// Keeps tokens and budgets in a store of the program's own, in place of the option `store`; [`crate::store`] shows
    /// one.
    #[must_use]
    pub fn share_through(mut self, store: Arc<dyn Store>) -> Builder {
        self.store = Some(store);
        self
    }

    /// Takes every variable of the environment whose name begins with `prefix` (`None`: `TOKAUTH_`): the rest of the
    /// name, in lower case, is the option. The only place where the library reads options from the environment.
    ///
    /// With `TOKAUTH_PROVIDER`, `TOKAUTH_CLIENT_ID` and `TOKAUTH_CLIENT_SECRET_FILE` set, a program needs no more than
    /// `Client::builder().load_env(None)?.build()?`.
    ///
    /// ```
    /// let builder = tokauth::Client::builder().provider("calven").load_env(Some("MY_PROGRAM_"))?;
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` if the prefix is empty, or a variable under it is not in upper case or not UTF-8; then nothing is
    /// taken.
    pub fn load_env(self, prefix: Option<&str>) -> Result<Builder, Error> {
        self.load_vars(prefix.unwrap_or("TOKAUTH_"), std::env::vars_os())
    }

    fn load_vars(
        mut self,
        prefix: &str,
        vars: impl Iterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Result<Builder, Error> {
        if prefix.is_empty() {
            return Err(Error::config(
                "the prefix is empty: every variable would be an option; give one, or none at all",
            ));
        }
        for (name, value) in vars {
            let lossy = name.to_string_lossy();
            let Some(option) = lossy.strip_prefix(prefix) else { continue };
            let fault = |reason| Err(Error::config(format!("the variable {} {reason}", shown(&lossy))));
            if !option.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
                return fault("is no option in upper case; param.NAME and header.NAME are set by the program");
            }
            let Ok(value) = value.into_string() else { return fault("is not UTF-8") };
            self.put(option.to_ascii_lowercase(), Some(Secret::new(value)));
        }
        Ok(self)
    }

    /// Takes every member of one flat JSON object: texts, numbers and booleans as their text; null removes.
    ///
    /// ```
    /// let json = r#"{"provider": "calven", "timeout_ms": 5000, "proxy": null}"#;
    /// let builder = tokauth::Client::builder().load_json(json)?;
    /// # Ok::<(), tokauth::Error>(())
    /// ```
    ///
    /// # Errors
    /// `Config` if it is not such an object or a name stands in it twice; then nothing is taken.
    pub fn load_json(mut self, json: &str) -> Result<Builder, Error> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let members = deserializer.deserialize_map(FlatObject).and_then(|members| {
            deserializer.end()?;
            Ok(members)
        });
        // serde_json's own words may quote the text, and that may be a secret: only the place is told.
        let members = members.map_err(|e| match e.classify() {
            serde_json::error::Category::Data if e.to_string().starts_with(FlatObject::FAULT) => {
                let text = e.to_string();
                Error::config(text.split(" at line").next().unwrap_or_default())
            }
            serde_json::error::Category::Data => Error::config("the JSON is not one flat object"),
            _ => Error::config(format!("the JSON cannot be read at line {} column {}", e.line(), e.column())),
        })?;
        for (name, value) in members {
            self.put(name, value);
        }
        Ok(self)
    }

    pub(crate) fn put(&mut self, name: String, value: Option<Secret>) {
        let at = self.values.iter().position(|(known, _)| *known == name);
        match (at, value) {
            (Some(at), Some(value)) => self.values[at].1 = value,
            (Some(at), None) => drop(self.values.remove(at)),
            (None, Some(value)) => self.values.push((name, value)),
            (None, None) => {}
        }
    }

    /// The same with one option changed, for a sibling client.
    pub(crate) fn sibling(&self, name: &str, value: Option<&str>) -> Result<Builder, Error> {
        if FIXED.contains(&name) {
            return Err(Error::config(format!("a sibling shares {name} with its client; make a new client instead")));
        }
        let mut builder = self.clone();
        builder.put(name.to_owned(), value.map(Secret::from));
        Ok(builder)
    }

    pub(crate) fn settings(&self, sibling: Option<&Settings>) -> Result<Settings, Error> {
        Options(&self.values).judge(
            self.log.clone(),
            self.store.as_ref().map(|store| Arc::as_ptr(store).addr()),
            sibling,
        )
    }
}

struct FlatObject;

impl FlatObject {
    /// Opens the messages that are ours and hold no value.
    const FAULT: &'static str = "the JSON member ";
}

impl<'de> Visitor<'de> for FlatObject {
    type Value = Vec<(String, Option<Secret>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one flat object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Self::Value = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let fault = |reason| de::Error::custom(format!("{}{} {reason}", FlatObject::FAULT, shown(&name)));
            if members.iter().any(|(known, _)| *known == name) {
                return Err(fault("stands there twice; keep one"));
            }
            let value = match map.next_value::<serde_json::Value>()? {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some(Secret::new(text)),
                serde_json::Value::Bool(value) => Some(Secret::new(value.to_string())),
                serde_json::Value::Number(number) => match (number.is_f64(), number.as_f64()) {
                    (false, _) => Some(Secret::new(number.to_string())),
                    // 1e4 and 10000.0 are the number 10000; what a float cannot hold would be another number.
                    (true, Some(float)) if float.fract() == 0.0 && float.abs() < 9e15 => {
                        Some(Secret::new((float as i64).to_string()))
                    }
                    _ => return Err(fault("is a number that JSON readers change; write it in quotes")),
                },
                _ => return Err(fault("is not a text, number or boolean")),
            };
            members.push((name, value));
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::examples;

    #[test]
    fn the_documentation_s_values_are_accepted() {
        for (name, value) in examples() {
            // There an absolute path begins with a drive.
            let value = if cfg!(windows) { value.replace("file:/", "file:C:/") } else { value.to_owned() };
            let base = Builder::default().provider("oauth2").token_url("https://auth.example/").client_id("my-id");
            let base = base.client_secret("canary-secret-0123456789abcdef");
            let builder = match name {
                "provider_file" => base.remove("provider").provider_file(value),
                "client_secret_file" => base.remove("client_secret").client_secret_file(value),
                "store_key_file" => base.store("file").store_key_file(value),
                _ => base.set(name, value),
            };
            if let Err(error) = builder.settings(None) {
                let is_about_a_file = error.to_string().contains(&format!("{name} cannot be read: "));
                assert!(is_about_a_file, "{name}: {error}"); // which this machine does not have
            }
        }
    }
}
