#!/usr/bin/env python3
"""compare.py EMBER-IMAGE: layers made by hand, unpacked by umoci and written by ember-image, tree against tree."""

import os
import shutil
import subprocess
import sys
import tarfile

import umoci
from harness import SCRATCH, case, equal, main
from layout import Layer, Layout

CAPABILITY = b"\x01\0\0\x02\0\x04\0\0" + bytes(12)


def compare(*layers, implicit=()):
    layout = Layout(SCRATCH / "layout")
    layout.image([layer if isinstance(layer, bytes) else layer.raw() for layer in layers], "t")
    try:
        return umoci.compare(layout.path, "t", implicit)
    finally:
        shutil.rmtree(layout.path)


def xattrs(**values):
    return {"SCHILY.xattr." + name.replace("__", "."): value for name, value in values.items()}


def root(**fields):
    return Layer(**fields).dir("./", mtime=4)


@case
def real_files():
    """a good part of this machine, with a layer on top"""
    low = subprocess.run(["tar", "-C", "/", "--xattrs", "--format=pax", "-cf", "-", "--sort=name", "etc/alternatives", "etc/ssl", "etc/default",
                          "usr/share/zoneinfo", "usr/share/bash-completion"], check=True, stdout=subprocess.PIPE).stdout
    top = Layer().dir("./", mode=0o711, mtime=5).dir("etc", mtime=1).dir("usr", mtime=2).dir("usr/share", mtime=3)
    top.whiteout("usr/share/zoneinfo/Europe").dir("usr/share/bash-completion", mtime=9).opaque("usr/share/bash-completion")
    top.file("usr/share/bash-completion/one", b"1", mtime=8)
    compare(low, top, implicit=["/usr/share/zoneinfo"])


@case
def opaque_directories():
    """opaque directories hide what is below, at any place of the tar, nested, and where nothing was"""
    low = root().dir("a", mtime=1).file("a/old", b"1", mtime=1).dir("a/sub", mtime=1).file("a/sub/deep", mtime=1)
    low.dir("b", mtime=1).file("b/old", mtime=1).dir("c", mtime=1).file("c/keep", b"kept", mtime=1)
    top = root().dir("a", mtime=2).file("a/new", b"2", mtime=2).opaque("a").dir("b", mtime=2).opaque("b")
    top.dir("d", mtime=2).opaque("d").file("d/only", mtime=2)
    tree = compare(low, top)
    equal(sorted(tree), ["", "/a", "/a/new", "/b", "/c", "/c/keep", "/d", "/d/only"])


@case
def hard_links():
    """a whiteout of one of several hard links, links to lower layers, and links to links"""
    low = root().dir("d", mtime=1).file("d/a", b"x" * 5000, mtime=2, uid=1000, mode=0o4711).link("d/b", "d/a").link("c", "d/b")
    low.file("single", b"s", mtime=3).symlink("soft", "single", mtime=3)
    top = root().dir("d", mtime=1).whiteout("d/a").link("late", "d/b").link("later", "late").link("single2", "single")
    third = root().whiteout("c").link("d/again", "later").dir("d", mtime=5)
    tree = compare(low, top, third)
    assert "/d/a" not in tree and "/c" not in tree and "/d/again" in tree


@case
def type_changes():
    """directory, symlink and file take each other's place"""
    low = root()
    for target in "dls":
        for kind in "fdl":
            make(low, f"{kind}-{target}", kind, 1)
    top = root()
    for kind in "fdl":
        make(top, f"{kind}-d", "d", 2)
        make(top, f"{kind}-l", "l", 2)
        make(top, f"{kind}-s", "f", 2)
    compare(low, top)


def make(layer, name, kind, mtime):
    if kind == "d":
        layer.dir(name, mtime=mtime).file(f"{name}/in-{mtime}", b"%d" % mtime, mtime=mtime)
    elif kind == "l":
        layer.symlink(name, "f-s", mtime=mtime)
    else:
        layer.file(name, b"content %d" % mtime, mtime=mtime)


@case
def parents_through_symlinks():
    """parents through relative and absolute symlinks, of lower layers and of the same"""
    low = root().dir("usr", mtime=1).dir("usr/lib", mtime=1).symlink("lib", "usr/lib", mtime=1).symlink("abs", "/usr", mtime=1)
    low.symlink("usr/up", "..", mtime=1).symlink("out", "../../../usr", mtime=1).symlink("chain", "lib", mtime=1)
    top = root().file("lib/a", b"1", mtime=2).file("abs/lib/b", b"2", mtime=2).file("usr/up/c", b"3", mtime=2)
    top.file("out/d", b"4", mtime=2).file("chain/e", b"5", mtime=2).symlink("here", "usr", mtime=2).file("here/f", b"6", mtime=2)
    top.link("g", "abs/lib/b").dir("usr", mtime=1).dir("usr/lib", mtime=1)
    tree = compare(low, top)
    equal(sorted(path for path, facts in tree.items() if facts["kind"] == "f"),
          ["/c", "/g", "/usr/d", "/usr/f", "/usr/lib/a", "/usr/lib/b", "/usr/lib/e"])


@case
def names():
    """GNU and pax long names, names that are not UTF-8, symlinks of 59, 60 and 300 bytes"""
    for tar_format in tarfile.GNU_FORMAT, tarfile.PAX_FORMAT:
        low = root(tar_format=tar_format)
        parts = ["n" * 100] * 8
        for depth in range(1, len(parts)):
            low.dir("/".join(parts[:depth]), mtime=depth)
        low.file("/".join(parts), b"x", mtime=1).link("hard", "/".join(parts)).file("y" * 255, b"255", mtime=2)
        low.file("caf\u00e9 \u20ac", b"utf-8", mtime=3).dir("sp ace", mtime=3).file("sp ace/new\nline\\", mtime=3)
        for length in 1, 59, 60, 61, 300, 4000:
            low.symlink(f"l{length}", "t" * length, mtime=length)
        top = root(tar_format=tar_format).whiteout("y" * 251).file("/".join(parts), b"again", mtime=2)
        for depth in range(1, len(parts)):
            top.dir("/".join(parts[:depth]), mtime=depth)
        compare(low, top)
    compare(root(tar_format=tarfile.GNU_FORMAT).file(os.fsdecode(b"caf\xe9\xff"), b"bytes", mtime=1))


@case
def special_files():
    """devices, fifos, capabilities, attributes of 900 bytes, and the bits above the permissions"""
    low = root().add("null", tarfile.CHRTYPE, devmajor=1, devminor=7, mtime=5, mode=0o620, gid=5)
    low.add("disk", tarfile.BLKTYPE, devmajor=259, devminor=70000, mtime=5, mode=0o660, gid=6)
    low.add("pipe", tarfile.FIFOTYPE, mtime=6, mode=0o640, uid=7).file("su", b"x", mode=0o6755, mtime=1, uid=65534)
    low.file("big", b"", mtime=7, pax_headers=xattrs(user__a="b" * 900))
    low.file("many", b"m", mtime=7, pax_headers=xattrs(user__a="1", user__b="2" * 400, trusted__c="3" * 600, user__none=""))
    low.file("ping", b"p", mtime=8, pax_headers=xattrs(security__capability=CAPABILITY.decode("latin-1")))
    low.dir("with", mtime=8, mode=0o3777, gid=4000000, pax_headers=xattrs(user__d="900" * 300))
    top = root().file("many", b"n", mtime=9, pax_headers=xattrs(user__z="26")).dir("with", mtime=9)
    tree = compare(low, top)
    equal((tree["/ping"]["xattrs"], tree["/with"]["xattrs"]), ({"security.capability": CAPABILITY}, {}))


@case
def times():
    """times before 1970, after 2038 and to the nanosecond, of files, directories and symlinks"""
    layer = root()  # until 2262, where umoci's times end; rules.py goes on to 2446
    for name, stamp in {"old": "-1", "older": "-2147483648", "y2038": "2147483648", "y2106": "4294967296", "last": "9000000000",
                        "ns": "1600000000.123456789", "ns2038": "3000000000.000000001"}.items():
        layer.file("f-" + name, pax_headers={"mtime": stamp}).dir("d-" + name, pax_headers={"mtime": stamp})
        layer.symlink("l-" + name, "x", pax_headers={"mtime": stamp})
    compare(layer)


@case
def sparse():
    """sparse members of the formats that umoci reads (rules.py has the old one too)"""
    source = SCRATCH / "sparse"
    source.mkdir()
    with open(source / "f", "wb") as file:
        for at in range(0, 40 << 20, 3 << 20):
            file.seek(at + 1000)
            file.write(b"data" * 2000)
        file.truncate(50 << 20)
    with open(source / "hole", "wb") as file:
        file.truncate(10 << 20)
    os.utime(source, (1, 1))
    for version in "0.0", "0.1", "1.0":
        compare(subprocess.run(["tar", "-C", source, "--sparse", "--format=pax", f"--sparse-version={version}", "-cf", "-", "."],
                               check=True, stdout=subprocess.PIPE).stdout)


@case
def big_directory():
    """120,000 entries in one directory, some replaced, some gone"""
    low = root(tar_format=tarfile.USTAR_FORMAT).dir("many", mtime=1)
    for number in range(120000):
        low.file(f"many/{number:x}-of-a-hundred-and-twenty-thousand", mtime=number)
    top = root(tar_format=tarfile.USTAR_FORMAT).dir("many", mtime=2)
    for number in range(0, 120000, 1000):
        top.whiteout(f"many/{number:x}-of-a-hundred-and-twenty-thousand").file(f"many/new-{number}", b"n", mtime=1)
    equal(len(compare(low, top)), 120002)


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("umoci"):
        print("1..0 # SKIP needs root and umoci")
        sys.exit(0)
    main()
