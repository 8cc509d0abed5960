#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""COWD and seSparse as other programs read them: qemu-img (both, chains too), libvmdk (COWD).

    esx.py IMAGE_CHECK MKIMAGE CORPUS

The images are made by our writers, from the specifications, and one is ESXi's own: the seSparse extent
of the corpus, put over a base.  Programs that are missing are named; without qemu-img it exits 77.
"""
import os
import shutil
import subprocess
import sys
import tempfile

CHECK, MKIMAGE = sys.argv[1:3]
CORPUS = os.environ.get("VDISKFS_CORPUS", sys.argv[3])
FAILED = []


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def must(*command):
    done = run(*command)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def say(what, good, text=""):
    print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {text.strip()}"))
    if not good:
        FAILED.append(what)


def against_qemu(what, image, raw):
    must("qemu-img", "convert", "-f", "vmdk", "-O", "raw", image, raw)
    done = run(CHECK, "compare", image, raw)
    say(f"{what}, as qemu-img reads it", done.returncode == 0, done.stderr)


def against_libvmdk(what, image, folder):
    """libvmdk shows one disk without a parent."""
    mnt = os.path.join(folder, "mnt")
    os.mkdir(mnt)
    done = run("vmdkmount", image, mnt)
    if done.returncode:
        say(f"{what}, mounted by libvmdk", False, done.stdout + done.stderr)
        return
    try:
        done = run(CHECK, "compare", image, os.path.join(mnt, "vmdk1"))
        say(f"{what}, as libvmdk reads it", done.returncode == 0, done.stderr)
    finally:
        must("fusermount", "-u", mnt)


# What the member on top is; "base" stands before each chain.
BASE = "member kind=vmdk-flat name=b.vmdk size=9M seed=1 density=60"
COWD = "member kind=vmdk-cowd name={} seed={} density=30"
SE = "member kind=vmdk-sesparse name={} seed={} density=20"
CASES = {
    "COWD, grains of a sector": (False, [COWD.format("t.vmdk", 2) + " size=5M unit=512"]),
    "COWD, grains of 4 KiB": (False, [COWD.format("t.vmdk", 3) + " size=17M unit=4096 knob=shuffle:5"]),
    "COWD, grains of 64 KiB": (False, [COWD.format("t.vmdk", 4) + " size=40M unit=65536 knob=gap:1"]),
    "COWD, several extents": (False, [
        "member kind=vmdk-cowd name=t.vmdk size=9M seed=5 density=40 unit=512 "
        "extent=cowd:3M extent=cowd:5M extent=cowd:1M"]),
    "COWD on flat": (True, [COWD.format("t.vmdk", 6) + " unit=512"]),
    "COWD on COWD on flat": (True, [COWD.format("m.vmdk", 7) + " unit=512", COWD.format("t.vmdk", 8) + " unit=512"]),
    "COWD larger than its parent": (True, [COWD.format("t.vmdk", 9) + " size=10M unit=512"]),
    "seSparse": (False, [SE.format("t.vmdk", 10) + " size=33M"]),
    "seSparse, grains in disorder": (False, [SE.format("t.vmdk", 11) + " size=17M knob=shuffle:9"]),
    "seSparse on flat": (True, [SE.format("t.vmdk", 12)]),
    "seSparse on seSparse on flat": (True, [SE.format("m.vmdk", 13), SE.format("t.vmdk", 14)]),
    "seSparse, zeroed and unmapped grains": (True, [
        SE.format("t.vmdk", 15) + " run=1M+64K:unmapped run=2M+64K:zeros run=3M+64K:absent"]),
}
# … of which libvmdk is asked these: it knows no seSparse, shows no chains, and is slow.
LIBVMDK = ("COWD, grains of a sector", "COWD, grains of 64 KiB", "COWD, several extents")


def made(folder, libvmdk):
    for i, (what, (on_base, members)) in enumerate(CASES.items()):
        case = os.path.join(folder, str(i))
        os.mkdir(case)
        words = " ".join(([BASE] if on_base else []) + members).split()
        must(MKIMAGE, case, "expect=model", *words)
        tip = os.path.join(case, "t.vmdk")
        done = run(CHECK, "compare", tip, os.path.join(case, "model"))
        say(f"{what}, as the writer's model has it", done.returncode == 0, done.stderr)
        against_qemu(what, tip, os.path.join(case, "qemu"))
        if libvmdk and not on_base and what in LIBVMDK:
            against_libvmdk(what, tip, case)
        shutil.rmtree(case)


def real(folder):
    """ESXi's own delta over a base full of something else."""
    stored = os.path.join(CORPUS, "dev", "vmdk-sesparse", "sesparse.vmdk.gz")
    if not os.path.exists(stored):
        print(f"left out the real seSparse extent: no corpus at {CORPUS} (VDISKFS_CORPUS names another place)")
        return
    delta = os.path.join(folder, "tip-sesparse.vmdk")
    must("bash", "-o", "pipefail", "-c", f"gzip -dc '{stored}' | dd of='{delta}' conv=sparse bs=64k status=none")
    base, tip = os.path.join(folder, "base.vmdk"), os.path.join(folder, "tip.vmdk")
    must("qemu-img", "create", "-f", "vmdk", "-o", "subformat=monolithicFlat", base, "512M")
    must("qemu-io", "-f", "vmdk", "-c", "write -P 0x41 8M 64k", "-c", "write -P 0x42 15M 2M", "-c",
         "write -P 0x43 511M 1M", base)
    with open(base, encoding="ascii") as file:
        cid = next(line.split("=")[1].strip() for line in file if line.startswith("CID="))
    with open(tip, "w", encoding="ascii") as file:
        file.write("# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                   f"parentCID={cid}\ncreateType=\"seSparse\"\nparentFileNameHint=\"base.vmdk\"\n"
                   "RW 1048576 SESPARSE \"tip-sesparse.vmdk\"\n")
    against_qemu("ESXi's seSparse over a base", tip, os.path.join(folder, "qemu"))


def main():
    if not shutil.which("qemu-img") or not shutil.which("qemu-io"):
        print("SKIP: qemu-img and qemu-io are not installed (Debian package qemu-utils)")
        return 77
    libvmdk = shutil.which("vmdkmount") and shutil.which("fusermount") and os.access("/dev/fuse", os.R_OK | os.W_OK)
    if not libvmdk:
        print("left out libvmdk: vmdkmount (Debian package libvmdk-utils) or FUSE is not there")
    with tempfile.TemporaryDirectory(prefix="vdiskfs-esx-") as folder:
        made(folder, libvmdk)
        real(folder)
    print(f"{len(FAILED)} failed" if FAILED else "all as the other programs have it")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
