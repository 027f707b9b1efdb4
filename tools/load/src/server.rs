//! CPU time and memory of the server's process, from /proc.

use std::time::Duration;
use std::{fs, io};

/// What a process has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// CPU time of all its threads, user and system.
    pub cpu: Duration,
    /// Resident memory.
    pub rss_bytes: u64,
}

impl Usage {
    /// What a process has used up to now.
    pub(crate) fn of(pid: u32) -> io::Result<Usage> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let malformed =
            || io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/stat cannot be read");
        let (ticks, pages) = parse(&stat).ok_or_else(malformed)?;
        let ticks_per_s = rustix::param::clock_ticks_per_second();
        let cpu = Duration::from_secs_f64(ticks as f64 / ticks_per_s as f64);
        Ok(Usage { cpu, rss_bytes: pages * rustix::param::page_size() as u64 })
    }
}

/// Ticks of the clock, user and system, and resident pages.
fn parse(stat: &str) -> Option<(u64, u64)> {
    // The name in parentheses may hold anything; the fields are counted behind it, where the third stands first.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(24)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 4 0 999 1000000 321 18446744073709551615";
        assert_eq!(parse(stat), Some((200, 321)));
        assert_eq!(parse("7 (cut) S 1"), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(Usage::of(std::process::id()).expect("it runs").rss_bytes > 0);
    }
}
