#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""snapshots/: every older point of a chain with the whole tree in it, at the same time.  Disks equal
what qemu-img makes of each member, files are those of their time, numbers are the same in every
mount, nothing leads out or can be changed, every access is in the log under its path, and a chain of
200 is walked with bounded memory."""
import concurrent.futures
import hashlib
import os
import re
import shutil
import subprocess

from harness import (BIN, ROOT, SANDBOX, TEST_BIN, VDISKCTL, Case, need_fuse, need_tools, reference_raw, run,
                     sha256_file)

need_tools("qemu-img", "qemu-io", "mkntfs", "mke2fs", "debugfs", "sgdisk", "find", "tar")
need_fuse()

POINTS = ("00_sample.vmdk", "01_sample-000001.vmdk")
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "write-calls.tsv")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def numbers(top):
    """{path: inode number} of everything below."""
    found = {"": os.lstat(top).st_ino}
    for base, folders, names in os.walk(top):
        for name in folders + names:
            path = os.path.join(base, name)
            found[os.path.relpath(path, top)] = os.lstat(path).st_ino
    return found


def in_parallel(count, function):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(function, range(count)))


def worker_peak(pid):
    """Highest resident memory of the worker, MiB."""
    peaks = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            text = read(f"/proc/{entry}/status").decode()
        except OSError:
            continue
        if f"\nPPid:\t{pid}\n" in text and (match := re.search(r"VmHWM:\s+(\d+) kB", text)):
            peaks.append(int(match.group(1)) // 1024)
    assert peaks, f"process {pid} has no children"
    return max(peaks)


def references(case, members, start=0, size=None):
    """What qemu-img makes of each member: hashes of the disk and of the bytes from `start`.  (Before the mount:
    it changes access times.)"""
    found = {}
    for member in members:
        raw = reference_raw(case.path(f"{member}.vmdk"), os.path.join(case.dir, "raw"))
        with open(raw, "rb") as file:
            file.seek(start)
            found[member] = (sha256_file(raw), hashlib.sha256(file.read(size)).hexdigest())
        os.unlink(raw)
    return found


def check_points(mnt, expected):
    assert sorted(os.listdir(f"{mnt}/snapshots")) == list(POINTS)
    for point, member in zip((f"{mnt}/snapshots/{POINTS[0]}", f"{mnt}/snapshots/{POINTS[1]}", mnt),
                             ("sample", "sample-000001", "sample-000002")):
        assert sha256_file(f"{point}/disk.img") == expected[member][0], member
        assert sha256_file(f"{point}/p1/volume.img") == expected[member][1], member
        assert member + ".vmdk" in read(f"{point}/info.txt").decode()
    for point in POINTS:
        names = {"disk.img", "info.txt", "info.json", "p1", "p2", "gaps"}
        assert set(os.listdir(f"{mnt}/snapshots/{point}")) == names
        assert "sample-000002.vmdk" not in read(f"{mnt}/snapshots/{point}/info.json").decode()


def check_files(mnt):
    base, second = (f"{mnt}/snapshots/{point}" for point in POINTS)
    assert read(f"{base}/p1/fs/report.txt") == b"Quarterly report, first draft.\r\n"
    assert read(f"{second}/p1/fs/report.txt") == b"Quarterly report, second draft: figures corrected.\r\n"
    alice = "p2/fs/home/alice"
    for point, todo, note, final in ((base, False, True, False), (second, True, True, False), (mnt, True, False, True)):
        assert os.path.exists(f"{point}/{alice}/todo.txt") == todo, point
        assert os.path.exists(f"{point}/{alice}/note.txt") == note, point
        assert os.path.exists(f"{point}/p1/fs/final.txt") == final, point
        # a link to /etc/passwd leads to that of the same point
        link = f"{point}/{alice}/link-to-passwd"
        assert os.path.realpath(link) == os.path.realpath(f"{point}/p2/fs/etc/passwd"), os.readlink(link)
        assert read(link).startswith(b"alice:")
    assert read(f"{base}/{alice}/latest") == b"Meeting moved to Thursday.\n"
    for number, point in enumerate((base, second, mnt)):
        assert os.getxattr(point, "user.vdiskfs.point") == str(number).encode()
    assert os.getxattr(f"{second}/p1/fs/report.txt", "user.vdiskfs.point") == b"1"


VMSD = """.encoding = "UTF-8"
snapshot.numSnapshots = "2"
snapshot.current = "2"
snapshot0.uid = "1"
snapshot0.displayName = "Nightly / 1"
snapshot0.description = "clean"
snapshot0.createTimeHigh = "395873"
snapshot0.createTimeLow = "1234567890"
snapshot0.numDisks = "1"
snapshot0.disk0.fileName = "sample.vmdk"
snapshot0.disk0.node = "scsi0:0"
snapshot1.uid = "2"
snapshot1.parent = "1"
snapshot1.displayName = "Nightly / 1"
snapshot1.numDisks = "1"
snapshot1.disk0.fileName = "sample-000001.vmdk"
snapshot1.disk0.node = "scsi0:0"
"""


def check_names(case):
    """What the virtual machine's own files say: dates, attributes, links by name."""
    with open(case.path("sample.vmsd"), "w", encoding="utf-8") as file:
        file.write(VMSD)
    with case.mounted("sample-000002.vmdk") as mnt:
        names = f"{mnt}/snapshots/by-name"
        assert sorted(os.listdir(f"{mnt}/snapshots")) == [*POINTS, "by-name"]
        assert sorted(os.listdir(names)) == ["Nightly %2F 1", "Nightly %2F 1~01"]
        assert os.readlink(f"{names}/Nightly %2F 1") == f"../{POINTS[0]}"
        assert read(f"{names}/Nightly %2F 1/p1/fs/report.txt").endswith(b"first draft.\r\n")
        base = f"{mnt}/snapshots/{POINTS[0]}"
        created = 395873 * 2**32 + 1234567890  # microseconds, in two halves
        assert os.stat(base).st_mtime_ns == created * 1000
        assert os.getxattr(base, "user.vdiskfs.snapshot") == b"Nightly / 1"
        assert os.getxattr(base, "user.vdiskfs.snapshot_description") == b"clean"
        assert "Nightly / 1" in read(f"{base}/info.txt").decode()
    os.unlink(case.path("sample.vmsd"))


def check_walkers(mnt):
    """Eight programs walk all of it at the same time and see the same."""
    def walk(number):
        if number % 2:
            return run("find", mnt, "-printf", "%P %i %y %m %s %T@ %l\n").stdout
        command = f"tar -c --exclude='*.img' --sort=name -C '{mnt}' . | sha256sum"
        return run("bash", "-c", f"set -o pipefail; {command}").stdout

    results = in_parallel(8, walk)
    assert len({results[i] for i in range(0, 8, 2)}) == 1, "two archives differ"
    assert len({b"\n".join(sorted(results[i].splitlines())) for i in range(1, 8, 2)}) == 1, "two listings differ"


def check_refusals(case, mnt):
    if os.getuid() != 0:
        return
    prober = next((os.path.join(base, "prober") for base, _, names in os.walk(TEST_BIN) if "prober" in names), None)
    assert prober, f"the prober was not built below {TEST_BIN}"
    outside = os.path.join(case.dir, "outside")
    os.mkdir(outside)
    point = f"{mnt}/snapshots/{POINTS[1]}"
    home = f"{point}/p2/fs/home/alice"
    result = run(prober, "--check", "ro", mnt, f"{home}/todo.txt", home, f"{home}/link-to-passwd", f"{point}/disk.img",
                 outside, check=False, env={**os.environ, "VDISKFS_WRITE_CALLS": TABLE})
    assert result.returncode == 0, f"{result.stdout.decode()}\n{result.stderr.decode()}"


def check_log(records):
    """The point was opened once, on the record, and every access has its path."""
    opened = [r for r in records if r["op"] == "FACT" and r.get("key") == "point"]
    assert sorted(r["name"].split(":")[0] for r in opened) == ["snapshots/00", "snapshots/01"], opened
    first = f"snapshots/{POINTS[0]}/p1/fs/report.txt"
    opens = [i for i, r in enumerate(records) if r["op"] == "OPEN" and r.get("path") == first]
    assert opens, "no OPEN with the path of a file in snapshots/"
    assert records.index(next(r for r in opened if "/00" in r["name"])) < opens[0]
    paths = {r["path"] for r in records if r["op"] in ("OPEN", "READLINK", "GETXATTR") and r.get("path")}
    assert f"snapshots/{POINTS[1]}/p2/fs/home/alice/link-to-passwd" in paths
    assert not [p for p in paths if p.startswith("?")], paths


def sample_chain():
    with Case("snapshots") as case:
        run(os.path.join(ROOT, "scripts", "make-sample"), case.evidence)
        expected = references(case, ("sample", "sample-000001", "sample-000002"), 1 << 20, 16 << 20)
        with case.mounted("sample-000002.vmdk") as mnt:
            check_points(mnt, expected)
            check_files(mnt)
            check_walkers(mnt)
            check_refusals(case, mnt)
            first = numbers(mnt)
        check_log(case.records())
        duplicates = len(first) - len(set(first.values()))
        assert duplicates == 0, f"{duplicates} numbers stand for two objects (the sample has no hard links)"

        # looking at snapshots/ opens no point
        with case.mounted("sample-000002.vmdk") as mnt:
            for name in os.listdir(f"{mnt}/snapshots"):
                os.stat(f"{mnt}/snapshots/{name}")
        assert not [r for r in case.records() if r["op"] == "FACT" and r.get("key") == "point"]

        # another mount, looked at in another order, and one of an older member: the same numbers
        with case.mounted("sample-000002.vmdk") as mnt:
            again = numbers(f"{mnt}/snapshots/{POINTS[1]}")
            assert again == {os.path.relpath(k, f"snapshots/{POINTS[1]}") if k != f"snapshots/{POINTS[1]}" else "": v
                             for k, v in first.items() if (k + "/").startswith(f"snapshots/{POINTS[1]}/")}
            assert numbers(mnt) == first
        older = {k: v for k, v in first.items() if (k + "/").startswith(f"snapshots/{POINTS[0]}/")}
        for image, options in (("sample-000001.vmdk", ()), ("sample-000002.vmdk", ("snapshot=1",))):
            with case.mounted(image, *options) as mnt:
                assert os.listdir(f"{mnt}/snapshots") == [POINTS[0]]
                found = numbers(mnt)
                assert {k: v for k, v in found.items() if (k + "/").startswith(f"snapshots/{POINTS[0]}/")} == older
                assert os.path.exists(f"{mnt}/p2/fs/home/alice/todo.txt")
                assert not os.path.exists(f"{mnt}/p1/fs/final.txt")
                disk = sha256_file(f"{mnt}/disk.img")
                assert os.getxattr(mnt, "user.vdiskfs.point") == b"1"
        for name in ("0", "sample.vmdk"):
            with case.mounted("sample-000002.vmdk", f"snapshot={name}") as mnt:
                assert "snapshots" not in os.listdir(mnt)
                assert not os.path.exists(f"{mnt}/p2/fs/home/alice/todo.txt")

        # the same points without a mount
        assert disk == expected["sample-000001"][0]
        words = (VDISKCTL, "hash", "--disk-only", "-o", f"snapshot=1,sandbox={SANDBOX}", case.path("sample-000002.vmdk"))
        assert run(*words).stdout.decode() == f"{disk}  disk.img\n"
        text = run(VDISKCTL, "info", "-o", f"snapshot=1,sandbox={SANDBOX}", case.path("sample-000002.vmdk")).stdout
        assert b"POINT IN TIME\n  number                 1 " in text, text
        check_names(case)
        ordinary_user(case)


def ordinary_user(case):
    if os.getuid() != 0 or not shutil.which("runuser") or not shutil.which("fusermount3"):
        return
    tools = os.path.join(case.dir, "bin")  # the build may lie where the user cannot look
    os.mkdir(tools)
    for name in ("vdiskfs", "vdiskctl"):
        shutil.copy(os.path.join(BIN, name), tools)
    run("chown", "-R", "nobody", case.dir)
    script = f"""set -e
vdiskfs {case.evidence}/sample-000002.vmdk {case.mnt} -o sandbox={SANDBOX},audit={case.log}
trap 'vdiskctl umount {case.mnt}' EXIT
cat {case.mnt}/snapshots/{POINTS[0]}/p1/fs/report.txt
cat {case.mnt}/snapshots/{POINTS[1]}/p2/fs/home/alice/todo.txt
find {case.mnt}/snapshots | wc -l
"""
    result = run("runuser", "-u", "nobody", "--", "bash", "-c", script, check=False, stdin=subprocess.DEVNULL,
                 env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "HOME": case.dir})
    text = result.stdout.decode()
    assert result.returncode == 0, f"{text}\n{result.stderr.decode()}"
    assert "first draft" in text and "Pay the invoice today." in text, text


# ---- a deep chain: children of one template, each with another block of one ext4 file ----

DEPTH = 200
MARK = b"state-%04d-of-the-disk\n"


def rewrite(image, number, out):
    """A copy of the child `image` that is number `number` of the chain."""
    data = bytearray(image)
    text = bytes(data[512:512 + 20 * 512]).rstrip(b"\0")
    text = re.sub(rb"\nCID=[0-9a-f]+", b"\nCID=%08x" % (0x1000 + number), text)
    if number:
        text = re.sub(rb"parentCID=[0-9a-f]+", b"parentCID=%08x" % (0x1000 + number - 1), text)
        parent = b"deep-%04d.vmdk" % (number - 1)
        text = re.sub(rb'parentFileNameHint="[^"]*"', b'parentFileNameHint="%s"' % parent, text)
    data[512:512 + 20 * 512] = text.ljust(20 * 512, b"\0")
    place = data.find(MARK % 9999)
    if place >= 0:
        data[place:place + len(MARK % 0)] = MARK % number
    with open(out, "wb") as file:
        file.write(data)


def make_deep(case):
    raw, tree = os.path.join(case.dir, "deep.raw"), os.path.join(case.dir, "tree")
    for number in range(40):
        os.makedirs(f"{tree}/dir{number:02d}")
        with open(f"{tree}/dir{number:02d}/file", "w", encoding="ascii") as file:
            file.write(f"{number}\n")
    with open(f"{tree}/state.txt", "wb") as file:
        file.write((MARK % 0).ljust(4096, b"\0"))
    with open(raw, "wb") as file:
        file.truncate(4 << 20)
    run("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "^has_journal", "-d", tree, raw)
    base = os.path.join(case.dir, "base.vmdk")
    run("qemu-img", "convert", "-q", "-f", "raw", "-O", "vmdk", raw, base)
    block = int(run("debugfs", "-R", "blocks /state.txt", raw).stdout.split()[0])
    with open(os.path.join(case.dir, "block"), "wb") as file:
        file.write((MARK % 9999).ljust(4096, b"\0"))
    run("qemu-img", "create", "-q", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", "child.vmdk", cwd=case.dir)
    run("qemu-io", "-f", "vmdk", "-c", f"write -s block {block * 4096} 4096", "child.vmdk", cwd=case.dir)
    child = read(os.path.join(case.dir, "child.vmdk"))
    assert child.count(MARK % 9999) == 1
    rewrite(read(base), 0, case.path("deep-0000.vmdk"))
    for number in range(1, DEPTH):
        rewrite(child, number, case.path(f"deep-{number:04d}.vmdk"))


def deep_chain():
    with Case("deep") as case:
        make_deep(case)
        expected = references(case, (f"deep-{number:04d}" for number in (0, 77, DEPTH - 2)))
        with case.mounted(f"deep-{DEPTH - 1:04d}.vmdk") as mnt:
            names = sorted(os.listdir(f"{mnt}/snapshots"))
            assert names == [f"{n:03d}_deep-{n:04d}.vmdk" for n in range(DEPTH - 1)], names[:3]
            before = worker_peak(case.process.pid)

            def walk(walker):
                order = names if walker % 2 else names[::-1]
                for name in order[walker::2]:
                    found = read(f"{mnt}/snapshots/{name}/p0/fs/state.txt").rstrip(b"\0")
                    assert found == MARK % int(name[:3]), (name, found)
                    assert len(os.listdir(f"{mnt}/snapshots/{name}/p0/fs")) >= 41
                return len(run("find", f"{mnt}/snapshots", "-type", "f").stdout.splitlines()) if walker == 0 else 0

            files = in_parallel(4, walk)[0]
            assert files >= (DEPTH - 1) * 45, files
            assert read(f"{mnt}/p0/fs/state.txt").rstrip(b"\0") == MARK % (DEPTH - 1)
            for member, (disk, _) in expected.items():
                name = next(name for name in names if member in name)
                assert sha256_file(f"{mnt}/snapshots/{name}/disk.img") == disk, name
            peak = worker_peak(case.process.pid)
            # sanitizer builds (which run without the sandbox) keep freed memory back
            limit = 1024 if SANDBOX == "off" else 256
            assert peak < limit, f"{peak} MiB resident after a walk over {DEPTH} points, {before} before"
    return f"a chain of {DEPTH} walked ({files} files), {peak} MiB resident at most, {before} MiB before"


sample_chain()
print(f"every point with its own tree, the same numbers in every mount; {deep_chain()}")
