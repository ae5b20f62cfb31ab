//! From the text of a description to its types, level by level. Every value knows its place, and no error tells one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, from_str};

/// A place in the description, and what is wrong there.
pub(super) type Fault = (String, String);

/// What stands in a description.
pub(super) trait Read: Sized {
    fn read(found: &Found<'_>) -> Result<Self, Fault>;
}

/// Reads a whole description.
pub(super) fn read<T: Read>(text: &str) -> Result<T, Fault> {
    T::read(&Found { outer: None, name: "", json: document(text)? })
}

fn document(text: &str) -> Result<&RawValue, Fault> {
    let reason = match text.trim_start().starts_with('{') {
        true => match from_str(text) {
            Ok(document) => return Ok(document),
            Err(error) => error.to_string(),
        },
        // Any other file may stand here by mistake, and its text is nobody's business.
        false => "this is not a JSON object".to_owned(),
    };
    Err(("the top".to_owned(), reason))
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
        (self.place(), reason.into())
    }

    /// That a `type`, a `value` or a variant is wrong, and what is right; not what stands there, which may be a secret.
    pub(super) fn invalid(&self, what: &str, expected: &str) -> Fault {
        self.fault(["invalid ", what, ", expected ", expected].concat())
    }

    fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Fault> {
        from_str(self.json.get()).map_err(|_| self.fault("half a character, or a number or nesting out of bounds"))
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

    fn items(&self) -> Result<Vec<&RawValue>, Fault> {
        match self.json.get().starts_with('[') {
            true => self.parse(),
            false => Err(self.invalid("type", "a list")),
        }
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

    /// An object that has no other members than these.
    pub(super) fn object<'a>(&'a self, known: &[&str]) -> Result<Object<'a>, Fault> {
        let members = self.members()?;
        match members.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, json)) => {
                Err(self.within(name, json).fault(format!("unknown field `{name}`, expected {}", listed(known))))
            }
            None => Ok(Object { found: self, members }),
        }
    }

    /// What a word stands for.
    pub(super) fn choose<T: Copy>(&self, word: &str, known: &[(&str, T)]) -> Result<T, Fault> {
        match known.iter().find(|(name, _)| *name == word) {
            Some((_, meaning)) => Ok(*meaning),
            None => Err(self.unknown_variant(&mut known.iter().map(|(name, _)| *name))),
        }
    }

    fn unknown_variant(&self, known: &mut dyn Iterator<Item = &str>) -> Fault {
        self.fault(["unknown variant, expected ", &listed(&known.collect::<Vec<_>>())].concat())
    }
}

fn listed(names: &[&str]) -> String {
    ["one of `", &names.join("`, `"), "`"].concat()
}

pub(super) struct Object<'a> {
    found: &'a Found<'a>,
    members: Vec<(String, &'a RawValue)>,
}

impl Object<'_> {
    fn find(&self, name: &str) -> Option<Found<'_>> {
        let (name, json) = self.members.iter().find(|(known, _)| known == name)?;
        Some(self.found.within(name, json))
    }

    pub(super) fn get<T: Read>(&self, name: &str) -> Result<Option<T>, Fault> {
        self.find(name).map(|found| T::read(&found)).transpose()
    }

    pub(super) fn set<T: Read>(&self, name: &str, field: &mut T) -> Result<(), Fault> {
        if let Some(value) = self.get(name)? {
            *field = value;
        }
        Ok(())
    }

    pub(super) fn missing(&self, name: &str) -> Fault {
        self.found.fault(["missing field `", name, "`"].concat())
    }
}

/// The members of an object as they stand, repeated ones too.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members<'a>, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
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
        let items = found.items()?.into_iter().enumerate();
        items.map(|(index, json)| T::read(&found.within(&index.to_string(), json))).collect()
    }
}

/// How an object is read: the names of its members, and the fields that they fill. What it only `takes` may be absent, and
/// is then as `Default` says: that of the whole where nothing is needed, else that of the field.
macro_rules! object {
    ($type:ident takes { $($name:literal: $field:ident),* $(,)? }) => {
        impl Read for $type {
            fn read(found: &Found<'_>) -> Result<$type, Fault> {
                let object = found.object(&[$($name),*])?;
                let mut value = $type::default();
                $(object.set($name, &mut value.$field)?;)*
                Ok(value)
            }
        }
    };
    ($type:ident needs { $($needed:literal: $need:ident),* $(,)? }
        $(takes { $($name:literal: $field:ident),* $(,)? })? $(besides { $other:ident })?) => {
        impl Read for $type {
            fn read(found: &Found<'_>) -> Result<$type, Fault> {
                let object = found.object(&[$($needed,)* $($($name),*)?])?;
                // What is missing is told last.
                $(let $need = object.get($needed)?;)*
                $($(let $field = object.get($name)?.unwrap_or_default();)*)?
                Ok($type {
                    $($need: $need.ok_or_else(|| object.missing($needed))?,)*
                    $($($field,)*)?
                    $($other: Default::default(),)?
                })
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
                found.choose(&found.text()?, $type::ALL)
            }
        }
    };
}
pub(super) use words;
