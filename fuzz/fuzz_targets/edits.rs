//! See `pxrun_fuzz::edits`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::edits(data));
