#!/usr/bin/env python3
"""A corpus of broken GGUF files, made here from six sound ones, and what `ollamax inspect gguf` says of each beside the reader of
the Python package `gguf`.  proves T-01, T-02, T-03, T-04, T-05, T-07, T-11

usage: corpus.py OLLAMAX VENV_DIR [--keep FOLDER]
exit 77: the package cannot be installed (said on standard output)

Each file is of a class: "sound" must be read by both, with the same keys and tensors; "broken" must be refused, in one line and
with exit code 1; of a "flipped" one (one bit of its metadata) either may hold, but where both read it they must have read the same.
Nothing may end in a signal or take seconds.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from python_environment import enter_environment  # noqa: E402

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
PACK = {U8: "<B", I8: "<b", U16: "<H", I16: "<h", U32: "<I", I32: "<i", F32: "<f", BOOL: "<B", U64: "<Q", I64: "<q", F64: "<d"}
TENSOR_TYPES = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 14: (256, 210)}  # id: elements, bytes of a block
EDGES = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**60, 2**61, 2**62 + 1, 2**63 - 1, 2**63, 2**64 - 16, 2**64 - 1]


class File:
    """A GGUF file as parts with names, so that any of them can be replaced by bytes that lie."""

    def __init__(self, version=3, alignment=32):
        self.parts, self.version, self.alignment = {}, version, alignment
        self.n_kv = self.n_tensors = 0
        self.data = b""
        self.put("magic", b"GGUF"), self.put("version", struct.pack("<I", version))
        self.put("n_tensors", b""), self.put("n_kv", b"")

    def put(self, name, value):
        assert name not in self.parts
        self.parts[name] = value

    def text(self, name, value):
        self.put(name + ".length", struct.pack("<Q", len(value)))
        self.put(name + ".bytes", value)

    def key(self, key, kind, value):
        i = self.n_kv
        self.n_kv += 1
        self.text(f"kv{i}.key", key.encode())
        self.put(f"kv{i}.type", struct.pack("<I", kind))
        self.value(f"kv{i}.value", kind, value)
        return self

    def value(self, name, kind, value):
        if kind == STRING:
            self.text(name, value.encode())
        elif kind == ARRAY:
            element, values = value
            self.put(name + ".element", struct.pack("<I", element))
            self.put(name + ".count", struct.pack("<Q", len(values)))
            for j, one in enumerate(values):
                self.value(f"{name}.{j}", element, one)
        else:
            self.put(name, struct.pack(PACK[kind], value))

    def tensor(self, name, kind, dims):
        i = self.n_tensors
        self.n_tensors += 1
        self.text(f"t{i}.name", name.encode())
        self.put(f"t{i}.n_dims", struct.pack("<I", len(dims)))
        for d, size in enumerate(dims):
            self.put(f"t{i}.dim{d}", struct.pack("<Q", size))
        self.put(f"t{i}.type", struct.pack("<I", kind))
        self.data += bytes(-len(self.data) % self.alignment)
        self.put(f"t{i}.offset", struct.pack("<Q", len(self.data)))
        n_elements = 1
        for size in dims:
            n_elements *= size
        elements, size_bytes = TENSOR_TYPES[kind]
        self.data += bytes((7 * j + i) % 251 for j in range(n_elements // elements * size_bytes))
        return self

    def metadata(self, replaced=None):
        parts = {**self.parts, "n_tensors": struct.pack("<Q", self.n_tensors), "n_kv": struct.pack("<Q", self.n_kv), **(replaced or {})}
        return b"".join(parts.values())

    def bytes(self, replaced=None):
        head = self.metadata(replaced)
        return head + bytes(-len(head) % self.alignment) + self.data


def seeds():
    every = [(U8, 255), (I8, -128), (U16, 65535), (I16, -1), (U32, 7), (I32, -7), (F32, 0.5), (BOOL, 1), (U64, 2**64 - 1), (I64, -1), (F64, 1e300)]
    scalars = File().key("general.architecture", STRING, "llama")
    for kind, value in every:
        scalars.key(f"scalar.of{kind}", kind, value)
    arrays = File().key("general.architecture", STRING, "llama")
    for kind, value in every:
        # `inspect` shows the numbers of arrays as signed ones.
        arrays.key(f"array.of{kind}", ARRAY, (kind, [min(value, 2**63 - 1)] * 3))
    arrays.key("tokens", ARRAY, (STRING, ["a", "", "\u00e9", "\u2581word"]))
    dense = File().key("general.architecture", STRING, "llama").tensor("a.weight", 0, [32, 3]).tensor("b", 1, [8]).tensor("c", 0, [2, 2, 2, 2])
    blocks = File().key("general.file_type", U32, 15).tensor("q4_0", 2, [64, 2]).tensor("q8_0", 8, [32, 4]).tensor("q4_k", 12, [256, 2]).tensor("q6_k", 14, [512])
    aligned = File(alignment=64).key("general.alignment", U32, 64).tensor("x", 0, [5]).tensor("y", 0, [5])
    old = File(version=2).key("general.name", STRING, "old").tensor("x", 0, [4])
    return {"scalars": scalars, "arrays": arrays, "dense": dense, "blocks": blocks, "aligned": aligned, "old": old}


def corpus():
    """(name, class, bytes) of every file, the same each time."""
    draw = random.Random(20)
    for name, file in seeds().items():
        whole, head = file.bytes(), file.metadata()
        yield f"{name}", "sound", whole
        for magic in (b"GGUX", b"FUGG", b"gguf", b"\0\0\0\0", b"GGML"):
            yield f"{name}-magic-{magic.hex()}", "broken", file.bytes({"magic": magic})
        for version in (0, 1, 4, 0x03000000, 2**32 - 1):
            yield f"{name}-version-{version}", "broken", file.bytes({"version": struct.pack("<I", version)})
        for cut in sorted(draw.sample(range(len(head)), min(40, len(head)))):
            yield f"{name}-cut-{cut}", "broken", whole[:cut]
        if file.data:
            for missing in (1, 2, len(file.data) // 2, len(file.data)):
                yield f"{name}-short-{missing}", "broken", whole[:-missing]
        for part, value in file.parts.items():
            field = part.split(".")[-1]
            if part in ("n_tensors", "n_kv"):
                for edge in EDGES[2:]:
                    yield f"{name}-{part}-{edge}", "broken", file.bytes({part: struct.pack("<Q", edge)})
            elif field == "length" or field == "count":
                own = struct.unpack("<Q", value)[0]
                for edge in draw.sample(EDGES[2:], 4):
                    yield f"{name}-{part}-{edge}", "broken", file.bytes({part: struct.pack("<Q", edge)})
                if field == "length" and part.endswith("name.length"):
                    yield f"{name}-{part}-0", "broken", file.bytes({part: struct.pack("<Q", 0), part.replace("length", "bytes"): b""})
                assert own < 2**16
            elif field == "element" or (field == "type" and part.startswith("kv")):
                for kind in (13, 99, 2**31, 2**32 - 1):
                    yield f"{name}-{part}-{kind}", "broken", file.bytes({part: struct.pack("<I", kind)})
            elif field == "type":
                for kind in (4, 5, 99, 2**31, 2**32 - 1):
                    yield f"{name}-{part}-{kind}", "broken", file.bytes({part: struct.pack("<I", kind)})
            elif field == "n_dims":
                for n in (0, 5, 2**31, 2**32 - 1):
                    yield f"{name}-{part}-{n}", "broken", file.bytes({part: struct.pack("<I", n)})
            elif field.startswith("dim"):
                for edge in [0] + EDGES[3:]:
                    yield f"{name}-{part}-{edge}", "broken", file.bytes({part: struct.pack("<Q", edge)})
            elif field == "offset":
                for edge in (1, 2**20, 2**63, 2**64 - 32, 2**64 - 1):
                    yield f"{name}-{part}-{edge}", "broken", file.bytes({part: struct.pack("<Q", edge)})
                if part != "t0.offset":
                    yield f"{name}-{part}-overlap", "broken", file.bytes({part: file.parts["t0.offset"]})
        if file.n_tensors > 1:
            twice = {"t1.name.length": file.parts["t0.name.length"], "t1.name.bytes": file.parts["t0.name.bytes"]}
            yield f"{name}-name-twice", "broken", file.bytes(twice)
        if file.n_kv > 1:
            twice = {"kv1.key.length": file.parts["kv0.key.length"], "kv1.key.bytes": file.parts["kv0.key.bytes"]}
            yield f"{name}-key-twice", "broken", file.bytes(twice)
        for bit in draw.sample(range(len(head) * 8), 60):
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            yield f"{name}-bit-{bit}", "flipped", bytes(flipped)
    for alignment in (0, 3, 13, 65537, 2**31):
        file = seeds()["aligned"]
        yield f"alignment-{alignment}", "broken", file.bytes({"kv0.value": struct.pack("<I", alignment)})


def ours(ollamax, path):
    """(what was read, None), (None, the error)."""
    done = subprocess.run([ollamax, "inspect", "gguf", "--json", str(path)], capture_output=True, timeout=10)
    if done.returncode == 0:
        read = json.loads(done.stdout)
        return {"keys": sorted(read["metadata"]), "tensors": sorted((t["name"], list(t["shape"]), t["offset"], t["size"]) for t in read["tensors"])}, None
    error = done.stderr.decode("utf-8", "replace")
    if done.returncode != 1 or not error.startswith("Error: ") or error.count("\n") != 1:
        raise AssertionError(f"exit code {done.returncode}, {error[:300]!r}")
    return None, error.strip()


def theirs(path):
    """(what gguf reads or None, whether all that stopped it is text that is not UTF-8, which `ollamax` keeps as bytes).

    It believes counts: a child with limits, since it may go on for ever."""
    pid_in, pid_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(pid_in)
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
            resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            import gguf
            reader = gguf.GGUFReader(path)
            read = {"keys": sorted(key for key in reader.fields if not key.startswith("GGUF.")),
                    "tensors": sorted((t.name, [int(n) for n in reversed(t.shape)], int(t.data_offset), int(t.n_bytes)) for t in reader.tensors)}
            os.write(pid_out, json.dumps(read).encode())
            os._exit(0)
        except UnicodeDecodeError:
            os._exit(2)
        except BaseException:
            os._exit(1)
    os.close(pid_out)
    with os.fdopen(pid_in, "rb") as pipe:
        answer = pipe.read()
    status = os.waitpid(pid, 0)[1]
    if status != 0:
        return None, os.WIFEXITED(status) and os.WEXITSTATUS(status) == 2
    read = json.loads(answer)
    read["tensors"] = [tuple(tensor) for tensor in read["tensors"]]
    return read, False


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ollamax")
    parser.add_argument("venv", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    options = parser.parse_args()
    enter_environment(options.venv, HERE / "requirements.txt")
    import gguf  # noqa: F401  once, so that every child has it
    counts, faults, stricter = {}, [], 0
    with tempfile.TemporaryDirectory(prefix="ollamax-gguf-") as folder:
        path = pathlib.Path(folder) / "file.gguf"
        for name, kind, data in corpus():
            counts[kind] = counts.get(kind, 0) + 1
            path.write_bytes(data)
            try:
                read, error = ours(options.ollamax, path)
            except (AssertionError, subprocess.TimeoutExpired, ValueError) as fault:
                faults.append((name, data, str(fault)))
                continue
            other, is_only_text = theirs(path)
            if kind == "sound" and (read is None or other is None):
                faults.append((name, data, f"ours: {error}; gguf reads it: {other is not None}"))
            elif kind == "broken" and read is not None:
                faults.append((name, data, "was read"))
            elif read is not None and other is not None and read != other:
                faults.append((name, data, f"read as {read}, by gguf as {other}"))
            elif kind == "flipped" and read is not None and other is None and not is_only_text:
                faults.append((name, data, "was read, gguf refuses it"))
            stricter += read is None and other is not None
    for name, data, fault in faults:
        print(f"{name}: {fault}")
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{name}.gguf").write_bytes(data)
    print(f"{sum(counts.values())} files ({', '.join(f'{n} {kind}' for kind, n in sorted(counts.items()))}); {stricter} refused here that gguf reads; {len(faults)} faults")
    return 1 if faults or counts["broken"] < 500 else 0


if __name__ == "__main__":
    sys.exit(main())
