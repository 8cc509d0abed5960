/* SPDX-License-Identifier: Apache-2.0 */
/* Node numbers: see node.h for the layout.  Pure functions, any thread. */
#include "tree/node.h"

#include "base/limits.h"
#include "fs/fs.h"
#include "tree/tree.h"

/* NOLINTNEXTLINE(misc-redundant-expression): two names that must stay equal */
static_assert(FS_ADDR_MAX == NODE_PAYLOAD_MAX, "every file-system address fits a payload");
static_assert(VD_MAX_PARTITIONS < NODE_VIEW_MAX, "every partition has a view");
static_assert(TREE_ROOT == NODE_DIR, "the root is view 0, synthetic, 1");

static uint64_t pack(unsigned view, enum node_kind kind, uint64_t payload)
{
    return (uint64_t)view << (NODE_KIND_BITS + NODE_PAYLOAD_BITS) |
           (uint64_t)kind << NODE_PAYLOAD_BITS | payload;
}

uint64_t node_synthetic(unsigned view, enum node_synthetic what)
{
    return pack(view, NODE_SYNTHETIC, (uint64_t)what);
}

uint64_t node_gap(uint64_t index)
{
    return pack(0, NODE_GAP, index);
}

uint64_t node_object(unsigned view, uint64_t addr, uint16_t stream)
{
    if (addr > (stream ? NODE_STREAM_ADDR_MAX : NODE_PAYLOAD_MAX))
        return pack(view, NODE_BEYOND, addr & NODE_PAYLOAD_MAX);
    if (stream)
        return pack(view, NODE_STREAM, addr << NODE_STREAM_BITS | stream);
    return pack(view, NODE_OBJECT, addr);
}

bool node_decode(uint64_t number, struct node *out)
{
    uint64_t payload = number & NODE_PAYLOAD_MAX;
    unsigned kind = (unsigned)(number >> NODE_PAYLOAD_BITS) & ((1u << NODE_KIND_BITS) - 1);
    struct node n = {.view = (unsigned)(number >> (NODE_KIND_BITS + NODE_PAYLOAD_BITS))};

    switch (kind) {
    case NODE_SYNTHETIC:
        if (payload < NODE_DIR || payload > (n.view ? NODE_INFO_TEXT : NODE_GAPS))
            return false;
        n.payload = payload;
        break;
    case NODE_GAP:
        if (n.view)
            return false;
        n.payload = payload;
        break;
    case NODE_STREAM:
        n.addr = payload >> NODE_STREAM_BITS;
        n.stream = (uint16_t)payload;
        if (!n.view || !n.stream)
            return false;
        break;
    case NODE_OBJECT:
    case NODE_BEYOND:
        if (!n.view)
            return false;
        n.addr = payload;
        break;
    default:
        return false;
    }
    n.kind = (enum node_kind)kind;
    *out = n;
    return true;
}

uint64_t node_encode(const struct node *node)
{
    switch (node->kind) {
    case NODE_SYNTHETIC:
    case NODE_GAP:
        return pack(node->view, node->kind, node->payload);
    case NODE_STREAM:
        return pack(node->view, node->kind, node->addr << NODE_STREAM_BITS | node->stream);
    case NODE_OBJECT:
    case NODE_BEYOND:
        break;
    }
    return pack(node->view, node->kind, node->addr);
}
