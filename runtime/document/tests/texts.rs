//! Texts that are documents, texts that are none, and where things stand in them.

use caisson_document::{Document, Faults, MAX_BYTES, Mark};
use proptest::prelude::*;
use serde_json::{Value, json};

fn faults(file: &str, text: &str) -> String {
    match Document::parse(file, text) {
        Ok(document) => format!("accepted as {}", document.value()),
        Err(faults) => faults.to_string(),
    }
}

fn mark(line: usize, column: usize) -> Option<Mark> {
    Some(Mark { line, column })
}

#[test]
fn every_key_and_value_of_yaml_knows_its_place() {
    let document = Document::parse("a.yaml", "a: 1\nb:\n  - x\n  - {c: y}\n").expect("parses");
    assert_eq!(document.value(), &json!({"a": 1, "b": ["x", {"c": "y"}]}));
    assert_eq!(document.mark("/a"), mark(1, 4));
    assert_eq!(document.key_mark("/a"), mark(1, 1));
    assert_eq!(document.mark("/b"), mark(2, 1));
    assert_eq!(document.mark("/b/0"), mark(3, 5));
    assert_eq!(document.mark("/b/1/c"), mark(4, 9));
    assert_eq!(document.key_mark("/b/1/c"), mark(4, 6));
    assert_eq!(document.mark("/b/1/missing/deeper"), mark(4, 5));
}

#[test]
fn every_key_and_value_of_json_knows_its_place() {
    let text = "{\n  \"a\": [1, {\"b\\u00e9\": \"\\ud83d\\ude00\"}],\n  \"c\": -1.5e3\n}";
    let document = Document::parse("a.json", text).expect("parses");
    assert_eq!(
        document.value(),
        &json!({"a": [1, {"bé": "😀"}], "c": -1500.0})
    );
    assert_eq!(document.mark("/a/0"), mark(2, 9));
    assert_eq!(document.key_mark("/a/1/bé"), mark(2, 13));
    assert_eq!(document.mark("/c"), mark(3, 8));
}

#[test]
fn a_document_that_came_as_data_has_paths_and_no_lines() {
    let document = Document::from_value("config", json!({"a": {"b": 1}}));
    assert_eq!(
        document.fault("/a/b", "wrong", "mend it").to_string(),
        "config: a.b: wrong; mend it"
    );
}

#[test]
fn a_part_of_a_document_keeps_its_places() {
    let document = Document::parse("a.yaml", "x: 1\nconfig:\n  a: 1\n").expect("parses");
    let part = document.part("/config");
    assert_eq!(part.value(), &json!({"a": 1}));
    assert_eq!(part.mark("/a"), mark(3, 6));
}

#[test]
fn a_value_that_does_not_fit_a_type_is_named_by_place_and_not_shown() {
    let document = Document::parse("a.yaml", "a:\n  - 1\n  - hunter2\n").expect("parses");
    let fault = document
        .get::<std::collections::BTreeMap<String, Vec<u8>>>("")
        .expect_err("no number");
    assert_eq!(fault.to_string(), "a.yaml:3:5: a[1]: expected u8");
}

#[test]
fn every_refusal_of_a_text_is_as_it_was_reviewed() {
    let nested = "[".repeat(200) + &"]".repeat(200);
    let nested_json = format!("{{\"a\": {nested}}}");
    let too_many = format!("[{}]", "1,".repeat(100_001));
    let laughs = "a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let cases: &[(&str, &str, &str)] = &[
        ("duplicate key", "a.yaml", "a: 1\nb: 2\na: 3\n"),
        ("two duplicates", "a.yaml", "a: 1\na: 2\nb: {c: 1, c: 2}\n"),
        ("duplicate key in JSON", "a.json", "{\"a\": 1,\n \"a\": 2}"),
        ("second document", "a.yaml", "a: 1\n---\nb: 2\n"),
        ("unclosed list", "a.yaml", "a: [1, 2\nb: 3\n"),
        ("tab as indentation", "a.yaml", "a:\n\tb: 1\n"),
        ("bad indentation", "a.yaml", "a:\n  b: 1\n c: 2\n"),
        ("key that is a number", "a.yaml", "1: a\n"),
        ("key that is a list", "a.yaml", "? [a]\n: b\n"),
        ("merge key", "a.yaml", "a: &x {b: 1}\nc:\n  <<: *x\n"),
        ("unknown tag", "a.yaml", "a: !python/object:os.system x\n"),
        ("unknown tag of a list", "a.yaml", "a: !!set [x]\n"),
        ("tag that does not fit", "a.yaml", "a: !!int x\n"),
        ("not a number", "a.yaml", "a: .nan\n"),
        ("integer too large", "a.yaml", "a: 99999999999999999999\n"),
        ("alias inside its anchor", "a.yaml", "a: &a [*a]\n"),
        ("unknown alias", "a.yaml", "a: *b\n"),
        ("aliases of aliases", "a.yaml", laughs),
        ("deep YAML", "a.yaml", &nested),
        ("deep JSON", "a.json", &nested_json),
        ("too many values", "a.yaml", &too_many),
        ("broken JSON", "a.json", "{\"a\": 1,}"),
        ("JSON number out of range", "a.json", "{\"a\": 1e999}"),
        ("empty JSON", "a.json", ""),
        ("empty YAML", "a.yaml", ""),
        ("aliases", "a.yaml", "a: &x [1]\nb: *x\n"),
        (
            "tags",
            "a.yaml",
            "a: !!str 1\nb: ! 2\nc: !!float 3\nd: !!bool true\n",
        ),
        (
            "quoted scalars",
            "a.yaml",
            "a: '1'\nb: \"true\"\nc: |\n  text\n",
        ),
    ];
    let text: String = cases
        .iter()
        .map(|(name, file, text)| {
            format!(
                "{name}\n    {}\n",
                faults(file, text).replace('\n', "\n    ")
            )
        })
        .collect();
    insta::assert_snapshot!(text);
}

#[test]
fn a_text_that_nests_without_end_is_refused_and_ends_no_process() {
    // A thread of the daemon has 2 MiB of stack.
    for (text, word) in [
        ("- ".repeat(500_000), "nested deeper"),
        ("? ".repeat(500_000), "a key must be a string"),
        ("[".repeat(500_000), "recursion limit"),
        ("{a: ".repeat(200_000), "recursion limit"),
    ] {
        let said = std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(move || faults("a.yaml", &text))
            .expect("starts")
            .join()
            .expect("ends");
        assert!(said.contains(word), "{said:.200}");
    }
}

#[test]
fn a_text_cannot_fill_the_memory_through_long_keys_or_long_anchors() {
    let long = "k".repeat(500_000);
    let key = format!("{{\"{long}\": [{}1]}}", "1,".repeat(90_000));
    let keys = format!(
        "{{\"{long}\": {{{}\"x\": 1}}}}",
        (0..40_000)
            .map(|n| format!("\"{n}\":1,"))
            .collect::<String>()
    );
    let anchor = format!("a: &a {long}\nb: [{}1]\n", "*a,".repeat(90_000));
    let nested = format!(
        "{}[{}1]{}",
        (0..90).map(|n| format!("&a{n} [")).collect::<String>(),
        "1,".repeat(90_000),
        "]".repeat(90)
    );
    for (file, text, word) in [
        ("a.json", key, "its keys are too long for so many values"),
        ("a.json", keys, "its keys are too long for so many values"),
        ("a.yaml", anchor, "anchors repeat too much text"),
        ("a.yaml", nested, "more than 100000 values"),
    ] {
        let said = faults(file, &text);
        assert!(said.contains(word), "{said:.200}");
    }
}

#[test]
fn a_text_that_is_too_long_or_not_utf8_is_refused() {
    let long = "#".repeat(MAX_BYTES + 1);
    assert_eq!(faults("a.yaml", &long), "a.yaml: longer than 1024 KiB");
    let bad = Document::parse_bytes("a.yaml", b"a: 1\nb: \xff").expect_err("not UTF-8");
    assert_eq!(
        bad.to_string(),
        "a.yaml:2:4: not valid UTF-8; save the file as UTF-8"
    );
}

#[test]
fn a_file_is_read_up_to_the_cap_and_no_further() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("big.yaml");
    std::fs::write(&path, vec![b'#'; MAX_BYTES + 10]).expect("written");
    assert!(Document::read(&path).is_err());
    assert!(Document::read(&dir.path().join("none.yaml")).is_err());
}

#[test]
fn faults_come_in_the_order_of_the_text_and_once() {
    let document = Document::parse("a.yaml", "a: 1\nb: 2\n").expect("parses");
    let (late, early) = (document.fault("/b", "x", ""), document.fault("/a", "y", ""));
    let Err(Faults(all)) = Faults::or(vec![late.clone(), early.clone(), late.clone()], ()) else {
        panic!("there are faults");
    };
    assert_eq!(all, vec![early, late]);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("\\PC{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_json_writes_is_read_back_the_same(value in any_json()) {
        let text = serde_json::to_string_pretty(&value).expect("serialises");
        let document = Document::parse("a.json", &text).expect("parses");
        prop_assert_eq!(document.value(), &value);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[\\[\\]{}:,&*!#|>'\"%@a-c0-9 \\n\\t-]{0,200}") {
        let _ = Document::parse("a.yaml", &text);
        let _ = Document::parse("a.json", &text);
    }
}

#[test]
fn a_fault_stands_inside_its_text_also_at_the_end_and_behind_letters_of_many_bytes() {
    let told = |file: &str, text: &str| faults(file, text);
    assert!(told("a.yaml", "é: [ü").starts_with("a.yaml:1:6: "));
    assert!(told("a.yaml", "a: 1\nb: {c").starts_with("a.yaml:2:6: "));
    assert!(told("a.json", "{\n\"é\": \"ü\" x}").starts_with("a.json:2:10: "));
    assert!(told("a.json", "{\"a\"").starts_with("a.json:1:"));
}
