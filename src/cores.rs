//! Which CPUs to run on: `--cores` against what this process is allowed to use.

use std::fmt;
use std::io;

/// One of the server's cores: its index, from 0, in the order of `--cores`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CoreIndex(pub u16);

/// Reads `--cores`: a count (`2`: the first two that are allowed) or a list (`0-3,6`; one CPU
/// alone: `4-4`). Returns CPU numbers, in the order given.
pub fn choose(text: &str, allowed: &[usize]) -> Result<Vec<usize>, CoresError> {
    let text = text.trim();
    if !text.contains(['-', ',']) {
        return first(number(text)?, allowed);
    }
    let mut chosen = Vec::new();
    for part in text.split(',') {
        for cpu in range(part.trim())? {
            if !allowed.contains(&cpu) {
                return Err(CoresError::NotAllowed { cpu, allowed: allowed.to_vec() });
            }
            if chosen.contains(&cpu) {
                return Err(CoresError::Twice(cpu));
            }
            chosen.push(cpu);
        }
    }
    Ok(chosen)
}

/// The CPUs that this process may use, rising.
pub fn allowed() -> io::Result<Vec<usize>> {
    let set = rustix::thread::sched_getaffinity(None)?;
    Ok((0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
}

fn first(count: usize, allowed: &[usize]) -> Result<Vec<usize>, CoresError> {
    match count {
        0 => Err(CoresError::None),
        count if count > allowed.len() => {
            Err(CoresError::TooMany { asked: count, allowed: allowed.len() })
        }
        count => Ok(allowed[..count].to_vec()),
    }
}

fn range(part: &str) -> Result<std::ops::RangeInclusive<usize>, CoresError> {
    let (low, high) = part.split_once('-').unwrap_or((part, part));
    let (low, high) = (number(low)?, number(high)?);
    // No machine has as many; a slip of the finger should not make a list of billions.
    if low > high || high >= rustix::thread::CpuSet::MAX_CPU {
        return Err(CoresError::Syntax(part.to_owned()));
    }
    Ok(low..=high)
}

fn number(text: &str) -> Result<usize, CoresError> {
    text.trim().parse().map_err(|_| CoresError::Syntax(text.to_owned()))
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

impl fmt::Display for CoresError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CoresError::Syntax(part) => {
                write!(f, "'{part}' is neither a number of cores (2) nor a list of CPUs (0-3,6)")
            }
            CoresError::None => f.write_str("at least one core is needed"),
            CoresError::TooMany { asked, allowed } => {
                write!(f, "{asked} cores were asked for, but this process may use only {allowed}")
            }
            CoresError::NotAllowed { cpu, allowed } => {
                write!(
                    f,
                    "CPU {cpu} is not among those that this process may use: {}",
                    list(allowed)
                )
            }
            CoresError::Twice(cpu) => write!(f, "CPU {cpu} is named twice"),
        }
    }
}

impl std::error::Error for CoresError {}

/// CPU numbers as a person writes them: `0-3,6`.
pub fn list(cpus: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &cpu in cpus {
        match ranges.last_mut() {
            Some((_, high)) if *high + 1 == cpu => *high = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let parts = ranges.iter().map(|(low, high)| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [usize; 5] = [0, 1, 4, 5, 6];

    #[test]
    fn a_count_takes_the_first_allowed() {
        assert_eq!(choose("3", &ALLOWED), Ok(vec![0, 1, 4]));
        assert_eq!(choose("0", &ALLOWED), Err(CoresError::None));
        assert_eq!(choose("6", &ALLOWED), Err(CoresError::TooMany { asked: 6, allowed: 5 }));
    }

    #[test]
    fn a_list_names_cpus() {
        assert_eq!(choose("4-6, 1", &ALLOWED), Ok(vec![4, 5, 6, 1]));
        assert_eq!(choose("4-4", &ALLOWED), Ok(vec![4]));
        assert_eq!(choose("1,1", &ALLOWED), Err(CoresError::Twice(1)));
        let not_allowed = CoresError::NotAllowed { cpu: 2, allowed: ALLOWED.to_vec() };
        assert_eq!(
            not_allowed.to_string(),
            "CPU 2 is not among those that this process may use: 0-1,4-6"
        );
        assert_eq!(choose("0-4", &ALLOWED), Err(not_allowed));
    }

    #[test]
    fn anything_else_is_refused_by_its_part() {
        for (text, part) in
            [("", ""), ("two", "two"), ("1,", ""), ("5-4", "5-4"), ("0-99999999", "0-99999999")]
        {
            assert_eq!(
                choose(text, &ALLOWED),
                Err(CoresError::Syntax(part.to_owned())),
                "{text:?}"
            );
        }
    }

    #[test]
    fn this_process_may_use_some_cpu() {
        assert!(!allowed().expect("the kernel says which").is_empty());
    }
}
