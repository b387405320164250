//! Every message with which a policy file is refused, in one reviewed snapshot: the wording is an interface.

use caisson_egress::Policy;

/// One file per entry: what is wrong, and the text below `format: 1` and `connector: shop`.
const FILES: &[(&str, &str)] = &[
    ("unknown-key", "speed: fast\negres: []\n"),
    ("signer", "signer: ops@example.com\n"),
    ("versions", "versions: latest\n"),
    ("digest", "digest: abc\n"),
    ("workspace", "workspace: [a, b]\n"),
    ("profile", "profile: lax\n"),
    ("egress-shape", "egress: api.example.com\n"),
    ("rule-empty", "egress:\n  - {}\n"),
    (
        "rule-unknown-key",
        "egress:\n  - { hosts: [a.com], ports: [443], protocol: tls }\n",
    ),
    (
        "http",
        "egress:\n\
         \x20 - { host: a.com, ports: [443], protocol: tls, http: { methods: [GET] }, rate: { burst: 5 }, on_429: retry }\n\
         \x20 - { host: a.com, ports: [443], protocol: https, http: { methods: [get, CONNECT], verbs: [GET], paths: v1, websocket: maybe } }\n\
         \x20 - { host: a.com, ports: [443], protocol: https, http: { methods: [], paths: [v1/**, '/v1?x=1', /v1/a**, /v1/../a, '/a b', 5] } }\n\
         \x20 - { host: 10.1.2.3, networks: [10.1.2.0/24], ports: [443], protocol: https }\n",
    ),
    (
        "rate",
        "egress:\n\
         \x20 - { host: a.com, ports: [443], protocol: https, rate: { per_second: 0, burst: 0, concurrency: many, per_minute: 5 } }\n\
         \x20 - { host: a.com, ports: [443], protocol: https, rate: {} }\n\
         \x20 - { host: a.com, ports: [443], protocol: https, rate: 25, on_429: wait }\n",
    ),
    (
        "protocol",
        "egress:\n  - { host: a.com, ports: [443], protocol: udp }\n",
    ),
    (
        "hosts",
        "egress:\n\
         \x20 - { host: 'https://a.com', ports: [443], protocol: tls }\n\
         \x20 - { host: 'a.com:443', ports: [443], protocol: tls }\n\
         \x20 - { host: '*', ports: [443], protocol: tls }\n\
         \x20 - { host: '*.*.com', ports: [443], protocol: tls }\n\
         \x20 - { host: 'a..com', ports: [443], protocol: tls }\n\
         \x20 - { host: '', ports: [443], protocol: tls }\n\
         \x20 - { host: 'münchen.example', ports: [443], protocol: tls }\n\
         \x20 - { host: '127.1', ports: [443], protocol: tcp }\n\
         \x20 - { host: '-a.com', ports: [443], protocol: tls }\n\
         \x20 - { host: \"evil\\0.a.com\", ports: [443], protocol: tls }\n\
         \x20 - { host: 5, ports: [443], protocol: tls }\n",
    ),
    (
        "addresses",
        "egress:\n\
         \x20 - { host: 10.1.2.3, ports: [443], protocol: tcp }\n\
         \x20 - { host: 10.1.2.3, networks: [10.1.2.0/24], ports: [443], protocol: tls }\n\
         \x20 - { host: 169.254.169.254, networks: [169.254.0.0/16], ports: [80], protocol: tcp }\n\
         \x20 - { host: metadata.google.internal, ports: [80], protocol: tcp }\n\
         \x20 - { host: localhost, ports: [80], protocol: tcp }\n\
         \x20 - { networks: [10.0.0.0/8], ports: [443], protocol: tls }\n",
    ),
    (
        "networks",
        "egress:\n  - { host: a.com, ports: [443], protocol: tcp, \
         networks: [10.1.2.3, 10.1.2.3/8, ten, '::ffff:10.0.0.0/104', 169.254.169.254/32, 0.0.0.0/32, 7] }\n",
    ),
    (
        "templates",
        "egress:\n\
         \x20 - { host: '${config.host}', ports: [443], protocol: tls }\n\
         \x20 - { host: '${config.shop}.example.com', ports: [443], protocol: tls }\n\
         \x20 - { host: '${env.HOST}', within: [a.com], ports: [443], protocol: tls }\n\
         \x20 - { host: '${config.host', within: [a.com], ports: [443], protocol: tls }\n\
         \x20 - { host: '${config.host}', within: ['*', 'a.com/x', 'b c'], ports: [443], protocol: tls }\n\
         \x20 - { host: a.com, within: [a.com], ports: [443], protocol: tls }\n",
    ),
    (
        "ports",
        "egress:\n\
         \x20 - { host: a.com, ports: [], protocol: tls }\n\
         \x20 - { host: a.com, ports: [0, 65536, 53, https], protocol: tls }\n\
         \x20 - { host: a.com, ports: 443, protocol: tls }\n\
         \x20 - { host: a.com, ports: '${config.port}', protocol: tls }\n\
         \x20 - { host: a.com, ports: ['${config.port}'], within_ports: [9-1, '0-5', x], protocol: tls }\n\
         \x20 - { host: a.com, ports: [443], within_ports: [443], protocol: tls }\n",
    ),
    (
        "secrets",
        "secrets:\n\
         \x20 api_key: { from: ['file:shop'], seal: { hosts: [a.com] } }\n\
         \x20 token: { from: ['file:shop'] }\n\
         \x20 empty: { from: [], reveal: true }\n\
         \x20 plain: { from: ['sesame', 'env:HOME'], reveal: true }\n\
         \x20 shape: file:shop\n\
         \x20 odd: { from: ['file:a'], reveal: perhaps }\n",
    ),
    (
        "oauth2",
        "egress: [{ host: a.com, ports: [443], protocol: https }]\n\
         secrets:\n\
         \x20 a: { from: ['file:a'], seal: { hosts: [a.com] }, oauth2: { grant: password, token_url: http://a.com/token } }\n\
         \x20 b: { from: ['file:a'], seal: { hosts: [a.com] }, oauth2: { grant: client_credentials, token_url: a.com, client_secret: c, client_auth: none, rotates: false } }\n\
         \x20 c: { from: ['file:a'], seal: { hosts: [a.com] }, oauth2: { grant: refresh_token, token_url: 'https://a.com/t', client_secret: nowhere, issuer: x, algorithm: RS256 } }\n\
         \x20 d: { from: ['file:a'], seal: { hosts: [a.com] }, oauth2: { grant: jwt_bearer, token_url: 'https://a.com/t', client_id: { name: id }, params: { scope: x, assertion: y, audience: 5 } } }\n\
         \x20 e: { from: ['file:a'], reveal: true, oauth2: { grant: refresh_token, token_url: 'https://a.com/t' } }\n\
         \x20 f: { from: ['file:a'], oauth2: { grant: refresh_token, token_url: 'https://a.com/t', client_secret: b, client_auth: sign } }\n",
    ),
    (
        "client-keys",
        "egress:\n\
         \x20 - { host: a.com, ports: [443], protocol: https }\n\
         \x20 - { host: db.com, ports: ['${config.port}'], within_ports: [5432-5439], protocol: postgres }\n\
         \x20 - { host: 10.1.2.3, networks: [10.1.2.0/24], ports: [5432], protocol: postgres }\n\
         \x20 - { host: b.com, ports: [443], protocol: tls, rate: { per_second: 1 } }\n\
         secrets:\n\
         \x20 a: { from: ['file:a'], seal: { hosts: [a.com], place: client_key, certificate: chain, methods: [GET], paths: [/v1] } }\n\
         \x20 b: { from: ['file:b'], seal: { hosts: [b.com, db.com], place: client_key, certificate: '' } }\n\
         \x20 c: { from: ['file:c'], seal: { hosts: ['*.com'], place: client_key, certificate: c } }\n\
         \x20 d: { from: ['file:d'], seal: { hosts: [a.com], certificate: tls/chain } }\n\
         \x20 e: { from: ['file:e'], seal: { hosts: [db.com], ports: [5433], place: client_key, certificate: tls/chain } }\n\
         \x20 f: { from: ['file:f'], seal: { hosts: [db.com], ports: [5433], place: clientkey, certificate: 5 } }\n",
    ),
    (
        "files",
        "files:\n\
         \x20 - { dir: data, access: read }\n\
         \x20 - { dir: /srv/../etc, access: read }\n\
         \x20 - { dir: '${config.dir}', access: write }\n\
         \x20 - { dir: /srv/lake, within: [/srv/other], access: write }\n\
         \x20 - { dir: '${config.dir}', within: [lake], access: append }\n\
         \x20 - /srv/lake\n",
    ),
    (
        "limits",
        "limits: { memory: 256MB, tmp: 1, cpu: 0, duration: 2 hours, pids: 0, open_files: many, disk: 1GiB }\n",
    ),
];

#[test]
fn every_refusal_says_where_and_what_to_write_instead() {
    let mut said = String::new();
    for (name, text) in FILES {
        let file = format!("{name}.yaml");
        let faults = match Policy::parse(&file, &format!("format: 1\nconnector: shop\n{text}")) {
            Ok(_) => panic!("{file} was accepted"),
            Err(faults) => faults,
        };
        said.push_str(&format!("{faults}\n\n"));
    }
    for (file, text) in [
        ("empty.yaml", ""),
        ("list.yaml", "- format: 1\n"),
        ("syntax.yaml", "format: 1\nconnector: [shop\n"),
        (
            "unquoted.yaml",
            "format: 1\nconnector: a\nfiles: [{ dir: ${config.dir}, within: [/srv/lake], access: write }]\n",
        ),
        ("twice.yaml", "format: 1\nconnector: a\nconnector: b\n"),
        ("format.yaml", "format: 2\nconnector: Shop!\n"),
    ] {
        said.push_str(&format!("{}\n\n", Policy::parse(file, text).unwrap_err()));
    }
    insta::assert_snapshot!(said.trim_end());
}

#[test]
fn more_than_sixty_four_ports_are_refused() {
    let ports: Vec<_> = (1000..1065).map(|port| port.to_string()).collect();
    let text = format!(
        "format: 1\nconnector: shop\negress:\n  - {{ host: a.com, ports: [{}], protocol: tcp }}\n",
        ports.join(", ")
    );
    let faults = Policy::parse("p.yaml", &text).unwrap_err().to_string();
    assert_eq!(
        faults,
        "p.yaml:3:1: egress: the rules name 65 ports; each is a listener in every worker; name at most 64"
    );
}

#[test]
fn the_example_policies_are_accepted() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/policies");
    let checked = caisson_egress::check(&dir).unwrap();
    assert!(checked.policies.len() >= 3, "{checked:?}");
}
