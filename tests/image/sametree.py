#!/usr/bin/env python3
"""sametree.py ONE OTHER: do two root disks hold the same tree? Type, mode, owners, size, time, device,
links, attributes and content of every file; what differs is printed. Where an image was made anew,
what ember adds itself (its own directory) may be as old as that."""

import collections
import dataclasses
import sys

from ext4 import Image

OWN = ("/usr/lib/ember", "/etc/resolv.conf")


def tree(path):
    image = Image(path)
    found = image.tree()
    image.close()
    return found


def linked(files):
    """The groups of names that are one file each."""
    groups = collections.defaultdict(set)
    for path, file in files.items():
        if file.kind != "d":
            groups[file.inode].add(path)
    return {frozenset(group) for group in groups.values() if len(group) > 1}


def facts(path, file):
    known = dataclasses.asdict(file)
    for own in ("inode", "blocks"):
        del known[own]
    if file.kind == "d":
        del known["size"]  # of the directory's own blocks
    if path.startswith(OWN):
        del known["mtime_ns"]
    return known


def main():
    one, other = tree(sys.argv[1]), tree(sys.argv[2])
    wrong = [f"only in one of them: {path}" for path in sorted(one.keys() ^ other.keys())]
    for path in sorted(one.keys() & other.keys()):
        ours, theirs = facts(path, one[path]), facts(path, other[path])
        wrong += [f"{path or '/'}: {key} is {ours[key]!r}, and {theirs[key]!r}"
                  for key in ours if ours[key] != theirs.get(key)]
    if linked(one) != linked(other):
        wrong.append(f"hard links: {linked(one) ^ linked(other)}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(one)} files are the same")


if __name__ == "__main__":
    main()
