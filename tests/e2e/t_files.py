#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The sample chain's files, NTFS and ext4, against what sleuthkit and debugfs say of the disk that
qemu-img makes of the chain; links stay inside; the log directory, info and gaps are as described."""
import hashlib
import json
import os
import re

from harness import ROOT, VDISKCTL, Case, need_fuse, need_tools, reference_raw, run, sha256_file

need_tools("qemu-img", "qemu-io", "fls", "icat", "debugfs", "mkntfs", "mke2fs", "sgdisk")
need_fuse()


def sleuthkit_files(raw, sector):
    """{path: sha256} of the allocated regular files that fls lists and icat reads."""
    listing = run("fls", "-r", "-p", "-F", "-u", "-o", sector, raw).stdout.decode()
    found = {}
    for line in listing.splitlines():
        kind, rest = line.split(" ", 1)
        address, path = rest.split(":\t", 1)
        if not kind.startswith("r/r") or "-144-" in address:  # 144: an index, which is no stream of data
            continue
        found[path] = hashlib.sha256(run("icat", "-o", sector, raw, address).stdout).hexdigest()
    return found


def mounted_files(top):
    found = {}
    for base, _, names in os.walk(top):
        for name in names:
            path = os.path.join(base, name)
            if os.path.isfile(path) and not os.path.islink(path):
                found[os.path.relpath(path, top)] = sha256_file(path)
    return found


with Case("files") as case:
    run(os.path.join(ROOT, "scripts", "make-sample"), case.evidence)
    raw = reference_raw(case.path("sample-000002.vmdk"), os.path.join(case.dir, "raw"))
    with case.mounted("sample-000002.vmdk") as mnt:
        assert sorted(os.listdir(mnt)) == ["disk.img", "gaps", "info.json", "info.txt", "p1", "p2",
                                            "snapshots"]
        assert sha256_file(f"{mnt}/disk.img") == sha256_file(raw)
        for part, sector in (("p1", 2048), ("p2", 17 * 2048)):
            theirs = sleuthkit_files(raw, sector)
            ours = mounted_files(f"{mnt}/{part}/fs")
            for path, digest in theirs.items():
                if path == "$BadClus:$Bad":  # all hole: icat 4.11.1 prints nothing instead of zeros
                    continue
                if ":" in path:  # an alternate data stream: not listed, but it opens
                    assert sha256_file(f"{mnt}/{part}/fs/{path}") == digest, path
                    continue
                assert ours.get(path) == digest, f"{part}: {path}: {ours.get(path)} != {digest}"
            extra = {p for p in ours if p not in theirs and not p.startswith("$")}
            assert not extra, f"{part}: not seen by sleuthkit: {extra}"
        assert "note.txt" not in os.listdir(f"{mnt}/p2/fs/home/alice"), "deleted in the third point in time"

        # attributes and times are the evidence's own
        inode = run("debugfs", "-R", "stat /home/alice/todo.txt",
                    f"{raw}?offset={17 << 20}").stdout.decode()
        st = os.stat(f"{mnt}/p2/fs/home/alice/todo.txt")
        assert int(re.search(r"Inode: (\d+)", inode).group(1)) == st.st_ino & ((1 << 45) - 1)
        mtime = int(re.search(r"mtime: 0x([0-9a-f]+)", inode).group(1), 16)
        assert mtime == int(st.st_mtime), (inode, st)
        assert os.getxattr(f"{mnt}/p2/fs/home/alice/todo.txt", "user.vdiskfs.address") == \
            str(st.st_ino & ((1 << 45) - 1)).encode()

        # an absolute link leads to the file in the evidence, not to ours
        link = f"{mnt}/p2/fs/home/alice/link-to-passwd"
        assert os.path.realpath(link) == f"{mnt}/p2/fs/etc/passwd", os.readlink(link)
        assert os.getxattr(link, "vdiskfs.link_raw", follow_symlinks=False) == b"/etc/passwd"

        # the same in every mount
        numbers = {p: os.lstat(os.path.join(mnt, p)).st_ino for p in ("disk.img", "p1/fs", "p2/fs/etc/passwd")}
        # everything of the disk is in a partition or in a gap
        parts = sum(os.path.getsize(f"{mnt}/{p}/volume.img") for p in ("p1", "p2"))
        gaps = sum(os.path.getsize(os.path.join(mnt, "gaps", n)) for n in os.listdir(f"{mnt}/gaps"))
        assert parts + gaps == os.path.getsize(f"{mnt}/disk.img")
        info = json.load(open(f"{mnt}/info.json", encoding="utf-8"))
        assert json.loads(run(VDISKCTL, "info", "--json", case.path("sample-000002.vmdk")).stdout).keys() == info.keys()
    with case.mounted("sample-000002.vmdk") as mnt:
        for path, number in numbers.items():
            assert os.lstat(os.path.join(mnt, path)).st_ino == number

    hashes = dict(reversed(line.split("  ", 1)) for line in
                  run(VDISKCTL, "hash", case.path("sample-000002.vmdk")).stdout.decode().splitlines())
    assert hashes["disk.img"] == sha256_file(raw)
    for name in ("sample.vmdk", "sample-000001.vmdk", "sample-000002.vmdk"):
        assert hashes[name] == sha256_file(case.path(name)), name
print("files, attributes, links, gaps, hashes: as other tools say")
