//! Prints a token, its headers or what is known of it, for use in a shell: `token --help`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, json};
use tokauth::{Client, Counter, Error, ErrorKind, LogLevel, OPTIONS, Token, providers};

const FLAGS: [(&str, &str); 9] = [
    ("header", "print all headers that a call of the API needs, one a line"),
    ("json", "print one object: token, authorization, headers, type, scope, expires_at, expires_in, requests"),
    ("budget", "print how many tokens may still be asked for, and from when on; with --json as an object"),
    ("cached-only", "send nothing: only a token that is there already will do"),
    ("force-refresh", "ask for a new token, whatever is there; under a budget that takes one of it"),
    ("verbose", "print log lines on stderr"),
    ("providers", "print the names of the built-in providers"),
    ("version", "print the version"),
    ("help", "print this"),
];

const CLASHES: [(&str, &str); 5] = [
    ("header", "json"),
    ("header", "budget"),
    ("cached-only", "force-refresh"),
    ("cached-only", "budget"),
    ("force-refresh", "budget"),
];

const HELP: &str = r#"Prints a token: the one that the programs of this user share, or else a new one.

  token --provider NAME --client-id ID --client-secret-file PATH [--OPTION VALUE]... [--FLAG]...

In a script, so that the token stands on no command line, where every user sees it:

  headers=$(token --header) || exit
  printf '%s\n' "$headers" | curl --silent --show-error --fail --header @- https://api.example/things

It ends with 0: there is a token. 1: somebody must look into it. 2: an option is wrong. 75: try again later; the error
says when, if that is known.
"#;

/// What goes to stderr, and the exit code.
struct Fault(String, u8);

fn usage<T>(text: impl Into<String>) -> Result<T, Fault> {
    Err(Fault(text.into() + "; see --help", 2))
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        let mut text = "TOKAUTH_ERR".to_owned();
        for c in format!("{:?}", error.kind()).chars() {
            text.extend(c.is_ascii_uppercase().then_some('_'));
            text.push(c.to_ascii_uppercase());
        }
        text += &format!(": {error}");
        if let Some(wait) = error.retry_after() {
            text += &format!(" (wait {} s)", wait.as_millis().div_ceil(1000));
        }
        use ErrorKind::{Config, Network, Quota, RateLimited, Server, Timeout, Unsupported};
        let code = match error.kind() {
            Config | Unsupported => 2,
            Network | Timeout | RateLimited | Server | Quota => 75, // EX_TEMPFAIL of sysexits.h
            _ => 1,
        };
        Fault(text, code)
    }
}

/// A command line, read.
#[derive(Default)]
struct Asked {
    flags: Vec<&'static str>,
    options: Vec<(String, String)>,
}

impl Asked {
    /// Faults quote names, never values.
    fn read(arguments: impl Iterator<Item = OsString>) -> Result<Asked, Fault> {
        let mut asked = Asked::default();
        let mut arguments = arguments.enumerate().map(|(at, text)| (at + 1, text.into_string()));
        while let Some((at, text)) = arguments.next() {
            let Ok(text) = text else { return usage(format!("argument {at} is not UTF-8")) };
            let Some(text) = text.strip_prefix("--") else {
                return usage(format!("argument {at} is neither a flag nor an option"));
            };
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (text, None),
            };
            match (FLAGS.iter().find(|(flag, _)| *flag == name), value) {
                (Some((flag, _)), None) => asked.flags.push(flag),
                (Some((flag, _)), Some(_)) => return usage(format!("--{flag} takes no value")),
                (None, Some(value)) => asked.option(name, value)?,
                (None, None) => match arguments.next() {
                    Some((_, Ok(value))) if !value.starts_with("--") => asked.option(name, value)?,
                    _ => return usage(format!("{:?} is no flag, and an option needs a value", format!("--{name}"))),
                },
            }
        }
        for (one, other) in CLASHES {
            if asked.has(one) && asked.has(other) {
                return usage(format!("--{one} and --{other} do not go together"));
            }
        }
        Ok(asked)
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.contains(&flag)
    }

    /// What other users may not see is refused here: they all see command lines.
    fn option(&mut self, name: &str, value: String) -> Result<(), Fault> {
        let name = match name.split_once('.') {
            Some((family, name)) => format!("{family}.{name}"),
            None => name.replace('-', "_"),
        };
        let shows_password = ["store", "proxy"].contains(&&*name) && value.contains("://") && value.contains('@');
        if name == "client_secret" {
            return usage("every user sees a secret here; give --client-secret-file, or set TOKAUTH_CLIENT_SECRET");
        }
        if shows_password {
            return usage(format!("every user sees a password in --{name}; set TOKAUTH_{}", name.to_uppercase()));
        }
        self.options.push((name, value));
        Ok(())
    }

    /// Below the command line stands the environment, and below that a store that outlives this program.
    fn client(&self) -> Result<Client, Error> {
        let mut builder = Client::builder().store("file").load_env(None)?;
        for (name, _) in &self.options {
            builder = match &**name {
                "client_secret_file" => builder.remove("client_secret"),
                "provider" => builder.remove("provider_file"),
                "provider_file" => builder.remove("provider"),
                _ => builder,
            };
        }
        builder = self.options.iter().fold(builder, |builder, (name, value)| builder.set(name, value));
        if self.has("verbose") {
            builder = builder.log(|level, line| {
                let level = match level {
                    LogLevel::Error => "error",
                    LogLevel::Warning => "warning",
                    LogLevel::Info => "info",
                    _ => "debug",
                };
                let _ = writeln!(io::stderr(), "token: {level}: {line}");
            });
        }
        builder.build()
    }

    /// What goes to stdout.
    fn answer(&self) -> Result<String, Fault> {
        if self.has("help") {
            return Ok(help());
        }
        if self.has("version") {
            return Ok(format!("token of libtokauth {}\n", env!("CARGO_PKG_VERSION")));
        }
        if self.has("providers") {
            return Ok(providers().map(|name| format!("{name}\n")).collect());
        }
        let client = self.client()?;
        if self.has("budget") {
            return Ok(budget(&client, self.has("json"))?);
        }
        let token = match (self.has("cached-only"), self.has("force-refresh")) {
            (true, _) => client.cached()?,
            (_, true) => client.refresh()?,
            _ => client.token()?,
        };
        Ok(if self.has("header") {
            token.headers().map(|(name, value)| format!("{name}: {value}\n")).collect()
        } else if self.has("json") {
            whole(&token, client.counter(Counter::Requests))
        } else {
            format!("{}\n", token.value())
        })
    }
}

fn budget(client: &Client, as_json: bool) -> Result<String, Error> {
    let left = client.budget()?;
    if as_json {
        let (requests, next_at) = (left.map(|left| left.requests), left.and_then(|left| left.next_at));
        return Ok(format!("{}\n", json!({"requests": requests, "next_at": next_at})));
    }
    Ok(match left {
        None => "no limit\n".to_owned(),
        Some(left) => {
            let next = match left.next_at {
                None => "now".to_owned(),
                Some(at) => httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at.try_into().unwrap_or(0))),
            };
            format!("{} left, the next: {next}\n", left.requests)
        }
    })
}

/// `requests`: how many this program sent for it.
fn whole(token: &Token, requests: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let headers: Map<_, _> = token.headers().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let object = json!({
        "token": token.value(),
        "authorization": token.authorization(),
        "headers": headers,
        "type": token.token_type(),
        "scope": token.scope(),
        "expires_at": token.expires_at(),
        "expires_in": (token.expires_at() - now).max(0),
        "requests": requests,
    });
    format!("{object}\n")
}

fn help() -> String {
    let mut help = format!("{HELP}\nFlags:\n");
    for (flag, about) in FLAGS {
        help += &format!("  --{flag:<14} {about}\n");
    }
    help += "\nOptions, and the provider's own. They win over the environment: --client-id over TOKAUTH_CLIENT_ID.\n";
    for option in OPTIONS {
        let (name, default) = match option.name {
            "client_secret" => ("TOKAUTH_CLIENT_SECRET".to_owned(), option.default),
            "store" => ("--store".to_owned(), "file"),
            name => (format!("--{}", name.replace('_', "-")), option.default),
        };
        help += &format!("  {name}\n      {}. Default: {default}.\n", option.about);
    }
    help
}

/// A reader that goes away (`| head`) is no fault.
fn print(text: String) -> Result<(), Fault> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Fault(format!("stdout: {e}"), 1)),
        _ => Ok(()),
    }
}

fn main() -> ExitCode {
    let asked = Asked::read(std::env::args_os().skip(1));
    match asked.and_then(|asked| asked.answer()).and_then(print) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Fault(text, code)) => {
            let _ = writeln!(io::stderr(), "token: {text}");
            ExitCode::from(code)
        }
    }
}
