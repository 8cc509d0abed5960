/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzer input to chain.  Every byte sequence is a valid plan: each choice takes a byte or more, and
 * missing bytes are zeros, so that small changes of the input are small changes of the chain. */
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

static unsigned take(struct plan_input *in)
{
    if (!in->len)
        return 0;
    in->len--;
    return *in->p++;
}

static uint64_t take64(struct plan_input *in)
{
    uint64_t v = 0;
    int i;

    for (i = 0; i < 8; i++)
        v = v << 8 | take(in);
    return v;
}

static const enum wr_kind vmdk_kinds[] = {WR_VMDK_SPARSE,   WR_VMDK_COWD,  WR_VMDK_SESPARSE,
                                          WR_VMDK_STREAM,   WR_VMDK_SPLIT, WR_VMDK_CUSTOM,
                                          WR_VMDK_SESPARSE, WR_VMDK_COWD};

static enum wr_kind kind_of(unsigned family, unsigned choice, bool base)
{
    if (family == 0)
        return base && choice % 5 == 0 ? WR_VMDK_FLAT : vmdk_kinds[choice % 8];
    if (family == 1)
        return !base ? WR_VHD_DIFF : choice % 4 ? WR_VHD_DYNAMIC : WR_VHD_FIXED;
    return !base ? WR_VHDX_DIFF : choice % 4 ? WR_VHDX_DYNAMIC : WR_VHDX_FIXED;
}

static uint64_t size_of(struct plan_input *in, unsigned family, uint32_t sector, bool *huge)
{
    unsigned a = take(in), b = take(in);

    if (family == 0) /* 512 bytes … 1.1 MiB, any sector */
        return 512 * (1 + a + (b % 8) * 256);
    if (family == 1)
        return 512 * (1 + a + (b % 32) * 256);
    *huge = *huge || b % 8 == 7;
    if (*huge) /* around the first chunk's end: bitmap entries in the middle of the table */
        return 4096 * MIB * (sector / 512) + ((uint64_t)a - 100) * sector;
    return sector * (1 + a) + (b % 6) * MIB;
}

/* ---- content ---- */

/* A disk of gigabytes: a few runs at the borders of chunks. */
static void huge_runs(struct plan_member *m, uint64_t *state)
{
    uint64_t sector = m->spec.sector ? m->spec.sector : 512, size = m->spec.size;
    uint64_t border = 4096 * MIB * (sector / 512), unit = wr_unit(&m->spec);
    size_t i, n = 1 + wr_below(state, 6);

    m->runs = calloc(n, sizeof(*m->runs));
    if (!m->runs)
        abort();
    for (i = 0; i < n; i++) {
        uint64_t near = wr_below(state, 3) == 0 ? 0 : border;
        uint64_t off = near + wr_below(state, 2 * MIB / sector) * sector;
        struct wr_run *r = &m->runs[i];

        off = off > MIB ? off - MIB : off;
        r->off = off < size ? off : size - sector;
        r->len = (1 + wr_below(state, 300)) * sector;
        r->state = WR_DATA;
        r->seed = wr_random(state);
        if (wr_below(state, 4) == 0) { /* a whole block that hides the parent */
            r->off = r->off / unit * unit;
            r->len = unit;
            r->state = (enum wr_state)(WR_ZEROS + wr_below(state, 3));
        }
    }
    m->spec.runs = m->runs;
    m->spec.n_runs = n;
}

static void fill(struct plan_member *m, struct plan_input *in, bool huge)
{
    unsigned density = take(in);
    uint64_t state = take64(in);

    if (huge) {
        huge_runs(m, &state);
        return;
    }
    m->runs = wr_random_runs(&m->spec, &state, density % 101, &m->spec.n_runs);
    m->spec.runs = m->runs;
}

/* ---- knobs ---- */

static void vmdk_extents(struct plan_member *m, struct plan_input *in)
{
    static const enum wr_extent_kind kinds[] = {
        WR_EXTENT_SPARSE,   WR_EXTENT_ZERO,     WR_EXTENT_COWD,  WR_EXTENT_FLAT,
        WR_EXTENT_SESPARSE, WR_EXTENT_NOACCESS, WR_EXTENT_STREAM};
    bool custom = m->spec.kind == WR_VMDK_CUSTOM;
    unsigned n = 1 + take(in) % PLAN_EXTENTS, i;
    uint64_t left = m->spec.size, part;

    /* grains of all kinds begin at multiples of 64 KiB, so that runs can be aligned */
    for (i = 0; i < n && left; i++) {
        struct wr_extent *x = &m->extents[i];

        part = (1 + take(in) % 8) * 65536;
        x->size = i + 1 == n || part > left ? left : part;
        x->kind = custom ? kinds[take(in) % 7] : WR_EXTENT_SPARSE;
        if (x->kind == WR_EXTENT_FLAT)
            x->start_sector = take(in) % 9;
        left -= x->size;
    }
    m->spec.extents = m->extents;
    m->spec.n_extents = i;
}

static void vmdk_knobs(struct plan *plan, struct plan_member *m, struct plan_input *in)
{
    static const uint32_t units[] = {4096, 8192, 16384, 65536};
    struct wr_knobs *k = &m->spec.knobs;
    unsigned a = take(in), b = take(in), c = take(in);

    m->spec.unit = units[a % 4];
    if (m->spec.kind == WR_VMDK_COWD)
        m->spec.unit = a % 4 ? 512u << a % 4 : 0;
    if (m->spec.kind == WR_VMDK_SESPARSE)
        m->spec.unit = 0;
    k->zero_grain = a & 4;
    k->no_redundant = a & 8;
    k->primary_last = a & 16;
    k->descriptor_late = a & 32;
    k->no_footer = a & 64;
    k->stored_deflate = a & 128;
    k->n_gtes = b & 1 ? 128u << (b >> 1 & 1) : 0;
    k->cowd_parent_name = b & 4;
    k->tail_pad = b & 8 ? (b >> 4) * 512u : 0;
    k->eol = c & 1 ? "\r\n" : NULL;
    k->prologue = c & 2 ? "\xef\xbb\xbf# disk descriptorFILE\n" : NULL;
    k->replay_journal = c == 0xff;
    if (m->spec.kind == WR_VMDK_SPLIT || m->spec.kind == WR_VMDK_CUSTOM) {
        vmdk_extents(m, in);
        if (m->spec.kind == WR_VMDK_CUSTOM) {
            m->spec.unit = 65536; /* of the runs: a multiple of every extent's grain */
            for (a = 0; a < m->spec.n_extents; a++)
                m->extents[a].unit = m->extents[a].kind == WR_EXTENT_COWD       ? 512
                                     : m->extents[a].kind == WR_EXTENT_SESPARSE ? 4096
                                                                                : units[c >> 2 & 3];
        }
    }
    if (k->replay_journal)
        for (a = 0; a < (m->spec.n_extents ? m->spec.n_extents : 1); a++)
            if (m->spec.n_extents ? m->extents[a].kind == WR_EXTENT_SESPARSE
                                  : m->spec.kind == WR_VMDK_SESPARSE)
                plan->unopenable = true;
}

static void vhd_knobs(struct plan_member *m, struct plan_input *in)
{
    static const uint32_t units[] = {512u << 10, 2u << 20, 4096, 65536};
    static const char *const creators[] = {"win ", "d2v ", "vpc ", "qem2"};
    static const char *const locators[] = {NULL, "W2ru", "W2ku", "Wi2r W2ru", "MacX W2ru"};
    struct wr_knobs *k = &m->spec.knobs;
    unsigned a = take(in), b = take(in);

    m->spec.unit = units[a % 4];
    k->no_front_footer = (a & 0x0c) == 4 && m->spec.kind != WR_VHD_FIXED;
    k->no_tail_footer = (a & 0x0c) == 8 && m->spec.kind != WR_VHD_FIXED;
    k->footer_511 = (a & 0xf0) == 0x10 && !k->no_front_footer && !k->no_tail_footer;
    k->bitmap_zero = a & 0x80;
    k->creator = creators[b % 4];
    k->space_in_sectors = b & 4;
    k->locators = locators[(b >> 3) % 5];
    k->no_time = b & 0x40;
    if (b % 4 == 2 && m->spec.size >= 64 * KIB) { /* "vpc ": the geometry counts */
        k->chs_size = k->current_size = m->spec.size;
        m->spec.size = wr_chs_size(m->spec.size);
    } else if (b % 4 == 2) {
        k->creator = NULL;
    }
}

static void vhdx_knobs(struct plan_member *m, struct plan_input *in, bool huge)
{
    struct wr_knobs *k = &m->spec.knobs;
    unsigned a = take(in), b = take(in);

    m->spec.unit = (uint32_t)(MIB << (a % 4 == 3 ? 3 : a % 4));
    k->newer = (enum wr_newer)((a >> 2) % 3);
    if (k->newer == WR_NEWER_FIRST)
        k->bad_header[1] = a & 0x10;
    else
        k->bad_header[0] = a & 0x10;
    k->bad_region[a >> 6 & 1] = a & 0x20;
    k->log = (enum wr_log)(b % 5);
    if (k->bad_region[0] || k->bad_region[1] ||
        (huge && (k->log == WR_LOG_BAT || k->log == WR_LOG_ALL)))
        k->log = b % 5 == WR_LOG_META ? WR_LOG_META : WR_LOG_EMPTY;
    k->log_wrap = b & 8;
    k->log_torn = b & 16;
    k->log_stale = b & 32;
    k->full_as_partial = b & 64;
    k->sb_always = b & 128;
    if (m->spec.kind == WR_VHDX_DIFF && (a & 0x80)) { /* only the second linkage fits */
        memset(m->guids, 0x5a, 16);
        wr_guid(m->spec.parent, m->guids + 16);
        k->linkage = m->guids;
        k->linkage2 = m->guids + 16;
    }
}

static void common_knobs(struct plan_member *m, struct plan_input *in)
{
    struct wr_knobs *k = &m->spec.knobs;
    unsigned a = take(in);

    k->shuffle = a & 1 ? a + 1 : 0;
    k->gap = a & 2 ? 1 + (a >> 2 & 1) : 0;
    k->junk = a & 8;
    if (m->spec.parent && (a & 0xf0) == 0x10) { /* a hint that leads nowhere: found by identity */
        (void)snprintf(m->hint, sizeof(m->hint), "[datastore1] moved/elsewhere.vmdk");
        k->hint_relative = k->hint_absolute = m->hint;
        k->parent_name_field = "elsewhere";
    }
}

void plan_decode(struct plan *plan, const uint8_t *data, size_t size)
{
    struct plan_input in = {data, size};
    unsigned a = take(&in), family = a % 3, i;
    uint32_t sector = a & 0x80 ? 4096 : 512;
    bool huge = false;

    memset(plan, 0, sizeof(*plan));
    plan->n = 1 + (a >> 2) % PLAN_MEMBERS;
    plan->flip = (uint8_t)take(&in);
    plan->mutate = plan->flip & 1;
    if (plan->flip < 2)
        plan->flip = 0xff;
    plan->random = take64(&in);
    for (i = 0; i < plan->n; i++) {
        static const char *const ends[] = {"vmdk", "vhd", "vhdx"};
        struct plan_member *m = &plan->m[i];
        unsigned choice = take(&in);

        m->spec.kind = kind_of(family, choice, i == 0);
        m->spec.parent = i ? &plan->m[i - 1].spec : NULL;
        m->spec.sector = family == 2 ? sector : 0;
        m->spec.id = 1000 + i;
        (void)snprintf(m->name, sizeof(m->name), "m%u.%s%s", i, family && i ? "a" : "",
                       ends[family]);
        m->spec.name = m->name;
        m->spec.size = size_of(&in, family, sector, &huge);
        if (huge && m->spec.kind == WR_VHDX_FIXED)
            m->spec.kind = WR_VHDX_DYNAMIC;
        if (i && choice & 0x40) /* usually child and parent have one size */
            m->spec.size = plan->m[i - 1].spec.size;
        if (family == 0)
            vmdk_knobs(plan, m, &in);
        else if (family == 1)
            vhd_knobs(m, &in);
        else
            vhdx_knobs(m, &in, huge);
        common_knobs(m, &in);
        fill(m, &in, huge);
    }
}

void plan_clear(struct plan *plan)
{
    size_t i;

    for (i = 0; i < plan->n; i++)
        free(plan->m[i].runs);
}

void plan_print(const struct plan *plan)
{
    size_t i, k;

    (void)fprintf(stderr, "%zu members, %s\n", plan->n,
                  plan->mutate ? "one byte changed" : "sound");
    for (i = 0; i < plan->n; i++) {
        const struct wr_spec *s = &plan->m[i].spec;
        const struct wr_knobs *n = &s->knobs;

        (void)fprintf(stderr, "%s: %s, %llu bytes, unit %u, sector %u, shuffle %llu gap %u\n",
                      s->name, wr_kind_name(s->kind), (unsigned long long)s->size, wr_unit(s),
                      s->sector ? s->sector : 512, (unsigned long long)n->shuffle, n->gap);
        (void)fprintf(
            stderr,
            "  vmdk: zero_grain %d no_redundant %d no_footer %d n_gtes %u pad %u extents %zu\n",
            n->zero_grain, n->no_redundant, n->no_footer, n->n_gtes, n->tail_pad, s->n_extents);
        for (k = 0; k < s->n_extents; k++)
            (void)fprintf(stderr, "    extent kind %d, %llu bytes\n", (int)s->extents[k].kind,
                          (unsigned long long)s->extents[k].size);
        (void)fprintf(stderr,
                      "  vhd: creator %s footers %d%d%d; vhdx: newer %d bad %d%d%d%d log %d\n",
                      n->creator ? n->creator : "-", n->no_front_footer, n->no_tail_footer,
                      n->footer_511, (int)n->newer, n->bad_header[0], n->bad_header[1],
                      n->bad_region[0], n->bad_region[1], (int)n->log);
        for (k = 0; k < s->n_runs && k < 20; k++)
            (void)fprintf(stderr, "    %llu+%llu state %d\n", (unsigned long long)s->runs[k].off,
                          (unsigned long long)s->runs[k].len, (int)s->runs[k].state);
    }
}
