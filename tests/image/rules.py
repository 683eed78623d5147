#!/usr/bin/env python3
"""rules.py EMBER-IMAGE: what layers mean. Each case is one rule, checked in the finished ext4."""

import tarfile

from harness import SCRATCH, build, case, ember_image, equal, main, read, refuse_layers, tars
from layout import Layer


def names(tree):
    return sorted(path for path in tree if path)


@case
def whiteout():
    """a whiteout removes a file, a directory and one of several hard links"""
    low = Layer().dir("d").file("d/f", b"1").dir("e").file("e/f", b"2").file("a", b"3")
    low = low.link("b", "a").link("c", "a")
    top = Layer().whiteout("d/f").whiteout("e").whiteout("b")
    tree = build([low.raw(), top.raw()])
    equal(names(tree), ["/a", "/c", "/d"])
    equal(tree["/a"].links, 2)
    equal(tree["/a"].inode, tree["/c"].inode)


@case
def whiteout_order():
    """whiteouts come before the layer's own entries, wherever they stand"""
    low = Layer().dir("d").file("d/old", b"1").file("f", b"old")
    top = Layer().dir("d", mode=0o700).file("d/new", b"2").file("f", b"new").whiteout("f").whiteout("d")
    tree = build([low.raw(), top.raw()])
    equal(names(tree), ["/d", "/d/new", "/f"])
    equal(tree["/d"].mode, 0o700)
    equal(tree["/f"].size, 3)


@case
def opaque():
    """an opaque directory hides what is below, not its own entries"""
    low = Layer().dir("d", mode=0o711).file("d/old").dir("d/sub").file("d/sub/x").file("keep")
    top = Layer().file("d/new", b"n").opaque("d")
    tree = build([low.raw(), top.raw()])
    equal(names(tree), ["/d", "/d/new", "/keep"])
    equal(tree["/d"].mode, 0o711)


@case
def opaque_root():
    """the root may be opaque"""
    low = Layer().file("a").dir("d").file("d/b")
    equal(names(build([low.raw(), Layer().file(".wh..wh..opq").file("n").raw()])), ["/n"])


@case
def whiteout_of_nothing():
    """a whiteout of what is not there does nothing, and makes no parents"""
    equal(names(build([Layer().file("a").raw(), Layer().whiteout("x/y/z").whiteout("q").raw()])), ["/a"])


@case
def whiteout_kinds():
    """markers may be any file that is no directory"""
    low = Layer().file("a").file("b").file("c")
    low.file("d")
    top = Layer().symlink(".wh.a", "x").add(".wh.b", tarfile.CHRTYPE).file(".wh.c", b"content").link(".wh.d", "nowhere")
    equal(names(build([low.raw(), top.raw()])), [])


@case
def whiteout_through_lower_symlink():
    """a whiteout follows a symlink of a lower layer, unless this layer replaces it"""
    low = Layer().dir("real").file("real/a").file("real/b").symlink("l", "real")
    equal(names(build([low.raw(), Layer().whiteout("l/a").raw()])), ["/l", "/real", "/real/b"])
    low = Layer().dir("real").file("real/a").file("real/b").symlink("l", "real")
    top = Layer().whiteout("l/a").dir("l").file("l/c")
    equal(names(build([low.raw(), top.raw()])), ["/l", "/l/c", "/real", "/real/a", "/real/b"])


@case
def whiteout_through_own_symlink():
    """a whiteout never goes through a symlink of its own layer"""
    low = Layer().dir("d").file("d/a").dir("real").file("real/a")
    top = Layer().symlink("d", "real").whiteout("d/a")
    tree = build([low.raw(), top.raw()])
    equal(names(tree), ["/d", "/real", "/real/a"])
    equal(tree["/d"].target, "real")


@case
def bad_markers():
    """whiteouts of nothing, as directories and with content below are refused"""
    for name in ".wh.", ".wh..", ".wh...", "d/.wh.":
        refuse_layers([Layer().file(name).raw()], "whiteout of nothing")
    for name in ".wh.a", ".wh..wh..opq":
        refuse_layers([Layer().dir(name).raw()], "whiteout as a directory")
        refuse_layers([Layer().file(name + "/x").raw()], "whiteout as a directory")


@case
def whiteout_below_files():
    """a whiteout below a file is refused, whichever layer has the file; below a symlink of its own layer it is nothing"""
    for top in Layer().file("d").whiteout("d/a"), Layer().whiteout("d/a").file("d"), Layer().file("d").opaque("d"), \
            Layer().file("d").whiteout("d/e/a"), Layer().file("d/a").whiteout("d/a/b"), \
            Layer().file("f").link("d", "f").whiteout("d/a"), Layer().add("d", tarfile.FIFOTYPE).whiteout("d/a"):
        refuse_layers([Layer().dir("d").file("d/x").raw(), top.raw()], "not a directory")
        refuse_layers([top.raw()], "not a directory")
    refuse_layers([Layer().file("d").raw(), Layer().whiteout("d/a").raw()], "not a directory")
    refuse_layers([Layer().dir("real").symlink("l", "real").raw(), Layer().whiteout("l/f/a").file("real/f").raw()],
                  "not a directory")
    refuse_layers([Layer().symlink("l", "nowhere").raw(), Layer().whiteout("l/a").raw()], "dangling")
    # Of two entries the last counts; what has been replaced by a directory, hides nothing.
    equal(names(build([Layer().file("d").dir("d").whiteout("d/a").raw()])), ["/d"])
    equal(names(build([Layer().file("d").raw(), Layer().dir("d").whiteout("d/a").raw()])), ["/d"])
    equal(names(build([Layer().symlink("l", "nowhere").whiteout("l/a").raw()])), ["/l"])


@case
def redirected_whiteouts():
    """a whiteout means what its path led to in the layers below, whatever this layer does to the way"""
    low = Layer().dir("one").file("one/a").file("one/b").dir("two").file("two/a").symlink("l", "one").symlink("m", "l").raw()
    # The way may itself go, turn elsewhere, or be there only since this layer.
    equal(names(build([low, Layer().whiteout("one").whiteout("l/a").whiteout("l").raw()])), ["/m", "/two", "/two/a"])
    equal(names(build([low, Layer().whiteout("m/a").whiteout("m/a").raw()])), ["/l", "/m", "/one", "/one/b", "/two", "/two/a"])
    equal(names(build([low, Layer().symlink("l", "two").whiteout("m/a").whiteout("l/b").raw()])),
          ["/l", "/m", "/one", "/one/a", "/one/b", "/two", "/two/a"])
    equal(names(build([low, Layer().symlink("new", "two").whiteout("new/a").raw()])),
          ["/l", "/m", "/new", "/one", "/one/a", "/one/b", "/two", "/two/a"])
    equal(names(build([low, Layer().whiteout("l/a").file("l/a", b"new").raw()])),
          ["/l", "/m", "/one", "/one/a", "/one/b", "/two", "/two/a"])
    equal(names(build([low, Layer().opaque("m").file("one/c").raw()])), ["/l", "/m", "/one", "/one/c", "/two", "/two/a"])


@case
def aufs_leftovers():
    """other .wh..wh. names and what is below them mean nothing"""
    layer = Layer().dir(".wh..wh.plnk").file(".wh..wh.plnk/1.2", b"x").file(".wh..wh.aufs").file("a")
    equal(names(build([layer.raw()])), ["/a"])


@case
def type_changes():
    """directory to symlink to file and back"""
    one = Layer().dir("x").file("x/f").symlink("y", "x").file("z", b"1")
    two = Layer().symlink("x", "z").dir("y").file("y/g").dir("z")
    tree = build([one.raw(), two.raw()])
    equal({p: f.kind for p, f in tree.items() if p}, {"/x": "l", "/y": "d", "/y/g": "f", "/z": "d"})
    three = Layer().file("x", b"file").file("y", b"no more").file("z/f")
    one = Layer().dir("x").file("x/f").symlink("y", "x").file("z", b"1")
    two = Layer().symlink("x", "z").dir("y").file("y/g").dir("z")
    tree = build([one.raw(), two.raw(), three.raw()])
    equal({p: f.kind for p, f in tree.items() if p}, {"/x": "f", "/y": "f", "/z": "d", "/z/f": "f"})


@case
def directory_attributes():
    """a directory's attributes are those of its last entry; without one they are plain"""
    low = Layer().dir("d", mode=0o700, uid=5, gid=6, mtime=100, pax_headers={"SCHILY.xattr.user.a": "1"})
    top = Layer().file("d/f").file("e/g")
    tree = build([low.raw(), top.raw()])
    equal((tree["/d"].mode, tree["/d"].uid, tree["/d"].gid, tree["/d"].mtime_ns), (0o700, 5, 6, 100 * 10**9))
    equal(tree["/d"].xattrs, {"user.a": b"1"})
    equal((tree["/e"].mode, tree["/e"].uid, tree["/e"].mtime_ns), (0o755, 0, 0))
    low = Layer().dir("d", mode=0o700, pax_headers={"SCHILY.xattr.user.a": "1"})
    twice = Layer().dir("d", mode=0o711, uid=3, pax_headers={"SCHILY.xattr.user.b": "2"}).file("d/f").dir("d/", mode=0o1777, mtime=7)
    tree = build([low.raw(), twice.raw()])
    equal((tree["/d"].mode, tree["/d"].mtime_ns, tree["/d"].xattrs), (0o1777, 7 * 10**9, {}))


@case
def root_attributes():
    """the root has attributes of its own, or plain ones; it must be a directory"""
    tree = build([Layer().dir("./", mode=0o711, uid=3).raw()])
    equal((tree[""].mode, tree[""].uid), (0o711, 3))
    equal(build([Layer().file("a").raw()])[""].mode, 0o755)
    refuse_layers([Layer().file(".").raw()], "root of the image")
    refuse_layers([Layer().symlink("/", "x").raw()], "root of the image")


@case
def duplicates():
    """of two entries with one name the last wins"""
    tree = build([Layer().file("a", b"1").file("a", b"22", mode=0o600).raw()])
    equal((tree["/a"].size, tree["/a"].mode), (2, 0o600))


@case
def hard_links():
    """hard links share an inode, across layers too, and their header's attributes are ignored"""
    low = Layer().dir("d").file("d/a", b"data", mode=0o600).symlink("s", "t")
    top = Layer().link("b", "/d/a", mode=0o777, uid=9).link("e/c", "d/a").link("s2", "s")
    tree = build([low.raw(), top.raw()])
    equal(len({tree[p].inode for p in ("/d/a", "/b", "/e/c")}), 1)
    equal((tree["/b"].mode, tree["/b"].uid, tree["/b"].links), (0o600, 0, 3))
    equal((tree["/s2"].inode, tree["/s2"].kind), (tree["/s"].inode, "l"))


@case
def hard_link_replaces():
    """a hard link may take the place of the directory that held its target, and of itself"""
    low = Layer().dir("d").file("d/f", b"data")
    tree = build([low.raw(), Layer().link("d", "d/f").raw()])
    equal((names(tree), tree["/d"].kind, tree["/d"].links), (["/d"], "f", 1))
    tree = build([Layer().file("a", b"1").link("a", "a").raw()])
    equal((tree["/a"].links, tree["/a"].size), (1, 1))


@case
def bad_hard_links():
    """hard links forward, to directories, to what is whited out, and out of the root are refused"""
    refuse_layers([Layer().link("b", "a").file("a").raw()], "hard link")
    refuse_layers([Layer().dir("d").link("b", "d").raw()], "a directory")
    refuse_layers([Layer().file("a").raw(), Layer().whiteout("a").link("b", "a").raw()], "hard link")
    refuse_layers([Layer().link("b", "../a").raw()], "..")
    refuse_layers([Layer().link("b", "/").raw()], "root")


@case
def parents_through_symlinks():
    """parents are resolved inside the root, relative and absolute"""
    low = Layer().dir("usr/lib").symlink("lib", "usr/lib").symlink("usr/up", "..").symlink("abs", "/usr")
    low = low.symlink("out", "../../../usr")
    top = Layer().file("lib/a").file("usr/up/b").file("abs/lib/c").file("out/d").file("lib/new/e")
    tree = build([low.raw(), top.raw()])
    equal([p for p in names(tree) if tree[p].kind == "f"],
          ["/b", "/usr/d", "/usr/lib/a", "/usr/lib/c", "/usr/lib/new/e"])


@case
def bad_parents():
    """parents that dangle, loop, or are no directories are refused"""
    refuse_layers([Layer().symlink("l", "nowhere").file("l/a").raw()], "dangling")
    refuse_layers([Layer().symlink("a", "b").symlink("b", "a").file("a/x").raw()], "symlinks")
    refuse_layers([Layer().file("f").file("f/x").raw()], "not a directory")
    refuse_layers([Layer().file("f").raw(), Layer().add("p", tarfile.FIFOTYPE).file("p/x").raw()],
                  "not a directory")
    refuse_layers([Layer().file("f").raw(), Layer().file("f/x").raw()], "not a directory")
    tree = build([Layer().file("f").raw(), Layer().dir("f").file("f/x").raw()])
    equal(names(tree), ["/f", "/f/x"])


@case
def names_and_paths():
    """leading / and ./, empty and . components are dropped; .. and overlong names are refused"""
    tree = build([Layer().file("/abs").file("./dot").file("a//b/./c").dir("d/").raw()])
    equal(names(tree), ["/a", "/a/b", "/a/b/c", "/abs", "/d", "/dot"])
    refuse_layers([Layer().file("a/../b").raw()], "..")
    refuse_layers([Layer().file("..").raw()], "..")
    refuse_layers([Layer().file("").raw()], "empty")
    for layer in Layer().symlink("l", "x", pax_headers={"linkpath": "t\0u"}), Layer().link("l", "x", pax_headers={"linkpath": "t\0u"}):
        refuse_layers([layer.raw()], "NUL")
    refuse_layers([Layer().file("x" * 256).raw()], "255 bytes", "unsupported")
    refuse_layers([Layer().file("/".join(["d" * 200] * 21)).raw()], "4096 bytes", "unsupported")
    refuse_layers([Layer().file("/".join("d" * 1025)).raw()], "1024", "unsupported")
    equal(len(build([Layer().file("x" * 255).file("/".join("d" * 1000)).raw()])), 1002)


@case
def bytes_in_names():
    """names that are not UTF-8 are kept as they are, in every format"""
    for tar_format in tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT:
        name = b"caf\xe9/\xff\xfe".decode("utf-8", "surrogateescape")
        tree = build([Layer(tar_format).file(name, b"1").file("z\u00fc\u20ac\U0001f600").raw()])
        equal(names(tree), sorted(["/" + name.split("/")[0], "/" + name, "/z\u00fc\u20ac\U0001f600"]))


@case
def long_names():
    """GNU and pax long names and link targets"""
    for tar_format in tarfile.GNU_FORMAT, tarfile.PAX_FORMAT:
        name = "/".join(["n" * 100] * 8)
        layer = Layer(tar_format).file(name, b"x").link("hard", name).symlink("soft", "t" * 300)
        tree = build([layer.raw()])
        equal(tree["/hard"].inode, tree["/" + name].inode)
        equal(tree["/soft"].target, "t" * 300)


@case
def symlink_lengths():
    """symlinks of 1 to 4095 bytes"""
    layer = Layer()
    for length in 1, 59, 60, 61, 300, 4094, 4095:
        layer.symlink(f"l{length}", "x" * length)
    tree = build([layer.raw()])
    for length in 1, 59, 60, 61, 300, 4094, 4095:
        equal((tree[f"/l{length}"].target, tree[f"/l{length}"].mode), ("x" * length, 0o777))
    refuse_layers([Layer().symlink("l", "x" * 4096).raw()], "4095", "unsupported")
    refuse_layers([Layer().symlink("l", "").raw()], "symlink", "unsupported")


@case
def special_files():
    """devices, fifos, and the bits above the permissions"""
    layer = Layer().add("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666)
    layer.add("disk", tarfile.BLKTYPE, devmajor=259, devminor=70000, mode=0o660, gid=6)
    layer.add("pipe", tarfile.FIFOTYPE, mode=0o600).file("su", b"x", mode=0o6755)
    tree = build([layer.raw()])
    equal((tree["/null"].kind, tree["/null"].device), ("c", (1, 3)))
    equal((tree["/disk"].kind, tree["/disk"].device, tree["/disk"].gid), ("b", (259, 70000), 6))
    equal((tree["/pipe"].kind, tree["/su"].mode), ("p", 0o6755))
    big = Layer(tarfile.GNU_FORMAT)
    refuse_layers([big.add("n", tarfile.CHRTYPE, devmajor=4096, devminor=0).raw()], "device", "unsupported")


@case
def owners():
    """uids and gids up to 2^32-2"""
    tree = build([Layer().file("a", uid=4294967294, gid=70000).raw()])
    equal((tree["/a"].uid, tree["/a"].gid), (4294967294, 70000))
    refuse_layers([Layer().file("a", uid=4294967295).raw()], "owner", "unsupported")


@case
def times():
    """mtimes to the nanosecond, from 1901 to 2446"""
    layer = Layer()
    stamps = {"ns": "1600000000.123456789", "old": "-2147483648", "late": "4294967296", "last": "15032385535"}
    for name, stamp in stamps.items():
        layer.file(name, pax_headers={"mtime": stamp})
    tree = build([layer.raw()])
    equal(tree["/ns"].mtime_ns, 1600000000123456789)
    for name in "old", "late", "last":
        equal(tree["/" + name].mtime_ns, int(stamps[name]) * 10**9)
    tree = build([Layer(tarfile.USTAR_FORMAT).pax([("mtime", "-1.25")]).file("a").raw()])
    equal(tree["/a"].mtime_ns, -1250000000)
    for stamp in "-2147483649", "15032385536":
        refuse_layers([Layer().file("a", pax_headers={"mtime": stamp}).raw()], "time", "unsupported")


def with_xattrs(values):
    return {"SCHILY.xattr." + name: value for name, value in values.items()}


@case
def xattrs():
    """attributes in the inode, in a block, in inodes of their own; empty ones too"""
    small = {"user.a": "1", "user.empty": "", "trusted.t": "x" * 40, "security.s": "y"}
    block = {"user.big": "b" * 900, "user.more": "c" * 1500}
    huge = {"user.huge": "h" * 20000, "user.small": "s"}
    layer = Layer().file("small", pax_headers=with_xattrs(small)).file("block", pax_headers=with_xattrs(block))
    layer.file("huge", pax_headers=with_xattrs(huge)).symlink("link", "x", pax_headers=with_xattrs({"trusted.l": "1"}))
    tree = build([layer.raw()])
    for name, values in ("small", small), ("block", block), ("huge", huge), ("link", {"trusted.l": "1"}):
        equal(tree["/" + name].xattrs, {key: value.encode() for key, value in values.items()})


@case
def repeated_records():
    """of repeated records the last wins, and SCHILY's attributes before LIBARCHIVE's"""
    schily, other = "SCHILY.xattr.user.a", "LIBARCHIVE.xattr.user.a"
    for records, want in (([(schily, "1"), (schily, "2")], b"2"), ([(schily, "s"), (other, "bGli")], b"s"),
                          ([(other, "bGli"), (schily, "s")], b"s"), ([(other, "bGli")], b"lib")):
        tree = build([Layer(tarfile.USTAR_FORMAT).file("x").pax(records).file("a").file("y").raw()])
        equal((tree["/a"].xattrs, tree["/y"].xattrs), ({"user.a": want}, {}))
    # A header takes the whole place of the one before it.
    first = [("path", "one"), ("uid", "7"), ("mtime", "-1.5"), (schily, "1"), ("linkpath", "x"), ("size", "9"),
             (ACCESS, "user::rw-,user:5:rwx,group::r--,mask::rwx,other::---")]
    layer = Layer(tarfile.USTAR_FORMAT).pax(first).pax([("gid", "5")]).file("a", b"abc", mtime=3).file("b")
    tree = build([layer.pax(first[:1]).pax([("path", "two")]).symlink("c", "t").raw()])
    equal((names(tree), tree["/a"].size), (["/a", "/b", "/two"], 3))
    equal((tree["/a"].uid, tree["/a"].gid, tree["/a"].mtime_ns, tree["/a"].xattrs), (0, 5, 3 * 10**9, {}))
    # An empty value takes a record back.
    tree = build([Layer(tarfile.USTAR_FORMAT).pax([*first[:4], ("size", "")]).pax([("path", "x"), ("path", ""), ("uid", "")]).file("a").raw()])
    equal((names(tree), tree["/a"].uid), (["/a"], 0))


@case
def xattr_limits():
    """unknown namespaces are dropped; nameless, too large and too many attributes are refused"""
    layer = Layer()
    for name in "a", "b":
        layer.file(name, pax_headers=with_xattrs({"com.apple.x": "1", "user.b": "2", "system.nfs4_acl": "3"}))
    run = ember_image(*tars([layer.raw()]), "--no-seed")
    equal(sorted(event["message"] for event in run.events if event["event"] == "warning"),
          [f"extended attribute '{name}' of 'a' and others was left out" for name in ("com.apple.x", "system.nfs4_acl")])
    equal(read(run)["/a"].xattrs, {"user.b": b"2"})
    refuse_layers([Layer().file("a", pax_headers=with_xattrs({"user.": "1"})).raw()], "name")
    refuse_layers([Layer().file("a", pax_headers=with_xattrs({"user.a": "x" * 65536})).raw()], "64 KiB", "unsupported")
    many = {f"user.{i:0200d}": "v" for i in range(200)}
    refuse_layers([Layer().file("a", pax_headers=with_xattrs(many)).raw()], "attributes", "unsupported")
    refuse_layers([Layer().file("a", pax_headers=with_xattrs({"system.posix_acl_access": "junk"})).raw()], "ACL")


@case
def capabilities_and_acls():
    """capabilities and POSIX ACLs keep their bytes"""
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    acl = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + perm.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, perm, who in ((1, 6, 2**32 - 1), (2, 4, 1000), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 4, 2**32 - 1)))
    headers = {name: value.decode("utf-8", "surrogateescape") for name, value in
               with_xattrs({"security.capability": capability, "system.posix_acl_access": acl}).items()}
    tree = build([Layer().file("ping", pax_headers=headers).raw()])
    equal(tree["/ping"].xattrs["security.capability"], capability)
    # ext4 keeps ACLs in a shorter form: version 1, ids only where they mean something.
    equal(tree["/ping"].xattrs["system.posix_acl_access"],
          bytes.fromhex("01000000" "01000600" "02000400e8030000" "04000400" "10000600" "20000400"))


ACCESS, DEFAULT = "SCHILY.acl.access", "SCHILY.acl.default"


def ext4_acl(*entries):
    """An ACL as ext4 stores it: version 1, ids only for those that are named."""
    tags = {"u": 1, "user": 2, "g": 4, "group": 8, "m": 16, "o": 32}
    out = b"\x01\0\0\0"
    for tag, permissions, *who in entries:
        out += tags[tag].to_bytes(2, "little") + permissions.to_bytes(2, "little")
        out += who[0].to_bytes(4, "little") if who else b""
    return out


@case
def text_acls():
    """ACLs in text, as GNU tar and bsdtar write them; names are those of the image"""
    passwd = b"root:x:0:0::/:/bin/sh\nbad line\nlisa:x:1234:5::/:\nlisa:x:9:9::/:\nlate:x:4294967294:1:\n"
    layer = Layer().file("by-name", mode=0o640, pax_headers={ACCESS: "user::rw-,user:lisa:rwx,group::r--,mask::rwx,other::---"})
    layer.file("lines", pax_headers={ACCESS: "user::rw-\nother::r--\ngroup::r-x\ngroup:adm:-w-\t#effective\nuser:7:r--\nuser:late:---\n"})
    layer.file("numbers", pax_headers={ACCESS: "u::rwx,g::r-x,o::r-x,u:nobody-knows:rw-:77,g:12:r--,mask:r-x"})
    layer.dir("dir", mode=0o755, pax_headers={DEFAULT: "user::rwx,group::r-x,other::---", ACCESS: "user::rwx,group::---,other::---"})
    layer.symlink("link", "x", pax_headers={ACCESS: "user::rw-,user:5:rwx,group::r--,mask::rwx,other::---"})
    layer.file("no-default", pax_headers={DEFAULT: "user::rwx,group::r-x,other::---"})
    layer.file("other", pax_headers={"SCHILY.xattr.user.a": "1", ACCESS: "user::rw-,group::rw-,user:1:r--,other::---"})
    layer.link("linked", "by-name")
    top = Layer().file("etc/passwd", passwd).file("etc/group", b"adm:x:4:\n")
    tree = build([layer.raw(), top.raw()])
    name = "system.posix_acl_access"
    equal(tree["/by-name"].xattrs, {name: ext4_acl(("u", 6), ("user", 7, 1234), ("g", 4), ("m", 7), ("o", 0))})
    equal((tree["/by-name"].mode, tree["/linked"].inode), (0o670, tree["/by-name"].inode))
    equal(tree["/lines"].xattrs, {name: ext4_acl(("u", 6), ("user", 4, 7), ("user", 0, 2**32 - 2), ("g", 5), ("group", 2, 4),
                                                 ("m", 7), ("o", 4))})
    equal(tree["/numbers"].xattrs, {name: ext4_acl(("u", 7), ("user", 6, 77), ("g", 5), ("group", 4, 12), ("m", 5), ("o", 5))})
    equal(tree["/dir"].xattrs, {"system.posix_acl_default": ext4_acl(("u", 7), ("g", 5), ("o", 0))})
    equal((tree["/dir"].mode, tree["/numbers"].mode), (0o700, 0o755))
    equal((tree["/link"].xattrs, tree["/no-default"].xattrs, tree["/link"].mode), ({}, {}, 0o777))
    equal(tree["/other"].xattrs, {"user.a": b"1", name: ext4_acl(("u", 6), ("user", 4, 1), ("g", 6), ("m", 6), ("o", 0))})


@case
def bad_text_acls():
    """an ACL with a name that the image does not know is left out with a warning; one that is none is refused"""
    layer = Layer()
    for i in range(3):
        layer.file(f"f{i}", mode=0o660, pax_headers={ACCESS: "user::rw-,user:who:rw-,group::r--,mask::rw-,other::---"})
    run = ember_image(*tars([layer.raw()]), "--no-seed")
    equal([e["message"] for e in run.events if e["event"] == "warning"],
          ["the ACL of '/f0' was left out: the image has no user 'who'"])
    # What the named user might, the group must not.
    equal([(f.mode, f.xattrs) for p, f in read(run).items() if p], [(0o640, {})] * 3)
    for text in "user::rw-", "user::rw-,group::r--", "user::rwz,group::r--,other::---", "user::rw-,user::rw-,group::r--,other::---", \
            "user::rw-,group::r--,other::---,mask:x:r--", "user::rw-,group::r--,other::---,owner:1:r--", "u::,g::,o::", \
            "user::rw-,user:1:r--,user:1:r--,group::r--,other::---", "user::rw-,user:1:r--:4294967295,group::r--,other::---":
        refuse_layers([Layer().file("a", pax_headers={ACCESS: text}).raw()], "ACL")


@case
def contents():
    """contents of many sizes, and blocks that go back when a file is replaced"""
    sizes = [0, 1, 4095, 4096, 4097, 1 << 20, (1 << 20) + 1, 5_000_001]
    layer = Layer()
    for size in sizes:
        layer.file(f"f{size}", bytes(i * 7 % 251 for i in range(min(size, 9973))) * (size // 9973 + 1) if size > 9973
                   else bytes(i * 7 % 251 for i in range(size)))
    raw = layer.raw()
    tree = build([raw])
    import hashlib
    import io
    with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
        for member in tar:
            equal(tree["/" + member.name].digest, hashlib.sha256(tar.extractfile(member).read()).hexdigest())
    again = Layer()
    for i in range(3000):
        again.file("same", b"x" * (4096 + i % 5000))
    equal(build([again.raw()])["/same"].size, 4096 + 2999)
    again = Layer().file("f5000001", b"small")
    equal(build([raw, again.raw()])["/f5000001"].size, 5)


@case
def sparse():
    """sparse members keep their holes"""
    import subprocess
    path = SCRATCH / "holes"
    path.mkdir()
    with open(path / "f", "wb") as f:
        f.write(b"begin")
        f.seek(8 << 20)
        f.write(b"middle" * 1000)
        f.seek(20 << 20)
        f.truncate()
    import hashlib
    want = hashlib.sha256((path / "f").read_bytes()).hexdigest()
    for words in ["--format=gnu"], ["--format=pax", "--sparse-version=0.0"], \
                 ["--format=pax", "--sparse-version=0.1"], ["--format=pax", "--sparse-version=1.0"]:
        raw = subprocess.run(["tar", "-C", path, "--sparse", *words, "-cf", "-", "f"], check=True,
                             stdout=subprocess.PIPE).stdout
        file = build([raw])["/f"]
        equal((file.size, file.digest), (20 << 20, want))
        assert file.blocks < 100, file


@case
def directory_sizes():
    """directories around the size of one block, of which those above it are hashed"""
    for length in 8, 255:
        room = (4096 - 12) // (8 + (length + 3) // 4 * 4)
        for count in room - 2, room - 1, room, room + 1, 2 * room, 2 * room + 1:
            layer = Layer()
            for i in range(count):
                layer.file(f"d/{i:0{length}d}")
            equal(len(build([layer.raw()])), 2 + count)


@case
def big_directory():
    """20,000 entries in one directory, with names of any bytes, found through its index"""
    layer = Layer().dir("many")
    wanted = {"/many", "/many/plain"}
    for i in range(20000):
        name = (b"\xe9\xff" if i % 2 else b"n") + b"%d" % i + b"-" * (i % 200)
        name = "many/" + name.decode("utf-8", "surrogateescape")
        layer.file(name)
        wanted.add("/" + name)
    tree = build([layer.file("many/plain").raw()])
    equal(set(tree) - {""}, wanted)


@case
def directory_links():
    """more subdirectories than a link count can say"""
    layer = Layer().dir("d")
    for i in range(65001):
        layer.dir(f"d/{i}")
    equal(build([layer.raw()])["/d"].links, 1)


@case
def fragments():
    """a file in thousands of pieces needs an extent tree of two levels"""
    import subprocess
    path = SCRATCH / "pieces"
    path.mkdir()
    with open(path / "f", "wb") as f:
        for i in range(4000):
            f.seek(i * 3 * 4096)
            f.write(b"%d" % i)
    import hashlib
    want = hashlib.sha256((path / "f").read_bytes()).hexdigest()
    raw = subprocess.run(["tar", "-C", path, "--sparse", "-cf", "-", "f"], check=True,
                         stdout=subprocess.PIPE).stdout
    equal(build([raw])["/f"].digest, want)


if __name__ == "__main__":
    main()
