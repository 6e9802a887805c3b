//! See `pxrun_fuzz::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::record(data));
