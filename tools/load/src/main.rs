//! Streams real observations into an engram server and measures it.
//!
//! One thread with one executor drives every stream; rows are those of a data folder, as its README pairs them.
//!
//! | file | responsibility |
//! |---|---|
//! | `arguments` | the command line |
//! | `rows` | which stream sends which rows, and what an observation looks like |
//! | `websocket` | a stream over WebSocket |
//! | `server` | CPU time and memory of the server's process |
//! | `report` | what was measured, for people and as JSON |
//! | `run` | the streams and the recalls, beside each other |

mod arguments;
mod rows;
mod websocket;
mod server;
mod report;
mod run;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = arguments::Arguments::parse();
    let json = arguments.json;
    let plan = match arguments.into_plan() {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("engram-load: {why}");
            return ExitCode::from(2);
        }
    };
    match run::run(plan) {
        Ok(report) if json => println!("{}", report.json()),
        Ok(report) => print!("{report}"),
        Err(why) => {
            eprintln!("engram-load: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
