#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""snapshot= shows the disk of any point by number, file name and name in the .vmsd, bit-identical to
`qemu-img convert` of that member; what is unknown, ambiguous or on another branch is refused with
exit code 1.  unverified_chain and all warnings of the chain are in the log before anything is read."""
import os
import re
import shutil

from harness import Case, need_fuse, need_tools, qemu_chain, reference_raw, run, sha256_file

need_tools("qemu-img", "qemu-io")
need_fuse()

VMSD = """.encoding = "UTF-8"
snapshot.current = "3"
snapshot.numSnapshots = "4"
snapshot0.uid = "1"
snapshot0.displayName = "Clean install"
snapshot0.description = "as delivered"
snapshot0.createTimeHigh = "388745"
snapshot0.createTimeLow = "1991180826"
snapshot0.disk0.fileName = "{0}"
snapshot0.disk0.node = "scsi0:0"
snapshot1.uid = "2"
snapshot1.parent = "1"
snapshot1.displayName = "before; update, |22now|22"
snapshot1.disk0.fileName = "{1}"
snapshot2.uid = "3"
snapshot2.parent = "1"
snapshot2.displayName = "experiment"
snapshot2.disk0.fileName = "{branch}"
snapshot3.uid = "4"
snapshot3.displayName = "Clean install"
snapshot3.disk0.fileName = "{2}"
"""


def change_cid(path):
    with open(path, "r+b") as file:
        match = re.search(rb"\nCID=([0-9a-f]+)", file.read(65536))
        file.seek(match.start(1))
        file.write(match.group(1)[:-1] + (b"1" if match.group(1)[-1:] == b"0" else b"0"))


with Case("snapshot") as case:
    names = qemu_chain(case.evidence, 4, 8 << 20)  # base first
    tip = names[-1]
    expected = [sha256_file(reference_raw(case.path(name), os.path.join(case.dir, "x.raw"))) for name in names]
    branch = "disk-000009.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", "-b", names[0], "-F", "vmdk", branch, cwd=case.evidence)
    with open(case.path("disk.vmsd"), "w", encoding="utf-8") as file:
        file.write(VMSD.format(*names, branch=branch))

    points = {"0": 0, "1": 1, "03": 3, "tip": 3, names[0]: 0, names[2]: 2, 'before; update\\, "now"': 1}
    for word, member in points.items():
        with case.mounted(tip, f"snapshot={word}", unchanged=False) as mnt:
            assert sha256_file(f"{mnt}/disk.img") == expected[member], f"snapshot={word}"
            text = open(f"{mnt}/info.txt", encoding="utf-8").read()
        assert names[member] in text and "before; update" in text, text
        records = case.records()
        assert any("chosen by snapshot=" in str(record) for record in records), word
    for word, part in (("4", "there is no such point; there are: 0 disk.vmdk"), ("nonsense", "no such point"),
                       ("experiment", f"its disk is {branch}: open that file instead"),
                       ("Clean install", "can mean 2 things"), ("", "empty value")):
        code, message = case.refused(tip, f"snapshot={word}")
        assert code == 1 and part in message, f"snapshot={word}: exit {code}: {message}"

    # the file that the refusal names does show that state
    with case.mounted(branch, unchanged=False) as mnt:
        assert sha256_file(f"{mnt}/disk.img") == expected[0]
        assert names[1] in open(f"{mnt}/info.txt", encoding="utf-8").read()  # another child of the base

    for chain in ("", ":", f"{tip}:", f"{tip}::{names[2]}"):
        code, message = case.refused(tip, f"chain={chain}")
        assert code == 1 and "empty name" in message, f"chain={chain}: exit {code}: {message}"

    # what lies above the point is verified all the same
    shutil.copy(case.path(names[2]), os.path.join(case.dir, "kept"))
    change_cid(case.path(names[2]))
    code, message = case.refused(tip, "snapshot=0")
    assert code == 3 and names[2] in message, f"exit {code}: {message}"

    # unverified_chain: shown, and on the record before the first read
    with case.mounted(tip, "unverified_chain", unchanged=False) as mnt:
        assert sha256_file(f"{mnt}/disk.img") == expected[3]  # only the CID was changed
        text = open(f"{mnt}/info.txt", encoding="utf-8").read()
    assert "unverified_chain was given" in text.split("WARNINGS")[1].split("CHAIN")[0]
    records = [str(record) for record in case.records()]
    told = next(i for i, text in enumerate(records) if "may never have existed" in text)
    option = next(i for i, text in enumerate(records) if "'unverified_chain'" in text or "\"unverified_chain\"" in text)
    reads = [i for i, text in enumerate(records) if "disk.img" in text]
    assert option < told < min(reads), (option, told, reads[:1])
print(f"{len(points)} ways to name a point; refusals name what there is; unverified_chain is on the record")
