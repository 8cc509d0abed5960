#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a program (sweep, threads, mutate) on a small file system of each kind.

    images.py PROGRAM sweep|threads|mutate CORPUS_DIR [N]

ext4, FAT, ISO 9660 and NTFS are made here when their tools are there; exFAT and HFS+ come from the
corpus ($VDISKFS_CORPUS) when it is there.  Exit 77 if there was nothing to run on.
"""
import gzip
import lzma
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

RND = random.Random(815)


def run(*cmd):
    env = dict(os.environ, TZ="UTC", LC_ALL="C.UTF-8", MTOOLS_SKIP_CHECK="1")
    subprocess.run(cmd, check=True, capture_output=True, env=env)


def source(root):
    os.makedirs(f"{root}/dir/sub")
    for i, size in enumerate((0, 10, 700, 5000, 70001)):
        with open(f"{root}/file {i}.bin", "wb") as f:
            f.write(RND.randbytes(size))
    for i in range(60):
        with open(f"{root}/dir/name-{i:03}-{'x' * i}", "wb") as f:
            f.write(b"%d" % i)
    with open(f"{root}/dir/sub/deep.txt", "wb") as f:
        f.write(b"deep\n")


def ext4(tmp, src):
    image = f"{tmp}/ext4.img"
    with open(f"{src}/frag.bin", "wb") as f:
        f.write(RND.randbytes(200 * 1024))
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^has_journal", "-d", src, image, "4M")
    with open(f"{tmp}/commands", "w", encoding="ascii") as f:
        f.writelines(f"punch frag.bin {2 * i} {2 * i}\n" for i in range(100))
    run("debugfs", "-w", "-f", f"{tmp}/commands", image)
    os.remove(f"{src}/frag.bin")
    return image


def ext2(tmp, src):
    image = f"{tmp}/ext2.img"
    run("mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-d", src, image, "4M")
    return image


def fat(tmp, src):
    image = f"{tmp}/fat.img"
    with open(image, "wb") as f:
        f.truncate(4 << 20)
    run("mkfs.vfat", "-F", "16", "-s", "1", image)
    run("mcopy", "-i", image, "-s", "-m", "-Q", *(os.path.join(src, e) for e in sorted(os.listdir(src))), "::")
    return image


def iso(tmp, src):
    image = f"{tmp}/iso.iso"
    run("genisoimage", "-quiet", "-R", "-o", image, src)
    return image


def ntfs(tmp, src):
    image, mnt = f"{tmp}/ntfs.img", f"{tmp}/mnt"
    with open(image, "wb") as f:
        f.truncate(4 << 20)
    run("mkntfs", "-F", "-Q", "-q", "-c", "1024", "-H", "16", "-S", "63", "-p", "0", image)
    os.makedirs(mnt, exist_ok=True)
    try:
        run("ntfs-3g", "-o", "compression,streams_interface=xattr", image, mnt)
    except (subprocess.CalledProcessError, FileNotFoundError):
        for e in sorted(os.listdir(src)):
            if os.path.isfile(f"{src}/{e}"):
                run("ntfscp", "-f", image, f"{src}/{e}", e)
        return image
    try:
        shutil.copytree(src, mnt, dirs_exist_ok=True)
        os.setxattr(f"{mnt}/file 1.bin", "user.stream", b"more")
        os.mkdir(f"{mnt}/packed")
        os.setxattr(f"{mnt}/packed", "system.ntfs_attrib_be", struct.pack(">I", 0x800))
        with open(f"{mnt}/packed/text", "wb") as f:
            f.write(b"to be packed " * 8000)
    finally:
        run("umount", mnt)
    return image


def from_corpus(name):
    def get(tmp, _):
        src = os.path.join(CORPUS, name)
        dst = f"{tmp}/{os.path.basename(name)}.raw"
        with (lzma.open if src.endswith(".xz") else gzip.open)(src, "rb") as fin, open(dst, "wb") as fout:
            shutil.copyfileobj(fin, fout)
        return dst
    get.__name__ = name
    return get


CORPUS = os.path.join(os.environ.get("VDISKFS_CORPUS", sys.argv[3]), "dev")
# kind, tools, every how many-th read fails
KINDS = [(ext4, ("mke2fs", "debugfs"), 3), (ext2, ("mke2fs",), 3), (fat, ("mkfs.vfat", "mcopy"), 3),
         (iso, ("genisoimage",), 1), (ntfs, ("mkntfs",), 3)]
if os.path.exists(CORPUS):
    KINDS += [(from_corpus("hfsplus-mac/hfsplus.img.xz"), (), 1), (from_corpus("exfat-win/exfat_win.raw.gz"), (), 50)]


def main():
    program, what = sys.argv[1:3]
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    done, bad = 0, 0
    for make, tools, step in KINDS:
        missing = [t for t in tools if not shutil.which(t)]
        if missing:
            print(f"{make.__name__}: skipped, no {' '.join(missing)}")
            continue
        with tempfile.TemporaryDirectory(prefix="vdiskfs-fault-") as tmp:
            src = f"{tmp}/src"
            source(src)
            image = make(tmp, src)
            r = subprocess.run([program, image] + ([str(step)] if what == "sweep" else sys.argv[4:5]),
                               capture_output=True, check=False, timeout=3600 if sys.argv[4:] else 200)
            print(r.stdout.decode("utf-8", "replace")[-3000:].strip(), r.stderr.decode("utf-8", "replace")[-6000:])
            done += 1
            bad += r.returncode != 0
    return 77 if not done else 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
