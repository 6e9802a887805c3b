//! See `pxrun_fuzz::pct`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::pct(data));
