//! What one worker holds for peers that do not keep up: bytes beyond those that every connection is planned with, and
//! descriptors beyond two a connection.
//!
//! Bytes are taken in a workload's name, and a workload gets as many as it leaves for all others; descriptors are taken by
//! whoever comes, who can do without. Of one worker, so that counting takes no atomics; its share is what the agent may
//! hold, divided by the number of workers (docs/decisions/0018).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};

/// A worker's share of what the agent may hold.
#[derive(Debug)]
pub struct Budget {
    bytes: usize,
    held: Cell<usize>,
    descriptors: usize,
    lent: Cell<usize>,
    accounts: RefCell<HashMap<u64, Weak<Account>>>,
}

/// What is held for the connections of one workload.
#[derive(Debug)]
pub struct Account {
    budget: Rc<Budget>,
    workload: u64,
    held: Cell<usize>,
}

/// Bytes that are held, until this is dropped.
#[derive(Debug)]
pub struct Held {
    account: Rc<Account>,
    bytes: usize,
}

/// Descriptors that are lent, until this is dropped.
#[derive(Debug)]
pub struct Spare {
    budget: Rc<Budget>,
    count: usize,
}

impl Budget {
    /// That many bytes and descriptors.
    pub fn new(bytes: usize, descriptors: usize) -> Self {
        Self { bytes, held: Cell::new(0), descriptors, lent: Cell::new(0), accounts: RefCell::default() }
    }

    /// The account of a workload, by the cookie of its namespace.
    pub fn account(self: &Rc<Self>, workload: u64) -> Rc<Account> {
        let mut accounts = self.accounts.borrow_mut();
        if let Some(account) = accounts.get(&workload).and_then(Weak::upgrade) {
            return account;
        }
        let account = Rc::new(Account { budget: Rc::clone(self), workload, held: Cell::new(0) });
        accounts.insert(workload, Rc::downgrade(&account));
        account
    }

    /// So many descriptors beyond two a connection; `None` where there are no more to spare.
    pub fn spare(self: &Rc<Self>, count: usize) -> Option<Spare> {
        let lent = self.lent.get() + count;
        (lent <= self.descriptors).then(|| {
            self.lent.set(lent);
            Spare { budget: Rc::clone(self), count }
        })
    }
}

impl Account {
    /// Holds so many more; `None` where the workload would hold more than it leaves for others.
    pub fn hold(self: &Rc<Self>, bytes: usize) -> Option<Held> {
        let held = self.held.get() + bytes;
        if bytes > 0 && held > self.room().saturating_sub(bytes) {
            return None;
        }
        self.change(bytes, 0);
        Some(Held { account: Rc::clone(self), bytes })
    }

    /// What it is an account of.
    pub fn budget(&self) -> &Rc<Budget> {
        &self.budget
    }

    /// How much nobody holds.
    pub fn room(&self) -> usize {
        self.budget.bytes.saturating_sub(self.budget.held.get())
    }

    fn change(&self, more: usize, less: usize) {
        self.held.set((self.held.get() + more).saturating_sub(less));
        self.budget.held.set((self.budget.held.get() + more).saturating_sub(less));
    }
}

impl Held {
    /// Holds so many more; false, and nothing has changed, where it would be too many.
    pub fn add(&mut self, bytes: usize) -> bool {
        self.set(self.bytes + bytes)
    }

    /// Holds that many from now on; false, and nothing has changed, where it would be too many.
    pub fn set(&mut self, bytes: usize) -> bool {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            match self.account.hold(more) {
                // Counted in this one from now on.
                Some(mut held) => held.bytes = 0,
                None => return false,
            }
        } else {
            self.account.change(0, self.bytes - bytes);
        }
        self.bytes = bytes;
        true
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.accounts.borrow_mut().remove(&self.workload);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.change(0, self.bytes);
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        self.budget.lent.set(self.budget.lent.get() - self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workload_holds_no_more_than_it_leaves_and_others_find_their_share() {
        let budget = Rc::new(Budget::new(1000, 0));
        let [one, other] = [1, 2].map(|workload| budget.account(workload));
        let mut held: Vec<Held> = std::iter::from_fn(|| one.hold(10)).collect();
        assert_eq!((held.len(), one.room()), (50, 500));
        assert_eq!(std::iter::from_fn(|| other.hold(10)).collect::<Vec<_>>().len(), 25);
        assert!(one.hold(0).is_some() && one.hold(1).is_none());
        held.truncate(10);
        assert_eq!(one.room(), 900, "what others held is given back as well");
        assert!(one.hold(400).is_some());
        drop(held);
        assert_eq!(budget.held.get(), 0);
    }

    #[test]
    fn what_is_held_can_grow_and_shrink() {
        let budget = Rc::new(Budget::new(1000, 0));
        let account = budget.account(1);
        let mut held = account.hold(100).unwrap();
        assert!(held.set(500));
        assert!(!held.set(501), "more than is left");
        assert_eq!((account.held.get(), budget.held.get()), (500, 500));
        assert!(held.set(0));
        assert_eq!(budget.held.get(), 0);
        assert!(held.set(7));
        drop(held);
        assert_eq!((account.held.get(), budget.held.get()), (0, 0));
    }

    #[test]
    fn an_account_is_one_a_workload_as_long_as_it_is_used() {
        let budget = Rc::new(Budget::new(1000, 0));
        let account = budget.account(1);
        assert!(Rc::ptr_eq(&account, &budget.account(1)));
        assert!(!Rc::ptr_eq(&account, &budget.account(2)));
        drop(account);
        assert!(budget.accounts.borrow().is_empty());
    }

    #[test]
    fn descriptors_are_lent_as_far_as_there_are_some_to_spare() {
        let budget = Rc::new(Budget::new(0, 5));
        let [first, second] = [2, 2].map(|count| budget.spare(count));
        assert!(first.is_some() && second.is_some() && budget.spare(2).is_none() && budget.spare(1).is_some());
        drop(first);
        assert!(budget.spare(3).is_some());
    }
}
