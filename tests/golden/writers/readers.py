#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The test images' writers against other readers: qemu-img, libvmdk and libvhdi must see the disk that the
model tells.  Where another reader is known to be wrong the case says so and is not compared with it.

    readers.py PATH-OF-MKIMAGE
"""
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
import time

SKIP = 77
# name, reader, arguments of mkimage.  The last member is compared.
BASE_VMDK = "member kind=vmdk-sparse name=base.vmdk size=5M unit=4K seed=1 density=60"
QEMU = [
    ("vhd-fixed", "vpc", "member kind=vhd-fixed name=a.vhd size=8M seed=1 density=50"),
    ("vhd-dynamic", "vpc", "member kind=vhd-dynamic name=a.vhd size=21M seed=1 density=50"),
    ("vhd-dynamic-order", "vpc",
     "member kind=vhd-dynamic name=a.vhd size=5M unit=512K seed=2 density=60 knob=shuffle:7 knob=gap:1"),
    ("vhd-front-footer", "vpc", "member kind=vhd-dynamic name=a.vhd size=5M seed=2 density=60 knob=no_tail_footer"),
    ("vhdx-dynamic", "vhdx",
     "member kind=vhdx-dynamic name=a.vhdx size=20M seed=1 density=50 knob=shuffle:3 knob=gap:1"),
    ("vhdx-fixed", "vhdx", "member kind=vhdx-fixed name=a.vhdx size=9M seed=1 density=50"),
    ("vhdx-header-equal", "vhdx", "member kind=vhdx-dynamic name=a.vhdx size=9M seed=4 density=50 knob=newer:equal"),
    ("vhdx-header-bad", "vhdx", "member kind=vhdx-dynamic name=a.vhdx size=9M seed=4 density=50 knob=bad_header1 "
     "knob=newer:second"),
    ("sparse", "vmdk", "member kind=vmdk-sparse name=a.vmdk size=40M seed=1 density=50"),
    ("sparse-zeroed", "vmdk", "member kind=vmdk-sparse name=a.vmdk size=5M unit=4K seed=3 density=50 "
     "knob=zero_grain knob=shuffle:3 knob=gap:1 knob=primary_last"),
    ("sparse-plain", "vmdk", "member kind=vmdk-sparse name=a.vmdk size=5M unit=4K seed=3 density=50 knob=no_redundant"),
    ("sparse-child", "vmdk", BASE_VMDK + " member kind=vmdk-sparse name=a.vmdk unit=4K seed=3 density=50 knob=zero_grain"),
    ("stream", "vmdk", "member kind=vmdk-stream name=a.vmdk size=40M seed=1 density=50"),
    ("stream-no-footer", "vmdk", "member kind=vmdk-stream name=a.vmdk size=5M seed=1 density=50 knob=no_footer"),
    ("stream-stored", "vmdk",
     "member kind=vmdk-stream name=a.vmdk size=5M seed=1 density=50 knob=stored_deflate unit=8K knob=zero_grain"),
    ("flat", "vmdk", "member kind=vmdk-flat name=a.vmdk extent=flat:1M extent=flat:3M:7 seed=1 density=50"),
    ("split", "vmdk", "member kind=vmdk-split name=a.vmdk extent=sparse:3M extent=sparse:2M seed=1 density=50"),
    ("cowd", "vmdk", "member kind=vmdk-cowd name=a.vmdk size=5M seed=1 density=50 knob=shuffle:2"),
    ("cowd-tables", "vmdk", "member kind=vmdk-cowd name=a.vmdk size=40M unit=4K seed=1 density=50"),
    ("cowd-child", "vmdk", BASE_VMDK + " member kind=vmdk-cowd name=a.vmdk seed=2 density=50"),
    ("sesparse", "vmdk", "member kind=vmdk-sesparse name=a.vmdk size=40M seed=1 density=50 knob=shuffle:9 knob=gap:1"),
    ("sesparse-child", "vmdk", BASE_VMDK + " member kind=vmdk-sesparse name=a.vmdk seed=2 density=50"),
]
# Large disks, of which only these MiB are compared (first, number): qemu has no map of a VHDX.
WINDOWS = [
    ("vhdx-chunks", [(0, 2), (4095, 4), (8192, 2)], "member kind=vhdx-dynamic name=a.vhdx size=9G run=4G+2M:data:3 "
     "run=8G+1M:data:5 run=0+1M:data:9 knob=newer:second"),
    ("vhdx-fixed-chunks", [(0, 3), (4094, 6), (5118, 2)],
     "member kind=vhdx-fixed name=a.vhdx size=5G run=4095M+2M:data:3 run=1M+1M:data:5 run=5119M+1M:data:2"),
]
# qemu writes the replay into the file: on a copy.  An entry sequence that begins before the end of the ring
# and goes on at its start is not among them: qemu then takes only the part at the start.
LOGS = ["bat", "meta", "region", "all", "bat knob=log_wrap", "region knob=log_wrap", "all knob=log_torn",
        "all knob=log_stale"]
# vmdkmount and vhdimount show every member; the tip is the last.  Whole blocks of data only: libvhdi tests
# bitmap bits by `& 1` and does not know the states of a differencing VHDX.
BLOCKS = "run=0+1M:data:5 run=2M+1M:data:6"
MOUNTS = [
    ("vmdk-cowd", "vmdk", "member kind=vmdk-cowd unit=64K name=a.vmdk size=8M seed=1 density=60"),
    ("vmdk-stream", "vmdk", "member kind=vmdk-stream name=a.vmdk size=8M seed=1 density=60"),
    ("vmdk-sparse", "vmdk", "member kind=vmdk-sparse name=a.vmdk size=8M seed=1 density=60"),
    ("vmdk-child", "vmdk", "member kind=vmdk-sparse name=b.vmdk size=8M seed=1 density=60 "
     "member kind=vmdk-sparse name=a.vmdk seed=2 density=40"),
    ("vhd-dynamic", "vhdi", "member kind=vhd-dynamic unit=512K name=a.vhd size=8M seed=1 density=60"),
    ("vhd-diff", "vhdi", "member kind=vhd-dynamic unit=512K name=b.vhd size=4M seed=1 density=60 "
     f"member kind=vhd-diff unit=512K name=a.vhd {BLOCKS}"),
    ("vhdx-dynamic", "vhdi", "member kind=vhdx-dynamic name=a.vhdx size=8M run=0+8M:data:3"),
]

failures = []


def make(mkimage, folder, args):
    subprocess.run([mkimage, folder, "expect=all", *args.split()], check=True)
    name = [word[5:] for word in args.split() if word.startswith("name=")][-1]
    return os.path.join(folder, name), os.path.join(folder, name + ".raw")


def compare_qemu(name, reader, image, raw):
    done = subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", reader, raw, image], capture_output=True, text=True)
    if done.returncode != 0:
        failures.append(f"qemu {name}: {done.stdout.strip()} {done.stderr.strip()}")


def compare_windows(name, windows, image, raw):
    for first, count in windows:
        part = image + ".part"
        subprocess.run(["qemu-img", "dd", "-f", "vhdx", "-O", "raw", "bs=1M", f"skip={first}", f"count={first + count}",
                        f"if={image}", f"of={part}"], check=True, capture_output=True)
        with open(part, "rb") as theirs, open(raw, "rb") as ours:
            ours.seek(first << 20)
            if theirs.read() != ours.read(count << 20):
                failures.append(f"qemu {name}: MiB {first} and {count - 1} more differ")


def unmount(point):
    for _ in range(50):
        if subprocess.run(["fusermount3", "-u", point], capture_output=True).returncode == 0 or not os.path.ismount(point):
            return
        time.sleep(0.05)


def compare_mounted(name, reader, image, raw, point):
    folder, base = os.path.split(image)
    done = subprocess.run([reader + "mount", base, point], cwd=folder, capture_output=True, text=True)
    try:
        shown = sorted(os.listdir(point))
        if done.returncode != 0 or not shown:
            failures.append(f"{reader}mount {name}: {done.stderr.strip()}")
        elif not filecmp.cmp(os.path.join(point, shown[-1]), raw, shallow=False):
            failures.append(f"{reader}mount {name}: shows another disk")
    finally:
        unmount(point)


def main():
    mkimage = sys.argv[1]
    if not shutil.which("qemu-img"):
        print("SKIP: qemu-img is not installed")
        return SKIP
    n, skipped = 0, []
    for name, reader, args in QEMU:
        with tempfile.TemporaryDirectory() as folder:
            compare_qemu(name, reader, *make(mkimage, folder, args))
            n += 1
    for name, windows, args in WINDOWS:
        with tempfile.TemporaryDirectory() as folder:
            compare_windows(name, windows, *make(mkimage, folder, args))
            n += 1
    for log in LOGS:
        with tempfile.TemporaryDirectory() as folder:
            image, raw = make(mkimage, folder, "member kind=vhdx-dynamic name=a.vhdx size=20M seed=1 density=50 "
                              "knob=log:" + log)
            done = subprocess.run(["qemu-img", "check", "-r", "all", "-f", "vhdx", image], capture_output=True, text=True)
            if done.returncode != 0:
                failures.append(f"qemu log {log}: {done.stderr.strip()}")
            compare_qemu("log " + log, "vhdx", image, raw)
            n += 1
    for name, reader, args in MOUNTS:
        if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not shutil.which(reader + "mount"):
            skipped.append(f"{reader}mount {name}")
            continue
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as point:
            compare_mounted(name, reader, *make(mkimage, folder, args), point)
            n += 1
    if skipped:
        print("not compared (no FUSE, no root or no tool): " + ", ".join(skipped))
    print("\n".join(failures) if failures else f"{n} images read the same elsewhere")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
