#!/usr/bin/env python3
"""hostile.py EMBER-IMAGE: streams that were damaged or made to do harm. Each ends with an image that is clean or with
an error that explains itself, never with a crash, and leaves nothing."""

import gzip
import json
import pathlib
import subprocess
import tarfile
import zlib

import harness
from harness import SCRATCH, build, case, check_filesystem, ember_image, equal, main, read, refuse, refuse_layers, tars
from layout import Layer, Layout, digest

SANITIZED = b"__asan_init" in pathlib.Path(harness.PROGRAM).read_bytes()
# A sanitized program takes some time to start.
STEP = 12 if SANITIZED else 3
RAW = Layer().dir("d", pax_headers={"SCHILY.xattr.user.a": "1"}).file("d/f", bytes(range(256)) * 9).link("h", "d/f") \
    .symlink("s", "x" * 70).file("n" * 150, b"", mtime=7).whiteout("gone").raw().rstrip(b"\0")
RAW += bytes(-len(RAW) % 512 + 1024)


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c", "--check"], input=data, stdout=subprocess.PIPE, check=True).stdout


def flipped(data, at):
    """One bit of each byte, another from byte to byte."""
    return data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:]


def attempt(*words):
    """The finished tree, or None for a refusal; a crash is neither, and both leave nothing behind."""
    before = {path.name for path in SCRATCH.iterdir()}
    run = ember_image(*words)
    if run.status == 0:
        tree = read(run)
    else:
        tree = None
        assert run.status in (1, 2, 3, 6) and run.error, (run.status, run.events)
        assert run.error["message"] and run.error["hint"], run.error
        assert "defect" not in run.error["hint"] and "killed" not in run.error["message"], run.error
        assert all(ord(c) >= 32 for c in run.error["message"]), run.error
    equal({path.name for path in SCRATCH.iterdir()}, before)
    return tree


def attempt_stream(data):
    path = SCRATCH / "stream"
    path.write_bytes(data)
    return attempt("--tar", path, "--no-seed")


def layout(*layers, **fields):
    harness.counter += 1
    made = Layout(SCRATCH / f"layout-{harness.counter}")
    return made, made.image(list(layers), **fields)


def of_layout(made):
    return ["--layout", made.path, "--no-seed"]


@case
def flips_of_a_gzip_stream():
    """a bit flipped anywhere in a gzip stream: an error, or the same image"""
    flip_all(gzip.compress(RAW, mtime=0), same=True)


@case
def flips_of_a_zstd_stream():
    """a bit flipped anywhere in a zstd stream: an error, or the same image"""
    flip_all(zstd(RAW), same=True)


@case
def flips_of_a_tar():
    """a bit flipped anywhere in a plain tar: an error, or a whole image"""
    flip_all(RAW, same=False)


def flip_all(data, same):
    whole = attempt_stream(data)
    assert whole and "/d/f" in whole
    refused = 0
    for at in range(0, len(data), STEP if len(data) < 2000 else 7 * STEP):
        tree = attempt_stream(flipped(data, at))
        refused += tree is None
        if same and tree is not None:
            equal((at, tree), (at, whole))
    assert refused > 0


@case
def flips_of_a_layout():
    """a bit flipped anywhere in any blob of a layout is an error"""
    made, descriptor = layout(RAW)
    for blob in (made.path / "blobs/sha256").iterdir():
        good = blob.read_bytes()
        for at in range(0, len(good), 16 * STEP):
            blob.write_bytes(flipped(good, at))
            equal((blob.name, at, attempt(*of_layout(made))), (blob.name, at, None))
        blob.write_bytes(good)
    index = made.path / "index.json"
    good = index.read_bytes()
    for at in range(0, len(good), STEP):
        index.write_bytes(flipped(good, at))
        attempt(*of_layout(made))
    index.write_bytes(good)
    equal(ember_image(*of_layout(made)).result["digest"], descriptor["digest"])


@case
def truncated_streams():
    """a stream cut anywhere is an error"""
    for data in gzip.compress(RAW, mtime=0), zstd(RAW), RAW[:-1024]:
        for at in range(1, len(data) - 1, 7 * STEP if len(data) < 2000 else 37 * STEP):
            tree = attempt_stream(data[:at])
            # A tar may be cut between two members: then its end is only missing its zeros.
            assert tree is None or (data[:2] != b"\x1f\x8b" and at % 512 == 0), at


@case
def traversal():
    """names and links that climb out of the root"""
    for name in "../x", "a/../../x", "/../x", "..", "./..", "a/..", "../" * 50 + "etc/passwd":
        refuse_layers([Layer().file(name, b"out").raw()], "..")
        refuse_layers([Layer().dir(name).raw()], "..")
        refuse_layers([Layer().file("in").link("l", name).raw()], "..")
    refuse_layers([Layer().file("a/../.wh.x").raw()], "..")
    refuse_layers([Layer().file("../.wh..wh..opq").raw()], "..")


@case
def links_that_leave():
    """symlinks to the host's files are followed in the image alone, and hard links to them are refused"""
    precious = SCRATCH / "precious"
    precious.mkdir()
    (precious / "file").write_text("precious")
    climb = "../" * 60 + str(precious).lstrip("/")
    for target in str(precious), climb, f"/proc/self/root{precious}", f"/proc/1/cwd{precious}":
        refuse_layers([Layer().symlink("out", target).file("out/file", b"hostile").raw()], "dangling")
        refuse_layers([Layer().symlink("out", target).raw(), Layer().file("out/file", b"hostile").raw()], "dangling")
        refuse_layers([Layer().symlink("out", target).raw(), Layer().link("h", "out/file").raw()], "hard link")
        refuse_layers([Layer().symlink("out", target).raw(), Layer().whiteout("out/file").raw()], "dangling")
        refuse_layers([Layer().symlink("out", target).raw(), Layer().opaque("out").raw()], "dangling")
    refuse_layers([Layer().link("h", str(precious / "file")).raw()], "hard link")
    tree = build([Layer().dir(str(precious)).symlink("out", str(precious)).file("out/file", b"mine").raw()])
    equal(tree[f"{precious}/file"].size, 4)
    equal(((precious / "file").read_text(), sorted(p.name for p in precious.iterdir())), ("precious", ["file"]))


@case
def swapped_parents():
    """a directory swapped for a symlink, in the middle of what is written into it"""
    layer = Layer().dir("d").file("d/a", b"1").symlink("d", "/etc").file("d/passwd", b"hostile")
    refuse_layers([layer.raw()], "dangling")
    tree = build([Layer().dir("etc").dir("d").file("d/a", b"1").symlink("d", "/etc").file("d/passwd", b"2").raw()])
    equal(sorted(tree), ["", "/d", "/etc", "/etc/passwd"])


@case
def lying_sizes():
    """sizes of members, maps, blobs and documents that are not theirs"""
    for size, code in (513, "failed"), (1 << 20, "failed"), (1 << 40, "unsupported"), ((1 << 62) + 5, "unsupported"):
        raw = Layer(tarfile.USTAR_FORMAT).pax([("size", str(size))]).file("f", b"x" * 512).raw()
        refuse_layers([raw[:2048]], "", code)
    for real in "5000000", "1", "9" * 18:
        for offset, count in ("0", "600"), ("4096", "512"), ("1" + "0" * 17, "512"):
            attempt(*tars([Layer(tarfile.USTAR_FORMAT).pax([("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.size", real),
                           ("GNU.sparse.map", f"{offset},{count}")]).file("f", b"y" * 512).raw()]), "--no-seed")
    for lie in -1, 1, 1 << 40, -(1 << 40):
        made, descriptor = layout(RAW, index=False)
        made.add({**descriptor, "size": descriptor["size"] + lie})
        refuse(of_layout(made), "")
        for part in "layers", "config":
            made, descriptor = layout(RAW, index=False)
            body = json.loads((made.path / "blobs/sha256" / descriptor["digest"][7:]).read_bytes())
            entry = body[part][0] if part == "layers" else body[part]
            entry["size"] += lie
            made.add(made.document(body, descriptor["mediaType"]))
            refuse(of_layout(made), "")


@case
def decompression_bombs():
    """a gigabyte of zeros in a megabyte, plain and as gzip in gzip: refused as soon as it is too much"""
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    header = tarfile.TarInfo("zeros")
    header.size = 1 << 30
    parts = [deflate.compress(header.tobuf(tarfile.USTAR_FORMAT))]
    parts += [deflate.compress(bytes(1 << 20)) for _ in range(1 << 10)]
    bomb = b"".join(parts) + deflate.flush()
    assert len(bomb) < 2 << 20
    refuse_layers([bomb], "larger than the image", "unsupported", max_size=64 << 20)
    refuse_layers([gzip.compress(bomb)], "not a tar")
    # The same data again and again, in one layer and in many, is counted each time.
    header.size = 1 << 20
    piece = gzip.compress(header.tobuf(tarfile.USTAR_FORMAT) + bytes(1 << 20))
    refuse_layers([piece * 300], "larger than it may be", "unsupported", max_size=64 << 20)
    refuse_layers([piece] * 300, "four times", "unsupported", max_size=64 << 20)


@case
def entry_bombs():
    """more than eight million entries in a few megabytes, each replacing the one before"""
    if SANITIZED:
        return
    info = tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT)
    member = gzip.compress(info * 100000, 9, mtime=0)
    refuse_layers([member * 81], "8000000 entries", "unsupported", max_size=4 << 30)


def empty_files(first, count):
    """A tar of files with numbers for names, made faster than tarfile would."""
    header = bytearray(tarfile.TarInfo("0" * 10).tobuf(tarfile.USTAR_FORMAT))
    rest = sum(header[10:148]) + sum(header[156:]) + 8 * ord(" ")
    parts = []
    for number in range(first, first + count):
        header[:10] = name = b"%010d" % number
        header[148:156] = b"%06o\0 " % (rest + sum(name))
        parts.append(bytes(header))
    return b"".join(parts)


@case
def name_bombs():
    """more than two million names"""
    if SANITIZED:
        return
    members = [gzip.compress(empty_files(first, 100000), 1) for first in range(0, 2000001, 100000)]
    refuse_layers([b"".join(members)], "more than 2000000 files", "unsupported", max_size=4 << 30)


if __name__ == "__main__":
    main()
