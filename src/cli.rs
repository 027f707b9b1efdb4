//! The command line: what is asked for, and the exit code that says how it went.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

use crate::boot::{self, BootError, ServeConfig};
use crate::chaos;
use crate::config::{ConfigError, Layer};
use crate::core::ServeSettings;
use crate::cores::{self, CoresError};
use crate::demo::{self, DemoError, DemoSettings};
use crate::maintenance::{Backup, Check, CommandFault, Inspect, Restore};
use crate::preflight::{self, Unable};

const ABOUT_LONG: &str = "\
A streaming memory engine: durable observations, searchable at once.

Clients stream observations (a text, when, where and who, and its embedding) into named memory spaces over gRPC or \
WebSocket, and recall by embedding while the streams run. An acknowledged observation is on disk, and in the next \
recall.";

const EXAMPLES: &str = "\
Start here:
  engram demo                               see it work on real data; leaves nothing behind
  engram serve                              serve on ports 50051 and 7432, data in ./engram-data
  engram check ./engram-data                is all of it as it was written?
  curl http://127.0.0.1:7432/health/ready   does it serve?

Exit codes:
  0  done
  1  it failed, or the folder is damaged (check); stderr says why
  2  usage: a flag, an ENGRAM_* variable or a key of the file is wrong;
     the folder cannot be read (check, inspect)
  3  this host cannot run it (io_uring, lockable memory, cores, data folder);
     stderr names the command that mends it
  130  interrupted (demo)";

const SERVE_EXAMPLES: &str = "\
Examples:
  engram serve --cores 2 --data-dir /var/lib/engram
  engram serve --cores 0-3,6 --listen 0.0.0.0:50051 --listen 127.0.0.1:7432
  ENGRAM_CORES=2 engram serve --config /etc/engram.toml

A flag goes before its ENGRAM_* variable, that before the file, that before the default. The file is TOML; its keys are
the flags' names:
  data-dir = \"/var/lib/engram\"
  listen = [\"0.0.0.0:50051\"]
  cores = 2

SIGTERM or Ctrl-C ends it in order: what was taken in is made durable and every client is told.";

const DEMO_EXAMPLES: &str = "\
It starts a server of its own on free ports and a temporary folder, streams 4,000 real memories into it while it recalls,
compares the answers with an exact search, kills the server with SIGKILL in the middle of a stream, starts it again, and
looks for every memory that was acknowledged. It exits 0 only if all of that held.";

const CHECK_EXAMPLES: &str = "\
Examples:
  engram check /var/lib/engram
  engram check /var/lib/engram --salvage /var/lib/engram-new
  engram check /var/lib/engram --json | jq 'select(.kind == \"damaged\")'

Each damaged head, batch or record is told with its file and its offset, and so is what is missing. A salvage takes over
every record that is sound, numbers the observations of each space anew, and leaves DIR as it is.

Exit codes: 0 sound, 1 damage, 2 it cannot be read.";

const INSPECT_EXAMPLES: &str = "\
Examples:
  engram inspect /var/lib/engram
  engram inspect /var/lib/engram --counted
  engram inspect /var/lib/engram --segment 0/3 --limit 20
  engram inspect /var/lib/engram --limit 1000000 --json | jq 'select(.kind == \"observation\") | .body.id'";

const BACKUP_EXAMPLES: &str = "\
Examples:
  engram backup /backup/engram-2026-11-21 --data-dir /var/lib/engram

It holds all that was acknowledged before it began, whether or not a server runs. Segments that are full are linked where
the file system can, so a backup on the same one costs little; others are copied. It is checked before it gets its name.
A server does not open a backup: `engram restore` makes a folder of it.";

const RESTORE_EXAMPLES: &str = "\
Examples:
  engram restore /backup/engram-2026-11-21 /var/lib/engram

Everything is checked as it is copied; before all of it is on the disk, no server opens the new folder.";

/// `engram`.
#[derive(Debug, Parser)]
#[command(name = "engram", version, about, long_about = ABOUT_LONG, after_help = EXAMPLES)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
    /// What to log to stderr: error, warn, info, debug, trace, or by module (engram::wire=debug)
    #[arg(long, global = true, value_name = "LEVEL", env = "ENGRAM_LOG", default_value = "info")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve memory spaces until told to stop
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Serve),
    /// Show it at work on real data: stream, recall, kill -9, recover
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(Demo),
    /// Find everything that is wrong with a data folder or a backup, and save what is sound
    #[command(after_help = CHECK_EXAMPLES)]
    Check(Check),
    /// Print the segments, heads, batches and records of a data folder or a backup
    #[command(after_help = INSPECT_EXAMPLES)]
    Inspect(Inspect),
    /// Copy a data folder, also while a server uses it
    #[command(after_help = BACKUP_EXAMPLES)]
    Backup(Backup),
    /// Make a data folder out of a backup
    #[command(after_help = RESTORE_EXAMPLES)]
    Restore(Restore),
    /// Print a shell's completion script
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    layer: Layer,
    #[command(flatten)]
    chaos: chaos::Flags,
    /// TOML file with the same settings; its keys are the flags' names
    #[arg(long, value_name = "FILE", env = "ENGRAM_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Demo {
    /// Cores of the server [default: all but one]
    #[arg(long, value_name = "N|LIST")]
    cores: Option<String>,
}

/// Why a command failed; decides the exit code.
#[derive(Debug)]
enum CommandError {
    Log(String),
    Config(ConfigError),
    Unable(Unable),
    Boot(BootError),
    Demo(DemoError),
    /// Of a command that only reads a folder.
    Read(CommandFault),
    /// Of a command that makes a folder.
    Copy(CommandFault),
}

impl CommandError {
    fn exit_code(&self) -> u8 {
        match self {
            CommandError::Boot(_)
            | CommandError::Demo(_)
            | CommandError::Copy(_)
            | CommandError::Read(CommandFault::Damaged(_)) => 1,
            CommandError::Log(_)
            | CommandError::Config(_)
            | CommandError::Read(_)
            | CommandError::Unable(Unable::Cores(CoresError::Syntax(_))) => 2,
            CommandError::Unable(_) => 3,
        }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Log(why) => write!(f, "--log: {why}"),
            CommandError::Config(why) => why.fmt(f),
            CommandError::Unable(why) => why.fmt(f),
            CommandError::Boot(why) => why.fmt(f),
            CommandError::Demo(why) => why.fmt(f),
            CommandError::Read(why) | CommandError::Copy(why) => why.fmt(f),
        }
    }
}

impl From<ConfigError> for CommandError {
    fn from(why: ConfigError) -> CommandError {
        CommandError::Config(why)
    }
}

impl From<Unable> for CommandError {
    fn from(why: Unable) -> CommandError {
        CommandError::Unable(why)
    }
}

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let line = CommandLine::parse();
    let done = start_log(&line.log).and_then(|()| match line.command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Check(check) => check.run().map_err(CommandError::Read),
        Command::Inspect(inspect) => inspect.run().map_err(CommandError::Read),
        Command::Backup(backup) => backup.run().map_err(CommandError::Copy),
        Command::Restore(restore) => restore.run().map_err(CommandError::Copy),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut CommandLine::command(),
                "engram",
                &mut io::stdout(),
            );
            Ok(())
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("engram: {why}");
            ExitCode::from(why.exit_code())
        }
    }
}

impl Serve {
    fn run(self) -> Result<(), CommandError> {
        boot::serve(self.into_serve_config()?).map_err(CommandError::Boot)
    }

    fn into_serve_config(self) -> Result<ServeConfig, CommandError> {
        let file = self.config.as_deref().map(Layer::read).transpose()?.unwrap_or_default();
        let config = self.layer.over(file).into_config()?;
        let cores = choose_cores(config.cores.as_deref())?;
        preflight::check(&config.data_dir)?;
        let chaos = self.chaos.chaos();
        Ok(ServeConfig {
            data_dir: config.data_dir,
            listeners: config.listen,
            cores,
            settings: ServeSettings {
                connections_max: config.connections_max,
                request_memory_bytes: config.request_memory_bytes,
                message_bytes_max: config.message_bytes_max,
                capacity: config.capacity,
                recall_target: config.recall_target,
                record_cache_bytes: config.record_cache_bytes,
                durability: config.durability,
                session_silence: chaos.session_silence.unwrap_or(config.session_silence),
                chaos,
                origins: config.origins,
                ..ServeSettings::default()
            },
        })
    }
}

impl Demo {
    fn run(self) -> Result<(), CommandError> {
        preflight::check_io_uring()?;
        preflight::raise_memlock()?;
        let cores = match self.cores {
            Some(cores) => cores,
            None => (choose_cores(None)?.len() - 1).max(1).to_string(),
        };
        demo::run(DemoSettings { cores }).map_err(CommandError::Demo)
    }
}

/// The CPUs that `asked` means, all that are allowed where it says nothing.
fn choose_cores(asked: Option<&str>) -> Result<Vec<usize>, Unable> {
    let allowed = cores::allowed().map_err(Unable::Affinity)?;
    Ok(match asked {
        Some(text) => cores::choose(text, &allowed)?,
        None => allowed,
    })
}

fn start_log(filter: &str) -> Result<(), CommandError> {
    let filter = EnvFilter::try_new(filter).map_err(|why| CommandError::Log(why.to_string()))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn serve_of(arguments: &[&str]) -> Serve {
        let line = [&["engram", "serve"], arguments].concat();
        match CommandLine::try_parse_from(line).expect("it parses").command {
            Command::Serve(serve) => serve,
            other => panic!("serve was asked for: {other:?}"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn flags_go_before_the_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("engram.toml");
        let data_dir = folder.path().join("from-file");
        fs::write(&file, format!("capacity = 7\ncores = 64000\ndata-dir = {data_dir:?}\n"))
            .expect("written");
        let file = file.to_str().expect("UTF-8");
        let arguments =
            ["--config", file, "--cores", "1", "--listen", "[::1]:0", "--listen", "127.0.0.1:0"];
        let config = serve_of(&arguments).into_serve_config().expect("it is valid");
        assert_eq!(config.cores.len(), 1, "the flag's count, not the file's");
        assert_eq!(config.listeners.len(), 2);
        assert_eq!((config.settings.capacity, &config.data_dir), (7, &data_dir));
        assert!(data_dir.is_dir(), "the data folder is made");
    }

    #[test]
    fn every_mistake_has_its_exit_code() {
        let code = |arguments: &[&str]| {
            serve_of(arguments).into_serve_config().expect_err("it is wrong").exit_code()
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data_dir = folder.path().to_str().expect("UTF-8");
        assert_eq!(code(&["--data-dir", data_dir, "--cores", "none"]), 2);
        assert_eq!(code(&["--data-dir", data_dir, "--cores", "64000"]), 3);
        assert_eq!(code(&["--data-dir", data_dir, "--capacity", "0"]), 2);
        assert_eq!(code(&["--data-dir", data_dir, "--config", "/nonexistent.toml"]), 2);
        assert_eq!(code(&["--data-dir", "/dev/null/data"]), 3);
    }
}
