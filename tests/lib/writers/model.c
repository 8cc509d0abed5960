/* SPDX-License-Identifier: Apache-2.0 */
/* What a chain of specs must read as: a walk over the members that knows no format.  Beside it, what
 * one member holds, for the writers. */
#include "priv.h"

#include <stdlib.h>

void wr_pattern(uint64_t seed, uint64_t sector, uint8_t out[512])
{
    uint64_t state = seed * 31 + sector * UINT64_C(0x100000001b3);
    unsigned i, k;

    for (i = 0; i < 512; i += 8) {
        uint64_t v = i == 0 ? sector : i == 8 ? seed : wr_random(&state);

        if (i >= 256) /* half of it compresses, for streams */
            v = (v & 0xff) * UINT64_C(0x0101010101010101);
        for (k = 0; k < 8; k++)
            out[i + k] = (uint8_t)(v >> (8 * k));
    }
    out[511] |= 1;
}

/* The extent of a VMDK at this position, and where it begins; NULL for other kinds. */
static const struct wr_extent *extent_at(const struct wr_spec *spec, uint64_t off,
                                         uint64_t *out_end)
{
    uint64_t end = 0;
    size_t i;

    *out_end = spec->size;
    for (i = 0; i < spec->n_extents; i++) {
        end += spec->extents[i].size;
        if (off < end) {
            *out_end = end < spec->size ? end : spec->size;
            return &spec->extents[i];
        }
    }
    return NULL;
}

static bool stores_all(const struct wr_spec *spec, const struct wr_extent *extent)
{
    if (extent)
        return extent->kind == WR_EXTENT_FLAT;
    return wr_unit(spec) == 0 || spec->kind == WR_VHDX_FIXED || spec->kind == WR_VMDK_FLAT;
}

enum wr_state wr_local(const struct wr_spec *spec, uint64_t off, uint64_t *out_len,
                       const struct wr_run **out_run)
{
    const struct wr_run *found = NULL;
    const struct wr_extent *extent;
    enum wr_state state = WR_ABSENT;
    uint64_t end = spec->size, extent_end;
    size_t i;

    for (i = spec->n_runs; i-- > 0 && !found;) {
        const struct wr_run *r = &spec->runs[i];

        if (off >= r->off && off - r->off < r->len) {
            found = r;
            state = r->state;
            if (r->len - (off - r->off) < end - off)
                end = off + (r->len - (off - r->off));
        } else if (r->off > off && r->off < end) {
            end = r->off;
        }
    }
    extent = extent_at(spec, off, &extent_end);
    if (extent_end < end)
        end = extent_end;
    if (extent && extent->kind == WR_EXTENT_ZERO)
        state = WR_ZEROS;
    if (extent && extent->kind == WR_EXTENT_NOACCESS)
        state = WR_NOACCESS;
    if (state == WR_ABSENT && stores_all(spec, extent))
        state = WR_ZEROS;
    if (out_len)
        *out_len = end - off;
    if (out_run)
        *out_run = state == WR_DATA ? found : NULL;
    return state;
}

/* One piece of WR_DATA. */
static void run_bytes(const struct wr_run *run, uint64_t off, uint8_t *buf, uint64_t len)
{
    uint8_t sector[512];

    if (run->bytes) {
        memcpy(buf, run->bytes + (off - run->off), len);
        return;
    }
    while (len) {
        uint64_t skip = off % 512, n = 512 - skip < len ? 512 - skip : len;

        wr_pattern(run->seed, off / 512, sector);
        memcpy(buf, sector + skip, n);
        off += n;
        buf += n;
        len -= n;
    }
}

void wr_local_bytes(const struct wr_spec *spec, uint64_t off, uint8_t *buf, uint64_t len)
{
    while (len && off < spec->size) {
        const struct wr_run *run;
        uint64_t n;

        (void)wr_local(spec, off, &n, &run);
        if (n > len)
            n = len;
        if (run)
            run_bytes(run, off, buf, n);
        /* else: new files hold zeros already; touching them would cost memory */
        off += n;
        buf += n;
        len -= n;
    }
}

enum wr_state wr_unit_state(const struct wr_spec *spec, uint64_t off, uint64_t len)
{
    uint64_t end = off + len < spec->size ? off + len : spec->size, n;
    enum wr_state first = wr_local(spec, off, &n, NULL), state;
    bool same = true, absent = first == WR_ABSENT;

    for (off += n; off < end; off += n) {
        state = wr_local(spec, off, &n, NULL);
        same = same && state == first;
        absent = absent || state == WR_ABSENT;
    }
    if (same)
        return first;
    return absent && spec->parent ? WR_MIXED : WR_DATA;
}

enum wr_state wr_answer(const struct wr_spec *tip, uint64_t off, uint64_t *out_len,
                        unsigned *out_member, const struct wr_run **out_run)
{
    const struct wr_spec *m;
    uint64_t len = UINT64_MAX, n;
    unsigned i = 0;

    *out_run = NULL;
    for (m = tip; m && off < m->size; m = m->parent, i++) {
        enum wr_state state = wr_local(m, off, &n, out_run);

        len = n < len ? n : len;
        if (state != WR_ABSENT) {
            *out_len = len;
            *out_member = i;
            return state;
        }
    }
    for (; m; m = m->parent) /* past the end of a smaller parent nothing below it shows through */
        i++;
    *out_len = len;
    *out_member = i;
    return WR_ABSENT;
}

enum wr_state wr_provenance(const struct wr_spec *tip, uint64_t off, unsigned *out_member)
{
    const struct wr_run *run;
    uint64_t len;

    return wr_answer(tip, off, &len, out_member, &run);
}

void wr_expect(const struct wr_spec *tip, uint64_t off, uint8_t *buf, uint64_t len, uint8_t *bad)
{
    uint64_t first = off / 512, n, i;

    for (; len; off += n, buf += n, len -= n) {
        const struct wr_run *run;
        unsigned member;
        enum wr_state state = wr_answer(tip, off, &n, &member, &run);

        n = n < len ? n : len;
        if (state == WR_NOACCESS) {
            if (!bad)
                wr_die("byte %llu cannot be read", (unsigned long long)off);
            for (i = off / 512; i <= (off + n - 1) / 512; i++)
                bad[i - first] = 1;
        } else if (state == WR_DATA) {
            run_bytes(run, off, buf, n);
        } else {
            memset(buf, 0, n);
        }
    }
}

/* ---- where units lie ---- */

uint64_t *wr_places(const struct wr_knobs *knobs, uint64_t n, uint64_t *out_total)
{
    uint64_t *p = wr_alloc(n, sizeof(*p)), at = 0, i, state = knobs->shuffle;

    for (i = 0; i < n; i++) {
        if (i % 2)
            at += knobs->gap;
        p[i] = at++;
    }
    for (i = n; knobs->shuffle && i > 1; i--) {
        uint64_t k = wr_below(&state, i), v = p[k];

        p[k] = p[i - 1];
        p[i - 1] = v;
    }
    *out_total = at;
    return p;
}

bool wr_place_is_gap(const uint64_t *places, uint64_t n, uint64_t place)
{
    uint64_t i;

    for (i = 0; i < n; i++)
        if (places[i] == place)
            return false;
    return true;
}
