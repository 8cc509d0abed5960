#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""After `cmake --install`, mount(8) and an fstab line mount an image; a remount is refused; the
manual pages are there."""
import os

from harness import ROOT, SANDBOX, BIN, Case, is_mounted, need_fuse, need_root, need_tools, run, wait_until

need_tools("qemu-img", "cmake", "mount", "mount.fuse3", "mkntfs", "mke2fs", "sgdisk")
need_root()
need_fuse()

with Case("helper") as case:
    run(os.path.join(ROOT, "scripts", "make-sample"), case.evidence)
    tree = os.path.dirname(os.path.dirname(BIN))
    prefix = os.path.join(case.dir, "usr")
    run("cmake", "--install", tree, "--prefix", prefix)
    for page in ("vdiskfs.1", "vdiskctl.1"):
        text = open(os.path.join(prefix, "share", "man", "man1", page), encoding="utf-8").read()
        assert "parent_dir" in text and text.startswith(".TH"), page
    env = {**os.environ, "PATH": os.path.join(prefix, "bin") + ":" + os.environ["PATH"]}
    image = case.path("sample-000002.vmdk")

    run("mount", "-t", "fuse.vdiskfs", image, case.mnt, "-o",
        f"audit={case.log},sandbox={SANDBOX},case_id=7,noatime,x-gvfs-hide", env=env)
    line = next(l for l in open("/proc/self/mounts", encoding="utf-8") if l.split()[1] == case.mnt)
    assert line.split()[0] == image and line.split()[2] == "fuse.vdiskfs", line
    for flag in ("ro", "nosuid", "nodev", "noexec"):
        assert flag in line.split()[3].split(","), line
    assert "final" in open(f"{case.mnt}/p1/fs/final.txt", encoding="utf-8").read()
    result = run("mount", "-o", "remount,rw", case.mnt, env=env, check=False)
    assert result.returncode != 0, "a remount through mount(8) must be refused"
    run("umount", case.mnt)
    assert wait_until(lambda: not is_mounted(case.mnt))

    # awkward names reach the program whole
    odd = os.path.join(case.dir, "it's a, case")
    os.rename(case.evidence, odd)
    case.evidence = odd
    fstab = os.path.join(case.dir, "fstab")
    source = os.path.join(odd, "sample-000002.vmdk").replace(" ", "\\040")
    with open(fstab, "w", encoding="utf-8") as file:
        file.write(f"{source} {case.mnt} fuse.vdiskfs ro,noauto,nofail,x-systemd.automount,audit={case.log},"
                   f"sandbox={SANDBOX} 0 0\n")
    run("mount", "--fstab", fstab, case.mnt, env=env)
    assert os.path.getsize(f"{case.mnt}/disk.img") == 32 << 20
    run("umount", case.mnt)
    assert wait_until(lambda: not is_mounted(case.mnt))
print("mount(8), fstab: work after install")
