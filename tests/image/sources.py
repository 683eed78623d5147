#!/usr/bin/env python3
"""sources.py EMBER-IMAGE: layouts, tars and streams, whole and hostile; the program's manners."""

import gzip
import io
import json
import os
import pathlib
import signal
import subprocess
import tarfile
import time

import harness
from ext4 import Image
from harness import SCRATCH, build, case, check_filesystem, ember_image, equal, main, read, refuse, refuse_layers, tars
from layout import ARCHITECTURE, CONFIG, INDEX, LAYER, MANIFEST, Layer, Layout, digest

SMALL = Layer().dir("etc").file("etc/name", b"small").raw()
OTHER = "arm64" if ARCHITECTURE != "arm64" else "amd64"


def layout():
    harness.counter += 1
    return Layout(SCRATCH / f"layout-{harness.counter}")


def words(made, tag=None):
    return ["--layout", f"{made.path}:{tag}" if tag else made.path, "--no-seed"]


def zstd(data):
    return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout


@case
def layers_of_a_layout():
    """gzip, zstd and plain layers of a layout give the same tree, and its config"""
    config = {"config": {"Entrypoint": ["/init"], "Cmd": ["-v"], "Env": ["A=1"], "User": "u", "WorkingDir": "/w",
                         "StopSignal": "SIGINT", "ExposedPorts": {"80/tcp": {}}, "Labels": {"k": "v"}}}
    for suffix, compress in ("+gzip", gzip.compress), ("+zstd", zstd), ("", bytes):
        made = layout()
        descriptor = made.image([SMALL, Layer().whiteout("etc/name").file("b").raw()], compress=compress,
                                media_type=LAYER + suffix, config=config)
        run = ember_image(*words(made, "latest"))
        equal(run.status, 0)
        equal(run.result["digest"], descriptor["digest"])
        equal((run.result["reference"], run.result["entries"], run.result["has_init"]), ("latest", 2, False))
        equal(run.result["config"], {"entrypoint": ["/init"], "cmd": ["-v"], "env": ["A=1"], "user": "u", "workdir": "/w",
                                     "stop_signal": "SIGINT", "exposed_ports": ["80/tcp"], "labels": {"k": "v"}})
        equal(run.result["size_bytes"], run.output.stat().st_size)
        equal(sorted(read(run)), ["", "/b", "/etc"])


@case
def gunzip_libraries():
    """whichever library unpacks, and whenever: the same image, byte for byte"""
    made = layout()
    big = Layer().file("big", os.urandom(3 << 20) + bytes(1 << 20))
    for i in range(3000):
        big.file(f"d/{i}", b"%d" % i * (i % 4000), pax_headers={"SCHILY.xattr.user.n": str(i)} if i % 50 == 0 else {})
    made.image([big.raw(), Layer().whiteout("big").opaque("d").file("d/new", os.urandom(100000)).raw()])
    found = []
    names = subprocess.run([harness.PROGRAM, "--gunzip", "none", "--help"], stdout=subprocess.PIPE, check=False).stdout
    names = json.loads(names)["hint"].removeprefix("there is: ").split(", ")
    for name in [*names, names[0]]:
        run = ember_image(*words(made)[:2], "--gunzip", name)
        found.append((run.result["size_bytes"], digest(run.output.read_bytes())))
        run.output.unlink()
    equal((found[1:], names[-1]), (found[:1] * len(names), "zlib"))


@case
def docker_types():
    """docker's media types are the same thing; foreign layers are used when they are there"""
    docker = "application/vnd.docker."
    for layer_type in "image.rootfs.diff.tar.gzip", "image.rootfs.foreign.diff.tar.gzip":
        made = layout()
        kind = docker + "distribution.manifest.v2+json"
        descriptor = made.image([SMALL], media_type=docker + layer_type, manifest={"mediaType": kind}, index=False)
        body = json.loads((made.path / "blobs/sha256" / descriptor["digest"][7:]).read_bytes())
        body["config"]["mediaType"] = docker + "container.image.v1+json"
        made.add(made.document(body, kind))
        equal(len(read(ember_image(*words(made)))), 3)


@case
def no_layers():
    """a manifest without layers is an empty root"""
    made = layout()
    made.image([])
    equal(list(read(ember_image(*words(made)))), [""])


@case
def created_time():
    """directories that no layer describes are as old as the image"""
    made = layout()
    made.image([Layer().file("a/b").raw()])
    tree = read(ember_image(*words(made)))
    equal((tree["/a"].mtime_ns, tree[""].mtime_ns), (1714979289 * 10**9,) * 2)


@case
def tags():
    """the tag is found, asked for when there are several, and missed with what there is"""
    made = layout()
    made.image([SMALL], "one")
    equal(ember_image(*words(made)).result["reference"], "one")
    made.image([Layer().file("two").raw()], "two:2/x")
    equal(sorted(read(ember_image(*words(made, "two:2/x")))), ["", "/two"])
    run = refuse(words(made), "several tags", "usage")
    assert "one, two:2/x" in run.error["hint"]
    run = refuse(words(made, "three"), "'three'", "not_found")
    assert "one" in run.error["hint"]
    equal(run.status, 3)


@case
def platforms():
    """an index gives the image of this host, or of --platform; others are named"""
    made = layout()
    nested = [made.image([SMALL], tag=None, index=False, platform={"os": "linux", "architecture": ARCHITECTURE}),
              made.image([Layer().file("other").raw()], tag=None, index=False,
                         platform={"os": "linux", "architecture": OTHER},
                         config={"architecture": OTHER}),
              made.document({"x": 1}, "application/vnd.in-toto+json", platform={"os": "unknown", "architecture": "unknown"})]
    inner = made.document({"schemaVersion": 2, "manifests": nested}, INDEX)
    made.add(made.document({"schemaVersion": 2, "manifests": [inner]}, INDEX,
                           annotations={"org.opencontainers.image.ref.name": "multi"}))
    equal(sorted(read(ember_image(*words(made)))), ["", "/etc", "/etc/name"])
    equal(sorted(read(ember_image(*words(made), "--platform", f"linux/{OTHER}"))), ["", "/other"])
    run = refuse([*words(made), "--platform", "linux/s390x"], "linux/s390x", "not_found")
    assert OTHER in run.error["hint"] and "unknown" not in run.error["hint"]
    refuse([*words(made), "--platform", "linux"], "OS/ARCHITECTURE", "usage")
    single = layout()
    single.image([SMALL], config={"architecture": OTHER})
    refuse(words(single), ARCHITECTURE, "not_found")


@case
def shared_blobs():
    """blobs may be in a directory that layouts share"""
    made = layout()
    made.image([SMALL])
    shared = SCRATCH / "shared"
    (made.path / "blobs").rename(shared)
    equal(len(read(ember_image(*words(made), "--blobs", shared))), 3)
    refuse(words(made), "blobs", "not_found")


@case
def wrong_digests():
    """a changed layer, config, manifest or diff_id is a digest mismatch"""
    made = layout()
    descriptor = made.image([SMALL])
    blobs = made.path / "blobs/sha256"
    manifest = json.loads((blobs / descriptor["digest"][7:]).read_bytes())
    for part in manifest["layers"][0], manifest["config"], descriptor:
        path = blobs / part["digest"][7:]
        good = path.read_bytes()
        for at in 0, len(good) // 2, len(good) - 1:
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1:])
            equal(refuse(words(made), "digest mismatch").error["blob"], part["digest"])
        path.write_bytes(good[:-1])
        equal(refuse(words(made), "descriptor says").error["blob"], part["digest"])
        path.write_bytes(good)
    lying = layout()
    lying.image([SMALL], config={"rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}})
    assert "blob" not in refuse(words(lying), "diff_id").error
    for diff_ids in [], [digest(SMALL)] * 2:
        lying = layout()
        lying.image([SMALL], config={"rootfs": {"type": "layers", "diff_ids": diff_ids}})
        refuse(words(lying), "diff_ids for 1 layers")


@case
def documents():
    """documents that are not what they should be"""
    made = layout()
    made.image([SMALL])
    index = made.path / "index.json"
    good = index.read_text()
    for text, part in (("", ""), ("[]", "not a JSON object"), ("{", ""), ('{"schemaVersion":2}', "manifests"),
                       ('{"schemaVersion":1,"manifests":[]}', "schema version 1"),
                       ('{"schemaVersion":2,"manifests":[{}]}', "mediaType"),
                       (good.replace("sha256:", "md5:"), "sha256"), (good.replace("sha256:", "sha256:../"), "sha256"),
                       (good.replace('"size": ', '"size": -'), "size"), ("[" * 70 + "]" * 70, "nested"),
                       (" " * (4 << 20) + good, "4 MiB"), (good.replace(MANIFEST, "text/plain"), "linux/")):
        index.write_text(text)
        run = ember_image(*words(made))
        assert run.error and part in run.error["message"] and run.error["hint"], (text[:80], run.events)
        assert run.status and not run.output.exists()
    index.write_text(good)
    (made.path / "oci-layout").write_text('{"imageLayoutVersion":"2.0.0"}')
    refuse(words(made), "layout version", "unsupported")
    (made.path / "oci-layout").unlink()
    refuse(words(made), "not an OCI layout", "not_found")


@case
def media_types():
    """unknown and encrypted layers, and things that are no image, are refused"""
    for media_type in LAYER + "+encrypted", LAYER + "+gzip+encrypted", "application/x-other":
        made = layout()
        made.image([SMALL], media_type=media_type)
        refuse(words(made), "unknown type", "unsupported")
    made = layout()
    made.image([SMALL], manifest={"config": made.document({}, "application/vnd.cncf.helm.config.v1+json")})
    refuse(words(made), "not a container image", "unsupported")
    for media_type, compress in (LAYER, gzip.compress), (LAYER + "+gzip", bytes), (LAYER + "+zstd", gzip.compress):
        made = layout()
        made.image([SMALL], media_type=media_type, compress=compress)
        refuse(words(made), "media type says")
    made = layout()
    made.image([SMALL], manifest={"manifests": []})
    refuse(words(made), "both an index and a manifest")


@case
def nested_indexes():
    """indexes nested too deep, or too many of them"""
    made = layout()
    inner = made.image([SMALL], tag=None, index=False)
    for _ in range(6):
        inner = made.document({"schemaVersion": 2, "manifests": [inner]}, INDEX)
    made.add(inner)
    refuse(words(made), "nested", "unsupported")
    made = layout()
    inner = made.document({"schemaVersion": 2, "manifests": []}, INDEX)
    for _ in range(3):
        inner = made.document({"schemaVersion": 2, "manifests": [inner] * 1000}, INDEX)
    made.add(inner)
    refuse(words(made), "indexes", "unsupported")


@case
def odd_blobs():
    """blobs that are symlinks, pipes and directories, or missing"""
    made = layout()
    descriptor = made.image([SMALL])
    path = made.path / "blobs/sha256" / descriptor["digest"][7:]
    good = path.read_bytes()
    for spoil in (lambda: path.symlink_to("/etc/passwd"), lambda: os.mkfifo(path), path.mkdir, lambda: None):
        path.unlink()
        spoil()
        run = ember_image(*words(made))
        assert run.error and run.status and not run.output.exists(), run.events
        if path.is_dir():
            path.rmdir()
            path.touch()
        elif not path.exists() and not path.is_symlink():
            path.touch()
    path.unlink()
    path.write_bytes(good)


@case
def stream_ends():
    """what may follow a tar's end, and what may not"""
    plain = SMALL[:len(SMALL) // 512 * 512].rstrip(b"\0")
    plain += bytes(-len(plain) % 512)
    member = gzip.compress(SMALL)
    half = len(SMALL) // 2
    good = [plain, plain + bytes(512), SMALL + bytes(100000), gzip.compress(plain), member + bytes(5000), b"",
            gzip.compress(SMALL[:half]) + gzip.compress(SMALL[half:]), zstd(SMALL[:half]) + zstd(SMALL[half:]),
            zstd(SMALL) + b"\x50\x2a\x4d\x18\x04\0\0\0skip", b"\x5f\x2a\x4d\x18\0\0\0\0" + zstd(SMALL)]
    for data in good:
        equal(len(build([data])), 3 if data else 1)
    bad = [SMALL + b"x", SMALL[:-512] + b"y" + bytes(511), gzip.compress(SMALL + b"tail"), member + b"tail",
           member + bytes(10) + b"t", zstd(SMALL) + b"tail", zstd(SMALL) + bytes(10), b"x" * 5000, plain + b"abc"]
    for data in bad:
        refuse_layers([data], "layer")
    for data in plain, member, zstd(SMALL):
        for cut in 1, len(data) // 2, len(data) - 1:
            refuse_layers([data[:cut]], "layer")


@case
def zstd_windows():
    """a zstd window of 64 MiB is taken, a larger one refused"""
    for bits, good in (26, True), (27, False):
        stream = subprocess.Popen(["zstd", "-q", "-c", f"--long={bits}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        data = stream.communicate(SMALL)[0]
        if good:
            equal(len(build([data])), 3)
        else:
            refuse_layers([data], "zstd")


@case
def sha512():
    """sha512 digests are checked like sha256"""
    import hashlib
    made = layout()
    descriptor = made.image([SMALL], index=False)
    blobs = made.path / "blobs"
    (blobs / "sha512").mkdir()
    body = json.loads((blobs / "sha256" / descriptor["digest"][7:]).read_bytes())
    config = json.loads((blobs / "sha256" / body["config"]["digest"][7:]).read_bytes())
    config["rootfs"]["diff_ids"] = ["sha512:" + hashlib.sha512(SMALL).hexdigest()]
    body["config"] = made.document(config, CONFIG)
    layer = blobs / "sha256" / body["layers"][0]["digest"][7:]
    name = hashlib.sha512(layer.read_bytes()).hexdigest()
    body["layers"][0]["digest"] = "sha512:" + name
    layer.rename(blobs / "sha512" / name)
    made.add(made.document(body, MANIFEST))
    equal(len(read(ember_image(*words(made)))), 3)
    config["rootfs"]["diff_ids"] = ["sha512:" + "0" * 128]
    body["config"] = made.document(config, CONFIG)
    made.entries = []
    made.add(made.document(body, MANIFEST))
    refuse(words(made), "diff_id")


@case
def bit_flips():
    """a flipped bit anywhere in a layer never crashes, and never leaves something behind"""
    raw = Layer().dir("d", pax_headers={"SCHILY.xattr.user.a": "1"}).file("d/f", b"data" * 300).link("h", "d/f") \
        .symlink("s", "x" * 200).file("n" * 150, b"").raw().rstrip(b"\0")
    made = layout()
    made.image([raw])
    for at in range(0, len(raw), max(1, len(raw) // 60)):
        run = ember_image(*tars([raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1:]]), "--no-seed")
        if run.status == 0:
            check_filesystem(run.output)
            run.output.unlink()
        else:
            assert run.status == 1 or run.error["code"] == "unsupported", run.events
            assert not run.output.exists()


@case
def odd_members():
    """volume labels are passed over; multi-volume members, unknown types and stray headers are refused"""
    equal(len(build([Layer().add("label", b"V").file("a").raw()])), 2)
    refuse_layers([Layer().add("part", b"M").raw()], "multi-volume", "unsupported")
    refuse_layers([Layer().add("what", b"Q").raw()], "unknown type", "unsupported")
    header = Layer().file("n" * 200).raw()
    refuse_layers([header[:1024]], "followed by nothing")
    refuse_layers([header[:1024] + bytes(1024)], "followed by nothing")
    refuse_layers([Layer().file("a", pax_headers={"path": "x\0y"}).raw()], "NUL")
    for records in [("uid", "abc")], [("size", "-1")], [("mtime", "1.x")], [("gid", "1\0")], [("size", "9" * 30)]:
        refuse_layers([Layer(tarfile.USTAR_FORMAT).pax(records).file("a").raw()], "a pax header")
    refuse_layers([Layer(tarfile.USTAR_FORMAT).file("d/", b"data").raw()], "content")
    refuse_layers([Layer(tarfile.USTAR_FORMAT).pax([("size", "512")]).dir("d").raw()], "content")
    refuse_layers([Layer(tarfile.USTAR_FORMAT).file("a").add("b", tarfile.LNKTYPE, b"1", linkname="a").raw()], "content")
    refuse_layers([Layer().file("a", pax_headers={"SCHILY.xattr.": "1"}).raw()], "without a name")
    for kind, record in (b"L", "path"), (b"K", "linkpath"):
        for order in 1, -1:
            parts = [lambda to: to.pax([(record, "one")]), lambda to: to.add("././@LongLink", kind, b"two\0")][::order]
            layer = Layer(tarfile.USTAR_FORMAT)
            for part in parts:
                part(layer)
            refuse_layers([layer.symlink("l", "t").raw()], "two kinds")
    equal(sorted(build([Layer().add("././@LongLink", b"L", b"one/\0").add("././@LongLink", b"L", b"two\0").file("a", b"1").raw()])),
          ["", "/two"])
    refuse_layers([Layer().file("a", pax_headers={"comment": "x" * (1 << 20)}).raw()], "1 MiB", "unsupported")


@case
def bombs():
    """more data than the image may hold, streamed or kept"""
    bomb = gzip.compress(Layer().file("zeros", bytes(80 << 20)).raw())
    refuse_layers([bomb], "larger than the image", "unsupported", max_size=64 << 20)
    many = Layer()
    for i in range(20):
        many.file(f"f{i}", os.urandom(1 << 20) * 4)
    refuse_layers([many.raw()], "larger than it may be", "unsupported", max_size=64 << 20)
    again = Layer().file("f", os.urandom(1 << 20) * 30).raw()
    refuse_layers([again] * 12, "four times", "unsupported", max_size=64 << 20)
    # Replaced data gives its place back: five times 30 MiB fit where 64 MiB do.
    equal(build([again] * 5, max_size=64 << 20)["/f"].size, 30 << 20)


@case
def deterministic():
    """the same layers give the same bytes"""
    import hashlib
    made = layout()
    made.image([SMALL, Layer().file("x", b"y" * 100000).raw()])
    sums = set()
    for _ in range(2):
        run = ember_image(*words(made))
        sums.add(hashlib.sha256(run.output.read_bytes()).hexdigest())
        time.sleep(1.1)
    equal(len(sums), 1)


@case
def seeds():
    """ember's own files go in, the image's stay"""
    guest = SCRATCH / "guest"
    guest.write_bytes(b"program" * 5000)
    base = Layer().dir("usr").file("etc/hosts", b"mine\n").symlink("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")
    base.dir("tmp", mode=0o700).file("sbin/init", b"#!", mode=0o755)
    run = ember_image(*tars([base.raw()]), "--guest", guest)
    equal(run.result["has_init"], True)
    image = Image(run.output)
    equal(image.read_file("/usr/lib/ember/ember-guest"), guest.read_bytes())
    equal(json.loads(image.read_file("/usr/lib/ember/image.json")), run.result["config"])
    equal(image.read_file("/etc/hosts"), b"mine\n")
    tree = read(run)
    equal((tree["/usr/lib/ember/ember-guest"].mode, tree["/tmp"].mode), (0o755, 0o700))
    equal(tree["/etc/resolv.conf"].target, "../run/systemd/resolve/stub-resolv.conf")
    for name in "proc", "sys", "dev", "run":
        equal(tree["/" + name].kind, "d")
    bare = Layer().symlink("etc", "../../private/etc").dir("private/etc").file("private/etc/resolv.conf", b"old").raw()
    run = ember_image(*tars([bare]), "--guest", guest)
    equal(run.result["has_init"], False)
    tree = read(run)
    equal(tree["/private/etc/resolv.conf"].target, "/run/ember/resolv.conf")
    assert tree["/private/etc/hosts"].size > 0
    refuse([*tars([Layer().symlink("usr", "/nowhere").raw()]), "--guest", guest], "ember's files")


@case
def inits():
    """an init is found through symlinks, and only when it can be run"""
    def has_init(layer):
        run = ember_image(*tars([layer.raw()]))
        run.output.unlink()
        return run.result["has_init"]
    equal(has_init(Layer().symlink("lib", "usr/lib").file("usr/lib/systemd/systemd", b"x", mode=0o755)), True)
    equal(has_init(Layer().symlink("sbin/init", "/bin/busybox").file("bin/busybox", b"x", mode=0o755)), True)
    equal(has_init(Layer().file("etc/inittab").file("bin/busybox", b"x", mode=0o755)), True)
    equal(has_init(Layer().file("bin/busybox", b"x", mode=0o755)), False)
    equal(has_init(Layer().file("sbin/init", b"x", mode=0o644)), False)
    equal(has_init(Layer().symlink("sbin/init", "../lib/systemd/systemd")), False)


@case
def plain_tars():
    """tars from a pipe, several, and with a config"""
    run = ember_image("--tar", "-", "--no-seed", stdin=gzip.compress(SMALL))
    equal((run.status, run.result["reference"], run.result["digest"][:7]), (0, None, "sha256:"))
    equal(len(read(run)), 3)
    config = SCRATCH / "config.json"
    config.write_text(json.dumps({"config": {"Cmd": ["x"]}, "rootfs": {"diff_ids": [digest(SMALL)]}}))
    equal(ember_image(*tars([SMALL]), "--config", config).result["config"]["cmd"], ["x"])
    config.write_text(json.dumps({"rootfs": {"diff_ids": ["sha256:" + "1" * 64]}}))
    refuse([*tars([SMALL]), "--config", config], "diff_id")
    config.write_text(json.dumps({"cmd": ["y"], "labels": {"a": "b"}}))
    equal(ember_image(*tars([SMALL]), "--run-config", config).result["config"]["cmd"], ["y"])
    refuse([*tars([SMALL]), "--run-config", config, "--config", config], "exclude each other", "usage")


@case
def usage():
    """wrong words are refused with a hint, and nothing is touched"""
    for bad in [], ["--tar"], ["--layout", "x", "--tar", "y"], ["--tar", "x", "word"], ["--nosuch"], \
            ["--tar", "x", "--max-size", "1K"], ["--tar", "x", "--max-size", "99999999999999"], ["--tar", "x", "--blobs", "y"]:
        equal(refuse(bad, "", "usage").status, 2)
    equal(refuse(["--tar", "/nonexistent"], "/nonexistent", "not_found").status, 3)
    refuse(["--tar", SCRATCH], "not a tar", "usage")
    existing = SCRATCH / "existing"
    existing.write_text("precious")
    done = subprocess.run([harness.PROGRAM, "--output", existing, "--tar", "-"], input=SMALL, capture_output=True, check=False)
    equal((done.returncode, existing.read_text()), (4, "precious"))
    for word in "--help", "--version":
        assert subprocess.run([harness.PROGRAM, word], capture_output=True, check=True).stdout


@case
def signals():
    """an interrupted or killed build leaves nothing and says so"""
    for signum in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
        output = SCRATCH / "interrupted"
        process = subprocess.Popen([harness.PROGRAM, "--output", output, "--tar", "-"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE)
        process.stdin.write(SMALL[:512])
        process.stdin.flush()
        while not output.exists():
            time.sleep(0.01)
        process.send_signal(signum)
        process.stdin.flush()
        events = [json.loads(line) for line in process.stdout.read().splitlines()]
        equal((process.wait(10), events[-1]["code"], output.exists()), (130, "canceled", False))
        process.stdin.close()
        process.stdout.close()


@case
def reader_gone():
    """a build ends when nobody reads its events any more"""
    output = SCRATCH / "unread"
    process = subprocess.Popen([harness.PROGRAM, "--output", output, "--tar", "-", "--no-seed"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    process.stdout.close()
    process.stdin.write(SMALL)
    process.stdin.close()
    equal((process.wait(10), output.exists()), (130, False))


@case
def worker_killed():
    """a worker that dies is noticed"""
    output = SCRATCH / "killed"
    process = subprocess.Popen([harness.PROGRAM, "--output", output, "--tar", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    worker = []
    while not worker:
        worker = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(worker[0]), signal.SIGKILL)
    events = [json.loads(line) for line in process.stdout.read().splitlines()]
    equal((process.wait(10), events[-1]["code"], output.exists()), (1, "failed", False))
    process.stdin.close()
    process.stdout.close()


@case
def unprivileged():
    """any user can build an image with owners, devices and capabilities"""
    if os.geteuid() != 0:
        return
    home = SCRATCH / "nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    SCRATCH.chmod(0o711)
    raw = Layer().add("null", tarfile.CHRTYPE, devmajor=1, devminor=3).file("root", b"x", uid=0, mode=0o4755).raw()
    subprocess.run([harness.PROGRAM, "--output", home / "image", "--tar", "-"], input=raw, check=True, user=65534,
                   group=65534, extra_groups=[], stdout=subprocess.DEVNULL)
    check_filesystem(home / "image")
    equal((home / "image").stat().st_uid, 65534)


@case
def confined():
    """the worker is nobody, without capabilities, new privileges or other system calls"""
    output = SCRATCH / "confined"
    process = subprocess.Popen([harness.PROGRAM, "--output", output, "--tar", "-"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL)
    status = {}
    # The sanitizers' runtimes need more system calls than the list has.
    seccomp = "0" if b"__asan_init" in pathlib.Path(harness.PROGRAM).read_bytes() else "2"
    deadline = time.monotonic() + 10
    wanted = ("1", seccomp, 0)

    def confinement():
        return status.get("NoNewPrivs"), status.get("Seccomp"), int(status.get("CapPrm", "1"), 16)

    while time.monotonic() < deadline and confinement() != wanted:
        worker = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if worker:
            lines = pathlib.Path(f"/proc/{worker[0]}/status").read_text().splitlines()
            status = {key: value.strip() for key, value in (line.split(":", 1) for line in lines)}
    process.stdin.close()
    process.wait(10)
    output.unlink()
    equal(confinement(), wanted)
    for capabilities in "CapInh", "CapPrm", "CapEff", "CapAmb":
        equal(int(status[capabilities], 16), 0)
    if os.geteuid() == 0:
        equal((status["Uid"].split(), status["Gid"].split()), (["65534"] * 4,) * 2)
        equal(status["Groups"].split(), [])


@case
def private_layout():
    """root's private layout can be read after root has been given up"""
    made = layout()
    made.image([SMALL])
    for path in made.path, made.path / "blobs", made.path / "blobs/sha256":
        path.chmod(0o700)
    for path in (made.path / "blobs/sha256").iterdir():
        path.chmod(0o600)
    equal(ember_image(*words(made)).status, 0)


@case
def growable():
    """the image can be grown to 64 GiB"""
    run = ember_image(*tars([SMALL]))
    with open(run.output, "r+b") as f:
        f.truncate(64 << 30)
    subprocess.run(["resize2fs", run.output], check=True, capture_output=True)
    check_filesystem(run.output)
    run.output.unlink()


if __name__ == "__main__":
    main()
