//! Whether what a client tells is right, given what was done to the agent at the time.
//!
//! Pure: [`Timeline`] and the told in, a verdict out. What is promised is docs/specification.md's; nothing else excuses.

use crate::plan::Kind;
use crate::timeline::{Timeline, What};
use crate::told::{Outcome, RESET, Told};

/// Within so many milliseconds of its death a killed agent is in nobody's way any more.
const OUT_OF_THE_WAY: u64 = 100;
/// So long after it a client may find out that the connection that it kept is gone.
const FOUND_OUT: u64 = 3000;
/// So much earlier or later than it should may a draining agent reset what is left.
const DRAINED: u64 = 4000;

/// So much later than its successor an agent that drains may hear of a change.
const HEARD: u64 = 250;

/// What an answer, or the lack of one, is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By the right copy.
    Right,
    /// By the shared copy, as no agent was there: why.
    Direct(String),
    /// None, as announced: why.
    Explained(String),
    /// By the wrong copy, or with the wrong bytes.
    Wrong(String),
    /// None, and nothing that was promised explains it.
    Unexplained(String),
}

/// The space that the pod of a client is in.
pub(crate) fn home(who: &str) -> Option<&'static str> {
    match who {
        "caller" => Some("default"),
        "dev" => Some("bob"),
        "visitor" => Some("alice"),
        _ => None,
    }
}

/// Judges what a client tells; `drain` is how long a succeeded agent waits for what is under way, milliseconds.
pub(crate) fn judge(timeline: &Timeline, who: &str, told: &Told, drain: u64) -> Verdict {
    match &told.outcome {
        Outcome::Wrong(what) => Verdict::Wrong(what.clone()),
        Outcome::Failed(cause) => failed(timeline, told, cause, drain),
        Outcome::Answered { copy, added } => answered(timeline, who, told, (copy, added.as_deref()), drain),
    }
}

fn answered(timeline: &Timeline, who: &str, told: &Told, (copy, added): (&str, Option<&str>), drain: u64) -> Verdict {
    let front = told.kind == Kind::Front.name();
    let opaque = Kind::is_opaque(&told.kind);
    let (home, named) = (home(who), told.space.as_deref());
    let heard = timeline.draining(told.connecting, told.began).map_or(0, |_| HEARD);
    let truths = timeline.truths(told.began.saturating_sub(heard), told.routed);
    let right = truths.iter().any(|truth| {
        // The application in between has no space of its own: it lives in default.
        let space = if opaque { "default" } else { truth.answers(named, home) };
        copy.strip_prefix("echo.") == Some(space)
    });
    let mut direct = timeline.direct(told.connecting, told.connected);
    if front {
        // Its own call has a connection of its own, and the trace id is remembered by the agent that saw it first.
        direct = direct.or_else(|| timeline.direct(told.began, told.ended));
        direct = direct.or_else(|| timeline.replaced(told.began, told.ended, drain));
    }
    if !right {
        return match direct {
            Some(what) if copy == "echo.default" => Verdict::Direct(what.to_string()),
            _ => {
                let expected: Vec<&str> = truths.iter().map(|truth| truth.answers(named, home)).collect();
                Verdict::Wrong(format!("{copy} answered instead of the copy of {expected:?}"))
            }
        };
    }
    if front || opaque || direct.is_some() {
        return Verdict::Right;
    }
    // What the interceptor adds: the space that the host names (R1), or the caller's own (R4).
    let by_host = home.is_none() && named.is_some() && who == "outside";
    let belongs = if by_host { named } else { home.filter(|_| named.is_none()) };
    match (belongs, added) {
        (belongs, Some(added)) if belongs != Some(added) => {
            Verdict::Wrong(format!("the route header {added} was added instead of {belongs:?}"))
        }
        (Some(space), None) if truths.iter().all(|truth| truth.knows(space)) => {
            Verdict::Wrong(format!("the route header {space} was not added"))
        }
        _ => Verdict::Right,
    }
}

fn failed(timeline: &Timeline, told: &Told, cause: &str, drain: u64) -> Verdict {
    let (own, cause) = cause.strip_prefix("its own call: ").map_or((false, cause), |cause| (true, cause));
    let killed = timeline.of(What::Kill).any(|kill| {
        let until = kill.gone + OUT_OF_THE_WAY;
        let made = told.connecting <= until || (own && told.began <= until);
        let refused = cause == "refused" && told.connected >= kill.began;
        made && kill.began <= told.ended && told.began <= kill.gone + FOUND_OUT && (cause == RESET || refused)
    });
    if killed {
        return Verdict::Explained(format!("kill: {cause}"));
    }
    if cause == RESET && Kind::is_long(&told.kind) {
        for what in [What::Upgrade, What::Stop] {
            let drained = timeline.of(what).any(|window| {
                let (first, last) = (window.began + drain, window.ended + drain + DRAINED);
                told.connecting <= window.ended && (first..last).contains(&(told.ended + 500))
            });
            if drained {
                return Verdict::Explained(format!("{what}: longer than drain_timeout"));
            }
        }
    }
    Verdict::Unexplained(cause.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Window;
    use crate::truth::Truth;

    const DRAIN: u64 = 6000;

    fn timeline() -> Timeline {
        let truth = Truth { alice: true, bob: false, carol: false, dave: false };
        let mut timeline = Timeline::new(truth);
        timeline.happened(Window { what: What::Kill, began: 10_000, gone: 10_020, ended: 11_000 });
        timeline.happened(Window { what: What::Upgrade, began: 30_000, gone: 30_300, ended: 30_300 });
        timeline
    }

    fn told(kind: Kind, space: Option<&str>, connecting: u64, began: u64, outcome: Outcome) -> Told {
        Told {
            kind: kind.name().to_owned(),
            id: 1,
            space: space.map(str::to_owned),
            once: false,
            connecting,
            connected: connecting,
            began,
            routed: began + 5,
            ended: began + 10,
            micros: 10_000,
            outcome,
        }
    }

    fn by(copy: &str) -> Outcome {
        Outcome::Answered { copy: copy.to_owned(), added: None }
    }

    fn verdict(who: &str, told: &Told) -> Verdict {
        judge(&timeline(), who, told, DRAIN)
    }

    #[test]
    fn the_right_copy_is_right_and_another_one_is_wrong() {
        let ask = |copy: &str| verdict("caller", &told(Kind::KeepAlive, Some("bob"), 5000, 6000, by(copy)));
        assert_eq!(ask("echo.alice"), Verdict::Right);
        assert!(matches!(ask("echo.default"), Verdict::Wrong(_)));
        assert!(matches!(ask("echo.bob"), Verdict::Wrong(_)));
    }

    #[test]
    fn a_connection_made_without_an_agent_is_direct_as_long_as_it_lives_but_never_another_spaces() {
        let late = |copy: &str| verdict("caller", &told(Kind::KeepAlive, Some("alice"), 10_500, 12_000, by(copy)));
        assert_eq!(late("echo.default"), Verdict::Direct("kill".to_owned()));
        assert!(matches!(late("echo.bob"), Verdict::Wrong(_)));
        let after = told(Kind::KeepAlive, Some("alice"), 11_100, 12_000, by("echo.default"));
        assert!(matches!(verdict("caller", &after), Verdict::Wrong(_)));
        // An upgrade excuses nothing.
        let upgraded = told(Kind::KeepAlive, Some("alice"), 30_100, 30_200, by("echo.default"));
        assert!(matches!(verdict("caller", &upgraded), Verdict::Wrong(_)));
    }

    #[test]
    fn an_agent_that_drains_hears_of_a_change_a_moment_later_than_its_successor() {
        let mut timeline = timeline();
        let gone = Truth { alice: false, bob: false, carol: false, dave: false };
        timeline.changed(30_000, 30_300, gone);
        let ask = |connecting, began| {
            let told = told(Kind::KeepAlive, Some("alice"), connecting, began, by("echo.alice"));
            judge(&timeline, "caller", &told, DRAIN)
        };
        assert_eq!(ask(29_000, 30_400), Verdict::Right);
        assert!(matches!(ask(29_000, 30_600), Verdict::Wrong(_)));
        assert!(matches!(ask(30_350, 30_400), Verdict::Wrong(_)));
    }

    #[test]
    fn a_kill_explains_resets_of_what_was_there_and_nothing_else() {
        let ask = |connecting, began, cause: &str| {
            verdict("caller", &told(Kind::KeepAlive, None, connecting, began, Outcome::Failed(cause.to_owned())))
        };
        assert!(matches!(ask(9000, 9995, RESET), Verdict::Explained(_)));
        assert!(matches!(ask(10_200, 10_200, RESET), Verdict::Unexplained(_)));
        assert!(matches!(ask(9000, 9995, "closed before its turn"), Verdict::Unexplained(_)));
        assert!(matches!(ask(29_000, 30_100, RESET), Verdict::Unexplained(_)));
    }

    #[test]
    fn only_what_is_longer_than_the_drain_is_reset_by_an_upgrade() {
        let ask =
            |kind, began: u64| verdict("caller", &told(kind, None, 20_000, began, Outcome::Failed(RESET.to_owned())));
        assert!(matches!(ask(Kind::RawLong, 36_200), Verdict::Explained(_)));
        assert!(matches!(ask(Kind::RawLong, 32_000), Verdict::Unexplained(_)));
        assert!(matches!(ask(Kind::KeepAlive, 36_200), Verdict::Unexplained(_)));
    }

    #[test]
    fn the_header_that_is_added_is_that_of_the_caller_or_the_host() {
        let ask = |who: &str, space: Option<&str>, added: Option<&str>, copy: &str| {
            let outcome = Outcome::Answered { copy: copy.to_owned(), added: added.map(str::to_owned) };
            verdict(who, &told(Kind::Fresh, space, 5000, 5000, outcome))
        };
        assert_eq!(ask("dev", None, Some("bob"), "echo.alice"), Verdict::Right);
        assert!(matches!(ask("dev", None, None, "echo.alice"), Verdict::Wrong(_)));
        assert!(matches!(ask("dev", None, Some("alice"), "echo.alice"), Verdict::Wrong(_)));
        assert_eq!(ask("outside", Some("alice"), Some("alice"), "echo.alice"), Verdict::Right);
        assert_eq!(ask("outside", None, None, "echo.default"), Verdict::Right);
        assert!(matches!(ask("plain", None, Some("default"), "echo.default"), Verdict::Wrong(_)));
    }
}
