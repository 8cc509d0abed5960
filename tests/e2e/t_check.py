#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vdiskctl check: sound images of qemu-img are sound (exit 0); damaged ones, broken chains and
unreadable bytes are findings with their place (exit 7); what does not open is reported as well
(exit 2).  Nothing is written."""
import json
import os
import re
import shutil
import struct

from harness import SANDBOX, VDISKCTL, Case, evidence_state, make_raw, need_tools, qemu_chain, run

need_tools("qemu-img", "qemu-io")


def check(image, *words, code=0):
    result = run(VDISKCTL, "check", "--json", *words, "-o", f"sandbox={SANDBOX}", image, check=False)
    assert b"Sanitizer" not in result.stderr and b"runtime error" not in result.stderr, result.stderr
    assert result.returncode == code, f"{image}: exit {result.returncode}\n{result.stdout.decode()}{result.stderr.decode()}"
    report = json.loads(result.stdout)
    assert (report["format"], report["version"]) == ("vdiskfs-check", 1)
    found = [(f["level"], f["id"], f) for part in (report["chain"], *report["chain"]["members"], report["disk"] or {})
             for f in part.get("findings", [])]
    for level in ("error", "warning", "note"):
        assert sum(f["n"] for name, _, f in found if name == level) == report[level + "s"], report
    text = run(VDISKCTL, "check", *words, "-o", f"sandbox={SANDBOX}", image, check=False)
    assert text.returncode == code
    for _, identifier, f in found:
        assert identifier in text.stdout.decode(), f"{identifier} is not in the text"
        assert len(f["first"]) == min(f["n"], 20) or f["n"] > 20, f
    verdict = {"sound": "SOUND", "doubtful": "DOUBTFUL", "damaged": "DAMAGED"}[report["verdict"]]
    assert f"VERDICT: {verdict}" in text.stdout.decode()
    assert (report["verdict"] == "sound") == (report["errors"] + report["warnings"] == 0)
    return report, found


def ids(found, level):
    return {identifier for name, identifier, _ in found if name == level}


def sound(case):
    folder = os.path.join(case.evidence, "sound")
    os.mkdir(folder)
    raw = os.path.join(case.dir, "base.raw")
    make_raw(raw, 12 << 20, 4)
    for kind, options, name in (("vmdk", "subformat=monolithicSparse", "a.vmdk"), ("vmdk", "subformat=monolithicFlat", "b.vmdk"),
                                ("vmdk", "subformat=streamOptimized", "c.vmdk"),
                                ("vmdk", "subformat=twoGbMaxExtentSparse", "d.vmdk"),
                                ("vpc", "subformat=dynamic,force_size=on", "e.vhd"), ("vpc", "subformat=fixed,force_size=on", "f.vhd"),
                                ("vhdx", "subformat=dynamic", "g.vhdx"), ("vhdx", "subformat=fixed", "h.vhdx")):
        sub = os.path.join(folder, name.replace(".", "-"))
        os.mkdir(sub)
        run("qemu-img", "convert", "-q", "-f", "raw", "-O", kind, "-o", options, raw, os.path.join(sub, name))
        report, _ = check(os.path.join(sub, name), "--read")
        assert report["chain"]["complete"] and report["disk"]["unreadable"] == 0, name
        assert report["disk"]["size"] >= 12 << 20
    check(raw)
    print("8 kinds of qemu-img: sound")


def chains(case):
    folder = os.path.join(case.evidence, "chain")
    os.mkdir(folder)
    names = qemu_chain(folder, 4, 8 << 20)
    tip = os.path.join(folder, names[-1])
    report, _ = check(tip)
    assert [m["name"] for m in report["chain"]["members"]] == names[::-1]
    assert [m["role"] for m in report["chain"]["members"]] == ["tip", "member", "member", "base"]
    assert any(row["n"] for m in report["chain"]["members"] for row in m["looked_at"]), "no entry was looked at"

    # a middle member is sound in itself, but not the newest state
    _, found = check(os.path.join(folder, names[1]))
    assert "not_the_tip" in ids(found, "note"), found

    # without its base: all that is there is checked, what is missing is said
    os.rename(os.path.join(folder, names[0]), os.path.join(case.dir, "away"))
    report, found = check(tip, "--read", code=7)
    assert not report["chain"]["complete"] and len(report["chain"]["members"]) == 3
    assert {"chain_refused", "parent_missing"} <= ids(found, "error") and "disk_not_read" in ids(found, "note")
    os.rename(os.path.join(case.dir, "away"), os.path.join(folder, names[0]))

    # with another identity: it is looked at and called what it is
    with open(os.path.join(folder, names[1]), "r+b") as file:
        match = re.search(rb"\nCID=([0-9a-f]+)", file.read(65536))
        file.seek(match.start(1))
        file.write(b"1" if match.group(1)[:1] != b"1" else b"2")
    report, found = check(tip, code=7)
    assert len(report["chain"]["members"]) == 4, "the file behind the broken link is looked at, too"
    assert {"chain_refused", "wrong_parent"} <= ids(found, "error"), found
    assert report["chain"]["members"][2]["link"].startswith("NOT VERIFIED")
    print("chains: every link is looked at, broken or not")


def circumstances(case):
    """A sound file of a machine that was not shut down, read by somebody who does not own it."""
    folder = os.path.join(case.evidence, "circumstances")
    os.mkdir(folder)
    raw, image = os.path.join(case.dir, "c.raw"), os.path.join(folder, "c.vmdk")
    make_raw(raw, 1 << 20, 8)
    run("qemu-img", "convert", "-q", "-f", "raw", "-O", "vmdk", raw, image)
    with open(image, "r+b") as file:
        file.seek(72)
        file.write(b"\1")
    _, found = check(image)
    assert "unclean_shutdown" in ids(found, "note") and not ids(found, "warning"), found
    if os.getuid() != 0:
        print("circumstances: without root only the flag was tried")
        return
    tool = shutil.copy(VDISKCTL, case.dir)  # the build may lie where the user cannot look
    words = (tool, "check", "-o", f"sandbox={SANDBOX}", image)
    result = run(*words, user="nobody", group="nogroup", check=False)
    assert result.returncode == 0 and b"note atime" in result.stdout, result
    run("mount", "--bind", folder, folder)
    try:
        run("mount", "-o", "remount,bind,ro", folder)
        result = run(*words, user="nobody", group="nogroup", check=False)
    finally:
        run("umount", folder)
    assert result.returncode == 0 and b"atime" not in result.stdout, result
    print("circumstances: are notes; a read-only mount keeps access times")


def damaged(case):
    folder = os.path.join(case.evidence, "damaged")
    os.mkdir(folder)
    raw, image = os.path.join(case.dir, "d.raw"), os.path.join(folder, "d.vmdk")
    make_raw(raw, 16 << 20, 8, density=1.0)
    run("qemu-img", "convert", "-q", "-f", "raw", "-O", "vmdk", raw, image)
    size = os.path.getsize(image)
    with open(image, "r+b") as file:
        head = file.read(512)
        directory = struct.unpack_from("<Q", head, 56)[0]  # gdOffset
        redundant = struct.unpack_from("<Q", head, 48)[0]
        for place in {directory, redundant} - {0}:
            file.seek(place * 512)
            table = struct.unpack("<I", file.read(4))[0]
            for entry in range(100, 130):  # 30 of 256: past the end
                file.seek(table * 512 + 4 * entry)
                file.write(struct.pack("<I", size // 512 + 128 * entry))
            file.seek(table * 512 + 4 * 7)
            first = struct.unpack("<I", file.read(4))[0]
            file.seek(table * 512 + 4 * 9)
            file.write(struct.pack("<I", first))  # grain 9 is grain 7
    report, found = check(image, "--read", code=7)
    assert report["errors"] > 0 and report["verdict"] == "damaged"
    entries = [f for level, _, f in found if level == "error" and f["n"] >= 30]
    assert entries and len(entries[0]["first"]) == 20, "the bad entries are one group"
    places = [(p["disk_offset"], p["disk_length"]) for p in entries[0]["first"][:3]]
    assert places == [(7 * 65536, 65536), (9 * 65536, 65536), (100 * 65536, 65536)], places
    unreadable = [f for _, identifier, f in found if identifier == "unreadable"]
    assert report["disk"]["unreadable"] == 32 * 65536, report["disk"]
    places = [(p["disk_offset"], p["disk_length"]) for p in unreadable[0]["first"]]
    assert places == [(7 * 65536, 65536), (9 * 65536, 65536), (100 * 65536, 30 * 65536)], places
    print("damaged tables: found, grouped, with their places")


def refused(case):
    folder = os.path.join(case.evidence, "refused")
    os.mkdir(folder)
    image = os.path.join(folder, "r.vmdk")
    run("qemu-img", "create", "-q", "-f", "vmdk", image, "1M")
    with open(image, "r+b") as file:
        file.seek(20)  # grain size 0
        file.write(bytes(8))
    _, found = check(image, code=2)
    assert ids(found, "error") == {"cannot_open"}
    run("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", os.path.join(folder, "f.vmdk"), "1M")
    os.unlink(os.path.join(folder, "f-flat.vmdk"))
    _, found = check(os.path.join(folder, "f.vmdk"), code=3)
    assert ids(found, "error") == {"cannot_open"}
    assert run(VDISKCTL, "check", os.path.join(folder, "none"), check=False).returncode == 2
    assert run(VDISKCTL, "check", check=False).returncode == 1
    assert run(VDISKCTL, "check", "--nonsense", image, check=False).returncode == 1
    print("refused: reported")


with Case("check") as this:
    for part in (sound, chains, circumstances, damaged, refused):
        part(this)
    before = evidence_state(this.evidence)
    run(VDISKCTL, "check", "--read", "-o", f"sandbox={SANDBOX}", this.path("damaged/d.vmdk"), check=False)
    assert before == evidence_state(this.evidence), "evidence changed"
