//! Finding the rule of a call by halves.
//!
//! seccompiler compares a call's number with one number after the other. The kernel runs a filter for every number there
//! is when it is put on (`seccomp_cache_prepare`), so that this is most of what locking a worker takes.

use seccompiler::{BpfProgram, sock_filter};

// Of linux/bpf_common.h, as seccompiler combines them.
const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
/// `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

/// What is done from one number on.
#[derive(Clone, PartialEq)]
struct Part {
    from: u32,
    code: Vec<sock_filter>,
}

/// The same filter, whose decisions are found by halves; `program` itself where it is not built as seccompiler builds.
pub(super) fn by_halves(program: BpfProgram) -> BpfProgram {
    match parts(&program) {
        Some((prologue, parts)) => {
            let mut found = prologue.to_vec();
            found.extend(tree(&parts));
            if found.len() <= LONGEST {
                found
            } else {
                program
            }
        }
        None => program,
    }
}

/// What comes before the first comparison, and what is done for which numbers.
fn parts(program: &[sock_filter]) -> Option<(&[sock_filter], Vec<Part>)> {
    // The machine is loaded and compared, another one ends the process, and the number is loaded.
    let (prologue, _) = program.split_at_checked(4)?;
    let built = [
        (LOAD, 4),
        (JUMP_IF_EQUAL, prologue[1].k),
        (RETURN, 0x8000_0000),
        (LOAD, 0),
    ];
    let found = prologue.iter().map(|step| (step.code, step.k));
    if !found.eq(built) || (prologue[1].jt, prologue[1].jf) != (1, 0) {
        return None;
    }
    let mut parts = vec![Part {
        from: 0,
        code: Vec::new(),
    }];
    let mut at = prologue.len();
    // A comparison, whose next step is that of equality and whose step after that leads on.
    while let Some(&sock_filter {
        code: JUMP_IF_EQUAL,
        jt: 0,
        jf: 1,
        k: number,
    }) = program.get(at)
    {
        let next = landing(program, at + 2)?;
        let last = parts.last()?;
        if next <= at || number < last.from {
            return None;
        }
        let own = Part {
            from: number,
            code: body(program, at + 1, next)?,
        };
        if last.from == own.from {
            // Nothing lies between two numbers that follow each other.
            parts.pop();
        }
        parts.push(own);
        parts.push(Part {
            from: number.checked_add(1)?,
            code: Vec::new(),
        });
        at = next;
    }
    let rest = program.get(at).filter(|step| step.code == RETURN)?;
    for part in &mut parts {
        if part.code.is_empty() {
            part.code.push(rest.clone());
        }
    }
    parts.dedup_by(|next, part| next.code == part.code);
    Some((prologue, parts))
}

/// Where a way that begins with jumps comes to.
fn landing(program: &[sock_filter], mut at: usize) -> Option<usize> {
    while let Some(step) = program.get(at).filter(|step| step.code == JUMP) {
        at += 1 + usize::try_from(step.k).ok()?;
    }
    (at < program.len()).then_some(at)
}

/// What is done for a number: one step where that is all, else all from `from` up to `to`. Nothing where that is left.
fn body(program: &[sock_filter], from: usize, to: usize) -> Option<Vec<sock_filter>> {
    let first = &program[landing(program, from)?];
    if first.code == RETURN {
        return Some(vec![first.clone()]);
    }
    let mut body = program.get(from..to)?.to_vec();
    let mut reached = vec![false; body.len()];
    let mut ways = vec![0];
    while let Some(at) = ways.pop() {
        if std::mem::replace(reached.get_mut(at)?, true) {
            continue;
        }
        let step = &body[at];
        let over = |steps: usize| at.saturating_add(1).saturating_add(steps);
        match step.code {
            RETURN => {}
            JUMP => ways.push(over(usize::try_from(step.k).ok()?)),
            // BPF_JMP is the class of conditional jumps too.
            code if code & 0x07 == 0x05 => {
                ways.extend([step.jt, step.jf].map(|steps| over(steps.into())));
            }
            _ => ways.push(over(0)),
        }
    }
    // How other numbers went on leads nowhere now.
    for (step, _) in body.iter_mut().zip(reached).filter(|(_, reached)| !reached) {
        *step = program.last()?.clone();
    }
    Some(body)
}

fn tree(parts: &[Part]) -> Vec<sock_filter> {
    let [_, _, ..] = parts else {
        return parts.iter().flat_map(|part| part.code.clone()).collect();
    };
    let (left, right) = parts.split_at(parts.len() / 2);
    let (from, left, right) = (right[0].from, tree(left), tree(right));
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let mut steps = match u8::try_from(left.len()) {
        Ok(near) => vec![step(JUMP_IF_AT_LEAST, near, 0, from)],
        Err(_) => vec![
            step(JUMP_IF_AT_LEAST, 0, 1, from),
            step(JUMP, 0, 0, left.len() as u32),
        ],
    };
    steps.extend(left);
    steps.extend(right);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{PROFILES, Profile, Target};

    /// What a filter answers (seccomp(2)), and in how many steps.
    fn run(program: &[sock_filter], data: &[u32; 16]) -> (u32, usize) {
        let (mut at, mut value) = (0, 0_u32);
        for steps in 1.. {
            let step = &program[at];
            let to = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            at += 1;
            match step.code {
                LOAD => value = data[step.k as usize / 4],
                0x54 => value &= step.k,
                JUMP => at += step.k as usize,
                JUMP_IF_EQUAL => at += to(value == step.k),
                0x25 => at += to(value > step.k),
                JUMP_IF_AT_LEAST => at += to(value >= step.k),
                RETURN => return (step.k, steps),
                code => panic!("a step {code:#x}"),
            }
        }
        unreachable!("a filter ends")
    }

    #[test]
    fn every_number_meets_the_same_answer_and_sooner() {
        for (name, _) in PROFILES {
            for target in [Target::X86_64, Target::Aarch64] {
                let profile = Profile::named(name).unwrap();
                for program in profile.programs(target).unwrap().into_values() {
                    let searched = by_halves(program.clone());
                    let (mut steps, mut before) = (0, 0);
                    for data in calls(&program) {
                        let (is, own) = run(&searched, &data);
                        let (was, long) = run(&program, &data);
                        assert_eq!(is, was, "{name}: call {} {data:?}", data[0]);
                        (steps, before) = (steps + own, before + long);
                    }
                    eprintln!(
                        "{name} {target:?} {} {} {steps} {before}",
                        program.len(),
                        searched.len()
                    );
                    assert!(steps <= before, "{name}: {steps} steps, {before} before");
                }
            }
        }
    }

    /// Every number that may mean something, with arguments of every value that the filter compares with, and others.
    fn calls(program: &[sock_filter]) -> impl Iterator<Item = [u32; 16]> {
        let mut values: Vec<u32> = program.iter().map(|step| step.k).collect();
        values.extend([0, 1, u32::MAX, 0x8000_0000]);
        values.sort_unstable();
        values.dedup();
        let numbers = (0..=600).chain([0x3fff_ffff, 0x4000_0000, u32::MAX]);
        let machines = [0xC000_003E_u32, 0xC000_00B7, 0x4000_0003];
        numbers.flat_map(move |number| {
            let values = values.clone();
            (0..values.len()).map(move |at| {
                let value = |place: usize| values[(at + place * 7) % values.len()];
                let mut data = std::array::from_fn(value);
                data[0] = number;
                data[1] = machines[at % machines.len()];
                data
            })
        })
    }

    #[test]
    fn what_is_built_otherwise_stays_as_it_is() {
        let other = crate::seccomp::foreign_abi_filter();
        assert_eq!(by_halves(other.clone()), other);
    }
}
