#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Start and end: daemon mode returns when the mount is usable; umount, fusermount3, signals end it
cleanly with a closed log; a killed worker leaves a dead mount and a log that says so; nothing stays
behind."""
import errno
import os
import signal
import subprocess
import time

from harness import (SANDBOX, VDISKCTL, VDISKFS, Case, is_mounted, need_fuse, need_tools, qemu_chain, run,
                     wait_until)

need_tools("qemu-img", "qemu-io")
need_fuse()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def processes_of(case):
    """Supervisors and workers whose command line names this case."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if case.mnt.encode() in words and words[0].endswith(b"vdiskfs"):
            found.append(int(pid))
    return found


def daemon(case, name):
    result = run(VDISKFS, case.path(name), case.mnt, "-o", f"audit={case.log},sandbox={SANDBOX}",
                 stdin=subprocess.DEVNULL)
    assert b"audit log key: vdiskfs/" in result.stderr, result.stderr
    assert os.path.getsize(f"{case.mnt}/disk.img") == 4 << 20, "usable as soon as the command returns"
    assert len(processes_of(case)) == 2, processes_of(case)


def gone(case):
    assert wait_until(lambda: not is_mounted(case.mnt) and not processes_of(case), 10), processes_of(case)


with Case("life") as case:
    names = qemu_chain(case.evidence, 2, 4 << 20)
    tip = names[-1]

    for _ in range(5):  # umount returns early; vdiskctl umount when the log is closed
        daemon(case, tip)
        run(VDISKCTL, "umount", case.mnt)
        assert not processes_of(case)
        case.verify("INTACT closed")

    # each log names the one before it: cutting that one's end off later would show
    earlier = os.path.basename(case.sessions()[-2])
    assert earlier in case.records()[0]["previous"], case.records()[0]

    daemon(case, tip)
    run("umount", case.mnt)
    gone(case)
    case.verify("INTACT closed")

    daemon(case, tip)
    run("fusermount3", "-u", case.mnt)
    gone(case)
    case.verify("INTACT closed")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        daemon(case, tip)
        started = time.monotonic()
        os.kill(min(processes_of(case)), number)
        gone(case)
        assert time.monotonic() - started < 5
        case.verify("INTACT closed")

    # umount -f of a mount in use cuts its connection: told, and the log is closed
    if os.getuid() == 0:
        daemon(case, tip)
        handle = os.open(f"{case.mnt}/disk.img", os.O_RDONLY)
        run("umount", "-f", case.mnt, check=False)
        assert wait_until(lambda: not processes_of(case), 10)
        case.verify("INTACT closed")
        os.close(handle)
        assert any("was cut by somebody" in r.get("text", "") for r in case.records()), case.records()
        run("umount", case.mnt)
        gone(case)
        daemon(case, tip)
        run("umount", "-f", case.mnt)
        gone(case)
        case.verify("INTACT closed")
        assert not any("was cut by somebody" in r.get("text", "") for r in case.records()), case.records()

    # busy: a file is open and a shell stands in the mount
    daemon(case, tip)
    handle = os.open(f"{case.mnt}/disk.img", os.O_RDONLY)
    os.kill(min(processes_of(case)), signal.SIGTERM)
    gone(case)
    try:
        os.pread(handle, 512, 1 << 20)
        raise AssertionError("a read after the end succeeded")
    except OSError as error:
        assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO), error
    os.close(handle)
    case.verify("INTACT closed")

    # a worker that dies: the mount is dead, not empty, and the log says so
    with open(os.path.join(case.dir, "stderr2"), "wb") as errors:
        process = subprocess.Popen([VDISKFS, case.path(tip), case.mnt, "-f", "-o",
                                    f"audit={case.log},sandbox={SANDBOX}"], stderr=errors)
        assert wait_until(lambda: is_mounted(case.mnt))
        os.listdir(case.mnt)
        os.kill(children(process.pid)[0], signal.SIGKILL)
        assert process.wait(10) == 2
    try:
        os.listdir(case.mnt)
        raise AssertionError("a dead mount was listed")
    except OSError as error:
        assert error.errno in (errno.ENOTCONN, errno.ECONNABORTED), error
    result = run(VDISKFS, case.path(tip), case.mnt, "-o", f"audit={case.log},sandbox={SANDBOX}", check=False)
    assert result.returncode == 5 and b"a dead FUSE mount lies there" in result.stderr, result.stderr
    result = run(VDISKCTL, "umount", case.mnt)
    assert b"not waited for" in result.stderr and not is_mounted(case.mnt), result.stderr
    assert any(r["op"] == "WORKER_DIED" for r in case.records())
    case.verify("INTACT closed")

    # the supervisor is killed: the worker ends, the log is an open one without false alarm
    process = subprocess.Popen([VDISKFS, case.path(tip), case.mnt, "-f", "-o",
                                f"audit={case.log},sandbox={SANDBOX}"], stderr=subprocess.DEVNULL)
    assert wait_until(lambda: is_mounted(case.mnt))
    os.listdir(case.mnt)
    process.kill()
    process.wait()
    assert wait_until(lambda: not processes_of(case), 10), processes_of(case)
    run("umount", "-l", case.mnt)
    result = run(VDISKCTL, "audit", "verify", case.sessions()[-1], check=False)
    assert b"INTACT open" in result.stdout or b"TORN TAIL" in result.stdout, result.stdout
    assert b"TAMPERED" not in result.stdout

    # a log that cannot be written: access stops, unmounting does not
    if os.getuid() == 0:
        small = os.path.join(case.dir, "small")
        os.mkdir(small)
        run("mount", "-t", "tmpfs", "-o", "size=40m", "none", small)
        run(VDISKFS, case.path(tip), case.mnt, "-o", f"audit={small},sandbox={SANDBOX}", stdin=subprocess.DEVNULL)
        fill = os.open(f"{small}/fill", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(fill, bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        os.close(fill)
        failed = False
        for number in range(20000):  # long records, until what is reserved ahead (1 MiB) is used up
            try:
                os.stat(f"{case.mnt}/{'n' * 240}{number}")
            except FileNotFoundError:
                continue
            except OSError as error:
                assert error.errno == errno.EIO, error
                failed = True
                break
        assert failed, "access went on with a full log"
        run(VDISKCTL, "umount", case.mnt)
        assert not is_mounted(case.mnt)
        gone(case)
        run("umount", small)

    # whatever somebody puts beside the logs does not stop the work
    open(os.path.join(case.log, "ffffffff-ffff-ffff-ffff-ffffffffffff"), "w").close()
    daemon(case, tip)
    run(VDISKCTL, "umount", case.mnt)
    os.unlink(os.path.join(case.log, "ffffffff-ffff-ffff-ffff-ffffffffffff"))

    assert b"octal number from 0 to 777" in run(VDISKFS, case.path(tip), case.mnt, "-o", "umask=99", check=False).stderr

    # nothing is mounted when the image cannot be opened, and the exit codes tell why
    with open(case.path("empty.vmdk"), "wb"):
        pass
    assert case.refused("not-there.vmdk")[0] == 2
    assert run(VDISKFS, case.path(tip), case.mnt, "-o", "frobnicate=1", check=False).returncode == 1
    assert b"frobnicate" in run(VDISKFS, case.path(tip), case.mnt, "-o", "frobnicate=1", check=False).stderr
    assert run(VDISKFS, case.path(tip), case.path(tip), "-o", f"audit={case.log}", check=False).returncode == 5
    assert run(VDISKFS, case.path(tip), case.mnt, "-o", f"audit={case.evidence}/log", check=False).returncode != 0
    assert not os.path.exists(f"{case.evidence}/log"), "a log directory was made beside the evidence"
    code, message = case.refused(tip, "audit=/proc/nothing-can-be-made-here")
    assert code == 6, (code, message)
    assert not processes_of(case)
print("daemon, umount, signals, deaths: clean")
