/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on a volume, by its signatures.
 *
 * libblkid reads from a descriptor, and evidence is never given to it: it gets a private memory
 * file of the volume's size, with a copy of the first 4 MiB (LUKS2's last spare header starts at
 * 4 MiB, VMFS at 2 MiB, btrfs at 64 KiB), the last 1 MiB (ZFS, RAID and NILFS superblocks) and the
 * windows of hints.c; all else are holes.  The file is sealed before libblkid sees it.  Only its
 * superblock chain runs, without cache file, partitions or topology; on a memory file that opens
 * nothing, so it works where nothing may be opened.
 *
 * BitLocker (all kinds), ReFS and LDM's metadata partition are looked for here as well, because
 * libblkid 2.38 knows them incompletely or not at all.
 *
 * Reads are few and large; pieces that the map calls empty are not read at all.  Blocks that cannot
 * be read stay holes, except the first, without which nothing can be said.  Any thread; no shared
 * state.
 */
#include "volume/internal.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"
#include "base/text.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define HEAD_BYTES  ((UINT64_C(4) << 20) + (64u << 10))
#define TAIL_BYTES  (UINT64_C(1) << 20)
#define FIRST_BYTES 4096u
#define CHUNK       (512u << 10)
#define BLOCK       4096u /* unit that is given up when it cannot be read */

/* ---- the private copy ---- */

struct copy {
    struct blkdev *volume;
    int fd;
    uint8_t *buf; /* CHUNK bytes */
};

static int write_all(int fd, uint64_t off, const uint8_t *bytes, size_t len, struct vd_err *err)
{
    while (len) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return vd_fail_errno(err, VD_ENOMEM, n ? errno : ENOSPC, "copy for recognition");
        bytes += n;
        off += (uint64_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* memcmp of a block with itself, one byte on: as fast as the library can. */
static bool is_zero(const uint8_t *bytes, size_t len)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0;
}

/* Writes what is not zeros; the file already reads as zeros. */
static int put(const struct copy *c, uint64_t off, const uint8_t *bytes, size_t len,
               struct vd_err *err)
{
    size_t from = 0, at, n;
    int rc = 0;

    for (at = 0; at < len && !rc; at += n) {
        n = (size_t)vd_min(BLOCK, len - at);
        if (!is_zero(bytes + at, n))
            continue;
        rc = write_all(c->fd, off + from, bytes + from, at - from, err);
        from = at + n;
    }
    return rc ? rc : write_all(c->fd, off + from, bytes + from, len - from, err);
}

/* Copies one piece (<= CHUNK) of data; what cannot be read stays a hole. */
static int copy_piece(const struct copy *c, uint64_t off, size_t len, struct vd_err *err)
{
    size_t done, n;
    int rc = blk_read(c->volume, off, c->buf, len, NULL);

    if (rc == 0)
        return put(c, off, c->buf, len, err);
    for (done = 0; done < len; done += n) {
        n = (size_t)vd_min(BLOCK, len - done);
        rc = blk_read(c->volume, off + done, c->buf, n, err);
        if (rc == 0)
            rc = put(c, off + done, c->buf, n, err);
        if (rc && !scan_survives(rc))
            return rc;
    }
    vd_err_clear(err);
    return 0;
}

/* Does the map say that [off, off+len) holds nothing to copy? */
static bool is_hole(const struct copy *c, uint64_t off, uint64_t len)
{
    while (len) {
        struct blk_extent run;

        if (blk_map(c->volume, off, len, &run, NULL) || run.status == BLK_DATA ||
            run.status == BLK_UNKNOWN)
            return false;
        off += vd_min(run.len, len);
        len -= vd_min(run.len, len);
    }
    return true;
}

/* Copies [off, off+len), cut at the end of the volume. */
static int copy_window(const struct copy *c, uint64_t off, uint64_t len, struct vd_err *err)
{
    uint64_t n;
    int rc = 0;

    if (off >= c->volume->size)
        return 0;
    len = vd_min(len, c->volume->size - off);
    for (; len && !rc; off += n, len -= n) {
        n = vd_min(len, CHUNK);
        if (!is_hole(c, off, n))
            rc = copy_piece(c, off, (size_t)n, err);
    }
    return rc;
}

static int copy_all(const struct copy *c, const uint8_t *first, size_t first_len,
                    struct vd_err *err)
{
    struct volume_window window[VOLUME_MAX_WINDOWS];
    uint64_t size = c->volume->size, tail = vd_min(size, TAIL_BYTES);
    size_t i, n = volume_hints(c->volume, first, first_len, window);
    int rc;

    rc = copy_window(c, 0, HEAD_BYTES, err);
    if (!rc && size > HEAD_BYTES) {
        uint64_t from = size - tail > HEAD_BYTES ? size - tail : HEAD_BYTES;

        rc = copy_window(c, from, size - from, err);
    }
    for (i = 0; i < n && !rc; i++)
        if (!vd_range_inside(window[i].off, window[i].len, HEAD_BYTES))
            rc = copy_window(c, window[i].off, window[i].len, err);
    return rc;
}

/* A sealed memory file with the copy; the caller closes it. */
static int make_copy(struct blkdev *volume, const uint8_t *first, size_t first_len, int *out_fd,
                     struct vd_err *err)
{
    VD_AUTO(fd) int fd = memfd_create("vdiskfs-recognise", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    VD_AUTO(free) uint8_t *buf = malloc(CHUNK);
    const struct copy copy = {.volume = volume, .fd = fd, .buf = buf};
    int rc;

    if (fd < 0 || !buf || ftruncate(fd, (off_t)volume->size) != 0)
        return vd_fail_errno(err, VD_ENOMEM, errno, "copy for recognition");
    rc = copy_all(&copy, first, first_len, err);
    if (rc)
        return rc;
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
        return vd_fail_errno(err, VD_ENOMEM, errno, "sealing the copy for recognition");
    *out_fd = vd_take_fd(&fd);
    return 0;
}

/* ---- libblkid ---- */

static void probe_value(blkid_probe probe, const char *name, char *dst, size_t size)
{
    const char *data = NULL;
    size_t len = 0;

    if (blkid_probe_lookup_value(probe, name, &data, &len) != 0 || !data)
        return;
    vd_text_printable(data, strnlen(data, len), dst, size);
}

static void take_usage(blkid_probe probe, struct volume_content *out)
{
    static const char *const containers[] = {"zfs_member", "bcache", "stratis",
                                             "vdo",        "mpool",  "ceph_bluestore"};
    char usage[32] = "", type[32] = "";
    size_t i;

    probe_value(probe, "USAGE", usage, sizeof(usage));
    probe_value(probe, "TYPE", type, sizeof(type));
    if (strcmp(usage, "raid") == 0)
        out->container = true;
    /* device mapper's verity and integrity hashes count as crypto, but need no key */
    if (strcmp(usage, "crypto") == 0 && strncmp(type, "DM_", 3) != 0)
        out->encrypted = true;
    for (i = 0; i < sizeof(containers) / sizeof(containers[0]); i++)
        if (strcmp(type, containers[i]) == 0)
            out->container = true;
}

/* Several signatures that exclude each other: names all of them. */
static void take_ambiguous(blkid_probe probe, struct volume_content *out)
{
    size_t used = 0;
    unsigned n;

    out->ambiguous = true;
    blkid_reset_probe(probe);
    for (n = 0; n < 16 && blkid_do_probe(probe) == 0; n++) {
        char type[32] = "";

        probe_value(probe, "TYPE", type, sizeof(type));
        take_usage(probe, out);
        if (type[0] && used + strlen(type) + 2 < sizeof(out->type))
            used += (size_t)snprintf(out->type + used, sizeof(out->type) - used, "%s%s",
                                     used ? "|" : "", type);
    }
}

static void init_blkid(void)
{
    blkid_init_debug(0);
}

static int run_blkid(int fd, struct volume_content *out, struct vd_err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* its only global state */
    blkid_probe probe;
    int rc;

    (void)pthread_once(&once, init_blkid);
    probe = blkid_new_probe();
    if (!probe)
        return vd_fail(err, VD_ENOMEM, "libblkid: out of memory");
    if (blkid_probe_set_device(probe, fd, 0, 0) != 0 ||
        blkid_probe_enable_superblocks(probe, 1) != 0 ||
        blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL |
                                                     BLKID_SUBLKS_UUID | BLKID_SUBLKS_USAGE |
                                                     BLKID_SUBLKS_BADCSUM) != 0) {
        blkid_free_probe(probe);
        return vd_fail(err, VD_ENOMEM, "libblkid cannot be set up");
    }
    rc = blkid_do_safeprobe(probe);
    if (rc == 0) {
        probe_value(probe, "TYPE", out->type, sizeof(out->type));
        probe_value(probe, "LABEL", out->label, sizeof(out->label));
        probe_value(probe, "UUID", out->uuid, sizeof(out->uuid));
        take_usage(probe, out);
    } else if (rc == -2) {
        take_ambiguous(probe, out);
    }
    blkid_free_probe(probe);
    return 0;
}

/* ---- our own looks ---- */

static void set_type(struct volume_content *out, const char *type)
{
    *out = (struct volume_content){0};
    vd_text_copy(out->type, sizeof(out->type), type);
}

/* LDM keeps its private header in the last sector of the metadata partition of a GPT disk. */
static bool is_ldm_metadata(struct blkdev *volume)
{
    uint8_t magic[8];
    uint64_t off = volume->size / 512 * 512;

    return off >= 512 && blk_read(volume, off - 512, magic, sizeof(magic), NULL) == 0 &&
           memcmp(magic, "PRIVHEAD", sizeof(magic)) == 0;
}

static void own_looks(struct blkdev *volume, const uint8_t *first, size_t len,
                      struct volume_content *out)
{
    if (len >= 512 && bootsec_is_bitlocker(first)) {
        /* To Go volumes look like FAT to others; label and number are those of the decoy */
        if (strcmp(out->type, "BitLocker") != 0)
            set_type(out, "BitLocker");
        out->encrypted = true;
        return;
    }
    if (out->type[0])
        return;
    if (len >= 512 && memcmp(first + 3, "ReFS\0\0\0\0", 8) == 0) {
        set_type(out, "ReFS");
    } else if (is_ldm_metadata(volume)) {
        set_type(out, "LDM");
        out->container = true;
    }
}

int volume_recognise(struct blkdev *volume, struct volume_content *out, struct vd_err *err)
{
    struct volume_content content = {0};
    VD_AUTO(free) uint8_t *first = calloc(1, FIRST_BYTES);
    size_t len = (size_t)vd_min(volume->size, FIRST_BYTES);
    VD_AUTO(fd) int fd = -1;
    int rc;

    if (!first)
        return vd_fail(err, VD_ENOMEM, "recognition: out of memory");
    if (len == 0) {
        *out = content;
        return 0;
    }
    rc = blk_read(volume, 0, first, len, err);
    if (rc)
        return vd_prefix(err, rc, "recognition");
    rc = make_copy(volume, first, len, &fd, err);
    if (!rc)
        rc = run_blkid(fd, &content, err);
    if (rc)
        return rc;
    own_looks(volume, first, len, &content);
    *out = content;
    return 0;
}
