//! The pieces that descriptions are written with: templates, pointers, durations, ordered objects.

use std::fmt;

use super::read::{Fault, Found, Read};

/// Members in the order of the text.
#[derive(Debug)]
pub(crate) struct Ordered<T>(Vec<(String, T)>);

impl<T> Ordered<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&T> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl<T> Default for Ordered<T> {
    fn default() -> Ordered<T> {
        Ordered(Vec::new())
    }
}

impl<T: Read> Read for Ordered<T> {
    fn read(found: &Found<'_>) -> Result<Ordered<T>, Fault> {
        let mut members = Vec::new();
        found.each_member(&mut |name, value| {
            members.push((name.to_owned(), T::read(value)?));
            Ok(())
        })?;
        Ok(Ordered(members))
    }
}

/// A text with placeholders.
#[derive(Debug, Default)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug)]
pub(crate) enum Piece {
    Literal(String),
    Name(String),
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, from) = rest.split_at(open);
            let Some((name, after)) = from.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
                return Err("an unpaired brace".to_owned());
            };
            if !is_name(name) {
                return Err("what stands between braces is not a placeholder: names are of a-z, 0-9 and _".to_owned());
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            pieces.push(Piece::Name(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Literal(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Name(name) => Some(name.as_str()),
            Piece::Literal(_) => None,
        })
    }
}

impl Read for Template {
    fn read(found: &Found<'_>) -> Result<Template, Fault> {
        Template::parse(&found.text()?).map_err(|reason| found.fault(reason))
    }
}

/// A JSON pointer (RFC 6901): `/content/jwt_token`.
#[derive(Debug, Default)]
pub(crate) struct Pointer(pub(super) String);

impl Pointer {
    pub(super) fn is_sound(text: &str) -> bool {
        text.starts_with('/') && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
    }

    /// Whether it goes by a name that begins as those of errors do: `/error`, `/errcode`, `/response/errors/0/code`.
    pub(crate) fn says_error(&self) -> bool {
        self.0.contains("/err")
    }

    pub(crate) fn find<'v>(&self, document: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        document.pointer(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Read for Pointer {
    fn read(found: &Found<'_>) -> Result<Pointer, Fault> {
        let text = found.text()?;
        match Pointer::is_sound(&text) {
            true => Ok(Pointer(text)),
            false => Err(found.fault("this is not a JSON pointer such as \"/content/token\"")),
        }
    }
}

pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}
