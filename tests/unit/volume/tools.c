/* SPDX-License-Identifier: Apache-2.0 */
/* Tables made by sfdisk and sgdisk on sparse files, compared with what `sfdisk -d` says of them:
 * number, start, size, type, UUID, name, boot flag.  Skipped (77) without the tools. */
#include "tables.h"

#include "base/cleanup.h"
#include "blk/evidence.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char *dir;

static void run(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void run(const char *fmt, ...)
{
    char command[2048];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(command, sizeof(command), fmt, ap); /* NOLINT */
    va_end(ap);
    if (system(command) != 0) /* NOLINT(cert-env33-c) */
        fail_msg("failed: %s", command);
}

static struct blkdev *open_disk(void)
{
    struct vd_err err = VD_ERR_INIT;
    struct evidence_id id;
    struct blkdev *disk = NULL;
    char path[512];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/d.img", dir);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(evidence_identify(fd, &id, &err));
    assert_ok(evidence_new(fd, &id, "d.img", &disk, &err));
    return disk;
}

/* The text behind `key` up to a comma, blank or the closing quote; "" when not there. */
static void field(const char *line, const char *key, char *out, size_t size)
{
    const char *p = strstr(line, key);
    size_t n = 0;

    out[0] = '\0';
    if (!p)
        return;
    p += strlen(key);
    while (*p == ' ')
        p++;
    if (*p == '"')
        n = strcspn(++p, "\"");
    else
        n = strcspn(p, ", \n");
    (void)snprintf(out, size, "%.*s", (int)(n < size - 1 ? n : size - 1), p);
}

static bool same_ignoring_case(const char *a, const char *b)
{
    while (*a && tolower((unsigned char)*a) == tolower((unsigned char)*b)) {
        a++;
        b++;
    }
    return *a == *b;
}

/* sfdisk: "d.img5 : start= 4096, size= 2048, type=83, bootable". */
static void compare_line(const char *line, const struct volume_table *t, size_t *n_shown)
{
    const char *number = strstr(line, "d.img");
    unsigned want = (unsigned)strtoul(number + 5, NULL, 10);
    const struct volume *v = NULL;
    char text[256], type[64];
    size_t i;

    field(line, "type=", type, sizeof(type));
    if (strcmp(type, "5") == 0 || strcmp(type, "f") == 0 || strcmp(type, "85") == 0)
        return; /* the container is no volume */
    for (i = 0; i < t->n; i++)
        if (t->v[i].number == want)
            v = &t->v[i];
    if (!v)
        fail_msg("partition %u is missing", want);
    (*n_shown)++;
    field(line, "start=", text, sizeof(text));
    assert_int_equal(v->start, strtoull(text, NULL, 10) * 512);
    field(line, "size=", text, sizeof(text));
    assert_int_equal(v->size, strtoull(text, NULL, 10) * 512);
    if (t->scheme == VOLUME_MBR)
        assert_int_equal(strtoul(v->type, NULL, 16), strtoul(type, NULL, 16));
    else
        assert_true(same_ignoring_case(v->type, type));
    field(line, "uuid=", text, sizeof(text));
    if (t->scheme == VOLUME_GPT)
        assert_true(same_ignoring_case(v->uuid, text));
    field(line, "name=", text, sizeof(text));
    assert_string_equal(v->name, text);
    assert_int_equal(v->active, strstr(line, "bootable") || strstr(line, "LegacyBIOSBootable"));
}

static void compare(size_t n_expected, size_t n_warnings)
{
    struct blkdev *disk = open_disk();
    struct volume_table t = table_scan_device(disk);
    char command[600], line[1024], id[64] = "";
    size_t n = 0;
    FILE *f;

    (void)snprintf(command, sizeof(command), "sfdisk -d %s/d.img", dir);
    f = popen(command, "r"); /* NOLINT(cert-env33-c) */
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        if (strncmp(line, "label-id:", 9) == 0)
            field(line, "label-id:", id, sizeof(id));
        if (strstr(line, "start="))
            compare_line(line, &t, &n);
    }
    assert_int_equal(pclose(f), 0);
    assert_int_equal(n, n_expected);
    assert_int_equal(t.n, n);
    assert_int_equal(t.sector_size, 512);
    assert_true(same_ignoring_case(t.disk_id, id));
    if (table_warnings(&t) != n_warnings)
        table_fail_facts(&t, "(the number of warnings expected)");
    volume_table_clear(&t);
    blk_unref(disk);
}

static void make(const char *size, const char *script)
{
    run("rm -f %s/d.img && truncate -s %s %s/d.img && printf '%s' | sfdisk -q %s/d.img 2>&1", dir,
        size, dir, script, dir);
}

static void test_mbr(void **state)
{
    (void)state;
    make("64M", "label: dos\\nsize=4M type=7 bootable\\nsize=8M type=83\\n");
    compare(2, 0);
    make("64M", "label: dos\\n3: start=2048 size=2048\\n1: start=8192 size=2048 type=c\\n");
    compare(2, 0);
    make("3T", "label: dos\\nsize=1T\\nsize=900G\\n");
    compare(2, 0);
}

static void test_logical(void **state)
{
    char script[4096] = "label: dos\\nsize=4M\\ntype=5\\n";
    unsigned i;

    (void)state;
    make("64M", "label: dos\\nsize=4M\\n4: size=40M type=f\\n5: size=4M type=82\\n6: size=4M\\n"
                "7: size=4M type=7 bootable\\n");
    compare(4, 0);
    /* the order on disk is not the order of the chain */
    make("64M", "label: dos\\n1: start=2048 size=100000 type=5\\n5: start=60000 size=2048\\n"
                "6: start=10000 size=2048\\n7: start=40000 size=2048\\n");
    compare(3, 0);
    for (i = 0; i < 55; i++)
        (void)strcat(script, "size=1M\\n");
    make("256M", script);
    compare(56, 0);
}

static void test_gpt(void **state)
{
    (void)state;
    make("64M", "label: gpt\\nsize=4M name=efi type=U\\nsize=8M name=\"Basic data partition\" "
                "attrs=LegacyBIOSBootable\\n");
    compare(2, 0);
    make("64M", "label: gpt\\n7: start=8192 size=64 name=seven\\n2: start=4096 size=64\\n"
                "128: start=2048 size=64 name=last\\n");
    compare(3, 0);
    make("9T", "label: gpt\\nsize=5T\\nsize=1G\\n");
    compare(2, 0);
    make("64M", "label: gpt\\ntable-length: 400\\nsize=4M\\n390: size=4M\\n");
    compare(2, 0);
}

static void test_gpt_damage(void **state)
{
    (void)state;
    make("64M", "label: gpt\\nsize=4M name=a\\nsize=8M name=b\\n");
    run("dd if=/dev/zero of=%s/d.img bs=512 seek=1 count=10 conv=notrunc status=none", dir);
    run("truncate -s 64M %s/d.img", dir);
    compare(2, 1); /* sfdisk uses the backup as well */
    make("64M", "label: gpt\\nsize=4M name=a\\nsize=8M name=b\\n");
    run("truncate -s 100M %s/d.img", dir);
    compare(2, 1); /* the disk was grown */
    make("64M", "label: gpt\\nsize=4M name=a\\nsize=8M name=b\\n");
    run("dd if=/dev/zero of=%s/d.img bs=512 seek=131071 count=1 conv=notrunc status=none", dir);
    compare(2, 1); /* no backup */
}

static void test_hybrid(void **state)
{
    (void)state;
    make("64M", "label: gpt\\nsize=4M name=a\\nsize=8M name=b\\nsize=1M name=c\\n");
    run("sgdisk -h 1:3 %s/d.img >%s/log 2>&1", dir, dir);
    compare(3, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mbr),    cmocka_unit_test(test_logical),
        cmocka_unit_test(test_gpt),    cmocka_unit_test(test_gpt_damage),
        cmocka_unit_test(test_hybrid),
    };
    int rc;

    if (system(
            "sfdisk --version >/dev/null 2>&1 && sgdisk --version >/dev/null 2>&1")) { /* NOLINT */
        printf("SKIP: sfdisk (package fdisk) or sgdisk (package gdisk) is missing\n");
        return 77;
    }
    dir = test_tmpdir();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    test_rmdir(dir);
    return rc;
}
