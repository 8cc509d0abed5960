/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a crash left in ring.wal: records that were complete (their answers may have been sent) but
 * are in no frame.  Format: docs/formats/audit-log.md, "ring.wal".  Nothing here is authenticated;
 * the count tells what `recover` can save, not what happened.
 *
 * The file may be written while it is read (a running log); then the count is a snapshot.
 */
#include "audit/verify_ring.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/crc32c.h"
#include "base/range.h"
#include "vdiskfs/audit_format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WINDOW_SLOTS   4096
#define LARGEST_RECORD (AUDIT_MAX_EXT + 1)
#define MAX_RING_SLOTS (UINT64_C(1) << 26)

struct ring_file {
    int fd;
    uint64_t n_slots;
    uint8_t *window; /* WINDOW_SLOTS slots from position `first` on, wrapping */
    uint64_t first;
    size_t n;
};

static int open_ring_file(int dir_fd)
{
    return openat(dir_fd, "ring.wal", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

bool ring_is_live(int dir_fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    VD_AUTO(fd) int fd = open_ring_file(dir_fd);

    return fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

static bool read_fully(int fd, uint8_t *buf, size_t len, uint64_t off)
{
    size_t have = 0;

    while (have < len) {
        ssize_t n = pread(fd, buf + have, len - have, (off_t)(off + have));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

uint64_t ring_mount(int dir_fd)
{
    VD_AUTO(fd) int fd = open_ring_file(dir_fd);
    uint8_t h[AUDIT_W_STATE];

    if (fd < 0 || !read_fully(fd, h, sizeof(h), 0))
        return 0;
    return (uint64_t)vd_le32(h + AUDIT_W_MOUNT) << 32 | vd_le32(h + AUDIT_W_MOUNT + 4);
}

/* Why the ring cannot be used, or NULL. */
static const char *header_check(struct ring_file *f, const struct audit_report *report)
{
    uint8_t h[AUDIT_W_STATE];
    struct stat st;

    if (fstat(f->fd, &st) || !S_ISREG(st.st_mode))
        return "ring.wal is no regular file";
    if (st.st_size < AUDIT_RING_HEADER || !read_fully(f->fd, h, sizeof(h), 0))
        return "ring.wal is cut off";
    if (memcmp(h + AUDIT_W_MAGIC, AUDIT_RING_MAGIC, 4) != 0 ||
        vd_le16(h + AUDIT_W_VERSION) != AUDIT_VERSION || vd_le16(h + AUDIT_W_SLOT) != AUDIT_SLOT)
        return "ring.wal is no ring of this version";
    f->n_slots = vd_le64(h + AUDIT_W_SLOTS);
    if (!vd_is_pow2(f->n_slots) || f->n_slots < LARGEST_RECORD || f->n_slots > MAX_RING_SLOTS ||
        (uint64_t)st.st_size != AUDIT_RING_HEADER + f->n_slots * AUDIT_SLOT)
        return "ring.wal has not the size that it names";
    if (report->has_session && memcmp(h + AUDIT_W_SESSION, report->session, 16) != 0)
        return "ring.wal belongs to another session";
    return NULL;
}

/* `n` slots from sequence number `seq` on, in one piece; NULL when they cannot be read. */
static const uint8_t *slots_at(struct ring_file *f, uint64_t seq, size_t n)
{
    uint64_t pos = seq & (f->n_slots - 1);
    size_t here;

    if (seq < f->first || seq - f->first + n > f->n) {
        f->first = seq;
        f->n = f->n_slots < WINDOW_SLOTS ? (size_t)f->n_slots : WINDOW_SLOTS;
        here = f->n < f->n_slots - pos ? f->n : (size_t)(f->n_slots - pos);
        if (!read_fully(f->fd, f->window, here * AUDIT_SLOT,
                        AUDIT_RING_HEADER + pos * AUDIT_SLOT) ||
            !read_fully(f->fd, f->window + here * AUDIT_SLOT, (f->n - here) * AUDIT_SLOT,
                        AUDIT_RING_HEADER)) {
            f->n = 0;
            return NULL;
        }
    }
    return f->window + (size_t)(seq - f->first) * AUDIT_SLOT;
}

/* Slots that the thing at `seq` takes; counts it. */
static int count_one(struct ring_file *f, uint64_t seq, uint64_t left, uint64_t *out_slots,
                     struct audit_report *report)
{
    const uint8_t *slot = slots_at(f, seq, 1);
    uint64_t word, n = 1;

    if (!slot)
        return -1;
    word = vd_le64(slot);
    if (word == seq + 1) {
        n = 1u + slot[AUDIT_R_EXT];
        slot = n <= left ? slots_at(f, seq, (size_t)n) : NULL;
        if (slot && !(slot[AUDIT_R_FLAGS] & AUDIT_F_MERGED) &&
            vd_crc32c_without(slot, (size_t)n * AUDIT_SLOT, AUDIT_R_CRC) ==
                vd_le32(slot + AUDIT_R_CRC))
            report->unsealed++;
        else
            n = 1;
    } else if (word & AUDIT_RING_CLAIMED) {
        n = 1 + (word & AUDIT_MAX_EXT);
        report->unfinished++;
    }
    *out_slots = n < left ? n : left;
    return 0;
}

int ring_scan(int dir_fd, uint64_t seq, struct audit_report *report, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *window = calloc(WINDOW_SLOTS, AUDIT_SLOT);
    VD_AUTO(fd) int fd = open_ring_file(dir_fd);
    struct ring_file f = {.fd = fd, .window = window};
    const char *why;
    uint64_t done, n;

    if (!window)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (fd < 0 && errno != ENOENT)
        return vd_fail_errno(err, VD_EIO, errno, "ring.wal");
    why = fd < 0 ? "ring.wal is missing: what was not sealed cannot be told, or the end of a "
                   "closed log was cut off"
                 : header_check(&f, report);
    if (why) {
        (void)snprintf(report->reason, sizeof(report->reason), "%s", why);
        return 0;
    }
    for (done = 0; done < f.n_slots; done += n)
        if (count_one(&f, seq + done, f.n_slots - done, &n, report))
            return vd_fail_errno(err, VD_EIO, errno, "ring.wal: cannot be read");
    report->has_ring = true;
    return 0;
}
