/* SPDX-License-Identifier: Apache-2.0 */
/* The structural check of VHDX files: sound ones give no finding but what is worth knowing, and each
 * defect gives its own, with its place. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "image/vhdx/vhdx.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "error entry_invalid 3145744 2097152+1048576: text\n" … and "count WHAT N\n" */
struct report {
    char text[8192];
    size_t len;
};

static void add(struct report *r, const char *line)
{
    r->len += (size_t)snprintf(r->text + r->len, sizeof(r->text) - r->len, "%s\n", line);
    assert_true(r->len < sizeof(r->text));
}

static void finding(void *ctx, enum check_level level, const char *id, const char *file,
                    const struct check_place *place, const char *text)
{
    static const char *const words[] = {"note", "warning", "error"};
    char line[1200];
    int n;

    assert_string_equal(file, "test.img");
    n = snprintf(line, sizeof(line), "%s %s", words[level], id);
    if (place && place->in_file)
        n += snprintf(line + n, sizeof(line) - (size_t)n, " @%llu",
                      (unsigned long long)place->file_off);
    if (place && place->on_disk)
        n += snprintf(line + n, sizeof(line) - (size_t)n, " %llu+%llu",
                      (unsigned long long)place->disk_off, (unsigned long long)place->disk_len);
    (void)snprintf(line + n, sizeof(line) - (size_t)n, ": %s", text);
    add(ctx, line);
}

static void count(void *ctx, const char *file, const char *what, uint64_t n)
{
    char line[200];

    (void)file;
    (void)snprintf(line, sizeof(line), "count %s %llu", what, (unsigned long long)n);
    add(ctx, line);
}

static struct built b;
static struct report r;

static int setup(void **state)
{
    static const uint8_t states[5] = {6, 2, 6, 0, 6};

    (void)state;
    b = build_vhdx(5, states, 50, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(b.p);
    return 0;
}

static uint8_t *bat(unsigned i)
{
    return b.p + VHDX_T_BAT + (size_t)8 * i;
}

static void run(void)
{
    const struct check check = {finding, count, &r};
    struct vd_err err = VD_ERR_INIT;
    struct image image;

    r.len = 0;
    r.text[0] = '\0';
    assert_ok(open_bytes(&image_format_vhdx, b.p, b.len, &image, &err));
    assert_ok(blk_check(image.dev, &check, &err));
    close_image(&image);
}

static void says(const char *text)
{
    run();
    if (!strstr(r.text, text))
        fail_msg("not said: %s\nbut:\n%s", text, r.text);
}

static unsigned findings(void)
{
    const char *line = r.text;
    unsigned n = 0;

    for (; *line; line = strchr(line, '\n') + 1)
        n += strncmp(line, "count", 5) != 0;
    return n;
}

static void sound(void **state)
{
    (void)state;
    says("count payload blocks 3\n");
    assert_true(strstr(r.text, "count BAT entries 5\n"));
    assert_true(strstr(r.text, "count regions 2\n"));
    assert_true(strstr(r.text, "count metadata items 5\n"));
    if (findings())
        fail_msg("findings in a sound file:\n%s", r.text);
}

static void sound_child(void **state)
{
    static const uint8_t guid[16] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45,
                                     0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c};

    (void)state;
    vhdx_make_locator(b.p + VHDX_T_METADATA + VHDX_T_LOCATOR, NULL, 0);
    vhdx_add_item(b.p, guid, VHDX_T_LOCATOR, 20, 4);
    b.p[VHDX_T_METADATA + VHDX_T_PARAMS + 4] = 2;
    bat(2)[0] = 7; /* block 2, with the bitmap in the place of another block's payload */
    vd_put_le64(bat(4096), vd_le64(bat(4)));
    vd_put_le64(bat(4), 0);
    says("count sector bitmap blocks 1\n");
    assert_true(strstr(r.text, "count payload blocks 2\n"));
    assert_true(strstr(r.text, "count BAT entries 6\n"));
    assert_int_equal(findings(), 0);
    vd_put_le64(bat(4096), 0);
    says("error bitmap_place @3178496: sector bitmap 0: is not there; partially present");
    says("note unreferenced");
    vd_put_le64(bat(4096), b.len | 6);
    says("error bitmap_place @3178496: sector bitmap 0: lies past the end");
    bat(2)[0] = 6; /* nobody needs it now */
    says("warning bitmap_place");
    vd_put_le64(bat(4096), vd_le64(bat(0)));
    says("error overlap");
}

static void entries(void **state)
{
    (void)state;
    vd_put_le64(bat(1), 4);
    says("error entry_invalid @3145736 1048576+1048576: block 1: the BAT entry "
         "0x0000000000000004 is not valid");
    assert_int_equal(findings(), 1);
    vd_put_le64(bat(1), 0x1000);
    says("error entry_invalid @3145736 1048576+1048576: block 1: the BAT entry "
         "0x0000000000001000 is not valid: reserved bits");
    vd_put_le64(bat(1), b.len | 6);
    says("error block_place @3145736 1048576+1048576: block 1: lies past the end of the file");
    vd_put_le64(bat(1), VHDX_T_LOG | 6);
    says("error block_place @3145736 1048576+1048576: block 1: lies over the log");
    says("error overlap");
    vd_put_le64(bat(1), vd_le64(bat(0)));
    says("error block_place @3145736 1048576+1048576: block 1: shares bytes");
    says("error overlap");
    vd_put_le64(bat(1), 0x900003);
    says("note old_content: 1 unmapped or undefined blocks still name a place in the file: what "
         "they "
         "held may lie there (first: block 1)");
    vd_put_le64(bat(1), 0);
    vd_put_le64(bat(4096), 6);
    run(); /* the disk ends before that entry: nobody looks at it */
    assert_int_equal(findings(), 0);
    vd_put_le64(bat(2), 0);
    says("note unreferenced");
}

static void a_bitmap_without_a_parent(void **state)
{
    (void)state;
    vd_put_le64(b.p + VHDX_T_METADATA + VHDX_T_SIZE, (uint64_t)4097 << 20);
    vd_put_le64(bat(4096), VHDX_T_BLOCKS | 6);
    says("warning bitmap_unexpected @3178496: sector bitmap 0: is in use in a file without a "
         "parent (entry 0x0000000000400006)");
    assert_int_equal(findings(), 1);
}

static void truncated(void **state)
{
    (void)state;
    b.len -= 512; /* block 0 lies last */
    says("error block_truncated @3145728 1048064+512: block 0: passes the end of the file");
    b.len += 512;
    vd_put_le64(bat(4), 0);
    vd_put_le64(bat(3), VHDX_T_BLOCKS | 6); /* the last block of a shorter disk */
    vd_put_le64(b.p + VHDX_T_METADATA + VHDX_T_SIZE, 3 * VHDX_T_MIB + 512);
    vd_put_le64(bat(3), vd_le64(bat(0)));
    vd_put_le64(bat(0), VHDX_T_BLOCKS | 6);
    b.len -= 512;
    says("note block_short @3145752 3145728+512: block 3: the file ends inside the block");
    assert_int_equal(findings(), 1);
}

static void headers_and_metadata(void **state)
{
    (void)state;
    b.p[(64 << 10) + 100] = 1;
    vhdx_seal_header(b.p, 1);
    says("note header_reserved @65536");
    b.p[(64 << 10) + 100] = 0;
    vd_put_le64(b.p + (64 << 10) + 72, 12345);
    vhdx_seal_header(b.p, 1);
    says(
        "warning log_place @65536: the header names an impossible place for the log (1048576 bytes "
        "at offset 12345)");
    vd_put_le64(b.p + (64 << 10) + 72, VHDX_T_LOG);
    b.p[(64 << 10) + 66] = 2;
    vhdx_seal_header(b.p, 1);
    says("warning header_version @65536: the header has version 2");
    b.p[(64 << 10) + 66] = 1;
    vhdx_seal_header(b.p, 1);
    run();
    assert_int_equal(findings(), 0);
    b.p[VHDX_T_METADATA + 32 + 4 * 32 + 24] = 2;
    says("note metadata_required @2097152: the physical sector size is not marked as required");
    assert_int_equal(findings(), 1);
    b.p[VHDX_T_METADATA + 32 + 4 * 32 + 24] = 14;
    says("note metadata_reserved");
}

static void unknown_region(void **state)
{
    int which;

    (void)state;
    for (which = 1; which <= 2; which++) {
        uint8_t *table = b.p + ((size_t)64 << 10) * (2 + (unsigned)which);

        vd_put_le32(table + 8, 3);
        table[80] = 9;
        vd_put_le64(table + 96, VHDX_T_BLOCKS);
        vd_put_le32(table + 104, VHDX_T_MIB);
        vhdx_seal_regions(b.p, which);
    }
    says("error overlap"); /* the last block lies there */
    says("count regions 3\n");
    says("error block_place @3145760 4194304+1048576: block 4: shares bytes");
    vd_put_le64(bat(4), 0);
    run();
    assert_int_equal(findings(), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(sound),          CASE(sound_child),
        CASE(entries),        CASE(a_bitmap_without_a_parent),
        CASE(truncated),      CASE(headers_and_metadata),
        CASE(unknown_region),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
