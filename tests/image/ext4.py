"""A reader of ext4 images for the tests: what a kernel would show of the tree, found by other code
than the code that wrote it. Knows what ember-image writes (extents, 64bit, 256-byte inodes, linear
or hashed directories, attributes in the inode, in a block and in inodes of their own).

Format: Documentation/filesystems/ext4 in the Linux sources.
"""

import dataclasses
import hashlib
import stat
import struct

import htree

BLOCK = 4096
ROOT = 2
EXTENTS_FLAG = 0x80000
INDEX_FLAG = 0x1000
XATTR_MAGIC = 0xEA020000
PREFIXES = {1: "user.", 2: "system.posix_acl_access", 3: "system.posix_acl_default", 4: "trusted.",
            6: "security.", 7: "system."}


@dataclasses.dataclass
class File:
    """One name of the tree."""

    kind: str  # f d l c b p
    mode: int
    uid: int
    gid: int
    size: int
    mtime_ns: int
    inode: int
    links: int
    xattrs: dict
    target: str = ""
    device: tuple = ()
    digest: str = ""
    blocks: int = 0


class Image:
    def __init__(self, path):
        self.file = open(path, "rb")
        sb = self.read(1024, 1024)
        assert struct.unpack_from("<H", sb, 0x38)[0] == 0xEF53, "no ext4"
        self.per_group = struct.unpack_from("<I", sb, 0x28)[0]
        self.label = sb[0x78:0x88].rstrip(b"\0").decode()
        self.hash_seed = struct.unpack_from("<4I", sb, 0xEC)
        self.flags = struct.unpack_from("<I", sb, 0x160)[0]
        self.uuid = sb[0x68:0x78].hex()
        descriptor_size = struct.unpack_from("<H", sb, 0xFE)[0]
        groups = struct.unpack_from("<I", sb, 0)[0] // self.per_group
        table = self.read(BLOCK, groups * descriptor_size)
        self.tables = []
        for group in range(groups):
            low = struct.unpack_from("<I", table, group * descriptor_size + 8)[0]
            high = struct.unpack_from("<I", table, group * descriptor_size + 0x28)[0]
            self.tables.append(high << 32 | low)

    def close(self):
        self.file.close()

    def read(self, at, size):
        self.file.seek(at)
        data = self.file.read(size)
        return data + bytes(size - len(data))

    def raw_inode(self, number):
        group, index = divmod(number - 1, self.per_group)
        return self.read(self.tables[group] * BLOCK + index * 256, 256)

    def extents(self, node):
        magic, count, _, depth = struct.unpack_from("<HHHH", node)
        assert magic == 0xF30A, "no extent node"
        for i in range(count):
            at = 12 + 12 * i
            if depth:
                _, low, high = struct.unpack_from("<IIH", node, at)
                yield from self.extents(self.read((high << 32 | low) * BLOCK, BLOCK))
            else:
                logical, length, high, low = struct.unpack_from("<IHHI", node, at)
                assert length <= 32768, "uninitialised extent"
                yield logical, high << 32 | low, length

    def content(self, raw):
        """Pieces of a file, holes as zeros."""
        size = struct.unpack_from("<I", raw, 4)[0] | struct.unpack_from("<I", raw, 0x6C)[0] << 32
        done = 0
        for logical, physical, length in self.extents(raw[0x28:0x64]):
            while done < logical * BLOCK:
                part = min(logical * BLOCK - done, size - done, 1 << 20)
                yield bytes(part)
                done += part
            for at in range(0, length * BLOCK, 1 << 20):
                part = min(size - done, length * BLOCK - at, 1 << 20)
                yield self.read(physical * BLOCK + at, part)
                done += part
        while done < size:
            part = min(size - done, 1 << 20)
            yield bytes(part)
            done += part

    def xattr_entries(self, area, base, raw_values):
        found = {}
        at = 0
        while at + 16 <= len(area) and area[at:at + 4] != bytes(4):
            length, prefix, offset, value_inode, size = struct.unpack_from("<BBHII", area, at)
            name = PREFIXES.get(prefix, "?") + area[at + 16:at + 16 + length].decode()
            if value_inode:
                value = b"".join(self.content(self.raw_inode(value_inode)))[:size]
            else:
                value = raw_values[base + offset:base + offset + size]
            found[name] = value
            at += (16 + length + 3) & ~3
        return found

    def xattrs(self, raw):
        found = {}
        start = 128 + struct.unpack_from("<H", raw, 0x80)[0]
        if struct.unpack_from("<I", raw, start)[0] == XATTR_MAGIC:
            found |= self.xattr_entries(raw[start + 4:], start + 4, raw)
        block = struct.unpack_from("<I", raw, 0x68)[0] | struct.unpack_from("<H", raw, 0x76)[0] << 32
        if block:
            data = self.read(block * BLOCK, BLOCK)
            found |= self.xattr_entries(data[32:], 0, data)
        return found

    def directory(self, raw):
        """(name, inode) of all entries, the index tried with some of them."""
        data = b"".join(self.content(raw))
        found = list(htree.entries(data))
        indexed = bool(struct.unpack_from("<I", raw, 0x20)[0] & INDEX_FLAG)
        assert indexed == (len(data) > BLOCK), "only directories above a block have an index"
        if indexed:
            index = htree.Index(data, self.hash_seed, self.flags)
            for name, number in found[2::max(1, len(found) // 500)]:
                assert index.lookup(name) == number, f"{name} is not where the index says"
            assert index.lookup(b"no such name") is None
        return found

    def inode(self, number, with_content=True):
        raw = self.raw_inode(number)
        mode, uid, size_low = struct.unpack_from("<HHI", raw)
        gid, links = struct.unpack_from("<HH", raw, 0x18)
        uid |= struct.unpack_from("<H", raw, 0x78)[0] << 16
        gid |= struct.unpack_from("<H", raw, 0x7A)[0] << 16
        seconds = struct.unpack_from("<i", raw, 0x10)[0]
        extra = struct.unpack_from("<I", raw, 0x88)[0]
        kind = {stat.S_IFREG: "f", stat.S_IFDIR: "d", stat.S_IFLNK: "l", stat.S_IFCHR: "c",
                stat.S_IFBLK: "b", stat.S_IFIFO: "p"}[stat.S_IFMT(mode)]
        file = File(kind, stat.S_IMODE(mode), uid, gid,
                    size_low | struct.unpack_from("<I", raw, 0x6C)[0] << 32,
                    (seconds + ((extra & 3) << 32)) * 10**9 + (extra >> 2), number, links,
                    self.xattrs(raw), blocks=struct.unpack_from("<I", raw, 0x1C)[0])
        flags = struct.unpack_from("<I", raw, 0x20)[0]
        if kind == "l":
            file.target = (b"".join(self.content(raw)) if flags & EXTENTS_FLAG
                           else raw[0x28:0x28 + file.size]).decode("utf-8", "surrogateescape")
        elif kind in "cb":
            old, new = struct.unpack_from("<II", raw, 0x28)
            file.device = ((old >> 8) & 255, old & 255) if old else (
                (new >> 8) & 0xFFF, (new & 255) | (new >> 12) & 0xFFF00)
        elif kind == "f" and with_content:
            digest = hashlib.sha256()
            for part in self.content(raw):
                digest.update(part)
            file.digest = digest.hexdigest()
        return file, raw

    def tree(self, with_content=True):
        """{path: File}, "" being the root, "/lost+found" left out."""
        found = {}
        pending = [("", ROOT)]
        while pending:
            path, number = pending.pop()
            file, raw = self.inode(number, with_content)
            found[path] = file
            if file.kind != "d":
                continue
            for name, child in self.directory(raw):
                text = name.decode("utf-8", "surrogateescape")
                if text not in (".", "..") and not (path == "" and text == "lost+found"):
                    pending.append((path + "/" + text, child))
        return found

    def read_file(self, path):
        number = ROOT
        for name in path.strip("/").split("/"):
            _, raw = self.inode(number, False)
            number = dict(self.directory(raw))[name.encode()]
        return b"".join(self.content(self.raw_inode(number)))
