"""Both faces against the real server: what is acked is durable and found, each observation is
stored exactly once and in order whatever becomes of the connection or the server, and each way of
failing has its class."""

import array
import asyncio
import dataclasses
import datetime
import itertools
import socket
import struct
import unittest

import numpy

import engram_client as engram
from engram_client import Episode, Float16Bytes, Recall, SessionOptions
from harness import DIMENSION, PATIENCE_S, AsyncFace, Engram, Proxy, SyncFace, episodes, vectors

_names = itertools.count()


class Sessions:
    """Every promise, of the face that `client` gives."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Engram()
        cls.addClassCleanup(cls.server.end)
        cls.server.await_ready()

    def proxy(self, server):
        proxy = Proxy(server.port)
        self.addCleanup(proxy.close)
        return proxy

    def start(self, *flags):
        server = Engram(*flags)
        self.addCleanup(server.end)
        server.await_ready()
        return server

    def space(self, server=None):
        name = f"space-{next(_names)}"
        (server or self.server).make_space(name)
        return name

    def here(self):
        return self.client(f"127.0.0.1:{self.server.port}")

    def check_stored_once(self, client, space, observed, receipts):
        """Every observation is there, under the id of its receipt, and nothing else is."""
        self.assertEqual(
            [receipt.sequence for receipt in receipts], list(range(1, len(observed) + 1))
        )
        query = Recall([1.0] * DIMENSION, max_results=2 * len(observed), similarity_min=-1.0)
        recalled = client.recall(space, query)
        contents = {memory.id: memory.content for memory in recalled.memories}
        self.assertEqual(len(contents), len(recalled.memories))
        self.assertEqual(
            contents,
            {receipt.memory_id: episode.what for receipt, episode in zip(receipts, observed)},
        )
        self.assertEqual(
            (recalled.rows, recalled.snapshot_sequence), (len(observed), len(observed))
        )

    def test_a_recall_is_filtered(self):
        client, space = self.here(), self.space()
        observed = [
            dataclasses.replace(episode, where=["lab", "field"][number % 2], who=["all", str(number)])
            for number, episode in enumerate(episodes(10))
        ]
        with client.open_session(space) as session:
            for receipt in [session.observe(episode) for episode in observed]:
                receipt.result(PATIENCE_S)

        def found(**criteria):
            query = Recall(observed[0].embedding, filter=engram.RecallFilter(**criteria))
            return {memory.content for memory in client.recall(space, query).memories}

        self.assertEqual(found(where="field"), {episode.what for episode in observed[1::2]})
        self.assertEqual(found(who=["all", "3"]), {observed[3].what})
        self.assertEqual(found(where="lab", who=["3"]), set())

    def test_an_ack_is_durable_and_its_memory_is_found_at_once(self):
        client, space, observed = self.here(), self.space(), episodes(100)
        before = datetime.datetime.now(datetime.timezone.utc)
        with client.open_session(space) as session:
            self.assertEqual(session.initial_sequence, 0)
            receipts = []
            for episode in observed:
                receipts.append(session.observe(episode).result(PATIENCE_S))
                best = client.recall(space, Recall(episode.embedding, max_results=1)).memories[0]
                self.assertEqual((best.id, best.content), (receipts[-1].memory_id, episode.what))
                self.assertTrue(best.durable)
                self.assertAlmostEqual(best.activation, 1, places=2)
                self.assertGreaterEqual(receipts[-1].committed_at, before)
            self.assertEqual(session.close(), 100)
            self.assertEqual(session.close(), 100, "to close again is no error")
            with self.assertRaises(engram.SessionClosedError):
                session.observe(observed[0])
        self.check_stored_once(client, space, observed, receipts)

    def test_a_cut_connection_is_resumed_without_loss_or_doubles(self):
        proxy, space, observed = self.proxy(self.server), self.space(), episodes(1_000)
        client = self.client(proxy.address)
        with client.open_session(space, options=SessionOptions(reconnect_delay=0.001)) as session:
            durable = [session.observe(episode) for episode in observed[:400]]
            durable[299].result(PATIENCE_S)
            # What becomes durable from here on, the client hears only when it resumes.
            proxy.mute()
            durable += [session.observe(episode) for episode in observed[400:600]]
            while self.server.rows(space) < session.durable_sequence + 20:
                pass
            proxy.cut()
            durable += [session.observe(episode) for episode in observed[600:800]]
            durable[-1].result(PATIENCE_S)
            # And once more, with whatever is under way.
            durable += [session.observe(episode) for episode in observed[800:]]
            proxy.cut()
            receipts = [each.result(PATIENCE_S) for each in durable]
            self.assertEqual(session.close(), 1_000)
            self.assertGreaterEqual(session.reconnects, 1)
        self.assertGreaterEqual(sum(receipt.committed_at is None for receipt in receipts), 20)
        self.check_stored_once(client, space, observed, receipts)

    def test_a_killed_server_is_found_again_without_loss_or_doubles(self):
        server = self.start()
        proxy, space, observed = self.proxy(server), self.space(server), episodes(1_000)
        client = self.client(proxy.address)
        with client.open_session(space) as session:
            durable = [session.observe(episode) for episode in observed[:500]]
            durable[199].result(PATIENCE_S)
            server.kill()
            durable += [session.observe(episode) for episode in observed[500:]]
            server.start()
            proxy.target_port = server.port
            receipts = [each.result(PATIENCE_S) for each in durable]
            self.assertGreaterEqual(session.reconnects, 1)
            self.assertEqual(session.close(), 1_000)
        self.check_stored_once(client, space, observed, receipts)

    def test_a_refusal_for_overload_is_waited_out_and_sent_again(self):
        # Four sessions together have more under way than a shard of this capacity takes, sooner or
        # later.
        server = self.start("--capacity", "4")
        client, space, observed = (
            self.client(f"127.0.0.1:{server.port}"),
            self.space(server),
            episodes(40),
        )
        sessions = [client.open_session(space) for _ in range(4)]
        durable = [[] for _ in sessions]
        while not any(session.refusals for session in sessions):
            self.assertLess(len(durable[0]), 100_000, "the server is never too full")
            for episode in observed:
                for session, its in zip(sessions, durable):
                    its.append(session.observe(episode))
        for session, its in zip(sessions, durable):
            receipts = [each.result(PATIENCE_S) for each in its]
            self.assertEqual(
                [receipt.sequence for receipt in receipts], list(range(1, len(its) + 1))
            )
            self.assertEqual(session.close(), len(its))
        self.assertEqual(server.rows(space), sum(map(len, durable)))

    def test_a_bad_observation_fails_alone(self):
        client, space, good = self.here(), self.space(), episodes(60)
        bad = {
            10: (
                Episode(what="short", embedding=[1.0] * 7),
                "Embedding must be exactly 8 dimensions",
                "embedding",
            ),
            11: (
                Episode(what="zero", embedding=[0.0] * 8),
                "Embedding must not be zero",
                "embedding",
            ),
            30: (
                Episode(what="infinite", embedding=[float("inf")] * 8),
                "Embedding must be finite",
                "embedding",
            ),
            59: (
                Episode(what="long", embedding=[1.0] * 8, where="x" * 5_000),
                "Field too large: where_location",
                "where_location",
            ),
        }
        with client.open_session(space) as session:
            durable = [
                session.observe(bad[n][0] if n in bad else episode)
                for n, episode in enumerate(good)
            ]
            receipts = []
            for number, each in enumerate(durable):
                if number not in bad:
                    receipts.append(each.result(PATIENCE_S))
                    continue
                with self.assertRaises(engram.InvalidObservationError) as refused:
                    each.result(PATIENCE_S)
                self.assertEqual(
                    (refused.exception.message, refused.exception.field), bad[number][1:]
                )
                self.assertEqual(refused.exception.code.name, "INVALID_ARGUMENT")
            self.assertEqual(session.close(), 56)
        observed = [episode for number, episode in enumerate(good) if number not in bad]
        self.check_stored_once(client, space, observed, receipts)

    def test_each_way_of_failing_has_its_class(self):
        client, space = self.here(), self.space()
        with self.assertRaises(engram.InvalidRequestError) as refused:
            client.open_session("NO SUCH NAME")
        self.assertIn("Invalid memory_space_id", refused.exception.message)
        with self.assertRaises(engram.SessionNotFoundError) as refused:
            client.open_session(session_id="00000000-0000-4000-8000-000000000000")
        self.assertEqual(refused.exception.code.name, "NOT_FOUND")
        with self.assertRaises(engram.NotFoundError):
            client.recall("never-made", Recall([1.0] * DIMENSION))
        with self.assertRaises(engram.InvalidRequestError):
            client.recall(space, Recall([1.0] * 3))
        with self.assertRaises(engram.InvalidRequestError):
            client.remember(space, Episode(what="short", embedding=[1.0]))
        with client.open_session(space) as session:
            with self.assertRaises(engram.MessageTooLargeError):
                session.observe(Episode(what="x" * (5 << 20), embedding=[1.0] * 8))
            other = self.space()
            with self.assertRaises(engram.InvalidRequestError):
                client.open_session(other, session_id=session.session_id)

    def test_a_server_that_is_not_there_is_unavailable_once_patience_ends(self):
        with SilentPort() as nobody:
            client = self.client(f"127.0.0.1:{nobody}")
            with self.assertRaises(engram.UnavailableError) as refused:
                client.open_session(
                    "somewhere", options=SessionOptions(patience=0.1, reconnect_delay=0.01)
                )
            self.assertEqual(refused.exception.code.name, "UNAVAILABLE")
            with self.assertRaises(engram.UnavailableError):
                client.recall("somewhere", Recall([1.0] * DIMENSION))

    def test_a_server_that_goes_for_good_fails_what_was_not_acked(self):
        server = self.start()
        client, space = self.client(f"127.0.0.1:{server.port}"), self.space(server)
        session = client.open_session(
            space, options=SessionOptions(patience=0.1, reconnect_delay=0.01)
        )
        session.observe(episodes(1)[0]).result(PATIENCE_S)
        server.kill()
        durable = session.observe(episodes(2)[1])
        with self.assertRaises(engram.UnavailableError):
            durable.result(PATIENCE_S)
        with self.assertRaises(engram.UnavailableError):
            session.observe(episodes(1)[0])
        with self.assertRaises(engram.UnavailableError):
            session.flush()

    def test_a_session_is_resumed_by_its_id_and_the_older_holder_is_told(self):
        client, space, observed = self.here(), self.space(), episodes(30)
        first = client.open_session(space)
        receipts = [first.observe(episode).result(PATIENCE_S) for episode in observed[:10]]
        with self.assertRaises(KeyError):
            with self.here().open_session(session_id=first.session_id) as second:
                self.assertEqual(second.initial_sequence, 10)
                receipts += [
                    second.observe(episode).result(PATIENCE_S) for episode in observed[10:20]
                ]
                with self.assertRaises(engram.SessionTakenOverError):
                    first.close()
                raise KeyError("it leaves the session as it is")
        with self.assertRaisesRegex(engram.SessionClosedError, "was left"):
            second.observe(observed[0])
        with self.here().open_session(session_id=first.session_id) as third:
            self.assertEqual((third.initial_sequence, third.session_id), (20, first.session_id))
            receipts += [third.observe(episode).result(PATIENCE_S) for episode in observed[20:]]
        self.check_stored_once(client, space, observed, receipts)

    def test_embeddings_come_in_any_form(self):
        client, space = self.here(), self.space()
        numbers = [0.5, -1.0, 2.0, 0.25, 1.5, -0.125, 3.0, 1.0]
        forms = {
            "list": numbers,
            "tuple": tuple(numbers),
            "array": array.array("f", numbers),
            "doubles": array.array("d", numbers),
            "bytes": struct.pack("<8f", *numbers),
            "half bytes": Float16Bytes(struct.pack("<8e", *numbers)),
            "float16": numpy.array(numbers, dtype=numpy.float16),
            "float32": numpy.array(numbers, dtype=numpy.float32),
            "float64": numpy.array(numbers, dtype=numpy.float64),
            "not contiguous": numpy.array(numbers * 2, dtype=numpy.float32).reshape(2, 8).T[:, 0],
            "integers": numpy.array([1, 2, 3, 4, 5, 6, 7, 8]),
        }
        with client.open_session(space) as session:
            for name, form in forms.items():
                session.observe(Episode(what=name, embedding=form, id=name)).result(PATIENCE_S)
        for name, form in forms.items():
            found = client.recall(
                space, Recall(form, max_results=20, include_embeddings=True)
            ).memories
            back = {memory.id: memory.embedding for memory in found}
            expected = list(range(1, 9)) if name == "integers" else numbers
            self.assertEqual(numpy.asarray(back[name]).tolist(), expected, name)

    def test_all_of_an_episode_comes_back_and_an_id_replaces(self):
        client, space = self.here(), self.space()
        when = datetime.datetime(2026, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
        whole = Episode(
            id="one",
            what="who met whom",
            embedding=vectors(1)[0],
            when=when,
            where="the square",
            who=["Ada", "Grace"],
            why="chance",
            how="on foot",
            confidence=0.75,
            importance=0.5,
        )
        self.assertEqual(
            client.remember(space, Episode(id="one", what="before", embedding=vectors(2)[1])), "one"
        )
        self.assertEqual(client.remember(space, whole), "one")
        recalled = client.recall(space, Recall(vectors(1)[0]))
        self.assertEqual(recalled.rows, 1)
        [memory] = recalled.memories
        self.assertEqual((memory.id, memory.content), ("one", "who met whom"))
        self.assertEqual(
            memory.metadata,
            {
                "who": "Ada, Grace",
                "where": "the square",
                "why": "chance",
                "how": "on foot",
                "when": "2026-02-03T04:05:06Z",
            },
        )
        self.assertIsNone(memory.embedding)

    def test_pages_come_best_first(self):
        client, space = self.here(), self.space()
        with client.open_session(space) as session:
            for episode in episodes(250):
                session.observe(episode)
            session.flush()
            query = Recall(vectors(1)[0], max_results=250, page_size=60, similarity_min=-1.0)
            pages = list(client.recall_pages(space, query))
        self.assertEqual([len(page.memories) for page in pages], [60, 60, 60, 60, 10])
        self.assertEqual({page.snapshot_sequence for page in pages}, {250})
        activations = [memory.activation for page in pages for memory in page.memories]
        self.assertEqual(activations, sorted(activations, reverse=True))

    def test_recalls_share_the_sessions_stream_also_over_a_cut(self):
        proxy, space, observed = self.proxy(self.server), self.space(), episodes(60)
        client = self.client(proxy.address)
        options = SessionOptions(recalls=True, reconnect_delay=0.001)
        with client.open_session(space, options=options) as session:
            for number, episode in enumerate(observed):
                session.observe(episode).result(PATIENCE_S)
                best = session.recall(Recall(episode.embedding, max_results=3)).memories[0]
                self.assertEqual(best.content, episode.what)
                if number % 20 == 19:
                    proxy.cut()
            self.assertGreaterEqual(session.reconnects, 1)
            with self.assertRaises(engram.InvalidRequestError):
                session.recall(Recall([1.0] * (DIMENSION - 1)))
            everything = Recall([1.0] * DIMENSION, max_results=100, similarity_min=-1.0)
            everything = session.recall(everything)
            self.assertEqual(len(everything.memories), len(observed))

    def test_a_paused_session_sends_nothing_and_recalls(self):
        client, space, observed = self.here(), self.space(), episodes(6)
        with client.open_session(space, options=SessionOptions(recalls=True)) as session:
            for durable in [session.observe(episode) for episode in observed[:5]]:
                durable.result(PATIENCE_S)
            session.pause()
            held = session.observe(observed[5])
            # Its answer comes behind whatever was sent before.
            everything = Recall([1.0] * DIMENSION, max_results=10, similarity_min=-1.0)
            recalled = session.recall(everything)
            self.assertEqual((recalled.snapshot_sequence, len(recalled.memories)), (5, 5))
            session.resume()
            self.assertEqual(len(session.recall(everything).memories), 6, "observed before")
            self.assertEqual(held.result(PATIENCE_S).sequence, 6)

    def test_events_are_told_from_the_subscription_on_and_after_a_cut(self):
        proxy, space, observed = self.proxy(self.server), self.space(), episodes(5)
        observer, client = self.here(), self.client(proxy.address)

        def observe(number, importance):
            episode = dataclasses.replace(
                observed[number], id=f"m{number}", importance=importance
            )
            observer.remember(space, episode)

        wanted = engram.Subscription(kinds=[engram.EventKind.STORED], importance_min=0.5)
        events = client.subscribe(space, wanted)
        for number, importance in enumerate([0.1, 0.9, 0.2, 0.5]):
            observe(number, importance)
        heard = [self.next_of(events) for _ in range(2)]
        self.assertEqual([event.memory_id for event in heard], ["m1", "m3"])
        self.assertEqual({event.kind for event in heard}, {engram.EventKind.STORED})
        proxy.cut()
        self.assertIs(self.next_of(events).kind, engram.EventKind.INTERRUPTED)
        observe(4, 1.0)
        self.assertEqual(self.next_of(events).memory_id, "m4")
        events.close()
        with self.assertRaises((StopIteration, StopAsyncIteration)):
            self.next_of(events)
        with self.assertRaises(engram.InvalidRequestError):
            client.subscribe(space, engram.Subscription(importance_min=float("nan")))

    def test_room_is_bounded(self):
        proxy, space, observed = self.proxy(self.server), self.space(), episodes(200)
        client = self.client(proxy.address)
        with client.open_session(space, options=SessionOptions(in_flight_max=4)) as session:
            durable = []
            for episode in observed:
                durable.append(session.observe(episode))
                self.assertLessEqual(session.in_flight, 4)
            receipts = [each.result(PATIENCE_S) for each in durable]
        self.check_stored_once(client, space, observed, receipts)


class SilentPort:
    """A port on which nobody listens."""

    def __enter__(self):
        # Bound and not listening: nobody else gets it meanwhile.
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        return self._socket.getsockname()[1]

    def __exit__(self, *_):
        self._socket.close()


class Sync(SyncFace, Sessions, unittest.TestCase):
    """With threads."""

    def test_no_room_in_time_is_a_timeout(self):
        server = self.start()
        client, space = self.client(f"127.0.0.1:{server.port}"), self.space(server)
        session = client.open_session(space, options=SessionOptions(in_flight_max=1))
        server.kill()
        session.observe(episodes(1)[0])
        with self.assertRaises(TimeoutError):
            session.observe(episodes(1)[0], timeout=0.01)
        with self.assertRaises(TimeoutError):
            session.close(timeout=0.01)


class Async(AsyncFace, Sessions, unittest.TestCase):
    """With asyncio."""

    def test_tasks_keep_their_order_and_may_be_cancelled(self):
        space, observed = self.space(), episodes(300)

        async def run():
            async with engram.AsyncClient(f"127.0.0.1:{self.server.port}") as client:
                async with await client.open_session(
                    space, options=SessionOptions(in_flight_max=8)
                ) as session:
                    durable = await asyncio.gather(*map(session.observe, observed))
                    durable[-1].cancel()
                    receipts = await asyncio.gather(*durable[:-1])
                    self.assertEqual(await session.close(), 300)
                    return receipts

        receipts = self.driver.run(run())
        self.assertEqual([receipt.sequence for receipt in receipts], list(range(1, 300)))
        client = self.here()
        for receipt, episode in list(zip(receipts, observed))[::50]:
            best = client.recall(space, Recall(episode.embedding, max_results=1)).memories[0]
            self.assertEqual((best.id, best.content), (receipt.memory_id, episode.what))

    def test_who_waits_for_room_goes_before_who_comes_as_there_is_room(self):
        space, observed = self.space(), episodes(3)

        async def run():
            async with engram.AsyncClient(f"127.0.0.1:{self.server.port}") as client:
                options = SessionOptions(in_flight_max=1)
                async with await client.open_session(space, options=options) as session:
                    first = await session.observe(observed[0])
                    waiting = asyncio.create_task(session.observe(observed[1]))
                    await asyncio.sleep(0)
                    await first
                    last = await session.observe(observed[2])
                    return [(await each).sequence for each in (first, await waiting, last)]

        self.assertEqual(self.driver.run(run()), [1, 2, 3])


if __name__ == "__main__":
    unittest.main()
