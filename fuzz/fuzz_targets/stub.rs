//! See `pxrun_fuzz::stub`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::stub(data));
