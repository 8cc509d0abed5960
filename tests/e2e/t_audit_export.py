#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vdiskctl audit export`: what JSON and CSV parsers read is, line for line and field for field, what
`show --json` tells and verify counts; several sessions, a running one, filters, and a changed log."""
import csv
import json
import os
import subprocess
import sys

from harness import VDISKCTL, Case, need_fuse, need_tools, qemu_chain, run

need_tools("qemu-img", "qemu-io")
need_fuse()

WORKLOAD = r"""
import mmap, os, sys
mnt = sys.argv[1]
buffer = mmap.mmap(-1, 1 << 16)
fd = os.open(mnt + "/disk.img", os.O_RDONLY | os.O_DIRECT)
for off, length in ((0, 4096), (1 << 20, 65536), (8192, 512), (1 << 21, 512), (1 << 21, 512)):
    os.preadv(fd, [memoryview(buffer)[:length]], off)
os.close(fd)
os.listdir(mnt + "/p0")
for name in ("=1+1", "'x", "a\nb", "\x1b[2J", b"\xff\\", "\u202egpj.exe", '"q", "r"'):
    try:
        os.stat(os.path.join(os.fsencode(mnt), os.fsencode(name)))
    except OSError:
        pass
"""
MAX_TEXT = 32766
# key of `show --json` → key here
RENAMED = {"off": "offset", "len": "length"}
OF_PROCESS = ("pid", "comm", "uid", "gid", "exe")


def show(session):
    out = run(VDISKCTL, "audit", "show", "--json", session, check=False).stdout
    return [json.loads(line) for line in out.splitlines()]


def export(form, *words, code=0):
    result = run(VDISKCTL, "audit", "export", f"--format={form}", *words, check=False)
    assert result.returncode == code, (words, result)
    return result.stdout


def timesketch(out):
    lines = out.decode("utf-8").split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def same_timesketch(line, shown, session, verdict):
    """Every field of `show`, and those that the importer needs; numbers that OpenSearch can hold."""
    assert line.pop("message") and line.pop("timestamp_desc") and line.pop("data_type") == "vdiskfs:audit"
    moment = line.pop("datetime")
    assert moment == shown["time"][:26] + "+00:00", (moment, shown["time"])
    assert isinstance(line.pop("timestamp"), int)
    assert line.pop("session") == session and line.pop("log_verdict") == verdict
    expected = {RENAMED.get(key, key): value for key, value in shown.items()}
    obj = expected.pop("obj")
    if obj:
        expected["obj"] = str(obj)
    if "ranges" in expected:
        expected["ranges"] = ",".join(f"{off}+{length}" for off, length in expected["ranges"])
    for key in [key for key, value in expected.items() if isinstance(value, int) and value >= 1 << 63]:
        expected[key + "_u64"] = str(expected.pop(key))
    assert line == expected, (line, expected)


def unguarded(row):
    for key, value in row.items():
        assert value is not None and not value.startswith(("=", "+", "@", "\t", "\r")), (key, value)
        assert not value.startswith("-") or key == "result", (key, value)
    return {key: value.removeprefix("'") for key, value in row.items()}


def same_csv(row, shown, session, verdict, processes):
    text = {key: str(shown.get(RENAMED.get(key, key), "")) for key in
            ("seq", "frame", "time", "op", "result", "error", "path", "name", "reads", "until", "proc", "flags", "text")}
    for key, value in text.items():
        assert row[key] == value, (key, row, shown)
    assert row["session"] == session and row["log_verdict"] == verdict
    assert (row["offset"], row["length"]) == (str(shown["off"]), str(shown["len"]))
    assert row["obj"] == (str(shown["obj"]) if shown["obj"] else "")
    process = shown if shown["op"] == "PROC" else processes.get(shown.get("proc"), {})
    for key in OF_PROCESS:
        assert row[key] == str(process.get(key, "")), (key, row, shown)
    if "ranges" in shown:
        assert row["ranges"] == ",".join(f"{off}+{length}" for off, length in shown["ranges"])


def read_csv(out):
    text = out.decode("utf-8")
    assert text.endswith("\r\n") and "\n" not in text.replace("\r\n", "")
    rows = list(csv.DictReader(text.splitlines(keepends=True), strict=True))
    return [unguarded(row) for row in rows]


def reconcile(sessions, where):
    exported, rows = timesketch(export("timesketch", *where)), read_csv(export("csv", *where))
    at = 0
    for session in sessions:
        shown, name = show(session), os.path.basename(session)
        verify = json.loads(run(VDISKCTL, "audit", "verify", "--json", session, check=False).stdout)
        assert verify["records"] == len(shown)
        processes = {r["off"]: r for r in shown if r["op"] == "PROC"}
        for record in shown:
            same_timesketch(exported[at], record, name, verify["text"])
            same_csv(rows[at], record, name, verify["text"], processes)
            at += 1
    assert at == len(exported) == len(rows), (at, len(exported), len(rows))
    return at


with Case("audit-export") as case:
    names = qemu_chain(case.evidence, 2, 4 << 20)
    for options in (("case_id=K-1", "examiner==HYPERLINK(1)"), ("purpose=\"quoted\"",)):
        with case.mounted(names[-1], *options) as mnt:
            run(sys.executable, "-c", WORKLOAD, mnt)
            running = case.sessions()[-1]
            # a log that grows while it is read: what was verified is exported, no line is half
            for _ in range(3):
                lines = timesketch(export("timesketch", running))
                assert lines and all(line["log_verdict"] == "INTACT open (in use)" for line in lines)
    sessions = sorted(case.sessions())
    count = reconcile(sessions, [case.log])
    assert reconcile(sessions[1:], [sessions[1]]) < count
    print(f"{count} records of {len(sessions)} sessions: timesketch and csv are what show and verify tell")

    # filters are those of show
    for words in (("--op=READ",), ("--errors",), ("--path=disk.img", "--op=read,open")):
        wanted = [json.loads(line) for line in
                  run(VDISKCTL, "audit", "show", "--json", *words, sessions[0]).stdout.splitlines()]
        for form, read in (("timesketch", timesketch), ("csv", read_csv)):
            got = read(export(form, *words, sessions[0]))
            assert [int(line["seq"]) for line in got] == [r["seq"] for r in wanted] and got, words

    # a reader who goes away is no error
    read_end, write_end = os.pipe()
    os.close(read_end)
    gone = subprocess.run([VDISKCTL, "audit", "export", "--format=csv", sessions[0]], stdout=write_end,
                          stderr=subprocess.PIPE, check=False, restore_signals=False, timeout=60)
    os.close(write_end)
    assert gone.returncode == 0 and not gone.stderr, gone
    with open("/dev/full", "wb") as target:
        full = subprocess.run([VDISKCTL, "audit", "export", "--format=csv", sessions[0]], stdout=target,
                              stderr=subprocess.PIPE, check=False, timeout=60)
    assert full.returncode == 2 and b"output" in full.stderr, full

    # not beside the evidence, and whole or not at all
    out = os.path.join(case.dir, "out.jsonl")
    beside = os.path.join(case.evidence, "out.jsonl")
    assert b"evidence directory" in run(VDISKCTL, "audit", "export", "--format=csv", "-o", beside, sessions[0],
                                        check=False).stderr
    assert not os.path.exists(beside)
    export("timesketch", "-o", out, case.log)
    with open(out, "rb") as file:
        assert file.read() == export("timesketch", case.log)

    # a changed log: said in front and in every line, exit code 7; the intact one beside it as before
    segment = os.path.join(sessions[0], "000000.vlog")
    os.chmod(segment, 0o600)
    with open(segment, "r+b") as log:
        log.seek(-100, 2)
        byte = log.read(1)[0]
        log.seek(-100, 2)
        log.write(bytes([byte ^ 1]))
    intact = show(sessions[0])
    lines = timesketch(export("timesketch", case.log, code=7))
    assert "did not verify: TAMPERED at frame" in lines[0]["message"] and lines[0]["op"] == "VERDICT"
    assert "seq" not in lines[0] and all("TAMPERED" in line["log_verdict"] for line in lines[:len(intact) + 1])
    assert [line["seq"] for line in lines[1:len(intact) + 1]] == [r["seq"] for r in intact] and intact
    assert lines[len(intact) + 1]["log_verdict"] == "INTACT closed" and lines[len(intact) + 1]["seq"] == 0
    rows = read_csv(export("csv", sessions[0], code=7))
    assert rows[0]["op"] == "VERDICT" and rows[0]["seq"] == "" and "TAMPERED" in rows[0]["message"]
    assert len(rows) == len(intact) + 1 and rows[0]["text"], rows[0]
    assert all(len(value.encode()) <= MAX_TEXT for line in lines for value in line.values() if isinstance(value, str))
    document = json.loads(export("case", sessions[0], code=7))
    assert any("TAMPERED" in str(node.get("uco-core:tag")) for node in document["@graph"])
    print("a changed log is said in front of its intact records")
