"""Plain HTTP on the same port: health, metrics, spaces."""

import json
import re
import unittest
import urllib.parse

from server import Server

PREFIX = "engram_streaming_"
SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? (\S+)$")


def samples(text):
    """Names of the samples of a metrics page; fails on a line that is neither sample nor comment."""
    names = set()
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        sample = SAMPLE.match(line)
        assert sample, f"not a sample: {line!r}"
        float(sample[3])
        names.add(sample[1])
    return names


class Http(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server.of_class(cls, cores=1)

    def post_space(self, **settings):
        status, _, body = self.server.request(
            "POST", "/api/v1/spaces", json.dumps(settings), {"Content-Type": "application/json"})
        return status, json.loads(body)

    def test_health(self):
        status, body = self.server.get("/health")
        self.assertEqual(status, 200)
        health = json.loads(body)
        self.assertEqual(health["service"], "engram")
        self.assertLessEqual({"status", "version", "timestamp"}, health.keys())
        for path in ("/health/live", "/health/ready"):
            self.assertEqual(self.server.get(path)[0], 200, path)

    def test_metrics_in_both_forms(self):
        self.assertEqual(self.post_space(id="measured", dimension=8)[0], 201)
        for path in ("/metrics", "/metrics/prometheus"):
            status, headers, text = self.server.request("GET", path)
            self.assertEqual(status, 200)
            self.assertIn("text/plain", headers["Content-Type"])
            self.assertIn("version=0.0.4", headers["Content-Type"])
            names = samples(text)
            self.assertIn(PREFIX + "active_sessions_total", names)
            self.assertTrue(any(name.startswith(PREFIX + "queue_depth") for name in names), names)
            self.assertNotIn("# EOF", text)
        status, headers, text = self.server.request(
            "GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        self.assertEqual(status, 200)
        self.assertIn("application/openmetrics-text", headers["Content-Type"])
        self.assertTrue(text.endswith("# EOF\n"), text[-100:])
        self.assertIn(PREFIX + "active_sessions_total", samples(text))

    def test_spaces_are_made_once_and_listed(self):
        status, made = self.post_space(id="my-space", dimension=16)
        self.assertEqual((status, made["id"], made["dimension"]), (201, "my-space", 16))
        status, again = self.post_space(id="my-space", dimension=16)
        self.assertEqual((status, again["id"]), (200, "my-space"))
        status, other = self.post_space(id="my-space", dimension=32)
        self.assertEqual((status, other["error"]["code"]), (409, "already_exists"))
        status, body = self.server.get("/api/v1/spaces")
        self.assertEqual(status, 200)
        spaces = {space["id"]: space for space in json.loads(body)["spaces"]}
        self.assertEqual((spaces["my-space"]["dimension"], spaces["my-space"]["rows"]), (16, 0))

    def test_bad_spaces_are_refused(self):
        for settings in ({"id": "ab", "dimension": 16}, {"id": "UPPER", "dimension": 16}, {"id": "x" * 65},
                         {"id": "small", "dimension": 7}, {"id": "large", "dimension": 4097}, {"dimension": 16}):
            status, answer = self.post_space(**settings)
            self.assertEqual((status, answer["error"]["code"]), (400, "invalid_argument"), settings)
        status, _, body = self.server.request("POST", "/api/v1/spaces", "{not json")
        self.assertEqual((status, json.loads(body)["error"]["code"]), (400, "invalid_argument"))
        ids = {space["id"] for space in json.loads(self.server.get("/api/v1/spaces")[1])["spaces"]}
        self.assertTrue(ids.isdisjoint({"ab", "UPPER", "small", "large"}), ids)

    def test_a_memory_is_stored_and_recalled_by_requests(self):
        self.assertEqual(self.post_space(id="rested", dimension=8)[0], 201)
        path = "/api/v1/memories/remember"
        for number in range(8):
            embedding = [1.0 if at == number else 0.1 for at in range(8)]
            memory = {"content": f"text {number}", "embedding": embedding, "id": f"m{number}"}
            headers = {"Content-Type": "application/json"}
            if number % 2:
                memory["memory_space_id"] = "rested"
            else:
                headers["X-Memory-Space"] = "rested"
            status, _, body = self.server.request("POST", path, json.dumps(memory), headers)
            self.assertEqual((status, json.loads(body)["memory_id"]), (201, f"m{number}"))
            asked = urllib.parse.urlencode({"embedding": embedding, "max_results": 3, "space": "rested"})
            status, body = self.server.get(f"/api/v1/memories/recall?{asked}")
            self.assertEqual(status, 200)
            recalled = json.loads(body)
            best = recalled["memories"][0]
            self.assertEqual((best["id"], best["content"], best["durability"]), (f"m{number}", f"text {number}", "durable"))
            self.assertEqual((len(recalled["memories"]), recalled["snapshot_sequence"]), (min(number + 1, 3), number + 1))
        for asked, words in (("", "missing parameter embedding"), ("embedding=[1", "Invalid JSON: embedding: "),
                             ("embedding=[1,2]&space=rested", "Embedding must be exactly 8 dimensions")):
            status, body = self.server.get(f"/api/v1/memories/recall?{asked}")
            error = json.loads(body)["error"]
            self.assertEqual((status, error["code"]), (400, "invalid_argument"))
            self.assertIn(words, error["message"])
        self.assertEqual(self.server.get("/api/v1/memories/recall?embedding=[1]&space=nowhere")[0], 404)
        self.assertEqual(self.server.get(path)[0], 405)

    def test_an_unknown_path_is_not_found(self):
        status, body = self.server.get("/no/such/path")
        self.assertEqual((status, json.loads(body)["error"]["code"]), (404, "not_found"))


if __name__ == "__main__":
    unittest.main()
