#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vdiskctl audit show`: each filter gives exactly the records that a scripted workload makes it expect;
-f shows every record once and in order while four processes work, to a slow reader too, and ends when the
log is closed or nobody reads.  A log that was changed is shown up to there, and said."""
import datetime
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time

from harness import VDISKCTL, Case, need_fuse, need_tools, qemu_chain, run, wait_until

need_tools("qemu-img", "qemu-io")
need_fuse()

# one process: looks for a file that is not there, reads a range, lists; then another program reads
WORKLOAD = r"""
import mmap, os, random, sys
mnt, seed = sys.argv[1], int(sys.argv[2])
generator = random.Random(seed)
buffer = mmap.mmap(-1, 1 << 16)
fd = os.open(mnt + "/disk.img", os.O_RDONLY | os.O_DIRECT)
for _ in range(int(sys.argv[3])):
    length = generator.choice([512, 4096, 65536])
    off = generator.randrange(0, (4 << 20) - length) // 512 * 512
    assert os.preadv(fd, [memoryview(buffer)[:length]], off) == length
    if generator.random() < 0.1:
        try:
            os.stat(f"{mnt}/missing-{seed}-{generator.random()}")
        except FileNotFoundError:
            pass
        os.listdir(mnt + "/p0")
os.close(fd)
"""


def work(mnt, seed, count):
    return subprocess.Popen([sys.executable, "-c", WORKLOAD, mnt, str(seed), str(count)])


def show(session, *words, code=0):
    result = run(VDISKCTL, "audit", "show", "--json", *words, session, check=False)
    assert result.returncode == code, f"{words}: {result}"
    return result.stdout.splitlines()


def ns(text):
    day, fraction = text.rstrip("Z").split(".")
    seconds = datetime.datetime.fromisoformat(day + "+00:00").timestamp()
    return int(seconds) * 10**9 + int(fraction)


def beneath(record, folder):
    """As the documentation has it: its object's path, or what a look-up was about."""
    if record["obj"] == 0 or "path" not in record:
        return False
    paths = [record["path"]]
    if record["op"] in ("LOOKUP", "REFUSED", "IOERR") and "name" in record:
        paths.append((record["path"] + "/" if record["path"] else "") + record["name"])
    return any(path == folder or path.startswith(folder + "/") for path in paths)


def filters(session, pid):
    lines = show(session)
    records = [json.loads(line) for line in lines]
    pids = {r["off"]: r for r in records if r["op"] == "PROC"}

    def expect(condition, *words):
        expected = [line for line, r in zip(lines, records) if condition(r)]
        assert expected, f"{words}: the workload made none"
        assert len(expected) < len(lines), f"{words}: filters nothing"
        assert show(session, *words) == expected, words
        text = run(VDISKCTL, "audit", "show", *words, session).stdout.splitlines()
        assert len(text) == len(expected), words
        return len(expected)

    def process(r):
        return r if r["op"] == "PROC" else pids.get(r.get("proc"), {})

    middle = records[len(records) // 2]["time"]
    late = records[len(records) * 3 // 4]["time"]
    n = [expect(lambda r: r["op"] == "READ", "--op=READ"),
         expect(lambda r: r["op"] in ("OPEN", "OPENDIR"), "--op", "open,opendir"),
         expect(lambda r: r["result"] != 0, "--errors"),
         expect(lambda r: process(r).get("pid") == pid, "--pid", str(pid)),
         expect(lambda r: process(r).get("comm") == "head", "--comm=head"),
         expect(lambda r: fnmatch.fnmatch(process(r).get("exe", ""), "*/head"), "--exe=*/head"),
         expect(lambda r: beneath(r, "p0"), "--path=p0"),
         expect(lambda r: beneath(r, "disk.img"), "--path=/disk.img/"),
         expect(lambda r: beneath(r, "disk.img") and r["op"] == "READ" and process(r).get("pid") == pid,
                "--path=disk.img", "--op=READ", f"--pid={pid}"),
         expect(lambda r: ns(r.get("until", r["time"])) >= ns(middle), "--since", middle),
         expect(lambda r: ns(r["time"]) < ns(late), "--until", late),
         expect(lambda r: r["obj"] and "name" in r and "missing-" in r["name"], "--match=missing-*")]
    # the path of a read is known from its open only
    assert not any("path" in r and r["op"] == "READ" and "p" not in r["path"] for r in records[:1])
    print(f"{len(n)} filters over {len(lines)} records: exactly {n}")


class Follower:
    """show -f in the background, with a reader of this process."""

    def __init__(self, session, *words):
        self.process = subprocess.Popen([VDISKCTL, "audit", "show", "-f", "--json", *words, session],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def rest(self, delay=0.0):
        out = []
        for line in self.process.stdout:
            out.append(line.rstrip(b"\n"))
            if delay and len(out) % 50 == 0:
                time.sleep(delay)
        errors = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        return out, self.process.wait(30), errors


with Case("audit-show") as case:
    names = qemu_chain(case.evidence, 2, 4 << 20)
    with case.mounted(names[-1]) as mnt:
        session = case.sessions()[-1]
        everything, slow, reads = Follower(session), Follower(session), Follower(session, "--op=READ")
        leaving, interrupted = Follower(session), Follower(session)
        workers = [work(mnt, seed, 400) for seed in range(4)]
        # one who reads a line and goes: the rest is not waited for
        assert b"SESSION_OPEN" in leaving.process.stdout.readline()
        leaving.process.stdout.close()
        assert leaving.process.wait(10) in (0, -signal.SIGPIPE), leaving.process.returncode
        assert leaving.process.stderr.read() == b""
        leaving.process.stderr.close()
        for worker in workers:
            assert worker.wait(60) == 0
        run("head", "-c", "100", f"{mnt}/p0/info.txt")
        # a record is shown 100 ms after it was sealed, and it is sealed 100 ms after the access
        begin = time.monotonic()
        with open(f"{mnt}/info.json", "rb") as file:
            file.read(1)

        def arrived():
            return b"path=info.json" in run(VDISKCTL, "audit", "show", session).stdout

        line = b""
        while b'"path":"info.json"' not in line:
            line = interrupted.process.stdout.readline()
            assert line, interrupted.rest()
        late = time.monotonic() - begin
        assert wait_until(arrived)
        assert late < 5, f"shown after {late:.2f} s"
        interrupted.process.send_signal(signal.SIGINT)
        assert interrupted.process.wait(10) == 0
        told = interrupted.process.stderr.read()
        assert b"INTACT open (in use)" in told, told
        interrupted.process.stdout.close()
        interrupted.process.stderr.close()
        assert not wait_until(lambda: everything.process.poll() is not None, 0.3), "ends before the log is closed"
    final = show(session)
    for follower, delay in ((everything, 0), (slow, 0.005)):
        seen, code, errors = follower.rest(delay)
        assert code == 0 and errors == b"", (code, errors)
        assert seen == final, f"{len(seen)} of {len(final)} records"
    seen, code, errors = reads.rest()
    assert code == 0 and seen == [line for line in final if json.loads(line)["op"] == "READ"]
    total = json.loads(run(VDISKCTL, "audit", "verify", "--json", session).stdout)["records"]
    assert total == len(final), (total, len(final))
    print(f"-f: {len(final)} records of four processes, each once and in order; one more shown after {late * 1000:.0f} ms")
    filters(session, workers[1].pid)

    # a crash: -f ends, and says it
    with case.mounted(names[-1], intact=False) as mnt:
        session = case.sessions()[-1]
        follower = Follower(session)
        assert work(mnt, 5, 50).wait(60) == 0
        case.process.send_signal(signal.SIGKILL)
        case.process.wait(10)
        seen, code, errors = follower.rest()
        assert seen and code in (0, 7) and (b"INTACT open" in errors or b"TORN TAIL" in errors), (code, errors)

    # changed: what is before is shown, the verdict is said
    session = case.sessions()[0]
    segment = os.path.join(session, "000000.vlog")
    os.chmod(segment, 0o600)
    with open(segment, "r+b") as log:
        at = log.seek(0, 2) * 2 // 3
        log.seek(at)
        byte = log.read(1)[0]
        log.seek(at)
        log.write(bytes([byte ^ 1]))
    for words in ((), ("-f",)):
        result = run(VDISKCTL, "audit", "show", "--json", *words, session, check=False)
        lines = result.stdout.splitlines()
        assert result.returncode == 7 and b"TAMPERED at frame" in result.stderr, result
        assert 0 < len(lines) < len(final) and lines == final[:len(lines)]
    print(f"changed: {len(lines)} intact records shown, and said")
