//! Lines for the host.

use std::fmt;
use std::sync::Arc;

use crate::error::one_line;

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
            log(level, &one_line(line()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_an_option_holds() {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log = Log::new({
            let lines = lines.clone();
            move |_, line| lines.lock().unwrap().push(line.to_owned())
        });
        log.line(LogLevel::Debug, || "client_id=a\x1b[2J\u{85}b".to_owned());
        assert_eq!(*lines.lock().unwrap(), ["client_id=a [2J b"]);
    }
}
