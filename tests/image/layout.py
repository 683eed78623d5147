"""Layers and OCI layouts for the tests, made by hand so that each says exactly what it should."""

import gzip
import hashlib
import io
import json
import os
import pathlib
import tarfile

LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


class Layer:
    """A tar being written; every method adds one member and returns the layer."""

    def __init__(self, tar_format=tarfile.PAX_FORMAT):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tar_format, encoding="utf-8",
                                errors="surrogateescape")

    def add(self, name, kind, data=b"", **fields):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mode = kind, len(data), 0o644
        for key, value in fields.items():
            setattr(info, key, value)
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def file(self, name, data=b"", **fields):
        return self.add(name, tarfile.REGTYPE, data, **fields)

    def dir(self, name, **fields):
        return self.add(name, tarfile.DIRTYPE, **{"mode": 0o755, **fields})

    def symlink(self, name, target, **fields):
        return self.add(name, tarfile.SYMTYPE, linkname=target, **fields)

    def link(self, name, target, **fields):
        return self.add(name, tarfile.LNKTYPE, linkname=target, **fields)

    def whiteout(self, name):
        head, _, base = name.rpartition("/")
        return self.file((head + "/" if head else "") + ".wh." + base)

    def opaque(self, name):
        return self.file(name + "/.wh..wh..opq")

    def pax(self, records, kind=tarfile.XHDTYPE):
        """A pax header by itself, its records in this order, even twice."""
        body = b""
        for key, value in records:
            record = b" " + key.encode() + b"=" + (value if isinstance(value, bytes) else value.encode()) + b"\n"
            length = len(record) + 1
            while length != len(record) + len(str(length)):
                length = len(record) + len(str(length))
            body += str(length).encode() + record
        return self.add("pax", kind, body)

    def raw(self):
        self.tar.close()
        return self.bytes.getvalue()


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Layout:
    """An OCI layout in a directory."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.entries = []

    def blob(self, data, media_type, **fields):
        (self.path / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data), **fields}

    def document(self, doc, media_type, **fields):
        return self.blob(json.dumps(doc).encode(), media_type, **fields)

    def image(self, layers, tag="latest", compress=gzip.compress, media_type=LAYER + "+gzip",
              config=None, index=True, manifest=None, **fields):
        """Add an image; `layers` are raw tars. Returns the manifest's descriptor."""
        doc = {"created": "2024-05-06T07:08:09Z", "os": "linux", "architecture": ARCHITECTURE,
               "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
               "config": {}, **(config or {})}
        body = {"schemaVersion": 2, "mediaType": MANIFEST,
                "config": self.document(doc, CONFIG),
                "layers": [self.blob(compress(layer), media_type) for layer in layers],
                **(manifest or {})}
        if tag:
            fields["annotations"] = {"org.opencontainers.image.ref.name": tag}
        descriptor = self.document(body, MANIFEST, **fields)
        if index:
            self.add(descriptor)
        return descriptor

    def add(self, descriptor):
        self.entries.append(descriptor)
        (self.path / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}))
