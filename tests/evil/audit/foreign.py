#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An implementation of signed notes and transparency logs that is not ours, Go's sumdb/note and sumdb/tlog (foreign.go),
opens our checkpoints, recomputes our trees, makes the proofs that we make, accepts ours, and refuses what we refuse.

    foreign.py AUDIT_VERDICT VDISKCTL BUILD_DIRECTORY
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

VERDICT, VDISKCTL, BUILD = map(os.path.abspath, sys.argv[1:4])
GOPATH = "/usr/share/gocode"
if not shutil.which("go") or not os.path.isdir(f"{GOPATH}/src/golang.org/x/mod/sumdb/note"):
    print("SKIPPED: go(1) or golang.org/x/mod is not installed (Debian: golang-go golang-golang-x-mod-dev)")
    sys.exit(77)
rng = random.Random(11)
commands, expected = [], []


def build():
    out = os.path.join(BUILD, "foreign")
    environment = dict(os.environ, GO111MODULE="off", GOPATH=GOPATH, GOCACHE=os.path.join(BUILD, "gocache"),
                       GOPROXY="off", GOFLAGS="", CGO_ENABLED="0")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "foreign.go")
    subprocess.run(["go", "build", "-o", out, source], env=environment, check=True)
    return out


def ask(yes, *words):
    commands.append("\t".join(words))
    expected.append(yes)


def ours(*words):
    return subprocess.run([VDISKCTL, "audit", "prove", *words], capture_output=True, text=True, check=False)


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def put(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


def notes_of(session):
    """All checkpoints of a session, in order."""
    names = sorted(n for n in os.listdir(session) if n.startswith("checkpoints"))
    text = b"".join(read(session, n) for n in names)
    parts = text.split(b"\nvdiskfs/")
    return [(b"vdiskfs/" if i else b"") + p + (b"\n" if i < len(parts) - 1 else b"") for i, p in enumerate(parts)]


def make(root, *how):
    return subprocess.run([VERDICT, "--make", root, *how], check=True, capture_output=True, text=True).stdout.strip()


def prove_all(root, session, frames):
    """Every frame, every anchor: Go makes the same proofs, and accepts ours.  Gives one of each."""
    for n in range(frames):
        out = os.path.join(root, f"proof{n}")
        made = ours("--frame", str(n), "-o", out, session)
        assert made.returncode == 0, made.stderr
        key = made.stderr.strip().split("\n")[-1]
        ask(True, "same", session, out + ".tlog-proof")
        ask(True, "inclusion", out + ".tlog-proof", out + ".frame", key)
        ask(False, "inclusion", out + ".tlog-proof", os.path.join(root, f"proof{n - 1 if n else 0}.tlog-proof"), key)
    for i, note in enumerate(notes_of(session)):
        anchor = put(os.path.join(root, f"anchor{i}"), note)
        out = os.path.join(root, f"to{i}")
        made = ours("--anchor", anchor, "-o", out, session)
        assert made.returncode == 0, made.stderr
        ask(True, "same", session, out + ".consistency")
        ask(True, "consistency", out + ".consistency", anchor, key)
        if i:
            ask(False, "consistency", out + ".consistency", os.path.join(root, f"anchor{i - 1}"), key)
    return key


def changed(data, at):
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(7)]) + data[at + 1:]


def refused(root, kind, proof, other, key, count):
    """Changes of proof and frame (or anchor): neither side accepts any."""
    option = "--frame-file" if kind == "inclusion" else "--anchor"
    good, second = read(proof), read(other)
    unused = good.rindex(b"=") - 1  # bits of the signature's last character that mean nothing: Go passes over them
    for i in range(count):
        p, o = os.path.join(root, f"{kind}{i}"), os.path.join(root, f"{kind}{i}.other")
        if i % 3 == 2 and kind == "inclusion":
            put(p, good)
            put(o, changed(second, rng.randrange(len(second))))
        else:
            at = rng.randrange(len(good))
            if at in (unused, len(good) - 1):
                continue
            put(p, changed(good, at))
            put(o, second)
        mine = ours("--check", p, option, o, "--key", key)
        assert mine.returncode in (1, 7), (mine, read(p))
        ask(False, kind, p, o, key)


def main():
    foreign = build()
    with tempfile.TemporaryDirectory(prefix="vdiskfs-test-") as top:
        sessions = [make(top), make(top, "idle"), make(top, "big"), make(top, "pages"), make(top, "merged")]
        crashed = make(top, "unsealed")
        subprocess.run([VERDICT, "--recover", crashed], check=True)
        sessions.append(crashed)
        for session in sessions:
            ask(True, "log", session)
        closed = sessions[0]
        sizes = [int(n.split(b"\n")[1]) for n in notes_of(closed)]
        key = prove_all(top, closed, sizes[-1])
        os.mkdir(os.path.join(top, "r"))
        prove_all(os.path.join(top, "r"), crashed, int(notes_of(crashed)[-1].split(b"\n")[1]))
        wrong = read(crashed, "key.pub").decode().strip()
        ask(False, "inclusion", os.path.join(top, "proof2.tlog-proof"), os.path.join(top, "proof2.frame"), wrong)
        refused(top, "inclusion", os.path.join(top, "proof4.tlog-proof"), os.path.join(top, "proof4.frame"), key, 120)
        refused(top, "consistency", os.path.join(top, "to3.consistency"), os.path.join(top, "anchor3"), key, 60)
        for i in range(40):  # a checkpoint of the log itself
            copy = os.path.join(top, f"log{i}")
            shutil.copytree(closed, copy)
            notes = read(copy, "checkpoints")
            at = rng.randrange(len(notes))
            os.chmod(os.path.join(copy, "checkpoints"), 0o600)
            if b"\n" not in notes[at - 1:at + 3]:
                put(os.path.join(copy, "checkpoints"), changed(notes, at))
                ask(False, "log", copy)
        answers = subprocess.run([foreign], input="\n".join(commands) + "\n", capture_output=True, text=True,
                                 check=True).stdout.splitlines()
    assert len(answers) == len(commands), (len(answers), len(commands))
    wrong = [(c, a) for c, yes, a in zip(commands, expected, answers) if a.startswith("yes") != yes]
    for line in wrong[:20]:
        print(line)
    print(f"{sum(expected)} accepted and {len(expected) - sum(expected)} refused by Go as by us, {len(wrong)} not")
    return 1 if wrong else 0


sys.exit(main())
