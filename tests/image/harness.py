"""Run ember-image, check what it made, and speak TAP."""

import atexit
import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import traceback

from ext4 import Image

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else "ember-image"
SCRATCH = pathlib.Path(tempfile.mkdtemp(prefix="ember-image-"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)

CASES = []


def case(function):
    """A test: its docstring is its name."""
    CASES.append(function)
    return function


@dataclasses.dataclass
class Run:
    status: int
    events: list
    output: pathlib.Path

    @property
    def result(self):
        return next((e for e in self.events if e["event"] == "result"), None)

    @property
    def error(self):
        return next((e for e in self.events if e["event"] == "error"), None)


counter = 0


def ember_image(*words, stdin=None, max_size=1 << 30):
    global counter
    counter += 1
    output = SCRATCH / f"image-{counter}.raw"
    done = subprocess.run([PROGRAM, "--output", output, "--max-size", str(max_size), *words],
                          input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120,
                          check=False)
    assert not done.stderr, done.stderr.decode()
    return Run(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], output)


def tars(layers):
    """Options for raw tars as layers."""
    words = []
    for layer in layers:
        global counter
        counter += 1
        path = SCRATCH / f"layer-{counter}.tar"
        path.write_bytes(layer)
        words += ["--tar", path]
    return words


def check_filesystem(path):
    done = subprocess.run(["e2fsck", "-fn", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def build(layers, *words, **options):
    """Build raw tars and return the tree; the filesystem must be clean."""
    run = ember_image(*tars(layers), "--no-seed", *words, **options)
    assert run.status == 0, run.events
    return read(run)


def read(run):
    check_filesystem(run.output)
    image = Image(run.output)
    tree = image.tree()
    image.close()
    run.output.unlink()
    return tree


def refuse(words, part, code="failed", **options):
    """The build must fail, say so well, and leave nothing."""
    run = ember_image(*words, **options)
    assert run.error, run.events
    assert run.error["code"] == code, run.error
    assert part in run.error["message"], run.error
    assert run.error["hint"], run.error
    assert all(ord(c) >= 32 for c in run.error["message"]), run.error
    assert run.status != 0 and not run.output.exists()
    return run


def refuse_layers(layers, part, code="failed", **options):
    return refuse([*tars(layers), "--no-seed"], part, code, **options)


def equal(got, want):
    assert got == want, f"got {got!r}, want {want!r}"


def main():
    failures = 0
    print(f"1..{len(CASES)}", flush=True)
    for number, function in enumerate(CASES, 1):
        name = (function.__doc__ or function.__name__).strip().splitlines()[0]
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Exception:  # a broken test is a failed test
            failures += 1
            print(f"not ok {number} - {name}")
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()),
                  end="", flush=True)
    sys.exit(1 if failures else 0)
