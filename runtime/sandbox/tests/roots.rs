//! Root certificates: a worker sees those that it was given, under every name, and in place of its bundle's own.

mod support;

use std::fs;
use std::path::Path;

use caisson_sandbox::{LaunchError, Overlay};
use serde_json::json;
use support::{Bench, as_each_user, open_to_all};

/// What the worker's own bundle holds, and what it is given.
fn lay_out(bench: &Bench) -> std::path::PathBuf {
    let deps = bench.bundle.join("deps/certifi");
    fs::create_dir_all(&deps).expect("a directory");
    fs::write(deps.join("cacert.pem"), "its own").expect("a file");
    fs::write(deps.join("client.pem"), "a client's").expect("a file");
    // As the daemon has them: in a directory that others may enter and not list.
    let roots = bench.dir.path().join("roots");
    fs::create_dir(&roots).expect("a directory");
    open_to_all(&roots);
    fs::write(roots.join("system.pem"), "the system's").expect("a file");
    fs::write(roots.join("0.pem"), "its own and one more").expect("a file");
    roots
}

fn overlay(from: &Path, at: &str) -> Overlay {
    Overlay {
        from: from.to_owned(),
        at: at.into(),
    }
}

#[test]
fn a_worker_sees_the_roots_that_it_was_given_and_can_change_none() {
    let name = "a_worker_sees_the_roots_that_it_was_given_and_can_change_none";
    as_each_user(name, |bench| async move {
        let roots = lay_out(&bench);
        let mut spec = bench.spec();
        spec.roots = Some(roots.join("system.pem"));
        spec.overlays = vec![overlay(&roots.join("0.pem"), "deps/certifi/cacert.pem")];
        let source = "
lock()
deps = '/caisson/bundle/deps/certifi/'
names = ['/etc/ssl/certs/ca-certificates.crt', '/etc/ssl/cert.pem', '/etc/pki/tls/certs/ca-bundle.crt', os.environ['SSL_CERT_FILE']]
def write(path): open(path, 'a')
say([[open(name).read() for name in names], open(deps + 'cacert.pem').read(), open(deps + 'client.pem').read(), sorted(os.listdir(deps)), {attempt(write, name) for name in [*names, deps + 'cacert.pem']} <= {'EACCES', 'EROFS'}, attempt(os.unlink, deps + 'cacert.pem')])";
        let system = vec!["the system's"; 4];
        assert_eq!(
            bench.run_spec(spec, source).await.json(),
            json!([
                system,
                "its own and one more",
                "a client's",
                ["cacert.pem", "client.pem"],
                true,
                "EROFS"
            ])
        );
        let kept = fs::read_to_string(bench.bundle.join("deps/certifi/cacert.pem"));
        assert_eq!(kept.expect("a file"), "its own");
    });
}

#[test]
fn a_worker_that_is_given_none_sees_the_hosts_under_every_name() {
    let name = "a_worker_that_is_given_none_sees_the_hosts_under_every_name";
    as_each_user(name, |bench| async move {
        let source = "
import ssl
say([len(ssl.create_default_context(cafile=name).get_ca_certs()) > 10 for name in ['/etc/ssl/certs/ca-certificates.crt', '/etc/ssl/cert.pem', '/etc/pki/tls/certs/ca-bundle.crt']])";
        assert_eq!(bench.run(source).await.json(), json!([true, true, true]));
    });
}

#[test]
fn what_stands_in_for_nothing_makes_no_worker() {
    let name = "what_stands_in_for_nothing_makes_no_worker";
    as_each_user(name, |bench| async move {
        let roots = lay_out(&bench);
        let mut spec = bench.spec();
        spec.overlays = vec![overlay(&roots.join("0.pem"), "deps/nobody/cacert.pem")];
        let program = caisson_sandbox::Program::Python("print(1)".into());
        let refused = bench.launcher.launch_program(spec, program).await;
        let Err(LaunchError::MissingLayer { detail, .. }) = refused.map(drop) else {
            panic!("it was made")
        };
        assert!(detail.contains("deps/nobody/cacert.pem"), "{detail}");
    });
}
