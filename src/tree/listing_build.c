/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building one listing: walk, then make names unique (rules in listing.h).
 *
 * Time is linear in the number of entries whatever the names are: the hash is keyed with random
 * bytes, and POSITION differs for every entry, so a made-up name can only collide with names that
 * are really there, each of which costs one probe.  All memory is charged to the cache's bound
 * before it is asked for.  One thread builds; nothing is shared until it has finished.
 */
#include "tree/listing_private.h"

#include "base/limits.h"
#include "tree/names.h"
#include "tree/node.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- hash: SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF", 2012) ---- */

static uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void sip_rounds(uint64_t v[4], unsigned n)
{
    while (n--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotl(v[1], 13) ^ v[0];
        v[3] = rotl(v[3], 16) ^ v[2];
        v[0] = rotl(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotl(v[1], 17) ^ v[2];
        v[3] = rotl(v[3], 21) ^ v[0];
        v[2] = rotl(v[2], 32);
    }
}

static uint64_t hash(const struct listing_key *key, const char *p, size_t len)
{
    uint64_t v[4] = {key->k0 ^ UINT64_C(0x736f6d6570736575), key->k1 ^ UINT64_C(0x646f72616e646f6d),
                     key->k0 ^ UINT64_C(0x6c7967656e657261),
                     key->k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t word;
    size_t i;

    for (i = 0; i + 8 <= len; i += 8) {
        memcpy(&word, p + i, 8);
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
    }
    word = 0;
    memcpy(&word, p + i, len - i);
    word |= (uint64_t)len << 56;
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- memory ---- */

/* realloc that charges the growth to the bound of all listings. */
static int grow(struct listing_private *l, void **p, size_t old_bytes, size_t new_bytes,
                struct vd_err *err)
{
    size_t more = new_bytes - old_bytes;
    void *q;

    if (atomic_fetch_add(l->live, more) + more > LISTING_LIVE_BYTES) {
        (void)atomic_fetch_sub(l->live, more);
        return vd_fail(err, VD_ELIMIT,
                       "directory %" PRIu64 ": its listing and those in use need more than %zu "
                       "bytes (LISTING_LIVE_BYTES)",
                       l->addr, (size_t)LISTING_LIVE_BYTES);
    }
    q = realloc(*p, new_bytes);
    if (!q) {
        (void)atomic_fetch_sub(l->live, more);
        return vd_fail(err, VD_ENOMEM, "directory %" PRIu64 ": no memory for its listing", l->addr);
    }
    l->bytes += more;
    *p = q;
    return 0;
}

static int add_name(struct listing_private *l, const char *name, size_t len, uint32_t *out_off,
                    struct vd_err *err)
{
    if (l->cap_names - l->len_names < len + 1) {
        size_t cap = l->cap_names ? l->cap_names * 2 : 4096;
        int rc = grow(l, (void **)&l->shown.names, l->cap_names, cap, err);

        if (rc)
            return rc;
        l->cap_names = cap; /* >= 4096 more: enough for any name */
    }
    *out_off = (uint32_t)l->len_names; /* LISTING_LIVE_BYTES < 2^32 */
    memcpy(l->shown.names + l->len_names, name, len);
    l->shown.names[l->len_names + len] = '\0';
    l->len_names += len + 1;
    return 0;
}

static int add_entry(struct listing_private *l, const struct listing_entry *entry,
                     struct vd_err *err)
{
    struct listing *s = &l->shown;

    if (s->n == VD_MAX_DIR_ENTRIES)
        return vd_fail(err, VD_ELIMIT,
                       "directory %" PRIu64 " has more than %u entries "
                       "(VD_MAX_DIR_ENTRIES)",
                       l->addr, VD_MAX_DIR_ENTRIES);
    if (s->n == l->cap_v) {
        size_t cap = l->cap_v ? l->cap_v * 2 : 64;
        int rc = grow(l, (void **)&s->v, l->cap_v * sizeof(*s->v), cap * sizeof(*s->v), err);

        if (rc)
            return rc;
        l->cap_v = cap;
    }
    s->v[s->n++] = *entry;
    return 0;
}

/* ---- the walk ---- */

struct walk {
    struct listing_private *l;
    struct vd_str text; /* reused for every name */
    struct vd_err *err;
    int rc;
};

static int collect(void *ctx, const struct fs_entry *e, uint64_t next_cookie)
{
    struct walk *w = ctx;
    struct listing_entry entry = {.node = node_object(w->l->view, e->addr, e->stream),
                                  .kind = (uint8_t)e->kind};

    (void)next_cookie;
    w->text.len = 0;
    names_escape(&w->text, e->name, e->name_len);
    if (w->text.failed) {
        w->rc =
            vd_fail(w->err, VD_ENOMEM, "directory %" PRIu64 ": no memory for a name", w->l->addr);
        return 1;
    }
    entry.renamed = w->text.len > VD_MAX_NAME;
    entry.name_len = (uint16_t)names_cut(w->text.p, w->text.len, VD_MAX_NAME);
    w->rc = add_name(w->l, w->text.p, entry.name_len, &entry.name_off, w->err);
    if (!w->rc)
        w->rc = add_entry(w->l, &entry, w->err);
    return w->rc != 0;
}

/* ---- unique names ---- */

/* The slot that holds the name, or the free one where it belongs. */
static uint32_t *find_slot(const struct listing_private *l, const char *name, size_t len)
{
    size_t i = (size_t)hash(&l->key, name, len) & (l->n_slots - 1);

    for (; l->slot[i]; i = (i + 1) & (l->n_slots - 1)) {
        const struct listing_entry *e = &l->shown.v[l->slot[i] - 1];

        if (e->name_len == len && memcmp(l->shown.names + e->name_off, name, len) == 0)
            break;
    }
    return &l->slot[i];
}

/* Tries base + suffix as the name of entry i; *out_done tells whether it was free. */
static int try_name(struct listing_private *l, size_t i, const char *base, size_t base_len,
                    const char *suffix, bool *out_done, struct vd_err *err)
{
    struct listing_entry *e = &l->shown.v[i];
    char name[VD_MAX_NAME + 1];
    size_t suffix_len = strlen(suffix);
    size_t len = names_cut(base, base_len, VD_MAX_NAME - suffix_len);
    uint32_t *slot;
    int rc;

    memcpy(name, base, len);
    memcpy(name + len, suffix, suffix_len);
    len += suffix_len;
    slot = find_slot(l, name, len);
    *out_done = *slot == 0;
    if (*slot)
        return 0;
    rc = add_name(l, name, len, &e->name_off, err);
    if (rc)
        return rc;
    e->name_len = (uint16_t)len;
    *slot = (uint32_t)i + 1;
    return 0;
}

static int rename_entry(struct listing_private *l, size_t i, struct vd_err *err)
{
    const struct listing_entry *e = &l->shown.v[i];
    char base[VD_MAX_NAME], suffix[96];
    size_t base_len = e->name_len;
    struct node node;
    uint64_t round = 0;
    bool done = false;
    int rc = 0;

    memcpy(base, l->shown.names + e->name_off, base_len);
    (void)node_decode(e->node, &node); /* our own number */
    (void)snprintf(suffix, sizeof(suffix), "~%" PRIu64, node.addr);
    while (!rc && !done) {
        rc = try_name(l, i, base, base_len, suffix, &done, err);
        if (round++ == 0)
            (void)snprintf(suffix, sizeof(suffix), "~%" PRIu64 "~%zu", node.addr, i + 1);
        else
            (void)snprintf(suffix, sizeof(suffix), "~%" PRIu64 "~%zu~%" PRIu64, node.addr, i + 1,
                           round);
    }
    return rc;
}

static int make_unique(struct listing_private *l, struct vd_err *err)
{
    struct listing *s = &l->shown;
    size_t i, n_slots = 8;
    int rc;

    while (n_slots < 2 * s->n)
        n_slots *= 2;
    rc = grow(l, (void **)&l->slot, 0, n_slots * sizeof(*l->slot), err);
    if (rc)
        return rc;
    memset(l->slot, 0, n_slots * sizeof(*l->slot));
    l->n_slots = n_slots;
    for (i = 0; i < s->n; i++) {
        struct listing_entry *e = &s->v[i];
        uint32_t *slot;

        if (e->renamed)
            continue;
        slot = find_slot(l, s->names + e->name_off, e->name_len);
        if (*slot)
            e->renamed = true;
        else
            *slot = (uint32_t)i + 1;
    }
    for (i = 0; i < s->n && !rc; i++)
        if (s->v[i].renamed)
            rc = rename_entry(l, i, err);
    return rc;
}

/* Gives back the slack of doubling. */
static void shrink(struct listing_private *l)
{
    size_t v_bytes = l->shown.n * sizeof(*l->shown.v);
    size_t slack = l->cap_v * sizeof(*l->shown.v) - v_bytes + l->cap_names - l->len_names;
    void *p;

    if (!l->shown.n)
        return;
    p = realloc(l->shown.v, v_bytes);
    if (!p)
        return;
    l->shown.v = p;
    p = realloc(l->shown.names, l->len_names);
    if (!p)
        return;
    l->shown.names = p;
    l->bytes -= slack;
    (void)atomic_fetch_sub(l->live, slack);
}

int listing_build(struct listing_private *l, struct fs *fs, struct vd_err *err)
{
    struct vd_err local = VD_ERR_INIT;
    struct walk w = {.l = l, .err = &local};
    int rc = fs_readdir(fs, l->addr, 0, collect, &w, &local);

    vd_str_clear(&w.text);
    if (w.rc)
        rc = w.rc;
    if (rc && (l->shown.n == 0 || rc == -VD_ENOMEM)) {
        if (err)
            *err = local;
        return rc;
    }
    l->shown.rc = rc;
    l->shown.err = local;
    rc = make_unique(l, err);
    if (!rc)
        shrink(l);
    return rc;
}

void listing_clear(struct listing_private *l)
{
    free(l->shown.v);
    free(l->shown.names);
    free(l->slot);
    l->shown = (struct listing){.priv = l};
    l->slot = NULL;
    l->n_slots = l->cap_v = l->cap_names = l->len_names = 0;
    (void)atomic_fetch_sub(l->live, l->bytes);
    l->bytes = 0;
}

const struct listing_entry *listing_find(const struct listing *listing, const char *name)
{
    const struct listing_private *l = listing->priv;
    uint32_t *slot = find_slot(l, name, strlen(name));

    return *slot ? &listing->v[*slot - 1] : NULL;
}
