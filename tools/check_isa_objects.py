#!/usr/bin/env python3
"""Checks that nothing of an instruction set leaks out of its folder: in source and in the compiled objects.

usage: check_isa_objects.py NM OBJECT ...

An object compiled with, say, -mavx512f must define its kernels and nothing else. A weak symbol in it (an inline function,
a template of the standard library) could be the copy the linker keeps for the whole program, which would then die on
a processor without AVX-512. What it leaves undefined is a kernel of the same folder, the table of an activation format
or weight layout or a fact about memory (data, not code), or a runtime function of the compiler.
In source, the folders may include the intrinsics header, <cstdint>, kernels/api/args.h and headers of kernels/cpu/.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ISA_FOLDERS = ["avx2", "avxvnni", "avx512", "amx", "neon", "i8mm"]
BUILDS_ON = {"olx_cpu_amx": "olx_cpu_avx512"}  # whose kernels another folder's may call: it requires their features too
SHARED_FOLDERS = ["rowwise"]  # templates the folders are made from
SYSTEM_INCLUDES = {"cstdint", "immintrin.h", "arm_neon.h"}
# Calls GCC makes on its own, the maths functions kernels may call, and the table sanitizers and PIC code refer to.
ALLOWED_CALLS = re.compile(r"^(mem(cpy|set|move|cmp)|_GLOBAL_OFFSET_TABLE_|__(asan|ubsan|tsan|stack_chk|sanitizer)\w*|"
                           r"(exp|tanh|erf|cos|sin|pow|sqrt|log|fma|floor|ceil|rint|round|nearbyint|l?lrint)f?)$")


def source_problems():
    for folder in ISA_FOLDERS + SHARED_FOLDERS:
        for path in sorted((ROOT / "kernels/cpu" / folder).glob("*.[ch]*")):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = re.match(r'\s*#\s*include\s+(?:<([^>]+)>|"([^"]+)")', line)
                if not match:
                    continue
                system, own = match.groups()
                if system and system not in SYSTEM_INCLUDES:
                    yield f"{path.relative_to(ROOT)}:{number}: <{system}> is not for an instruction set's folder"
                if own and own != "kernels/api/args.h" and not own.startswith("kernels/cpu/"):
                    yield f"{path.relative_to(ROOT)}:{number}: {own} is not for an instruction set's folder"


DATA = re.compile(r"^olx::kernels::(k(Activation|Layout)|cpu::kMemory)\w+$")


def symbols(nm, path):
    """(kind, name) as nm prints them."""
    output = subprocess.run([nm, "--demangle", path], check=True, capture_output=True, text=True).stdout
    matches = (re.match(r"^[0-9a-f]*\s+([A-Za-z])\s+(.*)$", line) for line in output.splitlines())
    return [match.groups() for match in matches if match]


def object_problems(nm, objects):
    table = {path: symbols(nm, path) for path in objects}
    kernels = {}  # folder -> what its objects define
    for path, found in table.items():
        names = {name for kind, name in found if kind == "T"}
        if not names:
            yield f"{path}: defines no kernel"
        kernels.setdefault(pathlib.Path(path).parent, set()).update(names)
    for path, found in table.items():
        folder = pathlib.Path(path).parent
        base = {other for other in kernels for name, on in BUILDS_ON.items() if f"/{name}." in f"/{folder}" and f"/{on}." in f"/{other}"}
        own = kernels[folder].union(*(kernels[other] for other in base))
        for kind, name in found:
            if kind in "VWuvw" and not name.startswith(("__asan", "__ubsan", "__tsan", "__sanitizer")):
                yield f"{path}: weak symbol {name}"
            if kind == "U" and not (name in own or DATA.match(name) or ALLOWED_CALLS.match(name)):
                yield f"{path}: calls {name}"


def main():
    nm, objects = sys.argv[1], sys.argv[2:]
    problems = [*source_problems(), *object_problems(nm, objects)]
    for problem in problems:
        print(problem)
    print(f"{len(objects)} objects of instruction sets, {len(problems)} problems")
    return 1 if problems or not objects else 0


if __name__ == "__main__":
    sys.exit(main())
