/* SPDX-License-Identifier: Apache-2.0 */
/* The pure part of VHDX's metadata: table and values. */
#include "testlib.h"

#include "../../evil/vhd/build.h"
#include "base/bytes.h"
#include "image/vhdx/vhdx.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t one_block[1] = {6};
static const uint8_t stranger[16] = {0x99, 0x98, 0x97};

struct fixture {
    struct built b;
    uint8_t *m; /* the region */
};

static int decode(const struct fixture *f, struct vhdx_items *out, struct vd_err *err)
{
    return vhdx_items_decode(f->m, VHDX_TABLE_SIZE, VHDX_T_MIB, out, err);
}

static struct fixture make(void)
{
    struct fixture f = {.b = build_vhdx(1, one_block, 1, NULL)};

    f.m = f.b.p + VHDX_T_METADATA;
    return f;
}

/* Entry i of the table, field at `at` of it. */
static uint8_t *entry(const struct fixture *f, unsigned i, unsigned at)
{
    return f->m + 32 + (size_t)32 * i + at;
}

static void known_items_are_found(void **state)
{
    struct fixture f = make();
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_items items;

    (void)state;
    assert_ok(decode(&f, &items, &err));
    assert_true(items.item[VHDX_FILE_PARAMETERS].present);
    assert_int_equal(items.item[VHDX_DISK_SIZE].off, VHDX_T_SIZE);
    assert_int_equal(items.item[VHDX_DISK_ID].len, 16);
    assert_false(items.item[VHDX_PARENT_LOCATOR].present);
    assert_int_equal(items.n_unknown, 0);

    vhdx_add_item(f.b.p, stranger, 0x20000, 100, 1); /* the user's, optional */
    vhdx_add_item(f.b.p, stranger, 0, 0, 0);         /* present but empty */
    assert_ok(decode(&f, &items, &err));
    assert_int_equal(items.n_unknown, 2);
    assert_int_equal(items.n_user, 1);
    vhdx_add_item(f.b.p, stranger, 0x30000, 100, 4);
    assert_fails(decode(&f, &items, &err), VD_EUNSUPPORTED,
                 "required item 00979899-0000-0000-0000-000000000000");
    free(f.b.p);
}

/* A known GUID with the user flag is the user's own item, not ours. */
static void user_items_do_not_count(void **state)
{
    struct fixture f = make();
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_items items;

    (void)state;
    *entry(&f, 1, 24) = 3;
    assert_ok(decode(&f, &items, &err));
    assert_false(items.item[VHDX_DISK_SIZE].present);
    free(f.b.p);
}

static void table_bounds(void **state)
{
    struct fixture f = make();
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_items items;
    unsigned i;

    (void)state;
    vd_put_le32(entry(&f, 1, 16), 0xfff8); /* before the items' part of the region */
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "entry 1 (8 bytes at offset 65528)");
    vd_put_le32(entry(&f, 1, 16), VHDX_T_MIB - 7);
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "not inside the region");
    vd_put_le32(entry(&f, 1, 16), UINT32_MAX);
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "not inside the region");
    vd_put_le32(entry(&f, 1, 16), VHDX_T_SIZE);
    vd_put_le32(entry(&f, 1, 20), UINT32_MAX);
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "not inside the region");
    vd_put_le32(entry(&f, 1, 20), 9);
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "overlap");
    vd_put_le32(entry(&f, 1, 20), 0); /* empty, but somewhere */
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "not inside the region");
    vd_put_le32(entry(&f, 1, 20), 8);
    assert_ok(decode(&f, &items, &err));

    vhdx_add_item(f.b.p, entry(&f, 1, 0), 0x20000, 8, 6);
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "virtual disk size is there twice");
    vd_put_le16(f.m + 10, 2048);
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "2048 entries");
    vd_put_le16(f.m + 10, 5);
    for (i = 0; i < 1025; i++)
        vhdx_add_item(f.b.p, stranger, 0x20000 + i, 1, 1);
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "more than 1024 user items");
    f.m[0] = 0;
    assert_fails(decode(&f, &items, &err), VD_ECORRUPT, "signature");
    free(f.b.p);
}

static void values(void **state)
{
    const struct vhdx_metadata good = {.block_size = 32 << 20,
                                       .disk_size = UINT64_C(64) << 40,
                                       .logical_sector = 512,
                                       .physical_sector = 4096};
    struct vd_err err = VD_ERR_INIT;
    struct vhdx_metadata m = good;
    const uint32_t bad_blocks[] = {0, 1, 3, 512, 3 << 20, 512 << 20, 1u << 31};
    const uint64_t bad_sizes[] = {0, 513, (UINT64_C(64) << 40) + 512, UINT64_C(1) << 63,
                                  UINT64_MAX};
    const uint32_t bad_sectors[] = {0, 1, 511, 1024, 8192};
    uint8_t raw[8] = {0, 0, 0x10, 0, 3};
    size_t i;

    (void)state;
    assert_ok(vhdx_metadata_validate(&m, &err));
    for (i = 0; i < 7; i++) {
        m = good;
        m.block_size = bad_blocks[i];
        assert_fails(vhdx_metadata_validate(&m, &err), VD_ECORRUPT, "block size");
    }
    for (i = 0; i < 5; i++) {
        m = good;
        m.disk_size = bad_sizes[i];
        assert_fails(vhdx_metadata_validate(&m, &err), VD_ECORRUPT, "virtual disk size");
        m = good;
        m.logical_sector = bad_sectors[i];
        assert_fails(vhdx_metadata_validate(&m, &err), VD_ECORRUPT, "logical sector");
        if (i) {
            m = good;
            m.physical_sector = bad_sectors[i];
            assert_fails(vhdx_metadata_validate(&m, &err), VD_ECORRUPT, "physical sector");
        }
    }
    assert_ok(vhdx_value_decode(VHDX_FILE_PARAMETERS, raw, 8, &m, &err));
    assert_int_equal(m.block_size, 1 << 20);
    assert_true(m.fixed && m.has_parent);
    assert_fails(vhdx_value_decode(VHDX_FILE_PARAMETERS, raw, 4, &m, &err), VD_ECORRUPT,
                 "file parameters has 4 bytes instead of 8");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_items_are_found),
        cmocka_unit_test(user_items_do_not_count),
        cmocka_unit_test(table_bounds),
        cmocka_unit_test(values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
