//! The JSON Schema of descriptions: made of the types, kept in `src/providers/schema.json` for editors and people.

use std::borrow::Cow;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::check::tests::broken;
use super::read::read;
use super::template::{Ordered, Pointer, Template};
use super::{BUILT_IN, Each, Field, Provider};

/// What a text must look like.
pub(super) const NAME: &str = "^[a-z0-9-]+$";
const TEMPLATE: &str = r"^([^{}]|\{[a-z0-9_]+\})*$";
const POINTER: &str = "^/([^~]|~[01])*$";

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text; `{name}` inserts an input or a computed value; an absent one takes all of it away.",
            "type": "string",
            "pattern": TEMPLATE,
        })
    }
}

impl JsonSchema for Pointer {
    fn schema_name() -> Cow<'static, str> {
        "Pointer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A JSON pointer (RFC 6901), such as `/content/token`.",
            "type": "string",
            "pattern": POINTER,
        })
    }
}

impl<T: JsonSchema> JsonSchema for Ordered<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Ordered_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "additionalProperties": generator.subschema_for::<T>()})
    }
}

impl JsonSchema for Field {
    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A field of the body; `each_of` sends it once for each word of an input, as a form may.",
            "anyOf": [
                generator.subschema_for::<Template>(),
                generator.subschema_for::<i64>(),
                generator.subschema_for::<bool>(),
                generator.subschema_for::<Each>(),
            ],
        })
    }
}

/// Why a value does not follow a schema. Knows the keywords that stand in ours, and panics at any other, so that none
/// is passed over.
fn fault(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    let Some(rules) = schema.as_object() else {
        return if schema == true { Ok(()) } else { Err(format!("{path} must not be there")) };
    };
    let or = |sound: bool, reason: &str| if sound { Ok(()) } else { Err(format!("{path} {reason}")) };
    let list = |rule: &'static str| rules[rule].as_array().unwrap().iter();
    for (keyword, rule) in rules {
        match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "format" => {}
            "$ref" => {
                let target = root.pointer(rule.as_str().unwrap().strip_prefix('#').unwrap()).unwrap();
                fault(root, target, value, path)?;
            }
            "type" => or(
                rule.as_array().unwrap_or(&vec![rule.clone()]).iter().any(|kind| is(kind, value)),
                "has a wrong type",
            )?,
            "const" => or(rule == value, "is not this constant")?,
            "enum" => or(list("enum").any(|one| one == value), "is none of these")?,
            "minimum" => or(value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()), "is too small")?,
            "maximum" => or(value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()), "is too large")?,
            "pattern" => {
                or(value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)), "looks different")?
            }
            "anyOf" => or(list("anyOf").any(|one| fault(root, one, value, path).is_ok()), "follows no alternative")?,
            "oneOf" => {
                let count = list("oneOf").filter(|one| fault(root, one, value, path).is_ok()).count();
                or(count == 1, "does not follow one alternative")?;
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    fault(root, rule, item, &format!("{path}.{index}"))?;
                }
            }
            "required" => {
                let missing = list("required").find(|name| value.get(name.as_str().unwrap()).is_none());
                or(missing.is_none() || !value.is_object(), "lacks a member")?;
            }
            "properties" | "additionalProperties" => {} // below, together
            other => panic!("{path}: the keyword {other} is not known here"),
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let own = rules.get("properties").and_then(|properties| properties.get(name));
        let rule = own.or(rules.get("additionalProperties")).unwrap_or(&Value::Bool(true));
        fault(root, rule, member, &format!("{path}.{name}"))?;
    }
    Ok(())
}

fn is(kind: &Value, value: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type {other} is not known here"),
    }
}

/// What the patterns say, by the functions that they stand for.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        NAME => !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
        TEMPLATE => Template::parse(text).is_ok(),
        POINTER => Pointer::is_sound(text),
        other => panic!("the pattern {other} is not known here"),
    }
}

fn generate() -> Value {
    schemars::schema_for!(Provider).to_value()
}

#[test]
fn the_committed_schema_matches_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/providers/schema.json");
    let generated = serde_json::to_string_pretty(&generate()).unwrap() + "\n";
    if std::env::var_os("LIBTOKAUTH_BLESS").is_some() {
        std::fs::write(&path, generated).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == generated,
        "src/providers/schema.json differs from src/provider.rs; bless it with: LIBTOKAUTH_BLESS=1 cargo test --lib schema"
    );
}

#[test]
fn every_built_in_description_follows_the_schema_and_names_it() {
    let schema = generate();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    for (name, text) in BUILT_IN {
        let description: Value = serde_json::from_str(text).unwrap();
        assert_eq!(fault(&schema, &schema, &description, name), Ok(()));
        assert_eq!(description["$schema"], "schema.json", "{name}");
    }
}

#[test]
fn the_worked_example_for_newcomers_follows_the_schema() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md")).unwrap();
    let (_, example) = page.split_once("```json\n{\n").unwrap();
    let text = format!("{{{}", example.split_once("\n```").unwrap().0);
    let schema = generate();
    assert_eq!(fault(&schema, &schema, &serde_json::from_str(&text).unwrap(), "example"), Ok(()));
}

#[test]
fn the_schema_refuses_what_is_broken_in_shape_and_only_that() {
    let of_shape = [
        "unknown field",
        "unknown variant",
        "missing field",
        "invalid type",
        "invalid value",
        "a text, a whole number, a boolean or",
        "a-z, 0-9 and -",
        "unpaired brace",
        "not a placeholder",
        "not a JSON pointer",
    ];
    let schema = generate();
    for (description, place, reason) in broken() {
        // The names of what a reply must hold are pointers too; a schema says little about names.
        let by_name = place.starts_with("response.expect.");
        let expected = of_shape.iter().any(|shape| reason.starts_with(shape)) && !by_name;
        let refused = fault(&schema, &schema, &description, "");
        assert_eq!(refused.is_err(), expected, "{place}, {reason}: {refused:?}");
    }
}

/// Values that follow a schema: one for each alternative, with every member that it may have.
fn samples(root: &Value, schema: &Value) -> Vec<Value> {
    if let Some(target) = schema.get("$ref") {
        return samples(root, root.pointer(target.as_str().unwrap().strip_prefix('#').unwrap()).unwrap());
    }
    if let Some(alternatives) = schema.get("anyOf").or(schema.get("oneOf")) {
        return alternatives.as_array().unwrap().iter().flat_map(|one| samples(root, one)).collect();
    }
    if let Some(word) = schema.get("const").or(schema.get("enum").map(|words| &words[0])) {
        return vec![word.clone()];
    }
    let kind = schema.get("type").unwrap_or(&Value::Null);
    let inner = |keyword: &str| samples(root, &schema[keyword]);
    vec![match kind.get(0).unwrap_or(kind).as_str() {
        Some("object") => match schema.get("properties") {
            Some(Value::Object(members)) => {
                members.iter().map(|(name, member)| (name.clone(), samples(root, member).swap_remove(0))).collect()
            }
            _ => inner("additionalProperties")
                .into_iter()
                .enumerate()
                .map(|(index, value)| (format!("name{index}"), value))
                .collect(),
        },
        Some("array") => inner("items").into(),
        Some("string") if schema.get("pattern").is_some_and(|pattern| pattern == POINTER) => json!("/x"),
        Some("string") => json!("x"),
        Some("integer") => json!(1),
        _ => json!(true),
    }]
}

/// Everything that can stand at this place instead, and with an object also what can become of its members.
fn variants(value: &Value, probes: &[Value]) -> Vec<Value> {
    let mut variants = probes.to_vec();
    for (name, member) in value.as_object().into_iter().flatten() {
        let with = |member: Value| {
            let mut object = value.clone();
            object[name] = member;
            object
        };
        variants.extend(self::variants(member, probes).into_iter().map(with));
        let mut without = value.clone();
        without.as_object_mut().unwrap().remove(name);
        variants.push(without);
    }
    if value.is_object() {
        let mut more = value.clone();
        more["unknown"] = json!("x");
        variants.push(more);
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
        let with = |item: Value| {
            let mut list = value.clone();
            list[index] = item;
            list
        };
        variants.extend(self::variants(item, probes).into_iter().map(with));
    }
    variants
}

/// Each text that a schema allows by itself.
fn words(schema: &Value, found: &mut Vec<Value>) {
    found.extend(schema.get("const").cloned());
    found.extend(schema.get("enum").and_then(Value::as_array).into_iter().flatten().cloned());
    schema.as_object().into_iter().flatten().for_each(|(_, inner)| words(inner, found));
    schema.as_array().into_iter().flatten().for_each(|inner| words(inner, found));
}

#[test]
fn the_reader_takes_what_follows_the_schema_and_nothing_else() {
    let schema = generate();
    let mut probes = vec![json!(null), json!(true), json!(1), json!(-1), json!(1.5), json!(65536)];
    probes.extend([json!("x"), json!("{x}"), json!("/x"), json!([]), json!(["x"]), json!({}), json!({"x": "x"})]);
    words(&schema, &mut probes);
    let [sample] = &samples(&schema, &schema)[..] else { panic!("there is one kind of description") };
    assert_eq!(fault(&schema, &schema, sample, "sample"), Ok(()));
    let variants = variants(sample, &probes);
    assert!(variants.len() > 1000, "{}", variants.len());
    for description in [sample].into_iter().chain(&variants) {
        // The shape of the name is looked at after the rest.
        if description["name"].as_str().is_some_and(|name| !matches(NAME, name)) {
            continue;
        }
        let told = fault(&schema, &schema, description, "");
        let taken = read::<Provider>(&description.to_string()).map(drop);
        assert_eq!(taken.is_ok(), told.is_ok(), "{taken:?} {told:?} {description}");
    }
}

#[test]
fn every_member_of_the_schema_has_a_description() {
    fn look(value: &Value, path: &str) {
        for (name, member) in value.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let told = member.get("description").or(member.get("$ref")).or(value.get("description"));
            assert!(told.is_some(), "{path}/{name} is not described");
        }
        for (name, inner) in value.as_object().into_iter().flatten() {
            look(inner, &format!("{path}/{name}"));
        }
        for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
            look(inner, &format!("{path}/{index}"));
        }
    }
    look(&generate(), "");
}
