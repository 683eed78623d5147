#!/usr/bin/env python3
"""bench_images.py EMBER-IMAGE IMAGES: the images of make-images, made in IMAGES when they are not there,
unpacked by umoci and written by ember-image, tree against tree.

The big one is left out under the sanitizers: its bytes are the same kinds of bytes, ten times over.
"""

import os
import pathlib
import shutil
import subprocess
import sys

# A tree of 60,000 files is best in memory, where there is room for it.
if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free >= 6 << 30:
    os.environ["TMPDIR"] = "/dev/shm"

import umoci  # noqa: E402
from disks import export_layout, imported  # noqa: E402
from harness import CASES, case, equal, main  # noqa: E402

IMAGES = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path("build-images")


def compare(tag):
    return umoci.compare(IMAGES / "oci", tag, max_size=4 << 30)


@case
def small():
    """the image of 270 MB, and out of its disk again: a layout that umoci and ember-image read alike, of the same tree"""
    tree = compare("small")
    assert len(tree) > 9000
    disk = imported([], "--layout", f"{IMAGES}/oci:small", "--no-seed", max_size=4 << 30)
    done, layout = export_layout(disk)
    disk.unlink()
    assert done.result, done.events
    equal(umoci.compare(layout, "t", max_size=4 << 30), tree)


@case
def big():
    """the image above 1.5 GB, with 20,000 entries in one directory"""
    tree = compare("big")
    assert len(tree) >= 45000
    assert sum(facts["size"] or 0 for facts in tree.values()) > 1.5e9
    assert sum(path.startswith("/opt/flat/") for path in tree) == 20000


if __name__ == "__main__":
    if os.geteuid() != 0 or not shutil.which("umoci"):
        print("1..0 # SKIP needs root and umoci")
        sys.exit(0)
    if os.environ.get("EMBER_SANITIZED"):
        CASES.remove(big)
    subprocess.run([pathlib.Path(__file__).parent / "make-images", IMAGES], check=True)
    main()
