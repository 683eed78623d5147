"""The row about snapshots of a VM that runs: for how long its guest cannot write."""

import json
import statistics

MS = 1000
DATA_MIB = 1600
TURNS = 9


def bench_snapshot(scratch, row):
    """The guest itself says how long it was frozen; the clone's share of that is what the storage takes anyway. Between
    the turns it writes, so that there is something to sync each time."""
    scratch.ember("vm", "create", "full", "--image", "busybox", "--memory", "512M", "--wait")
    scratch.ember("exec", "full", "--", "sh", "-c",
                  f"dd if=/dev/urandom of=/root/data bs=1M count={DATA_MIB} 2>/dev/null; sync")
    still, clone = [], []
    for turn in range(TURNS):
        scratch.ember("exec", "full", "--", "sh", "-c",
                      f"dd if=/dev/urandom of=/root/data bs=64k count=16 seek={turn * 100} conv=notrunc 2>/dev/null")
        answer = json.loads(scratch.ember("snapshot", "create", "full", f"turn-{turn}", "--format", "json"))
        assert answer["consistency"] == "filesystem", answer
        still.append(answer["still_us"] / MS)
        clone.append(answer["clone_us"] / MS)
    beyond = statistics.median(s - c for s, c in zip(still, clone))
    scratch.ember("vm", "delete", "--force", "full")
    yield row(f"freeze of a running VM with {DATA_MIB / 1000:.1f} GB, for its snapshot", statistics.median(still),
              "the clone alone", statistics.median(clone), bar="at most 50 ms more", met=beyond <= 50)
