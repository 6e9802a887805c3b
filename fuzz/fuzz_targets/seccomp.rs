//! See `pxrun_fuzz::seccomp`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::seccomp(data));
