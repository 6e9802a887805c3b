//! See `pxrun_fuzz::image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pxrun_fuzz::image(data));
