"""Rows about the store: forks in a row, who uses which bytes, and what a list of VMs with that costs."""

import json
import os
import random
import shutil
import subprocess

MS = 1_000_000
FORKS = 1000
LISTED = 200
WRITES = 20


def disk_of(scratch, name):
    return scratch.inspect(name)["disk_path"]


def bench_forks(scratch, row):
    """On a real disk, since both do the same fsyncs; turns of ten, so that both get its moods."""
    with scratch.on_disk() as other:
        other.ember("init")
        other.ember("image", "pull", f"oci:{scratch.dir}/oci/busybox:latest", "--name", "busybox")
        other.ember("vm", "create", "bench", "--image", "busybox", "--no-start")
        with open(disk_of(other, "bench"), "r+b") as disk:
            disk.seek(1 << 30)
            for _ in range(64):
                disk.write(os.urandom(1 << 20))
            os.fsync(disk.fileno())
        result = other.measure("bench-forks", "bench", FORKS)
    ours, reference = result["ours_total_ns"] / 1e9, result["bare_total_ns"] / 1e9
    yield row(f"{FORKS:,} forks in a row, on a disk", ours, "FICLONE, record, the same fsyncs", reference,
              unit="s", bar="at most 1.3x", met=ours <= 1.3 * reference)


def record_disks(scratch, disks):
    """Each gets a VM, made from the record of a real one."""
    scratch.ember("vm", "create", "model", "--image", "busybox", "--memory", "256M", "--no-start")
    record = json.loads((scratch.state / "vms" / "model" / "vm.json").read_text())
    records = {}
    for number, disk in enumerate(disks):
        record.update(name=f"swept-{number:02}", id=disk, volume=disk,
                      disk_path=str(scratch.state / "store" / f"{disk}.raw"))
        records[disk] = scratch.state / "vms" / record["name"]
        records[disk].mkdir(mode=0o700)
        (records[disk] / "vm.json").write_text(json.dumps(record, indent=2))
    return records


def bench_usage(scratch, row):
    """VMs, a base and 20 clones, in a pattern that is known, beside nothing but the ioctl that is needed for it."""
    store = scratch.state / "store"
    book = scratch.measure("bench-sweep", "make", store)
    records = record_disks(scratch, book["disks"])
    extents = scratch.measure("bench-sweep", "fiemap", store)["extents"]
    report = json.loads(scratch.ember("storage", "usage", "--format", "json"))
    assert not report["orphans"], "a disk has no record"
    counted = {disk: report["vms"][record.name] for disk, record in records.items()}
    exact = all([counted[disk]["referenced"], counted[disk]["exclusive"]] == figures
                for disk, figures in book["disks"].items())
    result = scratch.measure("bench-spawn", 40, scratch.build / "ember", "storage", "usage", "::",
                             scratch.build / "bench" / "bench-sweep", "fiemap", store)
    for disk, record in records.items():
        (store / f"{disk}.raw").unlink()
        shutil.rmtree(record)
    scratch.ember("vm", "delete", "model")
    ours = result["ours"]["median_ns"] / MS
    yield row(f"`ember storage usage`, 1 base and 20 clones, {extents:,} extents", ours, "bare FIEMAP of them",
              result["reference"]["median_ns"] / MS, bar="at most 60 ms", met=ours <= 60)
    yield row("its figures that the book of all writes confirms", sum(
                  counted[disk]["referenced"] == figures[0] and counted[disk]["exclusive"] == figures[1]
                  for disk, figures in book["disks"].items()),
              "disks", len(book["disks"]), unit="", bar="all, to the block", met=exact)


def scribble(path):
    """A guest that has run for a while."""
    with open(path, "r+b") as disk:
        for _ in range(WRITES):
            disk.seek(random.randrange(1 << 18) << 12)
            disk.write(os.urandom(4096))


def bench_used(scratch, row):
    names = [f"used-{number:03}" for number in range(LISTED)]
    for name in names:
        scratch.ember("vm", "fork", "bench", name, "--no-start")
        scribble(disk_of(scratch, name))
    subprocess.run(["sync"], check=True)
    listed = json.loads(scratch.ember("vm", "list", "--format", "json"))
    usage = json.loads(scratch.ember("storage", "usage", "--format", "json"))["vms"]
    assert all(vm["used_bytes"] == usage[vm["name"]]["exclusive"] for vm in listed), "list and usage differ"
    assert all(vm["used_bytes"] > 0 for vm in listed if vm["name"] in names), "nothing was written"
    records = [scratch.state / "vms" / name / "vm.json" for name in names]
    result = scratch.measure("bench-spawn", 40, scratch.build / "ember", "vm", "list", "::", "cat", *records)
    scratch.ember("vm", "delete", *names)
    ours = result["ours"]["median_ns"] / MS
    yield row(f"`ember vm list` of {LISTED} forks, with what each has to itself", ours, "`cat` of their records",
              result["reference"]["median_ns"] / MS, bar="at most 150 ms", met=ours <= 150)
