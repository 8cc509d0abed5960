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

int ring_open(int dir_fd, int flags)
{
    return openat(dir_fd, "ring.wal", flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
}

bool ring_is_live(int dir_fd)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    VD_AUTO(fd) int fd = ring_open(dir_fd, O_RDONLY);

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

void ring_mount(int dir_fd, struct audit_mount *out)
{
    VD_AUTO(fd) int fd = ring_open(dir_fd, O_RDONLY);
    uint8_t h[AUDIT_RING_HEADER];

    memset(out, 0, sizeof(*out));
    if (fd < 0 || !read_fully(fd, h, sizeof(h), 0))
        return;
    out->major = vd_le32(h + AUDIT_W_MOUNT);
    out->minor = vd_le32(h + AUDIT_W_MOUNT + 4);
    memcpy(out->path, h + AUDIT_W_PLACE, sizeof(out->path) - 1);
}

const char *ring_unusable(int fd, const uint8_t *session, uint8_t out_session[16])
{
    uint8_t h[AUDIT_W_STATE];
    struct stat st;
    uint64_t n;

    if (fd < 0)
        return "ring.wal is missing: what was not sealed cannot be told, or the end of a closed "
               "log "
               "was cut off";
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return "ring.wal is no regular file";
    if (st.st_size < AUDIT_RING_HEADER || !read_fully(fd, h, sizeof(h), 0))
        return "ring.wal is cut off";
    if (memcmp(h + AUDIT_W_MAGIC, AUDIT_RING_MAGIC, 4) != 0 ||
        vd_le16(h + AUDIT_W_VERSION) != AUDIT_VERSION || vd_le16(h + AUDIT_W_SLOT) != AUDIT_SLOT)
        return "ring.wal is no ring of this version";
    n = vd_le64(h + AUDIT_W_SLOTS);
    if (!vd_is_pow2(n) || n < LARGEST_RECORD || n > MAX_RING_SLOTS ||
        (uint64_t)st.st_size != AUDIT_RING_HEADER + n * AUDIT_SLOT)
        return "ring.wal has not the size that it names";
    if (session && memcmp(h + AUDIT_W_SESSION, session, 16) != 0)
        return "ring.wal belongs to another session";
    if (out_session)
        memcpy(out_session, h + AUDIT_W_SESSION, 16);
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

/* What stands at `seq`, `left` slots before the walk is round. */
static int look_at(struct ring_file *f, uint64_t seq, uint64_t left, struct ring_item *out)
{
    const uint8_t *slot = slots_at(f, seq, 1);
    uint64_t word, n;

    if (!slot)
        return -1;
    *out = (struct ring_item){RING_NOTHING, seq, 1, NULL};
    word = vd_le64(slot);
    if (word == seq + 1) {
        n = 1u + slot[AUDIT_R_EXT];
        if (n > left)
            return 0;
        slot = slots_at(f, seq, (size_t)n);
        if (!slot)
            return -1;
        if (!(slot[AUDIT_R_FLAGS] & AUDIT_F_MERGED) &&
            vd_crc32c_without(slot, (size_t)n * AUDIT_SLOT, AUDIT_R_CRC) ==
                vd_le32(slot + AUDIT_R_CRC))
            *out = (struct ring_item){RING_RECORD, seq, (size_t)n, slot};
    } else if (word & AUDIT_RING_CLAIMED) {
        n = 1 + (word & AUDIT_MAX_EXT);
        *out = (struct ring_item){RING_CLAIM, seq, (size_t)(n < left ? n : left), NULL};
    }
    return 0;
}

int ring_walk(int fd, uint64_t seq, ring_item_fn *fn, void *ctx, struct vd_err *err)
{
    VD_AUTO(free) uint8_t *window = calloc(WINDOW_SLOTS, AUDIT_SLOT);
    struct ring_file f = {.fd = fd, .window = window};
    uint8_t number[8];
    uint64_t done = 0;
    int rc = 0;

    if (!window)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (!read_fully(fd, number, sizeof(number), AUDIT_W_SLOTS))
        return vd_fail_errno(err, VD_EIO, errno, "ring.wal: cannot be read");
    f.n_slots = vd_le64(number);
    if (!vd_is_pow2(f.n_slots) || f.n_slots < LARGEST_RECORD || f.n_slots > MAX_RING_SLOTS)
        return vd_fail(err, VD_EIO, "ring.wal: changes while it is read");
    while (rc == 0 && done < f.n_slots) {
        struct ring_item item;

        if (look_at(&f, seq + done, f.n_slots - done, &item))
            return vd_fail_errno(err, VD_EIO, errno, "ring.wal: cannot be read");
        rc = fn(ctx, &item, err);
        done += item.slots;
    }
    return rc;
}

static int count_item(void *ctx, const struct ring_item *item, struct vd_err *err)
{
    struct audit_report *report = ctx;

    (void)err;
    report->unsealed += item->kind == RING_RECORD;
    report->unfinished += item->kind == RING_CLAIM;
    return 0;
}

int ring_scan(int dir_fd, uint64_t seq, struct audit_report *report, struct vd_err *err)
{
    VD_AUTO(fd) int fd = ring_open(dir_fd, O_RDONLY);
    const char *why;
    struct stat st;
    int rc;

    if (fd < 0 && errno != ENOENT)
        return vd_fail_errno(err, VD_EIO, errno, "ring.wal");
    if (fd >= 0 && fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
        return vd_fail(err, VD_EREFUSED, "ring.wal is no regular file");
    why = ring_unusable(fd, report->has_session ? report->session : NULL, NULL);
    if (why) {
        (void)snprintf(report->reason, sizeof(report->reason), "%s", why);
        return 0;
    }
    rc = ring_walk(fd, seq, count_item, report, err);
    report->has_ring = rc == 0;
    return rc;
}
