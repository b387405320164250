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
