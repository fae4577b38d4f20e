#!/usr/bin/env python3
"""Every Args struct of kernels/api/args.h has its contract above it: seven tags, in this order, none empty.

Exit code 1 and one line an offence. It first shows itself that offences are found.
"""
import pathlib
import re
import sys

TAGS = ["shapes", "layout", "align", "alias", "numerics", "errors", "source"]
ROOT = pathlib.Path(__file__).resolve().parent.parent


def offences(text: str, ops: list[str]) -> list[str]:
    found = []
    lines = text.splitlines()
    structs = {}
    for number, line in enumerate(lines):
        match = re.match(r"struct (\w+)Args\b", line)
        if match:
            structs[match.group(1)] = number
    for op in ops:
        if op not in structs:
            found.append(f"Op::k{op}: no struct {op}Args")
    for name, number in structs.items():
        where = f"args.h:{number + 1}: {name}Args"
        if name not in ops:
            found.append(f"{where}: no Op::k{name} in op.h")
        comment = []
        above = number - 1
        while above >= 0 and lines[above].startswith("//"):
            comment.insert(0, lines[above][2:].strip())
            above -= 1
        tags = []
        for line in comment:
            match = re.match(r"([a-z]+):\s*(.*)", line)
            if match and match.group(1) in TAGS:
                tags.append(match.group(1))
                if not match.group(2):
                    found.append(f"{where}: tag '{match.group(1)}' says nothing")
        if tags != TAGS:
            found.append(f"{where}: expected the tags {' '.join(TAGS)}, got {' '.join(tags) or 'none'}")
    return found


def ops_of(text: str) -> list[str]:
    body = re.search(r"enum class Op[^{]*\{(.*?)\};", text, re.S).group(1)
    return re.findall(r"^\s*k(\w+),", body, re.M)


def self_test() -> None:
    good = "".join(f"// {tag}: something.\n" for tag in TAGS) + "struct AddArgs {};\n"
    assert offences(good, ["Add"]) == []
    assert offences(good, ["Add", "Mul"]) != [], "an op without a struct"
    assert offences(good, []) != [], "a struct without an op"
    assert offences(good.replace("// alias: something.\n", ""), ["Add"]) != [], "a missing tag"
    assert offences(good.replace("alias: something.", "alias:"), ["Add"]) != [], "an empty tag"
    swapped = good.replace("align", "x").replace("alias", "align").replace("// x:", "// alias:")
    assert offences(swapped, ["Add"]) != [], "tags out of order"


def main() -> int:
    self_test()
    api = ROOT / "kernels" / "api"
    ops = ops_of((api / "op.h").read_text())
    found = offences((api / "args.h").read_text(), ops)
    for offence in found:
        print(offence)
    print(f"check_contracts: {len(ops)} ops, {len(found)} offences")
    return 1 if found or not ops else 0


if __name__ == "__main__":
    sys.exit(main())
