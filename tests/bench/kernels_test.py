#!/usr/bin/env python3
"""ollamax-bench roofline and kernels, with kernels of shared libraries: a sound one is timed, a wrong one is refused.

usage: kernels_test.py OLLAMAX_BENCH EXAMPLE_PLUGIN WRONG_PLUGIN
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

BENCH, EXAMPLE, WRONG = sys.argv[1:4]
SMALL = ["--shape", "64x256", "--threads", "1", "--seconds", "0.001"]


def run(*words):
    return subprocess.run([BENCH, *map(str, words)], capture_output=True, text=True, timeout=300)


def kernels(*words):
    shape = SMALL[2:] if "--shape" in words else SMALL
    done = run("kernels", *shape, *words, "--json")
    return done, json.loads(done.stdout) if done.stdout else None


class Roofline(unittest.TestCase):
    def test_every_limit_is_measured(self):
        done = run("roofline", "--threads", "1", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        for name in ("read_plain_pages", "read_large_pages", "read_cache"):
            self.assertGreater(report[name]["gbps"], 0.1)
        self.assertIn("f32", {peak["kind"] for peak in report["peaks"]})
        for peak in report["peaks"]:
            self.assertGreater(peak["gops"], 0.5, peak)


class Kernels(unittest.TestCase):
    def test_every_row_of_an_op_is_verified_and_timed(self):
        done, report = kernels("--op", "matmul", "--dtype", "q4_k", "--tokens", "1-2,5")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(report["n_wrong"], 0)
        self.assertIn("matmul_portable", {row["name"] for row in report["rows"]})
        for row in report["rows"]:
            self.assertEqual((row["op"], row["dtype"], row["is_wrong"], row["failures"]), ("matmul", "q4_k", False, []))
            self.assertGreater(row["n_cases"], 20)
            self.assertLessEqual(row["share_of_bound"], 1)
            self.assertEqual([result["n_tokens"] for result in row["results"]], [1, 2, 5])
            for result in row["results"]:
                for key in ("ms", "gbps", "gops", "share", "operations_per_byte"):
                    self.assertGreater(result[key], 0, key)
                self.assertLessEqual(result["share_of_bound"], 1)
                self.assertGreaterEqual(result["n_samples"], 3)

    def test_other_ops_have_work_too(self):
        for op in ("attention", "quantize", "rms_norm", "rope", "embed"):
            done, report = kernels("--op", op, "--tokens", "3", "--depth", "40")
            self.assertEqual(done.returncode, 0, done.stderr)
            timed = [row for row in report["rows"] if row["results"]]
            self.assertTrue(timed, op)
            self.assertFalse([row for row in report["rows"] if not row["results"] and "not_timed" not in row])

    def test_the_table_gives_milliseconds_of_a_step_for_each_number_of_tokens(self):
        done = run("kernels", *SMALL, "--dtype", "q8_0", "--cpu", "portable", "--tokens", "1-4")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("ms per step", done.stdout)
        self.assertIn("| kernel | 1 | 2 | 3 | 4 |", done.stdout)

    def test_a_forced_instruction_set_leaves_the_others_out(self):
        done, report = kernels("--dtype", "q8_0", "--cpu", "portable", "--tokens", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({row["variant"].split("_")[0] for row in report["rows"]}, {"portable"})

    def test_a_shape_that_a_type_cannot_have_is_said_and_not_timed(self):
        done, report = kernels("--dtype", "q4_k", "--shape", "64x96", "--tokens", "1")
        self.assertEqual(done.returncode, 0, done.stderr)
        for row in report["rows"]:
            self.assertIn("expected rows of a multiple of 256 columns, got 96", row["not_timed"])
            self.assertEqual(row["results"], [])

    def test_what_cannot_be_is_refused(self):
        for words, text in ((["--op", "matmull"], "expected one of"), (["--dtype", "q9_z"], "q4_k"), (["--tokens", "0"], "got '0'"),
                            (["--tokens", "1,"], "--tokens"), (["--tokens", "1-65"], "at most 64"), (["--tokens", "8193"], "8192"),
                            (["--tokens", "5-4"], "--tokens"), (["--shape", "/nonexistent"], "/nonexistent"),
                            (["--shape", "0x64"], "got '0'"), (["--shape", "1048577x32"], "1048576"), (["--shape", "1048576x4096"], "2^31"),
                            (["--device", "abacus"], "abacus"), (["--plugin", "/nonexistent.so"], "/nonexistent.so"),
                            (["--cpu", "vax"], "vax")):
            done = run("kernels", *words, *([] if "--shape" in words else SMALL[:2]))
            self.assertEqual(done.returncode, 1, words)
            self.assertIn(text, done.stderr)
        self.assertNotEqual(run("kernels", "--threads", "1025").returncode, 0)
        self.assertNotEqual(run("no-such-command").returncode, 0)


    def test_the_page_is_whole_and_needs_nothing_from_outside(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "report.html"
            done = run("kernels", *SMALL, "--dtype", "q8_0", "--cpu", "portable", "--tokens", "1,2", "--html", path)
            self.assertEqual(done.returncode, 0, done.stderr)
            page = path.read_text()
            done = run("kernels", *SMALL, "--dtype", "q8_0", "--cpu", "portable", "--tokens", "1", "--html", f"{folder}/none/report.html")
            self.assertEqual(done.returncode, 1)
            self.assertIn("cannot be written", done.stderr)
        for outside in ("http:", "https:", "//", "src=", "href=", "@import", "url(", "<script"):
            self.assertNotIn(outside, page)
        drawings = [part.split("</svg>")[0] + "</svg>" for part in ("<svg" + rest for rest in page.split("<svg")[1:])]
        self.assertEqual(len(drawings), 3)  # the roofline, and the bars of either number of tokens
        for drawing in drawings:
            for element in xml.etree.ElementTree.fromstring(drawing).iter():
                for value in element.attrib.values():
                    self.assertNotIn("nan", value.lower())
        self.assertEqual(drawings[0].count("<circle"), 2)
        self.assertIn("matmul_portable", drawings[1])


class Plugins(unittest.TestCase):
    def test_a_kernel_of_a_library_is_listed_verified_and_timed(self):
        done, report = kernels("--dtype", "q8_0", "--tokens", "1,4", "--plugin", EXAMPLE)
        self.assertEqual(done.returncode, 0, done.stderr)
        row, = [row for row in report["rows"] if row["variant"] == "example"]
        self.assertGreater(row["n_cases"], 20)
        self.assertGreater(row["share_of_bound"], 0)
        self.assertEqual([result["n_tokens"] for result in row["results"]], [1, 4])

    def test_a_wrong_kernel_is_named_and_not_timed(self):
        done, report = kernels("--dtype", "f32", "--tokens", "1", "--plugin", WRONG)
        self.assertEqual(done.returncode, 1)
        self.assertIn("1 rows break their contract", done.stderr)
        row, = [row for row in report["rows"] if row["variant"] == "wrong"]
        self.assertTrue(row["is_wrong"])
        self.assertEqual(row["results"], [])
        self.assertIn("bound", row["failures"][0])
        self.assertTrue(all(other["results"] for other in report["rows"] if other is not row))
        done = run("kernels", *SMALL, "--dtype", "f32", "--tokens", "1", "--plugin", WRONG, "--cpu", "portable")
        self.assertEqual(done.returncode, 1)
        self.assertIn("| matmul_f32_wrong | f32 | **WRONG** |", done.stdout)
        self.assertIn("WRONG: cpu matmul_f32_wrong", done.stdout)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
