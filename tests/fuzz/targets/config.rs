//! libFuzzer's entry to the target `config`, which the library holds.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| interceptor_fuzz::config(bytes));
