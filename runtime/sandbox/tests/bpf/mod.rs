//! An interpreter of classic BPF as seccomp runs it (Documentation/userspace-api/seccomp_filter.rst, and
//! `seccomp_run_filters` in kernel/seccomp.c). It knows the instructions that filters are made of and no others.

#![allow(unreachable_pub)]

use crate::reading::Verdict;

/// `code`, `jt`, `jf`, `k`.
pub type Instruction = (u16, u8, u8, u32);

const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
pub const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_NOT_LESS: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;

const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const ALLOW: u32 = 0x7fff_0000;
const ACTION: u32 = 0xffff_0000;

/// `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    pub nr: u32,
    pub arch: u32,
    pub ip: u64,
    pub args: [u64; 6],
}

impl Data {
    /// The 32-bit word at an offset, on a little-endian machine.
    fn word(&self, offset: u32) -> u32 {
        let half = |value: u64, high: bool| {
            if high {
                (value >> 32) as u32
            } else {
                value as u32
            }
        };
        match offset {
            0 => self.nr,
            4 => self.arch,
            8 | 12 => half(self.ip, offset == 12),
            16..64 if offset.is_multiple_of(4) => {
                half(self.args[(offset as usize - 16) / 8], offset % 8 == 4)
            }
            _ => panic!("no word at {offset}: the kernel would not have taken this filter"),
        }
    }
}

/// What a stack of filters says, the newest last.
pub fn run(stack: &[Vec<Instruction>], data: &Data) -> Verdict {
    let mut result = ALLOW;
    for program in stack.iter().rev() {
        let met = run_one(program, data);
        // Actions compare as signed numbers; of two equal ones the newer filter's stays.
        if ((met & ACTION) as i32) < ((result & ACTION) as i32) {
            result = met;
        }
    }
    match (result & ACTION, (result & !ACTION) as i32) {
        (ALLOW, _) => Verdict::Allow,
        (ERRNO, libc::EPERM) => Verdict::Refuse,
        (ERRNO, libc::ENOSYS) => Verdict::Absent,
        (KILL_PROCESS, _) => Verdict::Kill,
        _ => panic!("{result:#x} is no verdict of a profile"),
    }
}

fn run_one(program: &[Instruction], data: &Data) -> u32 {
    let (mut accumulator, mut at) = (0u32, 0usize);
    loop {
        let (code, jt, jf, k) = program[at];
        at += 1;
        let mut branch = |taken: bool| at += usize::from(if taken { jt } else { jf });
        match code {
            LOAD => accumulator = data.word(k),
            AND => accumulator &= k,
            JUMP => at += k as usize,
            JUMP_IF_EQUAL => branch(accumulator == k),
            JUMP_IF_GREATER => branch(accumulator > k),
            JUMP_IF_NOT_LESS => branch(accumulator >= k),
            JUMP_IF_ANY_BIT => branch(accumulator & k != 0),
            RETURN => return k,
            other => panic!("instruction {other:#x} is not of this machine"),
        }
    }
}
