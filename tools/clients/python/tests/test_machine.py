"""The rules of a session without a server: what is sent when, and what each answer means.

The random ones play a server that refuses, loses connections and forgets what it had not made
durable, and compare what it stored with what was observed. A failure prints the seed;
`ENGRAM_TEST_SEED` and `ENGRAM_TEST_SEEDS` choose.
"""

import os
import random
import unittest

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

import engram_client as engram
from engram_client import Episode, Recall, Receipt, SessionOptions, errors
from engram_client._delays import JITTER
from engram_client._listener import Listener
from engram_client._machine import MESSAGES_UNDER_WAY_MAX, Machine, Send, State, Wait
from engram_client._proto import service_pb2 as wire

SESSION = "5e551014-0000-4000-8000-000000000000"
STATUS = wire.StreamStatus
ACK = wire.ObservationAck


def machine(**options):
    return Machine("space", "", SessionOptions(**options), random.Random(1), 0.0)


def sent(of, now=0.0):
    """Everything that goes now, as the server reads it."""
    messages = []
    while isinstance(step := of.next(now), Send):
        messages.append(wire.ObservationRequest.FromString(step.message))
    return messages


def numbered(messages):
    """(sequence, what) of each observation."""
    found = []
    for message in messages:
        batch = message.batch.observations or [message.observation]
        found += [(message.sequence_number + n, episode.what) for n, episode in enumerate(batch)]
    return found


def init_ack(initial=0, capacity=0):
    return wire.ObservationResponse(
        init_ack=wire.StreamInitAck(
            session_id=SESSION,
            initial_sequence=initial,
            capabilities=wire.StreamCapabilities(queue_capacity=capacity),
        )
    )


def accepted(last, first=0):
    ack = ACK(status=ACK.STATUS_ACCEPTED, first_sequence=first)
    ack.committed_at.seconds = last
    return wire.ObservationResponse(ack=ack, sequence_number=last)


def refused(sequence, state=STATUS.STATE_ERROR, message="", retry_after_ms=0):
    status = STATUS(state=state, message=message, retry_after_ms=retry_after_ms)
    return [
        wire.ObservationResponse(status=status, sequence_number=sequence),
        wire.ObservationResponse(ack=ACK(status=ACK.STATUS_REJECTED), sequence_number=sequence),
    ]


def told(state, **fields):
    return wire.ObservationResponse(status=STATUS(state=state, **fields))


def opened(count=0, now=0.0, **options):
    """A machine with a session, and `count` observations named by their numbers submitted."""
    of = machine(**options)
    of.handle_connecting(now)
    assert sent(of)[0].init.enable_backpressure
    of.handle_response(init_ack(), now)
    submit(of, *range(1, count + 1))
    return of


def submit(of, *names):
    for name in names:
        of.submit(name, of.encode(Episode(what=str(name), embedding=[1.0])))


def hear(of, *responses, now=0.0):
    for response in responses:
        of.handle_response(response, now)
    return {outcome.token: outcome.result for outcome in of.outcomes()}


class Rules(unittest.TestCase):
    def test_what_waits_goes_together_and_one_ack_may_stand_for_all(self):
        of = opened(5)
        messages = sent(of)
        self.assertEqual(len(messages), 1)
        self.assertEqual(messages[0].session_id, SESSION)
        self.assertEqual(numbered(messages), [(n, str(n)) for n in range(1, 6)])
        results = hear(of, accepted(3, first=1), accepted(4))
        self.assertEqual([results[n].sequence for n in range(1, 5)], [1, 2, 3, 4])
        self.assertEqual(results[4].memory_id, f"mem_{SESSION}_4")
        self.assertEqual((of.durable_sequence, of.in_flight), (4, 1))

    def test_messages_are_few_though_observations_come_one_by_one(self):
        of = opened()
        for name in range(1, 101):
            submit(of, name)
            sent_now = len(sent(of))
            self.assertEqual(sent_now, 1 if name <= MESSAGES_UNDER_WAY_MAX else 0)
        hear(of, accepted(1))
        rest = sent(of)
        self.assertEqual(len(rest), 1)
        self.assertEqual(numbered(rest)[0][0], MESSAGES_UNDER_WAY_MAX + 1)
        self.assertEqual(numbered(rest)[-1][0], 100)

    def test_long_observations_go_alone(self):
        of = opened()
        for name in range(3):
            of.submit(name, of.encode(Episode(what="x" * 60_000, embedding=[1.0])))
        self.assertEqual([message.sequence_number for message in sent(of)], [1, 2, 3])

    def test_the_server_grants_the_window(self):
        of = machine(in_flight_max=100)
        of.handle_connecting(0)
        of.handle_response(init_ack(capacity=7), 0)
        submit(of, *range(7))
        self.assertFalse(of.has_room())
        self.assertEqual(len(numbered(sent(of))), 7)

    def test_overload_is_waited_out_with_jitter_and_never_sooner(self):
        of = opened(4)
        sent(of)
        overloaded = refused(2, STATUS.STATE_OVERLOADED, "full", retry_after_ms=500)
        results = hear(
            of,
            accepted(1),
            *overloaded,
            *refused(3, message="Sequence validation failed: …"),
            now=10.0,
        )
        self.assertEqual(list(results), [1])
        self.assertEqual(of.next(99.0), Wait(None), "4 is not answered yet")
        hear(of, *refused(4, message="Sequence validation failed: …"), now=10.1)
        wait = of.next(10.2)
        self.assertGreaterEqual(wait.until, 10.5)
        self.assertLessEqual(wait.until, 10.5 + 0.5 * JITTER)
        self.assertEqual(sent(of, 10.499), [])
        self.assertEqual(numbered(sent(of, wait.until)), [(2, "2"), (3, "3"), (4, "4")])
        self.assertEqual(sorted(hear(of, accepted(4, first=2))), [2, 3, 4])
        self.assertEqual(of.refusals, 1)

    def test_delays_of_many_clients_differ(self):
        waits = set()
        for seed in range(20):
            of = Machine("space", "", SessionOptions(), random.Random(seed), 0.0)
            of.handle_end(engram.OverloadedError("full", retry_after=2.0), 0.0)
            self.assertTrue(2.0 <= of.connect_at <= 2.0 * (1 + JITTER))
            waits.add(of.connect_at)
        self.assertEqual(len(waits), 20)

    def test_a_refusal_narrows_the_window_and_acks_widen_it(self):
        of = opened(8, in_flight_max=8)
        sent(of)
        responses = refused(1, STATUS.STATE_OVERLOADED)
        for behind in range(2, 9):
            responses += refused(behind, message="Sequence validation failed")
        hear(of, *responses)
        self.assertEqual(len(numbered(sent(of))), 4)
        hear(of, accepted(4, first=1))
        self.assertEqual(len(numbered(sent(of))), 4)
        hear(of, accepted(8, first=5))
        submit(of, *range(9, 17))
        self.assertEqual(len(numbered(sent(of))), 5)

    def test_a_bad_one_takes_no_number_with_it(self):
        of = opened(3)
        sent(of)
        bad = refused(1, message="Embedding must be finite (field: embedding)")
        results = hear(
            of,
            *bad,
            *refused(2, message="Sequence validation failed"),
            *refused(3, message="Sequence validation failed"),
        )
        self.assertIsInstance(results[1], engram.InvalidObservationError)
        self.assertEqual(
            (results[1].message, results[1].field), ("Embedding must be finite", "embedding")
        )
        self.assertEqual(numbered(sent(of)), [(1, "2"), (2, "3")])

    def test_it_pauses_and_goes_on_as_the_server_asks(self):
        of = opened()
        hear(of, told(STATUS.STATE_PAUSED))
        submit(of, 1)
        self.assertEqual(of.next(1e9), Wait(None))
        hear(of, told(STATUS.STATE_ACTIVE))
        self.assertEqual(numbered(sent(of)), [(1, "1")])
        hear(of, *refused(1, STATUS.STATE_PAUSED, "Session paused"))
        self.assertEqual(of.next(1e9), Wait(None))
        hear(of, told(STATUS.STATE_ACTIVE))
        self.assertEqual(numbered(sent(of)), [(1, "1")])
        hear(of, accepted(1), told(STATUS.STATE_OVERLOADED, retry_after_ms=1_000), now=5.0)
        submit(of, 2)
        self.assertGreaterEqual(of.next(5.0).until, 6.0)
        hear(of, told(STATUS.STATE_ACTIVE), now=5.1)
        self.assertEqual(numbered(sent(of, 5.1)), [(2, "2")])

    def test_backpressure_sets_the_pace_until_it_ends(self):
        of = opened(20)
        hear(of, told(STATUS.STATE_BACKPRESSURE, preferred_rate=10.0))
        times = []
        now = 0.0
        for _ in range(9):
            step = of.next(now)
            if isinstance(step, Send):
                times.append(now)
            else:
                now = step.until
        self.assertEqual(len(times), 5)
        for time, expected in zip(times, (0.0, 0.1, 0.2, 0.3, 0.4)):
            self.assertAlmostEqual(time, expected)
        hear(of, told(STATUS.STATE_ACTIVE), now=now)
        self.assertEqual(len(numbered(sent(of, now))), 15)

    def test_resuming_tells_what_became_durable_and_sends_the_rest(self):
        of = opened(5)
        sent(of)
        hear(of, accepted(1))
        of.handle_end(engram.UnavailableError("gone"), 1.0)
        self.assertIs(of.state, State.LOST)
        of.handle_connecting(2.0)
        [init] = sent(of)
        self.assertEqual(init.session_id, SESSION)
        results = hear(of, init_ack(initial=3))
        self.assertEqual([(n, results[n].committed_at) for n in results], [(2, None), (3, None)])
        self.assertEqual(numbered(sent(of, 2.0)), [(4, "4"), (5, "5")])
        self.assertEqual(of.reconnects, 1)

    def test_a_server_that_loses_or_invents_is_found_out(self):
        for responses in (
            [accepted(2)],  # 1 is missing.
            [accepted(5, first=1)],  # Only 3 were sent.
            [init_ack()],
            refused(2, STATUS.STATE_OVERLOADED),  # 1 has no answer.
            refused(1, message="Sequence validation failed: expected 9, got 1"),
        ):
            of = opened(3)
            sent(of)
            results = hear(of, *responses)
            self.assertIs(of.state, State.FAILED, responses)
            self.assertIsInstance(results[3], engram.ProtocolViolationError)
        of = opened()
        of.close(drain=False)
        sent(of)
        closed = told(STATUS.STATE_CLOSED)
        closed.sequence_number = 1
        hear(of, closed)
        self.assertIsInstance(of.error, engram.ProtocolViolationError)
        for initial in (0, 4):
            of = opened(3)
            sent(of)
            hear(of, accepted(1))
            of.handle_end(engram.UnavailableError("gone"), 0)
            of.handle_connecting(9)
            results = hear(of, init_ack(initial=initial))
            self.assertIsInstance(results[2], engram.ProtocolViolationError)

    def test_calls_are_made_ever_later_until_patience_ends(self):
        of = opened(1, patience=60.0, reconnect_delay=0.1, reconnect_delay_max=4.0)
        sent(of)
        now, waits = 100.0, []
        for _ in range(1_000):
            of.handle_end(errors.from_status(grpc.StatusCode.UNAVAILABLE, "no one there"), now)
            waits.append(of.connect_at - now)
            now = of.connect_at
            if of.is_over:
                break
            of.handle_connecting(now)
        self.assertLess(waits[0], 0.11)
        self.assertGreater(waits[-1], 1.9)
        self.assertLessEqual(max(waits), 4.0)
        self.assertTrue(155 < now < 165, now)
        [outcome] = of.outcomes()
        self.assertIsInstance(outcome.result, engram.UnavailableError)
        self.assertIn("no one there", outcome.result.message)
        with self.assertRaises(engram.UnavailableError):
            of.check_usable()

    def test_an_init_without_answer_ends_with_patience(self):
        of = machine(patience=5.0)
        of.handle_connecting(0)
        sent(of)
        self.assertEqual(of.next(1.0), Wait(5.0))
        of.next(5.0)
        self.assertIsInstance(of.error, engram.UnavailableError)

    def test_what_no_new_call_mends_ends_the_session(self):
        for code, kind in (
            (grpc.StatusCode.ABORTED, engram.SessionTakenOverError),
            (grpc.StatusCode.NOT_FOUND, engram.NotFoundError),
            (grpc.StatusCode.INVALID_ARGUMENT, engram.InvalidRequestError),
            (grpc.StatusCode.UNIMPLEMENTED, engram.NotServedError),
            (grpc.StatusCode.DATA_LOSS, engram.ServerError),
        ):
            of = opened(1)
            of.handle_end(errors.from_status(code, "so it is"), 0)
            self.assertIs(type(of.error), kind)
            self.assertEqual(of.error.code, code)

    def test_close_waits_for_acks_and_goes_again_after_a_cut(self):
        of = opened(1)
        sent(of)
        of.close(drain=True)
        self.assertEqual(sent(of), [])
        hear(of, accepted(1))
        [close] = sent(of)
        self.assertEqual((close.close.drain_queue, close.close.last_sequence), (True, 1))
        of.handle_end(None, 0)
        of.handle_connecting(1)
        sent(of)
        hear(of, init_ack(initial=1))
        self.assertTrue(sent(of)[0].HasField("close"))
        closed = told(STATUS.STATE_CLOSED)
        closed.sequence_number = 1
        hear(of, closed)
        self.assertIs(of.state, State.CLOSED)

    def test_a_recall_goes_behind_what_was_observed_before_it(self):
        of = opened(recalls=True)
        hear(of, told(STATUS.STATE_BACKPRESSURE, preferred_rate=1.0))
        submit(of, 1, 2)
        of.recall("a", Recall([1.0]))

        def kinds(now):
            return [message.WhichOneof("operation") for message in sent(of, now)]

        self.assertEqual(kinds(0.0), ["observation"])
        self.assertEqual(kinds(1.0), ["observation", "recall"])
        # A refusal holds back what it refuses, and what is recalled behind it.
        hear(of, accepted(2, first=1), told(STATUS.STATE_ACTIVE), now=1.0)
        submit(of, 3, 4)
        self.assertEqual(kinds(1.0), ["batch"])
        hear(of, *refused(3, STATUS.STATE_OVERLOADED, retry_after_ms=1_000), now=1.0)
        of.recall("b", Recall([1.0]))
        self.assertEqual(kinds(9.0), [], "one is not answered")
        hear(of, *refused(4, message="Sequence validation failed"), now=1.0)
        self.assertEqual(kinds(1.9), [])
        self.assertEqual(kinds(3.0), ["batch", "recall"])

    def test_what_its_user_pauses_is_held_and_recalls_go_on(self):
        of = opened(1, recalls=True)
        self.assertEqual(numbered(sent(of)), [(1, "1")])
        of.hold(True)
        submit(of, 2, 3)
        of.recall("a", Recall([1.0]))
        self.assertEqual([message.WhichOneof("operation") for message in sent(of)], ["recall"])
        self.assertEqual(hear(of, accepted(1))[1].sequence, 1, "acks come all the same")
        # Also over a cut.
        of.handle_end(None, 0)
        of.handle_connecting(1)
        sent(of, now=1)
        hear(of, init_ack(initial=1), now=1)
        self.assertEqual([message.WhichOneof("operation") for message in sent(of, 1)], ["recall"])
        of.hold(False)
        self.assertEqual(numbered(sent(of, now=1)), [(2, "2"), (3, "3")])

    def test_closing_ends_a_pause(self):
        of = opened()
        of.hold(True)
        submit(of, 1)
        of.close(drain=False)
        self.assertEqual(numbered(sent(of)), [(1, "1")])
        with self.assertRaises(engram.SessionClosedError):
            of.hold(True)

    def test_recalls_on_the_stream_are_asked_again_after_a_cut(self):
        of = opened(recalls=True)
        of.recall("a", Recall([1.0], max_results=2))
        of.recall("b", Recall([1.0]))
        ids = [message.recall.request_id for message in sent(of)]
        page = wire.StreamingRecallResponse(request_id=ids[0], more_results=True)
        page.results.add(id="one")
        hear(of, wire.ObservationResponse(recall_result=page))
        of.handle_end(None, 0)
        of.handle_connecting(1)
        sent(of)
        hear(of, init_ack())
        self.assertEqual([message.recall.request_id for message in sent(of)], ids)
        last = wire.StreamingRecallResponse(request_id=ids[0], snapshot_sequence=4)
        last.metadata.total_activated = 3
        results = hear(
            of,
            wire.ObservationResponse(recall_result=page),
            wire.ObservationResponse(recall_result=last),
            told(STATUS.STATE_ERROR, request_id=ids[1], message="Not served: recall"),
        )
        self.assertEqual(
            ([memory.id for memory in results["a"].memories], results["a"].rows), (["one"], 3)
        )
        self.assertIsInstance(results["b"], engram.NotServedError)

    def test_bytes_are_bounded_too(self):
        of = opened(in_flight_bytes_max=10_000)
        while of.has_room():
            of.submit(None, of.encode(Episode(what="x" * 3_000, embedding=[1.0])))
        self.assertEqual(of.in_flight, 4)


class Listening(unittest.TestCase):
    """The rules of a subscription."""

    def listener(self, **wanted):
        return Listener("space", engram.Subscription(**wanted), random.Random(1))

    def status(self, message, state=wire.FlowStatus.STATE_ACTIVE):
        return wire.MemoryFlowResponse(status=wire.FlowStatus(state=state, message=message))

    def test_it_says_what_is_asked_for(self):
        of = self.listener(kinds=[engram.EventKind.RECALLED], importance_min=0.25, buffer=7)
        request = wire.MemoryFlowRequest.FromString(of.request)
        self.assertEqual(request.memory_space_id, "space")
        self.assertEqual(list(request.subscribe.event_types), [wire.STREAM_EVENT_TYPE_RECALL])
        asked = (request.subscribe.min_importance, request.subscribe.buffer_size)
        self.assertEqual(asked, (0.25, 7))

    def test_events_and_gaps_are_told(self):
        of = self.listener()
        self.assertFalse(of.has_begun)
        self.assertIsNone(of.handle_response(self.status("subscribed")))
        self.assertTrue(of.has_begun)
        stored = wire.StreamResponse(
            event_type=wire.STREAM_EVENT_TYPE_STORAGE,
            importance=0.5,
            metadata={"memory_id": "m1", "generation": "4"},
        )
        event = of.handle_response(wire.MemoryFlowResponse(event=stored))
        expected = engram.Event(
            engram.EventKind.STORED, memory_id="m1", importance=0.5, metadata={"generation": "4"}
        )
        self.assertEqual(event, expected)
        missed = wire.StreamResponse(metadata={"missed": "3"})
        event = of.handle_response(wire.MemoryFlowResponse(event=missed))
        self.assertEqual((event.kind, event.missed), (engram.EventKind.MISSED, 3))

    def test_a_lost_connection_is_told_and_made_again_until_patience_ends(self):
        of = self.listener()
        gone = errors.from_status(grpc.StatusCode.UNAVAILABLE, "gone")
        with self.assertRaises(engram.UnavailableError, msg="the first must succeed"):
            of.handle_end(gone, 0.0)
        of.handle_response(self.status("subscribed"))
        self.assertGreater(of.handle_end(gone, 10.0), 0)
        self.assertFalse(of.has_begun)
        event = of.handle_response(self.status("subscribed"))
        self.assertIs(event.kind, engram.EventKind.INTERRUPTED)
        now = 20.0
        with self.assertRaises(engram.UnavailableError):
            while now < 200.0:
                now += of.handle_end(gone, now)
        self.assertGreater(now, 60.0)
        self.assertLess(now, 90.0)

    def test_a_refusal_has_its_class(self):
        error = wire.FlowStatus.STATE_ERROR
        with self.assertRaises(engram.NotServedError):
            self.listener().handle_response(self.status("Not served: events", error))
        with self.assertRaises(engram.InvalidRequestError):
            self.listener().handle_response(self.status("min_importance must be finite", error))


class Errors(unittest.TestCase):
    def test_the_time_to_come_back_is_read_from_the_rich_status(self):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(1_500)
        detail = Any()
        detail.Pack(retry)
        status = status_pb2.Status(code=8, message="full", details=[detail])

        class Failed:
            def __init__(self, *trailing):
                self._trailing = trailing

            def code(self):
                return grpc.StatusCode.RESOURCE_EXHAUSTED

            def details(self):
                return "full"

            def trailing_metadata(self):
                return self._trailing

        error = errors.from_rpc_error(
            Failed(("other", "x"), ("grpc-status-details-bin", status.SerializeToString()))
        )
        self.assertIsInstance(error, engram.OverloadedError)
        self.assertEqual((error.retry_after, error.message), (1.5, "full"))
        for plain in (Failed(), Failed(("grpc-status-details-bin", b"\xff"))):
            self.assertIsInstance(errors.from_rpc_error(plain), engram.MessageTooLargeError)


class Server:
    """Answers as wire.md has it, as far as one session goes; `stored` survives a lost
    connection."""

    def __init__(self, chance):
        self.chance = chance
        self.stored = []
        self.connect()

    def connect(self):
        # What was received and not made durable is gone.
        self.flights = []
        self.answers = []

    @property
    def expected(self):
        return len(self.stored) + len(self.flights) + 1

    def receive(self, message):
        kind = message.WhichOneof("operation")
        if kind == "init":
            self.answers.append(init_ack(len(self.stored)))
        elif kind == "close":
            self.sync(len(self.flights))
            closed = told(STATUS.STATE_CLOSED)
            closed.sequence_number = len(self.stored)
            self.answers.append(closed)
        else:
            batch = message.batch.observations or [message.observation]
            for n, episode in enumerate(batch):
                self.observe(message.sequence_number + n, episode.what)

    def observe(self, sequence, what):
        assert sequence >= self.expected, "sent again what is in flight or durable"
        if sequence > self.expected:
            self.refuse(sequence, message="Sequence validation failed: …")
        elif what.startswith("bad"):
            self.refuse(sequence, message="Embedding must be finite (field: embedding)")
        elif self.chance.random() < 0.1:
            self.refuse(
                sequence, STATUS.STATE_OVERLOADED, "full", retry_after_ms=self.chance.randrange(3)
            )
        else:
            self.flights.append(what)

    def refuse(self, *about, **more):
        # In its place: after the acks of all that came before.
        self.sync(len(self.flights))
        self.answers += refused(*about, **more)

    def sync(self, count):
        for what in self.flights[:count]:
            self.stored.append(what)
        if count:
            first = len(self.stored) - count + 1
            if self.chance.random() < 0.5:
                self.answers.append(accepted(len(self.stored), first=first))
            else:
                self.answers += [accepted(n) for n in range(first, first + count)]
        del self.flights[:count]


class AnyOrder(unittest.TestCase):
    def test_each_is_stored_once_and_in_order_whatever_happens(self):
        first = int(os.environ.get("ENGRAM_TEST_SEED", "0"))
        for seed in range(first, first + int(os.environ.get("ENGRAM_TEST_SEEDS", "400"))):
            with self.subTest(f"ENGRAM_TEST_SEED={seed}"):
                self.play(random.Random(seed))

    def play(self, chance):
        options = SessionOptions(in_flight_max=chance.choice([1, 3, 10, 50]), patience=None)
        of = Machine("space", "", options, chance, 0.0)
        server, now = Server(chance), 0.0
        observed, results, closing = 0, {}, False
        count = chance.randrange(1, 80)
        cuts = chance.randrange(6)
        for _ in range(100_000):
            if of.is_over:
                break
            now += chance.random() * 0.01
            step = chance.randrange(7)
            if of.state is State.LOST:
                now = max(now, of.connect_at)
                of.handle_connecting(now)
                server.connect()
            elif step == 0 and observed < count and of.has_room():
                name = f"bad {observed}" if chance.random() < 0.1 else f"good {observed}"
                of.submit(name, of.encode(Episode(what=name, embedding=[1.0])))
                observed += 1
            elif step in (1, 2):
                wanted = of.next(now)
                if isinstance(wanted, Send):
                    server.receive(wire.ObservationRequest.FromString(wanted.message))
            elif step in (3, 4) and server.answers:
                of.handle_response(server.answers.pop(0), now)
            elif step == 5:
                server.sync(chance.randrange(len(server.flights) + 1))
            elif step == 6 and cuts and chance.random() < 0.05:
                cuts -= 1
                of.handle_end(engram.UnavailableError("cut"), now)
            for outcome in of.outcomes():
                self.assertNotIn(outcome.token, results)
                results[outcome.token] = outcome.result
            if observed == count and not closing:
                closing = True
                of.close(drain=False)
        self.assertIs(of.state, State.CLOSED, of.error)
        good = [name for name in results if name.startswith("good")]
        self.assertEqual(server.stored, good)
        self.assertEqual(len(results), count)
        for name, result in results.items():
            if name.startswith("good"):
                self.assertIsInstance(result, Receipt)
                self.assertEqual(server.stored[result.sequence - 1], name)
            else:
                self.assertIsInstance(result, engram.InvalidObservationError)


if __name__ == "__main__":
    unittest.main()
