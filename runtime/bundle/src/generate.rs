//! The typed Config of a connector, generated from its config schema, so that
//! `self.config.shop` is known to editors and to mypy.

use serde_json::{Map, Value};

/// The first line of a generated file, by which it is known.
pub const GENERATED: &str = "\"\"\"Generated from connector.yaml; `caisson new` and `caisson validate --write-config` keep it in step.\"\"\"";

/// Names that Python keeps for itself.
pub(crate) const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield",
];

/// True if Python takes `name` for an attribute.
pub(crate) fn is_attribute(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !KEYWORDS.contains(&name)
}

/// The source of `config.py` for a config schema. Properties that cannot be attributes are left out.
///
/// A property is `str`, `int`, `float`, `bool`, a list, a class of its own (an object with
/// properties), or the CDK's `Secret` where it is
/// marked; dates stay strings; what is neither required nor has a default is `… | None = None`.
#[must_use]
pub fn generate_config(title: &str, config: &Value) -> String {
    let mut generator = Generator {
        root: config,
        classes: Vec::new(),
        open: Vec::new(),
        typing: Vec::new(),
        secret: false,
    };
    generator.class(
        "Config",
        &format!("The config of a connection of {title}."),
        config,
    );
    let mut source = format!("{GENERATED}\n\nfrom __future__ import annotations\n\n");
    let names = if generator.secret {
        "Secret, Settings"
    } else {
        "Settings"
    };
    source.push_str(&format!("from caisson import {names}\n"));
    if !generator.typing.is_empty() {
        generator.typing.sort_unstable();
        // typing takes some milliseconds to import, and nothing needs it when the connector runs.
        source.push_str("\nTYPE_CHECKING = False\nif TYPE_CHECKING:\n");
        source.push_str(&format!(
            "    from typing import {}\n",
            generator.typing.join(", ")
        ));
    }
    for class in &generator.classes {
        source.push_str("\n\n");
        source.push_str(class);
    }
    source
}

/// Classes of one config. References can make a short schema stand for very many; further objects are plain dicts.
const MAX_CLASSES: usize = 256;

struct Generator<'a> {
    root: &'a Value,
    /// Inner classes first.
    classes: Vec<String>,
    /// The objects and lists that are being written: one inside itself has no end, and stands for anything there.
    open: Vec<&'a Value>,
    typing: Vec<&'static str>,
    secret: bool,
}

impl<'a> Generator<'a> {
    fn class(&mut self, name: &str, about: &str, schema: &'a Value) {
        self.open.push(schema);
        let mut source = format!("class {name}(Settings):\n    {}\n", docstring(about));
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        for (property, written) in properties.into_iter().flatten() {
            if !is_attribute(property) {
                continue;
            }
            let schema = self.follow(written);
            let hint = self.hint(name, property, schema);
            source.push_str(&format!(
                "\n    {property}: {}\n",
                field(&hint, schema, required.contains(&property.as_str()))
            ));
            let about = ["title", "description"]
                .iter()
                .filter_map(|key| schema.get(*key)?.as_str());
            let about: Vec<&str> = about.collect();
            if !about.is_empty() {
                source.push_str(&format!("    {}\n", docstring(&about.join(": "))));
            }
        }
        self.open.pop();
        self.classes.push(source);
    }

    fn hint(&mut self, owner: &str, property: &str, schema: &'a Value) -> String {
        if schema.get("secret") == Some(&Value::Bool(true)) {
            self.secret = true;
            return "Secret".to_owned();
        }
        let options = schema
            .get("enum")
            .and_then(Value::as_array)
            .filter(|options| options.iter().all(Value::is_string));
        if let Some(options) = options {
            let options: Vec<String> = options.iter().map(python).collect();
            return self.typing("Literal", format!("Literal[{}]", options.join(", ")));
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(name)) => vec![name],
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => return self.typing("Any", "Any".to_owned()),
        };
        let hints: Vec<String> = types
            .iter()
            .map(|name| self.typed(name, owner, property, schema))
            .collect();
        hints.join(" | ")
    }

    fn typed(&mut self, name: &str, owner: &str, property: &str, schema: &'a Value) -> String {
        match name {
            "string" => "str".to_owned(),
            "integer" => "int".to_owned(),
            "number" => "float".to_owned(),
            "boolean" => "bool".to_owned(),
            "null" => "None".to_owned(),
            "array" => match schema.get("items").map(|items| self.follow(items)) {
                Some(items) if !self.is_open(schema) => {
                    self.open.push(schema);
                    let hint = self.hint(owner, &format!("{property}_item"), items);
                    self.open.pop();
                    format!("list[{hint}]")
                }
                _ => self.typing("Any", "list[Any]".to_owned()),
            },
            "object" if self.has_class(schema) => {
                let prefix = if owner == "Config" { "" } else { owner };
                let class = format!("{prefix}{}", camel(property));
                let about = schema
                    .get("title")
                    .and_then(Value::as_str)
                    .unwrap_or(property);
                self.class(&class, &format!("{about}."), schema);
                class
            }
            _ => self.typing("Any", "dict[str, Any]".to_owned()),
        }
    }

    fn typing(&mut self, name: &'static str, hint: String) -> String {
        if !self.typing.contains(&name) {
            self.typing.push(name);
        }
        hint
    }

    fn is_open(&self, schema: &Value) -> bool {
        self.open.iter().any(|open| std::ptr::eq(*open, schema))
    }

    fn has_class(&self, schema: &Value) -> bool {
        let written = self.classes.len() + self.open.len();
        schema.get("properties").is_some_and(Value::is_object)
            && !self.is_open(schema)
            && written < MAX_CLASSES
    }

    fn follow(&self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..16 {
            let target = schema
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix('#'));
            match target.and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }
}

/// Hint and default of a field.
fn field(hint: &str, schema: &Value, required: bool) -> String {
    let optional = || {
        if hint.split(" | ").any(|part| part == "None") {
            hint.to_owned()
        } else {
            format!("{hint} | None")
        }
    };
    match schema.get("default") {
        Some(Value::Null) => format!("{} = None", optional()),
        // An object's default is filled in by the daemon; its class cannot be written as a literal.
        Some(Value::Object(_)) => hint.to_owned(),
        Some(default) => format!("{hint} = {}", python(default)),
        None if required => hint.to_owned(),
        None => format!("{} = None", optional()),
    }
}

/// A JSON value as a Python literal.
fn python(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(python).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| {
                format!("{}: {}", Value::from(key.as_str()), python(value))
            };
            format!(
                "{{{}}}",
                Map::iter(entries).map(entry).collect::<Vec<_>>().join(", ")
            )
        }
        other => other.to_string(),
    }
}

/// One line, safe between triple quotes.
fn docstring(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "\"\"\"{}\"\"\"",
        line.replace('\\', "\\\\").replace('"', "'")
    )
}

fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters.next().map_or(String::new(), |first| {
                first.to_ascii_uppercase().to_string() + letters.as_str()
            })
        })
        .collect()
}
