#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An ordinary user mounts, reads and unmounts, through fusermount3; the log goes to the user's own
directory by default."""
import os
import shutil
import subprocess

from harness import BIN, SANDBOX, Case, need_fuse, need_root, need_tools, run

need_tools("qemu-img", "runuser", "fusermount3")
need_root()
need_fuse()
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "scripts")
need_tools("mkntfs", "mke2fs", "sgdisk")

with Case("user") as case:
    run(os.path.join(SCRIPTS, "make-sample"), case.evidence)
    tools = os.path.join(case.dir, "bin")  # the build may lie where the user cannot look
    os.mkdir(tools)
    for name in ("vdiskfs", "vdiskctl"):
        shutil.copy(os.path.join(BIN, name), tools)
    home = os.path.join(case.dir, "home")
    os.mkdir(home)
    run("chown", "-R", "nobody", case.dir)
    script = f"""set -e
export HOME={home}; unset XDG_STATE_HOME; cd {home}; PATH={tools}:$PATH
vdiskfs {case.evidence}/sample-000002.vmdk {case.mnt} -o sandbox={SANDBOX}
cat {case.mnt}/p1/fs/report.txt
cat {case.mnt}/p2/fs/home/alice/todo.txt
head -c 512 {case.mnt}/disk.img | wc -c
grep {case.mnt} /proc/mounts
touch {case.mnt}/disk.img 2>&1 || true
vdiskctl umount {case.mnt}
vdiskctl audit verify {home}/.local/state/vdiskfs/*/
vdiskfs {case.evidence}/sample-000002.vmdk {case.mnt} -o sandbox={SANDBOX}
fusermount3 -u {case.mnt}
"""
    result = run("runuser", "-u", "nobody", "--", "bash", "-c", script, check=False, stdin=subprocess.DEVNULL)
    text = result.stdout.decode()
    assert result.returncode == 0, f"{text}\n{result.stderr.decode()}"
    for expected in ("second draft", "Pay the invoice today.", "512", "fuse.vdiskfs ro,nosuid,nodev,noexec",
                     "Read-only file system", "INTACT closed"):
        assert expected in text, f"{expected!r} is missing in:\n{text}"
    # what a user may not read may be the newest state: it is said, by name
    for name in ("sample-000001.vmdk", "sample-000002.vmdk"):
        os.chmod(case.path(name), 0)
    text = run("runuser", "-u", "nobody", "--", f"{tools}/vdiskctl", "info", "-o", f"sandbox={SANDBOX}",
               case.path("sample.vmdk")).stdout.decode()
    warnings = text.split("WARNINGS")[1].split("CHAIN")[0]
    assert "could not be identified" in warnings and "sample-000002.vmdk" in warnings, warnings
    for name in ("sample-000001.vmdk", "sample-000002.vmdk"):
        os.chmod(case.path(name), 0o644)

    # root takes down what a user left mounted
    run("runuser", "-u", "nobody", "--", "bash", "-c",
        f"HOME={home} {tools}/vdiskfs {case.evidence}/sample-000002.vmdk {case.mnt} -o sandbox={SANDBOX}",
        stdin=subprocess.DEVNULL)
    run(f"{tools}/vdiskctl", "umount", case.mnt)
print("an ordinary user: mounted, read, unmounted, log verified")
