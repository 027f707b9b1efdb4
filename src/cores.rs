//! Which CPUs to run on: `--cores` against what this process is allowed to use.

/// Reads `--cores`: a count (`2`: the first two that are allowed) or a list (`0-3,6`). Returns CPU numbers.
pub fn choose(text: &str, allowed: &[usize]) -> Result<Vec<usize>, CoresError> {
    let _ = (text, allowed);
    todo!()
}

/// The CPUs that this process may use, rising.
pub fn allowed() -> std::io::Result<Vec<usize>> {
    todo!()
}

/// What is wrong with `--cores`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoresError {
    /// Neither a count nor a list; the part that cannot be read.
    Syntax(String),
    /// No core at all.
    None,
    /// More cores than are allowed.
    TooMany {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        allowed: usize,
    },
    /// A CPU that this process may not use.
    NotAllowed {
        /// The CPU.
        cpu: usize,
        /// Those that it may.
        allowed: Vec<usize>,
    },
    /// Named twice.
    Twice(usize),
}
