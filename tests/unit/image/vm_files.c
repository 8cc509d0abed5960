/* SPDX-License-Identifier: Apache-2.0 */
/* .vmsd and .vmx: what real files look like, and what hostile ones can do. */
#include "testlib.h"

#include "image/vm_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As Workstation writes it: three snapshots, the third on a branch of its own. */
static const char typical[] = ".encoding = \"UTF-8\"\r\n"
                              "snapshot.lastUID = \"4\"\n"
                              "snapshot.current = \"4\"\n"
                              "snapshot0.uid = \"1\"\n"
                              "snapshot0.filename = \"srv-Snapshot1.vmsn\"\n"
                              "snapshot0.displayName = \"Clean |22install|22\"\n"
                              "snapshot0.description = \"first line|0Asecond | bar|7C\"\n"
                              "snapshot0.createTimeHigh = \"388745\"\n"
                              "snapshot0.createTimeLow = \"1991180826\"\n"
                              "snapshot0.numDisks = \"2\"\n"
                              "snapshot0.disk0.fileName = \"srv.vmdk\"\n"
                              "snapshot0.disk0.node = \"scsi0:0\"\n"
                              "snapshot0.disk1.fileName = \"/vmfs/volumes/5f/srv/data.vmdk\"\n"
                              "snapshot0.disk1.node = \"scsi0:1\"\n"
                              "snapshot1.uid = \"2\"\n"
                              "snapshot1.parent = \"1\"\n"
                              "snapshot1.displayName = \"M\xc3\xbcller\"\n"
                              "snapshot1.createTimeHigh = \"388801\"\n"
                              "snapshot1.createTimeLow = \"-814770620\"\n"
                              "snapshot1.disk0.fileName = \"srv-000001.vmdk\"\n"
                              "SNAPSHOT2.UID = 4\n"
                              "snapshot2.parent=\"1\"\n"
                              "snapshot2.disk0.fileName = \"D:\\vm\\srv-000003.vmdk\"\n"
                              "snapshot.numSnapshots = \"3\"\n"
                              "snapshot.mru0.uid = \"4\"\n"
                              "snapshot3.uid = \"9\"\n"
                              "snapshot3.displayName = \"deleted\"\n";

static bool has_fact(const struct vd_facts *facts, const char *text)
{
    size_t i;

    for (i = 0; i < facts->n; i++)
        if (facts->v[i].kind == VD_FACT_WARNING && strstr(facts->v[i].value, text))
            return true;
    return false;
}

static void test_typical(void **state)
{
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vm_snapshots s;

    (void)state;
    assert_ok(vm_snapshots_decode(typical, sizeof(typical) - 1, "srv.vmsd", &s, &facts, &err));
    assert_int_equal(s.n, 3);
    assert_string_equal(s.file, "srv.vmsd");
    assert_string_equal(s.v[0].name, "Clean \"install\"");
    assert_string_equal(s.v[0].description, "first line\\x0asecond | bar|");
    assert_int_equal(s.v[0].parent, VM_NONE);
    assert_int_equal(s.v[0].member, VM_NONE);
    assert_true(s.v[0].has_created); /* 388745 * 2^32 + 1991180826 microseconds */
    assert_int_equal(s.v[0].created_sec, 1669649052);
    assert_int_equal(s.v[0].created_nsec, 664346000);
    assert_int_equal(s.v[0].n_disks, 2);
    assert_string_equal(s.v[0].disk[0].node, "scsi0:0");
    assert_string_equal(s.v[0].disk[1].file, "data.vmdk");
    assert_string_equal(s.v[0].disk[1].path, "/vmfs/volumes/5f/srv/data.vmdk");
    assert_string_equal(s.v[1].name, "M\xc3\xbcller");
    assert_int_equal(s.v[1].parent, 0);
    assert_int_equal(s.v[1].created_sec, 1669891059); /* the low half is negative */
    assert_int_equal(s.v[2].uid, 4);
    assert_null(s.v[2].name);
    assert_false(s.v[2].has_created);
    assert_string_equal(s.v[2].disk[0].file, "srv-000003.vmdk");
    assert_int_equal(s.current, 2);
    assert_true(has_fact(&facts, "snapshot3 \"deleted\" is left over"));
    assert_int_equal(facts.n, 1);
    vm_snapshots_clear(&s);
    vd_facts_clear(&facts);
}

static void test_character_sets(void **state)
{
    static const char latin[] = ".encoding = \"windows-1252\"\nsnapshot0.uid = \"1\"\n"
                                "snapshot0.displayName = \"caf\xe9 \x80 \x81\"\n"
                                "snapshot0.disk0.fileName = \"caf\xe9.vmdk\"\n";
    static const char other[] = "\xef\xbb\xbf.encoding = \"GBK\"\nsnapshot0.uid = \"1\"\n"
                                "snapshot0.displayName = \"\xd6\xd0|00\"\n";
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vm_snapshots s;

    (void)state;
    assert_ok(vm_snapshots_decode(latin, sizeof(latin) - 1, "a", &s, &facts, &err));
    assert_string_equal(s.v[0].name, "caf\xc3\xa9 \xe2\x82\xac \\x81");
    assert_string_equal(s.v[0].disk[0].file, "caf\xc3\xa9.vmdk");
    assert_int_equal(facts.n, 0);
    vm_snapshots_clear(&s);
    assert_ok(vm_snapshots_decode(other, sizeof(other) - 1, "b", &s, &facts, &err));
    assert_string_equal(s.v[0].name, "\\xd6\\xd0\\x00");
    assert_true(has_fact(&facts, "b: the character set"));
    vm_snapshots_clear(&s);
    vd_facts_clear(&facts);
}

static void test_trees_that_are_none(void **state)
{
    static const char text[] = "snapshot0.uid = \"1\"\nsnapshot0.parent = \"2\"\n"
                               "snapshot1.uid = \"2\"\nsnapshot1.parent = \"1\"\n"
                               "snapshot2.uid = \"3\"\nsnapshot2.parent = \"3\"\n"
                               "snapshot3.uid = \"4\"\nsnapshot3.parent = \"77\"\n"
                               "snapshot4.displayName = \"no uid\"\n"
                               "snapshot5.uid = \"4\"\n"
                               "snapshot6.uid = \"-1\"\n"
                               "snapshot.current = \"99\"\n"
                               "snapshot7.uid = \"5\"\nsnapshot7.disk0.node = \"scsi0:0\"\n"
                               "snapshot7.createTimeHigh = \"1\"\n"
                               "snapshot.uid = \"1\"\nsnapshot8 = \"1\"\nsnapshot9. = \"1\"\n"
                               "= \"1\"\n\"\n#snapshot10.uid = \"6\"\n";
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vm_snapshots s;

    (void)state;
    assert_ok(vm_snapshots_decode(text, sizeof(text) - 1, "x", &s, &facts, &err));
    assert_int_equal(s.n, 6);                 /* 0, 1, 2, 3, 5, 7 */
    assert_int_equal(s.v[0].parent, VM_NONE); /* the circle is cut once */
    assert_int_equal(s.v[1].parent, 0);
    assert_int_equal(s.v[2].parent, VM_NONE);
    assert_int_equal(s.v[3].parent, VM_NONE);
    assert_int_equal(s.v[5].n_disks, 0);
    assert_false(s.v[5].has_created);
    assert_int_equal(s.current, VM_NONE);
    assert_true(has_fact(&facts, "snapshot 1 is its own ancestor"));
    assert_true(has_fact(&facts, "snapshot 3 is its own ancestor"));
    assert_true(has_fact(&facts, "parent 77 of snapshot 4"));
    assert_true(has_fact(&facts, "two snapshots have the uid 4"));
    assert_true(has_fact(&facts, "\"no uid\" has no uid"));
    assert_true(has_fact(&facts, "current snapshot, 99"));
    vm_snapshots_clear(&s);
    vd_facts_clear(&facts);
}

static void test_limits(void **state)
{
    static char text[VM_MAX_FILE + 1];
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vm_snapshots s;
    struct vm_config c;
    size_t n = 0, i;

    (void)state;
    memset(text, '\n', sizeof(text));
    assert_fails(vm_snapshots_decode(text, sizeof(text), "x", &s, &facts, &err), VD_ELIMIT,
                 "x: 1048577 bytes");
    assert_fails(vm_config_decode(text, sizeof(text), "x", &c, &facts, &err), VD_ELIMIT, "x:");
    assert_ok(vm_snapshots_decode(text, VM_MAX_FILE, "x", &s, &facts, &err));
    assert_int_equal(s.n, 0);
    vm_snapshots_clear(&s);
    assert_ok(vm_snapshots_decode("", 0, "x", &s, &facts, &err));
    vm_snapshots_clear(&s);
    assert_fails(vm_snapshots_decode("a\0b", 3, "x", &s, &facts, &err), VD_ECORRUPT, "not text");
    assert_fails(vm_snapshots_decode("snapshot4096.uid=1", 18, "x", &s, &facts, &err), VD_ELIMIT,
                 "more than 2048 snapshots");
    for (i = 0; i <= VM_MAX_SNAPSHOTS; i++)
        n += (size_t)sprintf(text + n, "snapshot%zu.uid=%zu\n", i, i + 1);
    assert_fails(vm_snapshots_decode(text, n, "x", &s, &facts, &err), VD_ELIMIT,
                 "more than 2048 snapshots");
    for (n = i = 0; i < VM_MAX_SNAPSHOTS; i++)
        n += (size_t)sprintf(text + n, "snapshot%zu.uid=%zu\nsnapshot%zu.parent=%zu\n", i, i + 1, i,
                             i);
    assert_ok(vm_snapshots_decode(text, n, "x", &s, &facts, &err));
    assert_int_equal(s.n, VM_MAX_SNAPSHOTS);
    assert_int_equal(s.v[VM_MAX_SNAPSHOTS - 1].parent, VM_MAX_SNAPSHOTS - 2);
    vm_snapshots_clear(&s);
    for (n = i = 0; i <= VM_MAX_DISKS; i++)
        n += (size_t)sprintf(text + n, "snapshot0.disk%zu.fileName=\"a\"\n", i);
    assert_fails(vm_snapshots_decode(text, n, "x", &s, &facts, &err), VD_ELIMIT, "512 disks");
    vd_facts_clear(&facts);
}

/* Every prefix and every single changed byte: nothing breaks (the sanitizers watch). */
static void test_damaged(void **state)
{
    char text[sizeof(typical)];
    struct vd_err err = VD_ERR_INIT;
    size_t i;

    (void)state;
    for (i = 0; i < 2 * sizeof(typical); i++) {
        struct vd_facts facts = VD_FACTS_INIT;
        struct vm_snapshots s;
        struct vm_config c;
        size_t len = i < sizeof(typical) ? i : sizeof(typical) - 1;

        memcpy(text, typical, sizeof(typical));
        if (i >= sizeof(typical))
            text[i - sizeof(typical)] ^= (char)(1 << i % 8);
        if (vm_snapshots_decode(text, len, "x", &s, &facts, &err) == 0)
            vm_snapshots_clear(&s);
        if (vm_config_decode(text, len, "x", &c, &facts, &err) == 0)
            vm_config_clear(&c);
        vd_facts_clear(&facts);
    }
}

static void test_config(void **state)
{
    static const char text[] = ".encoding = \"UTF-8\"\nconfig.version = \"8\"\n"
                               "displayName = \"Mail |28server|29\"\n"
                               "scsi0:0.present = \"TRUE\"\n"
                               "scsi0:0.fileName = \"srv-000003.vmdk\"\n"
                               "SATA0:1.fileName = \"[ds 1] x/data.VMDK\"\n"
                               "ide1:0.fileName = \"tools.iso\"\n"
                               "floppy0.fileName = \"a.vmdk\"\n"
                               "nvme0:0.fileName = \"\"\n";
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err err = VD_ERR_INIT;
    struct vm_config c;

    (void)state;
    assert_ok(vm_config_decode(text, sizeof(text) - 1, "srv.vmx", &c, &facts, &err));
    assert_string_equal(c.machine, "Mail (server)");
    assert_int_equal(c.n_disks, 2);
    assert_string_equal(c.disk[0].file, "srv-000003.vmdk");
    assert_string_equal(c.disk[0].node, "scsi0:0");
    assert_string_equal(c.disk[1].file, "data.VMDK");
    vm_config_clear(&c);
    vd_facts_clear(&facts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_typical),
        cmocka_unit_test(test_character_sets),
        cmocka_unit_test(test_trees_that_are_none),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_config),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
