//! The option table, and how its names are shown. Stands below everything that takes options.

/// An option: its name in C, JSON and Python; in the environment in upper case behind a prefix; a method of
/// [`Builder`](crate::Builder) in Rust. [`OPTIONS`] lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OptionInfo {
    /// Its name.
    pub name: &'static str,
    /// What applies when it is not set.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// Hands every row to `$then`, each with a value as an example: one list makes both the table and the methods of the
/// builder.
macro_rules! with_options {
    ($then:ident) => {
        $then! {
            provider, "none", "the name of a built-in provider", "calven"; // as an example
            provider_file, "none", "a provider description of your own, a JSON file", "/etc/my-program/acme.json";
            client_id, "none", "the client identifier", "my-id";
            client_secret, "none", "the client secret", "my-secret";
            client_secret_file, "none", "a file that holds the secret; read again before each request", "/run/secrets/my-provider";
            token_url, "the provider's", "the token endpoint: https, or http on loopback", "https://auth.example/token";
            auth, "the provider's", "how id and secret are shown: post, basic (percent-encoded) or basic_raw", "post";
            scope, "the provider's", "what to ask for, separated by blanks", "reports:read reports:write";
            audience, "the provider's", "the API the token is for", "https://api.example/";
            resource, "the provider's", "the resources the token is for (RFC 8707), separated by blanks", "https://api.example/ https://files.example/";
            store, "memory; file where tokens are limited", "who shares tokens: memory (this process), file (this user's processes, in $XDG_STATE_HOME/tokauth or ~/.local/state/tokauth), file:/directory, or redis://user:password@host (many machines, if built with the feature redis)", "file:/var/lib/my-program";
            store_key_file, "the client secret", "a file of 32 random bytes that seals a shared store, instead of the client secret", "/etc/my-program/store.key";
            quota, "the provider's", "how many tokens may be asked for: 31/month (of UTC), 10/hour,50/day, 50/12h (the last 12 hours), or none", "10/hour,50/day";
            timeout_ms, "10000", "the whole call, waiting for others included, in milliseconds", "5000";
            min_valid_s, "10, at most a tenth of the life", "a token with less life left is renewed first, in seconds; at most half the life. While unset, a token that cannot be renewed is served to its end", "60";
            refresh_ahead, "auto", "how early one caller renews while the others keep the token: auto (a tenth of the life, at most 5 minutes), off, or seconds", "off";
            default_ttl_s, "the provider's or 300", "the life of a token that nothing is said about, in seconds", "600";
            max_ttl_s, "2678400", "no token is trusted for longer, in seconds", "86400";
            ca_file, "bundled roots", "a PEM file of root certificates to trust instead", "/etc/ssl/my-authority.pem";
            proxy, "none", "an HTTP proxy: http://host:port", "http://proxy.example:3128";
            user_agent, "libtokauth/VERSION", "how the library names itself", "my-program/1.0";
        }
    };
}
pub(crate) use with_options;

macro_rules! table {
    ($($name:ident, $default:literal, $about:literal, $example:literal;)*) => {
        /// Every option that is not a provider's own. `param.NAME` and `header.NAME` stand for any number of names.
        ///
        /// ```
        /// for option in tokauth::OPTIONS {
        ///     println!("{}: {}. Default: {}.", option.name, option.about, option.default);
        /// }
        /// # assert!(tokauth::OPTIONS.iter().any(|option| option.name == "timeout_ms" && option.default == "10000"));
        /// ```
        pub const OPTIONS: &[OptionInfo] = &[
            $(OptionInfo { name: stringify!($name), default: $default, about: $about },)*
            OptionInfo { name: "param.NAME", default: "none", about: "one more field of the body, a text" },
            OptionInfo { name: "header.NAME", default: "none", about: "one more header of the token request" },
        ];
    };
}
with_options!(table);

#[cfg(test)]
pub(crate) fn examples() -> Vec<(&'static str, &'static str)> {
    macro_rules! examples {
        ($($name:ident, $default:literal, $about:literal, $example:literal;)*) => {
            vec![$((stringify!($name), $example)),*]
        };
    }
    with_options!(examples)
}

/// The longest name or value of an option, and the longest secret, in bytes.
pub(crate) const MAX_TEXT: usize = 64 * 1024;

/// What a sibling client cannot change.
pub(crate) const FIXED: [&str; 5] = ["provider", "provider_file", "client_id", "client_secret", "client_secret_file"];

/// A name that somebody chose, fit for an error message.
pub(crate) fn short(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

/// The same for one that nobody knows.
pub(crate) fn shown(name: &str) -> String {
    format!("\"{}\"", short(name))
}
