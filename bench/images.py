"""The rows about images: ember-image beside `umoci unpack` and `mke2fs -d`, on the two images that
tests/image/make-images makes. Processor time is measured on the machine's disk (/var/tmp), where
whoever unpacks an image unpacks it: in memory making a file costs next to nothing. What lies beside
the image while it is written is counted in a memory filesystem of our own.
"""

import atexit
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
IMAGES = TOP / "build-images"
RUNS = {"small": 5, "big": 2}
MB = 1 << 20
# A mount namespace in which only $1 can be written.
ONLY_THERE = """
there=$1; shift
awk '{ print $2 }' /proc/self/mounts | sort -u | while read -r at; do
	mount -o remount,bind,ro "$at" 2>/dev/null
done
mount -o remount,bind,rw "$there" && cd / && unset TMPDIR && exec "$@"
"""


class Place:
    """A directory on the disk; or a tmpfs, which nobody else uses, so that all that is used in it is ours."""

    def __init__(self, build, in_memory):
        self.build = build
        self.in_memory = in_memory
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="ember-bench-images.", dir="/var/tmp"))
        atexit.register(self.remove)
        if in_memory:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8g", "tmpfs", self.dir], check=True)
        self.output = self.dir / "ember.raw"
        self.bundle = self.dir / "bundle"
        self.reference = self.dir / "mke2fs.raw"

    def remove(self):
        if self.in_memory:
            subprocess.run(["umount", self.dir], check=False)
        shutil.rmtree(self.dir)

    def usage(self, *words):
        done = subprocess.run([self.build / "bench" / "bench-usage", *words], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        return json.loads(done.stdout.splitlines()[-1])

    def ember_image(self, tag):
        return [self.build / "ember-image", "--layout", f"{IMAGES}/oci:{tag}", "--no-seed", "--output", self.output]


def allocated(path):
    return os.lstat(path).st_blocks * 512


def tree_data(top):
    """What the files hold, in whole blocks, as `du` counts it: each inode once. And the number of entries."""
    inodes, entries = {}, 0
    for directory, names, files in os.walk(top):
        entries += len(names) + len(files)
        for name in files:
            st = os.lstat(os.path.join(directory, name))
            inodes[st.st_ino] = st.st_blocks * 512
    return sum(inodes.values()), entries


def image_bytes(place):
    return allocated(place.output) if place.output.exists() else 0


def temporary_bytes(place, tag):
    """The most that was used beside the image while it was written, and could only be used here."""
    most = 0
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", ONLY_THERE, "sh", place.dir, *place.ember_image(tag)],
                               stdout=subprocess.DEVNULL)
    while process.poll() is None:
        # The image may grow or shrink meanwhile, which is not taken for another's.
        before, fs, after = image_bytes(place), os.statvfs(place.dir), image_bytes(place)
        most = max(most, (fs.f_blocks - fs.f_bfree) * fs.f_frsize - max(before, after))
        time.sleep(0.005)
    assert process.returncode == 0
    place.output.unlink()
    return most


def measure(place, tag):
    """Turn by turn; the costs of all runs, and sizes from the last."""
    facts = {"ours": [], "reference": [], "peak": []}
    for _ in range(RUNS[tag]):
        ours = place.usage(*place.ember_image(tag))
        facts["ours"].append(ours["cpu_ns"] / 1e9)
        facts["peak"].append(ours["peak_kib"] * 1024 / MB)
        facts["image"] = allocated(place.output) / MB
        place.output.unlink()
        unpack = place.usage("umoci", "unpack", "--image", f"{IMAGES}/oci:{tag}", place.bundle)
        data, facts["entries"] = tree_data(place.bundle / "rootfs")
        facts["data"] = data / MB
        size_kib = data * 11 // 10 // 1024 + (128 << 10)
        write = place.usage("mke2fs", "-q", "-F", "-t", "ext4", "-d", place.bundle / "rootfs", place.reference, f"{size_kib}k")
        facts["reference"].append((unpack["cpu_ns"] + write["cpu_ns"]) / 1e9)
        shutil.rmtree(place.bundle)
        place.reference.unlink()
    return facts


def rows(build, row):
    subprocess.run([TOP / "tests" / "image" / "make-images", IMAGES], check=True)
    disk, memory = Place(build, in_memory=False), Place(build, in_memory=True)
    for tag in "small", "big":
        facts = measure(disk, tag)
        temporary = temporary_bytes(memory, tag) // MB
        ours, reference = (statistics.median(facts[key]) for key in ("ours", "reference"))
        peak = max(facts["peak"])
        yield row(f"import of an image, {facts['data']:,.0f} MB in {facts['entries']:,} entries, CPU", ours,
                  "`umoci unpack`, `mke2fs -d`", reference, unit="s", bar="at most 1/8", met=ours * 8 <= reference)
        yield row("its peak memory", peak, None, None, unit="MB", bar="at most 80 MB", met=peak <= 80)
        yield row("its temporary disk", temporary, "the unpacked tree", facts["data"], unit="MB", bar="0 MB",
                  met=temporary == 0)
        yield row("the image's size on disk", facts["image"], "the tree's data", facts["data"], unit="MB",
                  bar="at most 5 % more", met=facts["image"] <= 1.05 * facts["data"])
