//! The text of a document that processes share: values in a fixed order, one a line. Pure.

use std::str::Lines;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::{Stamp, nanos};

/// Writes values down.
pub(crate) struct Writer(Zeroizing<String>);

/// Reads them, in the same order. `None`: it is another text.
pub(crate) struct Reader<'a>(Lines<'a>);

impl Writer {
    /// `size`: about so many bytes; more would leave copies of what is written.
    pub(crate) fn new(size: usize) -> Writer {
        Writer(Zeroizing::new(String::with_capacity(size)))
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.line(&number.to_string());
    }

    pub(crate) fn time(&mut self, time: Duration) {
        self.number(nanos(time));
    }

    pub(crate) fn stamp(&mut self, stamp: &Stamp) {
        self.number(stamp.boot_id);
        self.time(stamp.since_boot);
        self.time(stamp.since_epoch);
    }

    /// What would begin another line becomes a blank.
    pub(crate) fn text(&mut self, text: Option<&str>) {
        match text {
            Some(text) => {
                self.0.push('+');
                self.0.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
                self.0.push('\n');
            }
            None => self.line(""),
        }
    }

    pub(crate) fn done(self) -> Zeroizing<String> {
        self.0
    }

    fn line(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Reader<'a> {
        Reader(text.lines())
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        self.0.next()?.parse().ok()
    }

    pub(crate) fn time(&mut self) -> Option<Duration> {
        self.number().map(Duration::from_nanos)
    }

    pub(crate) fn stamp(&mut self) -> Option<Stamp> {
        let (boot_id, since_boot, since_epoch) = (self.number()?, self.time()?, self.time()?);
        Some(Stamp { boot_id, since_boot, since_epoch, is_shared: false })
    }

    pub(crate) fn text(&mut self) -> Option<Option<&'a str>> {
        Some(self.0.next()?.strip_prefix('+'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_in_the_same_order() {
        let mut to = Writer::new(0);
        to.number(u64::MAX);
        to.time(Duration::from_nanos(7));
        to.text(Some("a\nb"));
        to.text(Some(""));
        to.text(None);
        let text = to.done();
        let mut from = Reader::new(&text);
        assert_eq!((from.number(), from.time()), (Some(u64::MAX), Some(Duration::from_nanos(7))));
        assert_eq!([from.text(), from.text(), from.text()], [Some(Some("a b")), Some(Some("")), Some(None)]);
        assert_eq!((from.text(), from.number()), (None, None), "the end");
    }
}
