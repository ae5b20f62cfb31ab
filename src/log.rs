//! Lines for the host: to its callback, and to the `log` facade, where Rust programs collect the lines of all their
//! crates. In a shared library of its own nobody ever listens to the facade.

use std::fmt;
use std::sync::Arc;

use crate::error::one_line;

/// The severity of a log line, the most severe first.
///
/// ```
/// use tokauth::LogLevel;
///
/// assert!(LogLevel::Error < LogLevel::Warning && LogLevel::Info < LogLevel::Debug);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogLevel {
    /// A request brought no token.
    Error,
    /// Something is wrong, and goes on all the same.
    Warning,
    /// A token came, a cool-down began or ended, a caller took over, a rejected token stays, all was forgotten.
    Info,
    /// Details for the curious.
    Debug,
}

/// The host's log; lines hold no secret and no token.
#[derive(Clone, Default)]
pub(crate) struct Log(Option<Arc<LogFn>>);

type LogFn = dyn Fn(LogLevel, &str) + Send + Sync;

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Log(..)" } else { "Log(none)" })
    }
}

impl Log {
    pub(crate) fn new(log: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Log {
        Log(Some(Arc::new(log)))
    }

    /// Nothing is made of `line` unless somebody listens.
    pub(crate) fn line(&self, level: LogLevel, line: impl FnOnce() -> String) {
        if self.is_heard(level) {
            self.send(level, line());
        }
    }

    #[inline(never)]
    fn is_heard(&self, level: LogLevel) -> bool {
        self.0.is_some() || ::log::log_enabled!(target: TARGET, severity(level))
    }

    #[inline(never)]
    fn send(&self, level: LogLevel, line: String) {
        let line = one_line(line);
        if let Some(log) = &self.0 {
            log(level, &line);
        }
        ::log::log!(target: TARGET, severity(level), "{line}");
    }
}

/// What the lines are filtered by in the facade.
const TARGET: &str = "tokauth";

fn severity(level: LogLevel) -> ::log::Level {
    match level {
        LogLevel::Error => ::log::Level::Error,
        LogLevel::Warning => ::log::Level::Warn,
        LogLevel::Info => ::log::Level::Info,
        LogLevel::Debug => ::log::Level::Debug,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Mutex;

    use ::log::LevelFilter;

    use super::*;

    type Lines = Arc<Mutex<Vec<(LogLevel, String)>>>;

    fn callback() -> (Log, Lines) {
        let lines = Lines::default();
        let log = Log::new({
            let lines = lines.clone();
            move |level, line| lines.lock().unwrap().push((level, line.to_owned()))
        });
        (log, lines)
    }

    #[test]
    fn a_line_is_one_line_whatever_an_option_holds() {
        let (log, lines) = callback();
        log.line(LogLevel::Debug, || "client_id=a\x1b[2J\u{85}b".to_owned());
        assert_eq!(*lines.lock().unwrap(), [(LogLevel::Debug, "client_id=a [2J b".to_owned())]);
    }

    struct Facade;

    thread_local! {
        /// What the facade got from this test.
        static FACADE_GOT: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    impl ::log::Log for Facade {
        fn enabled(&self, metadata: &::log::Metadata<'_>) -> bool {
            metadata.target() == "tokauth"
        }
        fn log(&self, record: &::log::Record<'_>) {
            if self.enabled(record.metadata()) {
                FACADE_GOT.with_borrow_mut(|lines| lines.push(format!("{} {}", record.level(), record.args())));
            }
        }
        fn flush(&self) {}
    }

    #[test]
    fn a_line_is_made_once_for_whoever_listens() {
        use LogLevel::{Debug, Error, Info, Warning};
        ::log::set_logger(&Facade).unwrap();
        let (with_callback, lines) = callback();
        for (filter, log, facade_gets, made) in [
            (LevelFilter::Off, Log::default(), &[][..], 0),
            (LevelFilter::Info, Log::default(), &["ERROR a", "WARN b", "INFO c"], 3),
            (LevelFilter::Trace, Log::default(), &["ERROR a", "WARN b", "INFO c", "DEBUG d"], 4),
            (LevelFilter::Off, with_callback.clone(), &[], 4),
            (LevelFilter::Warn, with_callback, &["ERROR a", "WARN b"], 4),
        ] {
            ::log::set_max_level(filter);
            let count = Cell::new(0);
            for (level, line) in [(Error, "a"), (Warning, "b"), (Info, "c"), (Debug, "d")] {
                log.line(level, || {
                    count.set(count.get() + 1);
                    line.to_owned()
                });
            }
            assert_eq!(FACADE_GOT.take(), facade_gets, "{filter}");
            assert_eq!(count.get(), made, "{filter}");
        }
        ::log::set_max_level(LevelFilter::Off);
        let all =
            [(Error, "a"), (Warning, "b"), (Info, "c"), (Debug, "d")].map(|(level, line)| (level, line.to_owned()));
        assert_eq!(*lines.lock().unwrap(), [all.clone(), all].concat());
    }
}
