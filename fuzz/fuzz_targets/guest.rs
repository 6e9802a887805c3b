//! See `pxrun_fuzz::guest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::guest(data));
