#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Chains of 1,024 children: they mount, in a time that is printed, and read right; with the usual soft
limit of 1,024 open files as well; with a hard limit below that they are refused and the message says
why.  Files and expected disk come from the writers (tests/lib/writers), members at random places."""
import os
import random
import resource
import shutil
import subprocess
import sys
import time

from harness import TEST_BIN, VDISKCTL, Case, need_fuse, run, skip

MKIMAGE = os.path.join(TEST_BIN, "lib", "writers", "mkimage")
MIB = 1 << 20
# kind of the children, of the base, suffix, children, unit, bytes of one change
# (a VHDX is 640 KiB at least: 128 of them are enough, the limits are those of the chain)
KINDS = (
    ("vmdk-sparse", "vmdk-sparse", "vmdk", 1024, "4K", 4096),
    ("vhd-diff", "vhd-dynamic", "vhd", 1024, "64K", 512),
    ("vhdx-diff", "vhdx-dynamic", "vhdx", 128, "1M", 4096),
)
SIZE = 4 * MIB

need_fuse()
if not os.path.exists(MKIMAGE):
    skip(f"{MKIMAGE} is not built")


def make(case, child, base, suffix, depth, unit, change):
    generator = random.Random(depth)
    words = ["member", f"kind={base}", f"name=m0000.{suffix}", f"size={SIZE}", f"unit={unit}",
             "seed=7", "density=40"]
    for i in range(1, depth + 1):
        off = generator.randrange(0, SIZE // change) * change
        words += ["member", f"kind={child}", f"name=m{i:04d}.{suffix}", f"unit={unit}",
                  f"run={off}+{change}:data:{generator.randrange(1, 1 << 30)}"]
    run(MKIMAGE, case.evidence, "expect=expected.raw", *words)
    os.rename(case.path("expected.raw"), os.path.join(case.dir, "expected.raw"))
    with open(os.path.join(case.dir, "expected.raw"), "rb") as file:
        return file.read()


def check_reads(disk, expected):
    generator = random.Random(1)
    with open(disk, "rb", buffering=0) as file:
        started = time.monotonic()
        whole = b"".join(iter(lambda: file.read(MIB), b""))
        seconds = time.monotonic() - started
        assert whole == expected, "the whole disk differs"
        for _ in range(300):
            off = generator.randrange(0, SIZE)
            length = generator.choice((1, 511, 512, 4096, 70000))
            assert os.pread(file.fileno(), length, off) == expected[off:off + length], f"at {off}"
    return seconds


def info_as_user(case, image, soft, hard):
    """vdiskctl info as an ordinary user with these limits of open files."""
    def become():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if os.getuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
    sandbox = os.environ.get("VDISKFS_TEST_SANDBOX", "best")
    tool = shutil.copy(VDISKCTL, case.dir)  # the build may lie where the user cannot look
    return subprocess.run([tool, "info", "-o", f"sandbox={sandbox}", case.path(image)],
                          preexec_fn=become, capture_output=True, timeout=300, check=False)


for child, base, suffix, depth, unit, change in KINDS:
    with Case("deep") as case:
        expected = make(case, child, base, suffix, depth, unit, change)
        tip = f"m{depth:04d}.{suffix}"
        started = time.monotonic()
        run(VDISKCTL, "info", "-o", f"sandbox={os.environ.get('VDISKFS_TEST_SANDBOX', 'best')}",
            case.path(tip))
        info_seconds = time.monotonic() - started
        started = time.monotonic()
        with case.mounted(tip, unchanged=False) as mnt:
            mount_seconds = time.monotonic() - started
            read_seconds = check_reads(f"{mnt}/disk.img", expected)
        print(f"{child}: {depth} children: info {info_seconds:.2f} s, mounted after "
              f"{mount_seconds:.2f} s, 4 MiB read in {read_seconds:.2f} s")
        # two seconds on a quiet machine with an optimised build; here only what must never happen
        assert mount_seconds < 60, "the mount took far too long"
        if suffix == "vmdk":
            result = info_as_user(case, tip, 1024, 4096)
            assert result.returncode == 0, f"soft limit 1,024: {result.stderr!r}"
            assert b"m0000.vmdk" in result.stdout
            result = info_as_user(case, tip, 512, 512)
            assert result.returncode != 0 and b"too many open files" in result.stderr, \
                f"hard limit 512: {result.returncode} {result.stderr!r}"
            # one more is one too many, and said so
            run(MKIMAGE, case.evidence, *[word for i in range(1026) for word in
                ("member", "kind=vmdk-sparse", f"name=n{i:04d}.vmdk", "size=64K", "unit=4K")])
            code, message = case.refused("n1025.vmdk")
            assert code == 3 and "more than 1025 members" in message, f"{code}: {message}"
sys.exit(0)
