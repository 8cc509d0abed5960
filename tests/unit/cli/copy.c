/* SPDX-License-Identifier: Apache-2.0 */
/* The ring: every sink gets every byte once and in order, errors come where they belong. */
#include "testlib.h"

#include "blk/layers.h"
#include "cli/copy.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

struct taken {
    uint8_t *bytes; /* what came, from 0 */
    uint64_t at;    /* expected next offset */
    uint64_t zeros; /* bytes that came as zeros of the format */
    uint64_t fail_at;
    unsigned delay_us;
    struct copy_bad bad[16];
    size_t n_bad;
};

static int take(void *ctx, const struct copy_chunk *chunk, struct vd_err *err)
{
    struct taken *t = ctx;
    size_t i;

    if (chunk->off != t->at || chunk->len == 0)
        return vd_fail(err, VD_EDIFF, "out of order");
    if (t->fail_at && chunk->off + chunk->len > t->fail_at)
        return vd_fail(err, VD_EIO, "the sink is full");
    if (t->delay_us)
        (void)usleep(t->delay_us);
    if (chunk->bytes)
        memcpy(t->bytes + chunk->off, chunk->bytes, (size_t)chunk->len);
    else
        t->zeros += chunk->len;
    for (i = 0; i < chunk->n_bad && t->n_bad < 16; i++)
        t->bad[t->n_bad++] = chunk->bad[i];
    t->at += chunk->len;
    return 0;
}

static struct blkdev *mem(uint8_t *bytes, size_t len)
{
    struct blkdev *dev = NULL;
    struct vd_err err = VD_ERR_INIT;

    assert_ok(blk_mem_new(bytes, len, "mem", &dev, &err));
    return dev;
}

static void everything_to_every_sink(void **state)
{
    const size_t len = 40 * MIB + 12345;
    uint8_t *bytes = malloc(len);
    unsigned readers;

    (void)state;
    test_fill(bytes, len, 1);
    for (readers = 1; readers <= 4; readers++) {
        struct blkdev *dev = mem(bytes, len);
        struct taken fast = {.bytes = calloc(1, len)},
                     slow = {.bytes = calloc(1, len), .delay_us = 500};
        const struct copy_sink sinks[] = {{take, &fast}, {take, &slow}};
        const struct copy_options options = {.readers = readers};
        struct vd_err err = VD_ERR_INIT;

        assert_ok(copy_run(dev, 0, len, &options, sinks, 2, &err));
        assert_int_equal(fast.at, len);
        assert_int_equal(slow.at, len);
        assert_memory_equal(fast.bytes, bytes, len);
        assert_memory_equal(slow.bytes, bytes, len);
        free(fast.bytes);
        free(slow.bytes);
        blk_unref(dev);
    }
    free(bytes);
}

static void a_part(void **state)
{
    uint8_t *bytes = malloc(3 * MIB);
    struct blkdev *dev;
    struct taken t = {.bytes = calloc(1, 3 * MIB), .at = 1000};
    const struct copy_sink sink = {take, &t};
    const struct copy_options options = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    test_fill(bytes, 3 * MIB, 2);
    dev = mem(bytes, 3 * MIB);
    assert_ok(copy_run(dev, 1000, 2 * MIB + 7, &options, &sink, 1, &err));
    assert_int_equal(t.at, 2 * MIB + 7);
    assert_memory_equal(t.bytes + 1000, bytes + 1000, 2 * MIB + 7 - 1000);
    t.at = 3 * MIB;
    assert_ok(copy_run(dev, 3 * MIB, 3 * MIB, &options, &sink, 1, &err)); /* nothing */
    assert_fails(copy_run(dev, 0, 3 * MIB + 1, &options, &sink, 1, &err), VD_ELIMIT, "range");
    free(bytes);
    free(t.bytes);
    blk_unref(dev);
}

/* data 1 MiB + 4096 | zeros 300 MiB | data 64 KiB | zeros 64 KiB (not worth a chunk) | bad 8 KiB + 512 */
static struct blkdev *mixed(uint8_t *bytes)
{
    struct blk_part parts[] = {
        {.size = MIB + 4096},
        {.size = 300 * MIB, .hole = BLK_ZEROS},
        {.size = 65536},
        {.size = 65536, .hole = BLK_ZEROS},
        {.size = 8704, .hole = BLK_UNREADABLE},
        {.size = 4096},
    };
    struct blkdev *dev = NULL;
    struct vd_err err = VD_ERR_INIT;

    test_fill(bytes, 2 * MIB, 3);
    parts[0].dev = mem(bytes, 2 * MIB);
    parts[2].dev = mem(bytes, 2 * MIB);
    parts[5].dev = mem(bytes, 2 * MIB);
    assert_ok(blk_concat_new(parts, 6, "", &dev, &err));
    return dev;
}

#define MIXED_BAD (MIB + 4096 + 300 * MIB + 131072)

static void zeros_are_not_read(void **state)
{
    uint8_t *bytes = malloc(2 * MIB);
    struct blkdev *dev = mixed(bytes);
    struct taken t = {.bytes = calloc(1, MIB + 4096 + 300 * MIB + 2 * MIB)};
    const struct copy_sink sink = {take, &t};
    const struct copy_options options = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(copy_run(dev, 0, MIXED_BAD, &options, &sink, 1, &err));
    assert_int_equal(t.zeros, 300 * MIB);
    assert_memory_equal(t.bytes, bytes, MIB + 4096);
    assert_memory_equal(t.bytes + MIB + 4096 + 300 * MIB, bytes, 65536);
    free(bytes);
    free(t.bytes);
    blk_unref(dev);
}

static void the_first_error_counts(void **state)
{
    uint8_t *bytes = malloc(2 * MIB);
    struct blkdev *dev = mixed(bytes);
    struct taken t = {.bytes = calloc(1, MIB + 4096 + 300 * MIB + 2 * MIB)};
    const struct copy_sink sink = {take, &t};
    const struct copy_options options = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_int_not_equal(copy_run(dev, 0, dev->size, &options, &sink, 1, &err), 0);
    assert_true(err.has_offset);
    assert_int_equal(err.offset, MIXED_BAD);
    assert_int_equal(t.at, MIB + 4096 + 300 * MIB); /* all before that chunk */
    free(bytes);
    free(t.bytes);
    blk_unref(dev);
}

static void keep_going_names_the_bad_bytes(void **state)
{
    uint8_t *bytes = malloc(2 * MIB);
    struct blkdev *dev = mixed(bytes);
    struct taken t = {.bytes = calloc(1, MIB + 4096 + 300 * MIB + 2 * MIB)};
    const struct copy_sink sink = {take, &t};
    const struct copy_options options = {.keep_going = true};
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    assert_ok(copy_run(dev, 0, dev->size, &options, &sink, 1, &err));
    assert_int_equal(t.at, dev->size);
    assert_int_equal(t.n_bad, 1);
    assert_int_equal(t.bad[0].off, MIXED_BAD);
    assert_int_equal(t.bad[0].len, 8704);
    assert_true(t.bad[0].why[0] != '\0');
    for (i = 0; i < 8704; i++)
        assert_int_equal(t.bytes[MIXED_BAD + i], 0);
    assert_memory_equal(t.bytes + MIXED_BAD + 8704, bytes, 4096);
    free(bytes);
    free(t.bytes);
    blk_unref(dev);
}

/* One bad sector in the middle of a device that only reads can tell. */
static void sectors_around_a_bad_one_are_kept(void **state)
{
    const struct blk_fault_rule rule = {
        .kind = BLK_FAULT_ERROR, .off = 5 * MIB + 1024, .len = 512, .persistent = true};
    uint8_t *bytes = malloc(8 * MIB);
    struct blkdev *dev = NULL;
    struct taken t = {.bytes = calloc(1, 8 * MIB)};
    const struct copy_sink sink = {take, &t};
    const struct copy_options options = {.keep_going = true};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    test_fill(bytes, 8 * MIB, 4);
    assert_ok(blk_fault_new(mem(bytes, 8 * MIB), &dev, &err));
    blk_fault_set(dev, &rule);
    assert_ok(copy_run(dev, 0, dev->size, &options, &sink, 1, &err));
    assert_int_equal(t.n_bad, 1);
    assert_int_equal(t.bad[0].off, 5 * MIB + 1024);
    assert_int_equal(t.bad[0].len, 512);
    memset(bytes + 5 * MIB + 1024, 0, 512);
    assert_memory_equal(t.bytes, bytes, 8 * MIB);
    free(bytes);
    free(t.bytes);
    blk_unref(dev);
}

static void a_failing_sink_ends_it(void **state)
{
    uint8_t *bytes = calloc(1, 64 * MIB);
    struct blkdev *dev;
    struct taken good = {.bytes = calloc(1, 64 * MIB)},
                 full = {.bytes = calloc(1, 64 * MIB), .fail_at = 30 * MIB};
    const struct copy_sink sinks[] = {{take, &good}, {take, &full}};
    const struct copy_options options = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    dev = mem(bytes, 64 * MIB);
    assert_fails(copy_run(dev, 0, dev->size, &options, sinks, 2, &err), VD_EIO, "is full");
    assert_int_equal(full.at, 30 * MIB);
    assert_true(good.at < 64 * MIB);
    free(bytes);
    free(good.bytes);
    free(full.bytes);
    blk_unref(dev);
}

struct ticks {
    uint64_t last;
    unsigned n;
    bool stop;
};

static int count_ticks(void *ctx, uint64_t done, struct vd_err *err)
{
    struct ticks *t = ctx;

    assert_true(done >= t->last);
    t->last = done;
    t->n++;
    return t->stop ? vd_fail(err, VD_EIO, "stopped by the caller") : 0;
}

static bool every_third(void *ctx, uint64_t end)
{
    (void)ctx;
    return end / MIB % 3 == 0;
}

struct marks {
    struct taken taken;
    unsigned n;
};

static int take_marks(void *ctx, const struct copy_chunk *chunk, struct vd_err *err)
{
    struct marks *m = ctx;

    m->n += chunk->checkpoint;
    return take(&m->taken, chunk, err);
}

static void ticks_and_checkpoints(void **state)
{
    uint8_t *bytes = calloc(1, 30 * MIB);
    struct blkdev *dev;
    struct ticks ticks = {0};
    struct marks m = {.taken = {.bytes = calloc(1, 30 * MIB), .delay_us = 10000}};
    const struct copy_sink sink = {take_marks, &m};
    const struct copy_options options = {
        .tick = count_ticks, .checkpoint = every_third, .ctx = &ticks};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    dev = mem(bytes, 30 * MIB);
    assert_ok(copy_run(dev, 0, dev->size, &options, &sink, 1, &err));
    assert_int_equal(m.n, 10);
    assert_true(ticks.n >= 2);
    assert_int_equal(ticks.last, 30 * MIB);
    ticks = (struct ticks){.stop = true};
    m.taken.at = 0;
    assert_fails(copy_run(dev, 0, dev->size, &options, &sink, 1, &err), VD_EIO, "by the caller");
    free(bytes);
    free(m.taken.bytes);
    blk_unref(dev);
}

static void without_sinks(void **state)
{
    uint8_t *bytes = malloc(2 * MIB);
    struct blkdev *dev = mixed(bytes);
    const struct copy_options options = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(copy_run(dev, 0, MIXED_BAD, &options, NULL, 0, &err));
    assert_int_not_equal(copy_run(dev, 0, dev->size, &options, NULL, 0, &err), 0);
    assert_int_equal(err.offset, MIXED_BAD);
    free(bytes);
    blk_unref(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_to_every_sink),
        cmocka_unit_test(a_part),
        cmocka_unit_test(zeros_are_not_read),
        cmocka_unit_test(the_first_error_counts),
        cmocka_unit_test(keep_going_names_the_bad_bytes),
        cmocka_unit_test(sectors_around_a_bad_one_are_kept),
        cmocka_unit_test(a_failing_sink_ends_it),
        cmocka_unit_test(ticks_and_checkpoints),
        cmocka_unit_test(without_sinks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
