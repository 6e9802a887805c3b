//! See `pxrun_fuzz::settings`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::settings(data));
