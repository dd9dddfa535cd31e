//! The mission's rules, one module each: what the rule says, and its opposite.

mod r01_host;
mod r02_header;
mod r03_chain;
mod r04_no_header;
mod r05_unknown;
mod r06_per_request;
mod r07_inbound;
mod r08_opaque;
mod r09_redeploy;
mod r10_addresses;
mod r11_outside;
