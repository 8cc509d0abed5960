#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Standard output that cannot be written is an error (exit code 2 and a line), whatever the verb and
however long its text; a reader who has seen enough is none; a closed one harms no file."""
import os
import signal
import subprocess

from harness import SANDBOX, VDISKCTL, VDISKFS, Case, evidence_state, need_tools, qemu_chain, run, sha256_file

need_tools("qemu-img", "qemu-io")
OPTIONS = ("-o", f"sandbox={SANDBOX}")


def to(target, *words):
    """Runs with standard output going to the descriptor."""
    return subprocess.run([str(word) for word in words], stdout=target, stderr=subprocess.PIPE, check=False, timeout=300)


def full(commands):
    with open("/dev/full", "wb") as target:
        for _, words in commands:
            result = to(target, *words)
            assert result.returncode == 2 and b"output" in result.stderr, f"{words}: {result}"
    print(f"{len(commands)} commands: say that their output is lost")


def stopped_reader(commands):
    for code, words in commands:
        read_end, write_end = os.pipe()
        os.close(read_end)
        result = to(write_end, *words)
        os.close(write_end)
        assert result.returncode in (code, -signal.SIGPIPE), f"{words}: {result}"
        assert b"output" not in result.stderr, f"{words}: {result}"
    print(f"{len(commands)} commands: the same exit code when nobody reads")


with Case("output") as case:
    names = qemu_chain(case.evidence, 30, 4 << 20)
    tip, out = case.path(names[-1]), os.path.join(case.dir, "out")
    os.mkdir(out)
    os.rename(case.path(names[0]), case.path("renamed.vmdk"))  # found by its identity: a warning
    before = evidence_state(case.evidence)
    commands = [(0, (VDISKCTL, "info", *OPTIONS, tip)), (0, (VDISKCTL, "info", "--json", *OPTIONS, tip)),
                (7, (VDISKCTL, "check", *OPTIONS, tip)), (7, (VDISKCTL, "check", "--json", *OPTIONS, case.path(names[1]))),
                (0, (VDISKCTL, "hash", *OPTIONS, tip)), (0, (VDISKCTL, "hash", "--json", *OPTIONS, tip)),
                (0, (VDISKCTL, "export", "--raw", "--hash", "--force", *OPTIONS, tip, os.path.join(out, "a.raw"))),
                (0, (VDISKCTL,)), (0, (VDISKCTL, "--man")), (0, (VDISKCTL, "--version")), (0, (VDISKCTL, "export", "--help")),
                (0, (VDISKFS, "--man")), (0, (VDISKFS, "--help"))]
    full(commands)
    stopped_reader(commands)
    expected = sha256_file(os.path.join(out, "a.raw"))
    # with 0, 1 and 2 closed no file of ours gets their numbers
    run("sh", "-c", '"$@" <&- >&- 2>&-', "sh", VDISKCTL, "export", "--raw", "--hash", "--force", *OPTIONS, tip,
        os.path.join(out, "b.raw"))
    assert sha256_file(os.path.join(out, "b.raw")) == expected
    assert before == evidence_state(case.evidence), "evidence changed"
