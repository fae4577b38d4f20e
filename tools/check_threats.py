#!/usr/bin/env python3
"""The table in SECURITY.md of which test proves which threat, made from the tests.

  check_threats.py           exits 1 when the table is not what the tests say
  check_threats.py --write   writes it
  check_threats.py --list    prints the threats that no test names

A test names its rows in the tags of its TEST_CASE ("[T-73]") or in its name ("Schema_T34_NoPatternIsSlow", in Python
"test_T63_wrong_bytes_are_found"); any other file below tests/ in a comment, "proves T-62, T-63". What is no TEST_CASE is
shown by its path. Tests that SECURITY.md names must exist.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECURITY = ROOT / "SECURITY.md"
BEGIN, END = "<!-- made by tools/check_threats.py: begin -->", "<!-- end -->"
TEST_CASE = re.compile(r'TEST_CASE\(\s*"([^"]+)"(?:\s*,\s*"([^"]*)")?')
TAG = re.compile(r"\[T-(\d+)\]")
PYTHON_TEST = re.compile(r"^\s*def (test_\w+)", re.MULTILINE)
IN_NAME = re.compile(r"_T(\d{2,3})(?=_|$)")
COMMENT = re.compile(r"(?:#|//|\*).*?\bproves (T-\d+(?:, T-\d+)*)")
ABSENT = re.compile(r"(.*) \?(\S+) (.*)")
NAMED_TEST = re.compile(r"`([A-Z][a-z]\w*_[A-Z]\w*)`")


def threats():
    """[(section, [(id, title)])]"""
    sections = []
    for line in (ROOT / "tools/threats.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            sections.append((line[3:], []))
        elif line.startswith("T-"):
            number, title = line.split(" ", 1)
            if absent := ABSENT.fullmatch(title):
                title = absent[1] if (ROOT / absent[2]).exists() else f"{absent[1]} ({absent[3]})"
            sections[-1][1].append((number, title))
    return sections


def tests():
    """Every test case's name, and {id: [what proves it]}."""
    names, proofs = set(), {}
    for path in sorted((ROOT / "tests").rglob("*")):
        if path.suffix not in {".cpp", ".h", ".py", ".inc"} and path.name != "CMakeLists.txt":
            continue
        text = path.read_text(encoding="utf-8")
        for name, tags in TEST_CASE.findall(text):
            names.add(name)
            for number in TAG.findall(tags) + IN_NAME.findall(name):
                proofs.setdefault(f"T-{int(number):02}", []).append(name)
        if path.suffix == ".py":
            for name in PYTHON_TEST.findall(text):
                for number in IN_NAME.findall(name):
                    proofs.setdefault(f"T-{int(number):02}", []).append(str(path.relative_to(ROOT)))
        for found in COMMENT.findall(text):
            for number in found.split(", "):
                proofs.setdefault(number, []).append(str(path.relative_to(ROOT)))
    return names, proofs


def table(sections, proofs):
    lines = []
    for section, rows in sections:
        proven = [(number, title) for number, title in rows if number in proofs]
        if not proven:
            continue
        lines += ["", f"| {section} | | tests |", "| --- | --- | --- |"]
        for number, title in proven:
            listed = " ".join(f"`{name}`" for name in sorted(set(proofs[number])))
            lines.append(f"| {number} | {title} | {listed} |")
    missing = [number for _, rows in sections for number, _ in rows if number not in proofs]
    lines += ["", f"No test names these rows yet: {' '.join(missing) if missing else 'none'}.", ""]
    return "\n".join(lines)


def main():
    sections = threats()
    names, proofs = tests()
    known = {number for _, rows in sections for number, _ in rows}
    if "--list" in sys.argv:
        for _, rows in sections:
            for number, title in rows:
                if number not in proofs:
                    print(number, title)
        return 0
    faults = [f"{', '.join(proofs[number])}: {number} is not in tools/threats.txt" for number in sorted(set(proofs) - known)]
    text = SECURITY.read_text(encoding="utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        print(f"SECURITY.md has no lines '{BEGIN}' and '{END}'")
        return 1
    made = text[:begin] + BEGIN + "\n" + table(sections, proofs) + "\n" + text[end:]
    if "--write" in sys.argv:
        SECURITY.write_text(made, encoding="utf-8")
    elif made != text:
        faults.append("SECURITY.md: the table is not what the tests say; run tools/check_threats.py --write")
    outside = text[:begin] + text[end:]
    faults += [f"SECURITY.md names {name}, which is no test" for name in NAMED_TEST.findall(outside) if name not in names]
    for fault in faults:
        print(fault)
    print(f"check_threats: {len(proofs)} of {len(known)} rows have a test, {len(faults)} offences")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
