//! Device rules as a program for the kernel's `BPF_PROG_TYPE_CGROUP_DEVICE`.
//! It must not load or attach: the program is a pure function of the rules.

use super::{ALL, Kind, MKNOD, READ, Rule, WRITE};
use crate::sys::bpf::Insn;

// linux/bpf_common.h and linux/bpf.h: classes, operations, sources.
const LOAD_WORD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOV32_REG: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const MOV64_IMM: u8 = 0xb7; // BPF_ALU64 | BPF_MOV | BPF_K
const AND32_IMM: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const RSH32_IMM: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JNE_IMM: u8 = 0x55; // BPF_JMP | BPF_JNE | BPF_K
const JEQ_IMM: u8 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

// What the registers hold; r1 is the context at first, a scratch register after.
const RESULT: u8 = 0;
const SCRATCH: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The program: 1 allows, 0 denies with EPERM.
///
/// Each kind of access asked for is decided by the last rule that speaks of it, so the rules are
/// looked at from the end: a matching allow rule takes its accesses off those still to be decided,
/// a matching deny rule with one of them ends it. What no rule speaks of is denied.
pub(super) fn program(rules: &[Rule]) -> Vec<Insn> {
    // struct bpf_cgroup_dev_ctx: access and type in one word, then major and minor.
    let mut code = vec![
        insn(LOAD_WORD, KIND, SCRATCH, 0, 0),
        insn(MOV32_REG, ACCESS, KIND, 0, 0),
        insn(AND32_IMM, KIND, 0, 0, 0xffff),
        insn(RSH32_IMM, ACCESS, 0, 0, 16),
        insn(LOAD_WORD, MAJOR, SCRATCH, 4, 0),
        insn(LOAD_WORD, MINOR, SCRATCH, 8, 0),
    ];
    for rule in rules.iter().rev() {
        block(rule, &mut code);
        if rule.is_total() {
            // The verifier refuses what can't be reached.
            return code;
        }
    }
    verdict(false, &mut code);
    code
}

/// The instructions of one rule; all its "doesn't apply" jumps lead behind its last one.
fn block(rule: &Rule, code: &mut Vec<Insn>) {
    let start = code.len();
    let checks = [
        (KIND, rule.kind.map(kind_number)),
        (MAJOR, rule.major),
        (MINOR, rule.minor),
    ];
    for (register, wanted) in checks {
        if let Some(wanted) = wanted {
            code.push(insn(JNE_IMM, register, 0, 0, wanted as i32));
        }
    }
    match (rule.allow, rule.access == ALL) {
        (_, true) => {}
        (true, false) => {
            code.push(insn(
                AND32_IMM,
                ACCESS,
                0,
                0,
                i32::from(ALL & 7 & !bits(rule.access)),
            ));
            code.push(insn(JNE_IMM, ACCESS, 0, 0, 0));
        }
        (false, false) => {
            code.push(insn(MOV32_REG, SCRATCH, ACCESS, 0, 0));
            code.push(insn(AND32_IMM, SCRATCH, 0, 0, i32::from(bits(rule.access))));
            code.push(insn(JEQ_IMM, SCRATCH, 0, 0, 0));
        }
    }
    verdict(rule.allow, code);
    let end = code.len();
    for (index, insn) in code.iter_mut().enumerate().skip(start) {
        if matches!(insn[0], JNE_IMM | JEQ_IMM) {
            let distance = i16::try_from(end - index - 1).unwrap_or(i16::MAX);
            insn[2..4].copy_from_slice(&distance.to_ne_bytes());
        }
    }
}

fn verdict(allow: bool, code: &mut Vec<Insn>) {
    code.push(insn(MOV64_IMM, RESULT, 0, 0, i32::from(allow)));
    code.push(insn(EXIT, 0, 0, 0, 0));
}

/// BPF_DEVCG_DEV_BLOCK and BPF_DEVCG_DEV_CHAR.
fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
}

/// BPF_DEVCG_ACC_MKNOD, _READ and _WRITE.
fn bits(access: u8) -> u8 {
    [(MKNOD, 1), (READ, 2), (WRITE, 4)]
        .iter()
        .filter(|(ours, _)| access & ours != 0)
        .fold(0, |all, (_, theirs)| all | theirs)
}

fn insn(code: u8, dst: u8, src: u8, offset: i16, imm: i32) -> Insn {
    // The two registers share a byte, the first in its low half on little endian machines.
    let registers = if cfg!(target_endian = "little") {
        dst | src << 4
    } else {
        dst << 4 | src
    };
    let mut bytes = [code, registers, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
    bytes[4..8].copy_from_slice(&imm.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The few instructions that `program` uses.
    fn run(code: &[Insn], kind: u32, access: u32, major: u32, minor: u32) -> bool {
        let context = [access << 16 | kind, major, minor];
        let mut registers = [0u64; 6];
        let mut at = 0;
        loop {
            let [op, regs, o0, o1, i0, i1, i2, i3] = code[at];
            let (dst, src) = (usize::from(regs & 15), usize::from(regs >> 4));
            let offset = i16::from_ne_bytes([o0, o1]);
            let imm = i32::from_ne_bytes([i0, i1, i2, i3]);
            at += 1;
            let jump = match op {
                LOAD_WORD => {
                    registers[dst] = u64::from(context[usize::try_from(offset).unwrap() / 4]);
                    false
                }
                MOV32_REG => {
                    registers[dst] = registers[src] & 0xffff_ffff;
                    false
                }
                MOV64_IMM => {
                    registers[dst] = imm as u64;
                    false
                }
                AND32_IMM => {
                    registers[dst] &= u64::from(imm as u32);
                    false
                }
                RSH32_IMM => {
                    registers[dst] >>= imm;
                    false
                }
                JNE_IMM => registers[dst] != imm as u64,
                JEQ_IMM => registers[dst] == imm as u64,
                EXIT => return registers[0] == 1,
                _ => panic!("{op:#x}"),
            };
            if jump {
                at += usize::try_from(offset).unwrap();
            }
        }
    }

    /// What the rules say, in the plainest words: each access apart, in order, the last one wins.
    fn wanted(rules: &[Rule], kind: Kind, access: u8, major: u32, minor: u32) -> bool {
        [READ, WRITE, MKNOD]
            .iter()
            .filter(|one| access & **one != 0)
            .all(|one| {
                let mut allowed = false;
                for rule in rules {
                    let kinds = rule.kind.is_none_or(|k| k == kind);
                    let numbers = rule.major.is_none_or(|n| n == major)
                        && rule.minor.is_none_or(|n| n == minor);
                    if kinds && numbers && rule.access & one != 0 {
                        allowed = rule.allow;
                    }
                }
                allowed
            })
    }

    fn rule(
        allow: bool,
        kind: Option<Kind>,
        major: Option<u32>,
        minor: Option<u32>,
        access: u8,
    ) -> Rule {
        Rule {
            allow,
            kind,
            major,
            minor,
            access,
        }
    }

    #[test]
    fn the_program_says_what_the_rules_say() {
        let (c, b) = (Some(Kind::Char), Some(Kind::Block));
        let lists = [
            vec![],
            vec![rule(true, None, None, None, ALL)],
            vec![
                rule(false, None, None, None, ALL),
                rule(true, c, Some(1), Some(3), ALL),
            ],
            vec![
                rule(true, None, None, None, ALL),
                rule(false, c, Some(1), None, WRITE),
                rule(true, c, Some(1), Some(3), WRITE),
            ],
            vec![
                rule(true, c, Some(1), None, READ),
                rule(true, c, None, Some(3), WRITE),
                rule(false, b, None, None, READ | MKNOD),
                rule(true, None, Some(2), Some(5), MKNOD),
                rule(false, c, Some(2), Some(5), MKNOD | WRITE),
            ],
            vec![
                rule(true, c, Some(1), Some(3), ALL),
                rule(false, None, None, None, READ),
                rule(true, b, Some(2), None, ALL),
                rule(false, None, None, None, ALL),
                rule(true, None, Some(1), None, READ | WRITE),
            ],
        ];
        let mut allowed = 0;
        for rules in &lists {
            let code = program(rules);
            for kind in [Kind::Char, Kind::Block] {
                for access in 1..=ALL {
                    for (major, minor) in [(1, 3), (1, 5), (2, 3), (2, 5), (9, 9)] {
                        let got = run(&code, kind_number(kind), bits(access).into(), major, minor);
                        let want = wanted(rules, kind, access, major, minor);
                        assert_eq!(got, want, "{rules:?} {kind:?} {access} {major}:{minor}");
                        allowed += u32::from(got);
                    }
                }
            }
        }
        assert!(allowed > 100);
    }

    #[test]
    fn nothing_follows_a_total_rule() {
        let rules = [
            rule(true, None, None, None, READ),
            rule(true, None, None, None, ALL),
        ];
        assert_eq!(program(&rules).len(), 8);
    }
}
