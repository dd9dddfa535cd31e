//! What is deployed at a moment, and so which copy a request belongs to (rules R3 to R5).
//!
//! ```text
//!  default ── alice ── bob        shop, a tree of its own
//!          ├─ carol               nosuch is nowhere
//!          └─ dave
//! ```
//! `default` always has a copy of the service; the others' come and go, carol's with the space itself.

/// Which spaces have a copy of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) alice: bool,
    pub(crate) bob: bool,
    /// The space as well.
    pub(crate) carol: bool,
    /// In a pod that comes and goes with it.
    pub(crate) dave: bool,
}

/// The spaces that clients name, two of which lead nowhere.
pub(crate) const NAMED: [&str; 7] = ["default", "alice", "bob", "carol", "dave", "shop", "nosuch"];

impl Truth {
    /// The space whose copy answers a request that names `named`, from a pod of `home`, sent to the service of `default`.
    pub(crate) fn answers(self, named: Option<&str>, home: Option<&str>) -> &'static str {
        match named.or(home) {
            Some("alice") if self.alice => "alice",
            Some("bob") if self.bob => "bob",
            Some("bob") if self.alice => "alice",
            Some("carol") if self.carol => "carol",
            Some("dave") if self.dave => "dave",
            _ => "default",
        }
    }

    /// Whether a space is there, in the tree of the service.
    pub(crate) fn knows(self, space: &str) -> bool {
        match space {
            "carol" => self.carol,
            "shop" | "nosuch" => false,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Truth;

    #[test]
    fn a_space_without_a_copy_uses_the_next_one_up() {
        let truth = Truth { alice: true, bob: false, carol: false, dave: true };
        let answers = |named: &str| truth.answers(Some(named), Some("bob"));
        let all = ["default", "alice", "bob", "carol", "dave", "shop", "nosuch"].map(answers);
        assert_eq!(all, ["default", "alice", "alice", "default", "dave", "default", "default"]);
        assert_eq!(truth.answers(None, Some("bob")), "alice");
        assert_eq!(truth.answers(None, None), "default");
    }
}
