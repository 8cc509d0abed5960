#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""audit_refused: the superblock is rw, so that what would modify reaches the program, is refused by it and is in
the log.  Every modifying call of the published table answers as the table says (again after a remount), evidence
stays as it was, files still show 0444 and directories 0555, and each EROFS that a caller saw is one REFUSED record.
The same for an ordinary user through fusermount3."""
import collections
import json
import os
import shutil
import subprocess

from harness import BIN, SANDBOX, TEST_BIN, Case, evidence_state, need_fuse, need_root, need_tools, run

need_tools("mkntfs", "mke2fs", "sgdisk", "qemu-img", "qemu-io", "runuser", "fusermount3")
need_root()
need_fuse()

HERE = os.path.dirname(os.path.abspath(__file__))
PROBER = next((os.path.join(base, "prober") for base, _, names in os.walk(TEST_BIN) if "prober" in names), None)
assert PROBER, f"the prober was not built below {TEST_BIN}"
TABLE = os.path.join(HERE, "write-calls.tsv")


def targets(mnt, outside):
    home = f"{mnt}/p2/fs/home/alice"
    return [mnt, f"{home}/todo.txt", home, f"{home}/link-to-passwd", f"{mnt}/disk.img", outside]


def answers(text):
    return [line.split("\t") for line in text.splitlines() if line.count("\t") == 2]


def probe(mnt, outside):
    result = run(PROBER, "--check", "rw", *targets(mnt, outside), check=False,
                 env={**os.environ, "VDISKFS_WRITE_CALLS": TABLE})
    assert result.returncode == 0, f"{result.stdout.decode()}\n{result.stderr.decode()}"
    return answers(result.stdout.decode())


def check_records(records, rows, whose, least):
    """One REFUSED record per EROFS, and each names the operation and what it was tried on."""
    refused = [r for r in records if r["op"] == "REFUSED"]
    erofs = [r for r in refused if r["result"] == -30]
    expected = sum(row[2] == "EROFS" for row in rows)
    assert expected >= least, f"{whose}: only {expected} calls were answered EROFS"
    assert len(erofs) == expected, \
        f"{whose}: {expected} calls were answered EROFS, {len(erofs)} are in the log: " \
        f"{collections.Counter(r['key'] for r in erofs)}"
    assert all(r["key"] and "path" in r for r in refused), refused
    assert all(r.get("proc") for r in refused), "each refusal says who tried"
    return len(erofs), len(refused)


def check_modes(mnt):
    for base, names, files in os.walk(mnt):
        for path in [base] + [os.path.join(base, name) for name in files]:
            mode = os.lstat(path).st_mode
            assert mode & 0o222 == 0 or mode & 0o170000 == 0o120000, f"{path}: mode {mode:o}"
        del names[20:]


with Case("refused") as case:
    run(os.path.join(HERE, "..", "..", "scripts", "make-sample"), case.evidence)
    outside = os.path.join(case.dir, "outside")
    os.mkdir(outside)
    with case.mounted("sample-000002.vmdk", "audit_refused") as mnt:
        line = next(line for line in open("/proc/self/mounts", encoding="utf-8") if f" {mnt} " in line)
        assert {"rw", "nosuid", "nodev", "noexec"} <= set(line.split()[3].split(",")), line
        check_modes(mnt)
        with open(f"{mnt}/info.json", encoding="utf-8") as info:
            assert json.load(info)["session"]["audit_mode"] == "requests+refused"
        rows = probe(mnt, outside)
        run("mount", "-i", "-o", "remount,rw,nosuid,nodev,noexec", mnt)
        again = probe(mnt, outside)
    records = case.records()
    assert records[0]["mode"] == "requests+refused", records[0]
    root = check_records(records, rows + again, "root", 200)

    # without it the kernel refuses by itself: nothing of it is in the log, as the manual says
    with case.mounted("sample-000002.vmdk") as mnt:
        for call in (lambda: os.mkdir(f"{mnt}/new"), lambda: os.unlink(f"{mnt}/disk.img"),
                     lambda: os.open(f"{mnt}/disk.img", os.O_RDWR), lambda: os.chmod(f"{mnt}/disk.img", 0o777)):
            try:
                call()
                raise AssertionError("a modifying call succeeded")
            except OSError as error:
                assert error.errno == 30, error
    records = case.records()
    assert records[0]["mode"] == "requests" and not [r for r in records if r["op"] == "REFUSED"]

    # an ordinary user: mode bits do not stand between the call and the log
    tools = os.path.join(case.dir, "bin")  # the build may lie where the user cannot look
    os.mkdir(tools)
    for path in (os.path.join(BIN, "vdiskfs"), os.path.join(BIN, "vdiskctl"), PROBER, TABLE):
        shutil.copy(path, tools)
    for path in (case.mnt, case.log, outside, case.evidence, *(case.path(n) for n in os.listdir(case.evidence))):
        shutil.chown(path, "nobody")  # who owns a file can read it without touching its access time
    case.log = os.path.join(case.log, "user")
    before = evidence_state(case.evidence)
    words = " ".join(targets(case.mnt, outside))
    script = f"""cd /; PATH={tools}:$PATH
vdiskfs {case.evidence}/sample-000002.vmdk {case.mnt} -o sandbox={SANDBOX},audit={case.log},audit_refused || exit 1
grep ' {case.mnt} ' /proc/mounts
prober {words}
cat {case.mnt}/p2/fs/home/alice/todo.txt > /dev/null || exit 1
vdiskctl umount {case.mnt} && vdiskctl audit verify {case.log}/*/"""
    result = run("runuser", "-u", "nobody", "--", "bash", "-c", script, check=False, stdin=subprocess.DEVNULL)
    text = result.stdout.decode()
    assert result.returncode == 0 and "INTACT closed" in text, f"{text}\n{result.stderr.decode()}"
    assert "fuse.vdiskfs rw,nosuid,nodev,noexec" in text, text
    assert evidence_state(case.evidence) == before
    rows = answers(text)
    assert not [row for row in rows if row[2] in ("DIED", "TIMEOUT", "CANNOT-RUN")], rows
    with open(TABLE, encoding="utf-8") as file:
        harmless = {tuple(line.split("\t")[:2]) for line in file if line[0] != "#" and line.split("\t")[3:4] == ["OK"]}
    succeeded = {(call, kind) for call, kind, answer in rows if answer == "OK"}
    assert succeeded <= harmless, f"succeeded for a user, and not in the table: {succeeded - harmless}"
    user = check_records(case.records(), rows, "user", 20)
print(f"root: {root[0]} of {root[0]} calls answered EROFS are in the log ({root[1]} refusals in all); "
      f"user: {user[0]} of {user[0]} ({user[1]})")
