//! Every argument rule of every profile, tried in real workers with arguments that it allows and with their
//! neighbours that it refuses. The cases come from the profiles' JSON; a rule without both fails.

mod reading;
mod support;

use std::collections::BTreeMap;

use reading::{Kind, Profile, Verdict};
use serde_json::json;
use support::as_each_user;

const BAD: u64 = u64::MAX;

/// Arguments with which a call does nothing and the kernel's own answer is not EPERM: no such descriptor, no such
/// address, flags that exclude each other. What a rule looks at is put in their place.
const HARMLESS: &[(&str, [u64; 6])] = &[
    // CLONE_SIGHAND without CLONE_VM is EINVAL, whatever else is set.
    ("clone", [0x800, 0, 0, 0, 0, 0]),
    ("chmod", [0; 6]),
    ("fchmod", [BAD, 0, 0, 0, 0, 0]),
    ("fchmodat", [BAD, 0, 0, 0, 0, 0]),
    ("fcntl", [BAD, 0, 0, 0, 0, 0]),
    ("ioctl", [BAD, 0, 0, 0, 0, 0]),
    ("mkdir", [0; 6]),
    ("mkdirat", [BAD, 0, 0, 0, 0, 0]),
    // Makes a file with set-user-id and set-group-id bits, where a rule does not say otherwise.
    ("open", [0, 0o100, 0o6000, 0, 0, 0]),
    ("openat", [BAD, 0, 0o100, 0o6000, 0, 0]),
    ("prctl", [0; 6]),
    ("prlimit64", [0, 99, BAD, 0, 0, 0]),
    ("sendmmsg", [BAD, 0, 0, 0, 0, 0]),
    ("sendmsg", [BAD, 0, 0, 0, 0, 0]),
    ("sendto", [BAD, 0, 0, 0, 0, 0]),
    ("setsockopt", [BAD, 0, 0, 0, 0, 0]),
    ("socket", [0; 6]),
    ("socketpair", [0; 6]),
];

struct Case {
    call: String,
    number: u32,
    args: [u64; 6],
    allowed: bool,
}

/// The cases of one profile on this machine.
fn cases(name: &str) -> Vec<Case> {
    let arch = std::env::consts::ARCH;
    let profile = Profile::read(name);
    let numbers: BTreeMap<&str, u32> = reading::numbers(arch)
        .into_iter()
        .map(|(number, name)| (name, number))
        .collect();
    let mut cases = Vec::new();
    for rule in profile.allow.iter().filter(|rule| rule.is_for(arch)) {
        for conditions in rule.alternatives() {
            let (_, harmless) = HARMLESS
                .iter()
                .find(|(call, _)| *call == rule.call)
                .unwrap_or_else(|| {
                    panic!(
                        "say in HARMLESS with which arguments {} does nothing",
                        rule.call
                    )
                });
            let fitting = |condition: &reading::Condition| match &condition.kind {
                Kind::Lacks(bits) => vec![
                    bits.iter()
                        .fold(harmless[condition.arg], |args, bit| args & !bit),
                ],
                _ => condition.allowed(),
            };
            let mut base = *harmless;
            for condition in &conditions {
                base[condition.arg] = fitting(condition)[0];
            }
            for condition in &conditions {
                let mut values = fitting(condition);
                match &condition.kind {
                    Kind::Lacks(bits) => {
                        values.extend(bits.iter().map(|bit| bit | base[condition.arg]))
                    }
                    _ => values.extend(condition.near()),
                }
                // The kernel looks at 32 bits of these arguments, and so does the rule.
                if condition.width != u64::MAX {
                    values.extend(
                        values
                            .clone()
                            .iter()
                            .map(|value| value & 0xffff_ffff | 1 << 40),
                    );
                }
                let (mut yes, mut no) = (0, 0);
                for value in values {
                    let mut args = base;
                    args[condition.arg] = value;
                    let allowed = profile.verdict(arch, &rule.call, &args) == Verdict::Allow;
                    (yes, no) = (yes + usize::from(allowed), no + usize::from(!allowed));
                    let (call, number) = (rule.call.clone(), numbers[rule.call.as_str()]);
                    cases.push(Case {
                        call,
                        number,
                        args,
                        allowed,
                    });
                }
                assert!(
                    yes > 0 && no > 0,
                    "{name}: {} argument {}: {yes} allowed, {no} refused",
                    rule.call,
                    condition.arg
                );
            }
        }
    }
    cases
}

fn every_rule(profile: &'static str, test: &str) {
    as_each_user(test, |bench| async move {
        let cases = cases(profile);
        // Signed, as ctypes takes them.
        let lines: Vec<_> = cases
            .iter()
            .map(|case| json!([case.number, case.args.map(|arg| arg as i64)]))
            .collect();
        std::fs::write(bench.bundle.join("cases.json"), json!(lines).to_string())
            .expect("cases.json");
        let source = format!(
            "
cases = json.load(open('/caisson/bundle/cases.json'))
lock('{profile}')
met = []
for number, args in cases:
    ctypes.set_errno(0)
    result = libc.syscall(number, *map(ctypes.c_long, args))
    met.append(ctypes.get_errno() if result == -1 else 0)
    if result > 2: os.close(result)
say(met)"
        );
        let met = bench.run(&source).await.json();
        let met = met.as_array().expect("a list");
        assert_eq!(met.len(), cases.len());
        for (case, met) in cases.iter().zip(met) {
            let refused = met.as_i64() == Some(i64::from(libc::EPERM));
            assert_eq!(
                refused, !case.allowed,
                "{profile}: {} {:x?} met errno {met}",
                case.call, case.args
            );
        }
    });
}

#[test]
fn every_argument_rule_of_strict_allows_the_one_and_refuses_the_other() {
    every_rule(
        "strict",
        "every_argument_rule_of_strict_allows_the_one_and_refuses_the_other",
    );
}

#[test]
fn every_argument_rule_of_native_allows_the_one_and_refuses_the_other() {
    every_rule(
        "native",
        "every_argument_rule_of_native_allows_the_one_and_refuses_the_other",
    );
}

#[test]
fn every_argument_rule_of_exec_allows_the_one_and_refuses_the_other() {
    every_rule(
        "exec",
        "every_argument_rule_of_exec_allows_the_one_and_refuses_the_other",
    );
}
