"""Cuts a GGUF file into the parts of a split model, as llama.cpp's gguf-split lays them out."""
import struct

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # of scalar types
STRING, ARRAY = 8, 9


def text(value):
    return struct.pack("<Q", len(value)) + value


def split(path, folder, n_parts):
    """Writes `<stem>-0000k-of-0000n.gguf` into the folder; returns the first one's path."""
    data = path.read_bytes()
    magic, version, n_tensors, n_keys = struct.unpack_from("<4sIQQ", data)
    assert magic == b"GGUF" and version == 3
    at = 24

    def take(form):
        nonlocal at
        values = struct.unpack_from("<" + form, data, at)
        at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def skip(kind):
        nonlocal at
        if kind == STRING:
            n_bytes = take("Q")
            at += n_bytes
        elif kind == ARRAY:
            element, n = take("IQ")
            for _ in range(n) if element == STRING else ():
                skip(STRING)
            at += 0 if element == STRING else n * SIZES[element]
        else:
            at += SIZES[kind]

    keys_begin = at
    for _ in range(n_keys):
        skip(STRING)
        skip(take("I"))
    keys = data[keys_begin:at]
    tensors = []  # name, dimensions and type as they are, offset
    for _ in range(n_tensors):
        name_length = take("Q")
        name = data[at:at + name_length]
        at += name_length
        n_dims = take("I")
        shape = data[at:at + 8 * n_dims + 4]
        at += len(shape)
        tensors.append((name, struct.pack("<I", n_dims) + shape, take("Q")))
    data_begin = at + -at % 32
    ends = sorted([offset for *_, offset in tensors] + [len(data) - data_begin])
    per_part = -(-len(tensors) // n_parts)
    paths = []
    for number in range(n_parts):
        mine = tensors[number * per_part:(number + 1) * per_part]
        own = text(b"split.no") + struct.pack("<IH", 2, number) + text(b"split.count") + struct.pack("<IH", 2, n_parts) + \
            text(b"split.tensors.count") + struct.pack("<Ii", 5, len(tensors))
        infos, body = b"", b""
        for name, shape, offset in mine:
            infos += text(name) + shape + struct.pack("<Q", len(body))
            body += data[data_begin + offset:data_begin + ends[ends.index(offset) + 1]]
            body += bytes(-len(body) % 32)
        head = struct.pack("<4sIQQ", b"GGUF", 3, len(mine), 3 + (n_keys if number == 0 else 0)) + (keys if number == 0 else b"") + own + infos
        paths.append(folder / f"{path.stem}-{number + 1:05}-of-{n_parts:05}.gguf")
        paths[-1].write_bytes(head + bytes(-len(head) % 32) + body)
    return paths[0]
