//! What the manager cannot do as its users asked, in words that say what to do.
//!
//! The planner and the writer make problems; Events, `/status`, the log and the dry run show them. A problem concerns one
//! object: everything else goes on.

use std::fmt;

use serde::Serialize;

/// One thing that cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Problem {
    /// The object that it is about.
    #[serde(flatten)]
    pub about: Object,
    /// Why, as a stable word: an Event's reason and the label of a metric.
    pub reason: Reason,
    /// Why, and what to do.
    pub message: String,
}

/// An object of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Object {
    /// Which sort of object.
    pub kind: Kind,
    /// Its namespace; that of a namespace is empty.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// Which sort of object a problem is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kind {
    /// A namespace.
    Namespace,
    /// A service.
    Service,
    /// An Ingress.
    Ingress,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why something cannot be done. The words are part of the interface.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// A space has no usable place in a tree.
    SpaceAtFault,
    /// An annotation has a value that it cannot have.
    BadAnnotation,
    /// The port that is to be exposed cannot be told.
    NoPort,
    /// The service leads out of the cluster.
    ExternalService,
    /// A name makes no host name.
    BadHost,
    /// Another Ingress has the host already.
    HostTaken,
    /// An Ingress of that name is there and not ours.
    NameTaken,
    /// Somebody else manages a field that we would set.
    FieldConflict,
    /// The API server refuses the write.
    Refused,
}

impl Object {
    /// A namespace.
    pub fn namespace(name: &str) -> Self {
        Self { kind: Kind::Namespace, namespace: String::new(), name: name.to_owned() }
    }

    /// A service.
    pub fn service(namespace: &str, name: &str) -> Self {
        Self { kind: Kind::Service, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// An Ingress.
    pub fn ingress(namespace: &str, name: &str) -> Self {
        Self { kind: Kind::Ingress, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// The problem that this object has.
    pub fn has(self, reason: Reason, message: String) -> Problem {
        Problem { about: self, reason, message }
    }
}

impl Kind {
    /// The word that the API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::Ingress => "Ingress",
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, namespace, name } = self;
        let slash = if namespace.is_empty() { "" } else { "/" };
        write!(f, "{} {namespace}{slash}{name}", kind.as_str().to_ascii_lowercase())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.message)
    }
}
