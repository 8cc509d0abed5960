#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two verifiers that share no code must give the same verdict on the same logs: intact, open, and
changed in many ways.

    second_verifier.py AUDIT_VERDICT VERIFY_AUDIT_LOG
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

VERDICT, SECOND = sys.argv[1:3]
rng = random.Random(7)
cases = []


def make(where, *extra):
    return subprocess.run([VERDICT, "--make", where, *extra], check=True, capture_output=True,
                          text=True).stdout.strip()


def variant(root, source, change):
    """A copy of `source` below a name of its own, changed by `change(directory)`."""
    copy = os.path.join(root, f"case{len(cases):04}")
    shutil.copytree(source, copy)
    for name in os.listdir(copy):
        os.chmod(os.path.join(copy, name), 0o600)
    change(copy)
    cases.append(copy)


def edit(name, function):
    def change(directory):
        path = os.path.join(directory, name)
        with open(path, "rb") as f:
            data = f.read()
        with open(path, "wb") as f:
            f.write(function(data))
    return change


def flip(data, bit):
    data = bytearray(data)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def swapped(directory):
    a, b = (os.path.join(directory, f"{n:06}.vlog") for n in (0, 1))
    os.rename(a, a + "x")
    os.rename(b, a)
    os.rename(a + "x", b)


def make_cases(root):
    closed, unclosed, other = make(root), make(root, "open"), make(root, "open")
    unsealed = make(root, "open", "unsealed")
    cases.extend([closed, unclosed, unsealed])
    segments = sorted(n for n in os.listdir(closed) if n.endswith(".vlog"))
    assert len(segments) > 2, segments
    for source in (closed, unclosed):
        last = sorted(n for n in os.listdir(source) if n.endswith(".vlog"))[-1]
        size = os.path.getsize(os.path.join(source, last))
        for name in ("000000.vlog", last):
            length = os.path.getsize(os.path.join(source, name))
            for _ in range(60):
                bit = rng.randrange(8 * length)
                variant(root, source, edit(name, lambda d, b=bit: flip(d, b)))
        for _ in range(40):
            n = rng.randrange(size)
            variant(root, source, edit(last, lambda d, n=n: d[:n]))
            variant(root, source, edit(last, lambda d, n=n: d[:n] + bytes(len(d) - n)))
            variant(root, source, edit(last, lambda d, n=n: d[:n] + b"\0" + d[n:]))
        variant(root, source, edit(last, lambda d: d + bytes(5000)))
        variant(root, source, edit(last, lambda d: d + b"x"))
        variant(root, source, edit(last, lambda d: b""))
        variant(root, source, edit("000000.vlog", lambda d: d[:-1]))
        variant(root, source, swapped)
        variant(root, source, lambda d: os.unlink(os.path.join(d, "000001.vlog")))
        variant(root, source, lambda d: os.unlink(os.path.join(d, "000000.vlog")))
        variant(root, source, lambda d, last=last: os.unlink(os.path.join(d, last)))
    variant(root, unclosed, lambda d: os.unlink(os.path.join(d, "ring.wal")))
    variant(root, unclosed, lambda d: shutil.copy(os.path.join(other, "ring.wal"), d))
    variant(root, unclosed, edit("ring.wal", lambda d: d[:-1]))
    for bit in range(8 * 32):
        if bit % 5 == 0:
            variant(root, unclosed, edit("ring.wal", lambda d, b=bit: flip(d, b)))
            variant(root, unsealed, edit("ring.wal", lambda d, b=bit: flip(d, b)))
    for at in range(41 * 64, 66 * 64, 7):  # where the record lies that is not sealed, and around
        variant(root, unsealed, edit("ring.wal", lambda d, b=8 * (4096 + at): flip(d, b)))


def lines(command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


with tempfile.TemporaryDirectory(prefix="vdiskfs-test-") as top:
    make_cases(top)
    ours = [" ".join(w for w in line.split() if w != "at" and w != "frame" and not w.isdigit())
            for line in lines([VERDICT, *cases])]
    theirs = lines([sys.executable, SECOND, *cases])
    assert len(ours) == len(theirs) == len(cases), (len(ours), len(theirs), len(cases))
    wrong = [(c, a, b) for c, a, b in zip(cases, ours, theirs) if a != b]
    for case, a, b in wrong[:20]:
        print(f"{os.path.basename(case)}:\n  ours   {a}\n  second {b}")
    counts = {}
    for line in ours:
        verdict = line.split(" frames")[0]
        counts[verdict] = counts.get(verdict, 0) + 1
    print(f"{len(cases)} logs, {len(wrong)} disagreements; {counts}")
    assert set(counts) >= {"INTACT closed", "INTACT open", "TORN TAIL", "TAMPERED"}, counts
    sys.exit(1 if wrong else 0)
