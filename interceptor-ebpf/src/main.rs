//! The kernel side of the interceptor: one thin hook a file over the pure policy of `interceptor-common`.
//!
//! `interceptor/build.rs` compiles this for the BPF target and the agent embeds the object. A hook reads its context
//! (only in `ctx`), asks the maps (only in `maps`), lets the policy decide, counts, and acts; no rule is written here.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![cfg_attr(
    target_arch = "bpf",
    expect(clippy::needless_pass_by_value, reason = "aya's macros hand the context over by value"),
    expect(clippy::cast_possible_truncation, reason = "contexts hold ports of 16 bits in words of 32")
)]

#[cfg(target_arch = "bpf")]
mod connect;
#[cfg(target_arch = "bpf")]
mod ctx;
#[cfg(target_arch = "bpf")]
mod dns;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod names;
#[cfg(target_arch = "bpf")]
mod sk_lookup;
#[cfg(target_arch = "bpf")]
mod sock_create;
#[cfg(target_arch = "bpf")]
mod sock_ops;
#[cfg(target_arch = "bpf")]
mod splice;
#[cfg(target_arch = "bpf")]
mod threads;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

/// The helpers that are used need a licence the kernel takes for GPL-compatible.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
