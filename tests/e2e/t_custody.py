#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The log's header says who, what and why, from options and from a case file, and a mistake in either is
an error before anything is mounted.  A laboratory's key signs the log.  A remount is on the record."""
import os
import re
import subprocess

from harness import ROOT, VDISKCTL, VDISKFS, Case, make_raw, need_fuse, need_tools, run, wait_until

need_tools("openssl")
need_fuse()
VERIFIER = os.path.join(ROOT, "scripts", "verify-audit-log")

CASE_FILE = """\ufeff# the case
case_id      = K-2041
examiner=A. Noto\r
  organisation = Forensic laboratory, unit = 3\t
authority = Order 17 Gs 123/26

location = 東京
witness = 立会人 山田
"""


def save(case, name, text, mode=0o644):
    path = os.path.join(case.dir, name)
    with open(path, "wb") as file:
        file.write(text.encode() if isinstance(text, str) else text)
    os.chmod(path, mode)
    return path


def custody(case):
    with case.mounted("disk.raw", "case_file=" + save(case, "case", CASE_FILE), "evidence_id=E7",
                      "examiner=A. Noto", "purpose=why\\, and how"):
        pass
    first = case.records()[0]
    expected = {"case_id": "K-2041", "examiner": "A. Noto", "organisation": "Forensic laboratory, unit = 3",
                "authority": "Order 17 Gs 123/26", "location": "東京", "witness": "立会人 山田",
                "evidence_id": "E7", "purpose": "why, and how", "changes": "none"}
    assert {key: first.get(key) for key in expected} == expected, first
    with case.mounted("disk.raw", "changes=opened for acquisition by B"):
        pass
    first = case.records()[0]
    assert first["changes"] == "opened for acquisition by B" and "case_id" not in first, first


def refusals(case):
    good = save(case, "case", CASE_FILE)
    code, text = case.refused("disk.raw", f"case_file={good}", "examiner=Somebody else")
    assert code == 1 and "line 3: examiner is not what the option of that name says" in text, text
    for content, message in (("case_id = 1\nfoo = 2\n", 'line 2: unknown name "foo"'),
                             ("case_id = 1\n\ncase_id = 1\n", "line 3: case_id is there twice"),
                             ("case_id =  \n", "line 1: case_id has no value"),
                             ("just words", "line 1: not of the form"),
                             (b"case_id = \xff\n", "line 1: case_id: not UTF-8"),
                             (b"case_id = a\x00b\n", "line 1: case_id: a control character"),
                             ("case_id = " + "x" * 1025, "line 1: case_id: longer than 1024 bytes"),
                             ("#" * 70000, "larger than 65536 bytes")):
        code, text = case.refused("disk.raw", "case_file=" + save(case, "bad", content))
        assert code == 1 and message in text, (content[:50], text)
    fifo = os.path.join(case.dir, "fifo")
    os.mkfifo(fifo)
    for path, message in ((fifo, "not a regular file"), (case.dir, "not a regular file"),
                          (case.dir + "/none", "No such file")):
        for option in ("case_file", "audit_key"):
            code, text = case.refused("disk.raw", f"{option}={path}")
            assert code == 1 and message in text, (option, text)
    code, text = case.refused("disk.raw", "examiner=a\x1bb")
    assert code == 1 and "control character" in text, text
    code, text = case.refused("disk.raw", "examiner=")
    assert code == 1 and 'option "examiner": an empty value' in text, text


def places(case):
    """The evidence directory under another name: nothing is written there."""
    inside = [f"{case.evidence}/sub", f"{case.log}/none/../../evidence", f"{case.log}/none/.."]
    bound = os.path.join(case.dir, "bound")
    os.mkdir(bound)
    if os.getuid() == 0:
        run("mount", "--bind", case.evidence, bound)
        inside += [bound, bound + "/sub/sub"]
    else:
        print("places: no bind mount tried, needs root")
    before = os.listdir(case.evidence)
    for path in inside:
        for option in ("audit", "anchor_dir"):
            code, text = case.refused("disk.raw", f"{option}={path}")
            assert code in (1, 6) and ("lies in the evidence directory" in text or "cannot be resolved" in text), \
                (option, path, text)
    assert os.listdir(case.evidence) == before, os.listdir(case.evidence)
    assert not os.path.exists(f"{case.log}/none")


def file_size_limit(case):
    """A log that a limit of file sizes leaves no room for is not begun, and that is told."""
    before = case.sessions()
    words = [VDISKFS, case.path("disk.raw"), case.mnt, "-o", f"audit={case.log}"]
    result = run("sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", *words, check=False)
    assert result.returncode == 6 and b"File too large" in result.stderr, (result.returncode, result.stderr)
    assert case.sessions() == before, case.sessions()


def laboratory(case):
    key = os.path.join(case.dir, "laboratory.pem")
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", key)
    os.chmod(key, 0o644)
    code, text = case.refused("disk.raw", f"audit_key={key}")
    assert code == 1 and "others may use this private key (mode 0644)" in text, text
    os.chmod(key, 0o600)
    os.symlink("laboratory.pem", os.path.join(case.dir, "link"))
    code, text = case.refused("disk.raw", f"audit_key={case.dir}/link")
    assert code == 1 and "symbolic link" in text, text
    code, text = case.refused("disk.raw", "audit_key=" + save(case, "junk", "junk", 0o600))
    assert code == 1 and "not an unencrypted Ed25519" in text, text
    with case.mounted("disk.raw", f"audit_key={key}"):
        pass
    session = case.sessions()[-1]
    public = re.search(r"^laboratory key: (\S+)$", case.errors(), re.M)[1]
    assert public in [r.get("text") for r in case.records() if r.get("key") == "laboratory key"]
    # the recipe of the manual gives the same
    with open(os.path.join(ROOT, "docs", "anchors.md"), encoding="utf-8") as file:
        recipe = re.search(r"(    pub\(\) .*\n.*\n.*\n)", file.read())[1]
    assert run("sh", "-c", recipe, cwd=case.dir).stdout.decode().strip() == public, public
    for verify in ([VDISKCTL, "audit", "verify", "--key"], [VERIFIER, "--key"]):
        assert run(*verify, public, session).stdout.startswith(b"INTACT closed")
    other = os.path.join(case.dir, "other.pem")
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", other)
    wrong = run("sh", "-c", recipe.replace("laboratory.pem", "other.pem"), cwd=case.dir).stdout.decode().strip()
    with case.mounted("disk.raw"):
        pass
    for where, given in ((session, wrong), (case.sessions()[-1], public)):
        for verify in ([VDISKCTL, "audit", "verify", "--key"], [VERIFIER, "--key"]):
            assert run(*verify, given, where, check=False).returncode == 7, (where, given)
    # the private key is nowhere in the log
    with open(key, encoding="ascii") as file:
        secret = file.read().split("\n")[1].encode()
    for path in [os.path.join(session, n) for n in os.listdir(session)] + [os.path.join(case.dir, "stderr")]:
        with open(path, "rb") as file:
            assert secret not in file.read(), path


def remount(case):
    if os.getuid() != 0:
        print("remount: not tried, needs root")
        return
    with case.mounted("disk.raw") as mnt:
        run("mount", "-i", "-o", "remount,rw", mnt)
        policy = []
        assert wait_until(lambda: policy.extend(
            r["text"] for r in case.records() if r["op"] == "POLICY" and r.get("key") == "mount options") or policy, 3)
        assert "the mount was changed by somebody: now rw" in policy[0] and "before ro,nosuid" in policy[0], policy
        assert subprocess.run(["touch", os.path.join(mnt, "x")], capture_output=True, check=False).returncode != 0
        run("mount", "-i", "-o", "remount,ro,nosuid,nodev,noexec", mnt)
    changes = [r["text"] for r in case.records() if r["op"] == "POLICY" and r.get("key") == "mount options"]
    assert "vdiskfs: the mount was changed" in case.errors().replace("warning: ", ""), case.errors()
    assert len(changes) in (1, 2), changes


with Case("custody") as private:
    make_raw(private.path("disk.raw"), 1 << 20, 1)
    custody(private)
    refusals(private)
    places(private)
    file_size_limit(private)
    laboratory(private)
    remount(private)
print("the header says who, what and why")
