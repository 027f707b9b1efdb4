"""The package as it is installed: complete, its messages those of /proto, its example running, its
README true."""

import contextlib
import importlib.metadata
import importlib.resources
import io
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

import engram_client
from engram_client import example
from engram_client._proto import memory_pb2, service_pb2
from harness import ROOT, Engram

README = (pathlib.Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


class Package(unittest.TestCase):
    def test_the_messages_are_those_of_the_contract(self):
        well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
        for module in (memory_pb2, service_pb2):
            with self.subTest(module.DESCRIPTOR.name), tempfile.NamedTemporaryFile() as made:
                status = protoc.main(
                    [
                        "protoc",
                        f"-I{ROOT / 'proto'}",
                        f"-I{well_known}",
                        f"--descriptor_set_out={made.name}",
                        module.DESCRIPTOR.name,
                    ]
                )
                self.assertEqual(status, 0)
                [now] = FileDescriptorSet.FromString(made.read()).file
                committed = FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
                for message in now.message_type:
                    forget_json_names(message)
                self.assertEqual(now, committed, "run tools/clients/python/generate.py")

    def test_it_is_whole_where_it_is_installed(self):
        files = importlib.resources.files("engram_client")
        for name in ("py.typed", "_proto/service_pb2.pyi", "_proto/memory_pb2.pyi"):
            self.assertTrue(files.joinpath(name).is_file(), name)
        about = importlib.metadata.metadata("engram-client")
        self.assertIn("Typing :: Typed", about.get_all("Classifier"))
        for name in engram_client.__all__:
            self.assertTrue(getattr(engram_client, name).__doc__ or name == "Embedding", name)

    def test_its_types_hold(self):
        configuration = pathlib.Path(__file__).resolve().parents[1] / "pyproject.toml"
        with tempfile.TemporaryDirectory() as elsewhere:
            checked = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "mypy",
                    "--config-file",
                    configuration,
                    "-p",
                    "engram_client",
                ],
                cwd=elsewhere,
                capture_output=True,
                text=True,
            )
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_the_readme_names_every_error(self):
        raised = {name for name in engram_client.__all__ if name.endswith("Error")}
        self.assertEqual(set(re.findall(r"^\| `(\w+Error)`", README, re.MULTILINE)), raised)

    def test_what_the_readme_shows_and_the_example_run(self):
        server = Engram()
        self.addCleanup(server.end)
        server.await_ready()
        shown = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        self.assertEqual(len(shown), 2)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            for number, code in enumerate(shown):
                address = f"127.0.0.1:{server.port}"
                exec(
                    compile(code.replace("127.0.0.1:50051", address), f"README {number}", "exec"),
                    {},
                )
            example.main([address])
        self.assertIn("1000 observations are durable", printed.getvalue())
        self.assertEqual(server.rows(example.SPACE), 1_000)
        best = example.ask(address, "Grace found a moth in the relay in the lab")[0]
        self.assertEqual(best, "Grace found a moth in the relay in the lab")


def forget_json_names(message):
    """protoc writes them beside the names that they are made of; a module's descriptor does not
    hold them."""
    for field in message.field:
        field.ClearField("json_name")
    for nested in message.nested_type:
        forget_json_names(nested)


if __name__ == "__main__":
    unittest.main()
