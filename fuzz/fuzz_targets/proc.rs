//! See `pxrun_fuzz::proc`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::proc(data));
