#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what fs_hash lists with the truth tables of the image corpus.

    corpus.py FS_HASH CORPUS_DIR EXPECTATIONS.tsv [CASE ...]

$VDISKFS_CORPUS overrides CORPUS_DIR.
For every case that is a raw image: each file, directory, link and stream of the table must be
listed with the same size and hash, and nothing else may be listed (unless the table is a sample).
Rows on which the readers of the table disagree count only when marked "majority".  Known
differences stand in EXPECTATIONS.tsv, each with its reason; one that no longer occurs is an error
too.  Exit: 0 all as expected, 1 differences, 77 no corpus.
"""
import bz2
import collections
import csv
import gzip
import lzma
import os
import subprocess
import sys
import tempfile
import unicodedata

# file systems of this layer; others must be refused
KNOWN = {"ntfs", "ext2", "ext3", "ext4", "vfat", "exfat", "hfsplus", "iso9660", "ufs"}
SAMPLE = 250  # files per volume in a table, at most (corpus README)
TIME_LIMIT = 120


def table(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))


def unpack(src, dst):
    """Writes the unpacked image, leaving holes for zeros."""
    ext = os.path.splitext(src)[1]
    if ext == ".zst":
        subprocess.run(["zstd", "-q", "-d", "--sparse", "-o", dst, src], check=True)
        return
    opener = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}.get(ext, open)
    with opener(src, "rb") as fin, open(dst, "wb") as fout:
        while chunk := fin.read(1 << 16):
            if chunk.count(0) == len(chunk):
                fout.seek(len(chunk), os.SEEK_CUR)
            else:
                fout.write(chunk)
        fout.truncate()


def images_of(case, corpus, tmp):
    out = []
    for name in case["files"].split("; "):
        src = os.path.join(corpus, name)
        base = os.path.basename(name)
        if os.path.splitext(base)[1] in (".gz", ".xz", ".bz2", ".zst"):
            base = os.path.splitext(base)[0]
        dst = os.path.join(tmp, base)
        unpack(src, dst)
        out.append(dst)
    return out


def listing(fs_hash, images, start, size):
    cmd = [fs_hash, ",".join(images), str(start), str(size)]
    run = subprocess.run(cmd, capture_output=True, timeout=TIME_LIMIT, check=False)
    rows = []
    for line in run.stdout.decode("utf-8", "surrogateescape").splitlines():
        kind, length, digest, path = line.split("\t", 3)
        rows.append((path, kind, length, digest))
    return run.returncode, rows, run.stderr.decode("utf-8", "replace").strip()


def norm(path, fs):
    path = path.replace("\\x5c", "\\")
    return unicodedata.normalize("NFC", path) if fs.startswith("hfs") else path


def compare(rows, truth, fs):
    """Yields (path, what) for each difference."""
    ours = collections.defaultdict(list)
    for path, kind, length, digest in rows:
        if kind != "m" and not path.startswith("$Extend/"):
            ours[norm(path, fs)].append((kind, length, digest))
    named = set()
    for t in truth:
        path = norm(t["path"], fs)
        named.add(path)
        if "DISAGREE" in t["note"] and "majority" not in t["note"]:
            continue
        want = (t["kind"], t["size"], t["sha256"])
        got = ours.get(path)
        if not got:
            yield path, "missing"
        elif t["kind"] == "f" and t["sha256"] == "-":  # the readers could not read it either
            if all((g[0], g[1]) != ("e", t["size"]) for g in got):
                yield path, f"is {got[0]}, expected an error"
        elif t["kind"] in "do":
            if all(g[0] != t["kind"] for g in got):
                yield path, f"is {got[0]}, expected {want}"
        elif t["kind"] == "l":
            if all(g[0] != "l" or g[2] != t["sha256"] for g in got):
                yield path, f"is {got[0]}, expected {want}"
        elif want not in got:
            yield path, f"is {got[0]}, expected {want}"
    if sum(t["kind"] == "f" for t in truth) >= SAMPLE or sum(t["kind"] in "dl" for t in truth) >= 60:
        return
    for path, got in sorted(ours.items()):
        if path not in named:
            yield path, f"not in the table: {got[0]}"


def run_case(case, fs_hash, corpus, tmp):
    """Yields (volume, path, what, checked) for each difference, and one row (volume, None, …) per volume."""
    images = images_of(case, corpus, tmp)
    parts = os.path.join(corpus, "truth", case["id"] + ".parts.tsv")
    parts = table(parts) if os.path.exists(parts) else []
    files = os.path.join(corpus, "truth", case["id"] + ".files.tsv")
    truth = table(files) if os.path.exists(files) else []
    for part in parts:
        if not part["start"].isdigit():
            continue
        mine = [t for t in truth if t["volume"] == part["volume"]]
        try:
            code, rows, text = listing(fs_hash, images, part["start"], part["size"])
        except subprocess.TimeoutExpired:
            yield part["volume"], "", "does not end", 0
            continue
        if code < 0 or code == 1:
            yield part["volume"], "", f"crash (exit {code}): {text[-300:]}", 0
        elif code == 2 and part["fs"] in KNOWN and case["group"] not in ("detect", "damaged"):
            yield part["volume"], "", f"not opened: {text}", 0
        elif code == 0 and part["fs"] not in KNOWN and part["fs"] and mine:
            yield part["volume"], "", f"opened although it is {part['fs']}", 0
        elif code == 0:
            for path, what in compare(rows, mine, part["fs"]) if mine else ():
                yield part["volume"], path, what, 0
        yield part["volume"], None, f"{len(rows)} listed, {len(mine)} in the table", len(mine)


def is_raw(case):
    return case["group"] in ("fs", "raw", "pt", "damaged", "detect") and \
        os.path.splitext(case["files"])[1] not in (".vmdk", ".vhd", ".vhdx")


def main():
    fs_hash, corpus, expectations = sys.argv[1:4]
    corpus = os.path.join(os.environ.get("VDISKFS_CORPUS", corpus), "dev")
    if not os.path.exists(os.path.join(corpus, "MANIFEST.tsv")):
        print(f"skipped: no corpus at {corpus}")
        return 77
    expected = {(e["case"], e["volume"], e["path"]): e["reason"] for e in table(expectations)}
    seen, bad, checked = set(), 0, 0
    cases = [c for c in table(os.path.join(corpus, "MANIFEST.tsv"))
             if (c["id"] in sys.argv[4:] if sys.argv[4:] else is_raw(c))]
    for case in cases:
        with tempfile.TemporaryDirectory(prefix="vdiskfs-corpus-") as tmp:
            for volume, path, what, n in run_case(case, fs_hash, corpus, tmp):
                checked += n
                if path is None:
                    print(f"{case['id']} {volume}: {what}")
                    continue
                key = next((k for k in ((case["id"], volume, path), (case["id"], volume, "*"))
                            if k in expected), None)
                seen.add(key)
                if key is None:
                    bad += 1
                    print(f"DIFFERENCE {case['id']} {volume} {path!r}: {what}")
    for key in expected:
        if key not in seen and not sys.argv[4:]:
            bad += 1
            print(f"EXPECTED DIFFERENCE is gone: {key}")
    print(f"{len(cases)} cases, {checked} table rows checked, {bad} unexpected differences")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
