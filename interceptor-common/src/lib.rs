//! The contract between the kernel programs (`interceptor-ebpf`) and the agent (`interceptor`).
//!
//! Everything that crosses the border is declared here once: map and program names, keys and values with their layout,
//! counters, and the capture policy, which is pure so that it runs in the kernel and is tested in userspace. No I/O, no
//! allocation, no dependency; with feature `user` the types become aya `Pod`s and convert from and to std's addresses.
//!
//! | map | kind | key → value | written by | read by | lifetime of an entry |
//! |---|---|---|---|---|---|
//! | `CAPTURE` | hash | [`Endpoint`] → `u32` ([`policy::Captured`]) | agent | connect4/6 | while the destination is captured |
//! | `ORIGINALS` | hash | `u32` index → [`Endpoint`] | agent | getpeername4/6, getsockname6 | index in use or not yet reused |
//! | `WORKLOADS` | hash | netns cookie → [`Workload`] | agent | connect4/6, getsockname4/6 | while the workload's listeners are open |
//! | `INBOUND` | hash | [`Endpoint`] of a workload → `u32` ([`policy::Inbound`]) | agent, sock_ops where `LISTENING` is full | sk_lookup | while that port is intercepted |
//! | `LISTENING` | hash | [`Endpoint`] of a workload → `u64` sockets of its own that listen there | sock_ops (agent removes) | sk_lookup | while the workload is captured |
//! | `PEERS` | hash | [`Address`] → `u32` (1) | agent | sk_lookup | while that workload and its calls are captured |
//! | `LISTENERS` | sockhash | [`Address`] of a workload → inbound listener | agent | sk_lookup | while the listener is open (the kernel removes closed sockets) |
//! | `OUTBOUND` | sockhash | netns cookie → outbound listener | agent | connect4/6 | while the listener is open (the kernel removes closed sockets) |
//! | `CLIENTS` | hash | [`ClientKey`] → [`Client`] | agent | getpeername4/6, sock_ops | one inbound connection to the application |
//! | `FACTS` | LRU hash | [`FactsKey`] → [`Facts`] | sock_ops | agent | until the agent reads it at the flow's end |
//! | `NAMESPACES` | LRU hash | cookie of a socket of the agent's → netns cookie | sock_create | agent | until older than others (kernels before 5.14 only) |
//! | `DNS_AGENTS` | hash | [`DnsKey`] of a server → the agent's [`Endpoint`] | agent | connect4/6, sendmsg4/6 | while that workload is in a derived space |
//! | `DNS_SERVERS` | hash | [`DnsKey`] of the agent's socket → the server's [`Endpoint`] | agent | recvmsg4/6, getpeername4/6, getsockname4/6 | while that socket is open |
//! | `SPLICE_TARGETS` | sockhash | cookie of a socket → the socket that what it receives goes to | agent | sk_skb | while that socket is open |
//! | `SPLICE_SOURCES` | sockhash, with the verdict program | cookie of a socket → itself | agent | the kernel | while the socket is open |
//! | `SPLICE_FLOWS` | hash | cookie of a receiving socket → [`SpliceFlow`] | agent (adds, removes), sk_skb | agent, sk_skb | while the agent relays that direction |
//! | `REQUESTS` | hash | the agent's number of an inbound connection → [`threads::Request`] | agent | thread hooks | that request, where its workload has `propagate: thread` |
//! | `INBOUND_SOCKETS` | LRU hash | cookie of an application's socket → [`threads::Inbound`] | thread hooks | thread hooks | while that socket is open |
//! | `READINGS` | LRU hash | [`threads::Thread`] → [`threads::Reading`] | thread hooks | thread hooks | until others need the room |
//! | `MISTRUSTED` | LRU hash | number of a process → `u32` (1) | thread hooks | thread hooks | until others need the room |
//! | `CALLS` | LRU hash | [`FactsKey`] → [`threads::Call`] | thread hooks | agent | until the agent removes it at the connection's end |
//! | `CONTROL` | array (1) | 0 → [`Control`] | agent | all hooks | the agent's life |
//! | `COUNTERS` | per-CPU array | [`counters::Counter`] → `u64` | all hooks | agent | the agent's life |
#![no_std]

mod abi;
mod addr;
pub mod counters;
pub mod dns;
mod layout;
pub mod names;
pub mod policy;
mod record;
pub mod splice;
pub mod threads;

pub use abi::ABI;
pub use addr::{Address, Endpoint, NetPort};
pub use record::{Client, ClientKey, Control, DnsKey, Facts, FactsKey, Workload};
pub use splice::{SpliceFlow, SpliceState};
