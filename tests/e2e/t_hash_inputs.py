#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""hash_inputs=sha256: what the log says is what sha256sum says, for every file of a chain; an unmount
does not wait for it and the log says how far it got; a file that changes is found out, with a
hash never."""
import json
import os
import time

from harness import VDISKCTL, Case, make_raw, need_fuse, need_tools, qemu_chain, run, sha256_file, wait_until

need_tools("qemu-img", "qemu-io")
need_fuse()


def hashes(case):
    text = run(VDISKCTL, "audit", "show", "--json", "--op", "EVIDENCE_HASH", case.sessions()[-1]).stdout
    return [json.loads(line) for line in text.splitlines()]


def facts(case, key):
    return [(r["op"], r["text"]) for r in case.records() if r.get("key") == key]


def done(case, n):
    return wait_until(lambda: len(hashes(case)) >= n, 20)


with Case("hash") as case:
    names = qemu_chain(case.evidence, 3, 4 << 20)
    make_raw(case.path("unrelated.raw"), 1 << 20, 3)
    with case.mounted(names[-1], "hash_inputs=sha256") as mnt:
        assert done(case, 3), hashes(case)
        os.listdir(mnt)
    records = hashes(case)
    assert {r["name"] for r in records} == set(names) and len(records) == 3, records
    for r in records:
        path = case.path(r["name"])
        st = os.stat(path)
        assert r["sha256"] == sha256_file(path) and r["result"] == 0, r
        assert r["off"] == r["len"] == st.st_size and r["ino"] == st.st_ino and r["dev"] == st.st_dev, (r, st)
    assert facts(case, "hash_inputs")[-1][0] == "FACT" and "3 of 3 files" in facts(case, "hash_inputs")[-1][1]
    assert facts(case, "changes") == [("FACT", "none")], facts(case, "changes")
    # not asked for: none
    with case.mounted(names[-1], "hash_inputs=none"):
        time.sleep(0.2)
    assert not hashes(case) and not facts(case, "hash_inputs")
    assert facts(case, "changes") == [("FACT", "none")]
    code, text = case.refused(names[-1], "hash_inputs=md5")
    assert code == 1 and "neither none nor sha256" in text, text

    # a file of 1 TiB, almost all hole: reads go on, the end comes at once, the log says how far it got
    with open(case.path("big.raw"), "wb") as big:
        big.truncate(1 << 40)
        big.seek(1 << 20)
        big.write(os.urandom(1 << 20))
    with case.mounted("big.raw", "hash_inputs=sha256", unchanged=False) as mnt:
        time.sleep(0.7)
        start = time.monotonic()
        with open(os.path.join(mnt, "disk.img"), "rb", buffering=0) as disk:
            disk.seek(1 << 20)
            assert len(disk.read(1 << 20)) == 1 << 20
        took = time.monotonic() - start
        with open(f"/proc/{case.process.pid}/task/{case.process.pid}/children", encoding="ascii") as file:
            worker = int(file.read().split()[0])
        classes = []
        for task in os.listdir(f"/proc/{worker}/task"):
            with open(f"/proc/{worker}/task/{task}/stat", encoding="ascii", errors="replace") as file:
                classes.append(int(file.read().rpartition(")")[2].split()[38]))
        assert classes.count(5) == 1, f"one thread of SCHED_IDLE: {classes}"
        start = time.monotonic()
        run("umount", mnt)
        case.process.wait(10)
        assert time.monotonic() - start < 3, f"{time.monotonic() - start:.2f} s until the end"
    (record,) = hashes(case)
    assert record["result"] == -125 and "sha256" not in record and record["len"] == 1 << 40, record  # ECANCELED
    assert record["text"] == f"not completed: {record['off']} of {1 << 40} bytes" and 0 < record["off"] < 1 << 40
    op, text = facts(case, "hash_inputs")[-1]
    assert op == "WARNING" and text.startswith("0 of 1 files hashed; "), text
    print(f"read beside the hashing: {took * 1000:.0f} ms for 1 MiB; hashed {record['off'] >> 20} MiB until the end")

    # somebody changes a file while it is hashed, and another way afterwards
    with case.mounted("big.raw", "hash_inputs=sha256", unchanged=False) as mnt:
        time.sleep(0.3)
        os.utime(case.path("big.raw"), ns=(1, 1))
        assert wait_until(lambda: any(r["op"] == "EVIDENCE_CHANGED" for r in case.records()), 5)
    assert "time of modification" in next(r["text"] for r in case.records() if r["op"] == "EVIDENCE_CHANGED")
    assert facts(case, "changes")[0][0] == "WARNING", facts(case, "changes")
    assert "big.raw: changed while it was mounted" in case.errors(), case.errors()

    make_raw(case.path("small.raw"), 8 << 20, 9)
    with case.mounted("small.raw", "hash_inputs=sha256", unchanged=False) as mnt:
        assert done(case, 1)
        with open(case.path("small.raw"), "r+b") as file:
            file.truncate(9 << 20)
        os.chmod(case.path("small.raw"), 0o600)
        assert wait_until(lambda: any(r["op"] == "EVIDENCE_CHANGED" for r in case.records()), 5)
    (record,) = hashes(case)  # what was hashed was still the file that was opened
    assert record["result"] == 0 and record["len"] == 8 << 20, record
    changed = [r for r in case.records() if r["op"] == "EVIDENCE_CHANGED"]
    assert changed[0]["len"] == 9 << 20 and "its size" in changed[0]["text"], changed
print("hashes in the log are those of the files")
