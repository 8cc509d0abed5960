/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that were devices: raw device mappings, whole and partitioned devices.  Files stand in for
 * them; devices are named in the refusal and never asked for. */
#include "testlib.h"

#include "blk/layers.h"
#include "image/image.h"

#include <stdio.h>
#include <string.h>

#define HEAD                                                                                       \
    "# Disk DescriptorFile\nversion=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"%s\"\n"

static uint8_t disk[200 * 512], table[63 * 512];

/* A directory in memory that writes down what it is asked for. */
struct dir {
    const char *text;
    char asked[1024];
};

static int dir_open(void *ctx, unsigned number, const char *name, struct blkdev **out,
                    struct vd_err *err)
{
    struct dir *d = ctx;

    (void)number;
    (void)strncat(d->asked, name, sizeof(d->asked) - strlen(d->asked) - 1);
    (void)strncat(d->asked, " ", sizeof(d->asked) - strlen(d->asked) - 1);
    if (strcmp(name, "x.vmdk") == 0)
        return blk_mem_new(d->text, strlen(d->text), name, out, err);
    if (strcmp(name, "x-pt.vmdk") == 0)
        return blk_mem_new(table, sizeof(table), name, out, err);
    if (strcmp(name, "x-rdm.vmdk") == 0 || strcmp(name, "disk.img") == 0 ||
        strcmp(name, "sda") == 0 || strcmp(name, "PhysicalDrive0") == 0)
        return blk_mem_new(disk, sizeof(disk), name, out, err);
    return vd_fail(err, VD_ENOENT, "%s: no such file", name);
}

static int dir_list(void *ctx, unsigned number, int (*fn)(void *fn_ctx, const char *name),
                    void *fn_ctx, struct vd_err *err)
{
    (void)ctx;
    (void)number;
    (void)fn;
    (void)fn_ctx;
    (void)err;
    return 0;
}

static int open_disk(struct dir *d, const char *type, const char *lines, struct image **out,
                     struct vd_err *err)
{
    static char text[2048];
    struct blk_source source = {.open = dir_open, .list = dir_list, .n_dirs = 1, .ctx = d};
    int n = snprintf(text, sizeof(text), HEAD, type);

    (void)snprintf(text + n, sizeof(text) - (size_t)n, "%s", lines);
    d->text = text;
    d->asked[0] = '\0';
    return image_open(&source, 0, "x.vmdk", out, err);
}

struct wanted {
    const char *text;
    int found;
};

static void look(void *ctx, const char *layer, enum vd_fact_kind kind, const char *key,
                 const char *value)
{
    struct wanted *w = ctx;

    (void)layer;
    (void)key;
    w->found += kind == VD_FACT_WARNING && test_contains(value, w->text);
}

static void assert_warned(const struct image *image, const char *text)
{
    struct wanted w = {text, 0};

    vd_facts_each(&image->facts, "", look, &w);
    assert_int_equal(w.found, 1);
}

/* A file as large as the raw device is its copy: on ESX, copying the mapping copies the LUN. */
static void test_mapping(void **state)
{
    static const char *const types[] = {"VMFSRDM", "VMFSRAW"};
    struct dir d;
    size_t i;

    (void)state;
    test_fill(disk, sizeof(disk), 1);
    for (i = 0; i < 2; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        uint8_t bytes[sizeof(disk)];
        char line[100];

        (void)snprintf(line, sizeof(line), "RW 200 %s \"x-rdm.vmdk\"\n", types[i]);
        assert_ok(open_disk(&d, "vmfsRawDeviceMap", line, &image, &err));
        assert_int_equal(image->dev->size, sizeof(disk));
        assert_ok(blk_read(image->dev, 0, bytes, sizeof(bytes), &err));
        assert_memory_equal(bytes, disk, sizeof(disk));
        assert_warned(image, "the disk was a raw device");
        image_free(image);
        image = NULL;
        (void)snprintf(line, sizeof(line), "RW 201 %s \"x-rdm.vmdk\"\n", types[i]);
        assert_fails(open_disk(&d, "vmfsRawDeviceMap", line, &image, &err), VD_EREFUSED,
                     "\"x-rdm.vmdk\" maps a raw device of the host");
        assert_true(test_contains(err.msg, "102400 bytes, the disk 102912"));
        (void)snprintf(line, sizeof(line), "RW 200 %s \"gone-rdm.vmdk\"\n", types[i]);
        assert_fails(open_disk(&d, "vmfsRawDeviceMap", line, &image, &err), VD_ECHAIN,
                     "\"gone-rdm.vmdk\" is missing");
    }
}

/* Files beside the image stand for the parts of a device, from their start sectors. */
static void test_partitioned(void **state)
{
    struct vd_err err = VD_ERR_INIT;
    struct image *image = NULL;
    uint8_t bytes[163 * 512], wanted[163 * 512];
    struct dir d;

    (void)state;
    test_fill(disk, sizeof(disk), 2);
    test_fill(table, sizeof(table), 3);
    assert_ok(open_disk(&d, "partitionedDevice",
                        "RW 63 FLAT \"x-pt.vmdk\" 0\nRW 80 FLAT \"disk.img\" 63\nRW 20 ZERO\n",
                        &image, &err));
    memcpy(wanted, table, sizeof(table));
    memcpy(wanted + sizeof(table), disk + sizeof(table), 80 * 512);
    memset(wanted + 143 * 512, 0, 20 * 512);
    assert_int_equal(image->dev->size, sizeof(wanted));
    assert_ok(blk_read(image->dev, 0, bytes, sizeof(bytes), &err));
    assert_memory_equal(bytes, wanted, sizeof(wanted));
    assert_string_equal(image->kind, "partitionedDevice");
    image_free(image);
}

static const struct {
    const char *type, *lines, *device;
} devices[] = {
    {"fullDevice", "RW 200 FLAT \"\\\\.\\PhysicalDrive0\" 0\n", "\\\\.\\PhysicalDrive0"},
    {"fullDevice", "RW 200 FLAT \"/dev/sda\" 0\n", "/dev/sda"},
    {"partitionedDevice", "RW 63 FLAT \"x-pt.vmdk\" 0\nRW 80 FLAT \"/dev/sda\" 63\n", "/dev/sda"},
    {"vmfsPassthroughRawDeviceMap", "RW 200 VMFSRDM \"/vmfs/devices/disks/vml.01\"\n", "vml.01"},
    {"vmfsRaw", "RW 200 VMFSRAW \"/vmfs/devices/disks/sda\"\n", "/vmfs/devices/disks/sda"},
    {"custom", "RW 200 SPARSE \"/dev/sda\"\n", "/dev/sda"},
};

/* Even if a file of the device's name lies beside the image. */
static void test_devices(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
        struct vd_err err = VD_ERR_INIT;
        struct image *image = NULL;
        struct dir d;

        assert_fails(open_disk(&d, devices[i].type, devices[i].lines, &image, &err), VD_EREFUSED,
                     "is a device of the machine that used the disk");
        assert_true(test_contains(err.msg, devices[i].device));
        assert_false(test_contains(d.asked, "sda"));
        assert_false(test_contains(d.asked, "PhysicalDrive0"));
        assert_false(test_contains(d.asked, "vml"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mapping),
        cmocka_unit_test(test_partitioned),
        cmocka_unit_test(test_devices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
