#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Streams of real tools, cut and emptied at many places: every sector is right or an error.

    cut.py IMAGE_CHECK CORPUS

VMware's stream comes from the corpus, the other one is made by qemu-img, which also gives the raw disks.
Exits 77 without the corpus or qemu-img.
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

CHECK = sys.argv[1]
FAILED = []


def partly(image, raw):
    """Sectors that cannot be read; None: refused."""
    done = subprocess.run([CHECK, "partly", image, raw], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        return None
    if done.returncode:
        FAILED.append(f"{image}: {done.stderr.strip()}")
        return None
    return int(done.stdout)


def markers(data):
    """(offset, kind, bytes) of what the stream holds, by the specification."""
    off = struct.unpack_from("<Q", data, 64)[0] * 512
    while off + 512 <= len(data):
        value, size, kind = struct.unpack_from("<QII", data, off)
        if size:
            length = 12 + size
            yield off, "grain", length
        else:
            length = 512 + value * 512
            yield off, ("end", "table", "directory", "footer")[kind], length
            if kind == 0:
                return
        off += (length + 511) // 512 * 512


def exported(data):
    """The same grains as a stream whose directory comes last (as exports write it): tables behind their
    grains, directory, footer."""
    capacity, grain = struct.unpack_from("<QQ", data, 12)
    n_entries = struct.unpack_from("<I", data, 44)[0]
    start = struct.unpack_from("<Q", data, 64)[0] * 512
    out = bytearray(data[:start])
    struct.pack_into("<Q", out, 56, (1 << 64) - 1)
    tables, directory = {}, []

    def put(value, kind, content):
        out.extend(struct.pack("<QII", value, 0, kind).ljust(512, b"\0") + content.ljust(value * 512, b"\0"))
        return len(out) // 512 - value

    def close(number):
        if number in tables:
            entries = struct.pack(f"<{n_entries}I", *tables[number])
            directory.append((number, put(len(entries) // 512, 1, entries)))

    last = None
    for off, kind, length in markers(data):
        if kind != "grain":
            continue
        number, entry = divmod(struct.unpack_from("<Q", data, off)[0] // grain, n_entries)
        if last is not None and number != last:
            close(last)
        last = number
        tables.setdefault(number, [0] * n_entries)[entry] = len(out) // 512
        out.extend(data[off:off + length].ljust((length + 511) // 512 * 512, b"\0"))
    close(last)
    places = [0] * -(-capacity // (grain * n_entries))
    for number, place in directory:
        places[number] = place
    content = struct.pack(f"<{len(places)}I", *places)
    place = put(-(-len(content) // 512), 2, content)
    footer = bytearray(out[:512])
    struct.pack_into("<Q", footer, 56, place)
    put(1, 3, bytes(footer))
    out.extend(bytes(512))
    return bytes(out)


def cut_places(image, raw, data):
    parts = list(markers(data))
    print({k: sum(p[1] == k for p in parts) for k in ("grain", "table", "directory", "footer", "end")})
    directory_end = next((off + length for off, kind, length in parts if kind == "directory"), len(data))
    least = os.path.getsize(raw) // 512 + 1
    places = sorted({off + d for off, _, length in parts for d in (0, 1, 511, 512, length - 1, length)})
    places = [p for p in places[::12] + places[-20:] if p < len(data)]
    for place in sorted(places):
        for emptied in (False, True):
            with open(image, "wb") as file:
                file.write(data[:place] + (bytes(len(data) - place) if emptied else b""))
            lost = partly(image, raw)
            if place >= directory_end and lost != 0:
                FAILED.append(f"cut at {place}, behind the directory: {lost} sectors lost")
            if not emptied and lost is not None:
                if lost > least:
                    FAILED.append(f"cut at {place}: {lost} sectors lost, {least} at a lower place")
                least = lost
    print(f"{len(places)} places, least loss {least} sectors")


def vmware(corpus, folder):
    image, raw = os.path.join(folder, "s.vmdk"), os.path.join(folder, "s.raw")
    with open(image, "wb") as out:
        subprocess.run(["xz", "-dc", f"{corpus}/dev/vmdk-streamopt-vmware/streamOptimized.vmdk.xz"], stdout=out,
                       check=True)
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", image, raw], check=True)
    with open(image, "rb") as file:
        data = file.read()
    with open(image, "wb") as file:
        file.write(exported(data))
    compare = subprocess.run(["qemu-img", "compare", "-f", "vmdk", "-F", "raw", image, raw], check=False)
    assert compare.returncode == 0, "qemu-img does not read the exported form as the same disk"
    for name, content in (("as it is", data), ("directory at the end", exported(data))):
        with open(image, "wb") as file:
            file.write(content)
        assert partly(image, raw) == 0
        print(name)
        cut_places(image, raw, content)
    lost_footer = exported(data)[:-1536] # nothing behind the directory
    with open(image, "wb") as file:
        file.write(lost_footer)
    assert partly(image, raw) == 0


def qemu(folder):
    image, raw = os.path.join(folder, "q.vmdk"), os.path.join(folder, "q.raw")
    rng = random.Random(5)
    with open(raw, "wb") as file:
        file.truncate(8 << 20)
        for _ in range(20):
            file.seek(rng.randrange(0, 7 << 20))
            file.write(rng.randbytes(100000))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw,
                    image], check=True)
    with open(image, "rb") as file:
        data = file.read()
    for k in range(4, 40, 5):
        with open(image, "wb") as file:
            file.write(data[:len(data) * k // 40])
        print(k, partly(image, raw), end="; ")
    print()


def main():
    corpus = os.environ.get("VDISKFS_CORPUS", sys.argv[2])
    if not os.path.exists(f"{corpus}/dev/vmdk-streamopt-vmware") or not shutil.which("qemu-img"):
        print(f"SKIP: no corpus at {corpus} (VDISKFS_CORPUS names another place), or no qemu-img")
        return 77
    with tempfile.TemporaryDirectory(prefix="vdiskfs-cut-") as folder:
        vmware(corpus, folder)
        qemu(folder)
    for text in FAILED:
        print("FAIL", text)
    return 1 if FAILED else 0


if __name__ == "__main__":
    sys.exit(main())
