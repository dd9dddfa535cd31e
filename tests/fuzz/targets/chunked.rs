//! libFuzzer's entry to the target `chunked`, which the library holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz::chunked(bytes));
