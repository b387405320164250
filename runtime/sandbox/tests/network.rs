//! A network with nothing but lo: what listens is the daemon's, what does not is refused and seen.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;

use serde_json::json;
use support::as_each_user;

/// Everything that the watch has seen so far: protocol, destination port (0 where there is none).
fn seen(watch: OwnedFd) -> Vec<(u8, u16)> {
    // recv is the same call for every socket.
    let socket = UdpSocket::from(watch);
    let mut packets = Vec::new();
    let mut bytes = [0; 512];
    while let Ok(length) = socket.recv(&mut bytes) {
        let packet = &bytes[..length];
        let (protocol, header) = if packet[0] >> 4 == 4 {
            (packet[9], usize::from(packet[0] & 15) * 4)
        } else {
            (packet[6], 40)
        };
        let port = if [6, 17].contains(&protocol) {
            u16::from_be_bytes([packet[header + 2], packet[header + 3]])
        } else {
            0
        };
        packets.push((protocol, port));
    }
    packets
}

#[test]
fn every_attempt_on_an_unlisted_port_is_refused_and_seen_once() {
    as_each_user(
        "every_attempt_on_an_unlisted_port_is_refused_and_seen_once",
        |bench| async move {
            let source = "
def dial(family, address):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(5); s.connect(address)
def tell(family, address):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(5); s.connect(address); s.send(b'x'); s.recv(1)
say([attempt(dial, socket.AF_INET, ('203.0.113.9', 444)), attempt(dial, socket.AF_INET, ('127.0.0.1', 445)), attempt(dial, socket.AF_INET, ('169.254.169.254', 80)),
     attempt(dial, socket.AF_INET6, ('2a00:1450::1', 446)), attempt(dial, socket.AF_INET6, ('::1', 447)), attempt(tell, socket.AF_INET, ('8.8.8.8', 443)), attempt(tell, socket.AF_INET6, ('2001:4860:4860::8888', 5353))])";
            let mut spec = bench.spec();
            spec.tcp_ports = vec![443];
            let worker = bench.launch(spec, source).await;
            let watch = worker.sockets.watch.try_clone().expect("the watch");
            assert_eq!(
                support::finish(worker).await.json(),
                json!(vec!["ECONNREFUSED"; 7])
            );
            assert_eq!(
                seen(watch),
                [
                    (6, 444),
                    (6, 445),
                    (6, 80),
                    (6, 446),
                    (6, 447),
                    (17, 443),
                    (17, 5353)
                ]
            );
        },
    );
}

#[test]
fn a_listed_port_reaches_the_daemon_with_the_address_that_was_dialled_and_is_not_reported() {
    let name =
        "a_listed_port_reaches_the_daemon_with_the_address_that_was_dialled_and_is_not_reported";
    as_each_user(name, |bench| async move {
        let source = "
for family, address in ((socket.AF_INET, '198.18.0.7'), (socket.AF_INET6, '2a00::7')):
    s = socket.socket(family); s.connect((address, 443)); s.sendall(b'ping'); assert s.recv(4) == b'pong'
say(s.getsockname()[0])";
        let mut spec = bench.spec();
        spec.tcp_ports = vec![443, 5432];
        let mut worker = bench.launch(spec, source).await;
        assert_eq!(worker.sockets.tcp.len(), 4);
        let dialled = std::mem::take(&mut worker.sockets.tcp)
            .into_iter()
            .filter(|listener| listener.port == 443)
            .map(|listener| {
                std::thread::spawn(move || {
                    listener.socket.set_nonblocking(false).expect("blocking");
                    let (mut stream, peer) = listener.socket.accept().expect("a connection");
                    stream.set_nonblocking(false).expect("blocking");
                    let mut said = [0; 4];
                    stream.read_exact(&mut said).expect("ping");
                    stream.write_all(b"pong").expect("pong");
                    (
                        stream.local_addr().expect("an address"),
                        peer.ip().to_string(),
                    )
                })
            })
            .collect::<Vec<_>>();
        let watch = worker.sockets.watch.try_clone().expect("the watch");
        let outcome = support::finish(worker).await;
        let dialled: Vec<(SocketAddr, String)> = dialled
            .into_iter()
            .map(|t| t.join().expect("a thread"))
            .collect();
        assert_eq!(
            dialled[0],
            ("198.18.0.7:443".parse().expect("v4"), "192.0.2.2".into())
        );
        assert_eq!(
            dialled[1],
            ("[2a00::7]:443".parse().expect("v6"), "2001:db8::2".into())
        );
        assert_eq!(outcome.json(), "2001:db8::2");
        assert_eq!(seen(watch), []);
    });
}

#[test]
fn dns_reaches_the_daemon_over_udp_and_is_not_reported() {
    as_each_user(
        "dns_reaches_the_daemon_over_udp_and_is_not_reported",
        |bench| async move {
            let source = "
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', 53)); s.settimeout(5); s.send(b'question')
say(s.recv(10).decode())";
            let mut worker = bench.launch(bench.spec(), source).await;
            assert_eq!(
                (worker.sockets.dns_udp.len(), worker.sockets.dns_tcp.len()),
                (2, 2)
            );
            let socket = worker.sockets.dns_udp.remove(0);
            let watch = worker.sockets.watch.try_clone().expect("the watch");
            let answered = std::thread::spawn(move || {
                socket.set_nonblocking(false).expect("blocking");
                let mut bytes = [0; 64];
                let (length, from) = socket.recv_from(&mut bytes).expect("a question");
                assert_eq!(&bytes[..length], b"question");
                socket.send_to(b"answer", from).expect("an answer");
            });
            let outcome = support::finish(worker).await;
            answered.join().expect("a thread");
            assert_eq!(outcome.json(), "answer");
            assert_eq!(seen(watch), []);
        },
    );
}

#[test]
fn further_ports_open_in_a_living_worker_and_stop_being_reported() {
    as_each_user(
        "further_ports_open_in_a_living_worker_and_stop_being_reported",
        |bench| async move {
            let source = "
channel = socket.socket(fileno=3)
def dial(): socket.create_connection(('203.0.113.9', 5432), timeout=5)
first = attempt(dial); channel.send(b'1'); channel.recv(1)
say([first, attempt(dial)])";
            let spec = bench.spec();
            let id = spec.id;
            let worker = bench.launch(spec, source).await;
            let mut channel = worker.channel.try_clone().expect("the channel");
            let watch = worker.sockets.watch.try_clone().expect("the watch");
            let launcher = bench.launcher.clone();
            let mut byte = [0];
            tokio::task::block_in_place(|| channel.read_exact(&mut byte))
                .expect("the first attempt");
            let opened = launcher
                .open_ports(id, &[5432])
                .await
                .expect("further ports");
            assert_eq!(
                opened.iter().map(|l| (l.port, l.v6)).collect::<Vec<_>>(),
                [(5432, false), (5432, true)]
            );
            assert!(
                launcher
                    .open_ports(id, &[5432])
                    .await
                    .expect("nothing new")
                    .is_empty()
            );
            channel.write_all(b"2").expect("go on");
            assert_eq!(
                support::finish(worker).await.json(),
                json!(["ECONNREFUSED", "done"])
            );
            assert_eq!(seen(watch), [(6, 5432)]);
            let gone = launcher
                .open_ports(id, &[80])
                .await
                .expect_err("it has ended");
            assert!(
                matches!(gone, caisson_sandbox::LaunchError::UnknownWorker(_)),
                "{gone}"
            );
        },
    );
}

#[test]
fn sixty_four_ports_can_listen_and_sixty_five_cannot() {
    as_each_user(
        "sixty_four_ports_can_listen_and_sixty_five_cannot",
        |bench| async move {
            let mut spec = bench.spec();
            spec.tcp_ports = (1000..1064).collect();
            let worker = bench.launch(spec.clone(), "pass").await;
            assert_eq!(worker.sockets.tcp.len(), 128);
            spec.tcp_ports.push(2000);
            let refused = bench.launcher.launch(spec).await.expect_err("too many");
            assert!(refused.to_string().contains("at most 64"), "{refused}");
        },
    );
}

#[test]
fn neither_the_hosts_loopback_nor_its_abstract_sockets_can_be_reached() {
    as_each_user(
        "neither_the_hosts_loopback_nor_its_abstract_sockets_can_be_reached",
        |bench| async move {
            let host = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener of the host");
            let port = host.local_addr().expect("an address").port();
            let name = format!("caisson-test-{}", std::process::id());
            let address = <std::os::unix::net::SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name.as_bytes())
                .expect("a name");
            let _unix =
                std::os::unix::net::UnixListener::bind_addr(&address).expect("an abstract socket");
            let source = format!(
                "
def tcp(): socket.create_connection(('127.0.0.1', {port}), timeout=5)
def unix(): socket.socket(socket.AF_UNIX).connect('\\0{name}')
say([attempt(tcp), attempt(unix)])"
            );
            assert_eq!(
                bench.run(&source).await.json(),
                json!(["ECONNREFUSED", "ECONNREFUSED"])
            );
        },
    );
}
