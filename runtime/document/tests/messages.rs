//! Every message that a schema check can give, in one reviewed snapshot. The
//! documents plant a canary where values stand; no message may show it.

use caisson_document::{Document, Schema};

const CANARY: &str = "sk_canary_51HvTZ";

const SCHEMA: &str = r##"
type: object
required: [name, port]
additionalProperties: false
properties:
  name: { type: string, minLength: 1, maxLength: 10 }
  port: { type: integer, minimum: 1, maximum: 65535 }
  ratio: { type: number, exclusiveMinimum: 0 }
  share: { exclusiveMaximum: 1 }
  many: { type: integer, multipleOf: 5 }
  level: { enum: [error, warning, info] }
  format: { const: 1 }
  on: { type: boolean }
  either: { type: [string, integer] }
  date: { type: string, format: date }
  when: { type: string, format: date-time }
  host: { type: string, format: hostname }
  id: { type: string, pattern: "^[a-z]+$", description: "lower-case letters only" }
  slug: { type: string, pattern: "^[a-z-]+$", x-name: "a slug", x-write-instead: "write it like my-name" }
  plain_pattern: { type: string, pattern: "^[0-9]+$" }
  ports: { type: array, items: { $ref: "#/$defs/port" }, uniqueItems: true, minItems: 1, maxItems: 3 }
  names: { type: object, propertyNames: { pattern: "^[a-z]+$", description: "names are lower-case letters" }, additionalProperties: { type: integer } }
  duty: { type: object, required: [who], properties: { who: { type: string, x-write-instead: "name the person" } }, additionalProperties: false }
  never: false
  refused: { not: { type: string } }
  kinds:
    type: array
    items:
      oneOf:
        - { type: object, required: [type, token], additionalProperties: false, properties: { type: { const: bearer }, token: { type: string } } }
        - { type: object, required: [type, username], additionalProperties: false, properties: { type: { const: basic }, username: { type: string }, password: { type: string } } }
  memory: { anyOf: [ { type: integer, minimum: 1 }, { type: string, x-name: "a size such as 5MiB" } ] }
  one_of_two: { type: object, anyOf: [ { required: [url] }, { required: [host] } ] }
  hinted: { type: object, x-write-instead: "write `{host: …}` or `{network: …}`", anyOf: [ { required: [host, port] }, { required: [network, mask] } ] }
  both: { oneOf: [ { type: integer }, { type: number } ] }
$defs:
  port: { type: integer, minimum: 1, maximum: 65535 }
"##;

fn messages(text: &str) -> String {
    let schema = Schema::parse(SCHEMA).expect("the schema compiles");
    let document = Document::parse("test.yaml", text).expect("the text parses");
    let faults = document.check(&schema);
    let text = faults
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n");
    assert!(!text.contains(CANARY), "a value was printed:\n{text}");
    text
}

#[test]
fn every_message_is_as_it_was_reviewed() {
    let text = format!(
        r#"
name: "{CANARY}-which-is-too-long"
port: 70000
ratio: 0
share: 2
many: 7
level: {CANARY}
format: 2
on: yes
either: [1]
date: {CANARY}
when: 2024-01-01
host: "{CANARY} with spaces"
id: {CANARY}
slug: {CANARY}
plain_pattern: {CANARY}
ports: [0, 5, 5, {CANARY}]
names:
  OK: 1
  fine: {CANARY}
duty: {{ whom: {CANARY} }}
never: {CANARY}
refused: {CANARY}
kinds:
  - {{ type: bearer, tokn: {CANARY} }}
  - {{ type: basic, username: 1 }}
  - {{ type: {CANARY} }}
  - {{ type: baerer, token: {CANARY} }}
  - {{ username: {CANARY} }}
  - {CANARY}
memory: true
misc: {CANARY}
one_of_two: {{}}
hinted: {{ host: {CANARY} }}
both: 3
a key with spaces: 1
memery: 1
"#
    );
    insta::assert_snapshot!(messages(&text));
}

#[test]
fn a_document_that_is_no_mapping_says_so() {
    insta::assert_snapshot!(
        [
            messages(""),
            messages("- 1"),
            messages(CANARY),
            messages("{}"),
            messages("level: warn\nname: a\nport: 1")
        ]
        .join("\n---\n")
    );
}

#[test]
fn faults_of_a_schema_that_somebody_wrote_stand_at_their_places() {
    let text = "config:\n  type: objekt\n  properties:\n    a: { type: string, minLength: -1 }\n    b: [1]\n    c: { pattern: '(' }\n  required: a\n";
    let document = Document::parse("connector.yaml", text).expect("the text parses");
    let faults = document
        .schema_at("/config")
        .expect_err("the schema is not valid");
    insta::assert_snapshot!(
        faults
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    );
}

#[test]
fn a_schema_that_needs_the_network_or_look_around_is_refused() {
    for text in [
        r#"{"$ref": "https://example.com/other.json"}"#,
        r#"{"type": "string", "pattern": "(?=a)b"}"#,
    ] {
        assert!(Schema::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_fault_is_one_plain_line_whatever_the_text_holds() {
    let text = "{\"config\": {\"$ref\": \"\\u001b[2J\\u202e\\n#/x\"}}";
    let document = Document::parse("connector.json", text).expect("the text parses");
    let faults = document
        .schema_at("/config")
        .expect_err("the reference is none");
    for fault in faults {
        let told = fault.to_string();
        assert!(
            !told.contains(|c: char| c.is_control() || c == '\u{202e}'),
            "{told:?}"
        );
        assert!(told.contains("\\u{1b}"), "{told}");
    }
}
