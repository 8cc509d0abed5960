/* SPDX-License-Identifier: Apache-2.0 */
/* The drawings of info.txt, byte for byte. */
#include "testlib.h"

#include "blk/layers.h"
#include "tree/info_tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct vm_snapshot snap(uint64_t uid, size_t parent, char *name, size_t member)
{
    return (struct vm_snapshot){.uid = uid, .parent = parent, .name = name, .member = member};
}

struct drawn {
    struct image_format format;
    struct image image[3], *v[3];
    struct chain chain;
    struct vd_point point;
};

static void start(struct drawn *d, size_t n)
{
    static char name[3][16] = {"tip.vmdk", "mid.vmdk", "base\n.vmdk"};
    static const uint8_t zeros[4096];
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    memset(d, 0, sizeof(*d));
    d->format.name = "vmdk";
    d->chain = (struct chain){.v = d->v, .n = n};
    for (i = 0; i < n; i++) {
        d->v[i] = &d->image[i];
        d->image[i] = (struct image){.format = &d->format,
                                     .name = name[i],
                                     .file = {.size = 1536, .mtime_sec = 86400 * (int64_t)(n - i)}};
        assert_ok(blk_mem_new(zeros, sizeof(zeros), "", &d->image[i].dev, &err));
    }
    (void)snprintf(d->image[0].identity, sizeof(d->image[0].identity), "cid:1");
    d->point = (struct vd_point){.chain = &d->chain, .disk = d->image[0].dev};
}

static void stop(struct drawn *d)
{
    size_t i;

    for (i = 0; i < d->chain.n; i++)
        blk_unref(d->image[i].dev);
}

static void check(struct vd_str *s, const char *want)
{
    char *text = vd_str_take(s);

    assert_non_null(text);
    assert_string_equal(text, want);
    free(text);
}

static void a_chain(void **state)
{
    static char name[] = "before \x1b[2J the update";
    const struct contribution share[] = {
        {.data = 1024, .stored = 1024}, {.zeros = 512, .stored = 2048}, {.unreadable = 2560}};
    struct chain_name names[3] = {[1] = {.name = name, .has_created = true, .created_sec = 60}};
    struct case_context context = {.share = share};
    struct vd_str s = VD_STR_INIT;
    struct drawn d;

    (void)state;
    start(&d, 3);
    d.chain.name = names;
    info_draw_chain(&s, &d.point, &context);
    check(&s,
          "\nTREE (numbered from the base; times are UTC)\n"
          "  ┌─ 2  tip.vmdk  (tip)  <== this disk\n"
          "  │       vmdk, disk 4.0 KiB, file 1.5 KiB, modified 1970-01-04T00:00:00, cid:1\n"
          "  │       gives 1.0 KiB (25.0 %) of the disk, of 1.0 KiB that it stores\n"
          "  ├─ 1  mid.vmdk  (member)\n"
          "  │       vmdk, disk 4.0 KiB, file 1.5 KiB, modified 1970-01-03T00:00:00\n"
          "  │       frozen by the snapshot \"before \\x1b[2J the update\", "
          "1970-01-01T00:01:00\n"
          "  │       gives 0 bytes (0.0 %) of the disk, of 2.0 KiB that it stores; 512 bytes of "
          "zeros\n"
          "  └─ 0  base\\x0a.vmdk  (base)\n"
          "          vmdk, disk 4.0 KiB, file 1.5 KiB, modified 1970-01-02T00:00:00\n"
          "          gives 0 bytes (0.0 %) of the disk, of 0 bytes that it stores; 2.5 KiB "
          "CANNOT BE READ\n");
    stop(&d);
}

static void an_older_point_has_no_shares_of_newer_members(void **state)
{
    const struct contribution share[3] = {{0}};
    struct case_context context = {.share = share};
    struct vd_str s = VD_STR_INIT;
    struct drawn d;
    char *text, *tip;

    (void)state;
    start(&d, 3);
    d.point.member = 1; /* snapshot=1 of the whole chain */
    info_draw_chain(&s, &d.point, &context);
    text = vd_str_take(&s);
    tip = strstr(text, "tip.vmdk");
    assert_non_null(tip);
    assert_non_null(strstr(text, "mid.vmdk  (member)  <== this disk"));
    assert_true(strstr(text, "gives") > strstr(text, "mid.vmdk"));
    free(text);
    stop(&d);
}

static void a_single_file_is_not_drawn(void **state)
{
    struct vd_str s = VD_STR_INIT;
    struct drawn d;

    (void)state;
    start(&d, 1);
    info_draw_chain(&s, &d.point, NULL);
    info_draw_snapshots(&s, &d.point);
    check(&s, "");
    stop(&d);
}

/*   1 ── 2 ── 4      1 has the children 2 and 3, 2 the children 4 and 5; 6 is a second root */
static void branches(void **state)
{
    static char file[] = "vm.vmsd", one[] = "one", two[] = "two", three[] = "three",
                four[] = "four", other[] = "elsewhere.vmdk";
    struct vm_disk disk[2] = {{.file = other}, {.file = other}};
    struct vm_snapshot v[] = {snap(4, 1, four, VM_NONE), snap(2, 2, two, 1),
                              snap(1, VM_NONE, one, 2),  snap(3, 2, three, 0),
                              snap(5, 1, NULL, VM_NONE), snap(6, VM_NONE, NULL, VM_NONE)};
    struct vm_snapshots machine = {.file = file, .v = v, .n = 6, .current = 3};
    struct vd_str s = VD_STR_INIT;
    struct drawn d;

    (void)state;
    v[0].disk = disk;
    v[0].n_disks = 2;
    start(&d, 3);
    d.chain.vm = (struct vm_files){&machine, 1};
    info_draw_snapshots(&s, &d.point);
    check(&s, "\nSNAPSHOTS (of vm.vmsd; oldest first, branches to the right)\n"
              "  ● \"one\", froze base\\x0a.vmdk\n"
              "  │  ● \"two\", froze mid.vmdk\n"
              "  │  │  ● \"four\", on another branch: elsewhere.vmdk and 1 more\n"
              "  │  ● snapshot 5\n"
              "  ● \"three\", froze tip.vmdk  <== this disk\n"
              "     ○ the present state of the machine\n"
              "  ● snapshot 6\n");
    stop(&d);
}

/* 2,048 snapshots that each have two children: neither stack nor text explodes. */
static void a_staircase(void **state)
{
    static char file[] = "vm.vmsd";
    const size_t n = 2047;
    struct vm_snapshot *v = calloc(n, sizeof(*v));
    struct vm_snapshots machine = {.file = file, .v = v, .n = n, .current = VM_NONE};
    struct vd_str s = VD_STR_INIT;
    struct drawn d;
    size_t i, lines = 0;
    char *text, *p;

    (void)state;
    for (i = 0; i < n; i++) /* 2i+1 goes deeper, 2i+2 is a leaf */
        v[i] = snap(i,
                    i == 0  ? VM_NONE
                    : i % 2 ? (i < 2 ? 0 : i - 2)
                            : (i < 3 ? 0 : i - 3),
                    NULL, VM_NONE);
    start(&d, 1);
    d.chain.vm = (struct vm_files){&machine, 1};
    info_draw_snapshots(&s, &d.point);
    text = vd_str_take(&s);
    assert_non_null(text);
    for (p = text; (p = strstr(p, "● ")) != NULL; p++)
        lines++;
    assert_int_equal(lines, n); /* each once */
    assert_true(strlen(text) < 400000);
    free(text);
    free(v);
    stop(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain),
        cmocka_unit_test(an_older_point_has_no_shares_of_newer_members),
        cmocka_unit_test(a_single_file_is_not_drawn),
        cmocka_unit_test(branches),
        cmocka_unit_test(a_staircase),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
