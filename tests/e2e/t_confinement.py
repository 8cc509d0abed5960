#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No evidence file is opened outside of the evidence directory and the parent_dirs, whatever an image
names: descriptors, hints, locators and .vmsd files full of absolute paths, "..", symbolic links, FIFOs,
devices, /proc, datastores and UNC paths.  What the parents outside would be is exactly what the
children ask for, so that an escape would succeed.  Proven from the system calls (strace): every path
that any process of a run touches lies in the evidence directories or was touched in a run on harmless
evidence as well; evidence is opened by bare name with openat2 and all RESOLVE_ flags; nothing blocks.
"""
import codecs
import glob
import os
import re
import shutil
import socket
import subprocess

from harness import SANDBOX, TEST_BIN, VDISKCTL, VDISKFS, Case, is_mounted, need_fuse, need_tools, run, skip

need_tools("strace")
need_fuse()
MKIMAGE = os.path.join(TEST_BIN, "lib", "writers", "mkimage")
if not os.path.exists(MKIMAGE):
    skip(f"{MKIMAGE} is not built")
# LeakSanitizer does not work under strace; the other tests of the suite look for leaks.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
RESOLVE = {"RESOLVE_BENEATH", "RESOLVE_NO_SYMLINKS", "RESOLVE_NO_MAGICLINKS"}
ROOT_USER = os.getuid() == 0
SPECIAL = ("fifo", "socket", "device")


# ---- what a run did ----

class Trace:
    """One run under strace, one file per process so that no call is cut in two."""
    CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|\?)(?:<(.*)>)?")
    STRING = re.compile(r'(?:(AT_FDCWD|\d+)(?:<([^>]*)>)?, )?"((?:[^"\\]|\\.)*)"')

    def __init__(self, case, words, check=None):
        self.prefix = os.path.join(case.dir, "trace")
        for old in glob.glob(self.prefix + ".*"):
            os.unlink(old)
        self.result = subprocess.run(
            ["strace", "-ff", "-qq", "-y", "-s", "16384", "-e", "trace=%file,open_by_handle_at", "-o",
             self.prefix, *words], capture_output=True, stdin=subprocess.DEVNULL, timeout=120, check=False)
        self.text = (self.result.stdout + self.result.stderr).decode("utf-8", "replace")
        assert "Sanitizer" not in self.text and "runtime error" not in self.text, self.text
        if check is not None:
            assert (self.result.returncode == 0) == check, f"{words}: {self.result.returncode}: {self.text}"

    def calls(self):
        """(name, arguments, returned, path of the returned descriptor, [(directory, path)])"""
        for path in glob.glob(self.prefix + ".*"):
            with open(path, encoding="latin-1") as file:
                for line in file:
                    match = self.CALL.match(line)
                    if not match or match.group(1) == "execve":
                        continue
                    strings = []
                    for fd, folder, name in self.STRING.findall(match.group(2)):
                        name = codecs.decode(name.encode("latin-1"), "unicode_escape")
                        strings.append((folder if fd.isdigit() else os.getcwd(), name))
                    yield (*match.groups(), strings)


def touched(trace, folders):
    """Checks every call that concerns the evidence folders; returns the paths outside of them."""
    outside, opened = set(), []
    for name, arguments, returned, result, strings in trace.calls():
        if name == "readlink" or name == "readlinkat" or name == "symlink":
            strings = strings[:1]  # the second string is an answer
        for folder, path in strings:
            if not path and "AT_EMPTY_PATH" in arguments:
                continue  # a descriptor that is open already: how it was opened is judged above
            whole = os.path.normpath(os.path.join(folder, path))
            home = next((f for f in folders if whole == f or whole.startswith(f + "/")), None)
            if home is None:
                outside.add(re.sub(r"^/proc/\d+", "/proc/N", whole))
                continue
            if path == "." or whole == home:
                continue  # the directory itself
            if path.startswith("/"):  # the user's own word: where is it, is it a file
                assert name not in ("open", "openat", "openat2", "creat"), f"{name}({arguments})"
                assert whole in trace.named, f"{name}({arguments})"
                continue
            assert name == "openat2", f"evidence touched by {name}({arguments})"
            assert "/" not in path and path not in ("..", "."), f"not a bare name: {arguments}"
            flags = set(re.search(r"resolve=([A-Z_|]+)", arguments).group(1).split("|"))
            assert RESOLVE <= flags, f"resolve flags are missing: {arguments}"
            assert "O_WRONLY" not in arguments and "O_RDWR" not in arguments and "O_CREAT" not in arguments
            if "O_PATH" not in arguments:
                assert "O_NONBLOCK" in arguments and "O_NOFOLLOW" in arguments, arguments
                assert not path.startswith(SPECIAL), f"opened for reading: {arguments}"
            if returned != "?" and int(returned) >= 0:
                assert os.path.dirname(result) == home, f"escaped: {arguments} = {result}"
                if "O_PATH" not in arguments:
                    opened.append(result)
    return outside, opened


# ---- hostile evidence ----

def hostile_paths(outside, suffix):
    """Where the parent is said to lie; all of them would be right, or exist, outside."""
    secret = f"{outside}/secret.{suffix}"
    return [
        secret, f"../outside/secret.{suffix}", f"../../{os.path.basename(os.path.dirname(outside))}/outside/"
        f"secret.{suffix}", f"link.{suffix}", f"./link.{suffix}", f"linkdir/secret.{suffix}",
        f"folder/../../outside/secret.{suffix}", f"fifo.{suffix}", f"socket.{suffix}", f"device.{suffix}",
        "/dev/zero", "/dev/stdin", "/proc/self/environ", "/proc/self/fd/0", "/proc/self/root/proc/version",
        "/proc/version", "/etc/hostname", "..", ".", "/", "folder", f"[datastore1] ../outside/secret.{suffix}",
        f"[] {secret}", f"\\\\server\\share\\secret.{suffix}", f"C:\\vm\\..\\..\\secret.{suffix}",
        f"..\\outside\\secret.{suffix}", f"file://{secret}", f"nbd://127.0.0.1/secret.{suffix}",
        f"json:{{\"file.filename\":\"{secret}\"}}", "A" * 300 + f".{suffix}", "A/" * 200 + f"secret.{suffix}",
        f"\nsecret.{suffix}", f"%2e%2e/outside/secret.{suffix}", f"~/secret.{suffix}", "-f", "|id", "",
    ]


def plant(folder, outside, suffix):
    os.symlink(f"{outside}/secret.{suffix}", f"{folder}/link.{suffix}")
    os.mkfifo(f"{folder}/fifo.{suffix}")
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(folder)  # the path of a socket has 108 bytes
        sock.bind(f"socket.{suffix}")
        os.chdir(here)
    if ROOT_USER:
        os.mknod(f"{folder}/device.{suffix}", 0o020666, os.makedev(1, 5))


def make_children(case, pool, outside, kind, base, suffix):
    """One child per hostile path; their parent lies outside and fits all of them."""
    names = []
    work = os.path.join(case.dir, "work")
    for number, path in enumerate(hostile_paths(outside, suffix)):
        shutil.rmtree(work, ignore_errors=True)
        os.mkdir(work)
        name = f"child{number:02d}.{suffix}"
        hints = [f"knob=hint_relative:{path}"]
        if suffix != "vmdk":
            hints.append(f"knob=hint_absolute:{path}")
        if suffix == "vhdx":
            hints.append(f"knob=hint_volume:{path}")
        result = run(MKIMAGE, work, "member", f"kind={base}", f"name=secret.{suffix}", "size=1M", "seed=5",
                     "member", f"kind={kind}", f"name={name}", "run=0+1M:data:9", *hints, check=False)
        if result.returncode:
            continue  # a path that this format cannot hold
        os.replace(f"{work}/secret.{suffix}", f"{outside}/secret.{suffix}")
        os.replace(f"{work}/{name}", f"{pool}/{name}")
        names.append(name)
    assert len(names) > 25, f"only {len(names)} of the children could be made"
    return names


def make_descriptors(pool, outside):
    """Descriptors whose extents lie at the hostile paths."""
    names = []
    for number, path in enumerate(hostile_paths(outside, "vmdk")):
        for kind in ("FLAT", "SPARSE") if number % 6 else ("FLAT", "SPARSE", "VMFSSPARSE", "SESPARSE"):
            name = f"extent{number:02d}-{kind.lower()}.vmdk"
            with open(f"{pool}/{name}", "w", encoding="utf-8") as file:
                file.write("# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
                           f"createType=\"custom\"\nRW 128 {kind} \"{path}\"{' 0' if kind == 'FLAT' else ''}\n")
            names.append(name)
    return names


def make_machine_files(case, outside):
    paths = [p for p in hostile_paths(outside, "vmdk") if "\n" not in p]
    lines = [f"snapshot{i}.uid = \"{i + 1}\"\nsnapshot{i}.displayName = \"{path}\"\n"
             f"snapshot{i}.filename = \"{path}\"\nsnapshot{i}.disk0.fileName = \"{path}\"\n"
             for i, path in enumerate(paths + ["good.vmdk"])]
    with open(case.path("good.vmsd"), "w", encoding="utf-8") as file:
        file.write("".join(lines))
    with open(case.path("good.vmx"), "w", encoding="utf-8") as file:
        file.write("".join(f"scsi0:{i}.fileName = \"{path}\"\n" for i, path in enumerate(paths)))
    with open(f"{outside}/outside.vmsd", "w", encoding="utf-8") as file:
        file.write("snapshot0.uid = \"1\"\nsnapshot0.disk0.fileName = \"good.vmdk\"\n"
                   "snapshot0.displayName = \"from outside\"\n")
    os.symlink(f"{outside}/outside.vmsd", case.path("link.vmsd"))
    os.mkfifo(case.path("fifo.vmsd"))
    os.mkfifo(case.path("fifo.vmx"))


def traced(case, words, image, allowed, check=None):
    trace = Trace(case, words, check)
    trace.named = {case.path(image)}
    outside, opened = touched(trace, allowed["folders"])
    outside = {p for p in outside if not any(p == f or p.startswith(f + "/") for f in allowed["ours"])}
    return trace, outside, opened


def command(verb, case, image, *options):
    text = ",".join([f"sandbox={SANDBOX}", *options])
    if verb == "mount":
        return [VDISKFS, case.path(image), case.mnt, "-f", "-o", f"audit={case.log},{text}"]
    return [VDISKCTL, verb, "-o", text, case.path(image)]


def baseline(verb):
    """What a run touches that has nothing to hide."""
    with Case("harmless") as case:
        run(MKIMAGE, case.evidence, "member", "kind=vmdk-sparse", "name=a.vmdk", "size=1M", "seed=1",
            "member", "kind=vmdk-sparse", "name=b.vmdk", "member", "kind=vmdk-sparse", "name=c.vmdk")
        with open(case.path("c.vmsd"), "w", encoding="utf-8") as file:
            file.write("snapshot0.uid = \"1\"\nsnapshot0.disk0.fileName = \"b.vmdk\"\n")
        outside = set()
        good = {"folders": [case.evidence], "ours": [case.mnt, case.log]}
        if verb == "mount":  # unmounted as soon as it stands
            words = ["sh", "-c", "\"$@\" & p=$!; until grep -q \" $0 \" /proc/mounts || ! kill -0 $p; do sleep 0.05; "
                     "done; cat $0/disk.img > /dev/null; umount $0; wait $p", case.mnt, *command(verb, case, "c.vmdk")]
            trace, outside, opened = traced(case, words, "c.vmdk", good, True)
            assert not is_mounted(case.mnt)
        else:
            trace, outside, opened = traced(case, command(verb, case, "c.vmdk"), "c.vmdk", good, True)
        assert len({os.path.basename(p) for p in opened}) >= 3, f"{verb}: the trace shows no evidence: {opened}"
        # what failed there: a refusal says so in other words, from other files
        trace, more, _ = traced(case, command(verb, case, "c.vmdk", "chain=b.vmdk:a.vmdk:x.vmdk"), "c.vmdk", good,
                                False)
        return {generic(p, case) for p in outside | more}


def generic(path, case):
    path = re.sub(r"^(/tmp/tsan\.rodata)\.\d+$", r"\1", path)  # ThreadSanitizer's own, with a process number
    return path.replace(case.dir, "CASE")


def check_run(case, verb, image, allowed, known, expect_refused, *options):
    trace, outside, opened = traced(case, command(verb, case, image, *options), image, allowed,
                                    False if expect_refused else None)
    assert not is_mounted(case.mnt)
    new = {p for p in outside if generic(p, case) not in known}
    assert not new, f"{verb} {image}: touched outside of the evidence directories: {sorted(new)}"
    assert "root:" not in trace.text and "from outside" not in trace.text
    return opened


def check_instrument(case, allowed):
    """The trace sees what it is meant to see."""
    trace = Trace(case, ["cat", case.path("link.vmdk")])
    trace.named = set()
    try:
        touched(trace, allowed["folders"])
    except AssertionError:
        return
    raise AssertionError("an ordinary open was not noticed")


BATCH = 12  # images in one directory: every run looks at all of them


def check_batch(case, outside, batch, known):
    """The images of one directory, with everything hostile beside them."""
    case.evidence = os.path.join(case.dir, f"evidence-{batch[0][0]}")
    os.mkdir(case.evidence)
    os.mkdir(case.path("folder"))
    os.symlink(outside, case.path("linkdir"))
    for suffix in ("vmdk", "vhd", "vhdx"):
        plant(case.evidence, outside, suffix)
    for name, _ in batch:
        os.replace(os.path.join(case.dir, "pool", name), case.path(name))
    allowed = {"folders": [case.evidence], "ours": [case.mnt, case.log]}
    check_instrument(case, allowed)
    n_runs = 0
    for number, (image, refused) in enumerate(batch):
        for verb in ("info",) if number else ("info", "hash", "check", "mount"):
            # check tells what is wrong instead of refusing
            check_run(case, verb, image, allowed, known[verb], refused and verb != "check")
            n_runs += 1
    return n_runs


def check_options(case, outside, known):
    """In the directory of the last batch: what the user's own words can do, and machine files."""
    run(MKIMAGE, case.evidence, "member", "kind=vmdk-sparse", "name=good.vmdk", "size=1M", "seed=3", "id=77")
    make_machine_files(case, outside)
    allowed = {"folders": [case.evidence], "ours": [case.mnt, case.log]}
    opened = check_run(case, "info", "good.vmdk", allowed, known["info"], False)
    assert case.path("good.vmsd") in opened and case.path("good.vmx") in opened
    os.replace(os.path.join(case.dir, "evidence-child00.vmdk", "child00.vmdk"), case.path("child00.vmdk"))
    for options in (("chain=secret.vmdk", ), ("unverified_chain", ), (f"chain={outside}/secret.vmdk", ),
                    ("chain=../outside/secret.vmdk", ), ("chain=link.vmdk", ), ("chain=fifo.vmdk", )):
        check_run(case, "info", "child00.vmdk", allowed, known["info"], True, *options)
    # where the user allows it, the parent outside is found, and only there
    allowed["folders"].append(outside)
    trace, _, opened = traced(case, command("info", case, "child00.vmdk", f"parent_dir={outside}"),
                              "child00.vmdk", allowed, True)
    assert f"{outside}/secret.vmdk" in opened, trace.text


def main():
    known = {verb: baseline(verb) for verb in ("info", "hash", "check", "mount")}
    n_runs = 0
    with Case("hostile") as case:
        outside, pool = os.path.join(case.dir, "outside"), os.path.join(case.dir, "pool")
        os.mkdir(outside)
        os.mkdir(pool)
        images = []
        for kind, base, suffix in (("vmdk-sparse", "vmdk-sparse", "vmdk"), ("vhd-diff", "vhd-dynamic", "vhd"),
                                   ("vhdx-diff", "vhdx-dynamic", "vhdx")):
            images += [(name, True) for name in make_children(case, pool, outside, kind, base, suffix)]
        images += [(name, None) for name in make_descriptors(pool, outside)]
        for first in range(0, len(images), BATCH):
            n_runs += check_batch(case, outside, images[first:first + BATCH], known)
        check_options(case, outside, known)
    print(f"{n_runs} runs on {len(images)} hostile images: nothing opened or looked at outside, nothing blocked")


main()
