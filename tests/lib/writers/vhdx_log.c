/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VHDX log that waits for its replay ([MS-VHDX] 2.3): the file is made stale where the log knows
 * better, and the entries that bring it about are written into the ring.
 *
 * Threads: none.
 */
#include "priv.h"

#include <stdlib.h>

#define SECTOR       UINT64_C(4096)
#define ENTRY_HEADER 64u
#define DESCRIPTOR   32u
#define DATA_BYTES   4084u

struct change {
    uint64_t off;   /* in the file, multiple of 4096 */
    uint64_t zeros; /* bytes of zeros; 0: data */
    uint8_t data[SECTOR];
};

struct ring {
    struct wr_file *f;
    const struct wr_vhdx_place *place;
    uint64_t pos;      /* next free byte, from the start of the log */
    uint64_t tail;     /* where the first pending entry begins */
    uint64_t sequence; /* of the next entry */
    uint64_t flushed, last;
};

static void le(uint8_t *p, unsigned width, uint64_t v)
{
    unsigned i;

    for (i = 0; i < width; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

/* 2.3.1.2, 2.3.1.3: one descriptor; a data sector loses its first 8 and last 4 bytes to it. */
static void put_descriptor(uint8_t *p, const struct change *c, uint64_t sequence)
{
    if (c->zeros) {
        memcpy(p, "zero", 4);
        le(p + 8, 8, c->zeros);
    } else {
        memcpy(p, "desc", 4);
        memcpy(p + 4, c->data + SECTOR - 4, 4); /* TrailingBytes */
        memcpy(p + 8, c->data, 8);              /* LeadingBytes */
    }
    le(p + 16, 8, c->off);
    le(p + 24, 8, sequence);
}

static void put_data_sector(uint8_t *p, const struct change *c, uint64_t sequence)
{
    memcpy(p, "data", 4);
    le(p + 4, 4, sequence >> 32);
    memcpy(p + 8, c->data + 8, DATA_BYTES);
    le(p + SECTOR - 4, 4, sequence & UINT32_MAX);
}

/* 2.3.1: one entry at the head of the ring; it may wrap.  `valid`: its checksum is right. */
static void put_entry(struct ring *r, const struct change *changes, uint64_t n, bool valid,
                      const uint8_t guid[16])
{
    uint64_t head = wr_up(ENTRY_HEADER + DESCRIPTOR * n, SECTOR), len = head, i, at;
    uint8_t *e;

    for (i = 0; i < n; i++)
        len += changes[i].zeros ? 0 : SECTOR;
    e = wr_alloc(1, len);
    memcpy(e, "loge", 4);
    le(e + 8, 4, len);
    le(e + 12, 4, r->tail);
    le(e + 16, 8, r->sequence);
    le(e + 24, 4, n);
    memcpy(e + 32, guid, 16);
    le(e + 48, 8, r->flushed);
    le(e + 56, 8, r->last);
    for (i = 0, at = head; i < n; i++) {
        put_descriptor(e + ENTRY_HEADER + DESCRIPTOR * i, &changes[i], r->sequence);
        if (!changes[i].zeros) {
            put_data_sector(e + at, &changes[i], r->sequence);
            at += SECTOR;
        }
    }
    le(e + 4, 4, wr_crc32c(e, len, 4) ^ (valid ? 0 : 0xff));
    if (valid)
        wr_mark(r->f, WR_MARK_LOG, WR_ROLE_DEFINES, "log", r->sequence, r->place->log_off + r->pos,
                len);
    for (i = 0; i < len; i += SECTOR)
        wr_put(r->f, r->place->log_off + (r->pos + i) % r->place->log_len, e + i, SECTOR);
    r->pos = (r->pos + len) % r->place->log_len;
    r->sequence++;
    free(e);
}

/* All sectors of [off, off+len) that are not zero become changes, and are then overwritten by `stale`
 * (0 or 0xa5).  Runs of zero sectors become zero descriptors.  Returns the number. */
static uint64_t take_range(struct wr_file *f, uint64_t off, uint64_t len, int stale,
                           struct change *out, uint64_t room)
{
    static const uint8_t zeros[SECTOR];
    uint64_t n = 0, i;

    for (i = 0; i < len && n < room; i += SECTOR) {
        bool zero = memcmp(f->bytes + off + i, zeros, SECTOR) == 0;

        if (zero && !stale)
            continue;
        if (zero && n && out[n - 1].zeros && out[n - 1].off + out[n - 1].zeros == off + i) {
            out[n - 1].zeros += SECTOR;
        } else {
            out[n].off = off + i;
            out[n].zeros = zero ? SECTOR : 0;
            memcpy(out[n].data, f->bytes + off + i, SECTOR);
            n++;
        }
        wr_fill(f, off + i, SECTOR, stale);
    }
    return n;
}

/* Old leavings: an entry of another log, and one of this log with a lower sequence number. */
static void put_stale(struct ring *r, const uint8_t guid[16])
{
    static const uint8_t other[16] = {0xee, 1, 2, 3, 4, 5, 6, 7, 0x88};
    struct change c = {.off = 0x200000, .zeros = 4096}; /* would destroy the metadata region */
    uint64_t sequence = r->sequence;

    r->sequence = sequence + 50;
    r->pos = r->place->log_len / 2;
    r->tail = r->pos;
    put_entry(r, &c, 1, true, other);
    r->f->n_marks--;
    r->sequence = 2;
    r->tail = r->pos;
    put_entry(r, &c, 1, true, guid);
    r->f->n_marks--;
    r->sequence = sequence;
}

void wr_vhdx_log(const struct wr_spec *spec, struct wr_file *f, const struct wr_vhdx_place *place)
{
    const enum { ROOM = 200 } room = ROOM;
    struct change *changes = wr_alloc(ROOM, sizeof(*changes));
    enum wr_log what = spec->knobs.log;
    struct ring r = {.f = f, .place = place, .sequence = 9};
    uint64_t n;

    r.flushed = r.last = f->len;
    if (spec->knobs.log_stale)
        put_stale(&r, place->log_guid);
    r.pos = spec->knobs.log_wrap ? place->log_len - 2 * SECTOR : 4 * SECTOR;
    r.tail = r.pos;
    if (what == WR_LOG_REGION || what == WR_LOG_ALL) {
        n = take_range(f, 0x30000, 0x20000, 0xa5, changes, room);
        put_entry(&r, changes, n, true, place->log_guid);
    }
    if (what == WR_LOG_META || what == WR_LOG_ALL) {
        n = take_range(f, place->meta_off, 0x11000, 0, changes, room);
        put_entry(&r, changes, n, true, place->log_guid);
    }
    if (what == WR_LOG_BAT || what == WR_LOG_ALL) {
        n = take_range(f, place->bat_off, place->bat_len, 0, changes, room);
        if (n == room)
            wr_die("%s: allocation table too large for the log", spec->name);
        put_entry(&r, changes, n, true, place->log_guid);
    }
    if (spec->knobs.log_torn) { /* begun, not finished: changes everything if it were believed */
        changes[0] = (struct change){.off = place->bat_off, .zeros = 4096};
        changes[1] = (struct change){.off = place->meta_off, .zeros = 8192};
        put_entry(&r, changes, 2, false, place->log_guid);
    }
    free(changes);
}
