/* SPDX-License-Identifier: Apache-2.0 */
/* Node numbers: see node.h for the layout.  Pure functions, any thread. */
#include "tree/node.h"

#include "base/limits.h"
#include "tree/tree.h"

#include <assert.h>

/* Bits before the view: the prefix of streams; or 0 and the kind. */
#define STREAM_PREFIX 1u
#define OTHER_PREFIX  4u
/* Bits of a view with the flags that tell which form it has. */
#define ROOT_VIEW  15u
#define POINT_VIEW 19u

#define STREAM_BIT (UINT64_C(1) << 63)

/* The two forms of a stream at an older point, 44 bits. */
#define SHORT_STREAM_BITS 12u
#define SHORT_ADDR_BITS   31u
#define LONG_STREAM_BITS  16u
#define LONG_ADDR_BITS    27u
#define LONG_FORM         (UINT64_C(1) << 43)

#define MASK(bits) ((UINT64_C(1) << (bits)) - 1)

static_assert(NODE_ADDR_MAX == MASK(64 - OTHER_PREFIX - ROOT_VIEW), "root: payload");
static_assert(NODE_ADDR_MAX_POINT == MASK(64 - OTHER_PREFIX - POINT_VIEW), "points: payload");
static_assert(NODE_VOLUME_MAX == MASK(14), "root: flag and 14 bits");
static_assert(NODE_POINTS_NEAR == 1 << 6 && NODE_VOLUME_MAX_NEAR == MASK(11) &&
                  2 + 6 + 11 == POINT_VIEW,
              "first points: two flags and 17 bits");
static_assert(NODE_POINTS == NODE_POINTS_NEAR + (1 << 10) && NODE_VOLUME_MAX_FAR == MASK(7) &&
                  2 + 10 + 7 == POINT_VIEW,
              "other points: two flags and 17 bits");
static_assert(1 + SHORT_ADDR_BITS + SHORT_STREAM_BITS == 64 - STREAM_PREFIX - POINT_VIEW &&
                  1 + LONG_ADDR_BITS + LONG_STREAM_BITS == 64 - STREAM_PREFIX - POINT_VIEW &&
                  32 + 16 == 64 - STREAM_PREFIX - ROOT_VIEW,
              "streams");
static_assert(VD_MAX_PARTITIONS <= NODE_VOLUME_MAX_NEAR, "every partition has a view");
static_assert(VD_MAX_CHAIN <= NODE_POINTS, "every point has a view");
static_assert(TREE_ROOT == NODE_DIR, "the root is view 0, synthetic, 1");

static bool volume_fits(unsigned view)
{
    unsigned point = node_view_point(view), volume = node_view_volume(view);

    if (!point)
        return volume <= NODE_VOLUME_MAX;
    return volume <= (point <= NODE_POINTS_NEAR ? NODE_VOLUME_MAX_NEAR : NODE_VOLUME_MAX_FAR);
}

/* The view's code, left-aligned; its length.  The volume fits. */
static uint64_t view_code(unsigned view, unsigned *out_bits)
{
    unsigned number = node_view_point(view) - 1; /* wraps when there is none: not used then */
    uint64_t volume = node_view_volume(view);

    *out_bits = node_view_point(view) ? POINT_VIEW : ROOT_VIEW;
    if (!node_view_point(view))
        return volume << (64 - ROOT_VIEW);
    if (number < NODE_POINTS_NEAR)
        return UINT64_C(2) << 62 | (uint64_t)number << 56 | volume << 45;
    return UINT64_C(3) << 62 | (uint64_t)(number - NODE_POINTS_NEAR) << 52 | volume << 45;
}

/* The view at the left end of `code`, and its length. */
static unsigned view_of(uint64_t code, unsigned *out_bits)
{
    unsigned form = (unsigned)(code >> 62);

    *out_bits = form < 2 ? ROOT_VIEW : POINT_VIEW;
    if (form < 2)
        return node_view(0, (unsigned)(code >> (64 - ROOT_VIEW)));
    if (form == 2)
        return node_view((unsigned)(code >> 56 & MASK(6)) + 1, (unsigned)(code >> 45 & MASK(11)));
    return node_view((unsigned)(code >> 52 & MASK(10)) + NODE_POINTS_NEAR + 1,
                     (unsigned)(code >> 45 & MASK(7)));
}

static uint64_t pack(unsigned view, enum node_kind kind, uint64_t payload)
{
    unsigned bits;
    uint64_t code = view_code(view, &bits) >> OTHER_PREFIX;

    return (uint64_t)kind << (64 - OTHER_PREFIX) | code | payload;
}

static uint64_t beyond(unsigned view, uint64_t what)
{
    if (!volume_fits(view)) {
        what = node_view_volume(view);
        view = node_view(node_view_point(view), 0);
    }
    return pack(view, NODE_BEYOND,
                what & (node_view_point(view) ? NODE_ADDR_MAX_POINT : NODE_ADDR_MAX));
}

uint64_t node_synthetic(unsigned view, enum node_synthetic what)
{
    return volume_fits(view) ? pack(view, NODE_SYNTHETIC, (uint64_t)what) : beyond(view, 0);
}

uint64_t node_gap(unsigned view, uint64_t index)
{
    return pack(view, NODE_GAP, index);
}

static uint64_t node_stream(unsigned view, uint64_t addr, uint16_t stream)
{
    unsigned bits;
    uint64_t code = STREAM_BIT | view_code(view, &bits) >> STREAM_PREFIX;

    if (!node_view_point(view) && addr <= MASK(32))
        return code | addr << 16 | stream;
    if (node_view_point(view) && stream <= MASK(SHORT_STREAM_BITS) && addr <= MASK(SHORT_ADDR_BITS))
        return code | addr << SHORT_STREAM_BITS | stream;
    if (node_view_point(view) && stream > MASK(SHORT_STREAM_BITS) && addr <= MASK(LONG_ADDR_BITS))
        return code | LONG_FORM | addr << LONG_STREAM_BITS | stream;
    return beyond(view, addr);
}

uint64_t node_object(unsigned view, uint64_t addr, uint16_t stream)
{
    if (!volume_fits(view))
        return beyond(view, 0);
    if (stream)
        return node_stream(view, addr, stream);
    if (addr > (node_view_point(view) ? NODE_ADDR_MAX_POINT : NODE_ADDR_MAX))
        return beyond(view, addr);
    return pack(view, NODE_OBJECT, addr);
}

/* Does a synthetic node with this payload exist in such a view? */
static bool synthetic_possible(unsigned view, uint64_t payload)
{
    if (payload < NODE_DIR)
        return false;
    if (node_view_volume(view))
        return payload <= NODE_INFO_TEXT;
    if (payload <= NODE_GAPS)
        return true;
    return payload <= NODE_NAME_LINK && (payload == NODE_NAME_LINK) == (view != 0);
}

static bool decode_stream(uint64_t number, struct node *n)
{
    unsigned bits;
    uint64_t rest;

    n->kind = NODE_STREAM;
    n->view = view_of(number << STREAM_PREFIX, &bits);
    rest = number & MASK(64 - STREAM_PREFIX - bits);
    if (!node_view_point(n->view) || rest & LONG_FORM) {
        rest &= node_view_point(n->view) ? LONG_FORM - 1 : UINT64_MAX;
        n->addr = rest >> 16;
        n->stream = (uint16_t)rest;
        if (node_view_point(n->view) && n->stream <= MASK(SHORT_STREAM_BITS))
            return false; /* has a shorter form */
    } else {
        n->addr = rest >> SHORT_STREAM_BITS;
        n->stream = (uint16_t)(rest & MASK(SHORT_STREAM_BITS));
    }
    return node_view_volume(n->view) && n->stream;
}

static bool decode_other(uint64_t number, struct node *n)
{
    unsigned bits, kind = (unsigned)(number >> (64 - OTHER_PREFIX));
    uint64_t payload;

    n->view = view_of(number << OTHER_PREFIX, &bits);
    payload = number & MASK(64 - OTHER_PREFIX - bits);
    n->kind = (enum node_kind)kind;
    switch (kind) {
    case NODE_SYNTHETIC:
        n->payload = payload;
        return synthetic_possible(n->view, payload);
    case NODE_GAP:
        n->payload = payload;
        return !node_view_volume(n->view);
    case NODE_OBJECT:
        n->addr = payload;
        return node_view_volume(n->view);
    case NODE_BEYOND:
        n->addr = payload;
        return true;
    default:
        return false;
    }
}

bool node_decode(uint64_t number, struct node *out)
{
    struct node n = {0};
    bool ok = number & STREAM_BIT ? decode_stream(number, &n) : decode_other(number, &n);

    if (ok)
        *out = n;
    return ok;
}

uint64_t node_encode(const struct node *node)
{
    switch (node->kind) {
    case NODE_SYNTHETIC:
    case NODE_GAP:
        return pack(node->view, node->kind, node->payload);
    case NODE_STREAM:
        return node_stream(node->view, node->addr, node->stream);
    case NODE_OBJECT:
    case NODE_BEYOND:
        break;
    }
    return pack(node->view, node->kind, node->addr);
}
