"""Looking names up in hashed directories of ext4 as a kernel does: by the index alone.

Format: Documentation/filesystems/ext4/directory.rst; the hash is half of MD4 (RFC 1320) over blocks of 32 bytes.
"""

import struct

BLOCK = 4096
MASK = 0xFFFFFFFF
UNSIGNED = 2  # of the superblock's flags
HALF_MD4 = 1

ROUNDS = (
    (lambda x, y, z: z ^ (x & (y ^ z)), 0, (0, 1, 2, 3, 4, 5, 6, 7), (3, 7, 11, 19)),
    (lambda x, y, z: ((x & y) + ((x ^ y) & z)) & MASK, 0x5A827999, (1, 3, 5, 7, 0, 2, 4, 6), (3, 5, 9, 13)),
    (lambda x, y, z: x ^ y ^ z, 0x6ED9EBA1, (3, 7, 2, 6, 1, 5, 0, 4), (3, 9, 11, 15)),
)


def words_of(name):
    """Up to 32 bytes as eight numbers, padded with the length of all that is left."""
    pad = len(name) | len(name) << 8
    pad |= pad << 16
    words = []
    for at in range(0, min(len(name), 32), 4):
        value = pad
        for byte in name[at:at + 4]:
            value = (value << 8) + byte & MASK
        words.append(value & MASK)
    if len(name) < 32 and len(name) % 4 == 0:
        words.append(pad & MASK)
    return (words + [pad & MASK] * 8)[:8]


def half_md4(name, seed):
    state = list(seed)
    for at in range(0, len(name), 32):
        words = words_of(name[at:])
        a, b, c, d = state
        for function, constant, order, shifts in ROUNDS:
            for step, index in enumerate(order):
                a = a + function(b, c, d) + words[index] + constant & MASK
                shift = shifts[step % 4]
                a = (a << shift | a >> (32 - shift)) & MASK
                a, b, c, d = d, a, b, c
        state = [(old + new) & MASK for old, new in zip(state, (a, b, c, d))]
    return state[1] & ~1


def index_entries(block, at):
    """[(least hash, block)] of a root or node."""
    limit, count = struct.unpack_from("<HH", block, at)
    assert 0 < count <= limit == (BLOCK - 8 - at) // 8, (limit, count)
    entries = [(struct.unpack_from("<I", block, at + 8 * i)[0] if i else 0,
                struct.unpack_from("<I", block, at + 8 * i + 4)[0]) for i in range(count)]
    assert entries == sorted(entries), "index out of order"
    return entries


class Index:
    """The index of one directory, whose content is `data`."""

    def __init__(self, data, seed, flags):
        assert flags & UNSIGNED, "hashes of signed bytes"
        self.data, self.seed = data, seed
        _, version, length, levels, _ = struct.unpack_from("<IBBBB", data, 24)
        assert (version, length) == (HALF_MD4, 8) and levels < 2, (version, length, levels)
        self.leaves = index_entries(self.block(0), 32)
        if levels:
            self.leaves = [entry for start, node in self.leaves
                           for entry in self.node(start, node)]

    def block(self, number):
        return self.data[number * BLOCK:(number + 1) * BLOCK]

    def node(self, start, number):
        entries = index_entries(self.block(number), 8)
        return [(start, entries[0][1]), *entries[1:]]

    def lookup(self, name):
        """The inode of that name, or None; goes on to the next block only where it says that a hash continues."""
        wanted = half_md4(name, self.seed)
        low, high = 0, len(self.leaves)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.leaves[middle][0] & ~1 <= wanted and not (
                self.leaves[middle][0] == wanted | 1) else (low, middle)
        while True:
            for found, number in entries(self.block(self.leaves[low][1])):
                if found == name:
                    return number
            low += 1
            if low == len(self.leaves) or self.leaves[low][0] != wanted | 1:
                return None


def entries(data):
    """(name, inode) of all entries in use."""
    at = 0
    while at < len(data):
        number, length, name_length = struct.unpack_from("<IHB", data, at)
        if number:
            yield data[at + 8:at + 8 + name_length], number
        at += length
