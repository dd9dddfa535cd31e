//! Size, alignment and absence of padding, asserted at compile time for the kernel's target and the agent's.
//!
//! A change here changes what agents hand to their successors: see `abi`. The object is embedded in the agent, so both sides are always of one build; this guards the layout between targets.

use core::mem::{align_of, offset_of, size_of};

use crate::threads::{Call, Inbound, Reading, Request, Thread};
use crate::{Address, Client, ClientKey, Control, DnsKey, Endpoint, Facts, FactsKey, SpliceFlow, Workload};

macro_rules! layout {
    ($type:ty, size $size:literal, align $align:literal $(, $field:ident @ $offset:literal)*) => {
        const _: () = assert!(size_of::<$type>() == $size && align_of::<$type>() == $align);
        $(const _: () = assert!(offset_of!($type, $field) == $offset);)*
    };
}

layout!(Address, size 16, align 1);
layout!(Endpoint, size 20, align 2, address @ 0, port @ 16, pad @ 18);
layout!(Workload, size 40, align 4, v4 @ 0, v6 @ 16, in_root @ 32, threads @ 36);
layout!(ClientKey, size 32, align 8, netns @ 0, source @ 8, pad @ 28);
layout!(Client, size 32, align 8, client @ 0, pad @ 20, connection @ 24);
layout!(DnsKey, size 32, align 8, netns @ 0, at @ 8, pad @ 28);
layout!(Control, size 56, align 8, heartbeat_ns @ 0, timeout_ns @ 8, agent_cgroups @ 16, outbound_port @ 48, agent_inside @ 50, fail_closed @ 52, pad @ 54);
layout!(FactsKey, size 32, align 8, netns @ 0, agent @ 8, port @ 28, pad @ 30);
layout!(Facts, size 40, align 8, established_ns @ 0, closed_ns @ 8, bytes_acked @ 16, bytes_received @ 24, srtt_us @ 32, retransmits @ 36);
layout!(SpliceFlow, size 64, align 8, redirected @ 0, cost @ 8, mark @ 16, mark_cost @ 24, settled @ 32, trimmed @ 40, state @ 48, next_seq @ 52, write_base @ 56, pad @ 60);
layout!(Thread, size 16, align 8, start @ 0, tid @ 8, tgid @ 12);
layout!(Request, size 16, align 8, id @ 0, start @ 8, pad @ 12);
layout!(Inbound, size 48, align 8, connection @ 0, request @ 8, reader @ 16, base @ 32, answered @ 36, several @ 40, left @ 44);
layout!(Reading, size 160, align 8, last @ 0, cookie @ 16, answers @ 24, mixes @ 28, earlier @ 32);
layout!(Call, size 88, align 8, base @ 0, at @ 4, received @ 8, origin @ 12, request @ 16, earlier @ 24);
