//! How much a config schema comes to once its references are written out.
//!
//! Checking one value visits all of that, and the schema comes from somebody who is not trusted: ten definitions that
//! each name the next one twice are a thousand visits, and forty are a daemon that never answers again.

use std::collections::HashMap;

use caisson_document::{Document, Fault, join};
use serde_json::Value;

/// Subschemas of a config schema, each counted as often as something refers to it.
const MAX_SUBSCHEMAS: usize = 10_000;
/// Definitions that lead to one another.
const MAX_CHAIN: usize = 32;

/// Keywords that hold schemas by names of the author's choice.
const NAMED: [&str; 4] = [
    "properties",
    "patternProperties",
    "$defs",
    "dependentSchemas",
];
/// Keywords that hold data and no schema.
const DATA: [&str; 4] = ["default", "const", "enum", "examples"];
/// The one dialect that config schemas are written in, which they may name.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Keywords that change what a reference leads to, or lead somewhere else than `$ref` does.
const ELSEWHERE: [&str; 6] = [
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
];

/// The fault of the schema at `place`, if it has no end or comes to too much.
pub(crate) fn fault(document: &Document, place: &str) -> Option<Fault> {
    let root = document.pointer(place)?;
    let mut extent = Extent {
        root,
        known: HashMap::new(),
        chain: Vec::new(),
    };
    let found = extent.of(root, "");
    let (at, message, help) = match found {
        Ok(count) if count <= MAX_SUBSCHEMAS => return None,
        Ok(_) => (
            String::new(),
            "the schema is too large with its references written out",
            "leave choices out, or refer to a definition less often",
        ),
        Err(fault) => fault,
    };
    Some(document.fault(&format!("{place}{at}"), message, help))
}

fn is_dialect(uri: &str) -> bool {
    uri.strip_suffix('#').unwrap_or(uri) == DIALECT
}

type Found = Result<usize, (String, &'static str, &'static str)>;

struct Extent<'a> {
    root: &'a Value,
    /// Of what was referred to before.
    known: HashMap<&'a str, usize>,
    /// References that lead to where the walk is.
    chain: Vec<&'a str>,
}

impl<'a> Extent<'a> {
    fn of(&mut self, schema: &'a Value, place: &str) -> Found {
        match schema {
            Value::Object(entries) => {
                let mut count = 1_usize;
                for (key, inside) in entries {
                    let place = join(place, key);
                    count = count.saturating_add(match (key.as_str(), inside) {
                        (key, Value::Object(named)) if NAMED.contains(&key) => {
                            let mut sum = 0_usize;
                            for (name, inside) in named {
                                sum = sum.saturating_add(self.of(inside, &join(&place, name))?);
                            }
                            sum
                        }
                        ("$ref", Value::String(to)) => self.referred(to, &place)?,
                        ("$schema", Value::String(dialect)) if !is_dialect(dialect) => {
                            return Err((
                                place,
                                "not the dialect of config schemas",
                                "leave it out, or write https://json-schema.org/draft/2020-12/schema",
                            ));
                        }
                        (key, Value::String(_)) if ELSEWHERE.contains(&key) => {
                            return Err((
                                place,
                                "a keyword that config schemas do not have",
                                "leave it out; refer to #/$defs/NAME with $ref",
                            ));
                        }
                        (key, _) if DATA.contains(&key) => 0,
                        _ => self.of(inside, &place)?,
                    });
                }
                Ok(count)
            }
            Value::Array(items) => {
                let mut count = 0_usize;
                for (index, inside) in items.iter().enumerate() {
                    count =
                        count.saturating_add(self.of(inside, &join(place, &index.to_string()))?);
                }
                Ok(count)
            }
            _ => Ok(0),
        }
    }

    fn referred(&mut self, to: &'a str, place: &str) -> Found {
        let fault = |message, help| Err((place.to_owned(), message, help));
        let Some(target) = to
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer))
        else {
            return fault(
                "refers to nothing in this schema",
                "write #/$defs/NAME, a definition of this schema",
            );
        };
        if self.chain.contains(&to) || to == "#" {
            return fault(
                "the schema refers to itself, and config schemas cannot",
                "write out as many levels as a config may have, or declare the inner part `type: object` without properties",
            );
        }
        if let Some(count) = self.known.get(to) {
            return Ok(*count);
        }
        if self.chain.len() >= MAX_CHAIN {
            return fault(
                "too many definitions that lead to one another",
                "refer to the last one directly",
            );
        }
        self.chain.push(to);
        let count = self.of(target, to.trim_start_matches('#'))?;
        self.chain.pop();
        self.known.insert(to, count);
        Ok(count)
    }
}
