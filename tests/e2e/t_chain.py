#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A chain of 8 made by qemu-img: the disk is bit-identical to `qemu-img convert` of its tip; with
any member removed or its CID changed the mount is refused and the message names the member."""
import os
import re

from harness import Case, need_fuse, need_tools, qemu_chain, reference_raw, sha256_file

need_tools("qemu-img", "qemu-io")
need_fuse()

DEPTH = 8


def change_cid(path):
    with open(path, "r+b") as file:
        head = file.read(65536)
        match = re.search(rb"\nCID=([0-9a-f]+)", head)  # qemu writes no leading zeros
        assert match, f"{path}: no CID"
        old = match.group(1)
        new = old[:-1] + (b"1" if old[-1:] == b"0" else b"0")
        file.seek(match.start(1))
        file.write(new)
        return match.start(1), old


def restore_cid(path, place):
    with open(path, "r+b") as file:
        file.seek(place[0])
        file.write(place[1])


with Case("chain") as case:
    names = qemu_chain(case.evidence, DEPTH, 16 << 20)
    tip = names[-1]
    expected = sha256_file(reference_raw(case.path(tip), os.path.join(case.dir, "expected.raw")))
    with case.mounted(tip) as mnt:
        assert sha256_file(f"{mnt}/disk.img") == expected
        text = open(f"{mnt}/info.txt", encoding="utf-8").read()
        for name in names:
            assert name in text, f"info.txt does not name {name}"

    for name in names[:-1]:
        os.rename(case.path(name), os.path.join(case.dir, "away"))
        code, message = case.refused(tip)
        os.rename(os.path.join(case.dir, "away"), case.path(name))
        assert code == 3 and name in message, f"{name} removed: exit {code}: {message}"

        place = change_cid(case.path(name))
        code, message = case.refused(tip)
        restore_cid(case.path(name), place)
        assert code == 3 and name in message, f"{name} with another CID: exit {code}: {message}"

    # a member that is not the tip: shown as of that time, with a warning that names the newer file
    middle = sha256_file(reference_raw(case.path(names[3]), os.path.join(case.dir, "middle.raw")))
    with case.mounted(names[3]) as mnt:
        assert sha256_file(f"{mnt}/disk.img") == middle
        assert names[4] in open(f"{mnt}/info.txt", encoding="utf-8").read()

    # a member that was renamed is found by its identity
    os.rename(case.path(names[0]), case.path("renamed-by-a-colleague.vmdk"))
    with case.mounted(tip) as mnt:
        assert sha256_file(f"{mnt}/disk.img") == expected
print("chain of 8: identical; every missing or changed member named")
