"""Puts a stand-in for torch into a new environment: Open WebUI declares it (several GB), and uses it only for what is switched off.

The stand-in says what a missing torch says; Open WebUI guards every import of it.
"""
import pathlib
import subprocess
import tempfile
import zipfile

VERSION = "2.9.0"
FILES = {
    "torch/__init__.py": 'raise ImportError("torch is not installed: this is a stand-in for its package")\n',
    f"torch-{VERSION}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: torch\nVersion: {VERSION}\n",
    f"torch-{VERSION}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: ollamax\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


def prepare(python):
    with tempfile.TemporaryDirectory() as folder:
        wheel = pathlib.Path(folder, f"torch-{VERSION}-py3-none-any.whl")
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in FILES.items():
                archive.writestr(name, text)
            record = f"torch-{VERSION}.dist-info/RECORD"
            archive.writestr(record, "".join(f"{name},,\n" for name in [*FILES, record]))
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", str(wheel)], check=True)
