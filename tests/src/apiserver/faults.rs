//! What the test API server is told to do wrong, whom it lets do what, and what it was asked.
//!
//! A test sets faults and rules while requests are under way; the server's dispatch asks once per request.

use std::time::{Duration, Instant};

use super::answer::Refusal;
use super::resource::Resource;
use super::secure::Credential;

/// How a request goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A `Status` with this code.
    Status(u16),
    /// Status 200 and a body that is no JSON.
    Garbage,
    /// No answer, for as long as the client waits.
    Silence,
    /// The connection ends after the answer's head.
    Cut,
    /// Status 200 and an empty body.
    Ends,
    /// The answer comes this much later.
    Slow(Duration),
}

/// What an RBAC rule allows; `*` stands for everything.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// API groups; the core's is empty.
    pub groups: Vec<String>,
    /// Resources, with `/status` and the like for their parts.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}

impl Rule {
    fn allows(&self, call: &Call) -> bool {
        let has = |list: &[String], word: &str| list.iter().any(|one| one == "*" || one == word);
        has(&self.groups, &call.group) && has(&self.resources, &call.resource) && has(&self.verbs, &call.verb)
    }
}

/// A request that came in.
#[derive(Debug, Clone)]
pub struct Call {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The plural, with its subresource (`ingresses/status`).
    pub resource: String,
    /// The namespace; `None` for all, or for what has none.
    pub namespace: Option<String>,
    /// The query as it came.
    pub query: String,
    /// The client's name for itself.
    pub user_agent: String,
    /// How the client has shown who it is.
    pub credential: Credential,
    /// When it came.
    pub at: Instant,
}

/// Faults, rules and the list of calls.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    faults: Vec<(String, String, Fault)>,
    rules: Option<Vec<Rule>>,
    pub(crate) calls: Vec<Call>,
}

impl Faults {
    pub(crate) fn add(&mut self, verb: &str, resource: &str, fault: Fault) {
        self.faults.push((verb.to_owned(), resource.to_owned(), fault));
    }

    pub(crate) fn heal(&mut self) {
        self.faults.clear();
    }

    pub(crate) fn allow_only(&mut self, rules: Vec<Rule>) {
        self.rules = Some(rules);
    }

    /// Notes the call; what is to go wrong with it, if anything.
    pub(crate) fn judge(&mut self, call: Call, resource: &Resource) -> Result<Option<Fault>, Refusal> {
        let is = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        let found = self.faults.iter().find(|(verb, plural, _)| is(verb, &call.verb) && is(plural, resource.plural));
        let fault = found.map(|(_, _, fault)| fault.clone());
        let allowed = self.rules.as_ref().is_none_or(|rules| rules.iter().any(|rule| rule.allows(&call)));
        let (verb, group) = (call.verb.clone(), call.group.clone());
        let scope = match &call.namespace {
            Some(namespace) => format!("in the namespace \"{namespace}\""),
            None => "at the cluster scope".to_owned(),
        };
        self.calls.push(call);
        if !allowed || fault == Some(Fault::Status(403)) {
            let plural = resource.plural;
            return Err(Refusal::of(
                403,
                format!(
                    "{plural} is forbidden: User \"system:serviceaccount:interceptor:interceptor\" cannot {verb} resource \
                     \"{plural}\" in API group \"{group}\" {scope}"
                ),
            ));
        }
        Ok(fault)
    }
}
