#!/usr/bin/env python3
"""Every kernel of kernels/simt/kernels.inc is an entry point of every compiled device object.

usage: check_device_objects.py OBJECT ...
OBJECT is a code object of clang (.co), a cubin of nvcc (.cubin) or PTX (.ptx). Exit code 1 and one line an offence.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ENTRY = {
    ".co": r"\s(\w+)\.kd\s*$",  # the descriptor that stands beside a kernel's code
    ".cubin": r"\sFUNC\s+GLOBAL\s.*\s(\w+)\s*$",
    ".ptx": r"^\.visible \.entry (\w+)\(",
}


def names_of_rows():
    text = (ROOT / "kernels/simt/kernels.inc").read_text(encoding="utf-8")
    return re.findall(r"^OLX_SIMT_KERNEL\((?:[^,]+,\s*){6}(\w+),", text, re.M)


def entries_of(path):
    if path.suffix == ".ptx":
        text = path.read_text(encoding="utf-8")
    else:
        command = ["readelf", "--symbols", "--wide", path]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return set(re.findall(ENTRY[path.suffix], text, re.M))


def main():
    rows = names_of_rows()
    paths = [pathlib.Path(name) for name in sys.argv[1:]]
    if len(rows) < 50 or not paths:
        sys.exit(f"check_device_objects: {len(rows)} rows and {len(paths)} objects: expected more")
    n_offences = 0
    for path in paths:
        entries = entries_of(path)
        missing = [row for row in rows if row not in entries]
        for row in missing:
            print(f"{path.name}: there is no {row}")
        n_offences += len(missing)
        print(f"{path.name}: {len(entries)} entry points")
    print(f"check_device_objects: {len(rows)} rows, {n_offences} offences")
    return 1 if n_offences else 0


if __name__ == "__main__":
    sys.exit(main())
