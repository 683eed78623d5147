#!/usr/bin/env python3
"""replay.py LOG DISK POINTS COMMAND ARG...: what a power cut would have left, again and again.

LOG is the device that dm-log-writes wrote to (the kernel's log-writes.rst says how), DISK a file as the logged device was
when logging began. After every flush, or POINTS of them evenly spread, COMMAND runs with a copy of the disk as its last
argument: what was on the medium then for sure, and nothing of what came later. $MARK is the last mark that was made before
(`dmsetup message NAME 0 mark WORD`). What fails is said, and our status.
"""

import os
import struct
import subprocess
import sys

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SUPER = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")


def entries(path):
    """(flags, offset on the device, what was written, mark) one after the other."""
    with open(path, "rb") as log:
        magic, _, count, unit = SUPER.unpack(log.read(SUPER.size))
        if magic != MAGIC:
            sys.exit("replay: this is no log")
        at = unit
        for _ in range(count):
            log.seek(at)
            sector, sectors, flags, length = ENTRY.unpack(log.read(ENTRY.size))
            mark = log.read(length).decode() if flags & MARK else None
            at += unit
            data = b""
            if sectors and not flags & (DISCARD | MARK):
                log.seek(at)
                data = log.read(sectors * unit)
                at += sectors * unit
            yield flags, sector * unit, data, mark


def main():
    log, disk, points = sys.argv[1], sys.argv[2], int(sys.argv[3])
    flushes = sum(1 for flags, *_ in entries(log) if flags & (FLUSH | FUA))
    chosen = {flushes * (i + 1) // points - 1 for i in range(min(points, flushes))}
    print(f"# {flushes} flushes, {len(chosen)} power cuts", flush=True)
    mark, number, failed = "", 0, 0
    with open(disk, "r+b", buffering=0) as file:
        for flags, offset, data, word in entries(log):
            mark = word or mark
            os.pwrite(file.fileno(), data, offset)
            if not flags & (FLUSH | FUA):
                continue
            if number in chosen:
                copy = disk + ".cut"
                subprocess.run(["cp", "--reflink=always", disk, copy], check=True)
                done = subprocess.run(sys.argv[4:] + [copy], env=dict(os.environ, MARK=mark), check=False)
                if done.returncode:
                    print(f"# not right after flush {number} of {flushes}, mark '{mark}'", flush=True)
                    failed = 1
                os.unlink(copy)
            number += 1
    return failed or (0 if chosen else 2)


if __name__ == "__main__":
    sys.exit(main())
