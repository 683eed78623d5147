"""The same layout unpacked by umoci and written by ember-image, tree against tree: type, mode, owner,
size, mtime, device, hard links, attributes and content."""

import hashlib
import os
import shutil
import stat
import subprocess

from ext4 import Image
from harness import SCRATCH, check_filesystem, ember_image, equal

KINDS = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c", stat.S_IFBLK: "b", stat.S_IFIFO: "p"}
KEPT = ("user.", "security.", "trusted.")


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def facts_of(full):
    st = os.lstat(full)
    kind = KINDS[stat.S_IFMT(st.st_mode)]
    names = [name for name in os.listxattr(full, follow_symlinks=False) if name.startswith(KEPT)]
    return {
        "kind": kind, "mode": stat.S_IMODE(st.st_mode), "uid": st.st_uid, "gid": st.st_gid,
        "mtime": st.st_mtime_ns, "inode": st.st_ino,
        "size": st.st_size if kind == "f" else None,
        "target": os.fsdecode(os.readlink(full)) if kind == "l" else "",
        "device": (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in "cb" else (),
        "digest": digest_of(full) if kind == "f" else "",
        "xattrs": {name: os.getxattr(full, name, follow_symlinks=False) for name in names},
    }


def unpacked(layout, tag):
    """umoci's tree as {path: facts}."""
    bundle = SCRATCH / "bundle"
    subprocess.run(["umoci", "unpack", "--image", f"{layout}:{tag}", bundle], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    found, top = {}, os.fsencode(bundle / "rootfs")
    pending = [b""]
    while pending:
        path = pending.pop()
        facts = found[os.fsdecode(path)] = facts_of(top + path)
        if facts["kind"] == "d":
            pending += [path + b"/" + name for name in os.listdir(top + path)]
    shutil.rmtree(bundle)
    return found


def written(layout, tag, **options):
    """ember-image's, read from a filesystem that e2fsck finds clean."""
    run = ember_image("--layout", f"{layout}:{tag}", "--no-seed", **options)
    assert run.result, run.events
    check_filesystem(run.output)
    image = Image(run.output)
    tree = image.tree()
    image.close()
    run.output.unlink()
    return {path: {"kind": f.kind, "mode": f.mode, "uid": f.uid, "gid": f.gid, "mtime": f.mtime_ns, "inode": f.inode,
                   "size": f.size if f.kind == "f" else None, "target": f.target, "device": f.device,
                   "digest": f.digest, "xattrs": {n: v for n, v in f.xattrs.items() if n.startswith(KEPT)}}
            for path, f in tree.items()}


def links(tree):
    """Groups of names that share an inode."""
    groups = {}
    for path, facts in tree.items():
        groups.setdefault(facts.pop("inode"), []).append(path)
    return sorted(sorted(group) for group in groups.values())


def compare(layout, tag, implicit=(), **options):
    """Returns the tree. `implicit`: directories that no layer describes, whose times umoci takes from the clock."""
    want, got = unpacked(layout, tag), written(layout, tag, **options)
    equal(sorted(got.keys() ^ want.keys()), [])
    assert links(got) == links(want), "other hard links"
    for path in implicit:
        want[path]["mtime"] = got[path]["mtime"]
    for path, facts in want.items():
        equal((path, got[path]), (path, facts))
    return got
