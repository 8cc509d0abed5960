#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two verifiers that share no code must give the same verdict on the same logs: intact, open,
recovered, live, and changed in many ways, with and without a key or an anchor from elsewhere.

    second_verifier.py AUDIT_VERDICT VERIFY_AUDIT_LOG
"""
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

VERDICT, SECOND = sys.argv[1:3]
if not shutil.which("openssl"):
    print("SKIPPED: openssl(1) is not installed")
    sys.exit(77)
# Test vector 1 of RFC 8032, section 7.1, as PKCS #8, and its public key as a note's.
LAB_PEM = ("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n"
           "-----END PRIVATE KEY-----\n")
LAB_KEY = "laboratory+16441546+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea"
rng = random.Random(7)
groups = {(): []}  # options of the verifiers -> session directories
expected = {}  # session directory -> verdict
count = 0


def make(where, *extra):
    return subprocess.run([VERDICT, "--make", where, *extra], check=True, capture_output=True,
                          text=True).stdout.strip()


def variant(root, source, *changes, options=()):
    """A copy of `source` below a name of its own, changed by each change(directory)."""
    global count
    copy = os.path.join(root, f"case{count:05}")
    count += 1
    shutil.copytree(source, copy, copy_function=os.link)
    for change in changes:
        change(copy)
    groups.setdefault(tuple(options), []).append(copy)


def read(*path):
    with open(os.path.join(*path), "rb") as f:
        return f.read()


def put(name, data):
    def change(directory):
        path = os.path.join(directory, name)
        if os.path.exists(path):
            os.unlink(path)  # it is a link to the source's
        with open(path, "wb") as f:
            f.write(data)
    return change


def edit(name, function):
    return lambda directory: put(name, function(read(directory, name)))(directory)


def remove(name):
    return lambda directory: os.unlink(os.path.join(directory, name))


def flip(data, bit):
    data = bytearray(data)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


def swapped(directory):
    a, b = (os.path.join(directory, f"{n:06}.vlog") for n in (0, 1))
    os.rename(a, a + "x")
    os.rename(b, a)
    os.rename(a + "x", b)


def segments(source):
    return sorted(n for n in os.listdir(source) if n.endswith(".vlog"))


def notes_of(source, name="checkpoints"):
    """The notes of a file, one by one."""
    parts = read(source, name).split(b"\nvdiskfs/")
    return [(b"vdiskfs/" if i else b"") + p + (b"\n" if i < len(parts) - 1 else b"") for i, p in enumerate(parts)]


def frame_ends(data):
    ends, at = [], 0
    while at < len(data):
        at += int.from_bytes(data[at + 8:at + 12], "little")
        ends.append(at)
    return ends


def after_close(root, closed):
    """A log with its close record, but not the checkpoint over that: a recovery may follow, nothing else."""
    made = os.path.join(root, "unsigned", os.path.basename(closed))
    shutil.copytree(closed, made)
    os.chmod(os.path.join(made, "checkpoints"), 0o600)
    put("checkpoints", b"".join(notes_of(closed)[:-1]))(made)
    variant(root, made)
    expected[groups[()][-1]] = "TORN TAIL"
    last = segments(made)[-1]
    subprocess.run([VERDICT, "--recover", made], check=True)
    groups[()].append(made)
    expected[made] = "INTACT open"
    recovery = read(made, segments(made)[-1])
    for more in (bytes(61), bytes(5000), b"V", b"VDAF", recovery[:100], recovery):
        for after in (recovery, recovery[:100], recovery[:9], b""):
            variant(root, made, edit(last, lambda d, more=more: d + more), put(segments(made)[-1], after))
            expected[groups[()][-1]] = "TAMPERED"


def change_segments(root, source):
    names = segments(source)
    last = names[-1]
    size = os.path.getsize(os.path.join(source, last))
    for name in ("000000.vlog", last):
        length = os.path.getsize(os.path.join(source, name))
        for _ in range(30):
            variant(root, source, edit(name, lambda d, b=rng.randrange(8 * length): flip(d, b)))
        for bit in range(8 * 192):  # the header of the first frame
            if bit % 37 == 0:
                variant(root, source, edit(name, lambda d, b=bit: flip(d, b)))
    for _ in range(25):
        n = rng.randrange(size)
        variant(root, source, edit(last, lambda d, n=n: d[:n]))
        variant(root, source, edit(last, lambda d, n=n: d[:n] + bytes(len(d) - n)))
        variant(root, source, edit(last, lambda d, n=n: d[:n] + b"\0" + d[n:]))
    for function in (lambda d: d + bytes(5000), lambda d: d + b"x", lambda d: b""):
        variant(root, source, edit(last, function))
    variant(root, source, edit("000000.vlog", lambda d: d[:-1]))
    if len(names) > 1:
        variant(root, source, swapped)
    for name in {"000000.vlog", names[len(names) // 2], last}:
        variant(root, source, remove(name))


def change_notes(root, source, name="checkpoints", dense=False):
    data, notes = read(source, name), notes_of(source, name)
    for byte in range(0, len(data), 23):
        variant(root, source, put(name, flip(data, 8 * byte + rng.randrange(8))))
    for byte in range(len(data) - len(notes[-1]) - 10, len(data)):  # around the last note
        if byte >= 0 and (byte % 4 == 0 or dense):
            variant(root, source, put(name, flip(data, 8 * byte + rng.randrange(8))))
            variant(root, source, put(name, data[:byte]))
            variant(root, source, put(name, data[:byte] + bytes(len(data) - byte)))
    for byte in range(0, len(data), 61):
        variant(root, source, put(name, data[:byte]))
        variant(root, source, put(name, data[:byte] + data[byte + 1:]))
        variant(root, source, put(name, data[:byte] + b"A" + data[byte:]))
    for i, note in enumerate(notes):
        variant(root, source, put(name, b"".join(notes[:i] + notes[i + 1:])))
        variant(root, source, put(name, b"".join(notes[:i] + [note] + notes[i:])))
        variant(root, source, put(name, b"".join(notes[:i] + notes[i + 1:] + [note])))
    for more in (b"v", b"vdiskfs/", b"\n", b"\0", bytes(20000), bytes(20000) + b"x", notes[0], b"\xe2\x80",
                 b"\xe2\x80\x94 another c2ln\n", b"\xe2\x80\x94 another c2ln\n" * 15, b"\xe2\x80\x94 another c2ln\n" * 16,
                 b"\xe2\x80\x94 another " + b"A" * 5000 + b"\n"):
        variant(root, source, put(name, data + more))
    variant(root, source, remove(name))
    variant(root, source, put(name, b""))


def cut_with_notes(root, source, anchors, name="000000.vlog"):
    """The log cut behind each frame and within, its checkpoints cut alike, with and without anchors."""
    data, notes = read(source, name), notes_of(source)
    sizes = [int(note.split(b"\n")[1]) for note in notes]
    for n, end in enumerate([0, *frame_ends(data)]):
        kept = b"".join(note for note, size in zip(notes, sizes) if size <= n)
        for cut in {end, max(0, end - 1), min(len(data), end + 13), min(len(data), end + 200)}:
            fewer = put(name, data[:cut]), put("checkpoints", kept)
            variant(root, source, *fewer)
            variant(root, source, *fewer, options=("--anchor", anchors[-1]))
            variant(root, source, *fewer, options=("--anchor", anchors[len(anchors) // 2]))
            variant(root, source, put(name, data[:cut]))
        variant(root, source, put(name, data[:end]), put("checkpoints", b"".join(notes[:max(0, n - 2)])))
        variant(root, source, put(name, data[:end]), put("checkpoints", kept + notes[-1][:57]))


def forge(root, source, key):
    frames = len(frame_ends(read(source, "000000.vlog")))
    for frame in range(frames):
        for keep in ((), ("keep",)):
            made = os.path.join(root, f"forged{frame}{len(keep)}", os.path.basename(source))
            shutil.copytree(source, made)
            subprocess.run([VERDICT, "--resign", made, str(frame), *keep], check=True)
            for options in ((), ("--key", key)):
                groups.setdefault(options, []).append(made)


def recovered(root, source, cut):
    """A crashed log (its last segment cut by `cut` bytes) and its recovery."""
    made = os.path.join(root, f"recovered{cut}", os.path.basename(source))
    shutil.copytree(source, made)
    os.unlink(os.path.join(made, "ring.wal"))
    last = os.path.join(made, segments(made)[-1])
    os.chmod(last, 0o600)
    os.truncate(last, os.path.getsize(last) - cut)
    if cut:  # notes over frames that are gone
        name = os.path.join(made, "checkpoints")
        os.chmod(name, 0o600)
        os.truncate(name, sum(len(n) for n in notes_of(made)[:-2]))
    subprocess.run([VERDICT, "--recover", made], check=True)
    groups[()].append(made)
    return made


def merged_records(data):
    """Where the frames' merged reads lie, and how long they are."""
    at, end = 0, 0
    while at < len(data):
        if at == end:
            end, at = at + int.from_bytes(data[at + 8:at + 12], "little"), at + 192
        size = 64 * (1 + data[at + 58])
        if data[at + 59] & 8:
            yield at, size
        at += size


def merged_changes(r):
    """Other forms of the merged read `r` (bytes): name, bytes, may a verifier accept it?"""
    def with_(*changes):
        b = bytearray(r)
        for place, form, value in changes:
            struct.pack_into("<" + form, b, place, value)
        return bytes(b)
    count, slots = int.from_bytes(r[68:72], "little"), len(r) // 64
    real, mono, off, length = (int.from_bytes(r[i:i + 8], "little") for i in (8, 16, 32, 40))
    n = int.from_bytes(r[90:92], "little") // 16 if r[88] == 19 else 0
    yield "unchanged", r, True
    yield "a later last time", with_((72, "Q", real + (1 << 40))), True
    yield "all at one time", with_((72, "Q", real), (80, "Q", mono)), True
    for value in (count + 1, 1020):
        yield f"count {value}", with_((68, "I", value)), True  # nothing contradicts it
    for value in {0, 1, 2, slots - 1, slots, 1021, 1 << 31, (1 << 32) - 1}:
        yield f"count {value}", with_((68, "I", value)), False
    yield "earlier last time", with_((72, "Q", real - 1)), False
    yield "earlier last time since boot", with_((80, "Q", mono - 1)), False
    for place, form, values in ((59, "B", (9, 10, 12, 24, 0x88)), (52, "i", (-5, 1)), (56, "H", (35, 37, 65, 500)),
                                (64, "B", (17, 19)), (65, "B", (1,)), (66, "H", (19, 21, 24)), (89, "B", (1,)),
                                (40, "Q", (0, count - 1)), (len(r) - 1, "B", (1,))):
        for value in values:
            yield f"{value} at {place}", with_((place, form, value)), False
    yield "a sum of all there is", with_((40, "Q", (1 << 64) - 1)), n == 0 and off == 0
    if (end := 88 if n == 0 else 92 + 16 * n) + 4 <= len(r):
        yield "a field more", with_((end, "B", 250)), False
    if n == 0:
        yield "no range that 64 bits hold", with_((32, "Q", (1 << 64) - length)), False
        yield "the last range that 64 bits hold", with_((32, "Q", (1 << 64) - 1 - length)), True
        yield "ranges of nothing", with_((88, "B", 19)), False
        yield "one range in a list", with_((88, "B", 19), (90, "B", 16), (92, "Q", off), (100, "Q", length)), False
        return
    places = [(92 + 16 * i, 100 + 16 * i) for i in range(n)]
    (a, a_len), (b, b_len) = places[:2]
    b_off = int.from_bytes(r[b:b + 8], "little")
    for change in (-1, 1):
        yield "another sum", with_((40, "Q", length + change)), False
        yield "another begin", with_((32, "Q", max(off + change, 7))), False
    yield "no ranges", with_((88, "B", 0)), False
    yield "another field", with_((88, "B", 20)), False
    yield "descending", r[:a] + r[b:b + 16] + r[a:a + 16] + r[b + 16:], False
    yield "descending from the start", with_((32, "Q", b_off), (a, "Q", b_off), (b, "Q", off)), False
    yield "an empty range", with_((a_len, "Q", 0), (b_len, "Q", 1024)), False
    yield "ranges that touch", with_((a_len, "Q", b_off - off), (40, "Q", length - 512 + b_off - off)), False
    yield "ranges that overlap", with_((a_len, "Q", b_off - off + 1), (40, "Q", length - 511 + b_off - off)), True
    yield "equal begins", with_((b, "Q", off)), True
    last, last_len = places[-1]
    yield "past 64 bits", with_((last, "Q", (1 << 64) - int.from_bytes(r[last_len:last_len + 8], "little"))), False
    yield "more ranges than reads", with_((68, "I", n - 1)), False
    for size in (16 * n - 16, 16 * n - 8, 16 * n + 4, 16, 0):
        yield f"ranges of {size} bytes", with_((90, "H", size)), False


def change_merged(root, source):
    """Merged reads of other forms, in logs that are otherwise in order."""
    data = read(source, "000000.vlog")
    records = list(merged_records(data))
    assert len(records) == 3 and {size for _, size in records} > {128}, records
    for at, size in records:
        for i, (name, changed, good) in enumerate(merged_changes(data[at:at + size])):
            assert len(changed) == size, name
            copy = os.path.join(root, f"merged {at} {i} {name}", os.path.basename(source))
            shutil.copytree(source, copy)
            put("000000.vlog", data[:at] + changed + data[at + size:])(copy)
            subprocess.run([VERDICT, "--reseal", copy], check=True)
            groups[()].append(copy)
            # numbers that the ring's records have are taken by a higher count: they are not unsealed then
            expected[copy] = "INTACT open" if good else "TAMPERED"
    for at, size in records:  # a slot of zeros more, in the record and the frame
        start = max([0, *(end for end in frame_ends(data) if end <= at)])
        longer = bytearray(data[:at + size] + bytes(64) + data[at + size:])
        longer[at + 58] += 1
        struct.pack_into("<I", longer, start + 8, int.from_bytes(data[start + 8:start + 12], "little") + 64)
        copy = os.path.join(root, f"merged {at} longer", os.path.basename(source))
        shutil.copytree(source, copy)
        put("000000.vlog", bytes(longer))(copy)
        subprocess.run([VERDICT, "--reseal", copy], check=True)
        groups[()].append(copy)
        expected[copy] = "TAMPERED"


def save(root, name, data):
    path = os.path.join(root, name)
    with open(path, "wb") as f:
        f.write(data)
    return path


def strange_files(root, closed, unclosed, unsealed):
    """Files beside those of the log, and files of another kind in their place."""
    n, first = len(segments(closed)), read(closed, "000000.vlog")
    for names in ([n], [n, n + 1]):  # nothing, not even a file without a byte, follows a log that was closed
        changes = [put(f"{i:06}.vlog", b"") for i in names]
        variant(root, closed, *changes)
        expected[groups[()][-1]] = "TAMPERED"
        variant(root, unclosed, *changes)
    for name in ("5.vlog", f"00000{n}.vlog", f"000000{n}.vlog", "0000005.vlog", " 5.vlog", "-1.vlog", "+5.vlog",
                 "000000.vlog.bak", "\u0660\u0660\u0660\u0660\u0660\u0665.vlog"):
        if name != f"{n:06}.vlog":
            variant(root, closed, put(name, first))  # names that no segment has
            expected[groups[()][-1]] = "INTACT closed"
    for name in (f"{n + 1:06}.vlog", "1000000.vlog", "4294967296.vlog", "99999999999999999999999.vlog"):
        variant(root, closed, put(name, first))
        expected[groups[()][-1]] = "TAMPERED"
    for source, verdict in ((closed, "INTACT closed"), (unclosed, "UNREADABLE"), (unsealed, "UNREADABLE")):
        for make_other in (os.mkdir, os.mkfifo, lambda p: os.symlink("/dev/zero", p)):
            def replace(directory, make_other=make_other):
                path = os.path.join(directory, "ring.wal")
                if os.path.exists(path):
                    os.unlink(path)
                make_other(path)
            variant(root, source, replace)
            expected[groups[()][-1]] = verdict
    for name in (b"\xff\xfe", "\u7acb".encode(), b"a\nb", b"-x"):  # any name of the directory
        copy = os.path.join(root, "names", os.fsdecode(name))
        shutil.copytree(closed, copy)
        groups[()].append(copy)
        expected[copy] = "INTACT closed"


def wrong_usage(root):
    """What is given besides the log cannot be read: exit code 2, nothing else."""
    for option in ("--key", "--anchor"):
        done = subprocess.run([sys.executable, SECOND, option, root, root], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "Traceback" not in done.stderr, done


def make_cases(root):
    lab = save(root, "lab.pem", LAB_PEM.encode())
    os.chmod(lab, 0o600)
    closed, unclosed, other = make(root), make(root, "open"), make(root, "open")
    unsealed, idle, one = make(root, "unsealed"), make(root, "idle"), make(root, "big")
    signed = make(root, "big", lab)
    groups[()] += [closed, unclosed, unsealed, idle, one, signed]
    strange_files(root, closed, unclosed, unsealed)
    wrong_usage(root)
    after_close(root, closed)
    assert len(segments(closed)) > 2, segments(closed)
    for source in (closed, unclosed):
        change_segments(root, source)
    change_notes(root, closed)
    change_notes(root, one, dense=True)
    for i in range(0, len(notes_of(idle))):
        notes = notes_of(idle)
        variant(root, idle, put("checkpoints", b"".join(notes[:i] + notes[i + 1:])))
    for bit in range(0, 8 * os.path.getsize(os.path.join(idle, "000000.vlog")), 331):
        variant(root, idle, edit("000000.vlog", lambda d, b=bit: flip(d, b)))

    variant(root, unclosed, remove("ring.wal"))
    variant(root, unclosed, edit("ring.wal", lambda d: read(other, "ring.wal")))
    variant(root, unclosed, edit("ring.wal", lambda d: d[:-1]))
    for bit in range(0, 8 * 32, 11):
        variant(root, unclosed, edit("ring.wal", lambda d, b=bit: flip(d, b)))
        variant(root, unsealed, edit("ring.wal", lambda d, b=bit: flip(d, b)))
    for at in range(41 * 64, 66 * 64, 23):  # where the record lies that is not sealed, and around
        variant(root, unsealed, edit("ring.wal", lambda d, b=8 * (4096 + at): flip(d, b)))

    # keys and anchors
    key, wrong = read(one, "key.pub").decode().strip(), read(other, "key.pub").decode().strip()
    anchors = [save(root, f"anchor{i}", note) for i, note in enumerate(notes_of(one))]
    mixed = save(root, "anchors", read(other, "checkpoints") + b"\n" + b"".join(notes_of(one)[::-1]))
    for options in (("--key", key), ("--key", wrong), ("--key", LAB_KEY), ("--anchor", mixed), ("--anchor", anchors[0]),
                    ("--anchor", os.path.join(other, "checkpoints"))):
        groups.setdefault(options, []).extend([one, signed, closed, idle])
    cut_with_notes(root, one, anchors)
    forge(root, one, key)

    # the first note of a log that a laboratory signed, cut at every byte, with one frame
    first = read(signed, "000000.vlog")[:frame_ends(read(signed, "000000.vlog"))[0]]
    note = notes_of(signed)[0]
    for n in range(len(note) + 1):
        variant(root, signed, put("000000.vlog", first), put("checkpoints", note[:n]))
        if n % 9 == 0:
            variant(root, signed, put("checkpoints", flip(read(signed, "checkpoints"), 8 * min(n, len(note) - 1) + 1)),
                    options=("--key", LAB_KEY))

    # cut, or zeros, at many places of a frame over several pages, in whose header one ends
    pages = make(root, "pages")
    data = read(pages, "000000.vlog")
    start = frame_ends(data)[-2]
    assert 4096 - 192 < start % 4096 and len(data) - start > 3 * 4096, (start, len(data))
    kept = b"".join(notes_of(pages)[:-1])
    groups[()].append(pages)
    for n in sorted({*range(start, len(data), 331), *range(4096, len(data), 4096), start + 1, start + 192}):
        for m in (n - 1, n, n + 1):
            variant(root, pages, put("000000.vlog", data[:m]), put("checkpoints", kept))
            variant(root, pages, put("000000.vlog", data[:m] + bytes(len(data) - m)), put("checkpoints", kept))

    # merged reads
    merged = make(root, "merged")
    change_segments(root, merged)
    change_merged(root, merged)
    recovered(root, merged, 0)
    recovered(root, merged, 70)

    # recoveries
    for cut in (0, 5, 100):
        made = recovered(root, unclosed, cut)
        change_segments(root, made)
        name = f"checkpoints.{len(segments(made)) - 1:06}"
        change_notes(root, made, name)
        for n in range(0, 20):  # the recovery was stopped as well
            variant(root, made, edit(segments(made)[-1], lambda d, n=n: d[:n]))
        variant(root, made, put(f"{len(segments(made)):06}.vlog", b""))
        variant(root, made, put(f"{len(segments(made)):06}.vlog", b"VDAF"))
        variant(root, made, put("checkpoints", read(unclosed, "checkpoints") + b"vdis"))
        for i in range(len(notes_of(made)) + 1):
            variant(root, made, put("checkpoints", b"".join(notes_of(made)[:i])))


def lines(command, options, cases):
    done = subprocess.run([*command, *options, *cases], capture_output=True, text=True, check=False)
    found = ["UNREADABLE" if line.startswith("UNREADABLE") else line for line in done.stdout.splitlines()]
    assert len(found) == len(cases), (command, options, len(found), len(cases), done.stderr[-2000:])
    return found


def compare(options, cases, counts):
    """Prints where the two differ; gives how often."""
    ours, theirs = lines([VERDICT], options, cases), lines([sys.executable, SECOND], options, cases)
    wrong = [(c, a, b) for c, a, b in zip(cases, ours, theirs) if a != b]
    for case, line in zip(cases, ours):
        if not line.startswith(expected.get(case, "")):
            wrong.append((case, line, "expected: " + expected[case]))
    for case, a, b in wrong[:20]:
        print(f"{'/'.join(case.split('/')[-2:])} {' '.join(options)}:\n  ours   {a}\n  second {b}")
    for line in ours:
        verdict = line.split(" frames")[0]
        counts[verdict] = counts.get(verdict, 0) + 1
    return len(wrong)


def compare_live(root, counts):
    """A log that is open, and the same when it is closed."""
    process = subprocess.Popen([VERDICT, "--live", root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    session = process.stdout.readline().strip()
    wrong = compare((), [session], counts)
    assert counts == {"INTACT open": 1}, counts
    wrong += compare(("--key", read(session, "key.pub").decode().strip()), [session], {})
    process.communicate()
    assert process.returncode == 0
    return wrong + compare((), [session], counts)


def main():
    counts = {}
    with tempfile.TemporaryDirectory(prefix="vdiskfs-test-") as top:
        wrong = compare_live(top, counts)
        make_cases(top)
        for options, cases in groups.items():
            wrong += compare(options, cases, counts)
    print(f"{sum(counts.values())} logs, {wrong} disagreements; {counts}")
    assert set(counts) >= {"INTACT closed", "INTACT open", "TORN TAIL", "TAMPERED", "UNREADABLE"}, counts
    return 1 if wrong else 0


sys.exit(main())
