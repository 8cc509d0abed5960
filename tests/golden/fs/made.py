#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes file systems of every kind with the usual tools and compares what fs_hash lists with the
files that went in: names, sizes, hashes, link targets, modes and times.

    made.py FS_HASH

A kind whose tool is missing is skipped by name; exit 77 if all are.  NTFS is filled through
ntfs-3g when FUSE may be used here, else through ntfscp.
"""
import hashlib
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tempfile

RND = random.Random(4711)
OLD = -600000000  # 1950


def run(*cmd, **kw):
    env = dict(os.environ, TZ="UTC", LC_ALL="C.UTF-8", MTOOLS_SKIP_CHECK="1")
    return subprocess.run(cmd, check=True, capture_output=True, env=env, **kw)


def make_source(root, links=True):
    """A small tree with the sizes and names that matter."""
    os.makedirs(root)
    for size in (0, 1, 59, 60, 61, 150, 511, 512, 513, 1023, 1024, 4095, 4096, 4097, 65536, 300001):
        with open(f"{root}/size-{size}.bin", "wb") as f:
            f.write(RND.randbytes(size))
    os.makedirs(f"{root}/deep/a/b/c/d/e/f")
    with open(f"{root}/deep/a/b/c/d/e/f/leaf.txt", "wb") as f:
        f.write(b"leaf\n")
    os.mkdir(f"{root}/many")
    for i in range(300):
        with open(f"{root}/many/file number {i:04}.txt", "wb") as f:
            f.write(b"%d\n" % i)
    for name in ("Größe.txt", "日本語.txt", "a name with spaces and (brackets).txt"):
        with open(f"{root}/{name}", "wb") as f:
            f.write(name.encode())
    with open(f"{root}/sparse.bin", "wb") as f:
        f.seek(200000)
        f.write(b"end")
        f.truncate(400000)
    if links:
        os.symlink("size-1.bin", f"{root}/short-link")
        os.symlink("x" * 59, f"{root}/link-59")
        os.symlink("y" * 60, f"{root}/link-60")
        os.symlink("../" * 60 + "far", f"{root}/long-link")
        os.link(f"{root}/size-512.bin", f"{root}/hard-link.bin")
        os.chmod(f"{root}/size-1.bin", 0o640)
    for d, dirs, files in os.walk(root, topdown=False):
        for f in files + dirs:
            os.utime(os.path.join(d, f), ns=(10**18 + 123456700, 10**18 + 4 * 10**9), follow_symlinks=False)


def expected(root):
    out = {}
    for d, dirs, files in os.walk(root):
        for name in dirs + files:
            path = os.path.join(d, name)
            rel = os.path.relpath(path, root)
            if os.path.islink(path):
                out[rel] = ("l", "-> " + os.readlink(path))
            elif os.path.isdir(path):
                out[rel] = ("d", "-")
            else:
                with open(path, "rb") as f:
                    out[rel] = ("f", hashlib.sha256(f.read()).hexdigest())
    return out


def listed(fs_hash, image):
    """path -> (kind, hash), path -> {metadata}"""
    r = subprocess.run([fs_hash, "-m", image], capture_output=True, check=False, timeout=120)
    if r.returncode:
        raise AssertionError(f"fs_hash: exit {r.returncode}: {r.stderr.decode()[-2000:]}")
    out, meta, path = {}, {}, None
    for line in r.stdout.decode("utf-8").splitlines():
        if line.startswith("#"):
            meta[path] = dict(w.split("=") for w in line[1:].split())
            continue
        kind, _, digest, path = line.split("\t", 3)
        if kind != "m":
            assert path not in out, f"{path} is listed twice"
            out[path] = (kind, digest)
    return out, meta


def check(name, fs_hash, image, want, ignore=("lost+found",), fold=False):
    got, meta = listed(fs_hash, image)
    if fold:
        got = {k.lower(): v for k, v in got.items()}
        want = {k.lower(): v for k, v in want.items()}
    bad = [f"{p}: {got.get(p)} expected {want.get(p)}" for p in sorted(set(got) | set(want))
           if p not in ignore and got.get(p) != want.get(p)]
    print(f"{name}: {len(want)} objects, {len(bad)} differences")
    for line in bad[:20]:
        print("  DIFFERENCE", line)
    return meta, len(bad)


def fail(what):
    print("  DIFFERENCE", what)
    return 1


# ---- ext2/3/4 --------------------------------------------------------------------------------

EXT = {
    "ext2-1k": ("ext2", 1024, "none"),
    "ext2-nofiletype": ("ext2", 1024, "^filetype"),
    "ext3-4k": ("ext3", 4096, ""),
    "ext4-4k": ("ext4", 4096, ""),
    "ext4-1k": ("ext4", 1024, "64bit,metadata_csum"),
    "ext4-64k": ("ext4", 65536, "^has_journal"),
    "ext4-inline": ("ext4", 4096, "inline_data"),
    "ext4-meta_bg": ("ext4", 1024, "meta_bg,^resize_inode,64bit"),
    "ext4-bigalloc": ("ext4", 4096, "bigalloc"),
    "ext4-sparse2": ("ext4", 1024, "sparse_super2,^resize_inode"),
    "ext4-128": ("ext4", 4096, "^metadata_csum,^64bit"),
}


def ext_images(fs_hash, tmp):
    src = f"{tmp}/src-ext"
    make_source(src)
    os.utime(f"{src}/size-59.bin", (OLD, OLD))
    want, bad = expected(src), 0
    for name, (kind, block, features) in EXT.items():
        image = f"{tmp}/{name}.img"
        cmd = ["mke2fs", "-q", "-F", "-t", kind, "-b", str(block), "-d", src]
        if features:
            cmd += ["-O", features]
        if name == "ext4-128":
            cmd += ["-I", "128"]
        if block == 65536:
            cmd += ["-N", "1024"]
        run(*cmd, image, "128M" if block == 65536 or name == "ext4-bigalloc" else "24M")
        # mke2fs 1.47 -d gives a sparse file in an inline_data volume a wrong size
        ignore = ("lost+found", "sparse.bin") if name == "ext4-inline" else ("lost+found",)
        meta, n = check(name, fs_hash, image, want, ignore)
        bad += n + ext_metadata(name, src, meta)
        os.remove(image)
    return bad + ext_extents(fs_hash, tmp, src) + ext_journal(fs_hash, tmp)


def ext_metadata(name, src, meta):
    bad = 0
    for rel in ("size-1.bin", "size-4096.bin", "hard-link.bin", "deep/a", "size-59.bin"):
        st, m = os.lstat(f"{src}/{rel}"), meta[rel]
        if int(m["mode"], 8) != stat.S_IMODE(st.st_mode) or int(m["uid"]) != st.st_uid:
            bad += fail(f"{name} {rel}: mode or owner {m}")
        if rel == "hard-link.bin" and m["nlink"] != "2":
            bad += fail(f"{name} {rel}: links {m}")
        if int(m["m"].split(".")[0]) != int(st.st_mtime):
            bad += fail(f"{name} {rel}: mtime {m['m']}, expected {st.st_mtime}")
    return bad


def ext_extents(fs_hash, tmp, src):
    """More than one leaf of extents, holes, and unwritten extents."""
    bad = 0
    for block, holes in ((1024, 1000), (4096, 1500)):
        image, data = f"{tmp}/extents.img", bytearray(RND.randbytes(block * holes * 2))
        with open(f"{src}/frag.bin", "wb") as f:
            f.write(data)
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", str(block), "-d", src, image, "64M")
        commands = [f"punch frag.bin {2 * i} {2 * i}" for i in range(holes)]
        commands += [f"fallocate frag.bin {2 * i} {2 * i}" for i in range(holes // 2)]
        with open(f"{tmp}/commands", "w", encoding="ascii") as f:
            f.write("\n".join(commands) + "\n")
        run("debugfs", "-w", "-f", f"{tmp}/commands", image)
        for i in range(holes):
            data[2 * i * block:(2 * i + 1) * block] = bytes(block)
        extents = run("debugfs", "-R", "ex frag.bin", image).stdout.decode()
        leaves = sum(line.split()[0] == "1/" or " 0/ " in line for line in extents.splitlines() if line.strip())
        want = expected(src)
        want["frag.bin"] = ("f", hashlib.sha256(data).hexdigest())
        _, n = check(f"ext4 extents {block} ({len(extents.splitlines())} lines)", fs_hash, image, want)
        bad += n
        if len(extents.splitlines()) < 340:
            bad += fail(f"only {len(extents.splitlines())} extents were made ({leaves})")
        os.remove(image)
    os.remove(f"{src}/frag.bin")
    return bad


def ext_journal(fs_hash, tmp):
    """Transactions that were committed and not written back, made by debugfs."""
    bad, src, image = 0, f"{tmp}/src-journal", f"{tmp}/journal.img"
    os.makedirs(src)
    block = 1024
    data = {n: RND.randbytes(block) for n in ("plain", "revoked", "escaped", "twice", "untouched")}
    new = {n: RND.randbytes(block) for n in data}
    new["escaped"] = bytes.fromhex("c03b3998") + new["escaped"][4:]
    for n, d in data.items():
        with open(f"{src}/{n}", "wb") as f:
            f.write(d)
    for features in ("^metadata_csum", "metadata_csum,64bit"):
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", str(block), "-O", features, "-J", "size=4", "-d", src, image, "16M")
        at = {n: run("debugfs", "-R", f"blocks {n}", image).stdout.split()[0].decode() for n in data}
        for n, d in new.items():
            with open(f"{tmp}/new-{n}", "wb") as f:
                f.write(d)
        commands = ["jo", f"jw -b {at['plain']} {tmp}/new-plain", f"jw -b {at['revoked']} {tmp}/new-revoked",
                    f"jw -b {at['twice']} {tmp}/new-plain", f"jw -r {at['revoked']}",
                    f"jw -b {at['escaped']} {tmp}/new-escaped", f"jw -b {at['twice']} {tmp}/new-twice", "jc"]
        with open(f"{tmp}/commands", "w", encoding="ascii") as f:
            f.write("\n".join(commands) + "\n")
        run("debugfs", "-w", "-f", f"{tmp}/commands", image)
        want = {n: ("f", hashlib.sha256(new[n] if n in ("plain", "escaped", "twice") else data[n]).hexdigest()) for n in data}
        bad += check(f"ext4 journal {features}", fs_hash, image, want)[1]
        with open(image, "rb") as f:
            f.seek(int(at["plain"]) * block)
            if f.read(block) != data["plain"]:
                bad += fail("the image itself was replayed: nothing was tested")
    return bad


# ---- FAT, ISO --------------------------------------------------------------------------------

def fat_images(fs_hash, tmp):
    src, bad = f"{tmp}/src-fat", 0
    make_source(src, links=False)
    want = expected(src)
    for bits, size, extra in ((12, 4 << 20, ()), (16, 32 << 20, ()), (32, 48 << 20, ("-s", "1")),
                              (16, 64 << 20, ("-S", "4096"))):
        image = f"{tmp}/fat{bits}.img"
        with open(image, "wb") as f:
            f.truncate(size)
        run("mkfs.vfat", "-F", str(bits), "-n", "LABEL", *extra, image)
        entries = [os.path.join(src, e) for e in sorted(os.listdir(src))]
        run("mcopy", "-i", image, "-s", "-m", "-Q", *entries, "::")
        run("mdel", "-i", image, "::/size-511.bin")
        one = dict(want)
        del one["size-511.bin"]
        meta, n = check(f"fat{bits} {' '.join(extra)}", fs_hash, image, one)
        bad += n
        if not meta["size-1.bin"]["m"].startswith("1000000004."):
            bad += fail(f"fat{bits}: mtime {meta['size-1.bin']}")
        if "c" in meta["size-1.bin"]:
            bad += fail("FAT has no change time")
        os.remove(image)
    return bad


def iso_images(fs_hash, tmp):
    src, bad = f"{tmp}/src-iso", 0
    make_source(src)
    want = expected(src)
    for name, options in (("iso-rr", ("-R",)), ("iso-rr-joliet", ("-R", "-J", "-joliet-long")),
                          ("iso-joliet", ("-D", "-J", "-joliet-long"))):
        image = f"{tmp}/{name}.iso"
        run("genisoimage", "-quiet", "-input-charset", "utf-8", "-o", image, *options, src)
        one = {p: v for p, v in want.items() if "-R" in options or v[0] != "l"}
        meta, n = check(name, fs_hash, image, one)
        bad += n
        if int(meta["size-1.bin"]["m"].split(".")[0]) != 1000000004:
            bad += fail(f"{name}: mtime {meta['size-1.bin']}")
        if "-R" in options and meta["size-1.bin"]["mode"] != "640":
            bad += fail(f"{name}: mode {meta['size-1.bin']}")
        os.remove(image)
    return bad


# ---- NTFS ------------------------------------------------------------------------------------

WOF, SYMLINK = 0x80000017, 0xA000000C


def symlink_buffer(target, relative):
    raw = target.encode("utf-16-le")
    data = struct.pack("<HHHHI", 0, len(raw), len(raw), len(raw), relative) + raw + raw
    return struct.pack("<IHH", SYMLINK, len(data), 0) + data


def fill_ntfs(mnt, src):
    """Copies the tree and adds what only NTFS has; returns what must be listed."""
    shutil.copytree(src, mnt, dirs_exist_ok=True)
    extra = {}
    os.setxattr(f"{mnt}/size-1.bin", "user.second", b"stream content")
    os.setxattr(f"{mnt}/deep", "user.on a directory", RND.randbytes(60000))
    os.mkdir(f"{mnt}/packed")
    os.setxattr(f"{mnt}/packed", "system.ntfs_attrib_be", struct.pack(">I", 0x800))
    for name, data in (("text.txt", b"the quick brown fox " * 20000), ("random.bin", RND.randbytes(200000)),
                       ("mixed.bin", b"A" * 70000 + RND.randbytes(70000) + bytes(300000) + b"B" * 5000)):
        with open(f"{mnt}/packed/{name}", "wb") as f:
            f.write(data)
    with open(f"{mnt}/interleaved-1.bin", "wb", 0) as f, open(f"{mnt}/interleaved-2.bin", "wb", 0) as g:
        for _ in range(400):  # fragments, and an attribute list
            f.write(RND.randbytes(4096))
            g.write(RND.randbytes(4096))
    os.remove(f"{mnt}/interleaved-2.bin")
    os.mkdir(f"{mnt}/emptied")
    for i in range(400):
        with open(f"{mnt}/emptied/gone_{i}.bin", "wb"):
            pass
    for i in range(399):
        os.remove(f"{mnt}/emptied/gone_{i}.bin")
    os.rename(f"{mnt}/emptied/gone_399.bin", f"{mnt}/emptied/stays.bin")
    os.mkdir(f"{mnt}/big")
    for i in range(1000):
        with open(f"{mnt}/big/{i * 7919 % 1000}-{'n' * (i % 60)}", "wb") as f:
            f.write(b"%d" % i)
    os.link(f"{mnt}/size-61.bin", f"{mnt}/hard-link-ntfs.bin")
    want = expected(mnt)
    for name, buf in (("rel-link", symlink_buffer("deep\\a", 1)), ("abs-link", symlink_buffer("\\??\\C:\\x", 0)),
                      ("compact.exe", struct.pack("<IHH", WOF, 16, 0) + struct.pack("<IIII", 1, 2, 1, 0))):
        with open(f"{mnt}/{name}", "wb") as f:
            f.truncate(100000 if name == "compact.exe" else 0)
        os.setxattr(f"{mnt}/{name}", "system.ntfs_reparse_data", buf)
    extra["rel-link"], extra["abs-link"] = ("l", "-> deep/a"), ("l", "-> \\??\\C:\\x")
    extra["compact.exe"] = ("e", None)
    extra["size-1.bin:second"] = ("ads", hashlib.sha256(b"stream content").hexdigest())
    extra["deep:on a directory"] = ("ads", hashlib.sha256(os.getxattr(f"{mnt}/deep", "user.on a directory")).hexdigest())
    return {**want, **extra}


def check_ntfs(name, fs_hash, image, want):
    got, meta = listed(fs_hash, image)
    compact = got.pop("compact.exe", ("", ""))
    if compact[0] != "e" or "compact OS" not in compact[1]:
        fail(f"compact.exe: {compact}")
        return 1
    want = {k: v for k, v in want.items() if k != "compact.exe"}
    bad = [f"{p}: {got.get(p)} expected {want.get(p)}" for p in sorted(set(got) | set(want)) if got.get(p) != want.get(p)]
    bad += [f"{p}: {meta[p]}" for p in ("hard-link-ntfs.bin",) if meta[p]["nlink"] != "2"]
    bad += [f"{p}: {meta[p]}" for p in ("packed/text.txt",)
            if name != "ntfs-64k" and not int(meta[p]["flags"], 16) & 1]  # clusters over 4 KiB: never compressed
    bad += [f"{p}: {meta[p]}" for p in ("packed/text.txt",)  # what is stored, not what it would be unpacked
            if name != "ntfs-64k" and int(meta[p]["alloc"]) >= 400000]
    bad += [f"{p}: {meta[p]}" for p in ("size-1.bin",) if meta[p]["m"] != "1000000004.000000000"]
    print(f"{name}: {len(want)} objects, {len(bad)} differences")
    for line in bad[:20]:
        print("  DIFFERENCE", line)
    return len(bad)


def ntfs_images(fs_hash, tmp):
    src, bad = f"{tmp}/src-ntfs", 0
    make_source(src, links=False)
    for name, options in (("ntfs-4k", ("-c", "4096")), ("ntfs-512", ("-c", "512")), ("ntfs-64k", ("-c", "65536"))):
        image, mnt = f"{tmp}/{name}.img", f"{tmp}/mnt"
        with open(image, "wb") as f:
            f.truncate(64 << 20)
        run("mkntfs", "-F", "-Q", "-q", "-H", "16", "-S", "63", "-p", "0", *options, image)
        os.makedirs(mnt, exist_ok=True)
        try:
            run("ntfs-3g", "-o", "compression,streams_interface=xattr,noatime", image, mnt)
        except (subprocess.CalledProcessError, FileNotFoundError):
            print(f"{name}: no FUSE mount here; two files through ntfscp only")
            for f in ("size-1.bin", "size-300001.bin"):
                run("ntfscp", "-f", image, f"{src}/{f}", f)
            some = {p: v for p, v in expected(src).items() if p in ("size-1.bin", "size-300001.bin")}
            bad += check(name, fs_hash, image, some)[1]
            continue
        try:
            want = fill_ntfs(mnt, src)
        finally:
            run("umount", mnt)
        bad += check_ntfs(name, fs_hash, image, want)
        os.remove(image)
    return bad


def main():
    kinds = ((ext_images, ("mke2fs", "debugfs")), (fat_images, ("mkfs.vfat", "mcopy")),
             (iso_images, ("genisoimage",)), (ntfs_images, ("mkntfs",)))
    done, bad = 0, 0
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    for kind, tools in kinds:
        missing = [t for t in tools if not shutil.which(t)]
        if missing:
            print(f"{kind.__name__}: skipped, no {' '.join(missing)}")
            continue
        done += 1
        with tempfile.TemporaryDirectory(prefix="vdiskfs-made-") as tmp:
            try:
                bad += kind(sys.argv[1], tmp)
            except subprocess.CalledProcessError as e:
                bad += fail(f"{' '.join(e.cmd)[:200]}: {e.stderr.decode()[-500:]}")
            except AssertionError as e:
                bad += fail(str(e))
    return 77 if not done else 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
