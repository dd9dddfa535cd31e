//! Where the topology comes from. A source yields complete, valid configurations or an error; never half of one.

pub mod file;
pub mod kubernetes;
