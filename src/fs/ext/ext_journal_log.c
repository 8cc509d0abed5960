/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of the journal (kernel documentation, "Journal (jbd2)"), big-endian throughout.  Pure. */
#include "fs/ext/ext_journal.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/range.h"

#define MAGIC               0xc03b3998u
#define HEADER              12u
#define TAG_SAME_UUID       2u
#define TAG_LAST            8u
#define KNOWN_INCOMPAT      0x3fu /* revoke, 64bit, async commit, csum v2, csum v3, fast commit */
#define DEFAULT_FAST_BLOCKS 256u

/* The kernel's crc32c has no inversion at start and end. */
static uint32_t crc(uint32_t seed, const void *p, size_t len)
{
    return ~vd_crc32c(~seed, p, len);
}

/* … of a block with four bytes at `field` counted as zero. */
static uint32_t crc_without(uint32_t seed, const uint8_t *b, size_t len, size_t field)
{
    static const uint8_t zero[4];

    seed = crc(seed, b, field);
    seed = crc(seed, zero, 4);
    return crc(seed, b + field + 4, len - field - 4);
}

static bool has_csum(const struct jbd_super *j)
{
    return j->incompat & (JBD_INCOMPAT_CSUM_V2 | JBD_INCOMPAT_CSUM_V3);
}

bool jbd_header_decode(const uint8_t *b, struct jbd_header *out)
{
    out->type = vd_be32(b + 4);
    out->sequence = vd_be32(b + 8);
    return vd_be32(b) == MAGIC;
}

int jbd_super_decode(const uint8_t *b, uint64_t journal_bytes, struct jbd_super *out,
                     struct vd_err *err)
{
    struct jbd_super j = {.block_size = vd_be32(b + 12)};
    uint32_t maxlen = vd_be32(b + 16), type = vd_be32(b + 4);
    uint64_t bytes;

    if (vd_be32(b) != MAGIC || (type != 3 && type != 4))
        return vd_fail(err, VD_ECORRUPT, "no journal superblock");
    j.first = vd_be32(b + 20);
    j.sequence = vd_be32(b + 24);
    j.start = vd_be32(b + 28);
    if (type == 4)
        j.incompat = vd_be32(b + 40);
    if (j.incompat & ~KNOWN_INCOMPAT)
        return vd_fail(err, VD_EUNSUPPORTED, "journal features 0x%x", j.incompat & ~KNOWN_INCOMPAT);
    if (j.incompat & JBD_INCOMPAT_FAST_COMMIT) {
        j.n_fast = vd_be32(b + 0x54);
        j.n_fast = j.n_fast ? j.n_fast : DEFAULT_FAST_BLOCKS;
    }
    if (!vd_mul(maxlen, j.block_size, &bytes) || bytes > journal_bytes || maxlen < j.n_fast ||
        !vd_is_pow2(j.block_size) || j.block_size < 1024 || j.block_size > 65536)
        return vd_fail(err, VD_ECORRUPT, "journal superblock: impossible size");
    j.end = maxlen - j.n_fast;
    if (!j.first || j.first >= j.end || (j.start && (j.start < j.first || j.start >= j.end)))
        return vd_fail(err, VD_ECORRUPT, "journal superblock: the log starts outside");
    j.csum_seed = crc(UINT32_MAX, b + 48, 16);
    *out = j;
    return 0;
}

bool jbd_tail_ok(const struct jbd_super *j, const uint8_t *b)
{
    size_t field = j->block_size - 4;

    return !has_csum(j) || crc_without(j->csum_seed, b, j->block_size, field) == vd_be32(b + field);
}

bool jbd_commit_ok(const struct jbd_super *j, const uint8_t *b)
{
    return !has_csum(j) || crc_without(j->csum_seed, b, j->block_size, 16) == vd_be32(b + 16);
}

bool jbd_data_ok(const struct jbd_super *j, const struct jbd_tag *tag, const uint8_t *b)
{
    uint8_t sequence[4] = {(uint8_t)(tag->sequence >> 24), (uint8_t)(tag->sequence >> 16),
                           (uint8_t)(tag->sequence >> 8), (uint8_t)tag->sequence};
    uint32_t sum;

    if (!has_csum(j))
        return true;
    sum = crc(crc(j->csum_seed, sequence, 4), b, j->block_size);
    return j->incompat & JBD_INCOMPAT_CSUM_V3 ? sum == tag->csum : (sum & 0xffff) == tag->csum;
}

bool jbd_tag_next(const struct jbd_super *j, const uint8_t *b, size_t *at, struct jbd_tag *out)
{
    bool v3 = j->incompat & JBD_INCOMPAT_CSUM_V3, wide = j->incompat & JBD_INCOMPAT_64BIT;
    size_t size = v3 ? 16 : wide ? 12 : 8, end = j->block_size - (has_csum(j) ? 4 : 0);
    struct jbd_tag tag = {.sequence = vd_be32(b + 8)};
    const uint8_t *t;
    uint32_t flags;

    if (!*at)
        *at = HEADER;
    if (*at > end || size > end - *at)
        return false;
    t = b + *at;
    flags = v3 ? vd_be32(t + 4) : vd_be16(t + 6);
    tag.fs_block = vd_be32(t);
    if (wide)
        tag.fs_block |= (uint64_t)vd_be32(t + 8) << 32;
    tag.csum = v3 ? vd_be32(t + 12) : vd_be16(t + 4);
    tag.escaped = flags & JBD_TAG_ESCAPED;
    *at = flags & TAG_LAST ? j->block_size : *at + size + (flags & TAG_SAME_UUID ? 0 : 16);
    *out = tag;
    return true;
}

static size_t revoke_size(const struct jbd_super *j)
{
    return j->incompat & JBD_INCOMPAT_64BIT ? 8 : 4;
}

size_t jbd_revoke_count(const struct jbd_super *j, const uint8_t *b)
{
    size_t end = j->block_size - (has_csum(j) ? 4 : 0), used = vd_be32(b + 12);

    used = used < end ? used : end;
    return used > 16 ? (used - 16) / revoke_size(j) : 0;
}

uint64_t jbd_revoke_entry(const struct jbd_super *j, const uint8_t *b, size_t i)
{
    const uint8_t *p = b + 16 + i * revoke_size(j);

    return revoke_size(j) == 8 ? vd_be64(p) : vd_be32(p);
}
