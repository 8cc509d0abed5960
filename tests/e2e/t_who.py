#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The names of processes in the log are right, also of processes that live for a moment: each look-up and read of
thousands of short-lived ones is recorded with the name and program that made it.  Process numbers are used again on
purpose; programs are executed within one process, also under the same name; threads stand for their process; ids
change; names hold anything; programs are deleted; terminals are told; who lives in another process namespace, or
cannot be told, is flagged and never named wrongly.  VDISKFS_WHO_PROCESSES: how many."""
import os
import shutil
import subprocess

from harness import SANDBOX, TEST_BIN, VDISKFS, Case, need_fuse, need_root, need_tools, run, wait_until, is_mounted

need_tools("mkntfs", "mke2fs", "sgdisk", "qemu-img", "qemu-io", "unshare", "script")
need_root()
need_fuse()

ACTOR = next((os.path.join(base, "whoactor") for base, _, names in os.walk(TEST_BIN) if "whoactor" in names), None)
assert ACTOR, f"whoactor was not built below {TEST_BIN}"
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
SHORT = int(os.environ.get("VDISKFS_WHO_PROCESSES", "2000")) // 2
SOME = min(SHORT // 2, 500)
BLOCK = 4096
ODD = {"newline": b"a\nb) R 1", "bytes": b"\xff\xfe\x80z", "control": b"\x1b[2Jx", "long": b"fifteen-bytes-x", "empty": b""}


def act(program, *words, **options):
    options.setdefault("check", True)
    return subprocess.run([program, *map(str, words)], timeout=300, stdout=subprocess.PIPE, **options).stdout.decode()


class Log:
    def __init__(self, records):
        self.records = records
        self.who = {r["off"]: r for r in records if r["op"] == "PROC"}
        self.blocks = {}  # of disk.img: by whom they were read
        for r in records:
            if r["op"] == "READ":
                for off, length in r.get("ranges") or [(r["off"], r["len"])]:
                    for block in range(off // BLOCK, (off + length + BLOCK - 1) // BLOCK):
                        self.blocks.setdefault(block, []).append(self.sender(r))

    def sender(self, record):
        """The PROC record of an access, None: not confirmed."""
        assert record.get("proc"), f"an access of nobody: {record}"
        return None if "no_proc" in record.get("flags", "") else self.who[record["proc"]]

    def names(self, mark):
        """Look-ups MARK=CLAIM: {claim: sender}."""
        return {r["name"].split("=", 1)[1]: self.sender(r) for r in self.records
                if r["op"] == "LOOKUP" and r.get("name", "").startswith(f"{mark}=")}


def check_names(log, mark, expected):
    names = log.names(mark)
    assert len(names) == expected, f"{mark}: {len(names)} of {expected} look-ups are in the log"
    wrong = [(claim, who) for claim, who in names.items() if who is None or who["comm"] != claim]
    assert not wrong, f"{mark}: {len(wrong)} of {expected} names are wrong: {wrong[:3]}"
    return expected


def check_blocks(log, first, claims):
    """Block first + i was read by the process named claims[i], and by no other."""
    for i, claim in enumerate(claims):
        readers = log.blocks.get(first + i)
        assert readers and len(readers) == 1, f"block {first + i}: {readers}"
        assert readers[0] and readers[0]["comm"] == claim, f"block {first + i}: {readers[0]} instead of {claim}"
    return len(claims)


def check_releases(log):
    """Each RELEASE is that of a process that opened; together as many as opens."""
    opened = sorted(r["proc"] for r in log.records if r["op"] == "OPEN" and r["result"] == 0)
    released = sorted(r["proc"] for r in log.records if r["op"] == "RELEASE")
    assert opened == released, f"{len(opened)} opens, {len(released)} releases, or of others"


def make_wrapper(tools):
    """one/probe is a script that executes two/probe: two programs of one name in one process."""
    os.makedirs(f"{tools}/one")
    os.makedirs(f"{tools}/two")
    shutil.copy(ACTOR, f"{tools}/two/probe")
    with open(f"{tools}/one/probe", "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\ntest -e "$1/script-$2=probe"\nexec {tools}/two/probe lookup "$1" "program-$2" "$3"\n')
    os.chmod(f"{tools}/one/probe", 0o755)


def make_tools(case):
    tools = os.path.join(case.dir, "tools")
    os.mkdir(tools)
    for name in ("actor", "deleted"):
        shutil.copy(ACTOR, f"{tools}/{name}")
    for i in range(SOME):
        os.symlink("actor", f"{tools}/x{i:05d}")
    make_wrapper(tools)
    return tools


def work(mnt, tools):
    """Everything that is done to the mount; what is needed to judge the log."""
    done = {}
    act(ACTOR, "fork", mnt, SHORT, 0)
    done["reused"] = int(act(ACTOR, "reuse", mnt, SOME, 2100))
    act(ACTOR, "exec", mnt, SOME, 2700, tools)
    done["threads"] = int(act(ACTOR, "threads", mnt, 32, 3800))
    for i in range(20):
        act(f"{tools}/one/probe", mnt, i, 3900 + i)
    for mark, name in ODD.items():
        act(ACTOR, "name", mnt, f"odd-{mark}", name.hex() or "-")
    act(ACTOR, "ids", mnt, "ids", 65534)
    # a program that deletes itself first
    subprocess.run(["sh", "-c", f"exec 9<{tools}/deleted; rm {tools}/deleted; exec /proc/self/fd/9 lookup {mnt} deleted"],
                   check=True, stdout=subprocess.DEVNULL)
    done["tty"] = run("script", "-qec", f"tty; {ACTOR} lookup {mnt} terminal", "/dev/null").stdout.split()[0].decode()
    act("unshare", "--pid", "--fork", ACTOR, "lookup", mnt, "inner")
    act(ACTOR, "ahead", mnt, 12)
    return done


def check(log, done, tools):
    program = os.path.realpath(ACTOR)
    names = check_names(log, "fork", SHORT) + check_names(log, "reuse", SOME) + check_names(log, "exec", 2 * SOME)
    blocks = check_blocks(log, 0, [f"f{i:05d}" for i in range(min(SHORT, 2000))])
    blocks += check_blocks(log, 2100, [f"r{i:05d}" for i in range(SOME)])
    blocks += check_blocks(log, 2700, [f"{'ex'[n % 2]}{n // 2:05d}" for n in range(2 * SOME)])
    assert done["reused"] > SOME // 4, f"only {done['reused']} processes got a number that was used before"
    assert all(who["exe"] == f"{tools}/actor" for name, who in log.names("exec").items() if name[0] == "x")
    assert all(who["exe"] == program for who in log.names("fork").values())

    threads = [who for who in log.who.values() if who["pid"] == done["threads"]]
    assert {who["comm"] for who in threads} == {"main-thread"} and len(threads) == 1, threads
    assert len(log.names("threads")) == 32 and set(map(id, log.names("threads").values())) == {id(threads[0])}
    blocks += check_blocks(log, 3800, ["main-thread"] * 32)

    for i in range(20):
        script, second = log.names(f"script-{i}")["probe"], log.names(f"program-{i}")["probe"]
        assert script["comm"] == second["comm"] == "probe" and script["pid"] == second["pid"], (script, second)
        assert script["exe"] != second["exe"] == f"{tools}/two/probe", (script, second)
    blocks += check_blocks(log, 3900, ["probe"] * 20)

    for mark, name in ODD.items():
        (who,) = log.names(f"odd-{mark}").values()
        shown = who["comm"].replace("\\\\", "\\").encode("latin-1", "backslashreplace")
        plain = b"".join(bytes([c]) if 32 <= c < 127 and c != 92 else b"\\x%02x" % c for c in name[:15])
        assert shown == plain or name == b"" , f"{mark}: {shown} instead of {plain}"
    ids = log.names("ids")
    assert (ids["0"]["uid"], ids["65534"]["uid"], ids["65534"]["gid"]) == (0, 65534, 65534), ids
    (who,) = log.names("deleted").values()
    assert who["exe"] == f"{tools}/deleted (deleted)", who
    (who,) = log.names("terminal").values()
    assert f"/dev/{who['tty']}" == done["tty"], (who, done["tty"])
    (who,) = log.names("inner").values()  # in a namespace below ours it has a number here, too
    assert who["exe"] == program and who["comm"] == "whoactor", who
    ahead = [log.blocks[i + 17 << 8] for i in range(12)]
    assert all(who is None or who["comm"] == f"a{i:05d}" for i, block in enumerate(ahead) for who in block), ahead
    unsure = sum(who is None for who in sum(ahead, []))
    check_releases(log)
    return names, blocks, unsure


def foreign(case):
    """vdiskfs in a process namespace of its own, with the host's /proc: numbers in /proc are not those that the kernel
    tells it, and processes outside have none.  Nobody may be named."""
    with open(os.path.join(case.dir, "stderr"), "wb") as errors:
        process = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", VDISKFS, case.path("sample-000002.vmdk"),
                                    case.mnt, "-f", "-o", f"audit={case.log},sandbox={SANDBOX},allow_other"],
                                   stdout=errors, stderr=errors, stdin=subprocess.DEVNULL)
    assert wait_until(lambda: is_mounted(case.mnt), 30), case.errors()
    act(ACTOR, "lookup", case.mnt, "outside")
    act("nsenter", "-t", open(f"/proc/{process.pid}/task/{process.pid}/children").read().split()[0], "-p", ACTOR, "lookup",
        case.mnt, "inside")
    run("umount", case.mnt)
    process.wait(20)
    log = Log(case.records())
    assert log.names("outside") == {"whoactor": None} and log.names("inside") == {"whoactor": None}, \
        (log.names("outside"), log.names("inside"))
    assert not any("comm" in who for who in log.who.values()), log.who
    assert {who["pid"] for who in log.who.values()} >= {0}, log.who


with Case("who") as case:
    run(os.path.join(SCRIPTS, "make-sample"), case.evidence)
    tools = make_tools(case)
    os.chmod(case.dir, 0o755)
    with case.mounted("sample-000002.vmdk", "allow_other") as mnt:
        done = work(mnt, tools)
    names, blocks, unsure = check(Log(case.records()), done, tools)
    foreign(case)
print(f"{names} look-ups and {blocks} reads of short-lived processes ({done['reused']} with a number used before): "
      f"wrong names 0, unknown 0; read-ahead of {12} that ended at once: {unsure} flagged")
