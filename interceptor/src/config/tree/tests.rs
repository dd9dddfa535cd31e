//! The faults of space trees, their words, and that they cost linear time.

use super::*;

fn spaces(list: &[(&str, &str)]) -> Vec<SpaceSpec> {
    let space = |(name, parent): &(&str, &str)| SpaceSpec {
        name: (*name).to_owned(),
        parent: (!parent.is_empty()).then(|| (*parent).to_owned()),
        propagate: None,
    };
    list.iter().map(space).collect()
}

fn faults(list: &[(&str, &str)]) -> Vec<(usize, String)> {
    space_faults(&spaces(list)).into_iter().map(|(index, fault)| (index, fault.to_string())).collect()
}

#[test]
fn three_derived_levels_are_fine_in_any_order() {
    assert_eq!(faults(&[]), []);
    assert_eq!(faults(&[("d", "c"), ("b", "a"), ("a", ""), ("c", "b"), ("x", "")]), []);
}

#[test]
fn the_fourth_level_is_too_deep_and_what_is_below_has_a_faulty_ancestor() {
    let expected = [
        (1, "it is more than 3 derived levels below its root (e → d → c → b → a)".to_owned()),
        (2, "the space it derives from cannot be used (f → e)".to_owned()),
    ];
    assert_eq!(faults(&[("a", ""), ("e", "d"), ("f", "e"), ("b", "a"), ("c", "b"), ("d", "c")]), expected);
}

#[test]
fn an_unknown_parent_spoils_its_descendants_only() {
    let expected = [
        (1, "its parent \"nobody\" does not exist (b → nobody)".to_owned()),
        (2, "the space it derives from cannot be used (c → b)".to_owned()),
    ];
    assert_eq!(faults(&[("a", ""), ("b", "nobody"), ("c", "b"), ("d", "a")]), expected);
}

#[test]
fn every_space_of_a_cycle_names_it_from_its_own_side() {
    let expected = [
        (0, "the space it derives from cannot be used (tail → a)".to_owned()),
        (1, "it derives from itself (a → b → c → a)".to_owned()),
        (2, "it derives from itself (b → c → a → b)".to_owned()),
        (3, "it derives from itself (c → a → b → c)".to_owned()),
        (4, "it derives from itself (self → self)".to_owned()),
    ];
    assert_eq!(faults(&[("tail", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("self", "self"), ("ok", "")]), expected);
}

#[test]
fn of_equal_names_the_first_is_the_parent() {
    let expected = [(1, "its parent \"x\" does not exist (a → x)".to_owned())];
    assert_eq!(faults(&[("a", ""), ("a", "x"), ("b", "a")]), expected);
}

#[test]
fn a_hundred_thousand_spaces_in_one_chain_or_cycle_take_no_time() {
    let count = 100_000;
    let names: Vec<_> = (0..=count).map(|index| format!("s{index}")).collect();
    let mut chain: Vec<_> = (0..count).map(|i| (names[i].as_str(), names[i + 1].as_str())).collect();
    chain.push((&names[count], ""));
    assert_eq!(space_faults(&spaces(&chain)).len(), count - MAX_DERIVED_LEVELS);
    chain[count].1 = &names[0];
    let cycle = faults(&chain);
    assert_eq!(cycle.len(), count + 1);
    assert_eq!(cycle[5].1, "it derives from itself (s5 → s6 → s7 → s8 → s9 → s10 → s11 → s12 → … (100001 spaces))");
}
