"""Stubs made by grpcio-tools from the original proto files, which know nothing of our extensions."""

import importlib
import pathlib
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

ORIGINAL = pathlib.Path(__file__).resolve().parent / "original"
_folder = tempfile.TemporaryDirectory()


def _generate():
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = ["engram/v1/memory.proto", "engram/v1/service.proto"]
    status = protoc.main(["protoc", f"-I{ORIGINAL}", f"-I{well_known}", f"--python_out={_folder.name}",
                          f"--grpc_python_out={_folder.name}", *files])
    if status != 0:
        raise RuntimeError(f"protoc ended with {status}")
    sys.path.insert(0, _folder.name)


_generate()
memory = importlib.import_module("engram.v1.memory_pb2")
service = importlib.import_module("engram.v1.service_pb2")
service_grpc = importlib.import_module("engram.v1.service_pb2_grpc")
