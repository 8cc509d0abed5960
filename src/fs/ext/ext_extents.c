/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes of an ext4 extent tree, decoded (kernel documentation, "Extent Tree").  Pure functions. */
#include "fs/ext/ext_priv.h"

#include "base/bytes.h"

#define NODE_MAGIC  0xf30a
#define HEADER      12u
#define ENTRY       12u
#define MAX_DEPTH   5u
#define MAX_WRITTEN 32768u /* longer: unwritten, by so much */

int ext_node_decode(const uint8_t *b, size_t len, struct ext_node *out, struct vd_err *err)
{
    unsigned n, max, depth;

    if (len < HEADER || vd_le16(b) != NODE_MAGIC)
        return vd_fail(err, VD_ECORRUPT, "extent tree node without its magic number");
    n = vd_le16(b + 2);
    max = vd_le16(b + 4);
    depth = vd_le16(b + 6);
    if (n > max || max > (len - HEADER) / ENTRY || depth > MAX_DEPTH)
        return vd_fail(err, VD_ECORRUPT, "extent tree node says %u of %u entries, depth %u", n, max,
                       depth);
    out->n = n;
    out->depth = depth;
    return 0;
}

void ext_node_entry(const uint8_t *b, const struct ext_node *node, unsigned i,
                    struct ext_extent *out)
{
    const uint8_t *e = b + HEADER + (size_t)i * ENTRY;

    *out = (struct ext_extent){.block = vd_le32(e)};
    if (node->depth) { /* ext4_extent_idx */
        out->start = vd_le32(e + 4) | (uint64_t)vd_le16(e + 8) << 32;
        return;
    }
    out->len = vd_le16(e + 4);
    out->start = vd_le32(e + 8) | (uint64_t)vd_le16(e + 6) << 32;
    if (out->len > MAX_WRITTEN) {
        out->len -= MAX_WRITTEN;
        out->unwritten = true;
    }
}
