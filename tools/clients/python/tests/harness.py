"""What the tests stand on: the real server, a proxy that can be cut, and both faces behind one set
of calls."""

import asyncio
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

from engram_client import AsyncClient, Client, Episode

ROOT = pathlib.Path(__file__).resolve().parents[4]
BINARY = pathlib.Path(os.environ.get("ENGRAM_TEST_BINARY", ROOT / "target/release/engram"))
# How long anything may take before a test gives up: no part of any promise.
PATIENCE_S = 60
DIMENSION = 8


class Engram:
    """The real binary over a folder of its own; may be killed and started again, on another port
    each time."""

    def __init__(self, *flags):
        self._flags = flags
        self._folder = tempfile.TemporaryDirectory()
        self._errors = tempfile.TemporaryFile()
        self.start()

    def start(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ENGRAM_")}
        command = [
            BINARY,
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--cores",
            "1",
            "--data-dir",
            self._folder.name,
        ]
        self._process = subprocess.Popen(
            [*command, *self._flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )
        for line in self._process.stdout:
            if line.startswith("listening "):
                self.port = int(line.rsplit(":", 1)[1])
                break
        else:
            raise AssertionError(f"the server ended before it listened: {self._process.wait()}")
        # Nobody reads what it prints from here on, but it must never wait for us.
        self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._reader.start()

    def kill(self):
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()

    def await_ready(self):
        deadline = time.monotonic() + PATIENCE_S
        while self.request("GET", "/health/ready")[0] != 200:
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise AssertionError("the server is never ready")

    def request(self, method, path, body=None):
        """(status, what the JSON says)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        try:
            connection.request(
                method, path, body, {"Content-Type": "application/json"} if body else {}
            )
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def make_space(self, name):
        status, said = self.request(
            "POST", "/api/v1/spaces", json.dumps({"id": name, "dimension": DIMENSION})
        )
        assert status == 201, said

    def rows(self, name):
        """How many memories the space holds."""
        spaces = self.request("GET", "/api/v1/spaces")[1]["spaces"]
        return next(space["rows"] for space in spaces if space["id"] == name)

    def end(self):
        """Fails where the server panicked."""
        if self._process.poll() is None:
            self.kill()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")
        self._errors.close()
        self._folder.cleanup()
        if "panicked at" in said:
            raise AssertionError(f"the server panicked:\n{said}")


class Proxy:
    """Stands between client and server on a port that stays, and can be cut."""

    def __init__(self, target_port):
        self.target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = set()
        self._lock = threading.Lock()
        # While it is clear, nothing of what the server says comes through.
        self._heard = threading.Event()
        self._heard.set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def mute(self):
        """From here on the client hears nothing, until the cut."""
        self._heard.clear()

    def cut(self):
        """Every connection ends at once, with all that was still on its way; new ones go
        through."""
        with self._lock:
            cut, self._sockets = self._sockets, set()
        for each in cut:
            _end(each)
        self._heard.set()

    def close(self):
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._sockets |= {client, server}
            for source, sink, gate in ((client, server, None), (server, client, self._heard)):
                threading.Thread(target=self._pump, args=(source, sink, gate), daemon=True).start()

    def _pump(self, source, sink, gate):
        try:
            while data := source.recv(65_536):
                if gate is not None:
                    gate.wait()
                with self._lock:
                    if source not in self._sockets:
                        break
                sink.sendall(data)
        except OSError:
            pass
        for each in (source, sink):
            with self._lock:
                self._sockets.discard(each)
            _end(each)
            each.close()


def _end(each):
    """Both directions, at once; whoever reads it on another thread learns of it, as of a mere close
    nobody does."""
    try:
        # A reset, not an end in order.
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        # Its other end was faster.
        pass


class Driven:
    """An object of the asyncio face, called from this thread while its loop runs on another."""

    def __init__(self, driver, inner):
        self._driver = driver
        self._inner = inner

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        return self._driver.blocking(found) if callable(found) else found

    def __enter__(self):
        self._driver.run(self._inner.__aenter__())
        return self

    def __exit__(self, *about):
        self._driver.run(self._inner.__aexit__(*about))


class Driver:
    """An event loop on a thread of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, awaitable):
        return asyncio.run_coroutine_threadsafe(self._await(awaitable), self.loop).result(
            PATIENCE_S
        )

    def blocking(self, function):
        def call(*arguments, **named):
            made = function(*arguments, **named)
            if made is None:
                return None
            if hasattr(made, "__aiter__"):
                return self.run(self._collect(made))
            result = self.run(made)
            if isinstance(result, asyncio.Future):
                return Ticket(self, result)
            return (
                Driven(self, result) if type(result).__module__ == "engram_client.aio" else result
            )

        return call

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    @staticmethod
    async def _await(awaitable):
        return await awaitable

    @staticmethod
    async def _collect(pages):
        return [page async for page in pages]


class Ticket:
    """An asyncio future, waited for from this thread."""

    def __init__(self, driver, future):
        self._driver = driver
        self._future = future

    def result(self, timeout=None):
        return self._driver.run(asyncio.wait_for(self._future, timeout))


class SyncFace:
    """Tests of the blocking face."""

    def next_of(self, events):
        return next(events)

    def client(self, address):
        client = Client(address)
        self.addCleanup(client.close)
        return client


class AsyncFace:
    """The same tests, of the asyncio face."""

    def next_of(self, events):
        return self.driver.run(events._inner.__anext__())

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.driver = Driver()
        cls.addClassCleanup(cls.driver.stop)

    def client(self, address):
        async def make():
            return AsyncClient(address)

        client = Driven(self.driver, self.driver.run(make()))
        self.addCleanup(client.close)
        return client


def vectors(count, seed=7):
    """`count` directions, no two of them near each other by chance alone."""
    chance = random.Random(seed)
    return [[chance.gauss(0, 1) for _ in range(DIMENSION)] for _ in range(count)]


def episodes(count):
    return [
        Episode(what=f"text {number}", embedding=vector)
        for number, vector in enumerate(vectors(count))
    ]
