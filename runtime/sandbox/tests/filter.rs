//! The strict profile in a real worker: what an attacker would try, and what connectors need. `arguments.rs` tries
//! every rule of every profile.

mod support;

use serde_json::{Value, json};
use support::as_each_user;

/// Linux numbers of x86_64, as the attempts below need them.
const NUMBERS: &str = "
NR = dict(open=2, mkdir=83, chmod=90, creat=85, fchmod=91, socket=41, socketpair=53, clone=56, fcntl=72, personality=135,
  prctl=157, ioctl=16, openat=257, mkdirat=258, fchmodat=268, prlimit64=302, execve=59, execveat=322, listen=50, bind=49, accept=43,
  memfd_create=319, clone3=435, openat2=437, fchmodat2=452, setsockopt=54, sendto=44, sendmsg=46, sendmmsg=307, symlink=88,
  link=86, mknod=133, seccomp=317, landlock_create_ruleset=444, setuid=105, setresuid=117, capset=126, vfork=58, splice=275,
  pidfd_open=434, shmget=29, msgget=68, mbind=237, inotify_init1=294, setrlimit=160, setpriority=141, mlockall=151)
def call(name, *args): return syscall(NR[name], *args)
";

#[test]
fn only_tcp_and_udp_sockets_can_be_made_and_unix_ones_only_as_a_pair_of_streams() {
    as_each_user(
        "only_tcp_and_udp_sockets_can_be_made_and_unix_ones_only_as_a_pair_of_streams",
        |bench| async move {
            let source = format!(
            "{NUMBERS}
lock()
flags = 0o2000000 | 0o4000
allowed = [(2,1,0), (2,1,6), (2,2,0), (10,1,0), (10,1,6), (10,2,0), (2,1|flags,6)]
refused = dict(udp_by_number=(2,2,17), udp6_by_number=(10,2,17), raw=(2,3,1), icmp=(2,2,1), raw6=(10,3,58), packet=(17,3,0), netlink=(16,3,0), netlink_dgram=(16,2,0), vsock=(40,1,0), alg=(38,5,0),
  mptcp=(2,1,262), sctp=(2,1,132), dccp=(2,6,33), udplite=(2,2,136), bluetooth=(31,3,0), xdp=(44,3,0), unix=(1,1,0), unix_flags=(1,1|flags,0), unix_dgram=(1,2,0), unix_seqpacket=(1,5,0), tcp_as_udp=(2,2,6))
fds = (ctypes.c_int * 2)()
pairs = [(1,1,0), (1,1|flags,0)]
no_pairs = dict(dgram_pair=(1,2,0), dgram_flags_pair=(1,2|flags,0), seqpacket_pair=(1,5,0), raw_pair=(1,3,0), inet_pair=(2,1,0))
say([[call('socket', *a) for a in allowed] + [call('socketpair', *a, fds) for a in pairs],
     {{n: call('socket', *a) for n, a in refused.items()}} | {{n: call('socketpair', *a, fds) for n, a in no_pairs.items()}}])"
        );
            let seen = bench.run(&source).await.json();
            assert!(
                seen[0]
                    .as_array()
                    .expect("a list")
                    .iter()
                    .all(Value::is_null),
                "{seen}"
            );
            for (name, met) in seen[1].as_object().expect("an object") {
                assert_eq!(met, "EPERM", "{name}");
            }
        },
    );
}

#[test]
fn what_is_not_named_is_refused_and_what_callers_fall_back_from_is_absent() {
    as_each_user(
        "what_is_not_named_is_refused_and_what_callers_fall_back_from_is_absent",
        |bench| async move {
            let source = format!(
            "{NUMBERS}
lock()
refused = dict(execve=(b'/usr/bin/python3.11', None, None), execveat=(-100, b'/usr/bin/python3.11', None, None, 0), listen=(0, 1), accept=(0, None, None), bind=(0, None, 0),
  memfd_create=(b'x', 0), symlink=(b'a', b'b'), link=(b'a', b'b'), mknod=(b'x', 0o10600, 0), seccomp=(1, 0, None), landlock_create_ruleset=(None, 0, 1),
  setuid=(1000,), setresuid=(1000, 1000, 1000), capset=(None, None), vfork=(), splice=(0, None, 1, None, 1, 0), pidfd_open=(1, 0), shmget=(0, 4096, 0),
  msgget=(0, 0), mbind=(0, 0, 0, 0, 0, 0), inotify_init1=(0,), setpriority=(0, 0, 0), mlockall=(1,), open=(b'f', 0, 0), creat=(b'f', 0o600), fchmod=(0, 0o600), personality=(0xffffffff,))
absent = dict(clone3=(None, 0), openat2=(-100, b'/', None, 0), fchmodat2=(-100, b'/', 0, 0))
say([{{n: call(n, *a) for n, a in refused.items()}}, {{n: call(n, *a) for n, a in absent.items()}}])"
        );
            let seen = bench.run(&source).await.json();
            for (name, met) in seen[0].as_object().expect("an object") {
                assert_eq!(met, "EPERM", "{name}");
            }
            for (name, met) in seen[1].as_object().expect("an object") {
                assert_eq!(met, "ENOSYS", "{name}");
            }
        },
    );
}

#[test]
fn namespaces_cannot_be_made_by_clone_and_fast_open_carries_nothing() {
    as_each_user(
        "namespaces_cannot_be_made_by_clone_and_fast_open_carries_nothing",
        |bench| async move {
            let source = format!(
            "{NUMBERS}
lock()
flags = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00008000]
udp = socket.socket(type=socket.SOCK_DGRAM); tcp = socket.socket()
fast = 0x20000000
say([[call('clone', flag | 17, 0, 0, 0, 0) for flag in flags],
     call('sendmsg', tcp.fileno(), None, fast), call('sendmmsg', tcp.fileno(), None, 1, fast), call('sendto', tcp.fileno(), b'x', 1, fast, None, 0),
     attempt(tcp.setsockopt, 6, 30, 1), attempt(tcp.setsockopt, 1, 26, b'0' * 16), attempt(tcp.setsockopt, 6, 31, b'tls'),
     attempt(tcp.setsockopt, 6, 1, 1), attempt(tcp.setsockopt, 1, 9, 1)])"
        );
            let seen = bench.run(&source).await.json();
            assert_eq!(seen[0], json!(vec!["EPERM"; 8]));
            assert_eq!(
                seen.as_array().expect("a list")[1..7],
                vec![json!("EPERM"); 6]
            );
            assert_eq!(
                seen.as_array().expect("a list")[7..],
                vec![json!("done"); 2]
            );
        },
    );
}

/// Calls that end a worker, before exec already and after the lock alike.
const DEADLY: &[(&str, u32)] = &[
    ("ptrace", 101),
    ("process_vm_readv", 310),
    ("kcmp", 312),
    ("pidfd_getfd", 438),
    ("mount", 165),
    ("umount2", 166),
    ("pivot_root", 155),
    ("chroot", 161),
    ("open_tree", 428),
    ("move_mount", 429),
    ("fsopen", 430),
    ("setns", 308),
    ("unshare", 272),
    ("bpf", 321),
    ("perf_event_open", 298),
    ("userfaultfd", 323),
    ("io_uring_enter", 426),
    ("add_key", 248),
    ("keyctl", 250),
    ("kexec_load", 246),
    ("init_module", 175),
    ("open_by_handle_at", 304),
    ("x32 getpid", 0x4000_0000 | 39),
];

#[test]
fn calls_that_only_an_attacker_makes_end_the_worker_with_sigsys() {
    as_each_user(
        "calls_that_only_an_attacker_makes_end_the_worker_with_sigsys",
        |bench| async move {
            for (name, number) in DEADLY {
                for lock in ["", "lock()\n"] {
                    let outcome = bench
                        .run(&format!(
                            "{lock}syscall({number}, 0, 0, 0, 0, 0)\nprint('alive')"
                        ))
                        .await;
                    assert_eq!(
                        outcome.exit.signal,
                        Some(libc::SIGSYS),
                        "{name}: {outcome:?}"
                    );
                    assert_eq!(outcome.stdout, "", "{name}");
                }
            }
        },
    );
}

#[test]
fn a_system_call_of_a_foreign_architecture_ends_the_worker() {
    as_each_user(
        "a_system_call_of_a_foreign_architecture_ends_the_worker",
        |bench| async move {
            // mov eax, 20 (getpid of i386); int 0x80; ret
            let source = "
import mmap
page = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
ctypes.CFUNCTYPE(ctypes.c_int)(address)()
print('alive')";
            let outcome = bench.run(source).await;
            assert_eq!(
                (outcome.exit.signal, outcome.stdout.as_str()),
                (Some(libc::SIGSYS), ""),
                "{outcome:?}"
            );
        },
    );
}

#[test]
fn the_libraries_that_connectors_use_work_under_the_lock() {
    as_each_user(
        "the_libraries_that_connectors_use_work_under_the_lock",
        |bench| async move {
            let source = "
lock()
import threading, asyncio, sqlite3, ssl, tempfile, concurrent.futures, selectors, shutil, logging, time, random, uuid, subprocess, mmap, signal, select, multiprocessing
box = []
threads = [threading.Thread(target=box.append, args=(i,)) for i in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
with concurrent.futures.ThreadPoolExecutor(4) as pool: total = sum(pool.map(abs, range(-4, 0)))
async def work():
    await asyncio.sleep(0.001)
    await asyncio.to_thread(time.sleep, 0.001)
    a, b = socket.socketpair(); a.setblocking(False); b.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(a, b'hello')
    return (await loop.sock_recv(b, 5)).decode()
said = asyncio.run(work())
db = sqlite3.connect('/tmp/x.db'); db.execute('pragma journal_mode=wal'); db.execute('create table t(x)'); db.executemany('insert into t values(?)', [(i,) for i in range(100)]); db.commit()
rows = db.execute('select count(*) from t').fetchone()[0]; db.close()
with tempfile.TemporaryDirectory() as d:
    open(d + '/a', 'w').write('a'); shutil.copy2(d + '/a', d + '/b'); os.rename(d + '/b', d + '/c')
context = ssl.create_default_context()
one, two = multiprocessing.Pipe(); one.send('piped'); piped = two.recv()
logging.basicConfig(); logging.getLogger('x').warning('logged')
pid = os.fork()
if pid == 0: os._exit(7)
child = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
try: subprocess.run(['/usr/bin/python3.11', '-c', '0']); ran = True
except OSError as e: ran = errno.errorcode[e.errno]
try: socket.getaddrinfo('name.example', 443)
except socket.gaierror as e: resolved = e.errno in (socket.EAI_AGAIN, socket.EAI_NONAME)
listening = attempt(socket.socket().listen)
say([len(box), total, said, rows, child, ran, resolved, listening, len(os.urandom(8)), uuid.uuid4().version, piped])";
            let mut worker = bench.launch(bench.spec(), source).await;
            // Nobody answers DNS here; closing the sockets makes the resolver give up at once.
            worker.sockets.dns_udp.clear();
            worker.sockets.dns_tcp.clear();
            let expected = json!([
                8, 10, "hello", 100, 7, "EPERM", true, "EPERM", 8, 4, "piped"
            ]);
            assert_eq!(support::finish(worker).await.json(), expected);
        },
    );
}
