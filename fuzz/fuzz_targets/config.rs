//! See `pxrun_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::config(data));
