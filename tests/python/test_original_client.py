"""A client made from the original proto files streams real memories and finds them.

5,000 observations on a server of two cores: each is ACCEPTED, in order, and is the first result of a recall by its
own vector from the moment its ack is here, while the stream goes on. Recall@10 over unseen queries is compared with
exact search.
"""

import queue
import unittest

import grpc
import numpy
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from dataset import Dataset
from server import PATIENCE_S, Server
from stubs import memory, service, service_grpc

OBSERVATIONS = 5_000
SPACE = "wordnet"


def requests_of(space, vectors, texts, session):
    """`init`, then, once `session` gives its id, an observation for each vector, then `close`."""
    yield service.ObservationRequest(memory_space_id=space, init=service.StreamInit(enable_backpressure=True))
    session_id = session.get(timeout=PATIENCE_S)
    for sequence, (vector, text) in enumerate(zip(vectors, texts), start=1):
        episode = memory.Episode(id=f"row-{sequence - 1}", what=text, embedding=vector)
        yield service.ObservationRequest(session_id=session_id, sequence_number=sequence, observation=episode)
    close = service.StreamClose(drain_queue=False, last_sequence=len(vectors))
    yield service.ObservationRequest(session_id=session_id, close=close)


class OriginalClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server.of_class(cls, cores=2)
        cls.channel = grpc.insecure_channel(cls.server.address)
        cls.addClassCleanup(cls.channel.close)
        cls.stub = service_grpc.EngramServiceStub(cls.channel)

    def recall(self, vector, count):
        """Ids of the `count` nearest, best first, their texts, and the snapshot's sequence."""
        cue = memory.Cue(embedding=memory.EmbeddingCue(vector=vector))
        request = service.StreamingRecallRequest(memory_space_id=SPACE, cue=cue, max_results=count)
        pages = list(self.stub.RecallStream(request, timeout=PATIENCE_S))
        self.assertTrue(pages[-1].HasField("metadata"), "no closing message")
        found = [result for page in pages for result in page.results]
        return [result.id for result in found], [result.content for result in found], pages[-1].snapshot_sequence

    def test_5000_observations_are_acked_in_order_and_found_at_once(self):
        data = Dataset()
        vectors, texts = data.base(OBSERVATIONS)
        session = queue.Queue()
        answers = self.stub.ObserveStream(requests_of(SPACE, vectors, texts, session))
        first = next(answers)
        self.assertEqual(first.WhichOneof("result"), "init_ack")
        self.assertEqual(first.init_ack.initial_sequence, 0)
        session.put(first.init_ack.session_id)

        acked = 0
        closed = False
        for answer in answers:
            kind = answer.WhichOneof("result")
            if kind == "status" and answer.status.state == service.StreamStatus.STATE_CLOSED:
                closed = True
                continue
            if kind == "status" and answer.status.state in (
                    service.StreamStatus.STATE_BACKPRESSURE, service.StreamStatus.STATE_ACTIVE):
                continue
            self.assertEqual(kind, "ack", answer)
            self.assertEqual(answer.ack.status, service.ObservationAck.STATUS_ACCEPTED)
            self.assertEqual(answer.sequence_number, acked + 1)
            self.assertTrue(answer.ack.HasField("committed_at"))
            self.assertEqual(answer.ack.memory_id, f"row-{acked}")
            ids, contents, snapshot = self.recall(vectors[acked], 1)
            self.assertEqual((ids, contents), ([f"row-{acked}"], [texts[acked]]), "acked, but not found")
            acked += 1
            self.assertGreaterEqual(snapshot, acked)
        self.assertTrue(closed, "no CLOSED before the end")
        self.assertEqual(acked, OBSERVATIONS)
        self.compare_with_exact_search(vectors, data.queries())

    def compare_with_exact_search(self, vectors, queries):
        found = 0
        for query, similarities in zip(queries, queries @ vectors.T):
            exact = {f"row-{row}" for row in numpy.argpartition(-similarities, 10)[:10]}
            ids, _, snapshot = self.recall(query, 10)
            self.assertEqual(snapshot, len(vectors))
            self.assertEqual(len(set(ids)), 10)
            found += len(exact.intersection(ids))
        recall = found / (10 * len(queries))
        print(f"recall@10 over {len(queries)} unseen queries in {len(vectors)} rows: {recall:.4f}")
        self.assertGreaterEqual(recall, 0.95)

    def test_health_as_grpcio_asks_for_it(self):
        health = health_pb2_grpc.HealthStub(self.channel)
        for name in ("", "engram.v1.EngramService"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_S)
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        with self.assertRaises(grpc.RpcError) as refused:
            health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=PATIENCE_S)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_reflection_as_grpcio_asks_for_it(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.assertIn("engram.v1.EngramService", database.get_services())
        served = database.FindFileContainingSymbol("engram.v1.EngramService")
        # Every call of the original is described, with the original's messages.
        described = {m.name: (m.input_type, m.output_type) for s in served.service for m in s.method}
        for method in service.DESCRIPTOR.services_by_name["EngramService"].methods:
            types = (f".{method.input_type.full_name}", f".{method.output_type.full_name}")
            self.assertEqual(described.get(method.name), types, method.name)

    def test_a_refusal_has_the_original_code_and_words(self):
        early = service.ObservationRequest(sequence_number=1, observation=memory.Episode(id="early"))
        with self.assertRaises(grpc.RpcError) as refused:
            list(self.stub.ObserveStream(iter([early]), timeout=PATIENCE_S))
        self.assertEqual(refused.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertIn("Must send 'init' before observations", refused.exception.details())
        with self.assertRaises(grpc.RpcError) as refused:
            self.stub.Consolidate(service.ConsolidateRequest(), timeout=PATIENCE_S)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.UNIMPLEMENTED)


if __name__ == "__main__":
    unittest.main()
