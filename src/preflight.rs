//! Whether this host can run the server, asked before anything starts: each finding names the command that mends it.
//!
//! glommio only says that the kernel is too old, whatever the reason; here the kernel is asked directly.

use std::io;
use std::path::{Path, PathBuf};
use std::{fmt, fs, mem};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::cores::CoresError;

/// What an executor refuses to start below.
const MEMLOCK_BYTES_MIN: u64 = 512 << 10;
/// The first kernel with every io_uring operation that the executors use.
const KERNEL_MIN: (u32, u32) = (5, 8);

/// Why this host cannot run the server.
#[derive(Debug)]
pub enum Unable {
    /// The kernel knows no io_uring: it is too old, or a sandbox hides it.
    IoUringUnknown {
        /// As `uname -r` says.
        kernel: String,
    },
    /// `kernel.io_uring_disabled` is not 0.
    IoUringDisabled {
        /// 1: for those without privileges; 2: for all.
        level: u8,
    },
    /// The kernel allows it, a filter (seccomp) does not.
    IoUringForbidden,
    /// It failed in another way.
    IoUringFailed(io::Error),
    /// This process may not lock enough memory.
    Memlock {
        /// Its hard limit, in bytes.
        limit: u64,
    },
    /// The cores asked for are not to be had.
    Cores(CoresError),
    /// The kernel does not say which cores this process may use.
    Affinity(io::Error),
    /// The data folder cannot be made or written.
    DataDir(PathBuf, io::Error),
}

impl fmt::Display for Unable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unable::IoUringUnknown { kernel } if kernel_version(kernel) < Some(KERNEL_MIN) => {
                write!(
                    f,
                    "kernel {kernel} is too old for io_uring as engram uses it: {}.{} or newer is needed\n  \
                 mend: apt-get install --install-recommends linux-image-generic, then reboot",
                    KERNEL_MIN.0, KERNEL_MIN.1
                )
            }
            Unable::IoUringUnknown { kernel } => write!(
                f,
                "io_uring is hidden from this process, though kernel {kernel} could have it: \
                 a container's seccomp profile, or CONFIG_IO_URING=n\n  \
                 mend: docker run --security-opt seccomp=unconfined … (or a profile that allows io_uring_setup, \
                 io_uring_enter and io_uring_register)"
            ),
            Unable::IoUringDisabled { level } => write!(
                f,
                "io_uring is switched off on this host (kernel.io_uring_disabled = {level})\n  \
                 mend: sudo sysctl -w kernel.io_uring_disabled=0"
            ),
            Unable::IoUringForbidden => write!(
                f,
                "io_uring is forbidden to this process by a seccomp filter\n  \
                 mend: docker run --security-opt seccomp=unconfined … (or a profile that allows io_uring_setup, \
                 io_uring_enter and io_uring_register); under systemd: SystemCallFilter=io_uring_setup \
                 io_uring_enter io_uring_register"
            ),
            Unable::IoUringFailed(why) => write!(
                f,
                "io_uring cannot be set up: {why}\n  see: man 2 io_uring_setup, and dmesg for the kernel's reason"
            ),
            Unable::Memlock { limit } => write!(
                f,
                "this process may lock {} KiB of memory, or others of its user have used that up, and each core needs \
                 {} KiB\n  \
                 mend: ulimit -l 8192 (as root), or LimitMEMLOCK=8M in the systemd unit, \
                 or docker run --ulimit memlock=8388608",
                limit >> 10,
                MEMLOCK_BYTES_MIN >> 10
            ),
            Unable::Cores(why) => write!(
                f,
                "the cores asked for are not to be had: {why}\n  \
                 mend: a smaller --cores, or widen what this process may use: taskset -pc, cpuset.cpus, \
                 docker run --cpuset-cpus"
            ),
            Unable::Affinity(why) => write!(
                f,
                "the kernel does not say which cores this process may use: {why}\n  \
                 mend: a seccomp profile that allows sched_getaffinity"
            ),
            Unable::DataDir(path, why) => write!(
                f,
                "the data folder {} cannot be written: {why}\n  \
                 mend: sudo install -d -o \"$USER\" {0}, or name another with --data-dir",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Unable {}

impl From<CoresError> for Unable {
    fn from(why: CoresError) -> Unable {
        Unable::Cores(why)
    }
}

/// All that can be asked before the cores are known: io_uring, lockable memory, open files (raised as far as they go)
/// and the data folder (made where it is not there).
pub fn check(data_dir: &Path) -> Result<(), Unable> {
    check_io_uring()?;
    raise_memlock()?;
    raise_open_files();
    check_data_dir(data_dir)
}

/// Sets up the smallest ring and closes it again.
pub fn check_io_uring() -> Result<(), Unable> {
    /// `struct io_uring_params` of the kernel's interface; all zero asks for the defaults.
    const PARAMS_BYTES: usize = 120;
    let mut params = [0u64; PARAMS_BYTES / mem::size_of::<u64>()];
    // SAFETY: the kernel reads and writes `PARAMS_BYTES` at a pointer that is valid and aligned for them, and keeps
    // nothing of it.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1u32, params.as_mut_ptr()) };
    if ring < 0 {
        let why = io::Error::last_os_error();
        return Err(explain_io_uring(why, io_uring_disabled(), kernel_release()));
    }
    let ring = i32::try_from(ring).expect("a descriptor fits an int");
    // SAFETY: the descriptor is open, ours, and known to nobody else.
    drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(ring) });
    Ok(())
}

/// Raises the soft limit of lockable memory to the hard one where it is too low.
pub fn raise_memlock() -> Result<(), Unable> {
    let limit = getrlimit(Resource::Memlock);
    // No limit is the largest one.
    if limit.current.is_none_or(|bytes| bytes >= MEMLOCK_BYTES_MIN) {
        return Ok(());
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match limit.maximum {
        Some(bytes) if bytes < MEMLOCK_BYTES_MIN => Err(Unable::Memlock { limit: bytes }),
        _ => setrlimit(Resource::Memlock, raised)
            .map_err(|_| Unable::Memlock { limit: limit.current.unwrap_or(u64::MAX) }),
    }
}

/// Raises the soft limit of open files to the hard one: a connection and a segment take one each. Where that fails,
/// fewer connections are accepted, which is no reason not to start.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(why) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%why, "the limit of open files stays at {:?}", limit.current);
    }
}

/// Makes the folder where it is not there, and writes a file in it.
pub fn check_data_dir(data_dir: &Path) -> Result<(), Unable> {
    let unable = |why| Unable::DataDir(data_dir.to_owned(), why);
    fs::create_dir_all(data_dir).map_err(unable)?;
    let probe = data_dir.join(format!(".writable-{}", std::process::id()));
    fs::write(&probe, b"").map_err(unable)?;
    fs::remove_file(&probe).map_err(unable)
}

fn explain_io_uring(why: io::Error, disabled: Option<u8>, kernel: String) -> Unable {
    match (why.raw_os_error(), disabled) {
        (Some(libc::ENOSYS), _) => Unable::IoUringUnknown { kernel },
        (Some(libc::EPERM | libc::EACCES), Some(level @ 1..)) => Unable::IoUringDisabled { level },
        (Some(libc::EPERM | libc::EACCES), _) => Unable::IoUringForbidden,
        // Older kernels count the ring's own memory as locked.
        (Some(libc::ENOMEM), _) => {
            Unable::Memlock { limit: getrlimit(Resource::Memlock).current.unwrap_or(u64::MAX) }
        }
        _ => Unable::IoUringFailed(why),
    }
}

fn io_uring_disabled() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?.trim().parse().ok()
}

fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(errno: i32, disabled: Option<u8>, kernel: &str) -> String {
        let why = io::Error::from_raw_os_error(errno);
        explain_io_uring(why, disabled, kernel.to_owned()).to_string()
    }

    #[test]
    fn each_reason_without_io_uring_names_its_own_mend() {
        let old = explained(libc::ENOSYS, None, "5.4.0-150-generic");
        assert!(old.contains("5.4.0-150-generic is too old") && old.contains("5.8"), "{old}");
        assert!(old.contains("apt-get install"), "{old}");
        let hidden = explained(libc::ENOSYS, None, "6.1.0-9-amd64");
        assert!(hidden.contains("seccomp=unconfined") && !hidden.contains("too old"), "{hidden}");
        for level in [1, 2] {
            let off = explained(libc::EPERM, Some(level), "6.8.0");
            assert!(off.contains(&format!("io_uring_disabled = {level}")), "{off}");
            assert!(off.contains("sysctl -w kernel.io_uring_disabled=0"), "{off}");
        }
        for disabled in [Some(0), None] {
            let filtered = explained(libc::EPERM, disabled, "6.8.0");
            assert!(filtered.contains("seccomp filter"), "{filtered}");
        }
        assert!(explained(libc::ENOMEM, Some(0), "5.10.0").contains("ulimit -l"));
        assert!(explained(libc::EMFILE, Some(0), "6.8.0").contains("Too many open files"));
    }

    #[test]
    fn memlock_message_names_the_limit_and_every_way_to_raise_it() {
        let text = Unable::Memlock { limit: 64 << 10 }.to_string();
        for part in ["64 KiB", "512 KiB", "ulimit -l", "LimitMEMLOCK", "--ulimit memlock"] {
            assert!(text.contains(part), "{part} is missing: {text}");
        }
    }

    #[test]
    fn data_dir_is_made_and_left_clean() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data_dir = folder.path().join("a/b");
        check_data_dir(&data_dir).expect("it can be made");
        assert_eq!(fs::read_dir(&data_dir).expect("it is there").count(), 0);
    }

    #[test]
    fn data_dir_under_a_file_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("file"), b"").expect("written");
        let data_dir = folder.path().join("file/data");
        let text = check_data_dir(&data_dir).expect_err("a file is no folder").to_string();
        assert!(text.contains("file/data") && text.contains("--data-dir"), "{text}");
    }

    #[test]
    fn this_host_can_run_the_tests() {
        check_io_uring().unwrap_or_else(|why| panic!("{why}"));
        raise_memlock().unwrap_or_else(|why| panic!("{why}"));
    }
}
