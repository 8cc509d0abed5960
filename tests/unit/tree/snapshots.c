/* SPDX-License-Identifier: Apache-2.0 */
/* snapshots/: the older points of a chain made by hand. Each member but the base holds the last
 * sector of the disk only; the base has an MBR with one partition. */
#include "fixture.h"

#include "base/bytes.h"
#include "blk/layers.h"
#include "tree/node.h"
#include "tree/points.h"
#include "tree/tree_private.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DISK_SIZE (512u << 10)
#define PART      128u /* first sector of p1 */

struct shot {
    struct fixture f; /* the tree alone is used */
    struct image_format format;
    struct chain chain;
    struct image *images;
    struct vd_case whole;
    struct blkdev *fault; /* below the base */
    atomic_uint opened, last_number;
};

static void put_entry(uint8_t *sector, unsigned n, uint8_t type, uint32_t start, uint32_t count)
{
    sector[446 + 16 * n + 4] = type;
    vd_put_le32(sector + 446 + 16 * n + 8, start);
    vd_put_le32(sector + 446 + 16 * n + 12, count);
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

static void put_mbr(uint8_t *disk)
{
    test_fill(disk + PART * 512, DISK_SIZE - PART * 512, 5);
    put_entry(disk, 0, 0x83, PART, 256);
}

/* An extended partition with `n` logical ones of a sector each. */
static void put_logicals(uint8_t *disk, unsigned n)
{
    unsigned i;

    put_entry(disk, 0, 0x05, 1, 2 * n);
    for (i = 0; i < n; i++) {
        uint8_t *ebr = disk + (size_t)(1 + 2 * i) * 512;

        put_entry(ebr, 0, 0x83, 1, 1);
        if (i + 1 < n)
            put_entry(ebr, 1, 0x05, 2 * (i + 1), 2);
    }
}

static struct blkdev *base_layer(struct shot *s, void (*fill)(uint8_t *disk, unsigned n),
                                 unsigned n)
{
    uint8_t *disk = calloc(1, DISK_SIZE);
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *mem;

    if (!disk)
        abort();
    if (fill)
        fill(disk, n);
    else
        put_mbr(disk);
    memset(disk + DISK_SIZE - 512, 0, 512);
    assert_ok(blk_mem_new(disk, DISK_SIZE, "", &mem, &err));
    free(disk);
    assert_ok(blk_fault_new(mem, &s->fault, &err));
    return s->fault;
}

/* A child: its number, 512 times 16 bits, in the last sector. */
static struct blkdev *child_layer(size_t number)
{
    uint8_t sector[512];
    struct vd_err err = VD_ERR_INIT;
    struct blk_part parts[2] = {{.size = DISK_SIZE - 512, .hole = BLK_ABSENT}, {.size = 512}};
    struct blkdev *layer;
    size_t i;

    for (i = 0; i < 512; i += 2)
        vd_put_le16(sector + i, (uint16_t)number);
    assert_ok(blk_mem_new(sector, 512, "", &parts[1].dev, &err));
    assert_ok(blk_concat_new(parts, 2, "", &layer, &err));
    return layer;
}

static void chain_start(struct shot *s, size_t n, void (*fill)(uint8_t *disk, unsigned n),
                        unsigned arg)
{
    size_t i;

    memset(s, 0, sizeof(*s));
    s->format.name = "vmdk";
    s->images = calloc(n, sizeof(*s->images));
    s->chain.v = calloc(n, sizeof(*s->chain.v));
    s->chain.name = calloc(n, sizeof(*s->chain.name));
    if (!s->images || !s->chain.v || !s->chain.name)
        abort();
    s->chain.n = n;
    for (i = 0; i < n; i++) {
        size_t number = n - 1 - i;
        char name[64];

        (void)snprintf(name, sizeof(name), number ? "disk-%06zu.vmdk" : "disk.vmdk", number);
        s->images[i] = (struct image){
            .format = &s->format,
            .name = strdup(name),
            .dev = number ? child_layer(number) : base_layer(s, fill, arg),
            .has_parent = number != 0,
            .file = {.size = 1, .mtime_sec = 1000000 + (int64_t)number, .mtime_nsec = 7},
        };
        s->chain.v[i] = &s->images[i];
    }
}

static void opened(void *ctx, const struct vd_point *point)
{
    struct shot *s = ctx;

    s->opened++;
    s->last_number = (unsigned)case_point_number(point->chain, point->member);
}

/* Shows member `member` at the root. */
static void chain_show(struct shot *s, size_t member)
{
    const struct tree_options options = {.uid = 1,
                                         .gid = 2,
                                         .mount_time = 1700000000,
                                         .point_opened = opened,
                                         .point_opened_ctx = s};
    struct vd_err err = VD_ERR_INIT;

    s->chain.point = member;
    s->whole.chain = &s->chain;
    assert_ok(point_open(&s->chain, member, POINT_ALL, &s->whole.point, &err));
    assert_ok(tree_new(&s->whole, &options, "text\n", "{}\n", &s->f.tree, &err));
}

static void chain_hide(struct shot *s)
{
    tree_free(s->f.tree);
    s->f.tree = NULL;
    point_free(s->whole.point);
}

static void chain_stop(struct shot *s)
{
    size_t i;

    chain_hide(s);
    for (i = 0; i < s->chain.n; i++) {
        blk_unref(s->images[i].dev);
        free(s->images[i].name);
        free(s->chain.name[i].name);
        free(s->chain.name[i].description);
    }
    free(s->images);
    free(s->chain.v);
    free(s->chain.name);
}

static void set_name(struct shot *s, size_t number, const char *name)
{
    s->chain.name[s->chain.n - 1 - number].name = strdup(name);
}

static void check_names(struct shot *s, uint64_t dir, const char *expected)
{
    struct names names;
    char all[1024] = "";
    size_t i;

    fixture_list(&s->f, dir, &names);
    for (i = 0; i < names.n; i++) {
        struct vd_err err = VD_ERR_INIT;
        struct stat st;

        assert_ok(tree_getattr(s->f.tree, names.v[i].node, &st, &err));
        assert_int_equal(st.st_ino, names.v[i].node);
        assert_int_equal(st.st_mode & S_IFMT, names.v[i].type);
        strcat(strcat(all, names.v[i].name), " ");
    }
    assert_string_equal(all, expected);
    names_free(&names);
}

static uint64_t find(struct shot *s, const char *path)
{
    uint64_t node = TREE_ROOT;
    char *copy = strdup(path), *save = NULL, *part;

    for (part = strtok_r(copy, "/", &save); part; part = strtok_r(NULL, "/", &save))
        node = fixture_find(&s->f, node, part);
    free(copy);
    return node;
}

static struct stat stat_of(struct shot *s, uint64_t node)
{
    struct vd_err err = VD_ERR_INIT;
    struct stat st;

    assert_ok(tree_getattr(s->f.tree, node, &st, &err));
    return st;
}

/* The number that the disk image behind `node` holds in its last sector. */
static unsigned disk_number(struct shot *s, uint64_t node)
{
    struct vd_err err = VD_ERR_INIT;
    uint8_t two[2];
    size_t len;

    assert_ok(tree_read(s->f.tree, node, DISK_SIZE - 2, two, 2, &len, &err));
    assert_int_equal(len, 2);
    return vd_le16(two);
}

static char *text_of(struct shot *s, const char *path)
{
    struct vd_err err = VD_ERR_INIT;
    uint64_t node = find(s, path);
    size_t size = (size_t)stat_of(s, node).st_size, len;
    char *text = calloc(1, size + 1);

    if (!text)
        abort();
    assert_ok(tree_read(s->f.tree, node, 0, text, size, &len, &err));
    assert_int_equal(len, size);
    return text;
}

static char *xattr(struct shot *s, uint64_t node, const char *name)
{
    struct vd_err err = VD_ERR_INIT;
    static char value[256];
    char *text;
    size_t len;
    int rc = tree_getxattr(s->f.tree, node, name, &text, &len, &err);

    if (rc == -VD_ENOENT)
        return NULL;
    assert_ok(rc);
    assert_true(len < sizeof(value));
    memcpy(value, text, len);
    value[len] = '\0';
    free(text);
    return value;
}

static void the_tree_of_each_point(void **state)
{
    struct shot s;
    struct vd_err err = VD_ERR_INIT;
    uint64_t snapshots, one;
    char *text;

    (void)state;
    chain_start(&s, 3, NULL, 0);
    set_name(&s, 1, "Before the update");
    s.chain.name[1].description = strdup("clean");
    s.chain.name[1].has_created = true;
    s.chain.name[1].created_sec = 1500000000;
    s.chain.name[1].created_nsec = 9;
    chain_show(&s, 0);
    check_names(&s, TREE_ROOT, "disk.img info.txt info.json p1 gaps snapshots ");
    assert_int_equal(stat_of(&s, TREE_ROOT).st_nlink, 5);
    snapshots = find(&s, "snapshots");
    check_names(&s, snapshots, "00_disk.vmdk 01_disk-000001.vmdk by-name ");
    assert_int_equal(stat_of(&s, snapshots).st_nlink, 5);
    one = find(&s, "snapshots/01_disk-000001.vmdk");
    check_names(&s, one, "disk.img info.txt info.json p1 gaps ");
    check_names(&s, find(&s, "snapshots/00_disk.vmdk/p1"), "info.txt volume.img ");
    check_names(&s, find(&s, "snapshots/00_disk.vmdk/gaps"),
                "000000-065536.img 196608-524288.img ");
    assert_int_equal(disk_number(&s, find(&s, "disk.img")), 2);
    assert_int_equal(disk_number(&s, find(&s, "snapshots/01_disk-000001.vmdk/disk.img")), 1);
    assert_int_equal(disk_number(&s, find(&s, "snapshots/00_disk.vmdk/disk.img")), 0);
    assert_int_equal(tree_parent(s.f.tree, snapshots), TREE_ROOT);
    assert_int_equal(tree_parent(s.f.tree, one), snapshots);
    assert_int_equal(tree_parent(s.f.tree, fixture_find(&s.f, one, "p1")), one);
    assert_int_equal(tree_parent(s.f.tree, fixture_find(&s.f, one, "gaps")), one);
    assert_int_equal(tree_parent(s.f.tree, find(&s, "snapshots/by-name")), snapshots);
    fixture_absent(&s.f, snapshots, "02_disk-000002.vmdk"); /* that is the root */
    fixture_absent(&s.f, one, "snapshots");
    /* when */
    assert_int_equal(stat_of(&s, one).st_mtim.tv_sec, 1500000000);
    assert_int_equal(stat_of(&s, one).st_mtim.tv_nsec, 9);
    assert_int_equal(stat_of(&s, one).st_nlink, 1);
    assert_int_equal(stat_of(&s, find(&s, "snapshots/00_disk.vmdk")).st_mtim.tv_sec, 1000000);
    assert_int_equal(stat_of(&s, fixture_find(&s.f, one, "disk.img")).st_mtim.tv_sec, 1000001);
    assert_int_equal(stat_of(&s, find(&s, "disk.img")).st_mtim.tv_sec, 1000002);
    /* what */
    assert_string_equal(xattr(&s, one, "user.vdiskfs.point"), "1");
    assert_string_equal(xattr(&s, one, "user.vdiskfs.member"), "disk-000001.vmdk");
    assert_string_equal(xattr(&s, one, "user.vdiskfs.snapshot"), "Before the update");
    assert_string_equal(xattr(&s, one, "user.vdiskfs.snapshot_description"), "clean");
    assert_string_equal(xattr(&s, one, "user.vdiskfs.snapshot_created"),
                        "2017-07-14T02:40:00.000000009Z");
    assert_string_equal(xattr(&s, TREE_ROOT, "user.vdiskfs.point"), "2");
    assert_null(xattr(&s, TREE_ROOT, "user.vdiskfs.snapshot"));
    assert_string_equal(xattr(&s, find(&s, "snapshots/00_disk.vmdk/p1"), "user.vdiskfs.point"),
                        "0");
    assert_null(xattr(&s, find(&s, "disk.img"), "user.vdiskfs.point"));
    assert_string_equal(xattr(&s, fixture_find(&s.f, one, "disk.img"), "user.vdiskfs.kind"),
                        "disk");
    text = text_of(&s, "snapshots/01_disk-000001.vmdk/info.txt");
    assert_non_null(strstr(text, "Before the update"));
    assert_non_null(strstr(text, "disk-000001.vmdk"));
    assert_non_null(strstr(text, "disk.vmdk"));
    assert_null(strstr(text, "disk-000002.vmdk"));
    free(text);
    text = text_of(&s, "snapshots/01_disk-000001.vmdk/info.json");
    assert_non_null(strstr(text, "\"created\": \"2017-07-14T02:40:00.000000009Z\""));
    assert_null(strstr(text, "disk-000002.vmdk"));
    free(text);
    assert_ok(tree_readlink(s.f.tree, find(&s, "snapshots/by-name/Before the update"),
                            TREE_DEPTH_UNKNOWN, &text, &err));
    assert_string_equal(text, "../01_disk-000001.vmdk");
    free(text);
    chain_stop(&s);
}

/* Looking at snapshots/ itself opens nothing; a point is opened once. */
static void opened_at_the_first_look(void **state)
{
    struct shot s;
    struct names names;
    uint64_t snapshots;
    size_t i;

    (void)state;
    chain_start(&s, 20, NULL, 0);
    chain_show(&s, 0);
    snapshots = find(&s, "snapshots");
    fixture_list(&s.f, snapshots, &names);
    assert_int_equal(names.n, 19);
    for (i = 0; i < names.n; i++) {
        (void)stat_of(&s, names.v[i].node);
        assert_non_null(xattr(&s, names.v[i].node, "user.vdiskfs.member"));
        assert_int_equal(tree_parent(s.f.tree, names.v[i].node), snapshots);
    }
    assert_int_equal(s.opened, 0);
    assert_int_equal(points_count(s.f.tree->points), 0);
    assert_int_equal(disk_number(&s, fixture_find(&s.f, names.v[7].node, "disk.img")), 7);
    assert_int_equal(s.opened, 1);
    assert_int_equal(s.last_number, 7);
    (void)stat_of(&s, fixture_find(&s.f, names.v[7].node, "p1"));
    fixture_absent(&s.f, names.v[7].node, "p9");
    assert_int_equal(s.opened, 1);
    assert_int_equal(points_count(s.f.tree->points), 1);
    names_free(&names);
    chain_stop(&s);
}

/* One member: no snapshots/; another point at the root: older ones only, under the same numbers. */
static void which_points_are_shown(void **state)
{
    struct shot s;
    uint64_t dir, file, snapshots = node_synthetic(0, NODE_SNAPSHOTS);
    struct stat st;

    (void)state;
    chain_start(&s, 1, NULL, 0);
    chain_show(&s, 0);
    check_names(&s, TREE_ROOT, "disk.img info.txt info.json p1 gaps ");
    assert_int_equal(tree_getattr(s.f.tree, snapshots, &st, NULL), -VD_ENOENT);
    assert_null(xattr(&s, TREE_ROOT, "user.vdiskfs.point"));
    chain_stop(&s);

    chain_start(&s, 4, NULL, 0);
    chain_show(&s, 0);
    dir = find(&s, "snapshots/00_disk.vmdk");
    file = fixture_find(&s.f, fixture_find(&s.f, dir, "p1"), "volume.img");
    assert_int_equal(
        tree_getattr(s.f.tree, node_synthetic(tree_point_view(3), NODE_DIR), &st, NULL),
        -VD_ENOENT);
    chain_hide(&s);
    chain_show(&s, 2); /* point 1 */
    assert_int_equal(disk_number(&s, find(&s, "disk.img")), 1);
    check_names(&s, find(&s, "snapshots"), "00_disk.vmdk ");
    assert_int_equal(find(&s, "snapshots/00_disk.vmdk"), dir);
    assert_int_equal(find(&s, "snapshots/00_disk.vmdk/p1/volume.img"), file);
    assert_string_equal(xattr(&s, TREE_ROOT, "user.vdiskfs.point"), "1");
    assert_int_equal(
        tree_getattr(s.f.tree, node_synthetic(tree_point_view(1), NODE_DIR), &st, NULL),
        -VD_ENOENT);
    assert_int_equal(
        tree_getattr(s.f.tree, node_synthetic(tree_point_view(0), NODE_NAME_LINK), &st, NULL),
        -VD_ENOENT);
    assert_int_equal(
        tree_getattr(s.f.tree, node_synthetic(tree_point_view(0), NODE_GAPS), &st, NULL), 0);
    chain_hide(&s);
    chain_show(&s, 3); /* the base */
    assert_int_equal(disk_number(&s, find(&s, "disk.img")), 0);
    fixture_absent(&s.f, TREE_ROOT, "snapshots");
    chain_stop(&s);
}

/* Names from the evidence: escaped, unique, and the same when snapshots are added. */
static void hostile_names(void **state)
{
    static const char *const given[] = {"a", "a", "a~01", "../..", ".", "x/y", "", "a"};
    struct shot s;
    char longest[3000], *target;
    struct vd_err err = VD_ERR_INIT;
    struct names names;
    size_t i;

    (void)state;
    memset(longest, '%', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    chain_start(&s, 12, NULL, 0);
    for (i = 0; i < 8; i++)
        set_name(&s, i, given[i]);
    set_name(&s, 8, longest);
    set_name(&s, 9, longest);
    free(s.images[1].name); /* point 10 */
    s.images[1].name = strdup(longest);
    free(s.images[10].name); /* point 1 */
    s.images[10].name = strdup("/../\x01%41");
    chain_show(&s, 0);
    fixture_list(&s.f, find(&s, "snapshots"), &names);
    assert_int_equal(names.n, 12);
    assert_string_equal(names.v[1].name, "01_%2F..%2F%01%2541");
    assert_int_equal(strlen(names.v[10].name), 1024);
    assert_string_equal(names.v[11].name, "by-name");
    names_free(&names);
    fixture_list(&s.f, find(&s, "snapshots/by-name"), &names);
    assert_int_equal(names.n, 9);
    assert_string_equal(names.v[0].name, "a");
    assert_string_equal(names.v[1].name, "a~01");
    assert_string_equal(names.v[2].name, "a~01~02");
    assert_string_equal(names.v[3].name, "..%2F..");
    assert_string_equal(names.v[4].name, "%2E");
    assert_string_equal(names.v[5].name, "x%2Fy");
    assert_string_equal(names.v[6].name, "a~07");
    assert_int_equal(strlen(names.v[7].name), 1024);
    assert_int_equal(strlen(names.v[8].name), 1024);
    assert_string_equal(names.v[8].name + 1021, "~09");
    assert_string_equal(xattr(&s, names.v[6].node, "vdiskfs.snapshot"), "a");
    assert_int_equal(names.v[6].type, S_IFLNK);
    assert_ok(tree_readlink(s.f.tree, names.v[1].node, 0, &target, &err));
    assert_string_equal(target, "../01_%2F..%2F%01%2541");
    assert_int_equal(stat_of(&s, names.v[1].node).st_size, strlen(target));
    free(target);
    assert_fails(tree_open(s.f.tree, names.v[1].node, &(bool){false}, &err), VD_EREFUSED, "link");
    names_free(&names);
    assert_int_equal(s.opened, 0);
    chain_stop(&s);
}

/* The disk is there although its table cannot be read, and says so. */
static void a_table_that_cannot_be_read(void **state)
{
    const struct blk_fault_rule rule = {.kind = BLK_FAULT_ERROR, .len = 512, .persistent = true};
    struct shot s;
    struct vd_err err = VD_ERR_INIT;
    char *text, buf[16];
    size_t len;

    (void)state;
    chain_start(&s, 3, NULL, 0);
    chain_show(&s, 0);
    blk_fault_set(s.fault, &rule);
    check_names(&s, find(&s, "snapshots/01_disk-000001.vmdk"), "disk.img info.txt info.json ");
    assert_int_equal(disk_number(&s, find(&s, "snapshots/01_disk-000001.vmdk/disk.img")), 1);
    assert_int_equal(tree_read(s.f.tree, find(&s, "snapshots/01_disk-000001.vmdk/disk.img"), 0, buf,
                               sizeof(buf), &len, &err),
                     -VD_EIO);
    text = text_of(&s, "snapshots/01_disk-000001.vmdk/info.txt");
    assert_non_null(strstr(text, "partition table cannot be read"));
    free(text);
    text = text_of(&s, "snapshots/01_disk-000001.vmdk/info.json");
    assert_non_null(strstr(text, "\"partition_table\": null"));
    free(text);
    blk_fault_set(s.fault, NULL);
    chain_stop(&s);
}

/* The deepest chain: every point right, few of them open at a time, each told once. */
static void a_deep_chain(void **state)
{
    struct shot s;
    struct names names;
    size_t i;

    (void)state;
    chain_start(&s, 1025, NULL, 0);
    chain_show(&s, 0);
    fixture_list(&s.f, find(&s, "snapshots"), &names);
    assert_int_equal(names.n, 1024);
    assert_string_equal(names.v[0].name, "0000_disk.vmdk");
    assert_string_equal(names.v[1023].name, "1023_disk-001023.vmdk");
    for (i = 0; i < names.n; i += i < 1000 ? 10 : 1) {
        assert_int_equal(disk_number(&s, fixture_find(&s.f, names.v[i].node, "disk.img")), i);
        assert_true(points_count(s.f.tree->points) <= POINTS_IDLE_MAX + 1);
    }
    assert_int_equal(s.opened, 124);
    assert_int_equal(disk_number(&s, fixture_find(&s.f, names.v[0].node, "disk.img")), 0);
    assert_int_equal(s.opened, 124); /* opened again, told once */
    names_free(&names);
    chain_stop(&s);
}

/* More volumes than a far point has numbers: listed, and every use fails; nothing is aliased. */
static void too_many_volumes(void **state)
{
    struct shot s;
    struct vd_err err = VD_ERR_INIT;
    struct stat st;
    uint64_t near, far, node;

    (void)state;
    chain_start(&s, 67, put_logicals, 200);
    chain_show(&s, 0);
    near = find(&s, "snapshots/63_disk-000063.vmdk");
    far = find(&s, "snapshots/64_disk-000064.vmdk");
    (void)fixture_find(&s.f, fixture_find(&s.f, near, "p204"), "volume.img");
    (void)fixture_find(&s.f, fixture_find(&s.f, far, "p131"), "volume.img");
    assert_fails(tree_lookup(s.f.tree, far, "p132", &node, &err), VD_ELIMIT, "volume 128");
    node = node_synthetic(node_view(65, 200), NODE_DIR);
    assert_fails(tree_getattr(s.f.tree, node, &st, &err), VD_ELIMIT, "volume 200");
    chain_stop(&s);
}

struct job {
    struct shot *s;
    unsigned seed;
    atomic_uint *wrong;
};

static void *many_looks(void *arg)
{
    struct job *job = arg;
    unsigned i, x = job->seed;

    for (i = 0; i < 300; i++) {
        size_t number;
        uint64_t node;
        uint8_t two[2];
        size_t len = 0;

        x = x * 1103515245 + 12345;
        number = i < 99 ? i : (x >> 8) % 99;
        node = node_synthetic(tree_point_view(number), NODE_DIR);
        if (tree_lookup(job->s->f.tree, node, i % 2 ? "disk.img" : "gaps", &node, NULL))
            (*job->wrong)++;
        node = node_synthetic(tree_point_view(number), NODE_IMAGE);
        if (tree_read(job->s->f.tree, node, DISK_SIZE - 2, two, 2, &len, NULL) || len != 2 ||
            vd_le16(two) != number)
            (*job->wrong)++;
    }
    return NULL;
}

/* Threads that look at the same and other points while these come and go. */
static void many_threads(void **state)
{
    struct shot s;
    struct job job[8];
    pthread_t thread[8];
    atomic_uint wrong = 0;
    unsigned i;

    (void)state;
    chain_start(&s, 100, NULL, 0);
    chain_show(&s, 0);
    for (i = 0; i < 8; i++) {
        job[i] = (struct job){&s, i / 2 + 1, &wrong}; /* two each go the same way */
        assert_int_equal(pthread_create(&thread[i], NULL, many_looks, &job[i]), 0);
    }
    for (i = 0; i < 8; i++)
        (void)pthread_join(thread[i], NULL);
    assert_int_equal(wrong, 0);
    assert_int_equal(s.opened, 99);
    assert_true(points_count(s.f.tree->points) <= POINTS_IDLE_MAX);
    chain_stop(&s);
}

/* While one point is slow to open, the others answer. */
static void *slow_look(void *arg)
{
    struct shot *s = arg;

    return (void *)(uintptr_t)(disk_number(s, find(s, "snapshots/01_disk-000001.vmdk/disk.img")) !=
                               1);
}

static void opening_blocks_nobody_else(void **state)
{
    const struct blk_fault_rule slow = {
        .kind = BLK_FAULT_DELAY, .len = 512, .delay_ms = 700, .nth = 1};
    struct shot s;
    struct timespec t0, t1;
    pthread_t thread[2];
    void *failed;
    uint64_t img;
    unsigned i;
    double seconds;

    (void)state;
    chain_start(&s, 4, NULL, 0);
    chain_show(&s, 0);
    img = find(&s, "snapshots/02_disk-000002.vmdk/disk.img"); /* open */
    blk_fault_set(s.fault, &slow);
    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, slow_look, &s), 0);
    while (blk_fault_count(s.fault) == 0)
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    (void)clock_gettime(CLOCK_MONOTONIC, &t0);
    assert_int_equal(disk_number(&s, img), 2);
    assert_int_equal(disk_number(&s, find(&s, "disk.img")), 3);
    assert_int_equal(disk_number(&s, find(&s, "snapshots/00_disk.vmdk/disk.img")), 0);
    (void)stat_of(&s, find(&s, "snapshots/01_disk-000001.vmdk"));
    (void)clock_gettime(CLOCK_MONOTONIC, &t1);
    seconds = (double)(t1.tv_sec - t0.tv_sec) + (double)(t1.tv_nsec - t0.tv_nsec) / 1e9;
    assert_int_equal(s.opened, 2); /* 02 and 00: the slow one is still being opened */
    assert_true(seconds < 0.6);
    for (i = 0; i < 2; i++) {
        (void)pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(s.opened, 3); /* one flight for both */
    chain_stop(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_of_each_point),
        cmocka_unit_test(opened_at_the_first_look),
        cmocka_unit_test(which_points_are_shown),
        cmocka_unit_test(hostile_names),
        cmocka_unit_test(a_table_that_cannot_be_read),
        cmocka_unit_test(a_deep_chain),
        cmocka_unit_test(too_many_volumes),
        cmocka_unit_test(many_threads),
        cmocka_unit_test(opening_blocks_nobody_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
