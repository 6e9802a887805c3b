//! A small machine for classic BPF, so that tests see what a program answers without loading it.
//! It must not know more instructions than libseccomp writes.

/// `AUDIT_ARCH_X86_64`.
pub const X86_64: u32 = 0xc000_003e;
/// `AUDIT_ARCH_I386`.
pub const X86: u32 = 0x4000_0003;

/// What `program` returns for call `number` on `arch` with `args`.
pub fn run(program: &[u8], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = [number.to_ne_bytes(), arch.to_ne_bytes()].concat();
    data.extend([0; 8]);
    data.extend(args.iter().flat_map(|arg| arg.to_ne_bytes()));
    let (mut at, mut a) = (0, 0);
    loop {
        let bytes = &program[at * 8..at * 8 + 8];
        let code = u16::from_ne_bytes([bytes[0], bytes[1]]);
        let k = u32::from_ne_bytes(bytes[4..].try_into().unwrap());
        let (yes, no) = (usize::from(bytes[2]), usize::from(bytes[3]));
        let jump = |taken| if taken { yes } else { no };
        at += 1 + match code {
            0x20 => {
                let k = k as usize;
                a = u32::from_ne_bytes(data[k..k + 4].try_into().unwrap());
                0
            }
            0x54 => {
                a &= k;
                0
            }
            0x05 => k as usize,
            0x15 => jump(a == k),
            0x25 => jump(a > k),
            0x35 => jump(a >= k),
            0x45 => jump(a & k != 0),
            0x06 => return k,
            other => panic!("instruction {other:#x} at {at}"),
        };
    }
}
