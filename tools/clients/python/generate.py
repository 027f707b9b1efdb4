"""Makes src/engram_client/_proto from /proto. Run it after the contract changed, and commit what it
makes:

    python3 -m venv /tmp/generate
    /tmp/generate/bin/pip install 'grpcio-tools==1.62.3' 'setuptools<80'
    /tmp/generate/bin/python tools/clients/python/generate.py

The version is an old one on purpose: what a newer one makes asks for a runtime at least as new. The
package's tests compare what is committed with /proto, whatever made it.
"""

import pathlib
import sys
import tempfile

import grpc_tools
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parents[2] / "proto"
OUT = HERE / "src/engram_client/_proto"
FILES = ["engram/v1/memory.proto", "engram/v1/service.proto"]


def main() -> int:
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            f"-I{PROTO}",
            f"-I{well_known}",
            f"--python_out={folder}",
            f"--pyi_out={folder}",
            *FILES,
        ]
        status = protoc.main(["protoc", *arguments])
        for made in pathlib.Path(folder, "engram/v1").glob("*_pb2.py*"):
            # The modules lie in the package, so that they take no top-level name from anyone.
            text = made.read_text()
            text = text.replace("from engram.v1 import", "from engram_client._proto import")
            text = text.replace("'engram.v1.", "'engram_client._proto.")
            (OUT / made.name).write_text(text)
    return status


if __name__ == "__main__":
    sys.exit(main())
