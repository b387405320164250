#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| caisson_fuzz::dns_packet(data));
