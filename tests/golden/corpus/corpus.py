#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real images with known contents: hash of the disk, partitions, hash of every file.

    corpus.py GROUP...   the cases of these groups of MANIFEST.tsv (see the corpus's README);
                         also ID for one case, and -ID for all but that one

Each case is unpacked, mounted and compared with what independent programs say of it.  A case that
this version does not cover is listed by name with the reason.  known.tsv lists what differs and why
the truth, not we, is limited there.
"""
import csv
import os
import re
import subprocess
import sys
import unicodedata

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "e2e"))
from harness import CORPUS, VDISKCTL, Case, need_fuse, need_tools, run, sha256_file, skip  # noqa: E402

import json  # noqa: E402

DEV = os.path.join(CORPUS, "dev")
# Larger disks are hashed by vdiskctl, which does not read zeros: 127 GiB of them cost SHA-256 some 90 s.
MAX_READ = 17 << 30
csv.field_size_limit(1 << 24)

# Other containers are no images of this program: they must be refused by name, never shown as raw.
OTHER_CONTAINER = {"qcow", "vdi", "hdd", "ewf", "dmg"}
LATER_VOLUMES = {"lv": "LVM2 volumes", "ldm": "dynamic disks", "vss": "shadow copies"}
FILE_SYSTEMS = {"ntfs": "ntfs", "vfat": "fat", "exfat": "exfat", "ext2": "ext", "ext3": "ext", "ext4": "ext",
                "hfsplus": "hfs", "iso9660": "iso9660"}
UNPACK = {".gz": "gzip", ".xz": "xz", ".bz2": "bzip2", ".zst": "zstd"}


def table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def unpack(row, folder):
    names = []
    for stored in row["files"].split("; "):
        name = os.path.basename(stored)
        tool = UNPACK.get(os.path.splitext(name)[1])
        if tool:
            name = os.path.splitext(name)[0]
            command = f"{tool} -dc '{DEV}/{stored}' | dd of='{folder}/{name}' conv=sparse bs=64k status=none"
            subprocess.run(["bash", "-o", "pipefail", "-c", command], check=True)
            size = int(subprocess.run(["bash", "-c", f"{tool} -dc '{DEV}/{stored}' | wc -c"], check=True,
                                      capture_output=True).stdout)
            os.truncate(os.path.join(folder, name), size)  # a trailing hole
        else:
            subprocess.run(["cp", f"{DEV}/{stored}", f"{folder}/{name}"], check=True)
            os.chmod(os.path.join(folder, name), 0o644)
        names.append(name)
    return names


def unescape(text):
    """Bytes of a name or path of the tables: \\xHH stands for a byte."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m.group(1), 16)]), text.encode())


def display(component):
    """The name as the mount shows it: docs of src/tree/names.h."""
    if component in (b"", b"%", b".", b".."):
        return {b"": b"%", b"%": b"%25", b".": b"%2E", b"..": b"%2E%2E"}[component]
    out, at = b"", 0
    while at < len(component):
        for length in (4, 3, 2, 1):
            piece = component[at:at + length]
            try:
                if len(piece.decode()) == 1:
                    break
            except UnicodeDecodeError:
                piece = b""
        if not piece:
            out += b"%%%02X" % component[at]
            at += 1
        elif len(piece) == 1 and (piece[0] < 0x20 or piece[0] in (0x7f, 0x2f)):
            out += b"%%%02X" % piece[0]
            at += 1
        elif piece == b"%" and re.match(rb"%[0-9A-F]{2}", component[at:]):
            out += b"%25"
            at += 1
        else:
            out += piece
            at += len(piece)
    return out


def find(folder, component):
    """The entry of that raw name; HFS+ tables are in NFC, the evidence in NFD."""
    direct = os.path.join(folder, display(component))
    if os.path.lexists(direct):
        return direct
    try:
        wanted = unicodedata.normalize("NFC", component.decode())
        for name in os.listdir(folder):
            if unicodedata.normalize("NFC", name.decode()) == wanted:
                return os.path.join(folder, name)
    except (UnicodeDecodeError, OSError):
        pass
    return None


class Checker:
    def __init__(self, row, case, mnt):
        self.row, self.case, self.mnt = row, case, mnt
        self.info = json.load(open(f"{mnt}/info.json", encoding="utf-8"))
        self.problems, self.checked, self.skipped = [], 0, []
        self.known = [r for r in table(os.path.join(HERE, "known.tsv")) if r["id"] == row["id"]]

    def say(self, volume, path, text):
        for row in self.known:
            if row["volume"] in (volume, "*") and re.fullmatch(row["path"], path):
                self.skipped.append(f"{volume} {path}: {row['reason']}")
                return
        self.problems.append(f"{volume} {path}: {text}")

    def disk(self):
        size, digest = self.row["raw_size"], self.row["raw_sha256"]
        image = f"{self.mnt}/disk.img"
        if self.row["group"] in ("bde", "bitlk", "luks"):  # the truth is of the decrypted volume
            size, digest = "-", dict(x.split("=", 1) for x in self.row["image_sha256"].split("; "))[
                os.path.basename(self.case.image)]
        if size != "-" and os.path.getsize(image) != int(size):
            self.say("disk", "disk.img", f"size {os.path.getsize(image)}, expected {size}")
        if digest == "-":
            return
        self.checked += 1
        if os.path.getsize(image) > MAX_READ:
            ours = run(VDISKCTL, "hash", "--disk-only", f"{self.case.evidence}/{self.case.image}",
                       timeout=1100).stdout.split()[0].decode()
        else:
            ours = sha256_file(image, 4 << 20)
        if ours != digest:
            self.say("disk", "disk.img", "another SHA-256")

    def directory(self, volume, parts):
        """Our directory for a volume of the tables: the same start and size."""
        if volume == "whole":
            wanted = [v for v in self.info["volumes"] if v["start"] == 0]
        else:
            row = next((p for p in parts if p["volume"] == volume), None)
            if row is None:
                return None
            wanted = [v for v in self.info["volumes"] if v["start"] == int(row["start"])]
            if wanted and wanted[0]["size"] != int(row["size"]):
                self.say(volume, "", f"size {wanted[0]['size']}, expected {row['size']}")
        return wanted[0] if wanted else None

    def partitions(self, parts):
        for row in parts:
            kind = row["volume"].split(":")[0].split("/")[-1].rstrip("0123456789")
            if row["scheme"] == "derived" or ":" in row["volume"]:
                self.skipped.append(f"{row['volume']}: {LATER_VOLUMES.get(kind, 'built volumes')} are not in this version")
                continue
            if row["scheme"] not in ("none", "DOS Partition Table", "GUID Partition Table (EFI)"):
                self.skipped.append(f"{row['volume']}: {row['scheme']} is not in this version")
                continue
            self.checked += 1
            ours = self.directory(row["volume"], parts)
            if ours is None:
                self.say(row["volume"], "", f"no volume at {row['start']}: {[v['start'] for v in self.info['volumes']]}")
                continue
            if not os.path.isfile(f"{self.mnt}/{ours['name']}/volume.img"):
                self.say(row["volume"], "", "no volume.img")
            if row["fs"] and ours["content"]["type"] != row["fs"]:
                self.say(row["volume"], "", f"recognised as {ours['content']['type']}, expected {row['fs']}")
            if row["fs"] in FILE_SYSTEMS and not ours["file_system"]:
                self.say(row["volume"], "", f"no file system: {ours['not_shown']}")

    def file(self, row, top):
        raw = unescape(row["path"])
        stream = None
        if row["kind"] == "ads":
            raw, stream = raw.rsplit(b":", 1)
        path = top
        for component in raw.split(b"/"):
            path = find(path, component)
            if path is None:
                return "is not there"
        if row["kind"] == "d":
            return None if os.path.isdir(path) else "is no directory"
        if row["kind"] == "l":
            target = row["sha256"].removeprefix("-> ")
            if not os.path.islink(path):
                return "is no link"
            ours = os.getxattr(path, "vdiskfs.link_raw", follow_symlinks=False)
            return None if ours == unescape(target) else f"leads to {ours!r}, expected {target!r}"
        if row["kind"] == "o":
            return None if os.path.lexists(path) else "is not there"
        if stream is not None:
            path += b":" + stream
        if os.path.getsize(path) != int(row["size"]):
            return f"size {os.path.getsize(path)}, expected {row['size']}"
        return None if sha256_file(path) == row["sha256"] else "another SHA-256"

    def files(self, rows, parts):
        for row in rows:
            volume = row["volume"]
            if ":" in volume or "/" in volume:
                continue  # derived: told once by partitions()
            if row["note"].startswith("DISAGREE") and "majority" not in row["note"]:
                continue
            ours = self.directory(volume, parts)
            if ours is None or not ours["file_system"]:
                fs = next((p["fs"] for p in parts if p["volume"] == volume), "")
                if fs in FILE_SYSTEMS and ours is not None:
                    self.say(volume, row["path"], "the file system is not shown")
                continue
            self.checked += 1
            try:
                problem = self.file(row, os.fsencode(f"{self.mnt}/{ours['name']}/fs"))
            except OSError as error:
                problem = str(error)
            if problem:
                self.say(volume, row["path"], problem)

    def walk(self):
        """Damaged on purpose: everything may fail, nothing may crash or hang."""
        count = 0
        for base, _, names in os.walk(self.mnt):
            for name in names:
                count += 1
                if count > 2000 or not os.path.isfile(os.path.join(base, name)):
                    continue
                try:
                    with open(os.path.join(base, name), "rb") as file:
                        file.read(1 << 20)
                except OSError:
                    pass
        self.checked += 1


def check_open(row, case, image):
    intact = row["expect"] != "no crash"
    with case.mounted(image, intact=True) as mnt:
        checker = Checker(row, case, mnt)
        tables = [name for name in row["truth_tables"].split("; ") if name != "-"]
        parts = next((table(f"{DEV}/truth/{n}") for n in tables if n.endswith(".parts.tsv")), [])
        files = next((table(f"{DEV}/truth/{n}") for n in tables if n.endswith(".files.tsv")), [])
        if intact:
            checker.disk()
            checker.partitions(parts)
            checker.files(files, parts)
        if not intact or "hang" in row["expect"]:
            checker.walk()
    return checker


def check_refuse(case, image, seconds=60):
    code, message = case.refused(image)
    assert code in (2, 3, 4), f"exit {code}: {message}"
    assert image.split(".")[0] in message or len(message) > 20, message
    return message.strip()


def check_case(row):
    with Case(row["id"]) as case:
        image = unpack(row, case.evidence)[0]
        case.image = image
        name = row["id"]
        if row["group"] in OTHER_CONTAINER or row["id"] in ("vss-qcow2", "lvm-qcow2-dfvfs"):
            print(f"  skipped {name}: another container ({row['group']}); refused: {check_refuse(case, image)}")
            return []
        if row["expect"] == "refuse" and row["group"] not in ("bde", "bitlk", "luks"):
            print(f"  ok      {name}: refused: {check_refuse(case, image)}")
            return []
        checker = check_open(row, case, image)
        word = "FAILED " if checker.problems else "ok     "
        print(f"  {word} {name}: {checker.checked} checks")
        for text in sorted(set(checker.skipped)):
            print(f"          skipped {name}: {text}")
        return [f"{name}: {text}" for text in checker.problems]


def main():
    if not os.path.exists(os.path.join(DEV, "MANIFEST.tsv")):
        skip(f"the corpus is missing: no {DEV}/MANIFEST.tsv")
    need_fuse()
    need_tools("xz", "gzip", "bzip2", "zstd")
    wanted = [x for x in sys.argv[1:] if x[0] != "-"]
    rows = [r for r in table(os.path.join(DEV, "MANIFEST.tsv"))
            if (not wanted or r["group"] in wanted or r["id"] in wanted) and f"-{r['id']}" not in sys.argv]
    assert rows, f"no case in {wanted}"
    problems = []
    for row in rows:
        try:
            problems += check_case(row)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            print(f"  FAILED  {row['id']}")
            problems.append(f"{row['id']}: {error}")
        sys.stdout.flush()
    print(f"{len(rows)} cases, {len(problems)} problems")
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
