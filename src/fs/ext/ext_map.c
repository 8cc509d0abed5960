/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an inode to its run table: extent tree (ext4) or direct and indirect blocks (ext2/3).
 *
 * A node or an entry that is damaged makes the range it is responsible for a bad run, so that reads
 * there fail and the rest of the file stays readable.  Entries must ascend inside the range that
 * the parent gives: with that, no node can be reached twice, and loops cannot be built.  The number
 * of nodes read for one file is bounded as well.
 */
#include "fs/ext/ext_priv.h"

#include "base/bytes.h"
#include "base/range.h"

#include <stdlib.h>
#include <string.h>

/* Map blocks of one file: 16 TiB in 4 KiB blocks has 4 Mi blocks per 4 GiB … in all 4,198,404. */
#define MAX_NODES (4u << 20)

struct map {
    const struct ext_fs *x;
    struct fs_runs *runs;
    uint64_t end_block; /* logical blocks that the file's size covers */
    uint32_t nodes;     /* map blocks read */
    struct vd_err *err; /* for errors that end the work: limits, memory */
};

static int add_bad(struct map *m, uint64_t from, uint64_t to, enum fs_run_why why)
{
    uint32_t bs = m->x->sb.block_size;
    struct fs_run run = {.off = from * bs, .kind = FS_RUN_BAD, .why = (uint8_t)why};

    to = vd_min(to, m->end_block);
    if (from >= to)
        return 0;
    run.len = (to - from) * bs;
    return fs_runs_add(m->runs, &run, m->err);
}

static int add_blocks(struct map *m, uint64_t logical, uint64_t n, uint64_t physical,
                      bool unwritten)
{
    const struct ext_super *sb = &m->x->sb;
    struct fs_run zeros = {.off = logical * sb->block_size, .kind = FS_RUN_ZEROS};
    uint64_t limit = sb->n_blocks * sb->block_size; /* cannot wrap: checked by validate */

    n = logical < m->end_block ? vd_min(n, m->end_block - logical) : 0;
    zeros.len = n * sb->block_size;
    if (unwritten)
        return fs_runs_add(m->runs, &zeros, m->err);
    if (!physical || !vd_range_inside(physical, n, sb->n_blocks))
        return add_bad(m, logical, logical + n, FS_WHY_OUTSIDE);
    return fs_runs_add_data(m->runs, vd_min(limit, m->x->vol->size), zeros.off, zeros.len,
                            physical * sb->block_size, m->err);
}

/* Reads a map block.  0, a fatal error, or 1: unreadable, *out_why says how. */
static int read_node(struct map *m, uint64_t block, uint8_t *buf, enum fs_run_why *out_why)
{
    const struct ext_super *sb = &m->x->sb;

    if (++m->nodes > MAX_NODES)
        return vd_fail(m->err, VD_ELIMIT, "more than %u blocks of block map in one file",
                       MAX_NODES);
    *out_why = FS_WHY_MAP_BROKEN;
    if (!block || block >= sb->n_blocks ||
        !vd_range_inside(block * sb->block_size, sb->block_size, m->x->vol->size))
        return 1;
    *out_why = FS_WHY_MAP_UNREAD;
    return blk_read(m->x->vol, block * sb->block_size, buf, sb->block_size, NULL) ? 1 : 0;
}

/* ---- extent tree ---- */

static int walk_node(struct map *m, const uint8_t *b, const struct ext_node *node, uint64_t from,
                     uint64_t to);

static int walk_child(struct map *m, uint64_t block, unsigned depth, uint64_t from, uint64_t to)
{
    uint8_t *buf = malloc(m->x->sb.block_size);
    enum fs_run_why why;
    struct ext_node node;
    int rc;

    if (!buf)
        return vd_fail(m->err, VD_ENOMEM, "out of memory");
    rc = read_node(m, block, buf, &why);
    if (rc == 0 && (ext_node_decode(buf, m->x->sb.block_size, &node, NULL) || node.depth != depth ||
                    (node.depth && !node.n))) {
        why = FS_WHY_MAP_BROKEN;
        rc = 1;
    }
    if (rc == 0)
        rc = walk_node(m, buf, &node, from, to);
    else if (rc == 1)
        rc = add_bad(m, from, to, why);
    free(buf);
    return rc;
}

/* Adds what a node says about logical blocks [from, to). */
static int walk_node(struct map *m, const uint8_t *b, const struct ext_node *node, uint64_t from,
                     uint64_t to)
{
    uint64_t done = from; /* everything before is settled */
    unsigned i;
    int rc = 0;

    for (i = 0; i < node->n && !rc; i++) {
        struct ext_extent e, next = {0};
        uint64_t end;

        ext_node_entry(b, node, i, &e);
        if (i + 1 < node->n)
            ext_node_entry(b, node, i + 1, &next);
        end = node->depth ? (i + 1 < node->n ? next.block : to) : (uint64_t)e.block + e.len;
        if (e.block < done || e.block >= to || end <= e.block || end > to) {
            rc = add_bad(m, done, to, FS_WHY_MAP_BROKEN);
            break;
        }
        rc = node->depth ? walk_child(m, e.start, node->depth - 1, e.block, end)
                         : add_blocks(m, e.block, e.len, e.start, e.unwritten);
        done = end;
    }
    return rc;
}

static int map_extents(struct map *m, const struct ext_inode *inode)
{
    struct ext_node root;

    if (ext_node_decode(inode->i_block, EXT_I_BLOCK, &root, NULL))
        return add_bad(m, 0, m->end_block, FS_WHY_MAP_BROKEN);
    /* logical block numbers have 32 bits */
    return walk_node(m, inode->i_block, &root, 0, UINT64_C(1) << 32);
}

/* ---- direct and indirect blocks ---- */

/* Adds the `span` logical blocks from `logical` behind pointer `block` at `level` (0 = data). */
static int map_pointer(struct map *m, uint64_t block, unsigned level, uint64_t logical,
                       uint64_t span)
{
    uint32_t per = m->x->sb.block_size / 4, i;
    enum fs_run_why why;
    uint8_t *buf;
    int rc;

    if (!block || logical >= m->end_block)
        return 0; /* a hole */
    if (!level)
        return add_blocks(m, logical, 1, block, false);
    buf = malloc(m->x->sb.block_size);
    if (!buf)
        return vd_fail(m->err, VD_ENOMEM, "out of memory");
    rc = read_node(m, block, buf, &why);
    if (rc == 1)
        rc = add_bad(m, logical, logical + span, why);
    else if (!rc)
        for (i = 0; i < per && !rc; i++)
            rc = map_pointer(m, vd_le32(buf + (size_t)i * 4), level - 1, logical + i * (span / per),
                             span / per);
    free(buf);
    return rc;
}

static int map_indirect(struct map *m, const struct ext_inode *inode)
{
    uint64_t per = m->x->sb.block_size / 4, logical = 0, span = 1;
    unsigned i, level = 0;
    int rc = 0;

    for (i = 0; i < 15 && !rc; i++) {
        if (i >= 12) {
            level++;
            span *= per;
        }
        rc = map_pointer(m, vd_le32(inode->i_block + (size_t)i * 4), level, logical, span);
        logical += span;
    }
    return rc;
}

int ext_map_build(const struct ext_fs *x, const struct ext_inode *inode, struct fs_runs *out,
                  struct vd_err *err)
{
    struct map m = {.x = x, .runs = out, .err = err};
    int rc;

    m.end_block = vd_div_up(inode->size, x->sb.block_size);
    out->holes_are_zeros = true;
    rc = inode->flags & EXT_FL_EXTENTS ? map_extents(&m, inode) : map_indirect(&m, inode);
    fs_runs_trim(out);
    return vd_prefix(err, rc, "block map");
}
