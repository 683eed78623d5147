"""Disks for the tests of `ember-image export` and `probe`, and what these make of them."""

import hashlib
import io
import json
import os
import stat
import subprocess
import tarfile

import harness
from harness import PROGRAM, SCRATCH, Run, ember_image, equal, tars


def new_path(suffix):
    harness.counter += 1
    return SCRATCH / f"disk-{harness.counter}{suffix}"


def run(*words, **options):
    done = subprocess.run([PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, check=False,
                          **options)
    assert not done.stderr, done.stderr.decode()
    return Run(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], None)


def probe(disk, *words):
    return run("probe", "--disk", disk, *words)


def export_tar(disk, *words, **options):
    """The run, and the path of the tar."""
    path = new_path(".tar")
    with open(path, "wb") as file:
        done = run("export", "--disk", disk, "--tar-fd", str(file.fileno()), *words, pass_fds=[file.fileno()],
                   **options)
    return done, path


def export_layout(disk, *words):
    """The run, and the path of the layout, in which the image is called "t"."""
    path = new_path("")
    return run("export", "--disk", disk, "--layout", f"{path}:t", *words), path


def exported(disk, *words):
    """The tar of a disk that is well, and what was warned of."""
    done, path = export_tar(disk, *words)
    assert done.result, done.events
    data = path.read_bytes()
    path.unlink()
    equal(done.result["size_bytes"], len(data))
    last = [event for event in done.events if event["event"] == "progress"][-1]
    equal(last["bytes"], last["total"])
    return data, [event["message"] for event in done.events if event["event"] == "warning"]


def refused(done, part, code):
    """It failed, and said so to a person."""
    assert done.error, done.events
    equal(done.error["code"], code)
    assert part in done.error["message"], done.error
    assert done.error["hint"] and all(ord(c) >= 32 for c in done.error["message"]), done.error
    assert done.status not in (0, None)


def imported(layers, *words, **options):
    """The disk that ember-image makes of raw tars, or of the words alone."""
    made = ember_image(*tars(layers), *words, **options)
    assert made.result, made.events
    return made.output


def shape(tree):
    """What ext4.py has read, without the numbers that are free to be others; hard links as groups of names."""
    groups = {}
    for path, file in tree.items():
        groups.setdefault(file.inode, []).append(path)
    facts = {path: (file.kind, file.mode, file.uid, file.gid, file.size if file.kind != "d" else 0, file.mtime_ns,
                    file.links, file.xattrs, file.target, file.device, file.digest,
                    file.blocks if file.kind == "f" else 0)
             for path, file in tree.items()}
    return facts, sorted(sorted(group) for group in groups.values())


def mke2fs(tree, *words, size="16M"):
    disk = new_path(".raw")
    subprocess.run(["mke2fs", "-q", "-F", *words, *(["-d", tree] if tree else []), disk, size], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return disk


def debugfs(disk, *commands):
    script = new_path(".debugfs")
    script.write_text("".join(command + "\n" for command in commands))
    done = subprocess.run(["debugfs", "-w", "-f", script, disk], capture_output=True, text=True, check=True)
    return done.stdout


def sparse_map(file):
    """Offsets and sizes of the data of a sparse member, as the tar says."""
    return [piece for piece in file.sparse if piece[1]] if file.sparse is not None else None


def members(data):
    """{name: (what a filesystem says of it)} of a tar, read by Python; the root is "."."""
    found = {}
    with tarfile.open(fileobj=io.BytesIO(data), errors="surrogateescape") as tar:
        for member in tar:
            content = hashlib.sha256(tar.extractfile(member).read()).hexdigest() if member.isreg() else ""
            xattrs = {key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape")
                      for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")}
            assert member.name not in found, member.name
            found[member.name] = (member.type, member.mode, member.uid, member.gid, member.mtime, member.linkname,
                                  member.size if member.isreg() else 0, content, xattrs)
    return found


def on_disk(top):
    """The same of a directory of this machine. Times are whole seconds: mke2fs -d takes no more."""
    kinds = {stat.S_IFREG: tarfile.REGTYPE, stat.S_IFDIR: tarfile.DIRTYPE, stat.S_IFLNK: tarfile.SYMTYPE,
             stat.S_IFCHR: tarfile.CHRTYPE, stat.S_IFBLK: tarfile.BLKTYPE, stat.S_IFIFO: tarfile.FIFOTYPE}
    found, first = {}, {}
    paths = []
    for parent, dirs, files in os.walk(top):
        dirs.sort()
        paths += [parent] + [os.path.join(parent, name) for name in files
                             + [d for d in dirs if os.path.islink(os.path.join(parent, d))]]
    for path in sorted(paths, key=lambda p: os.fsencode(os.path.relpath(p, top)).replace(b"/", b"\1")):
        name = os.path.relpath(path, top)
        st = os.lstat(path)
        kind = kinds[stat.S_IFMT(st.st_mode)]
        xattrs = {key: os.getxattr(path, key, follow_symlinks=False)
                  for key in os.listxattr(path, follow_symlinks=False)}
        target = os.readlink(path) if kind == tarfile.SYMTYPE else ""
        size, content = 0, ""
        if kind != tarfile.DIRTYPE and st.st_ino in first:
            kind, target, xattrs = tarfile.LNKTYPE, first[st.st_ino], {}
        else:
            first[st.st_ino] = name
        if kind == tarfile.REGTYPE:
            size = st.st_size
            with open(path, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
        found[name] = (kind, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, int(st.st_mtime), target, size, content, xattrs)
    return found
