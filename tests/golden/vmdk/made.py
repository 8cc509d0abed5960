#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""VMDKs made by qemu-img, every subformat and chains, byte by byte against raw.

    made.py IMAGE_CHECK

Needs qemu-img and qemu-io; exits 77 without them.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile

CHECK = sys.argv[1]
MIB = 1 << 20
FAILED = []


def run(*command, **kw):
    return subprocess.run(command, capture_output=True, text=True, **kw)


def must(*command):
    done = run(*command)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def make_raw(path, size, seed, pieces):
    """Random data in `pieces` places of random size, holes between them."""
    rng = random.Random(seed)
    with open(path, "wb") as file:
        file.truncate(size)
        for _ in range(pieces):
            length = rng.choice((512, 4096, 65536, 65537, 300000))
            file.seek(rng.randrange(0, max(1, size - length)))
            file.write(rng.randbytes(min(length, size)))
        file.seek(size - 700)
        file.write(rng.randbytes(700))
        file.truncate(size)


def expect(what, code, *command, text=()):
    done = run(CHECK, *command)
    missing = [t for t in text if t not in done.stderr]
    good = done.returncode == code and not missing
    print(f"{'ok  ' if good else 'FAIL'} {what}")
    if not good:
        print(f"     exit {done.returncode}, expected {code}; missing {missing}: {done.stderr.strip()}")
        FAILED.append(what)


def subformats(folder):
    raw = os.path.join(folder, "disk.raw")
    make_raw(raw, 23 * MIB + 1536, 1, 40)
    options = {
        "monolithicSparse": ("", "compat6=on", "zeroed_grain=on"),
        "monolithicFlat": ("",),
        "twoGbMaxExtentSparse": ("",),
        "twoGbMaxExtentFlat": ("",),
        "streamOptimized": ("",),
    }
    for subformat, variants in options.items():
        for variant in variants:
            name = f"{subformat}{variant.partition('=')[0]}"
            image = os.path.join(folder, name + ".vmdk")
            wish = f"subformat={subformat}" + ("," + variant if variant else "")
            must("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", wish, raw, image)
            # qemu-img rounds a size up to whole sectors; the raw file has whole sectors
            expect(f"qemu-img {wish}", 0, "compare", image, raw)


def large(folder):
    """More than 2 GiB, so that the split formats really split."""
    raw = os.path.join(folder, "large.raw")
    make_raw(raw, (2 << 30) + 150 * MIB, 2, 60)
    with open(raw, "r+b") as file:
        file.seek((2 << 30) - 100000)
        file.write(random.Random(3).randbytes(200000))
    for subformat in ("twoGbMaxExtentSparse", "twoGbMaxExtentFlat"):
        image = os.path.join(folder, f"large-{subformat}.vmdk")
        must("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", raw, image)
        expect(f"two extents, {subformat}", 0, "compare", image, raw)
    parts = sorted(n for n in os.listdir(folder) if n.startswith("large-twoGbMaxExtentSparse-s"))
    assert len(parts) == 2, parts
    os.rename(os.path.join(folder, parts[1]), os.path.join(folder, "away"))
    expect("second extent missing", 3, "hash", os.path.join(folder, "large-twoGbMaxExtentSparse.vmdk"),
           text=(parts[1], "extent 2"))


def zero_grains(folder):
    """Zeroed grains in a child hide the parent."""
    base, tip, raw = (os.path.join(folder, n) for n in ("zbase.vmdk", "ztip.vmdk", "z.raw"))
    must("qemu-img", "create", "-f", "vmdk", base, "8M")
    must("qemu-io", "-f", "vmdk", "-c", "write -P 0x11 0 8M", base)
    must("qemu-img", "create", "-f", "vmdk", "-o", "zeroed_grain=on", "-b", "zbase.vmdk", "-F", "vmdk", tip)
    must("qemu-io", "-f", "vmdk", "-c", "write -z 1M 2M", "-c", "write -P 0x22 2M 64k", tip)
    must("qemu-img", "convert", "-f", "vmdk", "-O", "raw", tip, raw)
    with open(tip, "rb") as file:
        file.seek(8)
        assert file.read(1)[0] & 4, "no zeroed-grain flag: the case tests nothing"
    with open(raw, "rb") as file:
        file.seek(MIB)
        assert file.read(65536) == bytes(65536), "qemu shows no zeros"
    expect("zeroed grains in a child", 0, "compare", tip, raw)


def names(folder, n):
    return [os.path.join(folder, f"disk-{i:06d}.vmdk") for i in range(n)]


def make_chain(folder, depth, seed):
    rng = random.Random(seed)
    files = names(folder, depth)
    for i, path in enumerate(files):
        size = "48M" if i < depth - 2 else "56M"  # grown twice before the end
        if i == 0:
            must("qemu-img", "create", "-f", "vmdk", path, size)
        else:
            kind = "twoGbMaxExtentSparse" if i == depth - 1 else "monolithicSparse"
            must("qemu-img", "create", "-f", "vmdk", "-o", f"subformat={kind}", "-b",
                 os.path.basename(files[i - 1]), "-F", "vmdk", path, size)
        writes = []
        for _ in range(40 if i == 0 else 12):
            length = rng.randrange(1, 400) * 512
            start = rng.randrange(0, (48 * MIB - length) // 512) * 512
            writes += ["-c", f"write -P {rng.randrange(1, 256)} {start} {length}"]
        must("qemu-io", "-f", "vmdk", *writes, path)
    return files


def cid_place(path):
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    start = head.index(b"\nCID=") + 5
    return start, head.index(b"\n", start) - start  # qemu-img leaves leading zeros out


def chains(folder):
    files = make_chain(folder, 8, 7)
    raw = os.path.join(folder, "chain.raw")
    must("qemu-img", "convert", "-f", "vmdk", "-O", "raw", files[-1], raw)
    expect("chain of 8", 0, "compare", files[-1], raw)
    middle = os.path.join(folder, "middle.raw")
    must("qemu-img", "convert", "-f", "vmdk", "-O", "raw", files[3], middle)
    expect("an older point of it", 0, "compare", files[3], middle)
    for i in range(7):
        name = os.path.basename(files[i])
        os.rename(files[i], files[i] + ".away")
        hidden = os.path.join(tempfile.mkdtemp(dir=folder), name)
        os.rename(files[i] + ".away", hidden)
        expect(f"member {i} removed", 3, "hash", files[-1], text=("chain", name, "no such file"))
        renamed = os.path.join(folder, f"renamed-{i}.bin")
        os.rename(hidden, renamed)
        expect(f"member {i} renamed", 0, "compare", files[-1], raw)
        os.rename(renamed, files[i])
        with open(files[i], "r+b") as file:
            place, length = cid_place(files[i])
            file.seek(place)
            old = file.read(length)
            new = b"badc1d00"[:length]
            assert old != new
            file.seek(place)
            file.write(new)
            file.flush()
            expect(f"CID of member {i} changed", 3, "hash", files[-1],
                   text=(name, "cid:" + new.decode().zfill(8), "cid:" + old.decode().zfill(8)))
            file.seek(place)
            file.write(old)
    expect("chain of 8 as before", 0, "compare", files[-1], raw)


def main():
    for tool in ("qemu-img", "qemu-io"):
        if not shutil.which(tool):
            print(f"SKIP: {tool} is not installed (Debian package qemu-utils)")
            return 77
    with tempfile.TemporaryDirectory(prefix="vdiskfs-vmdk-") as folder:
        for part in (subformats, large, zero_grains, chains):
            sub = os.path.join(folder, part.__name__)
            os.mkdir(sub)
            part(sub)
            shutil.rmtree(sub)
    print(f"{len(FAILED)} failed" if FAILED else "all as qemu-img has it")
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
