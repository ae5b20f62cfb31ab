//! Where a Redis is and how to come in, as one URL.

use std::fmt;

use percent_encoding::percent_decode_str;

use crate::secret::Secret;

/// `redis://user:password@host:6379/0?prefix=tokauth:`, or `rediss` for TLS.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) tls: bool,
    /// The host and the port.
    pub(super) authority: String,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: u32,
    /// Before all names of keys.
    pub(super) prefix: String,
    pub(super) ca_file: Option<String>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}", self.authority)
    }
}

impl Address {
    /// Else what is wrong, which does not repeat the URL.
    pub(super) fn parse(url: &str) -> Result<Address, &'static str> {
        let (scheme, rest) = url.split_once("://").ok_or("is not a URL")?;
        let tls = match scheme {
            "redis" => false,
            "rediss" => true,
            _ => return Err("is neither redis:// nor rediss://"),
        };
        if !rest.is_ascii() || rest.contains('#') {
            return Err("holds a character that a URL has percent-encoded");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let sound: http::uri::Authority = place.parse().map_err(|_| "has no sound host and port")?;
        let port = place.strip_prefix(sound.host()).ok_or("has no sound host and port")?;
        let authority = match port.strip_prefix(':') {
            _ if sound.host().is_empty() => return Err("has no host"),
            None if port.is_empty() => format!("{place}:6379"),
            Some(number) if number.bytes().all(|b| b.is_ascii_digit()) && number.parse().is_ok_and(|n: u16| n > 0) => {
                place.to_owned()
            }
            _ => return Err("has no sound port"),
        };
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (decoded(user)?, Some(Secret::new(decoded(password)?))),
            None if login.is_empty() => (String::new(), None),
            None => return Err("has a user without a password; a password alone stands after a colon"),
        };
        let database = match path {
            "" => 0,
            number if number.bytes().all(|b| b.is_ascii_digit()) => {
                number.parse().map_err(|_| "has no sound number of a database")?
            }
            _ => return Err("has no sound number of a database"),
        };
        let user = Some(user).filter(|user| !user.is_empty());
        let (mut prefix, mut ca_file) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or("has an option without a value")?;
            let place = match name {
                "prefix" => &mut prefix,
                "ca_file" if tls => &mut ca_file,
                "ca_file" => return Err("has a ca_file and no TLS; write rediss"),
                _ => return Err("has an option other than prefix and ca_file"),
            };
            if place.replace(decoded(value)?).is_some() {
                return Err("has an option twice");
            }
        }
        let prefix = prefix.unwrap_or_else(|| "tokauth:".to_owned());
        if prefix.contains(['{', '}']) || prefix.len() > 200 {
            return Err("has a prefix with braces, or a very long one"); // which servers of a cluster are chosen by
        }
        Ok(Address { tls, authority, user, password, database, prefix, ca_file })
    }
}

fn decoded(text: &str) -> Result<String, &'static str> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| "holds what is not UTF-8")?;
    match text.contains(char::is_control) {
        true => Err("holds a control character"),
        false => Ok(text.into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_tells_where_a_server_is_and_how_to_come_in() {
        let read = |url| {
            let Address { tls, authority, user, password, database, prefix, ca_file } = Address::parse(url).unwrap();
            let password = password.map(|password| password.expose().to_owned());
            (tls, authority, user, password, database, prefix, ca_file)
        };
        let text = |text: &str| Some(text.to_owned());
        let usual = "tokauth:".to_owned();
        for (url, authority) in [
            ("redis://cache", "cache:6379"),
            ("redis://cache:7000/", "cache:7000"),
            ("redis://[::1]", "[::1]:6379"),
            ("redis://[::1]:7000", "[::1]:7000"),
        ] {
            assert_eq!(read(url), (false, authority.to_owned(), None, None, 0, usual.clone(), None), "{url}");
        }
        assert_eq!(
            read("rediss://me:p%40ss%3a@10.0.0.7:6380/12?prefix=app%3A&ca_file=/etc/ca.pem"),
            (true, "10.0.0.7:6380".to_owned(), text("me"), text("p@ss:"), 12, "app:".to_owned(), text("/etc/ca.pem"))
        );
        assert_eq!(
            read("redis://:canary-secret@h/0?prefix="),
            (false, "h:6379".to_owned(), None, text("canary-secret"), 0, String::new(), None)
        );
    }

    #[test]
    fn a_url_that_is_not_sound_is_refused() {
        for (url, why) in [
            ("redis:", "is not a URL"),
            ("redis+unix:///run/redis", "neither"),
            ("http://cache", "neither"),
            ("redis://", "host"),
            ("redis:///0", "host"),
            ("redis://cache:", "port"),
            ("redis://cache:0", "port"),
            ("redis://cache:65536", "port"),
            ("redis://cache:+1", "port"),
            ("redis://ca che", "host"),
            ("redis://caché", "percent-encoded"),
            ("rediss://cache/#insecure", "percent-encoded"),
            ("redis://me@cache", "user without a password"),
            ("redis://me:p%ff@cache", "UTF-8"),
            ("redis://me:p%0a@cache", "control character"),
            ("redis://cache/one", "database"),
            ("redis://cache/-1", "database"),
            ("redis://cache/99999999999", "database"),
            ("redis://cache/0/1", "database"),
            ("redis://cache?protocol=resp3", "option other than"),
            ("redis://cache?prefix", "without a value"),
            ("redis://cache?prefix=a&prefix=b", "twice"),
            ("redis://cache?prefix=%7Ba%7D", "braces"),
            ("redis://cache?ca_file=/etc/ca.pem", "no TLS"),
        ] {
            let told = Address::parse(url).unwrap_err();
            assert!(told.contains(why), "{url}: {told}");
        }
    }

    #[test]
    fn what_is_printed_holds_no_password() {
        let address = Address::parse("redis://me:canary-secret@cache").unwrap();
        assert!(!format!("{address:?} {address}").contains("canary"));
    }
}
