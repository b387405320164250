#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| caisson_fuzz::client_hello(data));
