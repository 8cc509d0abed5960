#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Differencing VHDs: the writers' model, libvhdi and we.

    chain.py MKIMAGE

We must agree with the model always.  libvhdi (20210425) is a second reader of the same files where it
is right.  It takes the bits most significant first, but goes over from "in this file" to "in the parent"
at the next byte of the bitmap only: clear bits behind a set one of the same byte give what the child
happens to store there.  Where that makes a difference its answer is worked out from the file with that
rule, which shows that nothing else differs.
"""
import os
import random
import struct
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "e2e"))
from harness import VDISKCTL, need_fuse, need_tools, run, sha256_file  # noqa: E402

import hashlib  # noqa: E402
import tempfile  # noqa: E402

SECTOR = 512


def hash_of(path):
    return run(VDISKCTL, "hash", "--disk-only", path).stdout.split()[0].decode()


def libvhdi(folder, name):
    """All disks of the chain as libvhdi shows them, base first."""
    mnt = os.path.join(folder, "mnt")
    os.makedirs(mnt, exist_ok=True)
    run("vhdimount", os.path.join(folder, name), mnt)
    try:
        disks = []
        for number in range(1, 10):
            path = f"{mnt}/vhdi{number}"
            if not os.path.exists(path):
                break
            with open(path, "rb") as file:
                disks.append(file.read())
        return disks
    finally:
        subprocess.run(["fusermount", "-u", mnt], check=True)


def with_libvhdis_rule(path, parent):
    """The disk of a child when all bits behind a set one of a bitmap's byte count as set."""
    with open(path, "rb") as file:
        data = file.read()
    header = data[struct.unpack_from(">Q", data, 16)[0]:]
    table, = struct.unpack_from(">Q", header, 16)
    blocks, size = struct.unpack_from(">II", header, 28)
    bitmap_len = -(-size // SECTOR // 8 // SECTOR) * SECTOR
    disk = bytearray(parent)
    for block in range(blocks):
        entry, = struct.unpack_from(">I", data, table + 4 * block)
        if entry == 0xffffffff:
            continue
        at = entry * SECTOR
        for sector in range(size // SECTOR):
            if data[at + sector // 8] >> 7 - sector % 8:
                stored = at + bitmap_len + sector * SECTOR
                off = block * size + sector * SECTOR
                disk[off:off + SECTOR] = data[stored:stored + SECTOR]
    return bytes(disk)


def make(mkimage, folder, *members):
    run(mkimage, folder, "expect=all", *members)


def agree_all(mkimage, folder):
    """Content that changes every 4 KiB at most: all three are the same."""
    make(mkimage, folder, "member", "kind=vhd-dynamic", "name=base.vhd", "size=8M", "seed=3", "density=60",
         "member", "kind=vhd-diff", "name=mid.vhd", "id=2", "run=4096+8192:data:7", "run=3M+64K:data:8",
         "member", "kind=vhd-diff", "name=tip.avhd", "id=3", "run=8192+20480:data:9", "run=6M+2M:data:10",
         "knob=junk", "knob=shuffle:4")
    shown = libvhdi(folder, "tip.avhd")
    assert len(shown) == 3, len(shown)
    for name, disk in zip(("base.vhd", "mid.vhd", "tip.avhd"), shown):
        model = sha256_file(f"{folder}/{name}.raw")
        assert hash_of(f"{folder}/{name}") == model, f"{name}: we differ from the model"
        assert hashlib.sha256(disk).hexdigest() == model, f"{name}: libvhdi differs from the model"
    print("bitmaps of whole bytes: model, libvhdi and we agree on 3 disks")


def differ_within_bytes(mkimage, folder, seed):
    dice = random.Random(seed)
    runs = [f"run={512 * dice.randrange(12000)}+{512 * dice.randrange(1, 30)}:data:{i}" for i in range(2, 60)]
    make(mkimage, folder, "member", "kind=vhd-fixed", "name=base.vhd", "size=6M", "run=0+6M:data:1",
         "member", "kind=vhd-diff", "name=child.vhd", "id=2", "knob=junk", *runs)
    with open(f"{folder}/child.vhd.raw", "rb") as file:
        model = file.read()
    assert hash_of(f"{folder}/child.vhd") == hashlib.sha256(model).hexdigest(), "we differ from the model"
    base, child = libvhdi(folder, "child.vhd")
    assert child != model, "libvhdi reads bitmaps right now: make it the judge of everything"
    assert child == with_libvhdis_rule(f"{folder}/child.vhd", base), "libvhdi differs by more than that"


def main():
    need_fuse()
    need_tools("vhdimount", "fusermount")
    with tempfile.TemporaryDirectory(prefix="vdiskfs-vhd-") as folder:
        agree_all(sys.argv[1], folder)
    for seed in (1, 20, 300):
        with tempfile.TemporaryDirectory(prefix="vdiskfs-vhd-") as folder:
            differ_within_bytes(sys.argv[1], folder, seed)
    print("bitmaps of single sectors: we agree with the model; libvhdi differs by that rule alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
