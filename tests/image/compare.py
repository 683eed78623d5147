#!/usr/bin/env python3
"""compare.py EMBER-IMAGE: the same layout unpacked by umoci and written by ember-image, tree against
tree: type, mode, owner, size, mtime, device, hard links, attributes and content."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tarfile

from ext4 import Image
from harness import SCRATCH, case, check_filesystem, ember_image, equal, main
from layout import Layer, Layout


def unpack(layout, tag):
    """umoci's tree as {path: facts}."""
    bundle = SCRATCH / "bundle"
    shutil.rmtree(bundle, ignore_errors=True)
    subprocess.run(["umoci", "unpack", "--image", f"{layout.path}:{tag}", bundle], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found, top = {}, os.fsencode(bundle / "rootfs")
    pending = [b""]
    while pending:
        path = pending.pop()
        full = top + path
        st = os.lstat(full)
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b",
                stat.S_IFIFO: "p"}[stat.S_IFMT(st.st_mode)]
        if kind == "d":
            pending += [path + b"/" + name for name in os.listdir(full)]
        found[os.fsdecode(path)] = {
            "kind": kind, "mode": stat.S_IMODE(st.st_mode), "uid": st.st_uid, "gid": st.st_gid,
            "mtime": st.st_mtime_ns, "inode": st.st_ino,
            "size": st.st_size if kind == "f" else None,
            "target": os.fsdecode(os.readlink(full)) if kind == "l" else "",
            "device": (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in "cb" else (),
            "digest": hashlib.sha256(open(full, "rb").read()).hexdigest() if kind == "f" else "",
            "xattrs": {name: os.getxattr(full, name, follow_symlinks=False)
                       for name in os.listxattr(full, follow_symlinks=False) if name.startswith(("user.", "security.cap", "trusted."))},
        }
    return found


def written(layout, tag):
    run = ember_image("--layout", f"{layout.path}:{tag}", "--no-seed")
    assert run.result, run.events
    check_filesystem(run.output)
    image = Image(run.output)
    tree = image.tree()
    image.close()
    run.output.unlink()
    return {path: {"kind": f.kind, "mode": f.mode, "uid": f.uid, "gid": f.gid, "mtime": f.mtime_ns, "inode": f.inode,
                   "size": f.size if f.kind == "f" else None, "target": f.target, "device": f.device,
                   "digest": f.digest, "xattrs": {n: v for n, v in f.xattrs.items() if not n.startswith("system.")}}
            for path, f in tree.items()}


def links(tree):
    """Groups of names that share an inode."""
    groups = {}
    for path, facts in tree.items():
        groups.setdefault(facts.pop("inode"), []).append(path)
    return sorted(sorted(group) for group in groups.values())


def compare(layers, implicit=()):
    """`implicit`: directories that no layer describes, whose times umoci takes from the clock."""
    layout = Layout(SCRATCH / "layout")
    layout.image(layers, "t")
    want, got = unpack(layout, "t"), written(layout, "t")
    equal(links(got), links(want))
    for path in implicit:
        want[path]["mtime"] = got[path]["mtime"]
    for path, facts in want.items():
        equal((path, got[path]), (path, facts))


@case
def real_files():
    """a good part of this machine, with a layer on top"""
    low = subprocess.run(["tar", "-C", "/", "--xattrs", "--format=pax", "-cf", "-", "--sort=name", "etc/alternatives", "etc/ssl", "etc/default",
                          "usr/share/zoneinfo", "usr/share/bash-completion"], check=True, stdout=subprocess.PIPE).stdout
    top = Layer().dir("./", mode=0o711, mtime=5).dir("etc", mtime=1).dir("usr", mtime=2).dir("usr/share", mtime=3)
    top.whiteout("usr/share/zoneinfo/Europe").dir("usr/share/bash-completion", mtime=9).opaque("usr/share/bash-completion")
    top.file("usr/share/bash-completion/one", b"1", mtime=8)
    compare([low, top.raw()], ["/usr/share/zoneinfo"])


@case
def corners():
    """hard links, types, times, devices and attributes by hand"""
    low = Layer().dir("./", mtime=4).dir("d", mtime=1, mode=0o2750, gid=50).file("d/a", b"x" * 5000, mtime=2, uid=1000, mode=0o4711)
    low.link("d/b", "d/a").dir("gone", mtime=1).file("gone/f").symlink("ln", "d", mtime=3).symlink("abs", "/d", mtime=3)
    low.add("c", tarfile.CHRTYPE, devmajor=1, devminor=7, mtime=5, mode=0o620, gid=5)
    low.add("p", tarfile.FIFOTYPE, mtime=6, mode=0o640).file("x", b"", mtime=7, pax_headers={"SCHILY.xattr.user.a": "b" * 900})
    low.dir("t1", mtime=1).file("t1/f", b"1", mtime=1).file("t2", b"2", mtime=1).symlink("t3", "t2", mtime=1)
    top = Layer().dir("./", mtime=4).whiteout("gone").link("hard", "d/b").file("t1", b"file now", mtime=11)
    top.dir("t2", mtime=12).file("t2/f", b"", mtime=13).dir("t3", mtime=14).file("ns", b"n", pax_headers={"mtime": "1600000000.123456789"})
    top.file("late", b"", mtime=2**33).dir("d", mtime=1, mode=0o2750, gid=50)
    compare([low.raw(), top.raw()])


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("umoci"):
        print("1..0 # SKIP needs root and umoci")
        sys.exit(0)
    main()
