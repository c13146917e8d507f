#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vaulttoken::fuzz::token_answer(bytes));
