#!/usr/bin/env python3
"""Sizes and habits of every tracked source file: at most 800 lines (kernels 400), no banned construct.

Prints every offence; exits 1 when there is one.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = {".h", ".cpp", ".inc", ".cu", ".cuh", ".hip", ".comp", ".js", ".css", ".html"}
MAX_LINES = 800
MAX_KERNEL_LINES = 400
MAX_BYTES = 2_000_000
BANNED = {
    r"std::regex|<regex>": "std::regex is not linear; write a scanner",
    r"-ffast-math|-Ofast|-march=native": "results must not depend on the machine that builds",
    r"\bstd::format\b": "GCC 12 has no std::format; use fmt",
}


def tracked():
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in names.decode().split("\0") if name]


def offences():
    for path in tracked():
        if not path.is_file():
            continue
        name = path.relative_to(ROOT)
        if path.stat().st_size > MAX_BYTES:
            yield f"{name}: {path.stat().st_size} bytes, at most {MAX_BYTES} may be tracked"
        is_build = path.suffix == ".cmake" or path.name == "CMakeLists.txt"
        if path.suffix not in SOURCE and not is_build:
            continue
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        limit = MAX_KERNEL_LINES if str(name).startswith("kernels/") and path.suffix != ".h" else MAX_LINES
        if lines > limit:
            yield f"{name}: {lines} lines, at most {limit}"
        for pattern, why in BANNED.items():
            for number, line in enumerate(text.splitlines(), 1):
                if re.search(pattern, line):
                    yield f"{name}:{number}: {why}"
        if path.suffix == ".h" and not text.startswith("#pragma once\n//"):
            yield f"{name}: a header opens with '#pragma once' and what it is"


def main():
    found = list(offences())
    for offence in found:
        print(offence)
    print(f"check_files: {len(found)} offences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
