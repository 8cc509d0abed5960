/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor text: what real producers write, and what must be refused. */
#include "testlib.h"

#include "image/vmdk/descriptor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGNATURE "# Disk DescriptorFile\n"
#define HEAD      SIGNATURE "version=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"custom\"\n"

static int decode(const char *text, struct vmdk_descriptor *d, struct vd_facts *facts,
                  struct vd_err *err)
{
    return vmdk_descriptor_decode(text, strlen(text), d, facts, err);
}

static bool has_warning(const struct vd_facts *facts, const char *text)
{
    size_t i;

    for (i = 0; i < facts->n; i++)
        if (facts->v[i].kind == VD_FACT_WARNING && strstr(facts->v[i].value, text))
            return true;
    return false;
}

/* The same content in many clothes. */
static const struct {
    const char *name, *text;
    bool signature;
} clothes[] = {
    {"plain", HEAD "RW 100 FLAT \"a.vmdk\" 7\n", true},
    {"CR LF",
     "# Disk DescriptorFile\r\nversion=1\r\nCID=1234abcd\r\nparentCID=ffffffff\r\n"
     "createType=\"custom\"\r\nRW 100 FLAT \"a.vmdk\" 7\r\n",
     true},
    {"CR only",
     "# Disk DescriptorFile\rCID=1234abcd\rparentCID=ffffffff\rcreateType=\"custom\"\r"
     "RW 100 FLAT \"a.vmdk\" 7",
     true},
    {"byte order mark", "\xef\xbb\xbf" HEAD "RW 100 FLAT \"a.vmdk\" 7\n", true},
    {"blanks, tabs and case",
     "\n\n  #   disk descriptorfile  \n\t version = 1\n CID\t=\t1234ABCD \n PARENTcid = FFFFFFFF\n"
     "CREATETYPE = \"custom\" \n  rw\t100   flat  \"a.vmdk\"   7  \n",
     true},
    {"first line missing",
     "version=1\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"custom\"\nRW 100 FLAT \"a.vmdk\" "
     "7\n",
     false},
    {"parentCID first",
     SIGNATURE
     "parentCID=ffffffff\nCID=1234abcd\ncreateType=\"custom\"\nRW 100 FLAT \"a.vmdk\" 7\n",
     true},
    {"unquoted values, device words",
     SIGNATURE "CID=1234abcd\nparentCID=ffffffff\ncreateType=custom\n"
               "RW 100 FLAT \"a.vmdk\" 7 partitionUUID \"x\" device\n",
     true},
    {"other case of sections",
     "# disk DescriptorFile\nCID=1234abcd\nparentCID=ffffffff\ncreateType=\"custom\"\n"
     "# Extent Description\nRW 100 FLAT \"a.vmdk\" 7\n# The disk Data Base\n#ddb\nddb.x=\"1\"\n",
     true},
};

static void test_clothes(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(clothes) / sizeof(clothes[0]); i++) {
        struct vmdk_descriptor d;
        struct vd_facts facts = VD_FACTS_INIT;
        struct vd_err err = VD_ERR_INIT;
        const char *text = clothes[i].text;

        print_message("%s\n", clothes[i].name);
        assert_true(vmdk_descriptor_probe((const uint8_t *)text, strlen(text), strlen(text)));
        assert_ok(decode(text, &d, &facts, &err));
        assert_true(d.has_cid && d.has_parent_cid);
        assert_int_equal(d.cid, 0x1234abcd);
        assert_int_equal(d.parent_cid, VMDK_CID_NONE);
        assert_string_equal(d.create_type, "custom");
        assert_int_equal(d.n_extents, 1);
        assert_int_equal(d.extents[0].access, VMDK_ACCESS_RW);
        assert_int_equal(d.extents[0].type, VMDK_EXTENT_FLAT);
        assert_int_equal(d.extents[0].sectors, 100);
        assert_int_equal(d.extents[0].start_sectors, 7);
        assert_string_equal(d.extents[0].path, "a.vmdk");
        assert_int_equal(has_warning(&facts, "# Disk DescriptorFile"), !clothes[i].signature);
        vmdk_descriptor_clear(&d);
        vd_facts_clear(&facts);
    }
}

static void test_extent_lines(void **state)
{
    static const char text[] = HEAD "RW 1 SPARSE \"s 1.vmdk\"\n"
                                    "RDONLY 2 FLAT \"\\\\.\\PhysicalDrive0\" 63\n"
                                    "NOACCESS 3 ZERO\n"
                                    "RW 4 ZERO\n"
                                    "RW 5 VMFS \"v-flat.vmdk\"\n"
                                    "RW 6 VMFSSPARSE \"v-delta.vmdk\"\n"
                                    "RW 7 SESPARSE \"v-sesparse.vmdk\"\n"
                                    "RW 8 VMFSRDM \"v-rdm.vmdk\"\n"
                                    "RW 9 VMFSRAW \"v-raw.vmdk\"\n";
    static const enum vmdk_extent_type types[] = {
        VMDK_EXTENT_SPARSE,   VMDK_EXTENT_FLAT,    VMDK_EXTENT_ZERO,
        VMDK_EXTENT_ZERO,     VMDK_EXTENT_VMFS,    VMDK_EXTENT_VMFSSPARSE,
        VMDK_EXTENT_SESPARSE, VMDK_EXTENT_VMFSRDM, VMDK_EXTENT_VMFSRAW,
    };
    struct vmdk_descriptor d;
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    assert_ok(decode(text, &d, &facts, &err));
    assert_int_equal(d.n_extents, 9);
    for (i = 0; i < 9; i++) {
        assert_int_equal(d.extents[i].type, types[i]);
        assert_int_equal(d.extents[i].sectors, i + 1);
        assert_int_equal(d.extents[i].line, i + 6);
    }
    assert_string_equal(d.extents[0].path, "s 1.vmdk");
    assert_int_equal(d.extents[1].access, VMDK_ACCESS_RDONLY);
    assert_int_equal(d.extents[1].start_sectors, 63);
    assert_int_equal(d.extents[2].access, VMDK_ACCESS_NOACCESS);
    assert_null(d.extents[2].path);
    vmdk_descriptor_clear(&d);
    vd_facts_clear(&facts);
}

static const struct {
    const char *text;
    enum vd_class cls;
    const char *message;
} refused[] = {
    {HEAD "RW 100 FLAT a.vmdk 0\n", VD_ECORRUPT, "line 6"},
    {HEAD "\nRW 100 FLAT \"a.vmdk\n", VD_ECORRUPT, "line 7"},
    {HEAD "RW 100 FLAT \"\" 0\n", VD_ECORRUPT, "not quoted or empty"},
    {HEAD "RW 100 FLAT \"a\" x\n", VD_ECORRUPT, "start sector"},
    {HEAD "RW FLAT \"a\" 0\n", VD_ECORRUPT, "size is not a number"},
    {HEAD "RW -1 FLAT \"a\" 0\n", VD_ECORRUPT, "size is not a number"},
    {HEAD "RW 0 FLAT \"a\" 0\n", VD_ELIMIT, "0 sectors"},
    {HEAD "RW 18014398509481984 FLAT \"a\" 0\n", VD_ELIMIT, "18014398509481984"},
    {HEAD "RW 99999999999999999999999 FLAT \"a\" 0\n", VD_ECORRUPT, "size is not a number"},
    {HEAD "RW 100 FLAT \"a\" 99999999999999999999999\n", VD_ECORRUPT, "start sector"},
    {HEAD "RW 100 FANCY \"a\" 0\n", VD_EUNSUPPORTED, "extent type \"FANCY\""},
    {HEAD "RW\n", VD_ECORRUPT, "size is not a number"},
    {HEAD "RW2048 FLAT \"a\" 0\n", VD_ECORRUPT, "line 6: not an extent: \"RW2048 FLAT"},
    {HEAD "rdonlyX 8 FLAT \"a\" 0\n", VD_ECORRUPT, "not an extent"},
    {HEAD "encryptionKeys=\"x\"\n", VD_EUNSUPPORTED, "encrypted"},
    {HEAD "ddb.iofilters = \"vmwarevmcrypt\"\n", VD_EUNSUPPORTED, "encrypted"},
};

static void test_refused(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct vmdk_descriptor d;
        struct vd_facts facts = VD_FACTS_INIT;
        struct vd_err err = VD_ERR_INIT;

        assert_fails(decode(refused[i].text, &d, &facts, &err), refused[i].cls, refused[i].message);
        vd_facts_clear(&facts);
    }
}

static void test_other_lines_are_told(void **state)
{
    struct vmdk_descriptor d;
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(decode(HEAD "RW 100 FLAT \"a.vmdk\" 7\nnobody knows\n", &d, &facts, &err));
    assert_true(has_warning(&facts, "is not understood: \"nobody knows\""));
    vmdk_descriptor_clear(&d);
    vd_facts_clear(&facts);
}

static void test_cid(void **state)
{
    static const struct {
        const char *text;
        bool has;
        uint32_t cid;
        const char *warning;
    } cases[] = {
        {SIGNATURE "CID=0\n", true, 0, ""},
        {SIGNATURE "CID=fffffffe\n", true, VMDK_CID_NEW, ""},
        {SIGNATURE "CID=123456789\n", false, 0, "hexadecimal"},
        {SIGNATURE "CID=\n", false, 0, "hexadecimal"},
        {SIGNATURE "CID=12 34\n", false, 0, "hexadecimal"},
        {SIGNATURE "parentCID=12345678\n", false, 0, "no CID"},
        {SIGNATURE "# CID=12345678\n", false, 0, "no CID"},
        {SIGNATURE "xCID=12345678\n", false, 0, "no CID"},
        {SIGNATURE "CID=1\nCID=2\n", true, 1, "stands twice"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct vmdk_descriptor d;
        struct vd_facts facts = VD_FACTS_INIT;
        struct vd_err err = VD_ERR_INIT;

        assert_ok(decode(cases[i].text, &d, &facts, &err));
        assert_int_equal(d.has_cid, cases[i].has);
        if (cases[i].has)
            assert_int_equal(d.cid, cases[i].cid);
        if (cases[i].warning[0])
            assert_true(has_warning(&facts, cases[i].warning));
        vmdk_descriptor_clear(&d);
        vd_facts_clear(&facts);
    }
}

static void test_keys(void **state)
{
    static const char text[] =
        SIGNATURE "version=3\nencoding=\"windows-1252\"\nCID=1\nparentCID=2\n"
                  "isNativeSnapshot=\"yes\"\ncreateType=\"vmfs\"\n"
                  "parentFileNameHint=\"/vmfs/volumes/a=b/\"c\".vmdk\"\n"
                  "changeTrackPath=\"x-ctk.vmdk\"\n"
                  "ddb.longContentID = \"c493b057f416b9534001df440172e8a4\"\n"
                  "\0createType=\"custom\"\nRW 1 ZERO\n";
    struct vmdk_descriptor d;
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_ok(vmdk_descriptor_decode(text, sizeof(text) - 1, &d, &facts, &err));
    assert_string_equal(d.encoding, "windows-1252");
    assert_string_equal(d.create_type, "vmfs");
    assert_string_equal(d.parent_hint, "/vmfs/volumes/a=b/\"c\".vmdk");
    assert_string_equal(d.long_content_id, "c493b057f416b9534001df440172e8a4");
    assert_int_equal(d.parent_cid, 2);
    assert_int_equal(d.n_extents, 0); /* behind the NUL */
    assert_true(has_warning(&facts, "isNativeSnapshot"));
    vmdk_descriptor_clear(&d);
    vd_facts_clear(&facts);
}

static void test_probe(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        uint64_t file_size;
        bool yes;
    } cases[] = {
        {"", 0, 0, false},
        {"hello world\n", 12, 12, false},
        {"CID=1\n", 6, 6, false},
        {"CID=1\ncreateType=\"x\"\n", 21, 21, true},
        {"CID=1\nRW 1 ZERO\n", 16, 16, true},
        {"CID=1\nRW 1 ZERO\n", 16, UINT64_C(1) << 40, false},
        {"\x01\x02# Disk DescriptorFile\n", 24, 24, false},
        {"# caf\xe9\nCID=1\ncreateType=x\n", 26, 26, true}, /* bytes over 0x7f are text */
        {"\x00# Disk DescriptorFile\n", 23, 23, false},
        {"# comment\n# Disk DescriptorFile\n", 32, 32, true},
        {"CID=1\n\x01\x02\ncreateType=x\n", 22, 22, false},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (vmdk_descriptor_probe((const uint8_t *)cases[i].bytes, cases[i].len,
                                  cases[i].file_size) != cases[i].yes)
            fail_msg("case %zu", i);
}

static void test_bare_name(void **state)
{
    static const struct {
        const char *path, *encoding, *name;
    } cases[] = {
        {"a.vmdk", "", "a.vmdk"},
        {"/vmfs/volumes/x/a.vmdk", "UTF-8", "a.vmdk"},
        {"C:\\vm\\a.vmdk", "windows-1252", "a.vmdk"},
        {"[datastore1] dir/a.vmdk", "", "a.vmdk"},
        {"[datastore1] a.vmdk", "", "a.vmdk"},
        {"[odd]a.vmdk", "", "[odd]a.vmdk"},
        {"..", "", ".."},
        {"dir/", "", ""},
        {"\x83\x5c.vmdk", "Shift_JIS", "\x83\x5c.vmdk"}, /* one character, second byte 0x5c */
        {"\x83\x5c.vmdk", "UTF-8", ".vmdk"},
        {"x\\\x81\x5c.vmdk", "GBK", "\x81\x5c.vmdk"},
        {"x/\x81", "Big5", "\x81"},
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_string_equal(vmdk_bare_name(cases[i].path, cases[i].encoding), cases[i].name);
}

/* UTF-16, as editors of Windows save it. */
static void test_utf16(void **state)
{
    static const char text[] = HEAD "RW 100 FLAT \"a\xc3\xbc.vmdk\" 7\n";
    uint8_t bytes[2 * sizeof(text)];
    int big;

    (void)state;
    for (big = 0; big < 2; big++) {
        struct vd_facts facts = VD_FACTS_INIT;
        struct vd_err err = VD_ERR_INIT;
        struct vmdk_descriptor d;
        size_t n = 0, i;

        for (i = 0; i < sizeof(text); i++) {
            unsigned unit = i == 0 ? 0xfeff : (unsigned char)text[i - 1];

            if (unit == 0xc3)
                continue;
            unit = unit == 0xbc ? 0xfc : unit;
            bytes[n + (big ? 0 : 1)] = (uint8_t)(unit >> 8);
            bytes[n + (big ? 1 : 0)] = (uint8_t)unit;
            n += 2;
        }
        assert_true(vmdk_descriptor_probe(bytes, n, n));
        assert_ok(vmdk_descriptor_decode((const char *)bytes, n, &d, &facts, &err));
        assert_int_equal(d.cid, 0x1234abcd);
        assert_string_equal(d.extents[0].path, "a\xc3\xbc.vmdk");
        assert_true(has_warning(&facts, "UTF-16"));
        vmdk_descriptor_clear(&d);
        vd_facts_clear(&facts);
    }
    assert_false(vmdk_descriptor_probe((const uint8_t *)"\xff\xfe", 2, 2));
    assert_false(vmdk_descriptor_probe((const uint8_t *)"\xff\xfe\0\0\0", 5, 5));
}

/* A key that shapes the disk and stands twice with different values: the first counts, and it is said. */
static void test_twice(void **state)
{
    static const char *const lines[] = {"createType=\"vmfs\"\n", "CID=99\n", "parentCID=99\n",
                                        "encoding=\"UTF-8\"\nencoding=\"GBK\"\n",
                                        "encoding=\"UTF-8\"\nddb.encoding=\"GBK\"\n"};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct vd_facts facts = VD_FACTS_INIT;
        struct vd_err err = VD_ERR_INIT;
        struct vmdk_descriptor d;
        char text[512];

        (void)snprintf(text, sizeof(text), HEAD "RW 1 ZERO\n%s", lines[i]);
        assert_ok(decode(text, &d, &facts, &err));
        assert_true(has_warning(&facts, "(used)"));
        assert_int_equal(d.cid, 0x1234abcd);
        assert_string_equal(d.create_type, "custom");
        vmdk_descriptor_clear(&d);
        vd_facts_clear(&facts);
    }
}

/* As many extents as the limit, and one more. */
static void test_many_extents(void **state)
{
    static const char line[] = "RW 1 ZERO\n";
    size_t n = 32768, used = strlen(HEAD), i;
    char *text = malloc(used + (n + 1) * strlen(line) + 1);
    struct vmdk_descriptor d;
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;

    (void)state;
    assert_non_null(text);
    memcpy(text, HEAD, used);
    for (i = 0; i < n; i++, used += strlen(line))
        memcpy(text + used, line, strlen(line) + 1);
    assert_ok(decode(text, &d, &facts, &err));
    assert_int_equal(d.n_extents, n);
    vmdk_descriptor_clear(&d);
    memcpy(text + used, line, strlen(line) + 1);
    assert_fails(decode(text, &d, &facts, &err), VD_ELIMIT, "32768 extents");
    vd_facts_clear(&facts);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clothes),      cmocka_unit_test(test_extent_lines),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_other_lines_are_told),
        cmocka_unit_test(test_cid),          cmocka_unit_test(test_keys),
        cmocka_unit_test(test_probe),        cmocka_unit_test(test_bare_name),
        cmocka_unit_test(test_utf16),        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_many_extents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
