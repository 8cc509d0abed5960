/* SPDX-License-Identifier: Apache-2.0 */
/* The VHDX log: which sequence is active, torn entries, and the replayed view against a plain
 * byte-by-byte model. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "blk/layers.h"
#include "image/vhdx/vhdx.h"

#include <stdlib.h>
#include <string.h>

#define N 64u /* sectors of the ring */

static uint8_t ring[N * 4096];
static uint8_t page[8][4096];
static struct vhdx_guid guid;

static int setup(void **state)
{
    unsigned i;

    (void)state;
    memset(ring, 0, sizeof(ring));
    memcpy(guid.b, test_log_guid, 16);
    for (i = 0; i < 8; i++)
        test_fill(page[i], 4096, 100 + i);
    return 0;
}

static struct log_entry entry_of(uint32_t at, uint32_t tail, uint64_t sequence,
                                 const struct log_write *writes, uint32_t n)
{
    return (struct log_entry){.at = at,
                              .tail = tail,
                              .sequence = sequence,
                              .flushed = 1 << 20,
                              .last = 2 << 20,
                              .writes = writes,
                              .n_writes = n};
}

static uint32_t put(uint32_t at, uint32_t tail, uint64_t sequence, const struct log_write *writes,
                    uint32_t n)
{
    struct log_entry e = entry_of(at, tail, sequence, writes, n);

    return log_put(ring, N, &e);
}

static int decode(struct vhdx_log *log, struct vd_err *err)
{
    return vhdx_log_decode(ring, sizeof(ring), &guid, log, err);
}

static void expect(uint64_t n_entries, uint64_t first, uint64_t last, size_t n)
{
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_log log;

    assert_ok(decode(&log, &err));
    assert_int_equal(log.n_entries, n_entries);
    assert_int_equal(log.first_sequence, first);
    assert_int_equal(log.last_sequence, last);
    assert_int_equal(log.n, n);
    free(log.v);
}

static void empty_ring_is_corrupt(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_log log;

    (void)state;
    assert_fails(decode(&log, &err), VD_ECORRUPT, "no valid sequence");
    memset(ring, 0xff, sizeof(ring));
    assert_fails(decode(&log, &err), VD_ECORRUPT, "no valid sequence");
}

static void entries_with_all_kinds_of_writes(void **state)
{
    const struct log_write w[] = {
        {4096, 0, page[0]}, {8192, 65536, NULL}, {12288, 0, page[1]}, {0, 0, NULL}};
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_log log;

    (void)state;
    put(5, 5, 77, w, 4);
    assert_ok(decode(&log, &err));
    assert_int_equal(log.n, 3); /* zeros of no length are nothing */
    assert_int_equal(log.v[0].off, 4096);
    assert_int_equal(log.v[0].sector, 6);
    assert_memory_equal(log.v[0].lead, page[0], 8);
    assert_memory_equal(log.v[0].trail, page[0] + 4092, 4);
    assert_int_equal(log.v[1].len, 65536);
    assert_int_equal(log.v[1].sector, VHDX_PATCH_ZERO);
    assert_int_equal(log.v[2].sector, 7);
    assert_int_equal(log.flushed_size, 1 << 20);
    assert_int_equal(log.last_size, 2 << 20);
    free(log.v);
}

/* More descriptors than the first sector has room for (126). */
static void many_descriptors(void **state)
{
    struct log_write w[300];
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_log log;
    uint32_t i;

    (void)state;
    for (i = 0; i < 300; i++)
        w[i] = (struct log_write){(uint64_t)i * 8192, 4096, NULL};
    w[299].data = page[3];
    assert_int_equal(put(60, 60, 9, w, 300), 0); /* 3 descriptor sectors and 1 of data */
    assert_ok(decode(&log, &err));
    assert_int_equal(log.n, 300);
    assert_int_equal(log.v[126].off, 126 * 8192);
    assert_int_equal(log.v[299].sector, 63);
    free(log.v);
}

static void newest_sequence_wins(void **state)
{
    const struct log_write w = {4096, 0, page[0]};

    (void)state;
    put(put(0, 0, 5, &w, 1), 0, 6, &w, 1); /* 5, 6 at sectors 0 and 2 */
    expect(2, 5, 6, 2);
    put(put(20, 20, 3, &w, 1), 20, 4, &w, 1); /* an older one elsewhere */
    expect(2, 5, 6, 2);
    put(40, 40, 7, &w, 1); /* a newer one of one entry */
    expect(1, 7, 7, 1);
}

/* Only what lies between the head's tail and the head is replayed. */
static void replay_starts_at_the_tail(void **state)
{
    const struct log_write w = {4096, 0, page[0]};

    (void)state;
    put(0, 0, 1, &w, 1);
    put(2, 0, 2, &w, 1);
    put(4, 2, 3, &w, 1);
    expect(2, 2, 3, 2);
}

/* The head's tail was overwritten: the run is not a sequence; an older complete one is used. */
static void a_sequence_without_its_tail_is_none(void **state)
{
    const struct log_write w = {4096, 0, page[0]};
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_log log;

    (void)state;
    put(0, 50, 8, &w, 1);
    put(2, 50, 9, &w, 1);
    assert_fails(decode(&log, &err), VD_ECORRUPT, "no valid sequence");
    put(30, 30, 4, &w, 1);
    expect(1, 4, 4, 1);
    put(50, 50, 7, &w, 1); /* not a neighbour: there is no entry between */
    expect(1, 7, 7, 1);
}

static void wrapping(void **state)
{
    const struct log_write w[3] = {{4096, 0, page[0]}, {8192, 0, page[1]}, {12288, 0, page[2]}};

    (void)state;
    assert_int_equal(put(58, 58, 11, w, 3), 62);
    assert_int_equal(put(62, 58, 12, w, 3), 2); /* the entry itself wraps */
    assert_int_equal(put(2, 58, 13, w, 1), 4);
    expect(3, 11, 13, 7);
}

/* A ring that is full to the last sector. */
static void full_ring(void **state)
{
    const struct log_write w = {4096, 0, page[0]};
    uint32_t i;

    (void)state;
    for (i = 0; i < N; i += 2)
        put((10 + i) % N, 10, 100 + i / 2, &w, 1);
    expect(N / 2, 100, 100 + N / 2 - 1, N / 2);
}

/* Whatever byte of the newest entry is torn: it counts as not written, the older ones remain. */
static void torn_entries_are_ignored(void **state)
{
    const struct log_write w[2] = {{4096, 0, page[0]}, {8192, 4096, NULL}};
    uint32_t i;

    (void)state;
    put(put(0, 0, 5, w, 2), 0, 6, w, 2);
    expect(2, 5, 6, 4);
    for (i = 0; i < 2 * 4096; i += 13) {
        ring[2 * 4096 + i] ^= 0x40;
        expect(1, 5, 5, 2);
        ring[2 * 4096 + i] ^= 0x40;
    }
    expect(2, 5, 6, 4);
}

/* Fields that the checksum cannot catch, because it is right. */
static void each_field_is_checked(void **state)
{
    static const struct {
        uint32_t at;
        uint8_t value;
    } bad[] = {
        {0, 'x'},         /* signature */
        {9, 0x22},        /* length not whole sectors … */
        {8, 1},           /* … nor bytes */
        {11, 1},          /* longer than the ring */
        {13, 1},          /* tail not on a sector */
        {15, 1},          /* tail outside the ring */
        {26, 1},          /* too many descriptors */
        {24, 3},          /* one more than there are */
        {32, 0},          /* another log's entry */
        {64, 'x'},        /* descriptor signature */
        {64 + 17, 1},     /* file offset not on 4 KiB */
        {64 + 24, 9},     /* descriptor of another entry */
        {96 + 9, 1},      /* length of zeros not whole 4 KiB */
        {4096, 'x'},      /* data sector signature */
        {4096 + 4, 1},    /* sequence, high half */
        {8192 - 4, 0xff}, /* sequence, low half */
    };
    const struct log_write w[2] = {{4096, 0, page[0]}, {8192, 4096, NULL}};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        memset(ring, 0, sizeof(ring));
        put(put(0, 0, 5, w, 2), 0, 6, w, 2);
        expect(2, 5, 6, 4);
        ring[2 * 4096 + bad[i].at] = bad[i].value;
        if (bad[i].at < 8 || bad[i].at > 11) /* a wrong length has no checksum of its own */
            log_seal(ring, N, 2);
        expect(1, 5, 5, 2);
    }
    memset(ring, 0, sizeof(ring)); /* a gap in the numbers */
    put(put(0, 0, 5, w, 2), 0, 7, w, 2);
    expect(1, 5, 5, 2);
}

/* Entries aligned to more than 4 KiB carry padding. */
static void padding_is_allowed(void **state)
{
    const struct log_write w = {4096, 0, page[0]};
    struct log_entry e = entry_of(0, 0, 5, &w, 1);

    (void)state;
    e.padding = 14;
    assert_int_equal(log_put(ring, N, &e), 16);
    put(16, 0, 6, &w, 1);
    expect(2, 5, 6, 2);
}

/* ---- the replayed view ---- */

#define MODEL ((size_t)512 << 10)

/* Random writes, folded by the code and applied one by one to a copy. */
static void view_equals_model(void **state)
{
    static uint8_t file[MODEL / 2], model[MODEL], got[MODEL];
    uint32_t round;

    (void)state;
    for (round = 0; round < 60; round++) {
        struct vd_err err = VD_ERR_INIT;
        struct blkdev *mem = NULL, *dev = NULL;
        struct vhdx_log log = {.last_size = MODEL};
        struct vhdx_patch v[40];
        uint16_t rnd[160];
        size_t i, off;

        test_fill(rnd, sizeof(rnd), round);
        test_fill(file, sizeof(file), 1000 + round);
        test_fill(ring, sizeof(ring), 2000 + round);
        memset(model, 0, sizeof(model));
        memcpy(model, file, sizeof(file));
        log.v = v;
        log.n = 1 + rnd[0] % 40;
        for (i = 0; i < log.n; i++) {
            size_t at = rnd[4 * i] % (MODEL / 4096 - 16);

            memset(&v[i], 0, sizeof(v[i]));
            v[i].off = at * 4096;
            if (rnd[4 * i + 1] & 1) {
                v[i].sector = VHDX_PATCH_ZERO;
                v[i].len = (1 + rnd[4 * i + 2] % 15) * (uint64_t)4096;
                memset(model + v[i].off, 0, (size_t)v[i].len);
            } else {
                v[i].sector = rnd[4 * i + 2] % N;
                v[i].len = 4096;
                memset(v[i].lead, (int)i, 8);
                memset(v[i].trail, (int)i + 1, 4);
                memcpy(model + v[i].off, ring + (size_t)v[i].sector * 4096, 4096);
                memcpy(model + v[i].off, v[i].lead, 8);
                memcpy(model + v[i].off + 4092, v[i].trail, 4);
            }
        }
        assert_ok(blk_mem_new(file, sizeof(file), "", &mem, &err));
        assert_ok(vhdx_replay_new(mem, &log, ring, NULL, &dev, &err));
        assert_int_equal(dev->size, MODEL);
        assert_ok(blk_read(dev, 0, got, MODEL, &err));
        assert_memory_equal(got, model, MODEL);
        for (off = 0; off < MODEL; off += 3001) {
            size_t n = MODEL - off < 3001 ? MODEL - off : 3001;
            struct blk_extent ext;

            assert_ok(blk_read(dev, off, got, n, &err));
            assert_memory_equal(got, model + off, n);
            assert_ok(blk_map(dev, off, n, &ext, &err));
            if (ext.status == BLK_ZEROS)
                assert_true(vd_all_zero(model + off, (size_t)ext.len));
            else if (ext.child)
                assert_memory_equal(file + ext.child_off, model + off, (size_t)ext.len);
        }
        blk_unref(dev);
        blk_unref(mem);
    }
}

static void impossible_writes_are_refused(void **state)
{
    struct vhdx_patch v = {.off = UINT64_MAX - 4095, .len = 4096, .sector = VHDX_PATCH_ZERO};
    struct vhdx_log log = {.v = &v, .n = 1};
    struct blkdev *mem = NULL, *dev = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(blk_mem_new(ring, 4096, "", &mem, &err));
    assert_fails(vhdx_replay_new(mem, &log, ring, NULL, &dev, &err), VD_ECORRUPT, "not possible");
    v.off = 4096;
    v.len = UINT64_C(1) << 63;
    assert_fails(vhdx_replay_new(mem, &log, ring, NULL, &dev, &err), VD_ECORRUPT, "not possible");
    v.len = 4096;
    log.last_size = UINT64_MAX;
    assert_fails(vhdx_replay_new(mem, &log, ring, NULL, &dev, &err), VD_ECORRUPT, "not possible");
    blk_unref(mem);
}

/* ---- the search for the active sequence ---- */

#define SMALL 24u

/* Sectors of the valid entry at `at`, or 0; entries of this test have no descriptors. */
static uint32_t plain_entry(uint32_t at, uint64_t *out_sequence, uint32_t *out_tail)
{
    uint8_t *bytes = malloc((size_t)SMALL * 4096);
    const uint8_t *p = ring + (size_t)at * 4096;
    uint32_t n = vd_le32(p + 8) / 4096, i, found = 0;

    if (memcmp(p, "loge", 4) == 0 && n && n <= SMALL) {
        for (i = 0; i < n; i++)
            memcpy(bytes + (size_t)i * 4096, ring + (size_t)((at + i) % SMALL) * 4096, 4096);
        if (vd_le32(p + 4) == vd_crc32c_without(bytes, (size_t)n * 4096, 4))
            found = n;
    }
    free(bytes);
    *out_sequence = vd_le64(p + 16);
    *out_tail = vd_le32(p + 12) / 4096;
    return found;
}

/* 2.3.3, step by step.  Returns the number of the active sequence's head, 0: none. */
static uint64_t plain_search(uint32_t *out_first)
{
    uint32_t tail = 0, old = 0;
    uint64_t best = 0;

    for (;;) {
        uint32_t head = tail, newest = tail, total = 0, where = 0, n;
        uint64_t number = 0, sequence;
        bool inside[SMALL] = {false};

        while ((n = plain_entry(head, &sequence, &where)) != 0 && total + n <= SMALL &&
               (total == 0 || sequence == number + 1)) {
            inside[head] = true;
            newest = head;
            number = sequence;
            total += n;
            head = (head + n) % SMALL;
        }
        if (total)
            (void)plain_entry(newest, &sequence, &where);
        if (total && inside[where]) {
            if (number > best) {
                best = number;
                *out_first = where;
            }
            tail =
                newest == tail ? (tail + 1) % SMALL : newest; /* the step's head may not move on */
        } else {
            tail = (tail + 1) % SMALL;
        }
        if (tail <= old)
            return best;
        old = tail;
    }
}

/* Rings full of entries that continue, overlap and cut off each other. */
static void any_ring_equals_the_plain_search(void **state)
{
    unsigned round, i, valid = 0;

    (void)state;
    for (round = 0; round < 1500; round++) {
        struct vd_err err = VD_ERR_INIT;
        struct vhdx_log log = {0};
        uint32_t at = 0, first = 0;
        uint64_t sequence = 10, want;
        uint8_t rnd[96];

        memset(ring, 0, (size_t)SMALL * 4096);
        test_fill(rnd, sizeof(rnd), 7000 + round);
        for (i = 0; i < 16; i++) {
            const uint8_t *r = rnd + (size_t)6 * i;
            struct log_entry e = {.at = r[0] % 8 ? at : r[1] % SMALL, .padding = r[2] % 3};

            sequence = r[3] % 8 ? sequence + 1 : 5 + r[3] / 8u;
            e.tail = r[4] % 3 ? rnd[6 * (i / 2)] % SMALL : e.at;
            e.sequence = sequence;
            at = log_put(ring, SMALL, &e);
        }
        want = plain_search(&first);
        if (vhdx_log_decode(ring, (size_t)SMALL * 4096, &guid, &log, &err)) {
            assert_int_equal(want, 0);
            continue;
        }
        assert_int_equal(log.last_sequence, want);
        assert_int_equal(log.first_sequence, vd_le64(ring + (size_t)first * 4096 + 16));
        valid++;
        free(log.v);
    }
    assert_true(valid > 500 && valid < 1500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(empty_ring_is_corrupt, setup),
        cmocka_unit_test_setup(entries_with_all_kinds_of_writes, setup),
        cmocka_unit_test_setup(many_descriptors, setup),
        cmocka_unit_test_setup(newest_sequence_wins, setup),
        cmocka_unit_test_setup(replay_starts_at_the_tail, setup),
        cmocka_unit_test_setup(a_sequence_without_its_tail_is_none, setup),
        cmocka_unit_test_setup(wrapping, setup),
        cmocka_unit_test_setup(full_ring, setup),
        cmocka_unit_test_setup(torn_entries_are_ignored, setup),
        cmocka_unit_test_setup(each_field_is_checked, setup),
        cmocka_unit_test_setup(padding_is_allowed, setup),
        cmocka_unit_test_setup(view_equals_model, setup),
        cmocka_unit_test_setup(impossible_writes_are_refused, setup),
        cmocka_unit_test_setup(any_ring_equals_the_plain_search, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
