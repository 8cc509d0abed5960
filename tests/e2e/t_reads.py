#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""64 threads, unaligned, backwards, mmap and O_DIRECT give the same bytes as sequential reading."""
import mmap
import os
import random
import threading

from harness import Case, need_fuse, need_tools, qemu_chain, reference_raw

need_tools("qemu-img", "qemu-io")
need_fuse()
SIZE = 24 << 20


def check(failures, what, got, expected):
    if got != expected:
        failures.append(what)


def random_reads(path, data, seed, failures):
    generator = random.Random(seed)
    fd = os.open(path, os.O_RDONLY)
    for _ in range(60):
        off = generator.randrange(0, SIZE)
        length = generator.choice([1, 7, 511, 512, 4096, 65536, 300001])
        check(failures, f"pread {off} {length}", os.pread(fd, length, off), data[off:off + length])
    os.close(fd)


def backwards(path, data, failures):
    fd = os.open(path, os.O_RDONLY)
    for off in range(SIZE - 70001, -1, -70001):
        check(failures, f"backwards {off}", os.pread(fd, 70001, off), data[off:off + 70001])
    os.close(fd)


def mapped(path, data, failures, flags):
    fd = os.open(path, os.O_RDONLY)
    with mmap.mmap(fd, SIZE, flags=flags, prot=mmap.PROT_READ) as view:
        check(failures, f"mmap {flags}", view[:], data)
    os.close(fd)


def direct(path, data, failures):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    buffer = mmap.mmap(-1, 1 << 20)
    for off in range(0, SIZE, 1 << 20):
        n = os.preadv(fd, [buffer], off)
        check(failures, f"O_DIRECT {off}", buffer[:n], data[off:off + (1 << 20)])
    os.close(fd)


def in_threads(target, arguments):
    threads = [threading.Thread(target=target, args=one) for one in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


with Case("reads") as case:
    names = qemu_chain(case.evidence, 3, SIZE, seed=7)
    with open(reference_raw(case.path(names[-1]), os.path.join(case.dir, "raw")), "rb") as file:
        expected = file.read()
    with case.mounted(names[-1]) as mnt:
        image = f"{mnt}/disk.img"
        problems = []
        in_threads(random_reads, [(image, expected, seed, problems) for seed in range(64)])
        backwards(image, expected, problems)
        mapped(image, expected, problems, mmap.MAP_SHARED)
        mapped(image, expected, problems, mmap.MAP_PRIVATE)
        direct(image, expected, problems)
        with open(image, "rb", buffering=0) as file:
            check(problems, "sequential", file.read(), expected)
        assert not problems, problems[:20]
print("64 threads, unaligned, backwards, mmap, O_DIRECT: same bytes")
