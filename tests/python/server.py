"""A server process for the tests: the real binary, a free port, a temporary folder."""

import http.client
import os
import pathlib
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("ENGRAM_TEST_BINARY", ROOT / "target/release/engram"))
# How long anything may take before a test gives up: no part of any promise.
PATIENCE_S = 120


class Server:
    """`with Server(cores=2) as server`; fails the test in which the server panicked."""

    def __init__(self, cores):
        self.cores = min(cores, len(os.sched_getaffinity(0)))

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ENGRAM_")}
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [BINARY, "serve", "--listen", "127.0.0.1:0", "--cores", str(self.cores), "--data-dir", self.folder.name],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, env=environment, text=True)
        try:
            self.port = self._port()
            self._await_ready()
        except BaseException:
            self._end()
            raise
        # Nobody reads what it prints from here on, but it must never wait for us.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()
        return self

    def __exit__(self, kind, *_):
        said = self._end()
        if kind is not None:
            print("--- the server said:", said, sep="\n")
        elif "panicked at" in said:
            raise AssertionError(f"the server panicked:\n{said}")

    def _end(self):
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace")
        self.errors.close()
        self.folder.cleanup()
        return said

    @classmethod
    def of_class(cls, case, cores):
        """A server for all tests of a class."""
        server = cls(cores).__enter__()
        case.addClassCleanup(server.__exit__, None, None, None)
        return server

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def _port(self):
        for line in self.process.stdout:
            if line.startswith("listening "):
                return int(line.rsplit(":", 1)[1])
        raise AssertionError(f"the server ended before it listened: {self.process.wait()}")

    def _await_ready(self):
        deadline = time.monotonic() + PATIENCE_S
        status = None
        while status != 200:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended before it was ready: {self.process.returncode}")
            if time.monotonic() > deadline:
                raise AssertionError(f"never ready: {status}")
            status = self.get("/health/ready")[0]

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def get(self, path, headers=None):
        """(status, body) of a GET."""
        status, _, body = self.request("GET", path, headers=headers)
        return status, body
