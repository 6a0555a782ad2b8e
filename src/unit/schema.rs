//! The JSON Schema of unit files, for editors.
//!
//! Responsible for showing the table of keys in the schema's language (draft 2020-12), one branch a
//! kind. What the language cannot say (rules between values) is left to `wsup check`.

use super::keys::{self, Key, Lit, Shape};
use super::names;
use crate::core::id::{CRONJOB_NAME_MAX, Kind, NAME_MAX};
use serde_json::{Map, Value, json};

/// What a duration looks like; the exact rules are the parser's.
const DURATION: &str = r"^\s*([0-9]+(\.[0-9]+)?(ms|s|m|h|d) *)+$";
/// What a size looks like.
const SIZE: &str = r"^[0-9]+(\.[0-9]+)? ?(B|kB|[KMGT]i?B?)?$";

/// The schema as pretty JSON with a line end.
pub fn json_schema() -> String {
    let branches: Vec<Value> = Kind::ALL.into_iter().map(branch).collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "wsup unit file",
        "type": "object",
        "required": ["kind"],
        "oneOf": branches,
    });
    // Serialising a tree of texts and numbers cannot fail; an empty schema would allow everything.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}

fn branch(kind: Kind) -> Value {
    let mut schema = table(keys::UNIT, kind);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("kind".to_owned(), json!({ "const": kind.as_str() }));
        if let Some(name) = properties.get_mut("name").and_then(Value::as_object_mut) {
            let longest = if kind == Kind::CronJob { CRONJOB_NAME_MAX } else { NAME_MAX };
            name.insert("pattern".to_owned(), json!("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"));
            name.insert("maxLength".to_owned(), json!(longest));
        }
    }
    schema.insert("title".to_owned(), json!(kind.as_str()));
    Value::Object(schema)
}

/// The schema of a table's keys for a kind.
fn table(keys: &'static [Key], kind: Kind) -> Map<String, Value> {
    let of_kind: Vec<&Key> = keys.iter().filter(|key| key.kinds.has(kind)).collect();
    let properties: Map<String, Value> =
        of_kind.iter().map(|key| (key.name.to_owned(), property(key, kind))).collect();
    let required: Vec<&str> =
        of_kind.iter().filter(|key| key.required).map(|key| key.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn property(key: &Key, kind: Kind) -> Value {
    let mut schema = match shape(key.shape, kind) {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    };
    schema.insert("description".to_owned(), json!(key.about));
    if let Some(default) = key.default {
        let value = match default {
            Lit::Int(number) => json!(number),
            Lit::Num(number) => json!(number),
            Lit::Bool(flag) => json!(flag),
            Lit::Text(text) => json!(text),
        };
        schema.insert("default".to_owned(), value);
    }
    Value::Object(schema)
}

fn shape(shape: Shape, kind: Kind) -> Value {
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Word(..) => json!({ "type": "string", "minLength": 1 }),
        Shape::Owner => owner(),
        Shape::Bool => json!({ "type": "boolean" }),
        Shape::Int(min, max) => int(min, max),
        Shape::Positive(max) => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": max }),
        Shape::Factor => json!({ "type": "number", "minimum": 1, "maximum": 1000 }),
        Shape::Duration(_) => json!({ "type": "string", "pattern": DURATION }),
        Shape::DurationOrNever(_) => {
            json!({ "anyOf": [{ "type": "string", "pattern": DURATION }, { "const": "never" }] })
        }
        Shape::Size(min) => size(min),
        Shape::Amount(_) => json!({
            "anyOf": [int(0, keys::INT32_MAX), { "type": "string", "pattern": "^[0-9]+%$" }]
        }),
        Shape::OneOf(choices) => json!({ "enum": choices }),
        Shape::Command => command(),
        Shape::CommandOrSignal => {
            json!({ "anyOf": [command(), Value::Object(table(keys::RELOAD, kind))] })
        }
        Shape::Texts(..) => json!({ "type": "array", "items": { "type": "string" } }),
        Shape::Owners => json!({ "type": "array", "items": owner() }),
        Shape::Ints(min, max) => json!({ "type": "array", "items": int(min, max) }),
        Shape::Map(..) => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Shape::Limits => limits(),
        Shape::Dependencies => json!({
            "type": "array",
            "items": { "anyOf": [
                { "type": "string", "minLength": 1 },
                Value::Object(table(keys::DEPENDENCY, kind)),
            ] }
        }),
        Shape::Nodes => json!({ "anyOf": [
            { "enum": ["machine", "cpus", "numa"] },
            Value::Object(table(keys::GLOB, kind)),
        ] }),
        Shape::Table(inner) => Value::Object(table(inner, kind)),
        Shape::Tables(inner) => {
            json!({ "type": "array", "items": Value::Object(table(inner, kind)) })
        }
    }
}

fn int(min: i64, max: i64) -> Value {
    json!({ "type": "integer", "minimum": min, "maximum": max })
}

fn size(min: u64) -> Value {
    json!({ "anyOf": [
        { "type": "integer", "minimum": min },
        { "type": "string", "pattern": SIZE },
    ] })
}

fn owner() -> Value {
    json!({ "anyOf": [{ "type": "string", "minLength": 1 }, int(0, i64::from(u32::MAX) - 1)] })
}

fn command() -> Value {
    json!({ "anyOf": [
        { "type": "string", "minLength": 1 },
        { "type": "array", "items": { "type": "string" }, "minItems": 1 },
    ] })
}

fn limits() -> Value {
    let one = json!({ "anyOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "pattern": SIZE },
        { "enum": ["unlimited", "infinity"] },
    ] });
    let pair = json!({
        "type": "object",
        "properties": { "soft": one, "hard": one },
        "required": ["soft", "hard"],
        "additionalProperties": false,
    });
    let properties: Map<String, Value> = names::RLIMITS
        .into_iter()
        .map(|name| (name.to_owned(), json!({ "anyOf": [one, pair] })))
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_keys() {
        let schema: Value = serde_json::from_str(&json_schema()).unwrap();
        let branches = schema["oneOf"].as_array().unwrap();
        assert_eq!(branches.len(), Kind::ALL.len());
        let deployment = &branches[0]["properties"];
        assert_eq!(deployment["kind"]["const"], "deployment");
        assert_eq!(deployment["replicas"]["default"], 1);
        assert!(deployment.get("cron").is_none());
        let cronjob = &branches[4];
        assert_eq!(cronjob["required"], json!(["kind", "process", "cron"]));
        assert_eq!(cronjob["properties"]["restart"]["properties"]["policy"]["default"], "never");
    }

    #[test]
    fn patterns_take_what_the_parsers_take() {
        let duration = regex::Regex::new(DURATION).unwrap();
        for text in ["0s", "1h30m", "1h 30m", "1.5s", "250ms", "1d"] {
            assert!(duration.is_match(text) && super::super::duration::parse(text).is_ok());
        }
        let size = regex::Regex::new(SIZE).unwrap();
        for text in ["1", "512MiB", "512M", "1.5GiB", "1kB", "1 GB", "3Ki", "4B"] {
            assert!(size.is_match(text) && super::super::size::parse(text).is_ok(), "{text}");
        }
    }
}
