//! libFuzzer's entry to the target `response_head`, which the library holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz::response_head(bytes));
