/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include "blk/layers.h"
#include "image/contribution.h"

#include <stdlib.h>
#include <string.h>

/* A layer given by a text, one letter per 64 KiB: d data, z zeros, - absent, x unreadable, ! the
 * table cannot be read. */
static int text_map(struct blkdev *dev, uint64_t off, uint64_t max_len, struct blk_extent *out,
                    struct vd_err *err)
{
    const char *text = dev->priv;
    uint64_t at = off / 65536, end = at, n = dev->size / 65536;

    (void)max_len;
    while (end < n && text[end] == text[at])
        end++;
    out->len = end * 65536 - off;
    out->child = NULL;
    switch (text[at]) {
    case 'd':
        out->status = BLK_DATA;
        break;
    case 'z':
        out->status = BLK_ZEROS;
        break;
    case 'x':
        out->status = BLK_UNREADABLE;
        break;
    case '!':
        return vd_fail(err, VD_ECORRUPT, "table");
    default:
        out->status = BLK_ABSENT;
        break;
    }
    return 0;
}

static int no_read(struct blkdev *dev, uint64_t off, void *buf, size_t len, struct vd_err *err)
{
    (void)dev;
    (void)off;
    (void)buf;
    (void)len;
    return vd_fail(err, VD_EIO, "the map is enough");
}

static const struct blk_type text_type = {.name = "text", .read_at = no_read, .map = text_map};

#define MAX 4

static int count(const char *const *text, size_t n, size_t point, struct contribution **out,
                 struct vd_err *out_err)
{
    struct vd_err err = VD_ERR_INIT;
    struct image image[MAX] = {0}, *v[MAX];
    struct chain chain = {.v = v, .n = n};
    size_t i;
    int rc;

    for (i = 0; i < n; i++) {
        union {
            const char *in;
            void *out;
        } priv = {.in = text[i]};

        v[i] = &image[i];
        assert_ok(blk_new(&text_type, strlen(text[i]) * 65536, "", priv.out, &image[i].dev, &err));
    }
    rc = chain_contributions(&chain, point, 60000, out, out_err);
    for (i = 0; i < n; i++)
        blk_unref(image[i].dev);
    return rc;
}

#define assert_parts(c, d, z, u, s)                                                                \
    do {                                                                                           \
        assert_int_equal((c).data, (d)*65536);                                                     \
        assert_int_equal((c).zeros, (z)*65536);                                                    \
        assert_int_equal((c).unreadable, (u)*65536);                                               \
        assert_int_equal((c).stored, (s)*65536);                                                   \
    } while (0)

static void newer_members_hide_older_ones(void **state)
{
    static const char *const text[] = {"d--z-x-d", "-ddd-d--", "dddddd!-"};
    struct contribution *c = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(count(text, 3, 0, &c, &err));
    assert_parts(c[0], 2, 1, 1, 2);
    assert_parts(c[1], 2, 0, 0, 4);
    assert_parts(c[2], 1, 0, 1, 6);
    free(c);
    assert_ok(count(text, 3, 1, &c, &err)); /* an older point */
    assert_parts(c[0], 0, 0, 0, 0);
    assert_parts(c[1], 4, 0, 0, 4);
    assert_parts(c[2], 2, 0, 1, 6);
    free(c);
}

/* Grown after the snapshot: past the end of the middle one nothing of the base shows. */
static void a_smaller_parent_ends_it(void **state)
{
    static const char *const text[] = {"------", "--d", "dddddd"};
    struct contribution *c = NULL;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(count(text, 3, 0, &c, &err));
    assert_parts(c[0], 0, 0, 0, 0);
    assert_parts(c[1], 1, 0, 0, 1);
    assert_parts(c[2], 2, 0, 0, 6);
    free(c);
}

/* 8 TiB in windows: what lies in each is counted once. */
static void many_windows(void **state)
{
    struct blkdev *dev = NULL;
    struct blk_part part[] = {{.size = (uint64_t)5 << 40, .hole = BLK_ZEROS},
                              {.size = 65536},
                              {.size = ((uint64_t)3 << 40) - 65536, .hole = BLK_ZEROS}};
    struct image image = {0}, *v[] = {&image};
    struct chain chain = {.v = v, .n = 1};
    struct contribution *c = NULL;
    struct vd_err err = VD_ERR_INIT;
    uint8_t *bytes = calloc(1, 65536);

    (void)state;
    assert_ok(blk_mem_new(bytes, 65536, "", &part[1].dev, &err));
    assert_ok(blk_concat_new(part, 3, "", &dev, &err));
    image.dev = dev;
    assert_ok(chain_contributions(&chain, 0, 60000, &c, &err));
    assert_int_equal(c[0].data, 65536);
    assert_int_equal(c[0].zeros, ((uint64_t)8 << 40) - 65536);
    assert_int_equal(c[0].stored, 65536);
    free(c);
    assert_fails(chain_contributions(&chain, 0, 0, &c, &err), VD_ELIMIT, "it takes more than 0 ms");
    free(bytes);
    blk_unref(dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(newer_members_hide_older_ones),
        cmocka_unit_test(a_smaller_parent_ends_it),
        cmocka_unit_test(many_windows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
