#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a scripted workload did is what the log says: paths, operations, byte ranges, processes,
errors.  A changed bit is found.  What was kept elsewhere (first key, a checkpoint) fits."""
import collections
import json
import os
import random
import subprocess
import sys

from harness import ROOT, VDISKCTL, Case, need_fuse, need_tools, qemu_chain, run

need_tools("qemu-img", "qemu-io")
need_fuse()

WORKLOAD = r"""
import mmap, os, sys
mnt = sys.argv[1]
fd = os.open(mnt + "/disk.img", os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 1 << 16)
for off, length in ((0, 4096), (1 << 20, 65536), (8192, 512)):
    assert os.preadv(fd, [memoryview(buffer)[:length]], off) == length
os.close(fd)
os.listdir(mnt)
os.listdir(mnt + "/p0")
open(mnt + "/p0/info.txt").read()
try:
    os.stat(mnt + "/not-there")
except FileNotFoundError:
    pass
os.getxattr(mnt + "/disk.img", os.listxattr(mnt + "/disk.img")[0])
"""


# Direct reads, which the kernel passes on one by one: in order, backwards, anywhere, twice; by two files in turn.
READS = r"""
import json, mmap, os, sys
buffer = mmap.mmap(-1, 1 << 16)
fds = [os.open(path, os.O_RDONLY | os.O_DIRECT) for path in sys.argv[1:]]
for which, off, length in json.load(sys.stdin):
    assert os.preadv(fds[which], [memoryview(buffer)[:length]], off) == length
"""


def ranges(records, path, nodes):
    return {(r["off"], r["len"]) for r in records if r["op"] == "READ" and nodes.get(r["obj"]) == path}


def spans(record):
    return record.get("ranges", [[record["off"], record["len"]]])


def check_merged(case, image):
    """Every read of a workload is in the log: how many, which bytes, how often each, when."""
    generator, reads = random.Random(5), []
    for part in range(40):
        kind, which, start = part % 5, part // 5 % 2, 4096 * generator.randrange(512)
        for i in range(generator.randrange(1, 60)):
            off = {0: start + 4096 * i, 1: start - 4096 * i, 2: 4096 * generator.randrange(1000), 3: 4096 * (i % 7)}
            reads.append((i % 2 if kind == 4 else which, max(0, off.get(kind, 4096 * i)), 4096))
    with case.mounted(image) as mnt:
        child = subprocess.Popen([sys.executable, "-c", READS, f"{mnt}/disk.img", f"{mnt}/p0/volume.img"],
                                 stdin=subprocess.PIPE, text=True)
        child.communicate(json.dumps(reads))
        assert child.returncode == 0
    records = case.records()
    mine = next(r["off"] for r in records if r["op"] == "PROC" and r["pid"] == child.pid)
    nodes = {r["obj"]: r["path"] for r in records if r["op"] == "OPEN" and r.get("proc") == mine}
    asked, told, count = collections.Counter(), collections.Counter(), collections.Counter()
    for which, off, length in reads:
        asked.update((("disk.img", "p0/volume.img")[which], sector) for sector in range(off, off + length, 512))
    found = [r for r in records if r["op"] == "READ" and r.get("proc") == mine]
    for record in found:
        path = nodes[record["obj"]]
        count[path] += record.get("reads", 1)
        assert record.get("until", record["time"]) >= record["time"]
        assert sum(length for _, length in spans(record)) == record["len"], record
        for off, length in spans(record):
            told.update((path, sector) for sector in range(off, off + length, 512))
    assert count == collections.Counter(("disk.img", "p0/volume.img")[which] for which, _, _ in reads), count
    assert told == asked
    numbers = [(r["seq"], r["seq"] + r["reads"]) for r in found if "reads" in r]
    assert len(numbers) >= 5 and len(found) < len(reads) // 2, (len(numbers), len(found), len(reads))
    assert not any(a <= r["seq"] < b for r in records for a, b in numbers if r["seq"] != a), "a number given twice"
    case.verify("INTACT closed")
    second = run(os.path.join(ROOT, "scripts", "verify-audit-log"), case.sessions()[-1])
    assert second.stdout.startswith(b"INTACT closed "), second.stdout


with Case("audit") as case:
    names = qemu_chain(case.evidence, 2, 4 << 20)
    with case.mounted(names[-1], "case_id=K-17", "examiner=Ada L.", "evidence_id=E\\,1") as mnt:
        child = subprocess.Popen([sys.executable, "-c", WORKLOAD, mnt])
        assert child.wait() == 0
        pid = child.pid
        with open(f"{mnt}/info.json", encoding="utf-8") as info:
            key = json.load(info)["session"]["audit_key"]
    records = case.records()
    # the key that was shown is the log's; another one is not
    assert f"audit log key: {key}\n" in case.errors(), case.errors()
    known = case.sessions()[-1]
    assert run(VDISKCTL, "audit", "verify", "--key", key, known).stdout.startswith(b"INTACT closed\n")
    with open(os.path.join(known, "checkpoints"), encoding="utf-8") as file:
        last_note = "vdiskfs/" + file.read().split("\nvdiskfs/")[-1].removeprefix("vdiskfs/")
    ops = [r["op"] for r in records]

    first, last = records[0], records[-1]
    assert first["op"] == "SESSION_OPEN" and last["op"] == "SESSION_CLOSE", (first, last)
    assert first["case_id"] == "K-17" and first["examiner"] == "Ada L." and first["evidence_id"] == "E,1", first
    evidence = {r["name"] for r in records if r["op"] == "EVIDENCE"}
    assert evidence == set(names), evidence
    assert "MOUNTED" in ops

    mine = {r["off"] for r in records if r["op"] == "PROC" and r["pid"] == pid}
    assert len(mine) == 1, "one process, one identity"
    proc = next(r for r in records if r["op"] == "PROC" and r["pid"] == pid)
    assert os.path.realpath(sys.executable) == proc["exe"] and proc["uid"] == os.getuid(), proc
    work = [r for r in records if r.get("proc") in mine]
    nodes = {r["obj"]: r["path"] for r in work if r["op"] in ("OPEN", "OPENDIR")}
    opened = sorted(r["path"] for r in work if r["op"] == "OPEN")
    assert opened == ["disk.img", "p0/info.txt"], opened
    listed = sorted(r["path"] for r in work if r["op"] == "OPENDIR")
    assert listed == ["", "p0"], listed
    assert ranges(work, "disk.img", nodes) == {(0, 4096), (1 << 20, 65536), (8192, 512)}
    read = sum(r["len"] for r in work if r["op"] == "READ" and nodes.get(r["obj"]) == "p0/info.txt")
    assert read > 0
    missing = [r for r in work if r["op"] == "LOOKUP" and r.get("name") == "not-there"]
    assert missing and missing[0]["result"] == -2, missing
    assert any(r["op"] == "GETXATTR" for r in work) and any(r["op"] == "LISTXATTR" for r in work)
    # RELEASE may come from the kernel after close(2) returned, without a process
    released = [r for r in records if r["op"] == "RELEASE" and nodes.get(r["obj"])]
    assert len(released) >= 2, released

    # every byte of a log counts: flip one bit in a spread of places
    session = case.sessions()[-1]
    segment = os.path.join(session, "000000.vlog")
    os.chmod(segment, 0o600)
    with open(segment, "r+b") as log:
        size = log.seek(0, 2)
        for place in {0, 5, 60, 100, size // 3, size // 2, size - 70, size - 1}:
            log.seek(place)
            byte = log.read(1)[0]
            log.seek(place)
            log.write(bytes([byte ^ 0x10]))
            log.flush()
            result = run(VDISKCTL, "audit", "verify", session, check=False)
            assert result.returncode == 7, f"a changed bit at {place} was not found: {result.stdout!r}"
            log.seek(place)
            log.write(bytes([byte]))
            log.flush()
    case.verify("INTACT closed")

    # the next session notes the last checkpoint of this one: it is an anchor
    with case.mounted(names[-1]):
        pass
    assert case.sessions()[-1] != known
    noted = case.records()[0]["previous_note"].replace("\\x0a", "\n")
    assert noted == last_note, (noted, last_note)
    anchor = os.path.join(case.dir, "anchor")
    with open(anchor, "w", encoding="utf-8") as file:
        file.write(noted)
    assert b"anchors    1 fit" in run(VDISKCTL, "audit", "verify", "--anchor", anchor, known).stdout
    assert run(VDISKCTL, "audit", "verify", "--key", key, case.sessions()[-1], check=False).returncode == 7
    assert run(VDISKCTL, "audit", "verify", "--anchor", anchor, case.sessions()[-1], check=False).returncode == 1
    verifier = os.path.join(ROOT, "scripts", "verify-audit-log")
    assert run(verifier, "--key", key, "--anchor", anchor, known).stdout.startswith(b"INTACT closed ")
    check_merged(case, names[-1])
print("the log tells what was done")
