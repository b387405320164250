//! What needs no daemon.

use super::{code, run, said};

#[test]
fn arguments_that_do_not_go_together_exit_with_two() {
    let home = tempfile::tempdir().expect("a folder");
    for args in [
        &["read"][..],
        &["read", "--nonsense"],
        &["read", "--path", "nowhere"],
        &["read", "nowhere.yaml"],
        &["serve", "--allow-missing=seccomp"],
        &["policy", "learn"],
        &["new", "Not A Name"],
    ] {
        let output = run(home.path(), args);
        assert_eq!(code(&output), 2, "{args:?}: {}", said(&output));
        assert!(output.stdout.is_empty(), "{args:?} printed data");
    }
}

#[test]
fn a_server_that_is_not_there_exits_with_two_and_says_where_it_looked() {
    let home = tempfile::tempdir().expect("a folder");
    let output = run(
        home.path(),
        &["connectors", "--server", "unix:/nonexistent/caisson.sock"],
    );
    assert_eq!(code(&output), 2);
    assert!(
        said(&output).contains("no daemon at unix:/nonexistent/caisson.sock"),
        "{}",
        said(&output)
    );
}

#[test]
fn every_fault_of_both_connection_files_of_a_sync_is_reported_at_once() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(
        home.path().join("a.yaml"),
        "connectr: shop@1.0.0\nconfig: 3\n",
    )
    .expect("written");
    std::fs::write(
        home.path().join("b.yaml"),
        "connector: shop\nstreams: [x]\n",
    )
    .expect("written");
    let output = run(home.path(), &["sync", "a.yaml", "b.yaml"]);
    assert_eq!(code(&output), 3);
    let said = said(&output);
    for place in ["a.yaml:1:1", "a.yaml:2:9", "b.yaml:1:12", "b.yaml:2:"] {
        assert!(said.contains(place), "{place} is missing in:\n{said}");
    }
}

#[test]
fn a_policy_folder_is_checked_without_a_daemon() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(home.path().join("policies")).expect("made");
    let file = home.path().join("policies/shop.yaml");
    std::fs::write(&file, "format: 1\nconnector: shop\negress:\n  - {host: api.example.com, ports: [443], protocol: tls}\n").expect("written");
    let output = run(home.path(), &["policy", "check", "policies"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("api.example.com"));
    std::fs::write(
        &file,
        "format: 1\nconnector: shop\negress:\n  - {host: api.example.com, ports: [0], rate: {}}\n",
    )
    .expect("written");
    let output = run(home.path(), &["policy", "check", "policies"]);
    assert_eq!(code(&output), 3);
    assert!(said(&output).contains("shop.yaml:4:"), "{}", said(&output));
}

const LOG: &str = r#"{"time":"2026-11-27T10:00:00.000Z","event":"request","call":"c","connector":"shop@1.0.0","name":"api.example.com","address":"93.184.215.14","port":443,"protocol":"https","method":"GET","path":"/v1/orders/17"}
{"time":"2026-11-27T10:00:01.000Z","event":"refused","call":"c","connector":"shop@1.0.0","name":"evil.example.com","port":443,"protocol":"tcp","reason":"name_not_allowed","times":2}
"#;

#[test]
fn a_policy_is_learned_from_a_log_and_allows_what_is_in_it() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("audit.jsonl"), LOG).expect("written");
    std::fs::create_dir(home.path().join("policies")).expect("made");
    let learned = run(home.path(), &["policy", "learn", "audit.jsonl"]);
    assert_eq!(code(&learned), 0, "{}", said(&learned));
    let text = String::from_utf8_lossy(&learned.stdout);
    assert!(
        text.contains("paths: [\"/v1/orders/*\"]") && text.contains("# evil.example.com port 443"),
        "{text}"
    );
    std::fs::write(home.path().join("policies/shop.yaml"), &learned.stdout).expect("written");
    let checked = run(
        home.path(),
        &[
            "policy",
            "check",
            "policies",
            "--audit",
            "audit.jsonl",
            "--strict",
        ],
    );
    assert_eq!(code(&checked), 0, "{}", said(&checked));
    std::fs::write(home.path().join("none.jsonl"), "hello\n").expect("written");
    let refused = run(home.path(), &["policy", "learn", "none.jsonl"]);
    assert_ne!(code(&refused), 0);
    assert!(
        said(&refused).contains("none.jsonl:1"),
        "{}",
        said(&refused)
    );
}

#[test]
fn a_log_of_several_workspaces_is_learned_from_where_one_is_named() {
    let home = tempfile::tempdir().expect("a folder");
    let line = |workspace: &str, path: &str| {
        format!(
            r#"{{"time":"2026-11-27T10:00:00Z","event":"request","connector":"shop@1.0.0","workspace":"{workspace}","name":"{workspace}.example.com","port":443,"protocol":"https","method":"GET","path":"{path}"}}"#
        )
    };
    let log = [line("production", "/v1"), line("dev", "/wide")].join("\n");
    std::fs::write(home.path().join("audit.jsonl"), log).expect("written");
    let refused = run(home.path(), &["policy", "learn", "audit.jsonl"]);
    assert_ne!(code(&refused), 0);
    assert!(
        said(&refused).contains("several workspaces (dev, production); name one with --workspace"),
        "{}",
        said(&refused)
    );
    let words = [
        "policy",
        "learn",
        "audit.jsonl",
        "--workspace",
        "production",
    ];
    let learned = run(home.path(), &words);
    assert_eq!(code(&learned), 0, "{}", said(&learned));
    let text = String::from_utf8_lossy(&learned.stdout);
    assert!(
        text.contains("in workspace production") && !text.contains("/wide"),
        "{text}"
    );
    std::fs::create_dir(home.path().join("policies")).expect("made");
    std::fs::write(home.path().join("policies/shop.yaml"), &learned.stdout).expect("written");
    for (workspace, expected) in [("production", 0), ("dev", 1)] {
        let words = [
            "policy",
            "check",
            "policies",
            "--strict",
            "--audit",
            "audit.jsonl",
        ];
        let checked = run(
            home.path(),
            &[&words[..], &["--workspace", workspace]].concat(),
        );
        assert_eq!(code(&checked), expected, "{}", said(&checked));
    }
}

#[test]
fn warnings_of_a_policy_are_findings_where_the_user_is_strict() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(home.path().join("policies")).expect("made");
    let policy = "format: 1\nconnector: shop\negress:\n  - { host: '*.co.uk', ports: [443], protocol: tls }\n";
    std::fs::write(home.path().join("policies/shop.yaml"), policy).expect("written");
    let checked = run(home.path(), &["policy", "check", "policies"]);
    assert_eq!(code(&checked), 0);
    let text = String::from_utf8_lossy(&checked.stdout);
    assert!(
        text.contains("warning: ")
            && text.contains("shop.yaml:4:5")
            && text.contains("public suffix"),
        "{text}"
    );
    assert_eq!(
        code(&run(
            home.path(),
            &["policy", "check", "policies", "--strict"]
        )),
        1
    );
}

#[test]
fn what_is_declared_allowed_and_seen_is_compared_place_by_place() {
    let home = tempfile::tempdir().expect("a folder");
    let write =
        |name: &str, text: &str| std::fs::write(home.path().join(name), text).expect("written");
    write("audit.jsonl", LOG);
    write(
        "connector.yaml",
        "name: shop\nversion: 1.0.0\ntitle: Shop\npython: \">=3.11\"\nentrypoint: a:B\ncapabilities: [test]\nconfig: { type: object, properties: {} }\nform: []\n\
         egress:\n  - { host: api.example.com, ports: [443], protocol: https }\ndependencies: requirements.lock\n",
    );
    let policy = |protocol: &str| {
        write(
            "shop.yaml",
            &format!(
                "format: 1\nconnector: shop\negress:\n  - {{ host: api.example.com, ports: [443], protocol: {protocol} }}\n"
            ),
        );
    };
    policy("https");
    let words = [
        "policy",
        "diff",
        "--declared",
        "connector.yaml",
        "--policy",
        "shop.yaml",
    ];
    let alike = run(home.path(), &words);
    assert_eq!(code(&alike), 0, "{}", said(&alike));
    policy("tls");
    let differs = run(
        home.path(),
        &[&words[..], &["--observed", "audit.jsonl", "--json"]].concat(),
    );
    assert_eq!(code(&differs), 1, "{}", said(&differs));
    let text = String::from_utf8_lossy(&differs.stdout);
    assert!(
        text.contains("\"allowed\":\"tls by shop.yaml:4\"") && text.contains("\"refused\":2"),
        "{text}"
    );
}

#[test]
fn a_state_file_that_is_none_is_refused_with_its_line() {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("c.yaml"), "connector: shop@1.0.0\n").expect("written");
    std::fs::write(
        home.path().join("s.json"),
        "{\"format\": 1,\n \"checkpoints\": {}}",
    )
    .expect("written");
    let output = run(home.path(), &["read", "c.yaml", "--state", "s.json"]);
    assert_eq!(code(&output), 3);
    assert!(said(&output).contains("s.json:2:"), "{}", said(&output));
}

#[test]
fn what_no_worker_can_name_is_no_question_for_explain() {
    let home = tempfile::tempdir().expect("a folder");
    for (to, told) in [
        ("api.example.com", "write HOST:PORT"),
        ("api.example.com:+443", "write HOST:PORT"),
        ("api.example.com:0", "write HOST:PORT"),
        (
            "[api.example.com]:443",
            "without scheme, port, zone or brackets",
        ),
        ("2130706433:443", "may be read as an address"),
        ("münchen.example:443", "punycode"),
    ] {
        let output = run(home.path(), &["policy", "explain", "shop.yaml", "--to", to]);
        assert_eq!(code(&output), 2, "{to}: {}", said(&output));
        assert!(said(&output).contains(told), "{to}: {}", said(&output));
    }
}
