# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test shares: a private folder, mounts that are always taken down, evidence
that must not change, a log that must be intact, and no process left behind.

A test is an executable script t_*.py in this folder; ctest finds it by its name.  Exit code 0 =
passed, 77 = skipped with the reason on standard output, everything else = failed.
"""
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("VDISKFS_BIN", os.path.join(ROOT, "build-ci", "src", "cli"))
TEST_BIN = os.environ.get("VDISKFS_TEST_BIN", os.path.join(ROOT, "build-ci", "tests"))
CORPUS = os.environ.get("VDISKFS_CORPUS", os.path.join(ROOT, "..", "shared", "corpus"))
# Sanitizer builds open files of their own at the end: they run without the sandbox.
SANDBOX = os.environ.get("VDISKFS_TEST_SANDBOX", "best")
VDISKFS = os.path.join(BIN, "vdiskfs")
VDISKCTL = os.path.join(BIN, "vdiskctl")
SUSPICIOUS = ("Sanitizer", "runtime error", "double free", "corrupted", "Assertion", "core dumped")

os.environ["PATH"] += ":/usr/sbin:/sbin"


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


def need_tools(*tools):
    for tool in tools:
        if not shutil.which(tool):
            skip(f"{tool} is not installed")


def need_root():
    if os.getuid() != 0:
        skip("needs root")


def need_fuse():
    if not os.path.exists("/dev/fuse"):
        skip("/dev/fuse is missing")
    if os.getuid() == 0:  # a bare container has it for root alone; udev would make it 0666
        with contextlib.suppress(OSError):
            os.chmod("/dev/fuse", 0o666)


def run(*command, check=True, **options):
    options.setdefault("capture_output", True)
    options.setdefault("timeout", 300)
    result = subprocess.run([str(word) for word in command], **options)
    if check and result.returncode != 0:
        raise AssertionError(f"{command}: exit {result.returncode}\n{result.stdout!r}\n{result.stderr!r}")
    return result


def sha256_file(path, chunk=1 << 20):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(chunk):
            digest.update(block)
    return digest.hexdigest()


def evidence_state(folder):
    """Hash, size, times and extended attributes of everything in the evidence folder."""
    state = {}
    for base, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(base, name)
            st = os.lstat(path)
            times = (st.st_mtime_ns, st.st_ctime_ns, st.st_atime_ns)
            attributes = {n: os.getxattr(path, n, follow_symlinks=False)
                          for n in os.listxattr(path, follow_symlinks=False)}
            state[os.path.relpath(path, folder)] = [st.st_ino, st.st_size, st.st_mode, times, attributes]
    for name, row in state.items():
        path = os.path.join(folder, name)
        if os.path.isfile(path) and not os.path.islink(path):
            fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
            with os.fdopen(fd, "rb", buffering=0) as file:
                digest = hashlib.sha256()
                while block := file.read(1 << 20):
                    digest.update(block)
            row.append(digest.hexdigest())
    return state


def is_mounted(path):
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        return any(line.split()[1] == path for line in mounts)


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


class Case:
    """A private folder with evidence/, mnt/ and log/, removed at the end."""

    def __init__(self, name="case"):
        self.dir = tempfile.mkdtemp(prefix=f"vdiskfs-e2e-{name}-")
        os.chmod(self.dir, 0o755)
        self.evidence, self.mnt, self.log = (os.path.join(self.dir, n) for n in ("evidence", "mnt", "log"))
        for path in (self.evidence, self.mnt, self.log):
            os.mkdir(path)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        with open("/proc/self/mounts", encoding="utf-8") as mounts:  # one may lie on another
            paths = [line.split()[1] for line in mounts if line.split()[1].startswith(self.dir + "/")]
        for path in reversed(paths):
            subprocess.run(["umount", "-l", path], check=False)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.evidence, name)

    def sessions(self):
        found = [os.path.join(self.log, n) for n in os.listdir(self.log)]
        return sorted((p for p in found if os.path.isdir(p)), key=os.path.getmtime)

    @contextlib.contextmanager
    def mounted(self, image, *options, unchanged=True, intact=True, wrapper=()):
        """Mounts evidence/IMAGE in the foreground; yields the mount point's path and the process."""
        before = evidence_state(self.evidence) if unchanged else None
        errors = open(os.path.join(self.dir, "stderr"), "w+b")
        words = [*wrapper, VDISKFS, self.path(image), self.mnt, "-f", "-o",
                 ",".join([f"audit={self.log}", f"sandbox={SANDBOX}", *options])]
        process = subprocess.Popen(words, stderr=errors, stdout=errors, stdin=subprocess.DEVNULL,
                                   start_new_session=True)
        try:
            if not wait_until(lambda: is_mounted(self.mnt) or process.poll() is not None, 60):
                raise AssertionError("not mounted after 60 s")
            if process.poll() is not None:
                raise AssertionError(f"vdiskfs ended with {process.returncode}: {self.errors()}")
            os.stat(os.path.join(self.mnt, "info.txt"))
            self.process = process
            yield self.mnt
        finally:
            if is_mounted(self.mnt):
                subprocess.run(["umount", self.mnt], check=False)
                if is_mounted(self.mnt):
                    subprocess.run(["umount", "-l", self.mnt], check=False)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise AssertionError("vdiskfs did not end after umount") from None
            errors.close()
        words_seen = [word for word in SUSPICIOUS if word in self.errors()]
        assert not words_seen, f"{words_seen} in the output of vdiskfs:\n{self.errors()}"
        if intact:
            assert process.returncode == 0, f"vdiskfs ended with {process.returncode}: {self.errors()}"
            self.verify("INTACT closed")
        if unchanged:
            after = evidence_state(self.evidence)
            assert before == after, f"evidence changed:\n{before}\n{after}"

    def errors(self):
        with open(os.path.join(self.dir, "stderr"), "rb") as file:
            return file.read().decode("utf-8", "replace")

    def verify(self, verdict):
        result = run(VDISKCTL, "audit", "verify", self.sessions()[-1], check=False)
        assert verdict.encode() in result.stdout, f"verify: {result.stdout!r} {result.stderr!r}"

    def records(self):
        """All records of the newest log, as dictionaries."""
        text = run(VDISKCTL, "audit", "show", "--json", self.sessions()[-1]).stdout
        return [json.loads(line) for line in text.splitlines()]

    def refused(self, image, *options):
        """Mounting must fail; returns (exit code, message)."""
        words = [VDISKFS, self.path(image), self.mnt, "-o",
                 ",".join([f"audit={self.log}", f"sandbox={SANDBOX}", *options])]
        result = run(*words, check=False, stdin=subprocess.DEVNULL)
        assert not is_mounted(self.mnt), f"{image} was mounted"
        assert result.returncode != 0
        return result.returncode, result.stderr.decode("utf-8", "replace")


def make_raw(path, size, seed, density=0.5, chunk=65536):
    """A disk of pseudo-random chunks and holes."""
    import random
    generator = random.Random(seed)
    with open(path, "wb") as file:
        file.truncate(size)
        for off in range(0, size, chunk):
            if generator.random() < density:
                file.seek(off)
                file.write(generator.randbytes(min(chunk, size - off)))


def qemu_chain(folder, depth, size, seed=1, name="disk"):
    """A chain of `depth` VMDKs made by qemu-img; returns the names, base first."""
    import random
    generator = random.Random(seed)
    base = os.path.join(folder, "base.raw")
    make_raw(base, size, seed)
    names = [f"{name}.vmdk"]
    run("qemu-img", "convert", "-q", "-f", "raw", "-O", "vmdk", base, os.path.join(folder, names[0]))
    os.unlink(base)
    for level in range(1, depth):
        names.append(f"{name}-{level:06d}.vmdk")
        run("qemu-img", "create", "-q", "-f", "vmdk", "-b", names[-2], "-F", "vmdk", names[-1], cwd=folder)
        commands = []
        for _ in range(8):
            length = generator.choice([512, 4096, 65536, 200000 // 512 * 512])
            off = generator.randrange(0, size - length) // 512 * 512
            commands += ["-c", f"write -P {generator.randrange(1, 255)} {off} {length}"]
        run("qemu-io", "-f", "vmdk", *commands, names[-1], cwd=folder)
    return names


def reference_raw(image, out):
    run("qemu-img", "convert", "-q", "-O", "raw", image, out)
    return out
