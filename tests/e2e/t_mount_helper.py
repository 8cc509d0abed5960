#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""After `cmake --install`, mount(8) and an fstab line mount an image; a remount is refused; the
manual pages are there."""
import os

from harness import ROOT, SANDBOX, BIN, Case, is_mounted, need_fuse, need_root, need_tools, run, wait_until

need_tools("qemu-img", "cmake", "mount", "mount.fuse3", "mkntfs", "mke2fs", "sgdisk")
need_root()
need_fuse()

# mount(8) looks for helpers in a PATH of its own.  A mount namespace of our own lets the installed
# tree stand where a user would install it, without touching this machine.
if os.environ.get("VDISKFS_TEST_NAMESPACE") != "1":
    need_tools("unshare")
    os.environ["VDISKFS_TEST_NAMESPACE"] = "1"
    os.execvp("unshare", ["unshare", "-m", "python3", os.path.abspath(__file__)])

with Case("helper") as case:
    run(os.path.join(ROOT, "scripts", "make-sample"), case.evidence)
    tree = os.path.dirname(os.path.dirname(BIN))
    prefix = os.path.join(case.dir, "usr")
    run("cmake", "--install", tree, "--prefix", prefix)
    for page in ("vdiskfs.1", "vdiskctl.1"):
        text = open(os.path.join(prefix, "share", "man", "man1", page), encoding="utf-8").read()
        assert "parent_dir" in text and text.startswith(".TH"), page
    run("mount", "--bind", os.path.join(prefix, "bin"), "/usr/local/bin")
    image = case.path("sample-000002.vmdk")

    run("mount", "-t", "fuse.vdiskfs", image, case.mnt, "-o",
        f"audit={case.log},sandbox={SANDBOX},case_id=7,noatime,x-gvfs-hide")
    line = next(l for l in open("/proc/self/mounts", encoding="utf-8") if l.split()[1] == case.mnt)
    assert line.split()[0] == image and line.split()[2] == "fuse.vdiskfs", line
    for flag in ("ro", "nosuid", "nodev", "noexec"):
        assert flag in line.split()[3].split(","), line
    assert "final" in open(f"{case.mnt}/p1/fs/final.txt", encoding="utf-8").read()
    result = run("mount", "-o", "remount,rw", case.mnt, check=False)
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
    run("mount", "--fstab", fstab, case.mnt)
    assert os.path.getsize(f"{case.mnt}/disk.img") == 32 << 20
    run("umount", case.mnt)
    assert wait_until(lambda: not is_mounted(case.mnt))
print("mount(8), fstab: work after install")
