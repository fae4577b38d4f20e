#!/usr/bin/env python3
"""What `ollamax show --devices` says of a machine: without a driver, and with the tests' own in the place of a vendor's.

usage: devices.py OLLAMAX FAKE_CUDA_DRIVER FAKE_HIP_DRIVER
"""
import os
import subprocess
import sys
import unittest

OLLAMAX, FAKE_CUDA, FAKE_HIP = sys.argv[1:4]
VENDORS = {"cuda": ("OLLAMAX_CUDA_DRIVER", FAKE_CUDA, "NVIDIA driver", "sm_86"),
           "hip": ("OLLAMAX_HIP_DRIVER", FAKE_HIP, "HIP runtime of AMD", "gfx1100")}
NOBODY = "libdriver-of-nobody.so.1"


def devices(**env):
    """Lines of the table as {backend: [(main_gpu, memory, device), …]}. No driver of this machine is looked at."""
    drivers = {name: NOBODY for name, _, _, _ in VENDORS.values()}
    done = subprocess.run([OLLAMAX, "show", "--devices"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "OLLAMA_HOST": "127.0.0.1:1", **drivers, **env})  # no server is asked
    assert done.returncode == 0 and done.stderr == "", done
    head, *lines = done.stdout.splitlines()
    starts = [head.index(word) for word in ("BACKEND", "MAIN_GPU", "MEMORY", "DEVICE")]
    table = {}
    for line in lines:
        cells = [line[a:b].strip() for a, b in zip(starts, starts[1:] + [None])]
        table.setdefault(cells[0], []).append(tuple(cells[1:]))
    return table


def vendors_with_kernels():
    without = devices()
    for backend, row in VENDORS.items():
        reason = without[backend][0][2]
        if "this build has no" in reason:
            print(f"SKIPPED: {backend}: {reason}", file=sys.stderr)
        else:
            yield backend, *row


class ShowDevices(unittest.TestCase):
    def test_lists_every_backend_in_the_order_of_preference(self):
        table = devices()
        self.assertEqual(list(table)[:4], ["cpu", "cuda", "hip", "reference"])
        for backend in ("cpu", "reference"):
            (index, _, name), = table[backend]
            self.assertEqual(index, "-")
            self.assertFalse(name.startswith("none:"), name)
        for backend in VENDORS:
            (index, memory, name), = table[backend]
            self.assertEqual((index, memory), ("-", "-"))
            self.assertRegex(name, "^none: .")

    def test_without_a_driver_the_line_says_which_and_where_it_was_looked_for(self):
        table = devices()
        for backend, _, _, what, _ in vendors_with_kernels():
            self.assertIn(f"none: {backend}: there is no {what}: {NOBODY}", table[backend][0][2])

    def test_a_library_that_is_no_driver_is_told_by_what_it_lacks(self):
        for backend, variable, _, _, _ in vendors_with_kernels():
            (_, _, name), = devices(**{variable: "libm.so.6"})[backend]
            self.assertRegex(name, rf"^none: {backend}: libm\.so\.6: expected it to export \w+Init$")

    def test_shows_every_device_of_a_driver_with_its_number_and_memory(self):
        for backend, variable, library, _, architecture in vendors_with_kernels():
            table = devices(**{variable: library, f"{backend.upper()}_FAKE_DEVICES": "2"})
            self.assertEqual(table[backend], [(str(i), "8.6 GB", f"Fake gfx, {architecture}") for i in range(2)])
            others = [name for other in VENDORS if other != backend for _, _, name in table[other]]
            self.assertTrue(all(name.startswith("none: ") for name in others), others)

    def test_a_driver_without_a_device_says_so(self):
        for backend, variable, library, _, _ in vendors_with_kernels():
            table = devices(**{variable: library, f"{backend.upper()}_FAKE_DEVICES": "0"})
            self.assertEqual(table[backend], [("-", "-", f"none: {backend}: expected a device, the driver has none")])

    def test_a_device_that_no_kernel_was_compiled_for_is_named(self):
        for backend, variable, library, _, _ in vendors_with_kernels():
            old = {"cuda": ("7.0", "sm_70"), "hip": ("gfx803", "gfx803")}[backend]
            table = devices(**{variable: library, f"{backend.upper()}_FAKE_ARCHITECTURE": old[0]})
            reason = f"none: {backend}: Fake gfx, {old[1]}: this program has no kernels for it"
            self.assertEqual(table[backend], [("-", "-", reason)])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
