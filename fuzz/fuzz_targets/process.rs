//! See `pxrun_fuzz::process`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::process(data));
