"""A real `ollamax serve` on a free port, with a store of its own and the models that the client checks ask for.

Every name is made the way a user would: `ollamax create` of a Modelfile and POST /api/copy. The weights are always
SmolLM2-135M; what differs is the template, and for all-minilm the key that makes a GGUF an embedding model.
"""
import json
import pathlib
import struct
import sys
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE.parent / "support"))
from ollamax_server import SMOLLM2, OllamaxServer  # noqa: E402

# Names that clients' own tests have written into them.
COPIES = {"tools": ["llama3.1", "llama3.2", "llama3.2:1b", "gpt-oss:20b", "mistral"], "thinking": ["deepseek-r1:1.5b", "deepseek-r1"],
          "insert": ["codellama:code"], "smollm2:135m": ["smollm2", "llava"]}


def write_embedding_model(source, target):
    """The same file with llama.pooling_type = 1 (mean), which is what tells an embedding model from others."""
    def text(value):
        return struct.pack("<Q", len(value)) + value
    data = source.read_bytes()
    n_keys = struct.unpack_from("<Q", data, 16)[0]
    pooling = text(b"llama.pooling_type") + struct.pack("<II", 4, 1)
    padding = text(b"general.source.note") + struct.pack("<I", 8)
    # Tensor data begins at a multiple of 32: what comes before it grows by such a multiple.
    filler = b"x" * (-(len(pooling) + len(padding) + 8) % 32)
    target.write_bytes(data[:16] + struct.pack("<Q", n_keys + 2) + pooling + padding + text(filler) + data[24:])


class Server(OllamaxServer):
    def __init__(self, ollamax, **environment):
        super().__init__(ollamax, OLLAMAX_TEST_MODELS=str(SMOLLM2.parent), OLLAMAX_REGISTRIES="127.0.0.1:1", OLLAMAX_REGISTRY_RETRY_MS="20", **environment)

    def copy(self, source, destination):
        body = json.dumps({"source": source, "destination": destination}).encode()
        urllib.request.urlopen(self.url + "/api/copy", body).close()

    def add_models(self):
        self.create("smollm2:135m", f"FROM {SMOLLM2}\n" + (HERE / "models/base.Modelfile").read_text())
        for name in ("tools", "thinking", "insert"):
            self.create(name, "FROM smollm2:135m\n" + (HERE / f"models/{name}.Modelfile").read_text())
        embedding = self.root / "embedding.gguf"
        write_embedding_model(SMOLLM2, embedding)
        self.create("all-minilm", f"FROM {embedding}\n")
        embedding.unlink()
        for source, names in COPIES.items():
            for name in names:
                self.copy(source, name)
