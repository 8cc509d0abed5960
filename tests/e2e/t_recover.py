#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A mount is killed while it is read.  Its log is recovered: every read that got an answer is in it, the next mount
says what is to be done, and one record can be proved without the rest."""
import json
import os
import signal
import subprocess
import sys

from harness import ROOT, VDISKCTL, Case, is_mounted, need_fuse, need_tools, qemu_chain, run

need_tools("qemu-img", "qemu-io", "openssl")
need_fuse()

# Reads one block after the other past the page cache and tells each one that it got.
READER = r"""
import mmap, os, sys
fd = os.open(sys.argv[1] + "/disk.img", os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 4096)
for i in range(1 << 20):
    off = i * 7919 % 1024 * 4096
    try:
        os.preadv(fd, [buffer], off)
    except OSError:
        break
    os.write(1, b"%d\n" % off)
"""


def crash(case, name):
    """Gives the session and the offsets of all reads that were answered."""
    with case.mounted(name, intact=False) as mnt:
        session = case.sessions()[-1]
        reader = subprocess.Popen([sys.executable, "-c", READER, mnt], stdout=subprocess.PIPE)
        told = b"".join(reader.stdout.readline() for _ in range(300))
        refused = run(VDISKCTL, "audit", "recover", session, check=False)
        assert refused.returncode == 6 and b"in use" in refused.stderr, refused
        os.killpg(case.process.pid, signal.SIGKILL)  # supervisor and worker
        case.process.wait()
        run("umount", "-l", mnt, check=False)
        told += reader.stdout.read()
        reader.wait()
    assert not is_mounted(case.mnt)
    return session, [int(line) for line in told.split()]


def reads(session):
    """Offsets of the 4 KiB blocks that were read, with repetitions."""
    out = []
    for line in run(VDISKCTL, "audit", "show", "--json", session).stdout.splitlines():
        record = json.loads(line)
        if record["op"] == "READ":
            for off, length in record.get("ranges") or [[record["off"], record["len"]]]:
                out += range(off, off + length, 4096)
    return sorted(out)


def verify(session, *options):
    return run(VDISKCTL, "audit", "verify", *options, session, check=False)


with Case("recover") as case:
    name = qemu_chain(case.evidence, 2, 4 << 20)[-1]
    for _ in range(3):
        session, answered = crash(case, name)
        before = verify(session)
        assert before.returncode in (0, 7), before
        assert before.stdout.startswith((b"TORN TAIL", b"INTACT open (crash)")), before.stdout
        signed = json.loads(verify(session, "--json").stdout)
        kept = {n: open(os.path.join(session, n), "rb").read() for n in os.listdir(session) if n != "ring.wal"}

        key = [line for line in case.errors().splitlines() if line.startswith("audit log key: ")][0].split(": ")[1]
        done = run(VDISKCTL, "audit", "recover", session)
        assert b": recovered: " in done.stdout and b"closed after a recovery" in done.stdout, done.stdout
        after = verify(session, "--key", key)
        assert after.returncode == 0 and after.stdout.startswith(b"INTACT open (closed after a recovery)\n"), after
        told = json.loads(verify(session, "--json").stdout)  # what the session itself signed, and what not
        assert told["session_frames"] == signed["session_frames"] == signed["checkpoint_frames"] > 0, (signed, told)
        assert told["frames"] == told["checkpoint_frames"] > told["session_frames"], told
        again = run(os.path.join(ROOT, "scripts", "verify-audit-log"), "--key", key, session)
        assert again.stdout.startswith(b"INTACT open "), again.stdout
        for n, data in kept.items():
            assert open(os.path.join(session, n), "rb").read() == data, f"{n} was changed"
        assert not os.path.exists(os.path.join(session, "ring.wal"))

        logged = reads(session)
        missing = sorted(answered)
        for off in logged:
            if off in missing:
                missing.remove(off)
        assert not missing, f"{len(missing)} of {len(answered)} reads are not in the log"
        assert run(VDISKCTL, "audit", "recover", session).stdout.count(b"nothing to recover") == 1
        print(f"{len(answered)} answered reads, all of them in the log; {done.stdout.decode().split(': ', 1)[1].strip()}")

    # the next mount says that there is something to do, as long as there is
    session, _ = crash(case, name)
    with case.mounted(name):
        pass
    assert f"vdiskctl audit recover {session}" in case.errors(), case.errors()
    told = [r for r in case.records() if r["op"] == "WARNING" and r.get("key") == "previous"]
    assert len(told) == 1 and session in told[0]["text"], told
    everything = run(VDISKCTL, "audit", "recover", "--all", case.log)
    assert everything.stdout.count(b": recovered: ") == 1, everything.stdout
    assert run(VDISKCTL, "audit", "recover", "--all", case.log).stdout == b""
    with case.mounted(name, "evidence_id=" + 600 * '"'):
        pass
    assert "audit recover" not in case.errors(), case.errors()

    # a record that was proved is shown as a whole, and no text in it can pass for the line's own words
    quoted = os.path.join(case.dir, "quoted")
    newest = max(os.scandir(case.log), key=lambda entry: entry.name).path
    run(VDISKCTL, "audit", "prove", "--seq", "0", "-o", quoted, newest)
    shown = run(VDISKCTL, "audit", "prove", "--check", quoted + ".tlog-proof", "--frame-file", quoted + ".frame",
                "--anchor", os.path.join(newest, "checkpoints"), "--record").stdout
    assert b' evidence_id="' + 600 * b'\\"' + b'" ' in shown, shown

    # the last record of the crashed log, for somebody who has nothing else of it
    last = json.loads(run(VDISKCTL, "audit", "show", "--json", session).stdout.splitlines()[-1])
    assert last["op"] == "SESSION_CLOSE" and last["result"] == -4, last
    out = os.path.join(case.dir, "proof")
    made = run(VDISKCTL, "audit", "prove", "--seq", str(last["seq"]), "-o", out, session)
    key = made.stderr.decode().strip().split("\n")[-1]
    check = (VDISKCTL, "audit", "prove", "--check", out + ".tlog-proof", "--frame-file", out + ".frame", "--key")
    assert b"op=SESSION_CLOSE" in run(*check, key, "--record").stdout
    assert run(*check, os.path.join(session, "key.pub"), check=False).returncode == 7
print("a killed mount loses no record, and its log is closed by hand")
