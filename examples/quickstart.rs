//! Every token flow once, against a stand-in of all providers on this machine: what left, what came, what is reused.
//!
//! With `TOKAUTH_PROVIDER` and its options in the environment: the same against the real provider.

#[path = "../tests/standin/mod.rs"]
mod standin;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use standin::{PROVIDERS, Standin};
use tokauth::{Builder, Client, Counter, Error, LogLevel};

/// Colours for people at a terminal, none for files and pipes (no-color.org).
struct Paint(bool);

/// A reader that goes away (`| head`) is no fault.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

impl Paint {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn title(&self, text: &str) {
        say(&format!("\n{}", self.paint("1;36", text)));
    }

    fn row(&self, name: &str, text: &str) {
        say(&format!("  {} {text}", self.paint("2", &format!("{name:<9}"))));
    }
}

fn show(paint: &Paint, name: &str, builder: Builder) -> Result<(), Error> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let log = sent.clone();
    let client = builder
        .log(move |level, line| {
            if let (LogLevel::Debug, Ok(mut lines)) = (level, log.lock()) {
                lines.push(line.to_owned());
            }
        })
        .build()?;
    paint.title(name);
    let began = Instant::now();
    let outcome = client.token();
    let first = began.elapsed();
    for line in sent.lock().into_iter().flat_map(|lines| lines.clone()) {
        let request = line.split_once(": ").map_or(line.as_str(), |(_, request)| request);
        for (index, part) in request.split("; ").enumerate() {
            paint.row(if index == 0 { "sent" } else { "" }, part);
        }
    }
    let token = outcome?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    paint.row("token", &format!("lives {} s; came in {first:.1?}", token.expires_at() - now));
    for (header, value) in token.headers() {
        let scheme = value.strip_suffix(token.value()).unwrap_or_default();
        let masked = if value.ends_with(token.value()) { format!("{scheme}***") } else { value.to_owned() };
        paint.row("", &format!("goes to the API as {header}: {masked}"));
    }
    let began = Instant::now();
    let again = client.token()?;
    let second = began.elapsed();
    let same = if again.value() == token.value() { "the same token, from the cache" } else { "another token" };
    paint.row("again", &paint.paint("32", &format!("{same}, in {second:.1?}")));
    paint.row("requests", &client.counter(Counter::Requests).to_string());
    Ok(())
}

fn tour(paint: &Paint) -> Result<(), Error> {
    if std::env::var_os("TOKAUTH_PROVIDER").is_some() || std::env::var_os("TOKAUTH_PROVIDER_FILE").is_some() {
        return show(paint, "the provider of your environment", Client::builder().load_env(None)?);
    }
    let standin = Standin::start();
    say(&format!("A stand-in for every provider runs at {}. Secrets and tokens are shown as ***.", standin.http()));
    for provider in PROVIDERS {
        let options = standin.options(provider);
        let builder = options.iter().fold(Client::builder(), |builder, (name, value)| builder.set(name, value));
        show(paint, provider, builder)?;
    }
    say(
        "\nFor a real provider: set TOKAUTH_PROVIDER, TOKAUTH_CLIENT_ID, TOKAUTH_CLIENT_SECRET_FILE, and run this again.",
    );
    Ok(())
}

fn main() -> ExitCode {
    let paint = Paint(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    match tour(&paint) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}
