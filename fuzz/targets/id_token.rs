#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| vaulttoken::fuzz::id_token(text));
