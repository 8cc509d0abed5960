#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Evidence that changes under the mount, and images that are damaged: EIO for exactly the bytes
concerned with a record of it, or a refusal; never other bytes, never a hang."""
import os
import random
import time

from harness import SANDBOX, VDISKCTL, Case, make_raw, need_fuse, need_tools, qemu_chain, reference_raw, run

need_tools("qemu-img", "qemu-io")
need_fuse()
SIZE = 8 << 20


def read_pages(path):
    """Each 4 KiB of the file: its bytes, or None where the read failed with EIO."""
    pages = []
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    for off in range(0, os.fstat(fd).st_size, 4096):
        try:
            pages.append(os.pread(fd, 4096, off))
        except OSError as error:
            assert error.errno == 5, error
            pages.append(None)
    os.close(fd)
    return pages


def truncated_while_mounted():
    """A raw disk loses its second half while it is mounted."""
    with Case("shrink") as case:
        make_raw(case.path("disk.raw"), SIZE, 3, density=1.0)
        with open(case.path("disk.raw"), "rb") as file:
            data = file.read()
        with case.mounted("disk.raw", unchanged=False) as mnt:
            os.truncate(case.path("disk.raw"), SIZE // 2 + 1000)
            pages = read_pages(f"{mnt}/disk.img")
            for index, page in enumerate(pages):
                inside = (index + 1) * 4096 <= SIZE // 2 + 1000
                assert page == (data[index * 4096:(index + 1) * 4096] if inside else None), f"page {index}"
        errors = [r for r in case.records() if r["op"] == "IOERR"]
        assert errors and all("disk.raw" in r["text"] for r in errors), errors[:3]


def damaged_images():
    """Truncations and random damage of a chain: right bytes, EIO, or refused; bounded in time."""
    generator = random.Random(11)
    with Case("damage") as case:
        names = qemu_chain(case.evidence, 3, SIZE, seed=5)
        tip = names[-1]
        with open(reference_raw(case.path(tip), os.path.join(case.dir, "raw")), "rb") as file:
            data = file.read()
        expected = [data[off:off + 4096] for off in range(0, SIZE, 4096)]
        for victim in (names[0], names[1], tip):
            with open(case.path(victim), "rb") as file:
                original = file.read()
            for cut in (0, 1, 511, 512, 600, 1024, 10240, 20 * 512, 65536, len(original) // 2, len(original) - 1):
                with open(case.path(victim), "wb") as file:
                    file.write(original[:cut])
                check_damaged(case, tip, expected, f"{victim} cut at {cut}")
            for _ in range(12):  # damage in the tables, not in the data
                damaged = bytearray(original)
                place = generator.randrange(0, min(len(original), 0x15000))
                damaged[place] ^= 1 << generator.randrange(8)
                with open(case.path(victim), "wb") as file:
                    file.write(damaged)
                check_damaged(case, tip, None, f"{victim} bit at {place}")
            with open(case.path(victim), "wb") as file:
                file.write(original)


def check_damaged(case, tip, expected, what):
    """`expected` None: only the outcome's kind and time are judged (the damage may be in data)."""
    started = time.monotonic()
    result = run(VDISKCTL, "info", "-o", f"sandbox={SANDBOX}", case.path(tip), check=False, timeout=60)
    assert result.returncode in (0, 2, 3), f"{what}: exit {result.returncode} {result.stderr!r}"
    if result.returncode == 0 and expected is not None:
        with case.mounted(tip, unchanged=False, intact=True) as mnt:
            pages = read_pages(f"{mnt}/disk.img")
        wrong = [i for i, page in enumerate(pages) if page is not None and page != expected[i]]
        assert not wrong, f"{what}: wrong bytes in pages {wrong[:5]}"
    assert result.returncode == 0 or len(result.stderr) > 20, f"{what}: no reason: {result.stderr!r}"
    assert time.monotonic() - started < 30, what


def impossible_parents():
    """An image that is its own parent, extents that point elsewhere, a FIFO in the place of an extent."""
    with Case("loops") as case:
        descriptor = ('# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n'
                      'createType="monolithicFlat"\nRW 2048 FLAT "{}" 0\n')
        secret = "/etc/passwd"
        os.mkfifo(case.path("fifo.bin"))
        os.symlink(secret, case.path("link.bin"))
        os.mkdir(case.path("folder.bin"))
        for extent in (secret, "../../../../etc/passwd", "fifo.bin", "link.bin", "folder.bin", "missing.bin", ""):
            with open(case.path("evil.vmdk"), "w", encoding="utf-8") as file:
                file.write(descriptor.format(extent))
            code, message = case.refused("evil.vmdk")
            assert code in (2, 3) and "root:" not in message, (extent, code, message)
        # self-reference: same CID as its own parent CID, hint to itself
        with open(case.path("self.vmdk"), "w", encoding="utf-8") as file:
            file.write(descriptor.format("flat.bin").replace("ffffffff", "12345678") +
                       'parentFileNameHint="self.vmdk"\n')
        with open(case.path("flat.bin"), "wb") as file:
            file.truncate(1 << 20)
        code, message = case.refused("self.vmdk")
        assert code == 3 and "self.vmdk" in message, (code, message)


truncated_while_mounted()
impossible_parents()
damaged_images()
print("damage: right bytes, EIO or a refusal; never anything else")
