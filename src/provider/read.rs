//! From the text of a description to its types, level by level. Every value knows its place, and no error tells one.

use serde::de::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, from_str};

use crate::document::Members;

/// A place in the description, and what is wrong there. In a box, so that the many results that may hold one are small.
pub(super) type Fault = Box<(String, String)>;

/// What stands in a description.
pub(super) trait Read: Sized {
    fn read(found: &Found<'_>) -> Result<Self, Fault>;
}

/// A field to be filled, of whatever type.
pub(super) trait Fill {
    fn fill(&mut self, found: &Found<'_>) -> Result<(), Fault>;
}

impl<T: Read> Fill for T {
    fn fill(&mut self, found: &Found<'_>) -> Result<(), Fault> {
        *self = T::read(found)?;
        Ok(())
    }
}

/// A name, and the field for its value.
type Member<'a> = (&'static str, &'a mut dyn Fill);

/// Reads a whole description.
pub(super) fn read<T: Read>(text: &str) -> Result<T, Fault> {
    T::read(&Found { outer: None, name: "", json: document(text)? })
}

fn document(text: &str) -> Result<&RawValue, Fault> {
    let reason = match text.trim_start().starts_with('{') {
        // As a whole first: its parts are looked at one by one, and a fault in one of them would have no line.
        true => match from_str::<Value>(text).and_then(|_| from_str(text)) {
            Ok(document) => return Ok(document),
            Err(error) => error.to_string(),
        },
        // Any other file may stand here by mistake, and its text is nobody's business.
        false => "this is not a JSON object".to_owned(),
    };
    Err(Box::new(("the top".to_owned(), reason)))
}

/// A value in the text, and where it stands.
pub(super) struct Found<'a> {
    outer: Option<&'a Found<'a>>,
    name: &'a str,
    json: &'a RawValue,
}

impl Found<'_> {
    pub(super) fn within<'a>(&'a self, name: &'a str, json: &'a RawValue) -> Found<'a> {
        Found { outer: Some(self), name, json }
    }

    /// Names and indices, joined by dots.
    fn place(&self) -> String {
        match self.outer.map(|outer| (outer, outer.outer)) {
            None => "the top".to_owned(),
            Some((_, None)) => self.name.to_owned(),
            Some((outer, _)) => outer.place() + "." + self.name,
        }
    }

    pub(super) fn fault(&self, reason: impl Into<String>) -> Fault {
        Box::new((self.place(), reason.into()))
    }

    /// That its `type` or `value` is wrong, and what is right; not what stands there, which may be a secret.
    pub(super) fn invalid(&self, what: &str, expected: &str) -> Fault {
        self.fault(["invalid ", what, ", expected ", expected].concat())
    }

    fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Fault> {
        from_str(self.json.get()).map_err(|_| self.fault("this is no JSON"))
    }

    pub(super) fn value(&self) -> Result<Value, Fault> {
        self.parse()
    }

    pub(super) fn text(&self) -> Result<String, Fault> {
        match self.value()? {
            Value::String(text) => Ok(text),
            _ => Err(self.invalid("type", "a text")),
        }
    }

    fn whole(&self, most: u64) -> Result<u64, Fault> {
        match self.value()? {
            Value::Number(number) if !number.is_f64() => match number.as_u64() {
                Some(number) if number <= most => Ok(number),
                _ => Err(self.invalid("value", &format!("a whole number from 0 to {most}"))),
            },
            _ => Err(self.invalid("type", "a whole number")),
        }
    }

    fn each_item(&self, take: &mut dyn FnMut(&Found<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        if !self.json.get().starts_with('[') {
            return Err(self.invalid("type", "a list"));
        }
        let items: Vec<&RawValue> = self.parse()?;
        items.iter().enumerate().try_for_each(|(index, json)| take(&self.within(&index.to_string(), json)))
    }

    /// In the order of the text.
    pub(super) fn each_member(&self, take: &mut dyn FnMut(&str, &Found<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        self.members()?.iter().try_for_each(|(name, json)| take(name, &self.within(name, json)))
    }

    /// The members in the order of the text; a name given twice is refused.
    pub(super) fn members(&self) -> Result<Vec<(String, &RawValue)>, Fault> {
        if !self.json.get().starts_with('{') {
            return Err(self.invalid("type", "an object"));
        }
        let Members(members) = self.parse()?;
        for (index, (name, json)) in members.iter().enumerate() {
            if members[..index].iter().any(|(before, _)| before == name) {
                return Err(self.within(name, json).fault("this stands here twice"));
            }
        }
        Ok(members)
    }

    /// An object with no other members than these, and with all that it `needs`.
    pub(super) fn object(&self, needs: &[&str], fields: &mut [Member<'_>]) -> Result<(), Fault> {
        let members = self.members()?;
        for (name, json) in &members {
            let found = self.within(name, json);
            match fields.iter_mut().find(|(known, _)| known == name) {
                Some((_, field)) => field.fill(&found)?,
                None => {
                    let known: Vec<&str> = fields.iter().map(|(known, _)| *known).collect();
                    return Err(found.fault(["unknown field `", name, "`, expected ", &listed(&known)].concat()));
                }
            }
        }
        match needs.iter().find(|needed| !members.iter().any(|(name, _)| name == *needed)) {
            Some(missing) => Err(self.fault(["missing field `", missing, "`"].concat())),
            None => Ok(()),
        }
    }

    /// Which of these words it is.
    pub(super) fn word(&self, known: &[&str]) -> Result<usize, Fault> {
        self.choose(&self.text()?, known)
    }

    pub(super) fn choose(&self, word: &str, known: &[&str]) -> Result<usize, Fault> {
        match known.iter().position(|known| *known == word) {
            Some(index) => Ok(index),
            None => Err(self.fault(["unknown variant, expected ", &listed(known)].concat())),
        }
    }
}

fn listed(names: &[&str]) -> String {
    ["one of `", &names.join("`, `"), "`"].concat()
}

impl Read for String {
    fn read(found: &Found<'_>) -> Result<String, Fault> {
        found.text()
    }
}

impl Read for bool {
    fn read(found: &Found<'_>) -> Result<bool, Fault> {
        match found.value()? {
            Value::Bool(value) => Ok(value),
            _ => Err(found.invalid("type", "true or false")),
        }
    }
}

macro_rules! whole_numbers {
    ($($type:ident),*) => {$(
        impl Read for $type {
            fn read(found: &Found<'_>) -> Result<$type, Fault> {
                found.whole($type::MAX as u64).map(|number| number as $type)
            }
        }
    )*};
}
whole_numbers!(u16, u32, u64, usize);

impl Read for Value {
    fn read(found: &Found<'_>) -> Result<Value, Fault> {
        found.value()
    }
}

impl<T: Read> Read for Option<T> {
    fn read(found: &Found<'_>) -> Result<Option<T>, Fault> {
        match found.json.get() {
            "null" => Ok(None),
            _ => T::read(found).map(Some),
        }
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(found: &Found<'_>) -> Result<Vec<T>, Fault> {
        let mut items = Vec::new();
        found.each_item(&mut |item| {
            items.push(T::read(item)?);
            Ok(())
        })?;
        Ok(items)
    }
}

/// How an object is read: the names of its members, and the fields that they fill. All begin as `Default` has them;
/// what it only `takes` stays so where it is absent, what it `needs` never does.
macro_rules! object {
    (
        $type:ident
        $(needs { $($needed:literal: $need:ident),* $(,)? })?
        $(takes { $($taken:literal: $take:ident),* $(,)? })?
    ) => {
        impl Read for $type {
            fn read(found: &Found<'_>) -> Result<$type, Fault> {
                let mut value = $type::default();
                found.object(
                    &[$($($needed),*)?],
                    &mut [$($(($needed, &mut value.$need),)*)? $($(($taken, &mut value.$take)),*)?],
                )?;
                Ok(value)
            }
        }
    };
}
pub(super) use object;

/// The words for the variants of a type.
macro_rules! words {
    ($type:ident { $($word:literal: $variant:ident),* $(,)? }) => {
        impl $type {
            pub(crate) const ALL: &[(&str, $type)] = &[$(($word, $type::$variant)),*];
        }

        impl Read for $type {
            fn read(found: &Found<'_>) -> Result<$type, Fault> {
                found.word(&[$($word),*]).map(|index| $type::ALL[index].1)
            }
        }
    };
}
pub(super) use words;
