//! The agent's side of the Kubernetes API, in this process, against the test API server: lists, watches, and what the
//! source makes of them. Needs neither root nor a cluster; `cluster` runs on a real one, too.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod following;
#[cfg(test)]
mod secure;
#[cfg(test)]
mod server;
#[cfg(test)]
mod source;
