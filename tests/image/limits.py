#!/usr/bin/env python3
"""limits.py EMBER-IMAGE: how much a layer may hold, and what ember-image takes of the machine for it."""

import gzip
import pathlib
import subprocess
import sys
import tarfile

import harness
from harness import SCRATCH, build, case, ember_image, equal, main, read, refuse_layers, tars
from layout import Layer

MB = 1000 * 1000
# The most memory that a command and its children have had. A process of its own, since a fork begins as large as its parent.
MEASURE = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(status, usage.ru_maxrss * 1024)
"""


def memory(*words):
    done = subprocess.run([sys.executable, "-c", MEASURE, harness.PROGRAM, "--output", SCRATCH / "measured", *words],
                          stdout=subprocess.PIPE, check=True)
    status, used = map(int, done.stdout.split())
    equal(status, 0)
    (SCRATCH / "measured").unlink()
    return used


def many_files(top, count):
    """A tar of so many small files, made faster than tarfile would."""
    info = tarfile.TarInfo("@" * 60)
    info.size = 1
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    plain = sum(block[:148]) + sum(block[156:]) + 8 * 32 - 60 * ord("@")
    parts = []
    for i in range(count):
        name = f"{top}/usr/share/dir{i // 300:05d}/file-number-{i:07d}.txt".encode().ljust(60, b"x")
        block[:60] = name
        block[148:156] = b"%06o\0 " % (plain + sum(name))
        parts.append(bytes(block) + b"x" + bytes(511))
    return b"".join(parts)


@case
def memory_of_entries():
    """200,000 entries in two layers take at most 80 MB of memory, 100,000 more 25 MB more"""
    if b"__asan_init" in pathlib.Path(harness.PROGRAM).read_bytes():
        return
    for count, most in (100000, 80 * MB), (150000, 105 * MB):
        words = tars([gzip.compress(many_files(top, count), 1) for top in ("a", "b")])
        used = memory(*words)
        assert used <= most, f"{used / MB:.1f} MB for {2 * count} entries"


@case
def memory_of_content():
    """large files, and a zstd window of 8 MiB, take no memory of their own"""
    if b"__asan_init" in pathlib.Path(harness.PROGRAM).read_bytes():
        return
    raw = Layer().file("big", bytes(range(256)) * (1 << 20)).raw()
    zstd = subprocess.run(["zstd", "-q", "-c", "--zstd=wlog=23"], input=raw, stdout=subprocess.PIPE, check=True).stdout
    for data in raw, zstd:
        used = memory(*tars([data]))
        assert used <= 40 * MB, f"{used / MB:.1f} MB"


def whiteouts(count):
    """A tar of so many whiteouts, each in a directory of its own below some long names."""
    layer = Layer()
    deep = "/".join(["d" * 250] * 11)
    for i in range(count):
        layer.file(f"{deep}/{i}/.wh.gone")
    return gzip.compress(layer.raw(), 1)


@case
def memory_of_whiteouts():
    """whiteouts of the lowest layer are remembered only when they stand nowhere, and then up to 32 MiB of them"""
    if b"__asan_init" not in pathlib.Path(harness.PROGRAM).read_bytes():
        used = memory(*tars([whiteouts(8000)]))
        assert used <= 70 * MB, f"{used / MB:.1f} MB"
        there = Layer().dir("a" * 100)
        for i in range(100000):
            there.file("a" * 100 + f"/.wh.{i}").file(f".wh.{i}")
        used = memory(*tars([gzip.compress(there.raw(), 1)]))
        assert used <= 40 * MB, f"{used / MB:.1f} MB"
    refuse_layers([whiteouts(13000)], "more than 32 MiB", "unsupported")


@case
def layers():
    """512 layers are taken, and cost no space; one more is refused"""
    layers = tars([Layer().file(f"f{i}", b"x").file("same", b"%d" % i).raw() for i in range(512)])
    run = ember_image(*layers, "--no-seed")
    equal(run.status, 0)
    # A block of each file's, the journal's first and the tables; the rest is a hole.
    used = run.output.stat().st_blocks * 512
    assert used < 512 * 4096 + 2 * MB, used
    equal(len(read(run)), 514)
    refuse_layers([Layer().file("f").raw()] * 513, "512 layers", "unsupported")


@case
def symlinks():
    """40 symlinks in a path are followed, one more is refused"""
    layer = Layer().dir("d")
    for i in range(41):
        layer.symlink(f"l{i}", f"l{i - 1}" if i else "d")
    raw = layer.raw()
    assert "/d/f" in build([raw, Layer().file("l39/f").raw()])
    refuse_layers([raw, Layer().file("l40/f").raw()], "more than 40 symlinks")


@case
def hard_links():
    """65,000 names of one file are taken, one more is refused"""
    layer = Layer(tarfile.USTAR_FORMAT).file("f")
    for i in range(64999):
        layer.link(f"l{i}", "f")
    raw = layer.raw()
    equal(build([raw])["/f"].links, 65000)
    equal(build([Layer().file("l7").raw(), raw])["/l7"].links, 65000)
    refuse_layers([raw, Layer().link("more", "f").raw()], "65000 hard links", "unsupported")


@case
def attributes():
    """64 KiB of attributes for one file, 64 MiB in all layers"""
    value = "x" * (1 << 16)
    equal(len(build([Layer().file("a", pax_headers={"SCHILY.xattr.user.n": value[6:]}).raw()])["/a"].xattrs["user.n"]), 65530)
    refuse_layers([Layer().file("a", pax_headers={"SCHILY.xattr.user.n": value[5:]}).raw()], "64 KiB", "unsupported")
    layer = Layer()
    for i in range(600):
        layer.file(f"f{i}", pax_headers={"SCHILY.xattr.user.n": value[6:]})
    raw = gzip.compress(layer.raw(), 1)
    refuse_layers([raw, raw], "64 MiB", "unsupported")


@case
def extensions():
    """a name in an extended header of 1 MiB is read, a longer header is refused"""
    for kind in b"L", b"K", b"x":
        for size, part in ((1 << 20) - 200, ("4096 bytes" if kind == b"L" else "")), ((1 << 20) + 1, "1 MiB"):
            layer = Layer(tarfile.GNU_FORMAT)
            if kind == b"x":
                layer.pax([("comment", "x" * size)])
            else:
                layer.add("././@LongLink", kind, b"n" * size)
            raw = layer.file("f").raw()
            if part:
                refuse_layers([raw], part, "unsupported")
            else:
                equal(len(build([raw])), 2)


if __name__ == "__main__":
    main()
