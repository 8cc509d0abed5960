#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints leave the log's directory: lines on standard error, a second directory, a command with
a time stamp authority of openssl.  Whatever such a place does (hang, be missing, flood, go away), the
mount goes on, the log tells, and its end comes in bounded time."""
import multiprocessing
import os
import re
import signal
import socket
import stat
import subprocess
import time

from harness import ROOT, VDISKCTL, VDISKFS, Case, is_mounted, make_raw, need_fuse, need_tools, run, wait_until

need_tools("openssl")
need_fuse()
VERIFIER = os.path.join(ROOT, "scripts", "verify-audit-log")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def write(path, text, mode=0o644):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


def anchors_fit(case, path, least):
    """How many anchors of the file fit the newest log, for both verifiers."""
    session = case.sessions()[-1]
    text = run(VDISKCTL, "audit", "verify", "--anchor", path, session).stdout.decode()
    assert text.startswith("INTACT closed\n"), text
    count = int(re.search(r"anchors +(\d+) fit", text)[1])
    assert count >= least, text
    assert run(VERIFIER, "--anchor", path, session).stdout.startswith(b"INTACT closed ")
    return count


def told(case, key, op):
    return [r["text"] for r in case.records() if r["op"] == op and r.get("key") == key]


def last_size(case):
    notes = read(os.path.join(case.sessions()[-1], "checkpoints"))
    return re.findall(r"^(\d+)\n", notes, re.M)[-1]


def make_authority(folder):
    """A time stamp authority: a CA and a certificate for stamping."""
    write(os.path.join(folder, "ca.cnf"), """
[req]
distinguished_name = dn
prompt = no
[dn]
CN = vdiskfs test
[ca]
basicConstraints = critical,CA:TRUE
[stamping]
extendedKeyUsage = critical,timeStamping
[tsa]
default_tsa = ts_conf
[ts_conf]
serial = %s/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
""" % folder)
    at = {"cwd": folder}
    run("openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
        "-config", "ca.cnf", "-extensions", "ca", **at)
    run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tsa.key", "-out", "tsa.csr",
        "-config", "ca.cnf", **at)
    run("openssl", "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-out", "tsa.pem", "-days", "2", "-extfile", "ca.cnf", "-extensions", "stamping", **at)
    return write(os.path.join(folder, "stamp"), """#!/bin/sh
# keeps the checkpoint and what the authority says of it
set -e
umask 077
cd %s
name=stamp.$VDISKFS_SESSION.$VDISKFS_FRAMES.$VDISKFS_LAST
cat > "$name.note"
openssl ts -query -data "$name.note" -sha256 -cert -out "$name.tsq"
openssl ts -reply -queryfile "$name.tsq" -inkey tsa.key -signer tsa.pem -config ca.cnf -out "$name.tsr"
""" % folder, 0o755)


def test_stamp():
    with Case("anchor") as case:
        make_raw(case.path("disk.raw"), 1 << 20, 1)
        second = os.path.join(case.dir, "second,disk")
        os.mkdir(second)
        stamp = make_authority(case.dir)
        with case.mounted("disk.raw", f"anchor_cmd={stamp}", "anchor_interval=1",
                          "anchor_dir=" + second.replace(",", "\\,")) as mnt:
            for _ in range(3):
                os.listdir(mnt)
                time.sleep(0.7)
        session = os.path.basename(case.sessions()[-1])
        # lines on standard error, also with what a system log puts around them
        lines = [line for line in case.errors().splitlines() if line.startswith("vdiskfs: checkpoint: ")]
        assert len(lines) >= 2 and len(lines) <= 8, case.errors()
        journal = write(os.path.join(case.dir, "journal"), "".join(
            f"Nov 22 10:00:00 host another[1]: something\nNov 22 10:00:01 host vdiskfs[7]: {line[9:]}\n"
            for line in lines))
        assert anchors_fit(case, journal, len(lines)) == len(lines)
        export = write(os.path.join(case.dir, "export"), "".join(
            '{"PRIORITY":"5","MESSAGE":"%s","_PID":"7"}\r\n' % line[9:] for line in lines))
        assert anchors_fit(case, export, len(lines)) == len(lines)
        anchors_fit(case, os.path.join(case.dir, "stderr"), len(lines))
        broken = write(os.path.join(case.dir, "broken"), lines[0] + "\n" + lines[1][:-8] + "\n")
        assert run(VDISKCTL, "audit", "verify", "--anchor", broken, case.sessions()[-1], check=False).returncode == 1
        # the second directory
        notes = os.path.join(second, session + ".notes")
        assert stat.S_IMODE(os.stat(notes).st_mode) == 0o400
        anchors_fit(case, notes, 2)
        assert re.findall(r"^(\d+)$", read(notes), re.M)[-1] == last_size(case)
        # the stamps: the first checkpoint, some, and the one over the whole log
        stamps = sorted(n for n in os.listdir(case.dir) if n.startswith("stamp.") and n.endswith(".tsr"))
        assert len(stamps) >= 2, os.listdir(case.dir)
        assert f"stamp.{session}.{last_size(case)}.1.tsr" in stamps, stamps
        for name in stamps:
            base = os.path.join(case.dir, name[:-4])
            done = run("openssl", "ts", "-verify", "-data", base + ".note", "-in", base + ".tsr",
                       "-CAfile", os.path.join(case.dir, "ca.pem"))
            assert b"Verification: OK" in done.stdout, done
            anchors_fit(case, base + ".note", 1)
        base = os.path.join(case.dir, stamps[0][:-4])
        write(base + ".note", read(base + ".note").replace("\n\n", "\n \n"))
        assert run("openssl", "ts", "-verify", "-data", base + ".note", "-in", base + ".tsr",
                   "-CAfile", os.path.join(case.dir, "ca.pem"), check=False).returncode != 0
        assert told(case, "anchor_cmd", "FACT")[0] == "the first checkpoint was delivered"
        assert "0 attempts failed" in told(case, "anchor_cmd", "FACT")[-1]
        assert not told(case, "anchor_cmd", "WARNING")
        # cutting off the end is found with each of them
        segment = os.path.join(case.sessions()[-1], "000000.vlog")
        os.chmod(segment, 0o600)
        os.truncate(segment, 700)
        for anchor in (journal, notes):
            result = run(VDISKCTL, "audit", "verify", "--anchor", anchor, case.sessions()[-1], check=False)
            assert result.returncode == 7 and b"TAMPERED" in result.stdout, result


def mount_once(case, command, *options, seconds=8, work=None):
    """Mounts with the command; gives what standard error got.  The end must come in time."""
    with case.mounted("disk.raw", f"anchor_cmd={command}", "anchor_interval=1", *options, unchanged=False) as mnt:
        os.listdir(mnt)
        if work:
            work(mnt)
        subprocess.run(["umount", mnt], check=True)
        start = time.monotonic()
        case.process.wait(20)
        assert time.monotonic() - start < seconds, f"{command}: {time.monotonic() - start:.1f} s until the end"
    return case.errors()


def test_bad_commands():
    with Case("anchorbad") as case:
        make_raw(case.path("disk.raw"), 1 << 20, 1)
        pids = os.path.join(case.dir, "pids")
        # missing, failing with a message, flooding, ended by a signal
        errors = mount_once(case, "/nonexistent/command")
        assert "exit code 127" in told(case, "anchor_cmd", "WARNING")[0], told(case, "anchor_cmd", "WARNING")
        assert "the checkpoint over the whole log was not delivered" in errors, errors
        mount_once(case, "echo no luck >&2; exit 3")
        assert "exit code 3: no luck" in told(case, "anchor_cmd", "WARNING")[0]
        errors = mount_once(case, "head -c 30000000 /dev/zero | tr '\\\\0' 'x\\033'")
        assert "0 attempts failed" in told(case, "anchor_cmd", "FACT")[-1], told(case, "anchor_cmd", "FACT")
        assert len(errors) < 10000, len(errors)
        mount_once(case, "kill -9 $$")
        assert "SIGKILL" in told(case, "anchor_cmd", "WARNING")[0]
        # one that hangs, with children: all of the group is killed at the limit
        mount_once(case, f"echo $$ >> {pids}; sleep 3001 & sleep 3002", "anchor_timeout=1", work=lambda _: time.sleep(1.4))
        assert "it took too long" in told(case, "anchor_cmd", "WARNING")[0]
        for pid in read(pids).split():
            assert not os.path.exists(f"/proc/{pid}"), pid
        assert not subprocess.run(["pgrep", "-fx", "sleep 300[12]"], capture_output=True, check=False).stdout
        # a daemon of it, which keeps the output open, is not waited for
        os.unlink(pids)
        mount_once(case, f"setsid sh -c 'echo $$ > {pids}; exec sleep 30' & sleep 0.2")
        assert "0 attempts failed" in told(case, "anchor_cmd", "FACT")[-1]
        os.kill(int(read(pids)), signal.SIGKILL)


def test_descriptors():
    """The command has three descriptors, its own session, no ignored or blocked signals; a supervisor
    whose parent ignored SIGCHLD still sees it end."""
    with Case("anchorfd") as case:
        make_raw(case.path("disk.raw"), 1 << 20, 1)
        out = os.path.join(case.dir, "out")
        command = f"(ls /proc/$$/fd; cat /proc/$$/status /proc/$$/stat; pwd; env) >> {out}"
        errors = open(os.path.join(case.dir, "stderr"), "w+b")
        process = subprocess.Popen(
            [VDISKFS, case.path("disk.raw"), case.mnt, "-f", "-o",
             f"audit={case.log},anchor_cmd={command}"], stderr=errors, stdout=errors,
            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN), start_new_session=True)
        assert wait_until(lambda: is_mounted(case.mnt), 20)
        run("umount", case.mnt)
        assert process.wait(20) == 0
        errors.close()
        case.verify("INTACT closed")
        text = read(out)
        assert not told(case, "anchor_cmd", "WARNING")
        fds = text[:text.index("Name:")].split()
        assert set(fds) <= {"0", "1", "2", "10"}, fds  # 10: the shell's own, of the redirection
        for key in ("SigBlk", "SigIgn"):
            assert int(re.search(key + r":\s*(\S+)", text)[1], 16) & 0x7fffffff == 0, text  # libc's own are above
        assert "\n/\n" in text and "VDISKFS_LAST=1" in text and "PWD=/" in text, text
        own = re.search(r"^(\d+) \((?:sh|dash|bash)\) \S (\d+) (\d+) (\d+)", text, re.M)
        assert own and own[1] == own[3] == own[4], text


def test_directory():
    with Case("anchordir") as case:
        make_raw(case.path("disk.raw"), 1 << 20, 1)
        code, text = case.refused("disk.raw", f"anchor_dir={case.evidence}")
        assert code == 1 and "nothing is written there" in text, text
        code, text = case.refused("disk.raw", f"anchor_dir={case.mnt}")
        assert code == 1 and "below the mount point" in text, text
        code, text = case.refused("disk.raw", f"anchor_dir={case.dir}/none")
        assert code == 6 and "cannot create" in text, text
        # a file that somebody removes: the log tells, a new one is begun, the mount goes on
        second = os.path.join(case.dir, "second")
        os.mkdir(second)
        with case.mounted("disk.raw", f"anchor_dir={second}") as mnt:
            first = os.listdir(second)[0]
            os.unlink(os.path.join(second, first))
            os.listdir(mnt)
            again = os.path.join(second, first.replace(".notes", ".1.notes"))
            for _ in range(80):
                os.listdir(mnt)
                time.sleep(0.1)
                if os.path.exists(again):
                    break
        assert len(told(case, "anchor_dir", "WARNING")) >= 1, told(case, "anchor_dir", "WARNING")
        anchors_fit(case, again, 1)
        assert re.findall(r"^(\d+)$", read(again), re.M)[-1] == last_size(case)


def test_deaf():
    """Nobody reads standard error: neither a pipe that is closed nor one that is full holds up anything."""
    with Case("anchordeaf") as case:
        make_raw(case.path("disk.raw"), 1 << 20, 1)
        for close in (True, False):
            reader, writer = os.pipe()
            while not close:  # full
                os.set_blocking(writer, False)
                try:
                    os.write(writer, b"x" * 4096)
                except BlockingIOError:
                    os.set_blocking(writer, True)
                    break
            process = subprocess.Popen([VDISKFS, case.path("disk.raw"), case.mnt, "-f", "-o", f"audit={case.log}"],
                                       stderr=writer, stdin=subprocess.DEVNULL, start_new_session=True)
            os.close(writer)
            if close:
                os.close(reader)
            else:  # the key is printed before the mount, and that waits: read it, and no more
                os.read(reader, 4096)
            assert wait_until(lambda: is_mounted(case.mnt), 20)
            if os.getuid() == 0:
                run("mount", "-i", "-o", "remount,rw", case.mnt)
            for _ in range(12):
                os.listdir(case.mnt)
                time.sleep(0.1)
            run("umount", case.mnt)
            assert process.wait(20) == 0
            if not close:
                os.close(reader)
            case.verify("INTACT closed")
            if close:
                assert told(case, "anchor_log", "WARNING"), case.records()


def test_syslog():
    """As a daemon the lines go to the system log: a private /dev has one."""
    if os.getuid() != 0:
        print("system log: not tried, needs root")
        return
    with Case("anchorlog") as case, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        make_raw(case.path("disk.raw"), 1 << 20, 1)
        log.bind(os.path.join(case.dir, "socket"))
        log.settimeout(0.2)
        run("unshare", "-m", "sh", "-c", f"""set -e
            mount -t tmpfs tmpfs /dev
            mknod /dev/null c 1 3; mknod /dev/urandom c 1 9; mknod /dev/fuse c 10 229; ln -s {case.dir}/socket /dev/log
            {VDISKFS} {case.path("disk.raw")} {case.mnt} -o audit={case.log},anchor_log=minute
            {VDISKCTL} umount {case.mnt}""")
        lines = []
        try:
            while True:
                lines.append(log.recv(8192).decode().rstrip("\0\n"))
        except TimeoutError:
            pass
        assert lines and all("vdiskfs" in line and "checkpoint: " in line for line in lines), lines
        anchors_fit(case, write(os.path.join(case.dir, "syslog"), "\n".join(lines)), len(lines))
        # no system log: nothing is said to be delivered
        run("unshare", "-m", "sh", "-c", f"""set -e
            mount -t tmpfs tmpfs /dev
            mknod /dev/null c 1 3; mknod /dev/urandom c 1 9; mknod /dev/fuse c 10 229
            {VDISKFS} {case.path("disk.raw")} {case.mnt} -o audit={case.log}
            {VDISKCTL} umount {case.mnt}""")
        assert told(case, "anchor_log", "WARNING") and not told(case, "anchor_log", "FACT"), case.records()


parts = [multiprocessing.Process(target=test) for test in (
    test_stamp, test_bad_commands, test_descriptors, test_directory, test_deaf, test_syslog)]
for part in parts:
    part.start()
for part in parts:
    part.join()
assert not any(part.exitcode for part in parts), [(part.name, part.exitcode) for part in parts]
print("checkpoints are delivered, and what takes them can do no harm")
