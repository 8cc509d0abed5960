#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The log's disk is full, fails, becomes read-only, or the log is removed, while a mount is being read:
no byte is served without a record, the policy of audit_full is kept, and service resumes."""
import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time

from harness import (ROOT, SANDBOX, VDISKCTL, VDISKFS, Case, is_mounted, make_raw, need_fuse, need_root, need_tools,
                     run, wait_until)

need_root()
need_fuse()
need_tools("mkfs.ext4", "mkfs.xfs", "mount", "umount", "losetup", "xfs_io", "findmnt")
PAGE = 4096
DISK = 64 << 20
SEED = 5


class LogDisk:
    """A file system of its own for the log."""

    def __init__(self, case, kind, mib):
        self.path, self.image = os.path.join(case.dir, "logdisk"), os.path.join(case.dir, "logdisk.img")
        os.makedirs(self.path, exist_ok=True)
        self.fill = os.path.join(self.path, "filler")
        if kind == "tmpfs":
            run("mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", self.path)
        else:
            with open(self.image, "wb") as file:
                file.truncate(mib << 20)
            run(f"mkfs.{kind}", "-q", self.image)
            result = run("mount", "-o", "loop", self.image, self.path, check=False)
            if result.returncode:
                raise RuntimeError(f"no loop mount here: {result.stderr!r}")
        case.log = os.path.join(self.path, "log")
        os.mkdir(case.log)

    def fill_up(self):
        fd = os.open(self.fill, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for size in (1 << 20, PAGE):
            with contextlib.suppress(OSError):
                while True:
                    os.write(fd, bytes(size))
        os.close(fd)

    def free(self):
        os.unlink(self.fill)

    def umount(self):
        run("umount", self.path)


class Reader(threading.Thread):
    """Reads pages of disk.img, each once and past the page cache; keeps which ones it got, and when."""

    def __init__(self, mnt, first, step):
        super().__init__(daemon=True)
        self.file = os.path.join(mnt, "disk.img")
        self.pages = range(first, DISK // PAGE, step)
        self.got, self.errors, self.over = [], [], False
        self.start()

    def run(self):
        fd = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        for page in self.pages:
            if self.over:
                break
            try:
                data = os.pread(fd, PAGE, page * PAGE)
                assert len(data) == PAGE
                self.got.append((page, time.monotonic()))
            except OSError as error:
                self.errors.append((error.errno, time.monotonic()))
                if error.errno != errno.EIO:
                    break
                time.sleep(0.01)
            time.sleep(0.002)
        with contextlib.suppress(OSError):
            os.close(fd)

    def end(self):
        self.over = True
        self.join(10)
        assert not self.is_alive(), "a reader hangs"


@contextlib.contextmanager
def mount(case, *options):
    """As Case.mounted, but what becomes of the program is the test's business."""
    errors = open(os.path.join(case.dir, "stderr"), "w+b")
    process = subprocess.Popen([VDISKFS, case.path("disk.raw"), case.mnt, "-f", "-o",
                                ",".join([f"audit={case.log},sandbox={SANDBOX}", *options])],
                               stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        assert wait_until(lambda: is_mounted(case.mnt) or process.poll() is not None, 30)
        assert process.poll() is None, case.errors()
        yield process
    finally:
        if is_mounted(case.mnt):
            subprocess.run(["umount", case.mnt], check=False)
        if is_mounted(case.mnt):
            subprocess.run(["umount", "-l", case.mnt], check=False)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            errors.close()


def recorded_pages(case):
    """Pages of disk.img that the log says were read, from READ records (merged ones have ranges)."""
    records = [json.loads(line) for line in
               run(VDISKCTL, "audit", "show", "--json", case.sessions()[-1]).stdout.splitlines()]
    disk = {r["obj"] for r in records if r["op"] == "OPEN" and r.get("path") == "disk.img"}
    pages = set()
    for r in records:
        if r["op"] == "READ" and r["obj"] in disk:
            for off, length in r.get("ranges") or [(r["off"], r["len"])]:
                pages.update(range(off // PAGE, -(-(off + length) // PAGE)))
    return records, pages


def check_log(case, readers, verdict="INTACT closed"):
    """Both verifiers; every byte that a reader got has a record."""
    case.verify(verdict)
    second = run(os.path.join(ROOT, "scripts", "verify-audit-log"), case.sessions()[-1], check=False)
    assert verdict.encode() in second.stdout, second.stdout
    records, pages = recorded_pages(case)
    got = {page for reader in readers for page, _ in reader.got}
    assert got <= pages, f"{len(got - pages)} pages were served without a record"
    return records, len(got)


def stopped(readers):
    """Waits until all readers get nothing but errors; when the last byte was served."""
    def quiet():
        now = time.monotonic()
        return all(r.errors and (not r.got or r.got[-1][1] < now - 0.3) for r in readers)
    assert wait_until(quiet, 15), [(len(r.got), len(r.errors)) for r in readers]
    return max(r.got[-1][1] for r in readers if r.got)


def full():
    """audit_full=eio: EIO, a daemon that lives, a root that answers; resumes; closed on a full disk."""
    with Case("full") as case:
        disk = LogDisk(case, "ext4", 56)
        make_raw(case.path("disk.raw"), DISK, SEED, density=1.0)
        with mount(case, "audit_refused") as process:
            readers = [Reader(case.mnt, i, 3) for i in range(3)]
            time.sleep(0.3)
            assert all(r.got and not r.errors for r in readers)
            disk.fill_up()
            exhaust(case)  # the log lives on what is reserved ahead as long as that lasts
            stopped(readers)
            assert process.poll() is None
            os.stat(case.mnt)
            os.statvfs(case.mnt)
            before = sum(len(r.got) for r in readers)
            write_refused(case.mnt)
            time.sleep(0.5)
            assert sum(len(r.got) for r in readers) == before, "served on a full disk"
            assert "no space is left for the log" in case.errors(), case.errors()
            disk.free()
            assert wait_until(lambda: sum(len(r.got) for r in readers) > before + 10, 10), "it does not resume"
            disk.fill_up()
            exhaust(case)
            for r in readers:
                r.end()
        assert process.returncode == 0, case.errors()  # closed while the disk is full
        records, got = check_log(case, readers)
        warned = [r["text"] for r in records if r["op"] == "WARNING" and r.get("key") == "audit"]
        assert any("KiB left" in t for t in warned), warned
        assert any("no space is left" in t for t in warned) and any("space for the log again" in t for t in warned)
        assert any(r["op"] == "REFUSED" for r in records)
        segment = os.stat(os.path.join(case.sessions()[-1], "000000.vlog"))
        assert segment.st_blocks * 512 < segment.st_size + (1 << 16), "what was reserved was not given back"
        print(f"full: {got} pages read, each recorded; {before} before the disk was full, then none")
        disk.umount()


def exhaust(case):
    """Many small accesses with long records, until the room ahead is used up."""
    deadline = time.monotonic() + 20
    number = 0
    while time.monotonic() < deadline:
        number += 1
        try:
            os.stat(f"{case.mnt}/{'n' * 240}{number}")
        except FileNotFoundError:
            continue
        except OSError as error:
            assert error.errno == errno.EIO, error
            return
    raise AssertionError("the room does not end")


def write_refused(mnt):
    """A write attempt that reaches the program (audit_refused) is refused and recorded from the reserve."""
    try:
        os.utime(mnt)  # needs no lookup first
    except OSError as error:
        assert error.errno == errno.EROFS, error
        return
    raise AssertionError("something was written")


def block():
    """audit_full=block: readers wait; they can be killed; with space they get their bytes, and no error."""
    with Case("block") as case:
        disk = LogDisk(case, "tmpfs", 37)
        make_raw(case.path("disk.raw"), DISK, SEED, density=1.0)
        with mount(case, "audit_full=block", "threads=4") as process:
            readers = [Reader(case.mnt, i, 12) for i in range(12)]  # more than there are threads
            time.sleep(0.3)
            disk.fill_up()
            looker = subprocess.Popen([sys.executable, "-c", "import os, sys\n"
                                       "for i in range(10 ** 7):\n"
                                       "  try: os.stat(sys.argv[1] + '/' + 'n' * 240 + str(i))\n"
                                       "  except FileNotFoundError: pass\n", case.mnt])
            assert wait_until(lambda: "accesses wait" in case.errors(), 20), case.errors()
            time.sleep(0.3)
            before = [len(r.got) for r in readers]
            time.sleep(0.7)
            assert before == [len(r.got) for r in readers], "served on a full disk"
            assert not any(r.errors for r in readers)
            os.statvfs(case.mnt)
            killed = time.monotonic()
            looker.kill()
            looker.wait(5)  # not stuck in the kernel
            killed = time.monotonic() - killed
            disk.free()
            assert wait_until(lambda: all(len(r.got) > n for r, n in zip(readers, before)), 10), "still waiting"
            assert not any(r.errors for r in readers)
            for r in readers:
                r.end()
        assert process.returncode == 0, case.errors()
        _, got = check_log(case, readers)
        print(f"block: {got} pages, 12 readers waited, a killed one was gone after {killed * 1000:.0f} ms")

        # umount -f while somebody waits
        with mount(case, "audit_full=block") as process:
            readers = [Reader(case.mnt, i, 2) for i in range(2)]
            time.sleep(0.2)
            disk.fill_up()
            exhaust_in_background(case)
            assert wait_until(lambda: "accesses wait" in case.errors(), 20), case.errors()
            time.sleep(0.3)
            run("umount", "-f", case.mnt, check=False)
            run("umount", "-l", case.mnt, check=False)
            for r in readers:
                r.end()
            process.wait(10)
        assert process.returncode == 0, case.errors()
        check_log(case, readers)
        disk.umount()


def exhaust_in_background(case):
    def look():
        with contextlib.suppress(OSError, AssertionError):
            exhaust(case)
    threading.Thread(target=look, daemon=True).start()


def unmount():
    """audit_full=unmount: the mount ends in order, and the log says why."""
    with Case("unmount") as case:
        disk = LogDisk(case, "ext4", 56)
        make_raw(case.path("disk.raw"), DISK, SEED, density=1.0)
        with mount(case, "audit_full=unmount") as process:
            readers = [Reader(case.mnt, i, 2) for i in range(2)]
            time.sleep(0.3)
            disk.fill_up()
            with contextlib.suppress(OSError, AssertionError):
                exhaust(case)
            assert wait_until(lambda: not is_mounted(case.mnt), 10), "still mounted"
            process.wait(10)
            for r in readers:
                r.end()
        assert process.returncode == 6, process.returncode
        assert "no space is left for the log; the mount was ended (audit_full=unmount)" in case.errors(), case.errors()
        records, got = check_log(case, readers)
        assert records[-1]["result"] == -5, records[-1]
        print(f"unmount: {got} pages, exit code {process.returncode}, the close record says why")
        disk.umount()


def failing(what, kind, fail):
    """The log's disk fails for good, becomes read-only, or the log is removed: EIO within a second."""
    with Case("fail") as case:
        disk = LogDisk(case, kind, 320 if kind == "xfs" else 96)
        make_raw(case.path("disk.raw"), DISK, SEED, density=1.0)
        with mount(case) as process:
            readers = [Reader(case.mnt, i, 2) for i in range(2)]
            time.sleep(0.5)
            failed_at = time.monotonic()
            fail(case, disk)
            took = time.monotonic() - failed_at
            last = stopped(readers)
            assert process.poll() is None, case.errors()
            assert last - failed_at < 1 + took, f"served for {last - failed_at:.1f} s after {what}"
            os.statvfs(case.mnt)
            assert "accesses are answered EIO" in case.errors(), case.errors()
            for r in readers:
                r.end()
        assert process.returncode == 6 and "cannot close the audit log" in case.errors(), case.errors()
        got = sum(len(r.got) for r in readers)
        print(f"{what}: {got} pages before, the last one {max(0, last - failed_at) * 1000:.0f} ms after, then EIO")
        if kind != "tmpfs":
            run("umount", disk.path)
            run("mount", "-o", "loop", disk.image, disk.path)  # with its own recovery, as after a crash
        if case.sessions():
            result = run(VDISKCTL, "audit", "verify", case.sessions()[-1], check=False)
            assert b"TAMPERED" not in result.stdout and b"closed" not in result.stdout.split(b"\n")[0], result.stdout
        disk.umount()


def remove(case, disk):
    run("rm", "-rf", case.sessions()[-1])


def shut_down(case, disk):
    """Every later write of this file system is an I/O error."""
    run("sync", "-f", disk.path)  # clean pages of the mapped ring: the next store into them fails as well
    run("xfs_io", "-x", "-c", "shutdown", disk.path)


def make_read_only(case, disk):
    """What the kernel does when it finds an error in the file system (errors=remount-ro)."""
    run("mount", "-o", "remount,errors=remount-ro", disk.path)
    run("sync", "-f", disk.path)
    device = run("findmnt", "-no", "SOURCE", disk.path).stdout.decode().strip()
    with open(f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error", "w", encoding="utf-8") as trigger:
        trigger.write("test")


def timed(function, *args):
    start = time.monotonic()
    function(*args)
    if os.environ.get("VDISKFS_TIMES"):
        print(f"    {time.monotonic() - start:.1f} s")


def main():
    timed(full)
    timed(block)
    timed(unmount)
    timed(failing, "rm -rf of the log", "tmpfs", remove)
    timed(failing, "an I/O error", "xfs", shut_down)
    timed(failing, "a read-only file system", "ext4", make_read_only)


if __name__ == "__main__":
    main()
