#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vdiskctl export: every point of a chain equals `qemu-img convert` of that member; killed in the
middle, on a full disk and after its partial file was damaged it goes on to the same hash; a
half-written file never has the final name; evidence is never written to."""
import os
import pwd
import shutil
import signal
import stat
import subprocess
import time

from harness import (SANDBOX, VDISKCTL, Case, evidence_state, make_raw, need_tools, qemu_chain, reference_raw,
                     run, sha256_file, skip)

need_tools("qemu-img", "qemu-io")
OPTIONS = ("-o", f"sandbox={SANDBOX}")


def export(image, out, *words, check=True, **options):
    result = run(VDISKCTL, "export", "--raw", *words, *OPTIONS, image, out, check=check, **options)
    assert b"Sanitizer" not in result.stderr and b"runtime error" not in result.stderr, result.stderr
    return result


def data_bytes(path):
    """Bytes that are not in holes."""
    with open(path, "rb") as file:
        size, at, total = os.fstat(file.fileno()).st_size, 0, 0
        while at < size:
            try:
                data = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(file.fileno(), data, os.SEEK_HOLE)
            total += at - data
        return total


def below(case, name, good):
    """A folder of the evidence directory: with --force only, and nothing there is ever replaced."""
    os.makedirs(case.path("sub"))
    target, image = case.path("sub/x.raw"), case.path(name)
    result = export(image, target, check=False)
    assert result.returncode == 2 and b"below the evidence directory" in result.stderr, result.stderr
    assert b"--force" in result.stderr and not os.listdir(case.path("sub")), result.stderr
    result = export(image, target, "--force")
    assert b"below the evidence directory" in result.stderr, "not on the record"
    run("cmp", target, good)
    for taken in ("x.raw", "y.raw.partial", "y.raw.map.partial"):
        shutil.copy(image, case.path("sub/" + taken))
        out = case.path("sub/" + taken.split(".")[0] + ".raw")
        for words in ((), ("--restart",)):
            result = export(image, out, "--force", "--errors=zero", *words, check=False)
            assert result.returncode == 2 and b"exists" in result.stderr, (taken, result.stderr)
            assert sha256_file(case.path("sub/" + taken)) == sha256_file(image), taken
        os.unlink(case.path("sub/" + taken))
    for foreign in ("y.raw.partial", "y.raw.partial.journal"):
        shutil.copy(image, case.path("sub/" + foreign))
    result = export(image, case.path("sub/y.raw"), "--force", "--restart", check=False)
    assert result.returncode == 2 and sha256_file(case.path("sub/y.raw.partial.journal")) == sha256_file(image)
    shutil.rmtree(case.path("sub"))


def refused(case, out):
    """An image that cannot be opened: nothing is left, and nothing is said to be there."""
    with open(case.path("broken.vmdk"), "wb") as file:
        file.write(b"KDMV" + bytes(65532))
    result = export(case.path("broken.vmdk"), os.path.join(out, "broken.raw"), check=False)
    assert result.returncode not in (0, 1) and b"the same command goes on" not in result.stderr, result.stderr
    assert not [name for name in os.listdir(out) if name.startswith("broken")], os.listdir(out)
    result = run(VDISKCTL, "export", "--no-such", check=False)
    assert result.returncode == 1 and result.stderr.startswith(b"vdiskctl export: "), result.stderr
    os.unlink(case.path("broken.vmdk"))


def points(case, out):
    names = qemu_chain(case.evidence, 4, 24 << 20)
    before = evidence_state(case.evidence)
    for name in names:
        target = os.path.join(out, name + ".raw")
        printed = export(case.path(name), target, "--hash=sha256,md5,sha1").stdout.decode().splitlines()
        expected = sha256_file(reference_raw(case.path(name), os.path.join(out, "expected")))
        assert printed[0] == f"{expected}  {target}", printed
        assert sha256_file(target) == expected, name
        md5 = run("md5sum", target).stdout.decode().split()[0]
        sha1 = run("sha1sum", target).stdout.decode().split()[0]
        assert [line.split()[0] for line in printed[1:]] == [md5, sha1], printed
        assert data_bytes(target) <= data_bytes(os.path.join(out, "expected")), "zeros were written"
        assert not [n for n in os.listdir(out) if "partial" in n or n.endswith(".map")]
    tip = os.path.join(out, names[-1] + ".raw")

    # never replaced, never beside the evidence (below it when that is asked for), never through a link or to anything but a file
    first = os.stat(tip).st_mtime_ns
    result = export(case.path(names[-1]), tip, check=False)
    assert result.returncode == 2 and b"--force" in result.stderr and os.stat(tip).st_mtime_ns == first
    assert export(case.path(names[0]), tip, "--force").returncode == 0
    assert sha256_file(tip) == sha256_file(os.path.join(out, names[0] + ".raw"))
    result = export(case.path(names[-1]), case.path("x.raw"), "--force", check=False)
    assert result.returncode == 2 and b"evidence directory" in result.stderr, result.stderr
    below(case, names[0], tip)
    os.symlink(case.path(names[0]), os.path.join(out, "link.raw.partial"))
    result = export(case.path(names[-1]), os.path.join(out, "link.raw"), check=False)
    assert result.returncode == 2 and b"symbolic link" in result.stderr, result.stderr
    os.unlink(os.path.join(out, "link.raw.partial"))
    os.link(case.path(names[0]), os.path.join(out, "hard.raw.partial"))
    result = export(case.path(names[-1]), os.path.join(out, "hard.raw"), check=False)
    assert result.returncode == 2 and b"this name alone" in result.stderr, result.stderr
    os.unlink(os.path.join(out, "hard.raw.partial"))
    os.mkfifo(os.path.join(out, "fifo"))
    result = export(case.path(names[-1]), os.path.join(out, "fifo"), "--force", check=False)
    assert result.returncode == 2 and b"not a regular file" in result.stderr, result.stderr
    after = evidence_state(case.evidence)
    for name in names:  # the hard link above has changed the ctime and nothing else
        before[name][3] = after[name][3] = (before[name][3][0], before[name][3][2])
    assert before == after, "evidence changed"
    print(f"{len(names)} points: identical to qemu-img")


def interrupted_run(image, target, when):
    """Starts an export and kills it (all of it) as soon as `when(target)`; False: it was faster."""
    process = subprocess.Popen([VDISKCTL, "export", "--raw", "--hash", *OPTIONS, image, target],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None and not when(target):
        time.sleep(0.001)
    # stopped first: what is seen next is what the kill leaves behind
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGSTOP)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(0.05)  # the worker dies with it
    return not os.path.exists(target)


def checkpoints(target):
    try:
        with open(target + ".partial.journal", encoding="utf-8") as file:
            return [line for line in file.read().splitlines() if line.startswith("checkpoint ")]
    except OSError:
        return []


def killed(case, out):
    size = 192 << 20
    make_raw(os.path.join(out, "base"), size, 5, density=0.95, chunk=1 << 20)
    image = case.path("big.vmdk")
    run("qemu-img", "convert", "-q", "-f", "raw", "-O", "vmdk", os.path.join(out, "base"), image)
    expected = sha256_file(os.path.join(out, "base"))
    os.unlink(os.path.join(out, "base"))
    target, resumed = os.path.join(out, "big.raw"), 0
    for attempt, when in enumerate((lambda t: os.path.exists(t + ".partial"),
                                    lambda t: os.path.exists(t + ".partial.journal"),
                                    lambda t: len(checkpoints(t)) >= 1, lambda t: len(checkpoints(t)) >= 2)):
        if not interrupted_run(image, target, when):
            os.unlink(target)
            continue  # finished before it could be killed: nothing to go on with
        points_before = len(checkpoints(target))
        result = export(image, target, "--hash")
        assert result.stdout.decode().split()[0] == expected == sha256_file(target), attempt
        if points_before:
            assert b"continued at byte" in result.stderr, result.stderr
            resumed += 1
        assert sorted(n for n in os.listdir(out) if n.startswith("big")) == ["big.raw"]
        os.unlink(target)
    # another input under the same name is not mixed in
    if interrupted_run(image, target, lambda t: len(checkpoints(t)) >= 1):
        os.utime(image)
        result = export(image, target, "--hash", check=False)
        assert result.returncode == 2 and b"another export" in result.stderr, result.stderr
        result = export(image, target, "--hash", "--restart")
        assert result.stdout.decode().split()[0] == expected
        assert b"continued" not in result.stderr
    # a partial file of unknown origin is left alone
    shutil.copy(image, os.path.join(out, "foreign.raw.partial"))
    result = export(image, os.path.join(out, "foreign.raw"), check=False)
    assert result.returncode == 2 and b"journal" in result.stderr
    assert sha256_file(os.path.join(out, "foreign.raw.partial")) == sha256_file(image)
    print(f"killed: continued {resumed} times to the same hash")


def full_disk(case, out):
    if os.getuid() != 0:
        print("full disk: not tried, needs root for a tmpfs")
        return
    small = os.path.join(out, "small")
    os.mkdir(small)
    if run("mount", "-t", "tmpfs", "-o", "size=100m", "none", small, check=False).returncode:
        print("full disk: not tried, no tmpfs can be mounted here")
        return
    try:
        image, target = case.path("big.vmdk"), os.path.join(small, "big.raw")
        expected = sha256_file(reference_raw(image, os.path.join(out, "reference")))
        for tamper in (False, True):
            result = export(image, target, "--hash", check=False)
            assert result.returncode == 2 and b"no space left" in result.stderr, result.stderr
            assert not os.path.exists(target) and os.path.exists(target + ".partial")
            assert len(checkpoints(target)) >= 1
            run("mount", "-o", "remount,size=400m", small)
            if tamper:  # one bit of what the journal vouches for
                with open(target + ".partial", "r+b") as file:
                    file.seek(1 << 20)
                    byte = file.read(1)
                    file.seek(1 << 20)
                    file.write(bytes([byte[0] ^ 1]))
            result = export(image, target, "--hash")
            assert (b"continued at byte" in result.stderr) == (not tamper), result.stderr
            assert (b"was not right" in result.stderr) == tamper, result.stderr
            assert result.stdout.decode().split()[0] == expected == sha256_file(target)
            os.unlink(target)
            run("mount", "-o", "remount,size=100m", small)
    finally:
        run("umount", small, check=False)
    print("full disk: said so, went on, and did not believe a changed partial file")


def damaged(case, out):
    """A flat extent that ends early: its tail cannot be had."""
    folder = os.path.join(case.evidence, "cut")
    os.mkdir(folder)
    make_raw(os.path.join(out, "flat"), 8 << 20, 9, density=1.0)
    image = os.path.join(folder, "cut.vmdk")
    run("qemu-img", "convert", "-q", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicFlat",
        os.path.join(out, "flat"), image)
    good = 6 * 1048576 + 512
    os.truncate(os.path.join(folder, "cut-flat.vmdk"), good)
    target = os.path.join(out, "cut.raw")
    result = export(image, target, "--hash", check=False)
    assert result.returncode == 2 and not os.path.exists(target), result
    result = export(image, target, "--hash", "--errors", "zero", check=False)
    assert result.returncode == 7 and b"cut.raw.map" in result.stderr, result
    with open(os.path.join(out, "flat"), "rb") as file:
        head = file.read(good)
    with open(target, "rb") as file:
        assert file.read(good) == head
        assert file.read() == bytes((8 << 20) - good)
    with open(target + ".map", encoding="ascii") as file:
        rows = [line.split() for line in file if not line.startswith("#")][1:]
    assert rows == [["0x00000000", f"0x{good:08X}", "+"], [f"0x{good:08X}", f"0x{(8 << 20) - good:08X}", "-"]], rows
    assert result.stdout.decode().split()[0] == sha256_file(target)
    print("damaged: exactly the bytes that cannot be had are listed")


def partitions(case, out):
    if not shutil.which("sfdisk"):
        print("partitions: not tried, sfdisk is not installed")
        return
    raw = case.path("parts.raw")
    make_raw(raw, 16 << 20, 3, density=1.0)
    run("sfdisk", "-q", raw, input=b"label: gpt\nstart=2048,size=8192\nstart=16384,size=4096\n")
    target = os.path.join(out, "p2.raw")
    export(raw, target, "--partition", "p2")
    with open(raw, "rb") as file:
        file.seek(16384 * 512)
        assert open(target, "rb").read() == file.read(4096 * 512)
    result = export(raw, os.path.join(out, "p9.raw"), "--partition", "p9", check=False)
    assert result.returncode == 1 and b"p9" in result.stderr, result
    assert not [n for n in os.listdir(out) if n.startswith("p9")]
    print("partitions: identical")


def ordinary_user(case, out):
    if os.getuid() != 0:
        return
    try:
        user = pwd.getpwnam("nobody")
    except KeyError:
        return
    if subprocess.run([VDISKCTL, "--version"], user="nobody", capture_output=True, check=False).returncode:
        print("ordinary user: not tried, the programs lie where nobody cannot reach them")
        return
    private = os.path.join(out, "nobody")
    os.mkdir(private)
    os.chown(private, user.pw_uid, user.pw_gid)
    os.chmod(out, 0o755)
    target = os.path.join(private, "a.raw")
    names = [n for n in os.listdir(case.evidence) if n.startswith("disk")]
    result = subprocess.run([VDISKCTL, "export", "--raw", "--hash", *OPTIONS, case.path(sorted(names)[0]), target],
                            user="nobody", group=user.pw_gid, umask=0o077, capture_output=True, check=False)
    assert result.returncode == 0, result
    assert stat.S_IMODE(os.stat(target).st_mode) == 0o600 and os.stat(target).st_uid == user.pw_uid
    print("ordinary user: works")


with Case("export") as this:
    folder_out = os.path.join(this.dir, "out")
    os.mkdir(folder_out)
    if os.statvfs(folder_out).f_bavail * os.statvfs(folder_out).f_frsize < 2 << 30:
        skip("needs 2 GiB of room for temporary files")
    refused(this, folder_out)
    points(this, folder_out)
    killed(this, folder_out)
    full_disk(this, folder_out)
    damaged(this, folder_out)
    partitions(this, folder_out)
    ordinary_user(this, folder_out)
