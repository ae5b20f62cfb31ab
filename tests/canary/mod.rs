//! Every secret and every token of the tests has the word `canary` in it, and no error, `Debug` or log line may.
#![allow(dead_code, unreachable_pub)] // each test file uses a part

use std::error::Error as _;
use std::fmt::Debug;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, Once};
use std::{panic, process};

use tokauth::{Builder, Client, Counter, Error, LogLevel, Token};

/// The word, and base64 of it at each of the three places it can have among others.
const LEAKS: [&str; 4] = ["canary", "Y2FuYXJ5", "jYW5hcn", "NhbmFye"];

fn leaks(text: &str) -> bool {
    LEAKS.iter().any(|leak| text.contains(leak))
}

/// Fails if a secret or a token is in this text.
pub fn search(text: &str) {
    assert!(!leaks(text), "a secret or token shows: {text}");
}

/// From now on searches whatever any crate sends to the `log` facade of this process, and the text of every panic but
/// those of the tests themselves. A leak ends the process: it may show where nobody can fail a test.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Records).expect("a test program has no other logger");
        log::set_max_level(log::LevelFilter::Trace);
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !panic.location().is_some_and(|place| place.file().starts_with("tests/")) {
                end_at_leak(&panic.to_string());
            }
            print(panic);
        }));
    });
}

fn end_at_leak(text: &str) {
    if leaks(text) {
        // Not by eprintln!, whose text the test program would keep for later.
        let _ = writeln!(io::stderr(), "a secret or token shows: {text}");
        process::abort();
    }
}

struct Records;

impl log::Log for Records {
    /// At TRACE `ureq_proto` is known to show both, and SECURITY.md says so.
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Debug || metadata.target().starts_with("tokauth")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            end_at_leak(&format!("{} {}", record.target(), record.args()));
        }
    }

    fn flush(&self) {}
}

/// The outcome of a call, after a look at all that can be printed of it.
pub fn outcome<T: Debug>(outcome: Result<T, Error>) -> Result<T, Error> {
    match &outcome {
        Ok(value) => search(&format!("{value:?}")),
        Err(error) => {
            search(&format!("{error} {error:?}"));
            let mut source = error.source();
            while let Some(cause) = source {
                search(&format!("{cause} {cause:?}"));
                source = cause.source();
            }
        }
    }
    outcome
}

/// The lines that were logged.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Mutex<Vec<(LogLevel, String)>>>);

impl Lines {
    /// The options, with a log that keeps and searches each line.
    pub fn of(&self, builder: &Builder) -> Builder {
        watch();
        let lines = self.clone();
        builder.clone().log(move |level, line| {
            search(line);
            lines.0.lock().unwrap().push((level, line.to_owned()));
        })
    }

    pub fn at(&self, level: LogLevel) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(known, _)| *known == level).map(|(_, line)| line.clone()).collect()
    }

    pub fn all(&self) -> String {
        self.0.lock().unwrap().iter().map(|(_, line)| format!("{line}\n")).collect()
    }
}

/// A client that reaches the world as programs do.
pub fn build(builder: &Builder) -> Result<Watched, Error> {
    outcome(Lines::default().of(builder).build()).map(Watched)
}

/// A client whose every outcome is searched.
#[derive(Clone, Debug)]
pub struct Watched(pub Client);

impl Watched {
    pub fn with(&self, name: &str, value: Option<&str>) -> Result<Watched, Error> {
        outcome(self.0.with(name, value)).map(Watched)
    }

    pub fn token(&self) -> Result<Token, Error> {
        outcome(self.0.token())
    }

    pub fn cached(&self) -> Result<Token, Error> {
        outcome(self.0.cached())
    }

    pub fn refresh(&self) -> Result<Token, Error> {
        outcome(self.0.refresh())
    }

    pub fn invalidate(&self, rejected: &Token) -> Result<(), Error> {
        outcome(self.0.invalidate(rejected))
    }

    pub fn clear(&self) -> Result<(), Error> {
        outcome(self.0.clear())
    }

    pub fn counter(&self, counter: Counter) -> u64 {
        self.0.counter(counter)
    }

    pub fn generation(&self) -> u64 {
        self.0.generation()
    }
}
