#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""VMDKs of the corpus, without a mount: hash of the disk, or the refusal.

    corpus.py IMAGE_CHECK CORPUS

Disks over 1 GiB take long to hash and are left to the mount test unless VDISKFS_SLOW is set.
Exits 77 without the corpus.
"""
import csv
import os
import subprocess
import sys
import tempfile

UNPACK = {".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd"}
# What a refusal must say.
REFUSAL = {"vmdk-vmfssparse-missing-delta": 'the extent file "vmfs_thick-000001-delta.vmdk" is missing'}


def unpack(dev, row, folder):
    names = []
    for stored in row["files"].split("; "):
        name = os.path.basename(stored)
        tool = UNPACK.get(os.path.splitext(name)[1])
        name = os.path.splitext(name)[0] if tool else name
        with open(os.path.join(folder, name), "wb") as out:
            subprocess.run([tool or "cat"] + (["-dc"] if tool else []) + [os.path.join(dev, stored)],
                           stdout=out, check=True)
        names.append(name)
    return os.path.join(folder, names[0])


def judge(check, image, row):
    done = subprocess.run([check, "hash", image], capture_output=True, text=True)
    if row["expect"] == "refuse":
        good = done.returncode == 3 and REFUSAL.get(row["id"], "") in done.stderr
        return good, "refused: " + done.stderr.strip()
    return done.stdout.strip() == f"{row['raw_size']} {row['raw_sha256']}", done.stdout.strip() + done.stderr.strip()


def main():
    check, corpus = sys.argv[1], os.environ.get("VDISKFS_CORPUS", sys.argv[2])
    dev = os.path.join(corpus, "dev")
    if not os.path.exists(os.path.join(dev, "MANIFEST.tsv")):
        print(f"SKIP: no corpus at {corpus} (VDISKFS_CORPUS names another place)")
        return 77
    csv.field_size_limit(1 << 24)
    failed = seen = 0
    with open(os.path.join(dev, "MANIFEST.tsv"), encoding="utf-8", newline="") as table:
        rows = [r for r in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE) if r["group"] == "vmdk"]
    for row in rows:
        if row["raw_size"] != "-" and int(row["raw_size"]) > 1 << 30 and not os.environ.get("VDISKFS_SLOW"):
            print(f"left out {row['id']}: {row['raw_size']} bytes")
            continue
        with tempfile.TemporaryDirectory(prefix="vdiskfs-corpus-") as folder:
            good, text = judge(check, unpack(dev, row, folder), row)
        print(f"{'ok  ' if good else 'FAIL'} {row['id']}: {text}")
        failed += not good
        seen += 1
    print(f"{seen} cases, {failed} failed")
    return 1 if failed or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
