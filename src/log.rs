//! Lines for the host.

use std::fmt;
use std::sync::Arc;

/// The severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogLevel {
    /// A caller got no token.
    Error,
    /// Something is wrong, and tokens are served all the same.
    Warning,
    /// A request was sent.
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

    pub(crate) fn line(&self, level: LogLevel, line: impl FnOnce() -> String) {
        if let Some(log) = &self.0 {
            log(level, &line());
        }
    }
}
