//! What a core lends to its connections of the memory that clients decide about: how many streams they open, how long
//! their messages are, how much they ask for and how slowly they read it.
//!
//! What holds such memory borrows it first, for the longest that it may become; where nothing is left, the client is told
//! to come back. So the sum is bounded, whoever takes how much of it.
//!
//! **Invariant:** what is lent never exceeds what there is.

use std::cell::Cell;
use std::marker::PhantomData;

use crate::limits::LOANS_BYTES_DEFAULT;

thread_local! {
    /// Bytes that this core has lent.
    static LENT: Cell<usize> = const { Cell::new(0) };
    /// Bytes that it may lend.
    static LENT_MAX: Cell<usize> = const { Cell::new(LOANS_BYTES_DEFAULT) };
}

/// Sets how much this core may lend; what is lent already stays so.
pub fn set_most(bytes: usize) {
    LENT_MAX.set(bytes);
}

/// How many bytes this core has lent.
pub fn lent() -> usize {
    LENT.get()
}

/// How many bytes this core may lend.
pub fn most() -> usize {
    LENT_MAX.get()
}

/// Some of a core's memory; goes back when it is dropped. It stays on its core.
#[derive(Debug, Default)]
pub struct Loan {
    bytes: usize,
    stays: PhantomData<*const ()>,
}

impl Loan {
    /// Borrows so many bytes; none where that is more than is left.
    pub fn take(bytes: usize) -> Option<Loan> {
        let mut loan = Loan::default();
        loan.grow(bytes).then_some(loan)
    }

    /// Borrows more, so that it is `bytes` altogether. Returns whether there was enough; if not, it stays what it was.
    pub fn grow(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.bytes);
        let fits = more <= most().saturating_sub(lent());
        if fits {
            LENT.set(lent() + more);
            self.bytes += more;
        }
        fits
    }

    /// Gives back what is beyond so many bytes.
    pub fn shrink(&mut self, bytes: usize) {
        let less = self.bytes.saturating_sub(bytes);
        LENT.set(lent() - less);
        self.bytes -= less;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.shrink(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_lent_than_there_is_and_all_of_it_comes_back() {
        set_most(100);
        let mut one = Loan::take(60).expect("there is room");
        assert!(Loan::take(41).is_none());
        let other = Loan::take(40).expect("what is left");
        assert!(!one.grow(61) && lent() == 100, "nothing is left");
        assert!(one.grow(60), "it has that already");
        one.shrink(10);
        one.shrink(70);
        assert_eq!(lent(), 50, "shrinking never borrows");
        assert!(one.grow(60) && lent() == 100);
        drop(other);
        drop(one);
        assert_eq!(lent(), 0);
        set_most(LOANS_BYTES_DEFAULT);
    }

    #[test]
    fn less_may_be_lent_than_is() {
        set_most(100);
        let loan = Loan::take(80).expect("there is room");
        set_most(50);
        assert!(Loan::take(1).is_none());
        drop(loan);
        assert!(Loan::take(50).is_some());
        set_most(LOANS_BYTES_DEFAULT);
    }
}
