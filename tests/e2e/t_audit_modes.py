#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each audit mode sees, measured: every row does something a known number of times and counts the records of
it.  The result must be the tables of docs/audit-modes.md, in both directions.

    t_audit_modes.py            prints the tables and compares them with the document
    t_audit_modes.py --write    writes them into the document

A cell "some (11)" depends on the kernel (read-ahead): the figure is the measured one; what is compared is that it lies
between 1 and the number of accesses less 1.  "N or ENODEV": a kernel before 6.6 cannot map such files shared."""
import os
import re
import subprocess
import sys

from harness import ROOT, TEST_BIN, Case, need_fuse, need_root, need_tools, run

need_tools("mkntfs", "mke2fs", "sgdisk", "qemu-img", "qemu-io")
need_root()
need_fuse()

ACCESSOR = next((os.path.join(base, "accessor") for base, _, names in os.walk(TEST_BIN) if "accessor" in names), None)
assert ACCESSOR, f"the accessor was not built below {TEST_BIN}"
DOCUMENT = os.path.join(ROOT, "docs", "audit-modes.md")
MIB = 1 << 20
PAGE = 4096

# what, how, pages, repeats, opens: contents of disk.img, each row in a region that no other touches
CONTENTS = [
    ("5 × (open, 256 × `pread` of 4 KiB, close)", "pread", 256, 1, 5),
    ("64 × `pread`, one open", "pread", 64, 1, 1),
    ("the same 64 pages 10 times, one open", "pread", 64, 10, 1),
    ("the same with `O_DIRECT`", "direct", 64, 10, 1),
    ("the same by `io_uring`", "io_uring", 64, 10, 1),
    ("`mmap`, `MAP_SHARED`: 64 pages touched", "mmap-shared", 64, 1, 1),
    ("`MAP_SHARED`: touched 10 times", "mmap-shared", 64, 10, 1),
    ("`MAP_SHARED`: opened, mapped, touched 3 times over", "mmap-shared", 64, 1, 3),
    ("`mmap`, `MAP_PRIVATE`: 64 pages touched", "mmap-private", 64, 1, 1),
    ("`MAP_PRIVATE`: touched 10 times", "mmap-private", 64, 10, 1),
    ("`MAP_PRIVATE`: opened, mapped, touched 3 times over", "mmap-private", 64, 1, 3),
    ("`sendfile` of 64 pages", "sendfile", 64, 1, 1),
    ("the same pages 10 times, one open", "sendfile", 64, 10, 1),
    ("the same pages once in each of 3 opens", "sendfile", 64, 1, 3),
    ("`splice` of 64 pages 10 times, one open", "splice", 64, 10, 1),
]
# what, how, path, times, operations that are counted, names they must have (None: the path's own object)
CALLS = [
    ("`open`, `close`", "open", "p1/volume.img", 5, ("OPEN",), None),
    ("… the end of it", "open", "p1/fs/report.txt", 5, ("RELEASE",), None),
    ("`stat` of one name: LOOKUP", "stat", "p1/fs/final.txt", 5, ("LOOKUP",), ("final.txt",)),
    ("`open`, then `fstat`: GETATTR", "fstat", "p2/volume.img", 5, ("GETATTR",), None),
    ("`open`, then `statx` with `AT_STATX_DONT_SYNC`: GETATTR", "statx-cached", "p1/fs/numbers.txt", 5, ("GETATTR",), None),
    ("`stat` of a name that does not exist: LOOKUP", "missing", "p2", 5, ("LOOKUP",), ("no-such-name",)),
    ("`opendir`, list, close: OPENDIR", "list", "p2/fs/etc", 5, ("OPENDIR",), None),
    ("… its contents: READDIR", "list", "p2/fs/home", 5, ("READDIR",), None),
    ("… and `stat` of each of its 3 names (`ls -l`): LOOKUP", "list-long", "p2/fs/home/alice", 5, ("LOOKUP",),
     ("latest", "link-to-passwd", "todo.txt")),
    ("`readlink`", "readlink", "p2/fs/home/alice/latest", 5, ("READLINK",), None),
    ("`getxattr`", "getxattr", "p2/fs/etc/passwd", 5, ("GETXATTR",), None),
    ("`access(R_OK)`: LOOKUP", "access", "p1/fs/$LogFile", 5, ("LOOKUP",), ("$LogFile",)),
    ("`statfs`", "statfs", "p2/fs", 5, ("STATFS",), None),
    ("`lseek(SEEK_DATA)`", "seek-data", "disk.img", 5, ("LSEEK",), None),
]
REFUSED = [
    ("`open` for writing", "open-write"), ("`truncate`", "truncate"), ("`chmod`", "chmod"), ("`utimensat`", "utimensat"),
    ("`unlink`", "unlink"), ("`rename`", "rename"), ("`mkdir`", "mkdir"), ("`setxattr`", "setxattr"),
    ("`write` on a descriptor that is open for reading (EBADF)", "write-rdonly"),
    ("`mmap` for writing of such a descriptor (EACCES)", "map-write"),
]


def act(*words):
    """Runs one row's accesses: (process id, accesses, checksum); None: the kernel has no such call."""
    child = subprocess.Popen([ACCESSOR, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, errors = child.communicate(timeout=120)
    assert child.returncode in (0, 3), f"{words}: {errors}"
    return (child.pid, *out.split()) if child.returncode == 0 else None


class Log:
    """Counts records by process."""

    def __init__(self, records):
        self.of = {}
        self.facts = [r["text"] for r in records if r["op"] == "FACT" and r.get("name") == "audit_mode=exact"]
        numbers = {r["off"]: r["pid"] for r in records if r["op"] == "PROC"}
        for r in records:
            if r.get("proc"):
                self.of.setdefault(numbers[r["proc"]], []).append(r)

    def count(self, pid, ops, names=None, node=None):
        return sum(r.get("reads", 1) for r in self.of.get(pid, ())
                   if r["op"] in ops and (r.get("name") in names if names else r["obj"] == node))


def checksum(path, off, pages, repeats, opens):
    total = 14695981039346656037
    with open(path, "rb") as file:
        file.seek(off)
        data = file.read(pages * PAGE)
    for byte in data * (repeats * opens):
        total = ((total ^ byte) * 1099511628211) & (1 << 64) - 1
    return f"{total:016x}"


def measure(case, mode, reference):
    """Rows of (accesses, records): contents, then calls."""
    done = []
    with case.mounted("sample-000002.vmdk", f"audit_mode={mode}") as mnt:
        for i, (what, how, pages, repeats, opens) in enumerate(CONTENTS):
            got = act(how, f"{mnt}/disk.img", i * 2 * MIB % (32 * MIB), pages, repeats, opens)
            if got and repeats * opens <= 3:  # the same bytes in every mode, by every way
                assert got[2] == checksum(reference, i * 2 * MIB % (32 * MIB), pages, repeats, opens), f"{mode}: {what}"
            done.append((got, pages * repeats * opens, ("READ",), None, os.lstat(f"{mnt}/disk.img").st_ino))
        for _, how, path, times, ops, names in CALLS:
            got = act(how, f"{mnt}/{path}", times)
            done.append((got, times, ops, names, os.lstat(f"{mnt}/{path}").st_ino))
    log = Log(case.records())
    return [(n, log.count(got[0], *rest) if got else None) for got, n, *rest in done], log


def measure_refused(case, *options):
    with case.mounted("sample-000002.vmdk", *options) as mnt:
        done = [act(how, f"{mnt}/p2/fs/home/alice/todo.txt", 5) for _, how in REFUSED]
    log = Log(case.records())
    return [sum(r["op"] == "REFUSED" for r in log.of.get(got[0], ())) for got in done]


def cell(n, accesses, how):
    if n is None:
        return "ENODEV" if how.startswith("mmap") else "no such call"
    return f"some ({n})" if 1 < n < accesses else str(n)


def table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|---" + "|--:" * (len(head) - 1) + "|"]
    return "\n".join(lines + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


def mode_table(rows, requests, exact, head):
    return table((head, "accesses", "`requests`", "`exact`"),
                 [(row[0], str(r[0]), cell(r[1], r[0], row[1]), str(e[1]) if e[1] is not None else cell(None, 0, row[1]))
                  for row, r, e in zip(rows, requests, exact)])


def comparable(line, absent):
    """Without the figures that depend on the kernel; on a kernel that lacks a call, without those cells."""
    line = re.sub(r"some \(\d+\)", "some", line)
    return line.split("|")[1] if absent and any(word in line for word in absent) else line


def compare(measured, facts):
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    absent = []
    if any("refuses MAP_SHARED" in fact for fact in facts):
        absent.append("MAP_SHARED")
    if "no such call" in measured["contents"]:
        absent.append("io_uring")
    if absent:
        print(f"this kernel cannot: {absent}; not compared")
    for name, rows in measured.items():
        found = re.search(f"<!-- {name} -->\n(.*?)<!-- end -->", text, re.S)
        assert found, f"{DOCUMENT}: no table {name}"
        if "--write" in sys.argv:
            text = text[:found.start(1)] + rows + text[found.end(1):]
            continue
        for a, b in zip(rows.splitlines(), found[1].splitlines()):
            assert comparable(a, absent) == comparable(b, absent), f"{name}: measured\n{a}\nthe document says\n{b}"
        assert len(rows.splitlines()) == len(found[1].splitlines()), name
    if "--write" in sys.argv:
        with open(DOCUMENT, "w", encoding="utf-8") as file:
            file.write(text)


with Case("modes") as case:
    run(os.path.join(ROOT, "scripts", "make-sample"), case.evidence)
    reference = os.path.join(case.dir, "reference.raw")
    run("qemu-img", "convert", "-O", "raw", case.path("sample-000002.vmdk"), reference)
    requests, _ = measure(case, "requests", reference)
    exact, log = measure(case, "exact", reference)
    refused = zip(REFUSED, measure_refused(case), measure_refused(case, "audit_refused"))
    n = len(CONTENTS)
    measured = {
        "contents": mode_table(CONTENTS, requests[:n], exact[:n], "contents of a file: READ"),
        "calls": mode_table(CALLS, requests[n:], exact[n:], "other calls"),
        "refused": table(("refused calls: REFUSED", "calls", "without", "`audit_refused`"),
                         [(row[0], "5", str(a), str(b)) for row, a, b in refused]),
    }
    print("\n".join(measured.values()))
    # what the manual promises of exact, whatever the document says
    for (what, how, *_), (n_done, n_seen) in zip(CONTENTS, exact):
        assert how not in ("pread", "direct", "io_uring") or n_seen in (n_done, None), f"{what}: {n_seen} of {n_done}"
    compare(measured, log.facts)
