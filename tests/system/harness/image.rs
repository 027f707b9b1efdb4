//! A file system of the test's own, in a file that is mounted as a device: one that can be full, read-only, or lose its
//! power.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// Between two attempts to unmount.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ext4,
    Xfs,
}

/// A mounted image. Dropped, it is unmounted and gone.
pub(crate) struct Image {
    folder: tempfile::TempDir,
    is_mounted: bool,
}

impl Image {
    /// Makes and mounts one; else why this machine grants none.
    pub(crate) fn new(kind: Kind, mebibytes: u64) -> Result<Image, String> {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut image = Image { folder, is_mounted: false };
        fs::create_dir(image.path()).expect("a folder in a new folder");
        let file = File::create(image.file()).expect("a file in a new folder");
        file.set_len(mebibytes << 20).map_err(|why| why.to_string())?;
        let file = image.file();
        let make = match kind {
            Kind::Ext4 => Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&file).output(),
            Kind::Xfs => Command::new("mkfs.xfs").args(["-q", "-f"]).arg(&file).output(),
        };
        let made = make.map_err(|why| format!("mkfs of {kind:?}: {why}"))?;
        if !made.status.success() {
            return Err(format!("mkfs of {kind:?}: {}", String::from_utf8_lossy(&made.stderr)));
        }
        image.mount("rw")?;
        Ok(image)
    }

    /// One for this test, or none where the machine grants none; then the test says so.
    pub(crate) fn granted(kind: Kind, mebibytes: u64) -> Option<Image> {
        match Image::new(kind, mebibytes) {
            Ok(image) => Some(image),
            Err(why) => {
                eprintln!("NOT TRIED: this machine grants no {kind:?} image: {why}");
                None
            }
        }
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Cuts its power: nothing that was not synced reaches it any more, and its journal is not flushed.
    pub(crate) fn cut_power(&self) {
        /// `_IOR('X', 125, u32)`, the same for both file systems.
        const FS_IOC_SHUTDOWN: libc::Ioctl = 0x8004_587d_u32 as libc::Ioctl;
        const NO_LOG_FLUSH: u32 = 2;
        let root = File::open(self.path()).expect("it is mounted");
        // SAFETY: the kernel reads one u32 at a pointer that is valid for it, and keeps nothing of it.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), FS_IOC_SHUTDOWN, &NO_LOG_FLUSH) };
        assert_eq!(done, 0, "shutdown: {}", io::Error::last_os_error());
    }

    /// Takes it off and mounts it again, as after a power cut.
    pub(crate) fn mount_again(&mut self) {
        self.unmount().expect("nobody uses it any more");
        self.mount("rw").expect("it was mounted before");
    }

    /// From now on nothing can be written; or it can again.
    pub(crate) fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        let mut mount = Command::new("mount");
        patiently(mount.args(["-o", &options]).arg(self.path())).expect("it is mounted");
    }

    /// Fills it up to `mebibytes` with a file.
    pub(crate) fn fill(&self, mebibytes: u64) -> PathBuf {
        let ballast = self.path().join("ballast");
        let file = File::create(&ballast).expect("there is room for a name");
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, mebibytes << 20)
            .expect("there is room for that much");
        ballast
    }

    /// What is free, in MiB.
    pub(crate) fn free_mebibytes(&self) -> u64 {
        let free = rustix::fs::statvfs(self.path()).expect("it is mounted");
        (free.f_bavail * free.f_frsize) >> 20
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&mut self, how: &str) -> Result<(), String> {
        let options = format!("loop,{how}");
        run(Command::new("mount").args(["-o", &options]).arg(self.file()).arg(self.path()))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), String> {
        let unmounted = patiently(Command::new("umount").arg(self.path()));
        self.is_mounted = unmounted.is_err();
        unmounted
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.is_mounted
            && let Err(why) = self.unmount()
        {
            eprintln!("{} stays mounted: {why}", self.path().display());
        }
    }
}

/// Until it succeeds: a process that was killed is gone before the kernel has let go of the files of its rings, and the
/// kernel tells nobody when.
fn patiently(command: &mut Command) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let done = run(command);
        if done.is_ok() || start.elapsed() > PATIENCE {
            return done;
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|why| format!("{command:?}: {why}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// A folder in it.
pub(crate) fn data_of(image: &Image) -> PathBuf {
    Path::new(&image.path()).join("data")
}
