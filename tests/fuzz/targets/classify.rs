//! libFuzzer's entry to the target `classify`, which the library holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz::classify(bytes));
