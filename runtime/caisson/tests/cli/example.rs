//! deploy/caisson.example.yaml names every key of the daemon's configuration,
//! and what it shows is taken.

use caisson_document::{Document, Schema};
use serde_json::Value;

const EXAMPLE: &str = include_str!("../../../../deploy/caisson.example.yaml");
const SCHEMA: &str = include_str!("../../../daemon/src/config/schema.json");

/// The example with every setting switched on.
fn everything() -> Document {
    // Words stand one space after a #, settings none or as deep as they belong.
    let is_words =
        |rest: &str| rest.is_empty() || (rest.starts_with(' ') && !rest.starts_with("  "));
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !is_words(setting) => setting.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<_> = EXAMPLE.lines().map(on).collect();
    Document::parse("caisson.example.yaml", &text.join("\n"))
        .unwrap_or_else(|faults| panic!("{faults}"))
}

#[test]
fn the_example_is_a_valid_configuration_as_it_stands_and_with_everything_switched_on() {
    let schema = Schema::parse(SCHEMA).expect("the daemon's schema is valid");
    let as_it_stands = Document::parse("caisson.example.yaml", EXAMPLE)
        .unwrap_or_else(|faults| panic!("{faults}"));
    for document in [as_it_stands, everything()] {
        let faults = document.check(&schema);
        assert!(faults.is_empty(), "{}", caisson_document::Faults(faults));
    }
}

#[test]
fn every_key_of_the_configuration_is_in_the_example() {
    fn missing(schema: &Value, example: &Value, place: &str, into: &mut Vec<String>) {
        for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}/{key}");
            match example.get(key) {
                // Of alternatives one is shown, and the others are named beside it.
                None if schema["maxProperties"] == 1 && EXAMPLE.contains(key) => {}
                None => into.push(place),
                Some(value) => missing(inner, value, &place, into),
            }
        }
    }
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let mut keys = Vec::new();
    missing(&schema, everything().value(), "", &mut keys);
    assert!(
        keys.is_empty(),
        "not in deploy/caisson.example.yaml: {keys:?}"
    );
}
