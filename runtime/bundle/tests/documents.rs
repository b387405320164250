//! connector.yaml, connections, configs, locks and dependencies.toml: what is
//! accepted, and every refusal in one reviewed snapshot each.

use caisson_bundle::{
    Allowance, AllowedDependencies, ConfigSchema, Connection, Digest, Lock, Manifest, Pin,
    PinError, ReadMode, Which, WriteMode, generate_config,
};
use caisson_document::{Document, Faults};
use serde_json::json;

const SHOP: &str = include_str!("data/shop.yaml");

fn told<T: std::fmt::Debug>(result: Result<T, Faults>) -> String {
    result.expect_err("there are faults").to_string()
}

#[test]
fn the_connector_of_the_guide_is_accepted() {
    let manifest = Manifest::parse("connector.yaml", SHOP).expect("no faults");
    assert_eq!(manifest.pin(), "shop@1.4.2");
    insta::assert_json_snapshot!(manifest);
}

#[test]
fn every_fault_of_a_connector_is_told_at_once() {
    insta::assert_snapshot!(told(Manifest::parse(
        "connector.yaml",
        include_str!("data/faulty.yaml")
    )));
}

#[test]
fn a_broken_config_schema_is_told_at_its_places() {
    let text = SHOP
        .replace("type: string, format: date,", "type: strung, format: date,")
        .replace("required: [shop, api_key]", "required: shop");
    insta::assert_snapshot!(told(Manifest::parse("connector.yaml", &text)));
}

#[test]
fn a_config_schema_without_end_is_refused_before_it_is_used() {
    let told = |config: &str| {
        let start = SHOP.find("config:").expect("has one");
        let end = SHOP.find("form:").unwrap_or(SHOP.len());
        let text = format!("{}config:\n{config}\n", &SHOP[..start]) + &SHOP[end..];
        told(Manifest::parse("connector.yaml", &text))
    };
    let doubling = |levels: usize| -> String {
        let level = |n: usize| {
            let next = format!("{{ $ref: \"#/$defs/d{}\" }}", n + 1);
            format!("    d{n}: {{ allOf: [{next}, {next}] }}\n")
        };
        let all: String = (0..levels).map(level).collect();
        format!(
            "  type: object\n  properties: {{ a: {{ $ref: \"#/$defs/d0\" }} }}\n  $defs:\n{all}    d{levels}: {{ type: string }}\n"
        )
    };
    let cases = [
        ("itself", "  type: object\n  properties: { a: { $ref: \"#\" } }".to_owned(), "refers to itself"),
        (
            "in a circle",
            "  type: object\n  properties: { a: { $ref: \"#/$defs/a\" } }\n  $defs: { a: { properties: { b: { $ref: \"#/$defs/b\" } } }, b: { items: { $ref: \"#/$defs/a\" } } }".to_owned(),
            "refers to itself",
        ),
        ("doubling", doubling(24), "too large"),
        ("doubling for ever", doubling(60), "lead to one another"),
        (
            "by another keyword",
            "  type: object\n  $dynamicAnchor: x\n  properties: { a: { $dynamicRef: \"#x\" } }".to_owned(),
            "config schemas do not have",
        ),
        (
            "elsewhere",
            "  type: object\n  properties: { a: { $ref: \"file:///etc/passwd\" } }".to_owned(),
            "refers to nothing",
        ),
    ];
    for (name, config, expected) in cases {
        let said = told(&config);
        assert!(said.contains(expected), "{name}: {said}");
    }
}

#[test]
fn defaults_that_have_no_end_are_a_fault_and_end_no_process() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"type": "object", "default": {}, "properties": {"a": {"$ref": "#/$defs/a"}, "b": {"$ref": "#/$defs/a"}}}}
    });
    let schema = ConfigSchema::new(schema).expect("compiles");
    let said = told(schema.check(&Document::from_value("config", serde_json::json!({}))));
    assert!(said.contains("have no end"), "{said}");

    let large = "x".repeat(100_000);
    let wide: serde_json::Map<String, serde_json::Value> = (0..100)
        .map(|n| {
            (
                format!("p{n}"),
                serde_json::json!({"$ref": "#/$defs/large"}),
            )
        })
        .collect();
    let schema = serde_json::json!({"type": "object", "properties": wide, "$defs": {"large": {"type": "string", "default": large}}});
    let schema = ConfigSchema::new(schema).expect("compiles");
    let said = told(schema.check(&Document::from_value("config", serde_json::json!({}))));
    assert!(said.contains("have no end"), "{said}");
}

#[test]
fn a_config_has_its_defaults_filled_in_and_its_references_apart() {
    let manifest = Manifest::parse("connector.yaml", SHOP).expect("no faults");
    let schema = manifest.config_schema().expect("compiles");
    let text = "config:\n  shop: acme\n  api_key: { $secret: \"vault:kv/shop#api_key\" }\n";
    let document = Document::parse("shop.yaml", text).expect("parses");
    let checked = schema.check(&document.part("/config")).expect("no faults");
    insta::assert_json_snapshot!(checked.value);
    assert_eq!(
        checked.secrets.into_iter().collect::<Vec<_>>(),
        [("/api_key".to_owned(), "vault:kv/shop#api_key".to_owned())]
    );
}

#[test]
fn every_fault_of_a_config_is_told_without_its_values() {
    let schema: serde_json::Value = serde_json::json!({
        "type": "object",
        "required": ["host", "password", "auth"],
        "properties": {
            "host": {"type": "string", "format": "hostname"},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 5432},
            "password": {"type": "string", "secret": true, "minLength": 30, "pattern": "^never$"},
            "user": {"type": "string"},
            "keys": {"type": "array", "items": {"type": "string", "secret": true}},
            "tls": {"type": "object", "properties": {"ca": {"type": "string"}, "mode": {"enum": ["off", "verify"], "default": "verify"}}},
            "auth": {"oneOf": [
                {"type": "object", "required": ["kind", "token"], "properties": {"kind": {"const": "token"}, "token": {"type": "string", "secret": true}}},
                {"type": "object", "required": ["kind"], "properties": {"kind": {"const": "none"}}}
            ]}
        }
    });
    let schema = ConfigSchema::new(schema).expect("compiles");
    let text = r#"
host: "canary host"
prot: 5433
port: 0
password: canary-literal-password
user: { $secret: "env:CAISSON_SECRET_USER" }
keys: [{ $secret: "file:canary" }, canary-in-list, { $secret: canary }, { $secret: "env:A", also: 1 }]
tls: { mod: verify, ca: 1 }
auth: { kind: token, token: canary-token }
"#;
    let text = told(schema.check(&Document::parse("shop.yaml", text).expect("parses")));
    assert!(!text.contains("canary"), "{text}");
    insta::assert_snapshot!(text);
    let good = serde_json::json!({"host": "db", "password": {"$secret": "file:pw"}, "tls": {}, "auth": {"kind": "token", "token": {"$secret": "file:t"}}});
    let checked = schema
        .check(&Document::from_value("config", good))
        .expect("no faults");
    assert_eq!(checked.value["tls"]["mode"], "verify");
    assert_eq!(checked.value["port"], 5432);
    assert_eq!(checked.secrets.len(), 2);
    let bare = told(schema.check(&Document::from_value("config", serde_json::json!(null))));
    assert!(bare.starts_with("config: missing key `host`"), "{bare}");
}

#[test]
fn a_connection_is_parsed_with_its_streams_in_order() {
    let text = "connector: shop@1.4.2\nconfig: { shop: acme }\nstreams: { orders: { mode: incremental, write: upsert }, all: {}, customers: }\nstate_key: nightly\n";
    let connection = Connection::parse("shop.yaml", text).expect("no faults");
    assert_eq!(connection.connector.to_string(), "shop@1.4.2");
    let names: Vec<&str> = connection
        .streams
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["orders", "all", "customers"]);
    assert_eq!(connection.streams[0].1.mode, Some(ReadMode::Incremental));
    assert_eq!(connection.streams[0].1.write, Some(WriteMode::Upsert));
    assert_eq!(
        connection
            .config
            .mark("/shop")
            .map(|mark| (mark.line, mark.column)),
        Some((2, 17))
    );
    let again =
        Connection::from_document(&Document::from_value("connection", connection.to_value()))
            .expect("no faults");
    assert_eq!(again.to_value(), connection.to_value());
}

#[test]
fn every_fault_of_a_connection_is_told_at_once() {
    let text = "connector: shop@^1.4\nconfig: []\nstreams: { orders: { mode: incrementel, right: upsert } }\nstate_key: a b\nstream: {}\n";
    insta::assert_snapshot!(told(Connection::parse("shop.yaml", text)));
}

#[test]
fn a_pin_names_one_bundle_and_nothing_else() {
    let digest = Digest::of(b"x");
    assert_eq!(
        format!("shop@{digest}").parse::<Pin>().map(|pin| pin.which),
        Ok(Which::Digest(digest))
    );
    assert!(matches!(
        "shop".parse::<Pin>(),
        Err(PinError::NoVersion { .. })
    ));
    for range in [
        "shop@^1",
        "shop@>=1,<2",
        "shop@1",
        "shop@latest",
        "shop@1.4.x",
    ] {
        assert!(
            matches!(range.parse::<Pin>(), Err(PinError::NotExact { .. })),
            "{range}"
        );
    }
    assert!(matches!(
        "shop@sha256:12".parse::<Pin>(),
        Err(PinError::Digest { .. })
    ));
    for name in ["", "Shop@1.0.0", "a--b@1.0.0", "../x@1.0.0"] {
        assert_eq!(name.parse::<Pin>(), Err(PinError::Name), "{name}");
    }
}

#[test]
fn a_lock_is_read_as_pip_writes_it() {
    let hash = Digest::of(b"x").to_string();
    let text = format!(
        "# made by uv\nPy_YAML==6.0.2 \\\n    --hash={hash} \\\n    --hash={hash}\n    # via me\ncolorama==0.4.6 ; sys_platform == 'win32' --hash={hash}\npsycopg[binary]==3.2.1 --hash={hash}\n"
    );
    let lock = Lock::parse("requirements.lock", &text).expect("no faults");
    let names: Vec<(&str, usize, usize, bool)> = lock
        .entries
        .iter()
        .map(|entry| {
            (
                entry.name.as_str(),
                entry.line,
                entry.hashes.len(),
                entry.marker.is_some(),
            )
        })
        .collect();
    assert_eq!(
        names,
        [
            ("py-yaml", 2, 2, false),
            ("colorama", 6, 1, true),
            ("psycopg", 7, 1, false)
        ]
    );
}

#[test]
fn every_line_that_locks_nothing_is_told() {
    let hash = Digest::of(b"x").to_string();
    let text = format!(
        "requests>=2\nrequests\nhttpx==0.27.0\n-r other.txt\n--index-url=https://x\na @ https://x/a.whl\ngit+https://x/a\n./a\nb==1.* --hash={hash}\nc==1 --hash=md5:abc\nd==1 --global-option=x --hash={hash}\ne==1 --hash={hash}\nE==1 --hash={hash}\n==1 --hash={hash}\n"
    );
    insta::assert_snapshot!(told(Lock::parse("requirements.lock", &text)));
}

#[test]
fn dependencies_are_denied_unless_they_are_listed() {
    let allowed = AllowedDependencies::parse(
        "dependencies.toml",
        "Py_YAML = \">=6,<7\"\nanything = \"\"\n",
    )
    .expect("no faults");
    let version = |text: &str| text.parse().expect("a version");
    assert_eq!(
        allowed.allows("py-yaml", &version("6.0.2")),
        Allowance::Allowed
    );
    assert_eq!(
        allowed.allows("py.yaml", &version("7.0")),
        Allowance::OutOfRange(">=6, <7".to_owned())
    );
    assert_eq!(
        allowed.allows("requests", &version("2.0")),
        Allowance::NotListed
    );
    assert_eq!(
        allowed.allows("anything", &version("0.1")),
        Allowance::Allowed
    );
    assert!(
        AllowedDependencies::read(std::path::Path::new("/nonexistent/dependencies.toml"))
            .expect("nothing")
            .is_empty()
    );
}

#[test]
fn every_fault_of_dependencies_toml_is_told() {
    let wrong = AllowedDependencies::parse(
        "dependencies.toml",
        "a = 1\nb = \"latest\"\nc_c = \">=1\"\nc-c = \">=1\"\n[d]\ne = 1\n",
    );
    insta::assert_snapshot!(
        [
            told(wrong),
            told(AllowedDependencies::parse("dependencies.toml", "a = >=1"))
        ]
        .join("\n---\n")
    );
}

#[test]
fn the_typed_config_is_generated() {
    let manifest = Manifest::parse("connector.yaml", SHOP).expect("no faults");
    insta::assert_snapshot!(generate_config(&manifest.title, &manifest.config));
    let all = serde_json::json!({
        "type": "object",
        "required": ["name", "network", "mode"],
        "properties": {
            "name": {"type": "string", "title": "A \"name\" \\ with quotes"},
            "count": {"type": "integer", "default": 3},
            "share": {"type": "number"},
            "on": {"type": "boolean", "default": true},
            "maybe": {"type": ["string", "null"]},
            "mode": {"enum": ["fast", "safe"], "default": "safe"},
            "tags": {"type": "array", "items": {"type": "string"}, "default": ["a", "b"]},
            "network": {"type": "object", "title": "Network", "properties": {"port": {"$ref": "#/$defs/port"}, "tls": {"type": "object", "properties": {"key": {"type": "string", "secret": true}}}}},
            "tables": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
            "labels": {"type": "object"},
            "class": {"type": "string"},
            "any": {}
        },
        "$defs": {"port": {"type": "integer", "title": "Port"}}
    });
    insta::assert_snapshot!(generate_config("Everything", &all));
}

/// A connector.yaml with one object that may hold itself.
fn recursive(property: &str) -> String {
    format!(
        "name: tree\nversion: 1.0.0\ntitle: Tree\nentrypoint: tree:Tree\ncapabilities: [read.full]\n\
         form: [{{ group: All, fields: [node] }}]\nconfig:\n  type: object\n  properties:\n    \
         node: {property}\n  $defs:\n    \
         node: {{ type: object, properties: {{ n: {{ type: integer, default: 1 }}, child: {property}, more: {{ type: array, items: {property} }} }} }}\n"
    )
}

#[test]
fn defaults_without_end_are_a_fault_and_not_the_end_of_the_daemon() {
    let text = recursive("{ $ref: \"#/$defs/node\", default: {} }");
    assert_eq!(
        told(Manifest::parse("connector.yaml", &text)),
        "connector.yaml:12:90: config.$defs.node.properties.child.$ref: the schema refers to itself, and config schemas cannot; write out as many levels as a config may have, or declare the inner part `type: object` without properties"
    );
    // Each level asks for two of the next: few lines, and more defaults than memory.
    let levels: String = (0..40)
        .map(|level| {
            let next = format!("{{ $ref: \"#/$defs/l{}\", default: {{}} }}", level + 1);
            format!("    l{level}: {{ type: object, properties: {{ a: {next}, b: {next} }} }}\n")
        })
        .collect();
    let text = recursive("{ $ref: \"#/$defs/l0\", default: {} }") + &levels + "    l40: {}\n";
    assert_eq!(
        told(Manifest::parse("connector.yaml", &text)),
        "connector.yaml:44:51: config.$defs.l31.properties.a.$ref: too many definitions that lead to one another; refer to the last one directly"
    );
    // A schema that is no manifest's was not measured: then it is the connection's fault.
    let schema = ConfigSchema::new(json!({
        "type": "object",
        "properties": {"node": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node", "default": {}}}}}
    }))
    .expect("compiles");
    let config = Document::from_value("config", json!({"node": {}}));
    assert!(told(schema.check(&config)).contains("have no end"));
}

#[test]
fn a_config_schema_may_name_its_dialect_and_no_other() {
    let of =
        |dialect: &str| SHOP.replace("config:\n", &format!("config:\n  $schema: \"{dialect}\"\n"));
    let ours = "https://json-schema.org/draft/2020-12/schema";
    for dialect in [ours, "https://json-schema.org/draft/2020-12/schema#"] {
        Manifest::parse("connector.yaml", &of(dialect)).expect(dialect);
    }
    let told = told(Manifest::parse(
        "connector.yaml",
        &of("http://json-schema.org/draft-07/schema#"),
    ));
    assert!(
        told.contains("config.$schema: not the dialect of config schemas; leave it out, or write https://json-schema.org/draft/2020-12/schema"),
        "{told}"
    );
}

#[test]
fn a_short_schema_makes_no_endless_file() {
    let levels = (0..40).map(|level| {
        let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
        (
            format!("l{level}"),
            json!({"type": "object", "properties": {"a": next, "b": next}}),
        )
    });
    let config = json!({
        "type": "object",
        "properties": {"top": {"$ref": "#/$defs/l0"}},
        "$defs": levels.collect::<serde_json::Map<_, _>>()
    });
    let source = generate_config("Wide", &config);
    assert!(source.len() < 1 << 20, "{} bytes", source.len());
}
