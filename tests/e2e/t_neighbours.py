#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A program that ends never takes down somebody else's mount: the kernel gives the numbers of a
mount that is gone to the next one at once, also to one at the same place."""
import os
import subprocess
import threading
import time

from harness import SANDBOX, VDISKFS, Case, is_mounted, make_raw, need_fuse, need_tools, run, wait_until

need_tools("umount")
need_fuse()


def cycle(case, rounds, problems):
    for _ in range(rounds):
        result = run(VDISKFS, case.path("disk.raw"), case.mnt, "-o", f"audit={case.log},sandbox={SANDBOX}", check=False,
                     stdin=subprocess.DEVNULL)
        if result.returncode != 0:
            problems.append(f"mount: {result.returncode} {result.stderr!r}")
            continue
        time.sleep(0.03)  # the time in which the one before may still be ending
        try:
            with open(f"{case.mnt}/disk.img", "rb") as file:
                file.read(4096)
        except OSError as error:
            problems.append(f"read: {error}")
        if not is_mounted(case.mnt):
            problems.append("somebody unmounted it")
        else:
            run("umount", case.mnt, check=False)  # returns before the program behind it has ended


with Case("one") as one, Case("two") as two:
    problems = []
    for case in (one, two):
        make_raw(case.path("disk.raw"), 1 << 20, 1)
    threads = [threading.Thread(target=cycle, args=(case, 25, problems)) for case in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[:5]
    for case in (one, two):
        if is_mounted(case.mnt):  # it was busy for a moment
            run("umount", case.mnt, check=False)
    assert wait_until(lambda: not any(is_mounted(c.mnt) for c in (one, two)))
print("50 mounts side by side and one after the other: none took down another")
