"""The rows about images: ember-image beside `umoci unpack` and `mke2fs -d`, on the two images that
tests/image/make-images makes.

Both sides write to the disk that this tree is on, as a user's do, and once more to an XFS over a file in
memory, where making files costs next to nothing: that is the least that the other side can need. What
is used of a filesystem, and by whom, is counted on a tmpfs: it reserves nothing ahead.
"""

import atexit
import json
import os
import pathlib
import shutil
import stat
import statistics
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
IMAGES = TOP / "build-images"
RUNS = {"small": 3, "big": 1}
MB = 1 << 20
BLOCK = 4096
# A mount namespace in which only $1 can be written.
ONLY_THERE = """
there=$1; shift
awk '{ print $2 }' /proc/self/mounts | sort -u | while read -r at; do
	mount -o remount,bind,ro "$at" 2>/dev/null
done
mount -o remount,bind,rw "$there" && cd / && unset TMPDIR && exec "$@"
"""


class Disk:
    """A directory on this tree's own disk."""

    def __init__(self, build):
        self.build = build
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=IMAGES))
        atexit.register(shutil.rmtree, self.dir)
        self.name_files()

    def name_files(self):
        self.output = self.dir / "ember.raw"
        self.bundle = self.dir / "bundle"
        self.reference = self.dir / "mke2fs.raw"

    def usage(self, *words):
        done = subprocess.run([self.build / "bench" / "bench-usage", *words], check=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        return json.loads(done.stdout.splitlines()[-1])

    def ember_image(self, tag):
        return [self.build / "ember-image", "--layout", f"{IMAGES}/oci:{tag}", "--no-seed", "--output", self.output]


class Place(Disk):
    """A filesystem in memory that nobody else uses, so that all that is used in it is ours."""

    def __init__(self, build, kind):
        self.build = build
        self.top = pathlib.Path(tempfile.mkdtemp(prefix="ember-bench-images."))
        self.dir, self.memory = self.top / "fs", self.top / "memory"
        atexit.register(self.remove)
        self.dir.mkdir()
        self.memory.mkdir()
        self.mount("-t", "tmpfs", "-o", "size=8g", "tmpfs", self.memory)
        if kind == "xfs":
            subprocess.run(["truncate", "-s", "7G", self.memory / "fs.xfs"], check=True)
            subprocess.run(["mkfs.xfs", "-q", self.memory / "fs.xfs"], check=True)
            self.mount("-o", "loop", self.memory / "fs.xfs", self.dir)
        else:
            self.mount("--bind", self.memory, self.dir)
        self.name_files()

    def mount(self, *words):
        subprocess.run(["mount", *words], check=True)

    def remove(self):
        for directory in self.dir, self.memory:
            subprocess.run(["umount", directory], check=False)
            directory.rmdir()
        self.top.rmdir()


def allocated(path):
    return os.lstat(path).st_blocks * 512


def tree_data(top):
    """What the files hold, in whole blocks and each inode once. And the number of entries."""
    inodes, entries = {}, 0
    for directory, names, files in os.walk(top):
        entries += len(names) + len(files)
        for name in files:
            st = os.lstat(os.path.join(directory, name))
            if stat.S_ISREG(st.st_mode):
                inodes[st.st_ino] = -(-st.st_size // BLOCK) * BLOCK
    return sum(inodes.values()), entries


def image_bytes(place):
    return allocated(place.output) if place.output.exists() else 0


def used_bytes(place, tag):
    """The most that was used beside the image while it was written, and could only be used here; the image itself."""
    most = 0
    process = subprocess.Popen(["unshare", "--mount", "sh", "-c", ONLY_THERE, "sh", place.dir, *place.ember_image(tag)],
                               stdout=subprocess.DEVNULL)
    while process.poll() is None:
        # The image may grow or shrink meanwhile, which is not taken for another's.
        before, fs, after = image_bytes(place), os.statvfs(place.dir), image_bytes(place)
        most = max(most, (fs.f_blocks - fs.f_bfree) * fs.f_frsize - max(before, after))
        time.sleep(0.005)
    assert process.returncode == 0
    image = allocated(place.output)
    place.output.unlink()
    return most, image


def measure(place, tag):
    """Turn by turn; the costs of all runs."""
    facts = {"ours": [], "reference": [], "peak": []}
    for _ in range(RUNS[tag]):
        ours = place.usage(*place.ember_image(tag))
        facts["ours"].append(ours["cpu_ns"] / 1e9)
        facts["peak"].append(ours["peak_kib"] * 1024 / MB)
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


def medians(facts):
    return statistics.median(facts["ours"]), statistics.median(facts["reference"])


def rows(build, row):
    subprocess.run([TOP / "tests" / "image" / "make-images", IMAGES], check=True)
    disk, xfs, memory = Disk(build), Place(build, "xfs"), Place(build, "tmpfs")
    for tag in "small", "big":
        facts = measure(disk, tag)
        temporary, image = (number / MB for number in used_bytes(memory, tag))
        ours, reference = medians(facts)
        peak = max(facts["peak"])
        yield row(f"import of an image, {facts['data']:,.0f} MB in {facts['entries']:,} entries, CPU", ours,
                  "`umoci unpack`, `mke2fs -d`", reference, unit="s", bar="at most 1/8", met=ours * 8 <= reference)
        ours, reference = medians(measure(xfs, tag))
        yield row("the same into an XFS in memory", ours, "the same", reference, unit="s")
        yield row("its peak memory", peak, None, None, unit="MB", bar="at most 80 MB", met=peak <= 80)
        yield row("its temporary disk", int(temporary), "the unpacked tree", facts["data"], unit="MB", bar="0 MB",
                  met=int(temporary) == 0)
        yield row("the image's size on disk", image, "the tree's data", facts["data"], unit="MB",
                  bar="at most 5 % more", met=image <= 1.05 * facts["data"])
