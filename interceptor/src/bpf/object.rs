//! The eBPF object, embedded at build time (see build.rs). Empty when the build had no BPF toolchain.

/// The object's bytes, aligned as an ELF reader needs them.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/interceptor-ebpf"));
