//! Compiled filters against the profiles' JSON: an interpreter of classic BPF runs every stack over calls and
//! arguments, and what it says must be what a second reading of the JSON says.

mod bpf;
mod reading;

use caisson_sandbox::profile::{Profile as Compiled, Target};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use bpf::{Data, run};
use reading::{Profile, Verdict};

const MACHINES: [(Target, u32); 2] = [
    (Target::X86_64, 0xc000_003e),
    (Target::Aarch64, 0xc000_00b7),
];

/// A profile on a machine, in both readings.
struct Model {
    profile: Profile,
    stack: Vec<Vec<bpf::Instruction>>,
    target: Target,
    arch: u32,
    names: std::collections::BTreeMap<u32, &'static str>,
}

impl Model {
    fn all() -> Vec<Model> {
        let of = |name: &str, target: Target, arch: u32| {
            let filters = Compiled::named(name)
                .and_then(|profile| profile.compile_for(target))
                .expect("filters");
            let programs = filters.before_exec.iter().chain(&filters.lock);
            Model {
                profile: Profile::read(name),
                stack: programs
                    .map(|program| program.iter().map(|i| (i.code, i.jt, i.jf, i.k)).collect())
                    .collect(),
                target,
                arch,
                names: reading::numbers(target.name()),
            }
        };
        reading::NAMES
            .iter()
            .flat_map(|name| MACHINES.map(|(target, arch)| of(name, target, arch)))
            .collect()
    }

    /// What the JSON says.
    fn expected(&self, data: &Data) -> Verdict {
        // Another machine's calling convention, and x32's flag in the number.
        if data.arch != self.arch || data.nr >= 0x4000_0000 {
            return Verdict::Kill;
        }
        match self.names.get(&data.nr) {
            Some(name) => self.profile.verdict(self.target.name(), name, &data.args),
            None => Verdict::Refuse,
        }
    }

    fn compare(&self, data: &Data) -> Result<(), String> {
        let (met, expected) = (run(&self.stack, data), self.expected(data));
        if met == expected {
            return Ok(());
        }
        let name = self.names.get(&data.nr).unwrap_or(&"?");
        let (profile, machine) = (&self.profile.name, self.target.name());
        Err(format!(
            "{profile} on {machine}: {name} {data:x?}: the filters say {met:?}, the JSON says {expected:?}"
        ))
    }

    /// Arguments that satisfy each way in which a call may be allowed; zeros where there is none.
    fn bases(&self, call: &str) -> Vec<[u64; 6]> {
        let mut bases = vec![[0; 6]];
        for rule in self.profile.allow.iter().filter(|rule| rule.call == call) {
            for conditions in rule.alternatives() {
                let mut args = [0; 6];
                for condition in &conditions {
                    args[condition.arg] = condition.allowed()[0];
                }
                bases.push(args);
            }
        }
        bases
    }

    /// What to put into an argument of a call: what its rules name, their neighbours, bits, borders.
    fn values(&self, call: &str, arg: usize) -> Vec<u64> {
        let mut values = vec![
            0,
            1,
            u64::MAX,
            0xffff_ffff,
            1 << 31,
            1 << 32,
            (1 << 32) - 1,
            i64::MIN as u64,
        ];
        values.extend((0..64).map(|bit| 1 << bit));
        for rule in self.profile.allow.iter().filter(|rule| rule.call == call) {
            for condition in rule.alternatives().iter().flatten() {
                if condition.arg == arg {
                    values.extend(condition.allowed());
                    values.extend(condition.near());
                }
            }
        }
        // The upper half is what a check of the wrong width forgets.
        let low: Vec<u64> = values.iter().map(|value| value & 0xffff_ffff).collect();
        for high in [1 << 32, 1 << 63, 0xffff_ffff << 32] {
            values.extend(low.iter().map(|value| value | high));
        }
        values.sort_unstable();
        values.dedup();
        values
    }

    /// Every call number with every single change of an argument.
    fn inputs(&self) -> impl Iterator<Item = Data> {
        let unknown = [
            600,
            1023,
            0x3fff_ffff,
            0x4000_0000,
            0x4000_0027,
            0x7fff_ffff,
            0x8000_0000,
            u32::MAX,
        ];
        (0..600).chain(unknown).flat_map(move |nr| {
            let call = self.names.get(&nr).copied().unwrap_or_default();
            let judged = self
                .profile
                .allow
                .iter()
                .any(|rule| rule.call == call && !rule.alternatives().is_empty());
            let mut out = Vec::new();
            for base in self.bases(call) {
                out.push(self.data(nr, base));
                for arg in 0..6 {
                    let values = if judged {
                        self.values(call, arg)
                    } else {
                        vec![1, 1 << 31, 1 << 32, u64::MAX]
                    };
                    out.extend(values.into_iter().map(|value| {
                        let mut args = base;
                        args[arg] = value;
                        self.data(nr, args)
                    }));
                }
            }
            out
        })
    }

    fn data(&self, nr: u32, args: [u64; 6]) -> Data {
        Data {
            nr,
            arch: self.arch,
            ip: 0x7fff_1234_5678,
            args,
        }
    }
}

#[test]
fn compiled_filters_say_what_the_json_says_to_every_call_and_every_single_change_of_an_argument() {
    for model in Model::all() {
        let (mut count, mut met) = (0, [0; 4]);
        for data in model.inputs() {
            model
                .compare(&data)
                .unwrap_or_else(|difference| panic!("{difference}"));
            met[model.expected(&data) as usize] += 1;
            count += 1;
        }
        assert!(
            count > 20_000 && met.iter().all(|count| *count > 50),
            "{count} {met:?}"
        );
        println!(
            "{} on {}: {count} inputs, {met:?}",
            model.profile.name,
            model.target.name()
        );
    }
}

#[test]
fn compiled_filters_say_what_the_json_says_to_anything() {
    for model in Model::all() {
        let calls: Vec<u32> = model.names.keys().copied().collect();
        let rules = &model.profile.allow;
        let named: Vec<u64> = rules
            .iter()
            .flat_map(|rule| rule.alternatives().into_iter().flatten())
            .flat_map(|condition| condition.allowed())
            .collect();
        let value = prop_oneof![
            4 => prop::sample::select(named.clone()),
            2 => (prop::sample::select(named), any::<u32>()).prop_map(|(low, high)| low | u64::from(high) << 32),
            1 => any::<u64>(),
            1 => any::<u16>().prop_map(u64::from),
        ];
        let nr = prop_oneof![8 => prop::sample::select(calls), 1 => any::<u32>(), 1 => 0u32..600];
        let arch = prop_oneof![
            9 => Just(model.arch),
            1 => prop_oneof![Just(0x4000_0003u32), Just(0x4000_0028), Just(0xc000_003e), Just(0xc000_00b7), any::<u32>()],
        ];
        let input = (nr, arch, any::<u64>(), prop::array::uniform6(value));
        let mut runner = TestRunner::new(Config {
            cases: 20_000,
            failure_persistence: None,
            ..Config::default()
        });
        let held = runner.run(&input, |(nr, arch, ip, args)| {
            model
                .compare(&Data { nr, arch, ip, args })
                .map_err(TestCaseError::fail)
        });
        held.unwrap_or_else(|difference| panic!("{difference}"));
    }
}

#[test]
fn a_filter_that_differs_in_one_number_is_found_out() {
    for mut model in Model::all() {
        let last = model.stack.len() - 1;
        let tests: Vec<usize> = (0..model.stack[last].len())
            .filter(|place| matches!(model.stack[last][*place].0, bpf::JUMP_IF_EQUAL))
            .collect();
        let inputs: Vec<Data> = model.inputs().collect();
        // Every thirtieth comparison, the first and the last among them.
        let chosen = tests.iter().step_by(30).chain(tests.last());
        for place in chosen {
            model.stack[last][*place].3 ^= 1;
            let found = inputs.iter().any(|data| model.compare(data).is_err());
            assert!(
                found,
                "{} does not notice instruction {place}",
                model.profile.name
            );
            model.stack[last][*place].3 ^= 1;
        }
    }
}
