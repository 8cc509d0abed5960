/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of an export that a mount or a kill cannot reach exactly: journals cut at every byte,
 * spans, the map. */
#include "testlib.h"

#include "cli/export_journal.h"
#include "cli/export_run.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int memfd(const char *text)
{
    int fd = memfd_create("journal", MFD_CLOEXEC);

    assert_true(fd >= 0);
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        abort();
    return fd;
}

static off_t length(int fd)
{
    return lseek(fd, 0, SEEK_END);
}

static const char header[] = "vdiskfs-export 1\nraw 4096 bytes from 0\n";
static const char whole[] = "vdiskfs-export 1\nraw 4096 bytes from 0\n--\n"
                            "bad 512 512 a reason\ncheckpoint 1024 aa\n"
                            "bad 1024 8 b\nbad 2000 8 \ncheckpoint 2048 bb\n";

/* A crash may cut the file anywhere; what is left is a journal of fewer checkpoints. */
static void cut_at_every_byte(void **state)
{
    size_t cut;

    (void)state;
    for (cut = 0; cut <= strlen(whole); cut++) {
        char text[sizeof(whole)];
        struct export_journal j;
        struct vd_err err = VD_ERR_INIT;
        size_t points;
        int fd, rc;

        memcpy(text, whole, cut);
        text[cut] = '\0';
        fd = memfd(text);
        rc = export_journal_read(fd, &j, &err);
        assert_int_equal(rc, 0);
        assert_int_equal(j.header != NULL, cut >= strlen(header) + 3);
        points = (cut >= (size_t)(strstr(whole, "bad 1024") - whole)) + (cut == strlen(whole));
        assert_int_equal(j.n_points, points);
        assert_int_equal(j.n_bad, points == 2 ? 2 : points); /* 512–1032 is one range */
        if (j.header) {
            assert_string_equal(j.header, header);
            /* Going on from there gives whole lines again. */
            assert_ok(export_journal_cut(&j, points, &err));
            assert_ok(export_journal_add(&j, NULL, 0, 4096, "cc", &err));
            export_journal_clear(&j);
            assert_ok(export_journal_read(fd, &j, &err));
            assert_int_equal(j.n_points, points + 1);
            assert_int_equal(j.point[points].pos, 4096);
            assert_string_equal(j.point[points].hash, "cc");
        }
        export_journal_clear(&j);
        (void)close(fd);
    }
}

static void ranges_end_at_the_checkpoint(void **state)
{
    int fd = memfd(whole);
    struct export_journal j;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(export_journal_read(fd, &j, &err));
    assert_int_equal(j.bad[0].off, 512);
    assert_int_equal(j.bad[0].len, 520);
    assert_int_equal(j.bad[1].off, 2000);
    assert_ok(export_journal_cut(&j, 1, &err));
    assert_int_equal(j.n_bad, 1);
    assert_int_equal(j.bad[0].len, 512);
    assert_int_equal(length(fd), strstr(whole, "bad 1024") - whole);
    assert_ok(export_journal_cut(&j, 0, &err));
    assert_int_equal(j.n_bad, 0);
    export_journal_clear(&j);
    (void)close(fd);
}

static void what_is_no_journal(void **state)
{
    static const char *const text[] = {"a letter", "vdiskfs-import 1\n--\n"};
    struct export_journal j;
    struct vd_err err = VD_ERR_INIT;
    size_t i;
    int fd;

    (void)state;
    for (i = 0; i < 2; i++) {
        fd = memfd(text[i]);
        assert_fails(export_journal_read(fd, &j, &err), VD_EREFUSED, "not one of");
        (void)close(fd);
    }
}

/* Lines that no export writes end what counts. */
static void nonsense_lines(void **state)
{
    static const char *const line[] = {"checkpoint 1000 dd\n",
                                       "checkpoint 2048 dd\n",
                                       "checkpoint -1 dd\n",
                                       "checkpoint 99999999999999999999 dd\n",
                                       "bad 9000\n",
                                       "bad 3000 0 x\n",
                                       "bad 100 8 x\n",
                                       "bad 9000 18446744073709551615 x\n",
                                       "note\n",
                                       "\n"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(line) / sizeof(line[0]); i++) {
        char text[sizeof(whole) + 128];
        struct export_journal j;
        struct vd_err err = VD_ERR_INIT;
        int fd;

        (void)snprintf(text, sizeof(text), "%s%scheckpoint 4000 ee\n", whole, line[i]);
        fd = memfd(text);
        assert_ok(export_journal_read(fd, &j, &err));
        assert_int_equal(j.n_points, 2);
        assert_int_equal(j.len, strlen(whole));
        export_journal_clear(&j);
        (void)close(fd);
    }
}

struct spans {
    uint64_t off[8];
    size_t len[8], n;
};

static int note_span(void *ctx, const uint8_t *bytes, size_t len, uint64_t off, struct vd_err *err)
{
    struct spans *s = ctx;

    (void)bytes;
    if (s->n == 8)
        return vd_fail(err, VD_ELIMIT, "too many spans");
    s->off[s->n] = off;
    s->len[s->n++] = len;
    return 0;
}

static void spans_skip_blocks_of_zeros(void **state)
{
    static uint8_t bytes[5 * 4096];
    struct spans s = {0};
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(export_spans(bytes, sizeof(bytes), 0, note_span, &s, &err));
    assert_int_equal(s.n, 0);
    bytes[4095] = 1; /* the last of block 0 */
    bytes[3 * 4096] = 1;
    bytes[5 * 4096 - 1] = 1;
    assert_ok(export_spans(bytes, sizeof(bytes), 0, note_span, &s, &err));
    assert_int_equal(s.n, 2);
    assert_int_equal(s.off[0], 0);
    assert_int_equal(s.len[0], 4096);
    assert_int_equal(s.off[1], 3 * 4096);
    assert_int_equal(s.len[1], 2 * 4096);
    /* Blocks are those of the file, not of the buffer. */
    s.n = 0;
    assert_ok(export_spans(bytes, 4096, 100, note_span, &s, &err));
    assert_int_equal(s.n, 1);
    assert_int_equal(s.off[0], 4096);
    assert_int_equal(s.len[0], 100);
}

static void the_map(void **state)
{
    const struct copy_bad bad[] = {{.off = 0, .len = 512}, {.off = 4096, .len = 1024}};
    char text[512] = {0};
    struct vd_err err = VD_ERR_INIT;
    int fd = memfd("");

    (void)state;
    assert_ok(export_map_write(fd, bad, 2, 8192, &err));
    assert_true(pread(fd, text, sizeof(text) - 1, 0) > 0);
    assert_non_null(strstr(text, "\n0x00002000     +               1\n"));
    assert_non_null(strstr(text, "\n0x00000000  0x00000200  -\n0x00000200  0x00000E00  +\n"
                                 "0x00001000  0x00000400  -\n0x00001400  0x00000C00  +\n"));
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(ranges_end_at_the_checkpoint),
        cmocka_unit_test(what_is_no_journal),
        cmocka_unit_test(nonsense_lines),
        cmocka_unit_test(spans_skip_blocks_of_zeros),
        cmocka_unit_test(the_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
