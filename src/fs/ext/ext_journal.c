/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay of the journal in memory.  A volume whose journal holds committed transactions that were
 * not yet written to their places is, as it lies on the disk, a mixture of old and new; the file
 * system means the state after the replay.  The log is read once, and a layer over the volume
 * answers each block of a committed transaction from its copy in the log.  Nothing is written, and
 * volume.img keeps the bytes as they are.
 *
 * The log ends at the first block that does not continue it: another sequence number, another
 * magic number, a wrong checksum.  A revoke record of a transaction cancels copies of that block in
 * this and earlier transactions.
 *
 * Threads: the layer is immutable after construction.
 */
#include "fs/ext/ext_journal.h"

#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

/* Blocks of all transactions in a log: 16 GiB of log in 4 KiB blocks. */
#define MAX_TAGS (4u << 20)

struct revoke {
    uint64_t fs_block;
    uint32_t sequence;
};

struct log {
    const struct ext_fs *x;
    struct jbd_super j;
    struct fs_content content; /* of the journal's inode */
    struct jbd_tag *tags;
    size_t n_tags, cap_tags, n_committed; /* the first n_committed belong to whole transactions */
    struct revoke *revokes;
    size_t n_revokes, cap_revokes, n_revokes_committed;
    uint32_t n_transactions;
    uint32_t pos, sequence; /* where the scan stands */
    uint8_t *buf;
};

/* ---- the layer ---- */

struct replayed {
    struct jbd_super j;
    struct fs_runs log_runs; /* of the journal's inode */
    struct jbd_tag *tags;    /* by fs_block, each once */
    size_t n_tags;
};

static size_t first_tag_from(const struct replayed *r, uint64_t block)
{
    size_t lo = 0, hi = r->n_tags;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (r->tags[mid].fs_block < block)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Part of one block, from its copy in the log. */
static int read_copy(const struct replayed *r, struct blkdev *vol, const struct jbd_tag *tag,
                     size_t skip, void *buf, size_t len, struct vd_err *err)
{
    static const uint8_t magic[4] = {0xc0, 0x3b, 0x39, 0x98};
    uint32_t bs = r->j.block_size;
    uint8_t *copy = malloc(bs);
    int rc;

    if (!copy)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = fs_runs_read(&r->log_runs, vol, (uint64_t)tag->log_block * bs, copy, bs, err);
    if (!rc && !jbd_data_ok(&r->j, tag, copy))
        rc = vd_fail(err, VD_ECORRUPT, "wrong checksum");
    if (rc) {
        free(copy);
        return vd_prefix(err, rc, "journal block %u (for block %llu)", tag->log_block,
                         (unsigned long long)tag->fs_block);
    }
    if (tag->escaped) /* the block itself begins with the journal's magic number */
        memcpy(copy, magic, sizeof(magic));
    memcpy(buf, copy + skip, len);
    free(copy);
    return 0;
}

static int replayed_read_at(struct blkdev *dev, uint64_t off, void *buf, size_t len,
                            struct vd_err *err)
{
    const struct replayed *r = dev->priv;
    struct blkdev *vol = dev->children[0];
    uint32_t bs = r->j.block_size;
    size_t i = first_tag_from(r, off / bs);
    uint8_t *p = buf;

    while (len) {
        uint64_t next = i < r->n_tags ? r->tags[i].fs_block * bs : UINT64_MAX;
        size_t part;
        int rc;

        if (off < next) {
            part = (size_t)vd_min(len, next - off);
            rc = blk_read(vol, off, p, part, err);
        } else {
            part = (size_t)vd_min(len, bs - (off - next));
            rc =
                vd_at(err, read_copy(r, vol, &r->tags[i], (size_t)(off - next), p, part, err), off);
            i++;
        }
        if (rc)
            return rc;
        p += part;
        off += part;
        len -= part;
    }
    return 0;
}

static void replayed_close(struct blkdev *dev)
{
    struct replayed *r = dev->priv;

    if (!r)
        return;
    fs_runs_clear(&r->log_runs);
    free(r->tags);
    free(r);
}

static const struct blk_type replayed_type = {
    .name = "ext-journal",
    .read_at = replayed_read_at,
    .close = replayed_close,
};

/* ---- reading the log ---- */

static int log_read(const struct log *log, uint32_t block, struct vd_err *err)
{
    uint32_t bs = log->j.block_size;

    return vd_prefix(
        err, fs_runs_read(&log->content.runs, log->x->vol, (uint64_t)block * bs, log->buf, bs, err),
        "journal block %u", block);
}

static uint32_t log_next(const struct log *log, uint32_t block)
{
    return block + 1 < log->j.end ? block + 1 : log->j.first;
}

static int add_tag(struct log *log, const struct jbd_tag *tag, struct vd_err *err)
{
    if (log->n_tags == log->cap_tags) {
        size_t cap = log->cap_tags ? log->cap_tags * 2 : 256;
        struct jbd_tag *v = cap <= MAX_TAGS ? realloc(log->tags, cap * sizeof(*v)) : NULL;

        if (!v)
            return vd_fail(err, cap <= MAX_TAGS ? VD_ENOMEM : VD_ELIMIT,
                           "journal with more than %zu blocks to replay", log->n_tags);
        log->tags = v;
        log->cap_tags = cap;
    }
    log->tags[log->n_tags++] = *tag;
    return 0;
}

static int add_revoke(struct log *log, const struct revoke *revoke, struct vd_err *err)
{
    if (log->n_revokes == log->cap_revokes) {
        size_t cap = log->cap_revokes ? log->cap_revokes * 2 : 256;
        struct revoke *v = cap <= MAX_TAGS ? realloc(log->revokes, cap * sizeof(*v)) : NULL;

        if (!v)
            return vd_fail(err, cap <= MAX_TAGS ? VD_ENOMEM : VD_ELIMIT,
                           "journal with more than %zu revoked blocks", log->n_revokes);
        log->revokes = v;
        log->cap_revokes = cap;
    }
    log->revokes[log->n_revokes++] = *revoke;
    return 0;
}

/* A descriptor block in log->buf: its tags name the blocks that follow it. */
static int take_descriptor(struct log *log, uint32_t *steps, struct vd_err *err)
{
    struct jbd_tag tag;
    size_t at = 0;

    while (jbd_tag_next(&log->j, log->buf, &at, &tag)) {
        int rc;

        log->pos = log_next(log, log->pos);
        tag.log_block = log->pos;
        if (++*steps > log->j.end)
            return vd_fail(err, VD_ECORRUPT, "the log goes round");
        rc = add_tag(log, &tag, err);
        if (rc)
            return rc;
    }
    return 0;
}

static int take_revokes(struct log *log, struct vd_err *err)
{
    size_t i, n = jbd_revoke_count(&log->j, log->buf);

    for (i = 0; i < n; i++) {
        struct revoke revoke = {.fs_block = jbd_revoke_entry(&log->j, log->buf, i),
                                .sequence = log->sequence};
        int rc = add_revoke(log, &revoke, err);

        if (rc)
            return rc;
    }
    return 0;
}

static void take_commit(struct log *log)
{
    log->n_committed = log->n_tags;
    log->n_revokes_committed = log->n_revokes;
    log->n_transactions++;
    log->sequence++;
}

/* Walks the log.  An error that is damage or I/O leaves the transactions before it. */
static int scan(struct log *log, struct vd_err *err)
{
    uint32_t steps;

    log->pos = log->j.start;
    log->sequence = log->j.sequence;
    for (steps = 0; steps <= log->j.end; steps++) {
        struct jbd_header h;
        int rc = log_read(log, log->pos, err);

        if (rc)
            return rc;
        if (!jbd_header_decode(log->buf, &h) || h.sequence != log->sequence)
            return 0;
        if (h.type == JBD_COMMIT) {
            if (!jbd_commit_ok(&log->j, log->buf))
                return 0; /* the transaction that was being written */
            take_commit(log);
        } else if (h.type == JBD_DESCRIPTOR || h.type == JBD_REVOKE) {
            if (!jbd_tail_ok(&log->j, log->buf))
                return vd_fail(err, VD_ECORRUPT, "journal block %u: wrong checksum", log->pos);
            rc = h.type == JBD_REVOKE ? take_revokes(log, err) : take_descriptor(log, &steps, err);
            if (rc)
                return rc;
        } else {
            return 0;
        }
        log->pos = log_next(log, log->pos);
    }
    return 0;
}

/* ---- from the log to the layer ---- */

static int by_block_then_newest(const void *a, const void *b)
{
    const struct jbd_tag *x = a, *y = b;

    if (x->fs_block != y->fs_block)
        return x->fs_block < y->fs_block ? -1 : 1;
    if (x->sequence != y->sequence) /* sequence numbers wrap */
        return (int32_t)(x->sequence - y->sequence) > 0 ? -1 : 1;
    return x->log_block > y->log_block ? -1 : x->log_block < y->log_block;
}

static int revoke_order(const void *a, const void *b)
{
    const struct revoke *x = a, *y = b;

    if (x->fs_block != y->fs_block)
        return x->fs_block < y->fs_block ? -1 : 1;
    return (int32_t)(x->sequence - y->sequence) > 0 ? -1 : x->sequence != y->sequence;
}

/* Was the block revoked in the tag's transaction or a later one? */
static bool is_revoked(const struct log *log, const struct jbd_tag *tag)
{
    size_t lo = 0, hi = log->n_revokes_committed;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (log->revokes[mid].fs_block < tag->fs_block)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < log->n_revokes_committed && log->revokes[lo].fs_block == tag->fs_block &&
           (int32_t)(log->revokes[lo].sequence - tag->sequence) >= 0;
}

/* Keeps the newest copy of each block that is not revoked. */
static void settle_tags(struct log *log)
{
    size_t i, n = 0;

    if (log->n_committed)
        qsort(log->tags, log->n_committed, sizeof(*log->tags), by_block_then_newest);
    if (log->n_revokes_committed)
        qsort(log->revokes, log->n_revokes_committed, sizeof(*log->revokes), revoke_order);
    for (i = 0; i < log->n_committed; i++) {
        const struct jbd_tag *tag = &log->tags[i];

        if ((n && log->tags[n - 1].fs_block == tag->fs_block) || is_revoked(log, tag) ||
            tag->fs_block >= log->x->sb.n_blocks)
            continue;
        log->tags[n++] = *tag;
    }
    log->n_tags = n;
}

static int make_layer(struct log *log, struct blkdev **out, struct vd_err *err)
{
    struct replayed *r = calloc(1, sizeof(*r));
    struct blkdev *dev = NULL;
    int rc;

    if (!r)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = blk_new(&replayed_type, log->x->vol->size, "", r, &dev, err);
    if (rc) {
        free(r);
        return rc;
    }
    r->j = log->j;
    r->log_runs = log->content.runs;
    r->tags = log->tags;
    r->n_tags = log->n_tags;
    log->content.runs = (struct fs_runs){0};
    log->tags = NULL;
    rc = blk_add_child(dev, blk_ref(log->x->vol), err);
    if (rc) {
        blk_unref(log->x->vol);
        blk_unref(dev);
        return rc;
    }
    *out = dev;
    return 0;
}

/* ---- opening ---- */

static int open_log(struct log *log, struct vd_err *err)
{
    const struct ext_fs *x = log->x;
    struct ext_inode inode;
    uint8_t super[1024];
    int rc;

    if (!x->sb.journal_ino)
        return vd_fail(err, VD_EUNSUPPORTED, "the journal is on another device");
    rc = ext_inode_read(x, x->sb.journal_ino, &inode, err);
    if (rc)
        return rc == -VD_ENOENT ? vd_fail(err, VD_ECORRUPT, "the journal has no inode") : rc;
    rc = ext_map_build(x, &inode, &log->content.runs, err);
    ext_inode_clear(&inode);
    if (!rc)
        rc = fs_runs_read(&log->content.runs, x->vol, 0, super, sizeof(super), err);
    if (!rc)
        rc = jbd_super_decode(super, inode.size, &log->j, err);
    if (!rc && log->j.block_size != x->sb.block_size)
        rc = vd_fail(err, VD_ECORRUPT, "journal blocks of %u bytes", log->j.block_size);
    if (rc)
        return rc;
    log->buf = malloc(log->j.block_size);
    return log->buf ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

/* Fast commits ("Fast commits" in the same document) are not replayed; are there any? */
static void note_fast_commits(const struct log *log, struct vd_facts *facts)
{
    if (!log->j.n_fast || log_read(log, log->j.end, NULL))
        return;
    /* the first tag is a head (9) with the number of the transaction that would be next */
    if (vd_le16(log->buf) == 9 && vd_le32(log->buf + 8) == log->sequence)
        vd_fact_add(facts, VD_FACT_WARNING, "journal_fast_commit",
                    "the journal holds fast commits, which are not replayed: the newest changes "
                    "of some files are not shown");
}

static void log_clear(struct log *log)
{
    fs_runs_clear(&log->content.runs);
    free(log->tags);
    free(log->revokes);
    free(log->buf);
}

int ext_journal_replay(const struct ext_fs *x, struct vd_facts *facts, struct blkdev **out,
                       struct vd_err *err)
{
    struct log log = {.x = x};
    struct vd_err e = VD_ERR_INIT;
    int rc = open_log(&log, &e);

    *out = NULL;
    if (!rc && log.j.start)
        rc = scan(&log, &e);
    if (rc && rc != -VD_ENOMEM && rc != -VD_ELIMIT) {
        vd_fact_add(facts, VD_FACT_WARNING, "journal",
                    "the journal could be replayed up to %u transactions only: %s",
                    log.n_transactions, e.msg);
        rc = 0;
    } else if (rc && err) {
        *err = e;
    }
    if (!rc && log.j.n_fast && log.buf)
        note_fast_commits(&log, facts);
    if (!rc && log.n_transactions) {
        settle_tags(&log);
        vd_fact_add(facts, VD_FACT_WARNING, "journal",
                    "the volume was not unmounted cleanly: files are shown with %u transactions "
                    "(%zu blocks) of the journal replayed in memory; volume.img shows the disk "
                    "without them",
                    log.n_transactions, log.n_tags);
        if (log.n_tags)
            rc = make_layer(&log, out, err);
    }
    log_clear(&log);
    return rc;
}
