"""The blocking face, for threads."""

from __future__ import annotations

import concurrent.futures
import copy
import random
import threading
import time
import weakref
from types import TracebackType
from typing import Any, Callable, Iterator

import grpc

from engram_client import _calls, errors
from engram_client._listener import Listener
from engram_client._machine import Machine, Outcome, Send, State
from engram_client._proto import service_pb2 as wire
from engram_client.types import (
    Episode,
    Event,
    Memory,
    Page,
    Receipt,
    Recall,
    Recollection,
    SessionOptions,
    Subscription,
)

_Future = concurrent.futures.Future


class Client:
    """One server, for any number of threads. `with Client("127.0.0.1:50051") as client`."""

    def __init__(
        self,
        target: str = _calls.TARGET_DEFAULT,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        channel_options: _calls.ChannelOptions = (),
    ) -> None:
        options = _calls.channel_options(channel_options)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options=options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=options)
        self._recall = _calls.recall_method(self._channel)
        self._remember = _calls.remember_method(self._channel)
        self._flow = _calls.flow_method(self._channel)
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._events: weakref.WeakSet[Events] = weakref.WeakSet()

    def open_session(
        self, space: str = "", *, session_id: str = "", options: SessionOptions = SessionOptions()
    ) -> Session:
        """Begins a session in `space`, or resumes the one of `session_id`; its `initial_sequence`
        says how much of that is durable."""
        method = _calls.session_method(self._channel, options.recalls)
        session = Session(
            method, Machine(space, session_id, options, random.Random(), time.monotonic())
        )
        self._sessions.add(session)
        session._opened()
        return session

    def remember(self, space: str, episode: Episode, *, timeout: float | None = None) -> str:
        """Stores one episode without a session; returns its memory's id once it is durable. Tried
        again after a lost connection it may be stored twice, unless the episode has an id."""
        request = wire.RememberRequest(memory_space_id=space, episode=episode.to_wire())
        try:
            answer = self._remember(request, timeout=timeout)
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        return str(answer.memory_id)

    def recall(self, space: str, recall: Recall, *, timeout: float | None = None) -> Recollection:
        """The memories most similar to the cue, all at once."""
        found: list[Memory] = []
        last = wire.StreamingRecallResponse()
        for last in self._pages(space, recall, timeout):
            found.extend(map(Memory.from_wire, last.results))
        return Recollection(found, last.snapshot_sequence, last.metadata.total_activated)

    def recall_pages(
        self, space: str, recall: Recall, *, timeout: float | None = None
    ) -> Iterator[Page]:
        """The same, page by page as they come."""
        for page in self._pages(space, recall, timeout):
            if page.results:
                yield Page(
                    [Memory.from_wire(memory) for memory in page.results], page.snapshot_sequence
                )

    def subscribe(self, space: str, subscription: Subscription = Subscription()) -> Events:
        """Events of `space`; returns once none is missed any more."""
        events = Events(self._flow, Listener(space, subscription, random.Random()))
        self._events.add(events)
        events._opened()
        return events

    def close(self) -> None:
        """Closes the connection. Sessions that are still open are left, and can be resumed."""
        for session in list(self._sessions):
            session.abandon()
        for events in list(self._events):
            events.close()
        self._channel.close()

    def _pages(
        self, space: str, recall: Recall, timeout: float | None
    ) -> Iterator[wire.StreamingRecallResponse]:
        call = self._recall(recall.to_wire(space), timeout=timeout)
        try:
            yield from call
        except grpc.RpcError as error:
            raise errors.from_rpc_error(error) from None
        finally:
            call.cancel()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Events:
    """What happens in a space, as it comes: `for event in events`. Made by `Client.subscribe`. A
    lost connection is made again, and is an event itself. Any thread may `close` it."""

    def __init__(self, method: Callable[..., Any], listener: Listener) -> None:
        self._method = method
        self._listener = listener
        self._closed = threading.Event()
        self._begin()

    def close(self) -> None:
        """Ends it; whoever waits for an event gets none."""
        self._closed.set()
        self._call.cancel()

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Event:
        while True:
            event = self._next_response()
            if event is not None:
                return event

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> None:
        try:
            while not self._listener.has_begun:
                self._next_response()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        over = threading.Event()
        call = self._method(_once(self._listener.request, over))
        # grpcio takes the requests on a thread of its own, which must not outlive the call.
        if not call.add_callback(over.set):
            over.set()
        self._call = call
        if self._closed.is_set():
            call.cancel()

    def _next_response(self) -> Event | None:
        """The event that comes next, if it is one."""
        error: errors.EngramError | None = None
        try:
            return self._listener.handle_response(next(self._call))
        except StopIteration:
            pass
        except grpc.RpcError as ended:
            error = errors.from_rpc_error(ended)
        if self._closed.is_set():
            raise StopIteration
        wait = self._listener.handle_end(error, time.monotonic())
        if self._closed.wait(wait):
            raise StopIteration
        self._begin()
        return None


def _once(message: bytes, over: threading.Event) -> Iterator[bytes]:
    """One message; what comes behind it would be the end of the subscription."""
    yield message
    over.wait()


class Session:
    """A session, over as many connections as it takes. Made by `Client.open_session`; any thread
    may use it.

    Left by an exception, `with` leaves the session to be resumed; else it closes it.
    """

    def __init__(self, method: Callable[..., Any], machine: Machine[_Future[Any]]) -> None:
        self._method = method
        self._machine = machine
        # Guards the machine; told whenever it may have changed.
        self._changed = threading.Condition()
        # Counts calls: the requests of one that is over must end.
        self._generation = 0
        self._call: Any = None
        self._thread = threading.Thread(target=self._run, name="engram-session", daemon=True)
        self._thread.start()

    @property
    def session_id(self) -> str:
        """With which it can be resumed."""
        return self._machine.session_id

    @property
    def initial_sequence(self) -> int:
        """The last durable sequence when it was opened."""
        return self._machine.initial_sequence or 0

    @property
    def durable_sequence(self) -> int:
        """The last sequence known to be durable."""
        return self._machine.durable_sequence

    @property
    def in_flight(self) -> int:
        """Observations taken and not yet durable or refused."""
        return self._machine.in_flight

    @property
    def refusals(self) -> int:
        """How often the server was overloaded and observations went again."""
        return self._machine.refusals

    @property
    def reconnects(self) -> int:
        """How often the session was resumed after a lost connection."""
        return self._machine.reconnects

    def observe(self, episode: Episode, *, timeout: float | None = None) -> _Future[Receipt]:
        """Takes an observation, once there is room for it; `TimeoutError` where there was none for
        so long. Its result comes once it is durable:

            receipt = session.observe(episode).result()
        """
        self._machine.check_usable()
        request = self._machine.encode(episode)
        future = _running_future()
        with self._changed:
            self._await(self._machine.has_room, timeout)
            self._machine.submit(future, request)
            self._changed.notify_all()
        return future

    def recall(self, recall: Recall, *, timeout: float | None = None) -> Recollection:
        """Recalls on the session's own stream, behind the observations that were taken before
        unless they are paused; the session must be opened with `SessionOptions(recalls=True)`."""
        future = _running_future()
        with self._changed:
            self._machine.recall(future, recall)
            self._changed.notify_all()
        recollection: Recollection = future.result(timeout)
        return recollection

    def pause(self) -> None:
        """Sends no observation until `resume`. What is under way is still acked, and recalls go
        on."""
        with self._changed:
            self._machine.hold(True)

    def resume(self) -> None:
        """Goes on after `pause`."""
        with self._changed:
            self._machine.hold(False)
            self._changed.notify_all()

    def flush(self, *, timeout: float | None = None) -> None:
        """Waits until everything taken so far has its outcome."""
        with self._changed:
            self._await(lambda: not self._machine.in_flight, timeout)
            self._raise_failure()

    def close(self, *, drain: bool = False, timeout: float | None = None) -> int:
        """Waits until all is durable (with `drain`: and in the index), and returns the final
        sequence."""
        with self._changed:
            if self._machine.state is not State.CLOSED:
                self._machine.close(drain)
                self._changed.notify_all()
                self._await(lambda: False, timeout)
                self._raise_failure()
        return self._machine.durable_sequence

    def abandon(self) -> None:
        """Leaves it at once, to be resumed. What was not acked may be durable or not."""
        with self._changed:
            self._machine.abandon()
            outcomes = self._machine.outcomes()
            self._changed.notify_all()
            if self._call is not None:
                self._call.cancel()
        _deliver(outcomes)
        self._thread.join()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def _opened(self) -> None:
        try:
            with self._changed:
                self._await(lambda: self._machine.state is State.OPEN, None)
                self._raise_failure()
        except BaseException:
            self.abandon()
            raise

    def _raise_failure(self) -> None:
        if self._machine.error is not None:
            raise copy.copy(self._machine.error)

    def _await(self, holds: Callable[[], bool], timeout: float | None) -> None:
        """Returns once it holds, or the session is over; the lock is held."""
        if not self._changed.wait_for(lambda: holds() or self._machine.is_over, timeout):
            raise TimeoutError(f"not within {timeout} s")

    def _run(self) -> None:
        while (generation := self._connecting()) is not None:
            call = self._method(self._requests(generation))
            with self._changed:
                self._call = call
                if self._machine.is_over:
                    # It was left before there was a call to end.
                    call.cancel()
            error: errors.EngramError | None = None
            try:
                for response in call:
                    self._handle(response)
                    if self._machine.is_over:
                        break
            except grpc.RpcError as ended:
                error = errors.from_rpc_error(ended)
            with self._changed:
                self._call = None
                self._generation += 1
                self._machine.handle_end(error, time.monotonic())
                outcomes = self._machine.outcomes()
                self._changed.notify_all()
            call.cancel()
            _deliver(outcomes)

    def _connecting(self) -> int | None:
        """The number of the next call, once it is time for it; `None` where there is to be none."""
        with self._changed:
            while not self._machine.is_over:
                wait = self._machine.connect_at - time.monotonic()
                if wait <= 0:
                    self._machine.handle_connecting(time.monotonic())
                    return self._generation
                self._changed.wait(wait)
            return None

    def _handle(self, response: wire.ObservationResponse) -> None:
        with self._changed:
            self._machine.handle_response(response, time.monotonic())
            outcomes = self._machine.outcomes()
            self._changed.notify_all()
        _deliver(outcomes)

    def _requests(self, generation: int) -> Iterator[bytes]:
        """What to send on one call; grpcio takes it on a thread of its own."""
        while (message := self._next_message(generation)) is not None:
            yield message

    def _next_message(self, generation: int) -> bytes | None:
        with self._changed:
            while generation == self._generation and not self._machine.is_over:
                step = self._machine.next(time.monotonic())
                if isinstance(step, Send):
                    return step.message
                if self._machine.is_over:
                    break
                until = step.until
                self._changed.wait(None if until is None else max(0.0, until - time.monotonic()))
            if self._machine.is_over and self._call is not None:
                # It gave up: the reader must not wait for an answer.
                self._call.cancel()
            return None


def _running_future() -> _Future[Any]:
    """One that cannot be cancelled: an observation is on its way once it is taken."""
    future: _Future[Any] = concurrent.futures.Future()
    future.set_running_or_notify_cancel()
    return future


def _deliver(outcomes: list[Outcome[_Future[Any]]]) -> None:
    """Without the lock: a future's callbacks may use the session."""
    for outcome in outcomes:
        if isinstance(outcome.result, errors.EngramError):
            outcome.token.set_exception(copy.copy(outcome.result))
        else:
            outcome.token.set_result(outcome.result)
