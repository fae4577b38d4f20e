#!/usr/bin/env python3
"""No folder includes one to its right, and only the doors of one to its left: gguf < kernels < engine < server < cli.

A door is a header other folders may include. Prints every offence; exits 1 when there is one.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ORDER = ["gguf", "kernels", "engine", "server", "cli"]
FREE = ["tests", "bench", "tools"]  # may include anything; nobody includes them
DOORS = [
    r"gguf/(ascii|dtype|blocks|reader|writer|value|quantize|split|check|checked|bytes|scales)\.h",
    r"kernels/api/\w+\.h",
    r"engine/answer/(answer_format|answer_parser|call_constraint)\.h",
    r"engine/(engine|devices|request|error|value|insert_prompt|inspect|file_type|metadata|text_check|token_channel)\.h",
    r"server/(server|wire)\.h",
    r"server/worker/worker_main\.h",
]
SUFFIXES = {".h", ".cpp", ".inc", ".cu", ".cuh", ".hip", ".comp"}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def offences():
    for folder in ORDER:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in SUFFIXES:
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                found = INCLUDE.match(line)
                if not found:
                    continue
                where = f"{path.relative_to(ROOT)}:{number}"
                target = found.group(1)
                top = target.split("/")[0]
                if top in FREE:
                    yield f"{where}: product code includes {target}"
                elif top not in ORDER:
                    yield f"{where}: include \"{target}\" is not rooted at the repository"
                elif not (ROOT / target).exists():
                    yield f"{where}: {target} does not exist"
                elif ORDER.index(top) > ORDER.index(folder):
                    yield f"{where}: {folder} may not include {target} (upward)"
                elif top != folder and not any(re.fullmatch(door, target) for door in DOORS):
                    yield f"{where}: {target} is not a door of {top}/"


def main():
    found = list(offences())
    for offence in found:
        print(offence)
    print(f"check_layers: {len(found)} offences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
