"""A pytest plugin: marks the tests that KNOWN and WAITING name. Used by run_group.py."""
import os
import pathlib

import pytest


def lines(path):
    for line in pathlib.Path(path).read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, reason = line.partition(" ")
            yield name, reason.strip()


def pytest_collection_modifyitems(items):
    known = dict(lines(os.environ["KNOWN"]))
    waiting = {name.removeprefix("langchain."): reason for name, reason in lines(os.environ["WAITING"])
               if name.startswith("langchain.")}
    names = set()
    for item in items:
        name = item.nodeid.removeprefix("tests/integration_tests/")
        names.add(name)
        if name in known:
            item.add_marker(pytest.mark.xfail(reason=known[name], strict=False))
        elif name in waiting:
            item.add_marker(pytest.mark.xfail(reason="waiting: " + waiting[name], strict=True))
    for unknown in sorted((known.keys() | waiting.keys()) - names):
        raise pytest.UsageError(f"{unknown} is listed, and there is no such test")
