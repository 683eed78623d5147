#!/usr/bin/env python3
"""export.py EMBER-IMAGE: disks back into tars and layouts. What ember-image wrote, what mke2fs writes with every
feature that a kernel would read, and what nobody should have written."""

import ctypes
import gzip
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time

import umoci
from disks import (debugfs, export_layout, export_tar, exported, imported, members, mke2fs, new_path, on_disk, probe,
                   refused, run, shape, sparse_map)
from ext4 import Image
from harness import PROGRAM, SCRATCH, case, equal, main
from layout import Layer, Layout

ACL = bytes.fromhex("02000000" "01000600ffffffff" "0200060005000000" "04000400ffffffff" "10000600ffffffff" "20000400ffffffff")
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


with open(PROGRAM, "rb") as program:
    SANITIZED = b"__asan_init" in program.read()


# Where the kernel has none the other barriers remain (landlock_create_ruleset asks for its version).
LANDLOCK = ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) > 0


def tree_of(disk):
    image = Image(disk)
    try:
        return image.tree()
    finally:
        image.close()


def pax(**values):
    return {"pax_headers": {key.replace("__", "."): value.decode("utf-8", "surrogateescape") if isinstance(value, bytes)
                            else value for key, value in values.items()}}


def corners(large=True):
    """One layer with everything that a tar can say; `large`: what few filesystems hold, too."""
    layer = Layer().dir("./", mode=0o751, mtime=4, uid=3)
    layer.dir("d", mtime=1, mode=0o2750, gid=50).file("d/a", b"x" * 5000, mtime=2, uid=70000, gid=2**32 - 2, mode=0o6711)
    layer.link("d/b", "d/a").link("zz", "d/a").dir("sticky", mode=0o1777, mtime=2**31).dir("empty", mtime=2**33)
    for length in 1, 59, 60, 100, 101, 300, 4000:
        layer.symlink(f"l{length}", "t" * length, mtime=3)
    layer.link("l1-again", "l1").add("c", tarfile.CHRTYPE, devmajor=4095, devminor=1048575, mtime=5, mode=0o620, gid=5)
    layer.add("b", tarfile.BLKTYPE, devmajor=8, devminor=17, mtime=5).add("p", tarfile.FIFOTYPE, mtime=6, mode=0o640)
    layer.link("c-again", "c").file("empty-file", b"", mtime=7)
    layer.file("x", b"1", mtime=8, **pax(SCHILY__xattr__user__a=b"b" * 900))
    layer.file("acl", b"1", mtime=8, mode=0o664, **pax(SCHILY__xattr__system__posix_acl_access=ACL))
    layer.dir("acls", mtime=8, **pax(SCHILY__xattr__system__posix_acl_default=ACL))
    layer.file("cap", b"1", mtime=8, **pax(SCHILY__xattr__security__capability=CAPABILITY, SCHILY__xattr__trusted__t=b"\0\n="))
    if large:
        layer.file("late", b"n", **pax(mtime="9999999999.999999999")).file("latest", b"n", **pax(mtime="15032385535"))
        layer.file("ea-inode", b"1", mtime=8, **pax(SCHILY__xattr__user__large=b"L" * 60000, SCHILY__xattr__user__empty=b""))
    layer.file("ns", b"n", **pax(mtime="1600000000.123456789")).file("early", b"n", **pax(mtime="-1.000000001"))
    layer.file("just-before", b"n", **pax(mtime="-0.5")).file("oldest", b"n", **pax(mtime="-2147483648"))
    layer.file("n\udcff\udcfe", b"q", mtime=1).file("new\nline", b"q", mtime=1).file(" ", b"q", mtime=1).file("\u00e4 \u4e2d", b"q", mtime=1)
    layer.file("n" * 255, b"long", mtime=1)
    deep = "deep"
    layer.dir(deep, mtime=1)
    while len(deep) < 3900:
        deep += "/" + "p" * 180
        layer.dir(deep, mtime=1)
    layer.file(deep + "/file", b"deep", mtime=1).link("deep-link", deep + "/file")
    return layer.raw()


def sparse_layer(pieces, size, name="sparse"):
    """A member in GNU's sparse format 1.0."""
    numbers = [len(pieces) + 1] + [n for at, data in pieces for n in (at, len(data))] + [size, 0]
    head = "".join(f"{n}\n" for n in numbers).encode()
    body = head + bytes(-len(head) % 512) + b"".join(data for _, data in pieces)
    fields = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)}
    return Layer().file("GNUSparseFile.0/" + name, body, mtime=9, pax_headers=fields).raw()


SPARSE = [(0, b"a" * 4096), (1 << 20, b"b" * 8192), (300 << 20, b"c" * 4096)]


@case
def round_trip():
    """import, export, import: owners, modes, times, attributes, links, names, devices and holes are the same"""
    layers = [corners(), sparse_layer(SPARSE, (300 << 20) + 4096), sparse_layer([(4096, b"d" * 100)], 5 << 20, "tail"),
              sparse_layer([], 700 << 20, "nothing")]
    first = imported(layers, "--no-seed", max_size=1 << 36)
    data, warnings = exported(first)
    equal(warnings, [])
    second = imported([data], "--no-seed", max_size=1 << 36)
    want, got = shape(tree_of(first)), shape(tree_of(second))
    for path, facts in want[0].items():
        equal((path, got[0].get(path)), (path, facts))
    equal(got, want)
    equal(exported(second)[0], data)
    assert len(data) < 1 << 20, len(data)


@case
def umoci_reads_it():
    """a layout: umoci unpacks it, tree by tree what ember-image makes of it"""
    disk = imported([corners(), sparse_layer(SPARSE[:2], (1 << 20) + 9000)], "--no-seed")
    for compression in "gzip", "zstd", "none":
        done, layout = export_layout(disk, "--compression", compression)
        assert done.result, done.events
        subprocess.run(["skopeo", "copy", "--quiet", f"oci:{layout}:t", f"oci-archive:{new_path('.tar')}"], check=True)
        config = json.loads(subprocess.run(["skopeo", "inspect", "--config", f"oci:{layout}:t"], check=True, capture_output=True).stdout)
        equal(config["rootfs"]["diff_ids"], [done.result["diff_id"]])
        equal(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"], done.result["digest"])
        second = imported([], "--layout", f"{layout}:t", "--no-seed")
        equal(shape(tree_of(second)), shape(tree_of(disk)))
        second.unlink()
    # What umoci's own filesystem here may not hold is left out.
    done, layout = export_layout(imported([corners(large=False), sparse_layer(SPARSE[:2], (1 << 20) + 9000)], "--no-seed"))
    assert done.result, done.events
    umoci.compare(layout, "t")


def blob(layout, digest):
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def config_of(layout, done):
    """The image's config, found from the manifest that the run has named."""
    return json.loads(blob(layout, json.loads(blob(layout, done.result["digest"]))["config"]["digest"]))


def plain_tree():
    """A directory that every ext can hold."""
    top = new_path("")
    (top / "etc").mkdir(parents=True)
    (top / "d/e").mkdir(parents=True)
    (top / "d/a").write_bytes(b"hello")
    os.link(top / "d/a", top / "d/z")
    os.chown(top / "d/a", 100000, 70000)
    os.chmod(top / "d/a", 0o4751)
    (top / "data").write_bytes(os.urandom(700001))
    for length in 5, 59, 60, 200:
        os.symlink("t" * length, top / f"l{length}")
    os.mkfifo(top / "p")
    os.mknod(top / "c", 0o644 | 0o020000, os.makedev(1, 7))
    os.mknod(top / "big", 0o644 | 0o060000, os.makedev(300, 70000))
    (top / "many").mkdir()
    for number in range(600):
        (top / f"many/a-name-that-takes-some-room-{number}").write_bytes(b"%d" % number * (number % 30))
    os.setxattr(top / "d/a", "user.a", b"v" * 100)
    os.setxattr(top / "d/a", "user.b", b"v\0w")
    os.setxattr(top / "d", "trusted.x", b"v" * 700)
    os.setxattr(top / "data", "system.posix_acl_access", ACL)
    for path in sorted(top.rglob("*"), reverse=True):
        os.utime(path, (0, 1_500_000_000 + len(path.name)), follow_symlinks=False)
    os.utime(top, (0, 77))
    return top


def without_root_time(data):
    """mke2fs takes the root's time from the clock."""
    return data[:136] + data[148:148] + data[156:]


FEATURES = {
    "ext4": ["-t", "ext4"],
    "blocks of 1 KiB": ["-t", "ext4", "-b", "1024"],
    "blocks of 64 KiB": ["-t", "ext4", "-b", "65536"],
    "ext2": ["-t", "ext2"],
    "ext2 with blocks of 1 KiB": ["-t", "ext2", "-b", "1024"],
    "ext3": ["-t", "ext3"],
    "no extents": ["-t", "ext4", "-O", "^extent,^64bit"],
    "inline data": ["-t", "ext4", "-O", "inline_data", "-I", "1024"],
    "no 64bit": ["-t", "ext4", "-O", "^64bit"],
    "no checksums": ["-t", "ext4", "-O", "^metadata_csum"],
    "old checksums": ["-t", "ext4", "-O", "^metadata_csum,uninit_bg"],
    "a seed for checksums": ["-t", "ext4", "-O", "metadata_csum_seed"],
    "inodes of 128 bytes": ["-t", "ext4", "-I", "128"],
    "inodes of 1 KiB": ["-t", "ext4", "-I", "1024"],
    "bigalloc": ["-t", "ext4", "-O", "bigalloc", "-C", "16384"],
    "bigalloc with blocks of 1 KiB": ["-t", "ext4", "-O", "bigalloc", "-b", "1024", "-C", "16384"],
    "meta_bg": ["-t", "ext4", "-O", "meta_bg,^resize_inode", "-b", "1024", "-g", "256"],
    "sparse_super2": ["-t", "ext4", "-O", "sparse_super2"],
    "ea_inode, large_dir, project, quota": ["-t", "ext4", "-O", "ea_inode,large_dir,project,quota"],
    "features that no file uses": ["-t", "ext4", "-O", "encrypt,casefold,verity"],
    "no flex_bg, no journal": ["-t", "ext4", "-O", "^flex_bg,^has_journal"],
    "mmp, orphan file": ["-t", "ext4", "-O", "mmp"],
}


@case
def features():
    """filesystems of every kind that mke2fs makes give the same tar, and it is the tree"""
    top = plain_tree()
    want, first = on_disk(top), None
    for name, words in FEATURES.items():
        size = "64M" if "64" in name and "KiB" in name else "16M"
        disk = mke2fs(top, *words, size=size)
        data, warnings = exported(disk)
        got = members(data)
        got["."] = got["."][:4] + want["."][4:]  # mke2fs does not take its time over
        for path, facts in want.items():
            equal((name, path, got.get(path)), (name, path, facts))
        equal((name, set(got) - set(want), warnings), (name, set(), []))
        first = first or without_root_time(data)
        assert without_root_time(data) == first, f"{name}: another tar"
        result = probe(disk).result
        equal((result["offset"], result["size_bytes"], result["needs_recovery"]), (0, disk.stat().st_size, False))
        # One file has two names, and lost+found is a file too.
        assert abs(result["entries"] - len(got)) <= 2 and (700_000 < result["used_bytes"] < 5 << 20 or "64" in name or "bigalloc" in name), result
        disk.unlink()


@case
def hashed_directories():
    """directories with an index, made by a kernel's rules, by e2fsck"""
    top = new_path("")
    (top / "d").mkdir(parents=True)
    for number in range(5000):
        (top / f"d/{number:050d}").touch()
    for words in (["-b", "1024"], ["-b", "4096", "-O", "^metadata_csum"]):
        disk = mke2fs(top, "-t", "ext4", "-N", "6000", *words)
        subprocess.run(["e2fsck", "-fyD", disk], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        assert "Index" in debugfs(disk, "stat /d") or "0x81000" in debugfs(disk, "stat /d")
        equal([name for name in members(exported(disk)[0]) if "/" in name], [f"d/{number:050d}" for number in range(5000)])


@case
def reserved_blocks():
    """blocks that are reserved but not written are holes, also behind a file's end"""
    top = new_path("")
    top.mkdir()
    (top / "f").write_bytes(b"x" * 4096)
    (top / "g").write_bytes(b"y" * 5000)
    for words in (["-b", "1024"], ["-b", "4096"]):
        disk = mke2fs(top, "-t", "ext4", *words)
        debugfs(disk, "fallocate /f 100 900", "set_inode_field /f size 2000000", "fallocate /g 50 60")
        data, _ = exported(disk)
        tar = new_path(".tar")
        tar.write_bytes(data)
        with tarfile.open(tar) as opened:
            equal(sparse_map(opened.getmember("f")), [(0, 4096)])
            equal(opened.getmember("f").size, 2000000)
            equal(opened.extractfile("f").read(), b"x" * 4096 + bytes(2000000 - 4096))
            equal(opened.extractfile("g").read(), b"y" * 5000)
            equal(opened.getmember("g").sparse, None)


@case
def left_out():
    """sockets, immutable files, lost+found, and names that mean deletions in a layer: one warning each, with a count"""
    top = new_path("")
    (top / "d").mkdir(parents=True)
    for name in "a", "b", "d/.wh.x", "d/.wh..wh..opq":
        (top / name).write_bytes(b"1")
    for name in "s", "d/s2":
        server = socket.socket(socket.AF_UNIX)
        here = os.getcwd()
        os.chdir(top)
        server.bind(name)
        os.chdir(here)
        server.close()
    disk = mke2fs(top, "-t", "ext4")
    debugfs(disk, "set_inode_field /a flags 0x80010", "set_inode_field /b flags 0x80020", "ln /a /lost+found/x")
    data, warnings = exported(disk)
    equal(sorted(members(data)), [".", "a", "b", "d", "d/.wh..wh..opq", "d/.wh.x"])
    equal([text.split(":")[0] for text in warnings], ["2 sockets are left out", "2 files will not be immutable or append-only",
                                                      "1 file in /lost+found is left out"])
    done, layout = export_layout(disk)
    assert done.result and "2 files are left out: in a layer" in str(done.events), done.events
    layer = blob(layout, json.loads(blob(layout, done.result["digest"]))["layers"][0]["digest"])
    equal(sorted(members(gzip.decompress(layer))), [".", "a", "b", "d"])


@case
def seeded():
    """ember's own files come in once: out they are left out, unless they are wanted"""
    layer = Layer().dir("./", mtime=4).dir("etc", mtime=5).file("etc/hosts", b"127.0.0.1 x\n", mtime=6)
    for name in "dev", "proc", "run", "sys", "tmp", "usr", "usr/lib", "var", "var/lib":
        layer.dir(name, mtime=7)
    raw = layer.raw()
    config = {"config": {"Entrypoint": ["/bin/sh", "-c"], "Cmd": ["x"], "Env": ["A=b=c"], "User": "1:2", "WorkingDir": "/w",
                         "StopSignal": "SIGINT", "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b", "c": "d=e"}}}
    layout = Layout(new_path(""))
    layout.image([raw], "t", config=config)
    guest = new_path("")
    guest.write_bytes(b"guest")
    disk = imported([], "--layout", f"{layout.path}:t", "--guest", guest)
    debugfs(disk, "mkdir /var/lib/ember", f"write {guest} /var/lib/ember/id")
    bare = imported([raw], "--no-seed")
    data, _ = exported(disk)
    names = set(members(data))
    equal(names, set(members(exported(bare)[0])))
    kept = set(members(exported(disk, "--keep-seed")[0]))
    equal(kept - names, {"usr/lib/ember", "usr/lib/ember/ember-guest", "usr/lib/ember/image.json", "etc/resolv.conf",
                         "var/lib/ember", "var/lib/ember/id"})
    # A guest may use ember itself: all but the stamp is its own.
    debugfs(disk, "mkdir /var/lib/ember/vms", f"write {guest} /var/lib/ember/config.json")
    equal(set(members(exported(disk)[0])) - names,
          {"var/lib/ember", "var/lib/ember/vms", "var/lib/ember/config.json"})

    done, out = export_layout(disk, "--created", "2024-05-06T07:08:09Z", "--platform", "linux/arm64/v8")
    assert done.result, done.events
    doc = config_of(out, done)
    equal(doc["config"], config["config"])
    equal((doc["os"], doc["architecture"], doc["variant"], doc["created"]), ("linux", "arm64", "v8", "2024-05-06T07:08:09Z"))
    equal(doc["history"], [{"created": "2024-05-06T07:08:09Z", "created_by": "ember"}])
    equal(probe(disk).result["config"]["labels"], {"a": "b", "c": "d=e"})

    other = new_path(".json")
    other.write_text('{"cmd":["/other"],"labels":{}}')
    done, out = export_layout(disk, "--run-config", other)
    equal((config_of(out, done)["config"], config_of(out, done)["created"]), ({"Cmd": ["/other"]}, "1970-01-01T00:00:00Z"))
    subprocess.run(["umoci", "stat", "--image", f"{out}:t"], check=True, stdout=subprocess.DEVNULL)
    own = imported([Layer().dir("etc").symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf").raw()])
    assert "etc/resolv.conf" in members(exported(own)[0])


@case
def bad_documents():
    """a disk's image.json that is none: a probe warns, a layout is refused, a tar needs none"""
    for text in b"{", b"[]", b'{"cmd":"x"}', b'{"labels":{"a":1}}', b"[" * 100000:
        layer = Layer().dir("usr").dir("usr/lib").dir("usr/lib/ember").file("usr/lib/ember/image.json", text)
        disk = imported([layer.raw()], "--no-seed")
        done = probe(disk)
        equal(done.result["config"], None)
        assert any(event["event"] == "warning" for event in done.events), done.events
        refused(export_layout(disk)[0], "image.json", "unsupported" if len(text) > 9999 else "failed")
        exported(disk)


@case
def tags():
    """a layout takes several images; one of the same tag is replaced"""
    one, two = imported([Layer().file("a").raw()], "--no-seed"), imported([Layer().file("b").raw()], "--no-seed")
    layout = new_path("")
    digests = {}
    for tag, disk in ("x", one), ("y:z", two), ("x", two):
        digests[tag] = run("export", "--disk", disk, "--layout", f"{layout}:{tag}").result["digest"]
    index = json.loads((layout / "index.json").read_text())["manifests"]
    equal({entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index}, digests)
    for tag, name in ("x", "/b"), ("y:z", "/b"):
        disk = imported([], "--layout", f"{layout}:{tag}", "--no-seed")
        equal([path for path in tree_of(disk) if path], [name])
    assert not [name for name in os.listdir(layout / "blobs/sha256") if name.startswith(".")]
    equal(oct((layout / "index.json").stat().st_mode & 0o777), "0o600")


def partitioned(label, script, parts, size=64 << 20):
    """A disk with filesystems at the given sectors."""
    disk = new_path(".raw")
    with open(disk, "wb") as file:
        file.truncate(size)
    subprocess.run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk], input=f"label: {label}\n{script}", text=True,
                   check=True, stdout=subprocess.DEVNULL)
    with open(disk, "r+b") as file:
        for sector, path in parts.items():
            file.seek(sector * 512)
            file.write(path.read_bytes())
    return disk


@case
def partitions():
    """the root is found in GPT and MBR tables, among other filesystems and other ext4"""
    root_tree, boot_tree = new_path(""), new_path("")
    (root_tree / "etc").mkdir(parents=True)
    boot_tree.mkdir()
    (boot_tree / "vmlinuz").write_bytes(b"k")
    root, boot = mke2fs(root_tree, "-t", "ext4"), mke2fs(boot_tree, "-t", "ext4", size="4M")
    swap = new_path(".raw")
    swap.write_bytes(bytes(1 << 20))
    subprocess.run(["mkswap", "--quiet", swap], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    gpt = "start=2048,size=2048,type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nstart=4096,size=8192\nstart=16384,size=65536\n"
    disk = partitioned("gpt", gpt, {2048: swap, 4096: boot, 16384: root})
    equal((probe(disk).result["offset"], probe(disk).result["size_bytes"]), (16384 * 512, 16 << 20))
    equal(sorted(members(exported(disk)[0])), [".", "etc"])
    equal(sorted(members(exported(disk, "--offset", str(4096 * 512))[0])), [".", "vmlinuz"])

    mbr = "start=2048,size=8192,type=83\nstart=10240,size=2048,type=82\nstart=12288,size=90000,type=5\nstart=14336,size=65536,type=83\n"
    disk = partitioned("dos", mbr, {2048: boot, 10240: swap, 14336: root})
    equal(probe(disk).result["offset"], 14336 * 512)
    only_boot = partitioned("dos", "start=2048,size=8192\n", {2048: boot})
    equal(probe(only_boot).result["offset"], 2048 * 512)

    twice = "start=2048,size=40960\nstart=45056,size=40960\n"
    refused(probe(partitioned("gpt", twice, {2048: root, 45056: root})), "several filesystems could be the root", "usage")
    kind = {"x86_64": "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "aarch64": "B921B045-1DF0-41C3-AF44-4C6F280D3FAE"}[os.uname().machine]
    typed = twice.replace("start=45056,size=40960", f"start=45056,size=40960,type={kind}")
    equal(probe(partitioned("gpt", typed, {2048: root, 45056: root})).result["offset"], 45056 * 512)
    done = probe(partitioned("gpt", "start=2048,size=2048\nstart=4096,size=2048\n", {2048: swap}))
    refused(done, "partition 1 is swap space, partition 2 is nothing that is known", "unsupported")
    # Tables of 4 KiB sectors, which sfdisk makes only for disks that have them.
    data = bytearray(root.read_bytes())
    entry = bytes(16) + os.urandom(16) + (256).to_bytes(8, "little") + (256 + len(data) // 4096 - 1).to_bytes(8, "little") + bytes(80)
    head = b"EFI PART" + bytes(64) + (2).to_bytes(8, "little") + (1).to_bytes(4, "little") + (128).to_bytes(4, "little")
    native = new_path(".raw")
    native.write_bytes((bytes(510) + b"\x55\xaa").ljust(4096, b"\0") + head.ljust(4096, b"\0")
                       + (b"\1" + entry[1:]).ljust(254 * 4096, b"\0") + data + bytes(1 << 20))
    equal(probe(native).result["offset"], 1 << 20)


@case
def loops_of_partitions():
    """chains of logical partitions that never end, and tables that point anywhere, end"""
    table = bytearray(512)
    table[510:] = b"\x55\xaa"
    table[446 + 4] = 5
    table[446 + 8:446 + 16] = (1).to_bytes(4, "little") + (9).to_bytes(4, "little")
    logical = bytearray(table)
    logical[446 + 16 + 4] = 5
    logical[446 + 16 + 8:446 + 16 + 12] = (0xFFFFFFFF).to_bytes(4, "little")
    for bend in 1, 0, 0xFFFFFFFF:
        logical[446 + 16 + 8:446 + 16 + 12] = bend.to_bytes(4, "little")
        disk = new_path(".raw")
        disk.write_bytes(bytes(table) + bytes(logical) * 20)
        refused(probe(disk), "", "unsupported")


@case
def other_filesystems():
    """what is no ext4 is named"""
    for program, name, words, size in (("mkfs.xfs", "XFS", ["-q", "-f"], 320 << 20), ("mkfs.btrfs", "btrfs", ["-q", "-f"], 120 << 20),
                                       ("mkswap", "swap space", [], 1 << 20)):
        disk = new_path(".raw")
        with open(disk, "wb") as file:
            file.truncate(size)
        subprocess.run([program, *words, disk], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        refused(probe(disk), f"the disk holds {name}", "unsupported")
        refused(export_tar(disk)[0], f"the disk holds {name}", "unsupported")
    for magic, at, name in ((b"LUKS\xba\xbe", 0, "LUKS"), (b"QFI\xfb", 0, "a qcow2 image"), (b"hsqs", 0, "squashfs"),
                            (b"LABELONE", 512, "LVM"), (b"CD001", 0x8001, "ISO 9660"), (b"", 0, "nothing that is known")):
        disk = new_path(".raw")
        disk.write_bytes(bytes(at) + magic + bytes(100000))
        refused(probe(disk), f"the disk holds {name}", "unsupported")
    for size in 0, 1, 511, 1023, 2047:
        disk = new_path(".raw")
        disk.write_bytes(bytes(size))
        refused(probe(disk), "the disk holds nothing", "unsupported")
    refused(probe("/dev/null"), "neither a file nor a block device", "usage")
    refused(probe(new_path("")), "No such file", "not_found")


@case
def unsupported():
    """encrypted, sealed and case-blind files, and features from the future, are refused by name"""
    disk = mke2fs(plain_tree(), "-t", "ext4")
    for flags, path, part in (("0x80800", "/data", "'/data': it is encrypted"), ("0x180000", "/data", "'/data': it is sealed by fs-verity"),
                              ("0x40080000", "/d", "'/d': it is a directory that ignores case")):
        copy = new_path(".raw")
        shutil.copy(disk, copy)
        debugfs(copy, f"set_inode_field {path} flags {flags}")
        refused(export_tar(copy)[0], part, "unsupported")
    for feature, part in (("feature_incompat 0x80000000", "features that ember does not know (0x80000000)"),
                          ("feature_incompat 0x8", "a journal of another filesystem"), ("feature_ro_compat 0x4000", "share blocks")):
        copy = new_path(".raw")
        shutil.copy(disk, copy)
        debugfs(copy, f"set_super_value {feature}")
        refused(probe(copy), part, "unsupported")


@case
def recovery():
    """a journal that holds changes: an error that names it, or it is replayed first"""
    disk = mke2fs(plain_tree(), "-t", "ext4", "-O", "^metadata_csum", "-b", "4096")
    clean = exported(disk)[0]
    block = int(debugfs(disk, "bmap /d/a 0").split()[-1])
    change = new_path("")
    change.write_bytes(b"HELLO".ljust(4096, b"\0"))
    debugfs(disk, "jo", f"jw -b {block} {change}", "jc")
    assert probe(disk).result["needs_recovery"]
    refused(export_tar(disk)[0], "its journal is to be replayed first", "state")
    before = disk.read_bytes()
    refused(export_layout(disk)[0], "its journal is to be replayed first", "state")
    equal(disk.read_bytes() == before, True)

    data, _ = exported(disk, "--recover")
    changed, was = members(data), members(clean)
    equal({name for name in was if changed[name] != was[name]}, {"d/a"})
    assert b"HELLO" in data and not probe(disk).result["needs_recovery"]
    equal(exported(disk)[0], data)
    # Nothing to do: nothing is done.
    os.chmod(disk, 0o400)
    before = disk.read_bytes()
    exported(disk, "--recover")
    equal(disk.read_bytes() == before, True)


def use_journal(disk):
    """Leave a change in the journal, of a block that is not in use."""
    block = new_path("")
    block.write_bytes(bytes(4096))
    free = int(debugfs(disk, "ffb 1").split()[-1])
    debugfs(disk, "jo", f"jw -b {free} {block}", "jc")


@case
def repair():
    """what only a thorough check can mend is mended with --recover; in a partition the journal is replayed"""
    disk = mke2fs(plain_tree(), "-t", "ext4")
    placed = partitioned("gpt", "start=2048,size=65536\n", {2048: disk})
    clean = exported(placed)[0]
    outside = placed.read_bytes()[:2048 * 512]
    use_journal(disk)
    with open(placed, "r+b") as file:
        file.seek(2048 * 512)
        file.write(disk.read_bytes())
    refused(export_tar(placed)[0], "journal", "state")
    equal(exported(placed, "--recover")[0], clean)
    equal(placed.read_bytes()[:2048 * 512] == outside, True)

    debugfs(disk, "set_inode_field /data links_count 7", "clri /l200")
    refused(export_tar(disk)[0], "journal", "state")
    assert set(members(clean)) - set(members(exported(disk, "--recover")[0])) == {"l200"}
    debugfs(disk, "set_super_value state 3")
    refused(export_tar(disk)[0], "marked as damaged", "state")
    exported(disk, "--recover")
    rubbish = new_path(".raw")
    rubbish.write_bytes(disk.read_bytes()[:1 << 20])
    refused(export_tar(rubbish, "--recover")[0], "e2fsck cannot repair", "failed")


@case
def confined_repair():
    """e2fsck is nobody, and can touch nothing but the disk"""
    disk = mke2fs(plain_tree(), "-t", "ext4")
    use_journal(disk)
    secret, evil, programs = new_path(""), new_path(""), new_path("")
    secret.write_text("secret")
    programs.mkdir()
    # What it finds out it writes where an ext4 has nothing, to the disk's first bytes.
    fake = programs / "e2fsck"
    fake.write_text("#!/bin/sh\n"
                    f"(id -u; id -G; cat {secret} /etc/shadow /etc/passwd; echo x >{evil}; echo $# $1 ${{2%%[?]*}}; echo end) |\n"
                    "dd of=/dev/fd/3 conv=notrunc\n")
    fake.chmod(0o755)
    refused(export_tar(disk, "--recover", env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"})[0], "journal", "state")
    lines = disk.read_bytes()[:1024].rstrip(b"\0").decode().splitlines()
    if LANDLOCK:
        equal(lines, ["65534", "65534", "2 -fy /dev/fd/3", "end"])
        assert not evil.exists()
    equal(lines[0], "65534")


@case
def damage():
    """a byte that is wrong anywhere in the metadata: an error or a result, soon; never a crash"""
    top = plain_tree()
    for name in [entry for entry in os.listdir(top / "many")][40:]:
        (top / "many" / name).unlink()
    (top / "data").write_bytes(b"ab" * 3000)
    seed = 12345
    for words in (["-t", "ext4", "-O", "^metadata_csum,^has_journal", "-b", "1024"], ["-t", "ext2", "-b", "1024"],
                  ["-t", "ext4", "-O", "^has_journal,inline_data", "-b", "1024"]):
        disk = mke2fs(top, *words, "-N", "128", size="512k")
        whole = disk.read_bytes()
        used = [at for at in range(1024, len(whole)) if whole[at]]
        for step in range(130):
            seed = (seed * 1103515245 + 12345) % 2**31
            at = used[seed % len(used)]
            bad = bytearray(whole)
            bad[at] ^= 1 << (seed >> 8) % 8 if step % 2 else 0xFF
            disk.write_bytes(bad)
            started = time.monotonic()
            done, path = export_tar(disk)
            assert time.monotonic() - started < 10
            assert done.result or (done.error and done.error["message"] and "signal" not in done.error["message"]), (at, done.events)
            assert path.stat().st_size < 4 << 20, (at, path.stat().st_size)
            path.unlink()


@case
def checksums():
    """with checksums, one flipped bit in an inode, a directory, a map or an attribute is found"""
    top = plain_tree()
    disk = mke2fs(top, "-t", "ext4", "-b", "1024")
    whole = disk.read_bytes()
    words = debugfs(disk, "imap /data").splitlines()[-1].replace(",", " ").split()
    at_inode = int(words[words.index("block") + 1]) * 1024 + int(words[-1], 16)
    at_dir = int(debugfs(disk, "bmap /many 3").split()[-1]) * 1024
    at_xattrs = int(debugfs(disk, "stat /d").split("File ACL: ")[1].split()[0]) * 1024
    for at, part in ((at_inode + 0x10, "checksum of inode"), (at_dir + 40, "checksum of a directory's block"),
                     (at_xattrs + 1000, "checksum of a block of attributes"), (1024 + 0x78, "superblock"), (2048 + 8, "group 0")):
        bad = bytearray(whole)
        bad[at] ^= 1
        disk.write_bytes(bad)
        refused(export_tar(disk)[0], part, "failed")


@case
def loops():
    """directories in a circle, files that share blocks or map one block many times, links to nothing"""
    top = new_path("")
    (top / "a/b/c").mkdir(parents=True)
    (top / "f").write_bytes(os.urandom(50000))
    (top / "g").write_bytes(os.urandom(50000))
    disk = mke2fs(top, "-t", "ext4", "-O", "^metadata_csum")
    whole = disk.read_bytes()

    def broken(part, *commands):
        disk.write_bytes(whole)
        debugfs(disk, *commands)
        refused(export_tar(disk)[0], part, "failed")

    broken("a directory has two names", "ln /a /a/b/c/up")
    broken("a directory has two names", "ln / /a/b/root")
    broken("inode 8 cannot have a name", "ln <8> /a/journal")
    broken("is free, and yet has a name", "clri /f")
    broken("overlap", "set_inode_field /f block[4] 0")
    broken("does not exist", "set_inode_field /f block[5] 0xfffff")
    broken("nested too deep", "set_inode_field /f block[1] 0x00060004")
    broken("a block of extents is none", "set_inode_field /f block[0] 0")
    broken("a symlink has no possible length", "symlink /s x", "set_inode_field /s size 0x100000000")
    # An indirect block that is its own parent: as many blocks as four levels can name.
    old = mke2fs(top, "-t", "ext2", "-b", "1024")
    block = int(debugfs(old, "bmap /f 13").split()[-1])
    debugfs(old, f"set_inode_field /f block[DIND] {block}", f"set_inode_field /f block[TIND] {block}",
            "set_inode_field /f size 17000000000")
    data = bytearray(old.read_bytes())
    data[block * 1024:(block + 1) * 1024] = block.to_bytes(4, "little") * 256
    old.write_bytes(data)
    started = time.monotonic()
    refused(export_tar(old)[0], "its files use more blocks than it has", "failed")
    assert time.monotonic() - started < 5


@case
def nobody_reads():
    """a reader that goes away ends it; so does an interrupt, and nothing but directories is left"""
    top = new_path("")
    top.mkdir()
    (top / "data").write_bytes(os.urandom(30 << 20))
    disk = mke2fs(top, "-t", "ext4", size="64M")
    read_end, write_end = os.pipe()
    child = subprocess.Popen([PROGRAM, "export", "--disk", disk, "--tar-fd", str(write_end)], pass_fds=[write_end], stdout=subprocess.PIPE)
    os.close(write_end)
    os.read(read_end, 100)
    os.close(read_end)
    output, _ = child.communicate(timeout=20)
    assert child.returncode == 130 and b"interrupted" in output, output

    layout = new_path("")
    read_end, write_end = os.pipe()
    child = subprocess.Popen([PROGRAM, "export", "--disk", disk, "--tar-fd", str(write_end)], pass_fds=[write_end], stdout=subprocess.PIPE)
    os.read(read_end, 100)
    child.send_signal(signal.SIGTERM)
    output, _ = child.communicate(timeout=20)
    equal(child.returncode, 130)
    os.close(write_end)
    os.close(read_end)
    full = run("export", "--disk", disk, "--layout", f"{layout}:t", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)))
    assert full.error and full.status != 0
    equal(os.listdir(layout / "blobs/sha256"), [])
    assert not (layout / "index.json").exists()


@case
def as_a_user():
    """a user needs nothing but to read the disk"""
    disk = mke2fs(plain_tree(), "-t", "ext4")
    where = new_path("")
    where.mkdir()
    os.chmod(SCRATCH, 0o755)
    for mode, ok in (0o644, True), (0o600, False):
        os.chmod(disk, mode)
        os.chown(where, 65534, 65534)
        done = subprocess.run([PROGRAM, "export", "--disk", disk, "--layout", f"{where}/out{mode}:t"], user=65534, group=65534,
                              extra_groups=[], capture_output=True, check=False)
        equal(done.returncode == 0, ok)
        assert ok or b'"denied"' in done.stdout, done.stdout


@case
def confined():
    """the worker is nobody, without capabilities, new privileges or other system calls"""
    top = new_path("")
    top.mkdir()
    (top / "data").write_bytes(os.urandom(4 << 20))
    disk = mke2fs(top, "-t", "ext4")
    read_end, write_end = os.pipe()
    child = subprocess.Popen([PROGRAM, "export", "--disk", disk, "--tar-fd", str(write_end)], pass_fds=[write_end], stdout=subprocess.PIPE)
    os.close(write_end)
    os.read(read_end, 100)
    with open(f"/proc/{child.pid}/task/{child.pid}/children", encoding="utf-8") as file:
        worker = file.read().split()[0]
    with open(f"/proc/{worker}/status", encoding="utf-8") as file:
        status = {key: value.strip() for key, value in (line.split(":", 1) for line in file)}
    os.close(read_end)
    child.communicate(timeout=20)
    # The sanitizers' runtimes need more system calls than the list has.
    equal((status["NoNewPrivs"], status["Seccomp"], status["CapPrm"].strip("0")), ("1", "0" if SANITIZED else "2", ""))
    equal(status["Uid"].split(), ["65534"] * 4)


@case
def many_entries():
    """200,000 entries in at most 80 MB of memory, 256 MiB of content in 40"""
    layer = Layer()
    for directory in range(20):
        layer.dir(f"d{directory}")
        for number in range(5000):
            layer.file(f"d{directory}/file-{number}").link(f"d{directory}/link-{number}", f"d{directory}/file-{number}")
    large = Layer().file("large", bytes(range(256)) * (1 << 20))
    for raw, entries, most in (layer.raw(), 200021, 80), (large.raw(), 2, 40):
        disk = imported([raw], "--no-seed")
        code = ("import resource, subprocess, sys\n"
                "subprocess.run(sys.argv[1:], pass_fds=[int(sys.argv[-1])], check=True)\n"
                "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n")
        with open(os.devnull, "wb") as null:
            fd = null.fileno()
            done = subprocess.run([sys.executable, "-c", code, PROGRAM, "export", "--disk", disk, "--tar-fd", str(fd)], pass_fds=[fd],
                                  capture_output=True, text=True, check=True)
        *_, line, kilobytes = done.stdout.splitlines()
        equal(json.loads(line)["entries"], entries)
        assert SANITIZED or int(kilobytes) < most * 1000, f"{kilobytes} KB for {entries} entries"


@case
def words():
    """mistakes in the words are told"""
    for text, part in ((["export"], "--disk is missing"), (["export", "--disk", "x"], "either --layout or --tar-fd"),
                       (["probe", "--disk", "x", "y"], "unexpected word 'y'"), (["probe", "--layout", "x"], "unknown"),
                       (["export", "--disk", "x", "--tar-fd", "1"], "is where the answers go"),
                       (["export", "--disk", "x", "--tar-fd", "77"], "is not an open descriptor"),
                       (["export", "--disk", "x", "--layout", "y", "--compression", "lzma"], "is not gzip, zstd or none"),
                       (["export", "--disk", "x", "--layout", "y", "--created", "today"], "is not a time"),
                       (["export", "--disk", "x", "--layout", "y", "--platform", "arm"], "is not OS/ARCHITECTURE"),
                       (["probe", "--disk", "x", "--offset", "-1"], "is not a number of bytes")):
        refused(run(*text), part, "usage")
    for text in "export", "probe":
        done = subprocess.run([PROGRAM, text, "--help"], capture_output=True, text=True, check=True)
        assert done.stdout.startswith(f"usage: ember-image {text}"), done.stdout


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("umoci"):
        print("1..0 # SKIP needs root and umoci")
        sys.exit(0)
    main()
