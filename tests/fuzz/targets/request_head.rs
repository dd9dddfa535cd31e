//! libFuzzer's entry to the target `request_head`, which the library holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz::request_head(bytes));
