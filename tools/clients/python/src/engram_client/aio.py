"""The asyncio face."""

from __future__ import annotations

import asyncio
import copy
import random
import time
import weakref
from types import TracebackType
from typing import Any, AsyncIterator, Callable

import grpc
import grpc.aio

from engram_client import _calls, errors
from engram_client._listener import Listener
from engram_client._machine import Machine, Send, State
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


class AsyncClient:
    """One server, for the running event loop. `async with AsyncClient("127.0.0.1:50051") as
    client`."""

    def __init__(
        self,
        target: str = _calls.TARGET_DEFAULT,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        channel_options: _calls.ChannelOptions = (),
    ) -> None:
        options = _calls.channel_options(channel_options)
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(target, options=options)
        else:
            self._channel = grpc.aio.secure_channel(target, credentials, options=options)
        self._recall = _calls.recall_method(self._channel)
        self._remember = _calls.remember_method(self._channel)
        self._flow = _calls.flow_method(self._channel)
        self._sessions: weakref.WeakSet[AsyncSession] = weakref.WeakSet()
        self._events: weakref.WeakSet[AsyncEvents] = weakref.WeakSet()

    async def open_session(
        self, space: str = "", *, session_id: str = "", options: SessionOptions = SessionOptions()
    ) -> AsyncSession:
        """Begins a session in `space`, or resumes the one of `session_id`; its `initial_sequence`
        says how much of that is durable."""
        method = _calls.session_method(self._channel, options.recalls)
        session = AsyncSession(
            method, Machine(space, session_id, options, random.Random(), time.monotonic())
        )
        self._sessions.add(session)
        await session._opened()
        return session

    async def remember(self, space: str, episode: Episode, *, timeout: float | None = None) -> str:
        """Stores one episode without a session; returns its memory's id once it is durable. Tried
        again after a lost connection it may be stored twice, unless the episode has an id."""
        request = wire.RememberRequest(memory_space_id=space, episode=episode.to_wire())
        try:
            answer = await self._remember(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise errors.from_rpc_error(error) from None
        return str(answer.memory_id)

    async def recall(
        self, space: str, recall: Recall, *, timeout: float | None = None
    ) -> Recollection:
        """The memories most similar to the cue, all at once."""
        found: list[Memory] = []
        last = wire.StreamingRecallResponse()
        async for last in self._pages(space, recall, timeout):
            found.extend(map(Memory.from_wire, last.results))
        return Recollection(found, last.snapshot_sequence, last.metadata.total_activated)

    async def recall_pages(
        self, space: str, recall: Recall, *, timeout: float | None = None
    ) -> AsyncIterator[Page]:
        """The same, page by page as they come."""
        async for page in self._pages(space, recall, timeout):
            if page.results:
                yield Page(
                    [Memory.from_wire(memory) for memory in page.results], page.snapshot_sequence
                )

    async def subscribe(
        self, space: str, subscription: Subscription = Subscription()
    ) -> AsyncEvents:
        """Events of `space`; returns once none is missed any more."""
        events = AsyncEvents(self._flow, Listener(space, subscription, random.Random()))
        self._events.add(events)
        await events._opened()
        return events

    async def close(self) -> None:
        """Closes the connection. Sessions that are still open are left, and can be resumed."""
        for session in list(self._sessions):
            await session.abandon()
        for events in list(self._events):
            await events.close()
        await self._channel.close()

    async def _pages(
        self, space: str, recall: Recall, timeout: float | None
    ) -> AsyncIterator[wire.StreamingRecallResponse]:
        call = self._recall(recall.to_wire(space), timeout=timeout)
        try:
            async for page in call:
                yield page
        except grpc.aio.AioRpcError as error:
            raise errors.from_rpc_error(error) from None
        finally:
            call.cancel()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncEvents:
    """What happens in a space, as it comes: `async for event in events`. Made by
    `AsyncClient.subscribe`. A lost connection is made again, and is an event itself."""

    def __init__(self, method: Callable[..., Any], listener: Listener) -> None:
        self._method = method
        self._listener = listener
        self._call: Any = None
        self._closed = False

    async def close(self) -> None:
        """Ends it; whoever waits for an event gets none."""
        self._closed = True
        if self._call is not None:
            self._call.cancel()

    def __aiter__(self) -> AsyncEvents:
        return self

    async def __anext__(self) -> Event:
        while True:
            event = await self._next_response()
            if event is not None:
                return event

    async def __aenter__(self) -> AsyncEvents:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _opened(self) -> None:
        try:
            while not self._listener.has_begun:
                await self._next_response()
        except BaseException:
            await self.close()
            raise

    async def _next_response(self) -> Event | None:
        """The event that comes next, if it is one."""
        error: errors.EngramError | None = None
        try:
            if self._call is None:
                self._call = self._method()
                # Nothing comes behind it: that would be the end of the subscription.
                await self._call.write(self._listener.request)
            response = await self._call.read()
            if response is not grpc.aio.EOF:
                return self._listener.handle_response(response)
        except grpc.aio.AioRpcError as ended:
            error = errors.from_rpc_error(ended)
        except asyncio.CancelledError:
            # Closing ends the call; else it is this task that is to end.
            if not self._closed:
                raise
        if self._closed:
            raise StopAsyncIteration
        self._call = None
        await asyncio.sleep(self._listener.handle_end(error, time.monotonic()))
        if self._closed:
            raise StopAsyncIteration
        return None


class AsyncSession:
    """A session, over as many connections as it takes. Made by `AsyncClient.open_session`.

    Left by an exception, `async with` leaves the session to be resumed; else it closes it.
    """

    def __init__(self, method: Callable[..., Any], machine: Machine[asyncio.Future[Any]]) -> None:
        self._method = method
        self._machine = machine
        self._wake = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        # One at a time waits for room, so that observations go in the order in which they were
        # made.
        self._turn = asyncio.Lock()
        self._task = asyncio.get_running_loop().create_task(self._run())

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

    async def observe(self, episode: Episode) -> asyncio.Future[Receipt]:
        """Takes an observation, once there is room for it. Await what it returns to know that it is
        durable:

        durable = await session.observe(episode)
        receipt = await durable
        """
        self._machine.check_usable()
        request = self._machine.encode(episode)
        async with self._turn:
            await self._until(self._machine.has_room)
            self._machine.check_usable()
            future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
            self._machine.submit(future, request)
        self._wake.set()
        return future

    async def recall(self, recall: Recall) -> Recollection:
        """Recalls on the session's own stream, behind the observations that were taken before
        unless they are paused; the session must be opened with `SessionOptions(recalls=True)`."""
        future: asyncio.Future[Recollection] = asyncio.get_running_loop().create_future()
        self._machine.recall(future, recall)
        self._wake.set()
        return await future

    def pause(self) -> None:
        """Sends no observation until `resume`. What is under way is still acked, and recalls go
        on."""
        self._machine.hold(True)

    def resume(self) -> None:
        """Goes on after `pause`."""
        self._machine.hold(False)
        self._wake.set()

    async def flush(self) -> None:
        """Waits until everything taken so far has its outcome."""
        await self._until(lambda: not self._machine.in_flight)
        if self._machine.error is not None:
            raise copy.copy(self._machine.error)

    async def close(self, *, drain: bool = False) -> int:
        """Waits until all is durable (with `drain`: and in the index), and returns the final
        sequence."""
        if self._machine.state is not State.CLOSED:
            self._machine.close(drain)
            self._wake.set()
            await self._until(lambda: self._machine.is_over)
            await self._task
            if self._machine.error is not None:
                raise copy.copy(self._machine.error)
        return self._machine.durable_sequence

    async def abandon(self) -> None:
        """Leaves it at once, to be resumed. What was not acked may be durable or not."""
        self._machine.abandon()
        self._settle()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            await self.close()
        else:
            await self.abandon()

    async def _opened(self) -> None:
        try:
            await self._until(lambda: self._machine.state is State.OPEN)
        except BaseException:
            await self.abandon()
            raise
        if self._machine.error is not None:
            raise copy.copy(self._machine.error)

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Returns once it holds, or the session is over."""
        while not holds() and not self._machine.is_over:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _settle(self) -> None:
        """Tells everyone what the machine has decided."""
        for outcome in self._machine.outcomes():
            if outcome.token.done():
                continue
            if not isinstance(outcome.result, errors.EngramError):
                outcome.token.set_result(outcome.result)
                continue
            outcome.token.set_exception(copy.copy(outcome.result))
            if outcome.result is self._machine.error:
                # The session tells this one to whoever uses it: nothing is lost if nobody asks each
                # observation.
                outcome.token.exception()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._wake.set()

    async def _run(self) -> None:
        while not self._machine.is_over:
            await asyncio.sleep(max(0.0, self._machine.connect_at - time.monotonic()))
            self._machine.handle_connecting(time.monotonic())
            error = await self._call()
            self._machine.handle_end(error, time.monotonic())
            self._settle()

    async def _call(self) -> errors.EngramError | None:
        """One call, to its end."""
        call = self._method()
        writer = asyncio.create_task(self._write(call))
        try:
            while not self._machine.is_over:
                response = await call.read()
                if response is grpc.aio.EOF:
                    return None
                self._machine.handle_response(response, time.monotonic())
                self._settle()
            return None
        except grpc.aio.AioRpcError as error:
            return errors.from_rpc_error(error)
        except asyncio.CancelledError:
            # The writer ends the call where the machine gives up; else it is this task that is to
            # end.
            if self._machine.is_over and not writer.cancelled():
                return None
            raise
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            call.cancel()

    async def _write(self, call: Any) -> None:
        while True:
            self._wake.clear()
            step = self._machine.next(time.monotonic())
            if isinstance(step, Send):
                try:
                    await call.write(step.message)
                except (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
                    # Why it takes no more, the reader learns.
                    return
            elif self._machine.is_over:
                call.cancel()
                return
            else:
                timeout = None if step.until is None else max(0.0, step.until - time.monotonic())
                try:
                    await asyncio.wait_for(self._wake.wait(), timeout)
                except asyncio.TimeoutError:
                    pass
