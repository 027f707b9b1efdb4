//! What the binary says to a person: help, mistakes, and what is in its way.

use std::net::TcpListener;

use crate::harness::{Server, run};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn help_names_every_command_and_flag() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for command in ["serve", "demo", "check", "inspect", "backup", "restore"] {
        assert!(help.contains(command), "{command} is missing:\n{help}");
    }
    let help = run(&["serve", "--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for flag in ["--data-dir", "--listen", "--cores", "--config"] {
        assert!(help.contains(flag), "{flag} is missing:\n{help}");
    }
    assert!(run(&["--version"]).status.success());
}

#[test]
fn a_mistake_on_the_command_line_is_named_and_exits_with_2() {
    let cases: [(&[&str], &str); 4] = [
        (&["serve", "--no-such-flag"], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&["serve", "--listen", "nonsense"], "nonsense"),
        (&["serve", "--cores", "none"], "none"),
    ];
    for (arguments, named) in cases {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(named), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "{arguments:?} wrote to stdout");
    }
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let server = Server::start(folder.path());
    let path = folder.path().to_str().expect("temporary folders have plain names");
    let second = run(&["serve", "--listen", "127.0.0.1:0", "--cores", "1", "--data-dir", path]);
    assert!(!second.status.success());
    let said = text(&second.stderr);
    assert!(said.contains(path), "it does not say which folder: {said}");
    assert!(said.contains(&server.pid().to_string()), "it does not say who holds it: {said}");
    // Released with the process, however it ends.
    server.kill();
    drop(Server::start(folder.path()));
}

#[test]
fn a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("a bound socket has an address").to_string();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().to_str().expect("temporary folders have plain names");
    let refused = run(&["serve", "--listen", &address, "--cores", "1", "--data-dir", path]);
    assert!(!refused.status.success());
    let said = text(&refused.stderr);
    assert!(said.contains(&address), "it does not say which address: {said}");
}

#[test]
fn a_port_of_another_server_of_ours_is_refused() {
    let (first, second) = (tempfile::tempdir(), tempfile::tempdir());
    let first = first.expect("a temporary folder can be made");
    let second = second.expect("a temporary folder can be made");
    let server = Server::start(first.path());
    let path = second.path().to_str().expect("temporary folders have plain names");
    // SO_REUSEPORT would let both have it, and clients would reach either.
    let address = server.address.to_string();
    let refused = run(&["serve", "--listen", &address, "--cores", "1", "--data-dir", path]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains(&address), "{}", text(&refused.stderr));
}
