#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every modifying call of the published table is refused, with `ro` and again after the superblock
was remounted rw; evidence keeps hash, size, times and attributes; no evidence file is ever opened
with write intent."""
import os
import re

from harness import TEST_BIN, Case, need_fuse, need_root, need_tools, run

need_tools("qemu-img", "qemu-io", "strace", "mkntfs", "mke2fs", "sgdisk")
need_root()
need_fuse()

# LeakSanitizer does not work under strace; the other tests of the suite look for leaks.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
PROBER = next((os.path.join(base, "prober") for base, _, names in os.walk(TEST_BIN) if "prober" in names), None)
assert PROBER, f"the prober was not built below {TEST_BIN}"
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "write-calls.tsv")
WRITE_INTENT = re.compile(rb"O_(WRONLY|RDWR|CREAT|TRUNC|APPEND)")


def probe(mode, mnt, outside):
    home = f"{mnt}/p2/fs/home/alice"
    result = run(PROBER, "--check", mode, mnt, f"{home}/todo.txt", home, f"{home}/link-to-passwd", f"{mnt}/disk.img",
                 outside, check=False, env={**os.environ, "VDISKFS_WRITE_CALLS": TABLE})
    assert result.returncode == 0, f"{mode}:\n{result.stdout.decode()}\n{result.stderr.decode()}"
    return result.stdout.count(b"\n")


with Case("writes") as case:
    run(os.path.join(SCRIPTS, "make-sample"), case.evidence)
    outside = os.path.join(case.dir, "outside")
    os.mkdir(outside)
    trace = os.path.join(case.dir, "trace")
    wrapper = ("strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat,truncate,ftruncate,unlink,unlinkat,"
               "rename,renameat,renameat2,chmod,fchmod,fchmodat,utimensat,setxattr,fsetxattr", "-o", trace)
    with case.mounted("sample-000002.vmdk", wrapper=wrapper) as mnt:
        lines = probe("ro", mnt, outside)
        run("mount", "-i", "-o", "remount,rw", mnt)
        assert " rw," in next(line for line in open("/proc/self/mounts", encoding="utf-8") if mnt in line)
        probe("rw", mnt, outside)
    with open(trace, "rb") as file:
        touching = [line for line in file if b".vmdk" in line]
    assert any(b"O_RDONLY" in line for line in touching), "the trace shows no evidence being opened"
    bad = [line for line in touching if WRITE_INTENT.search(line) or not re.search(rb"open|statx", line)]
    assert not bad, bad
    refused = [r for r in case.records() if r["op"] == "REFUSED"]
    assert refused, "refused calls reach the program when the superblock is rw, and are logged"
print(f"{lines} probes with ro and again with rw: as the table says; {len(refused)} refusals in the log")
