"""Runs the checks of one group inside the group's environment: every test_*.py of its folder, with unittest.

usage: suite.py GROUP_FOLDER     environment: OLLAMA_HOST (of the running server), WAITING (a file)

WAITING lists checks of features that are not there yet, one a line: `group.Class.test reason`. They are run, must fail, and
are printed; one that passes fails the run, so that the list stays true.
"""
import importlib
import os
import pathlib
import sys
import time
import unittest


def waiting_of(group):
    waiting = {}
    for line in pathlib.Path(os.environ["WAITING"]).read_text().splitlines():
        name, _, reason = line.partition(" ")
        if name.startswith(group + "."):
            waiting[name[len(group) + 1:]] = reason.strip()
    return waiting


def all_cases(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from all_cases(test)
        else:
            yield test


class Result(unittest.TextTestResult):
    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        seconds = time.monotonic() - self.began
        if seconds > 5:
            print(f"  slow: {name_of(test)} {seconds:.1f} s", file=sys.stderr)
        super().stopTest(test)


def name_of(test):
    return f"{type(test).__name__}.{test._testMethodName}"


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    sys.path.insert(1, str(folder))
    loader, suite = unittest.TestLoader(), unittest.TestSuite()
    for path in sorted(folder.glob("test_*.py")):
        suite.addTests(loader.loadTestsFromModule(importlib.import_module(path.stem)))
    waiting = waiting_of(folder.name)
    names = {name_of(test) for test in all_cases(suite)}
    for unknown in sorted(waiting.keys() - names):
        print(f"waiting.txt names {folder.name}.{unknown}, and there is no such check")
    for test in all_cases(suite):
        if name_of(test) in waiting:
            setattr(test, test._testMethodName, expecting_failure(getattr(test, test._testMethodName)))
            print(f"waiting: {folder.name}.{name_of(test)}: {waiting[name_of(test)]}")
    result = unittest.TextTestRunner(resultclass=Result, verbosity=2 if "-v" in sys.argv else 1).run(suite)
    for test in result.unexpectedSuccesses:
        print(f"{folder.name}.{name_of(test)} passes: take it out of waiting.txt")
    print(f"{folder.name}: {result.testsRun} checks, {len(result.failures) + len(result.errors)} failed, "
          f"{len(result.expectedFailures)} waiting for a feature")
    return 0 if result.wasSuccessful() and result.testsRun > 0 and waiting.keys() <= names else 1


def expecting_failure(method):
    def wrapped(*args, **kwargs):
        return method(*args, **kwargs)
    wrapped.__unittest_expecting_failure__ = True
    return wrapped


if __name__ == "__main__":
    sys.exit(main())
