//! See `pxrun_fuzz::argv`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::argv(data));
