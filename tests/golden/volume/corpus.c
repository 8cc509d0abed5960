/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partition tables and recognition against the corpus: every image that is a raw disk or volume
 * (or raw behind a fixed VHD footer, or the flat extent of a VMDK) is unpacked sparse, scanned,
 * and compared with truth/<id>.parts.tsv.  Truth numbers partitions by position, so ours are
 * sorted by start first.
 *
 * Usage: golden_volume_corpus [-v].  Corpus: $VDISKFS_CORPUS or the default given at build time.
 * Exit codes: 0 all equal, 1 a difference, 77 no corpus.
 */
#include "base/cleanup.h"
#include "base/text.h"
#include "blk/evidence.h"
#include "blk/layers.h"
#include "volume/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_COLUMNS 16

static bool verbose;
static unsigned n_checked, n_wrong;

static void wrong(const char *id, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void wrong(const char *id, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    printf("WRONG %s: ", id);
    vprintf(fmt, ap); /* NOLINT(clang-analyzer-valist.Uninitialized) */
    printf("\n");
    va_end(ap);
    n_wrong++;
}

/* Splits at tabs in place; missing columns are "". */
static void split(char *line, char *column[MAX_COLUMNS])
{
    size_t i;

    line[strcspn(line, "\n")] = '\0';
    for (i = 0; i < MAX_COLUMNS; i++) {
        column[i] = line;
        line += strcspn(line, "\t");
        if (*line)
            *line++ = '\0';
    }
}

/* ---- opening an image ---- */

static const char *unpacker(const char *file)
{
    const char *dot = strrchr(file, '.');

    if (!dot)
        return "cat";
    if (strcmp(dot, ".xz") == 0)
        return "xz -dc";
    if (strcmp(dot, ".gz") == 0)
        return "gzip -dc";
    if (strcmp(dot, ".bz2") == 0)
        return "bzip2 -dc";
    if (strcmp(dot, ".zst") == 0)
        return "zstd -dcq";
    return "cat";
}

/* Unpacks into an unlinked temporary file and returns its descriptor.  Of encrypted volumes only
 * the type is compared, so their first 4 MiB are enough. */
static int unpack(const char *corpus, const char *file)
{
    const char *limit = strncmp(file, "bde-", 4) == 0 || strncmp(file, "bitlk-", 6) == 0
                            ? " | head -c 4194304"
                            : "";
    char temp[] = "/tmp/vdiskfs-corpus-XXXXXX", command[1024];
    int fd = mkstemp(temp);

    if (fd < 0)
        return -1;
    (void)snprintf(
        command, sizeof(command),
        "%s '%s/dev/%s' 2>/dev/null%s | dd of='%s' conv=sparse bs=256k iflag=fullblock status=none",
        unpacker(file), corpus, file, limit, temp);
    if (system(command) != 0) { /* NOLINT(cert-env33-c) */
        (void)close(fd);
        fd = -1;
    }
    (void)unlink(temp);
    return fd;
}

static struct blkdev *open_image(const char *corpus, const char *id, const char *file)
{
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *file_dev = NULL, *dev = NULL;
    struct evidence_id identity;
    int fd = unpack(corpus, file);

    if (fd < 0 || evidence_identify(fd, &identity, &err) ||
        evidence_new(fd, &identity, id, &file_dev, &err)) {
        wrong(id, "cannot unpack %s: %s", file, err.msg);
        return NULL;
    }
    if (strncmp(id, "vhd-fixed-", 10) != 0)
        return file_dev;
    if (blk_slice_new(file_dev, 0, file_dev->size - 512, id, &dev, &err)) {
        wrong(id, "%s", err.msg);
        blk_unref(file_dev);
    }
    return dev;
}

/* The stored file that holds the raw bytes, or NULL: not a raw case. */
static const char *raw_file(const char *id, const char *group, const char *files)
{
    static const struct {
        const char *id, *file;
    } flat[] = {
        {"vmdk-monoflat-vmware", "vmdk-monoflat-vmware/monolithicFlat-flat.vmdk.xz"},
        {"vmdk-twogbflat-vmware", "vmdk-twogbflat-vmware/twoGbMaxExtentFlat-f001.vmdk.xz"},
        {"vmdk-vmfs-thick", "vmdk-vmfs-thick/vmfs_thick-flat.vmdk.xz"},
        {NULL, NULL},
    };
    static const char *const groups = " raw fs pt detect bde bitlk luks lvm ldm damaged ";
    static char first[256];
    char padded[40];
    size_t i;

    for (i = 0; flat[i].id; i++)
        if (strcmp(flat[i].id, id) == 0)
            return flat[i].file;
    (void)snprintf(padded, sizeof(padded), " %s ", group);
    if (!strstr(groups, padded) && strncmp(id, "vhd-fixed-", 10) != 0)
        return NULL;
    /* several files: parts of one disk are not ours to join */
    if (strcmp(group, "raw") == 0)
        return NULL;
    (void)snprintf(first, sizeof(first), "%.*s", (int)strcspn(files, ";"), files);
    return strstr(first, ".qcow") || strstr(first, ".vmdk") ? NULL : first;
}

/* ---- comparing ---- */

/* Truth has strings as blkid(8) prints them: M-x for a byte over 127, ^x for a control byte, a
 * backslash (itself written \x5c) before what a shell would take. */
static bool same_text(const char *ours, const char *truth)
{
    char raw[256], text[256];
    size_t n = 0;

    if (strcmp(truth, "Linux-MDM-^M--M-\\x5c>M-o") == 0) /* M-^ is DE here, not part of M-^M */
        return strcmp(ours, "Linux-MD\xde\xad\\xbe\\xef") == 0;
    while (*truth && n < sizeof(raw)) {
        unsigned char high = 0;

        if (strncmp(truth, "M-", 2) == 0 && truth[2]) {
            high = 0x80;
            truth += 2;
        }
        if (strncmp(truth, "\\x5c", 4) == 0 && truth[4])
            truth += 4;
        if (*truth == '^' && truth[1])
            raw[n++] = (char)(high | (*++truth ^ 0x40));
        else
            raw[n++] = (char)(high | *truth);
        truth++;
    }
    vd_text_printable(raw, n, text, sizeof(text));
    return strcmp(ours, text) == 0;
}

static void check_content(const char *id, struct blkdev *volume, char *const c[MAX_COLUMNS])
{
    struct vd_err err = VD_ERR_INIT;
    struct volume_content content;

    if (volume_recognise(volume, &content, &err)) {
        wrong(id, "%s: %s", c[0], err.msg);
        return;
    }
    if (verbose)
        printf("%s %s: %s \"%s\" %s%s%s%s\n", id, c[0], content.type, content.label, content.uuid,
               content.encrypted ? " encrypted" : "", content.container ? " container" : "",
               content.ambiguous ? " ambiguous" : "");
    if (!c[5][0])
        return; /* truth does not say */
    if (strcmp(content.type, c[5]) != 0)
        wrong(id, "%s: type \"%s\", truth \"%s\"", c[0], content.type, c[5]);
    if (!same_text(content.label, c[6]))
        wrong(id, "%s: label \"%s\", truth \"%s\"", c[0], content.label, c[6]);
    if (!same_text(content.uuid, c[7]))
        wrong(id, "%s: uuid \"%s\", truth \"%s\"", c[0], content.uuid, c[7]);
}

static int by_start(const void *a, const void *b)
{
    const struct volume *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

static void print_table(const char *id, const struct volume_table *t)
{
    size_t i;

    printf("%s: %s, %zu volumes, %zu gaps, id %s\n", id, volume_scheme_name(t->scheme), t->n,
           t->n_gaps, t->disk_id);
    for (i = 0; i < t->n; i++)
        printf("  p%u %" PRIu64 " %" PRIu64 "%s %s (%s) \"%s\"\n", t->v[i].number, t->v[i].start,
               t->v[i].size, t->v[i].cut ? " cut" : "", t->v[i].type, t->v[i].type_name,
               t->v[i].name);
    for (i = 0; i < t->facts.n; i++)
        printf("  %s: %s\n", t->facts.v[i].key, t->facts.v[i].value);
}

static void check_row(const char *id, struct blkdev *disk, const struct volume_table *t,
                      char *const c[MAX_COLUMNS], unsigned *n_rows)
{
    static const char *const scheme[] = {
        [VOLUME_NONE] = "none",
        [VOLUME_MBR] = "DOS Partition Table",
        [VOLUME_GPT] = "GUID Partition Table (EFI)",
    };
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *volume = NULL;
    unsigned position = (*n_rows)++;
    uint64_t start = strtoull(c[2], NULL, 10), size = strtoull(c[3], NULL, 10);

    if (position >= t->n) {
        wrong(id, "%s is missing", c[0]);
        return;
    }
    if (strcmp(scheme[t->scheme], c[1]) != 0)
        wrong(id, "scheme %s, truth %s", scheme[t->scheme], c[1]);
    if (size > disk->size - start)
        size = disk->size - start; /* the image is cut: so must the partition be */
    if (t->v[position].start != start || t->v[position].size != size)
        wrong(id, "%s: %" PRIu64 "+%" PRIu64 ", truth %" PRIu64 "+%" PRIu64, c[0],
              t->v[position].start, t->v[position].size, start, size);
    if (volume_slice(disk, &t->v[position], &volume, &err)) {
        wrong(id, "%s: %s", c[0], err.msg);
        return;
    }
    check_content(id, volume, c);
    blk_unref(volume);
}

static void check_truth(const char *corpus, const char *id, struct blkdev *disk,
                        const struct volume_table *t)
{
    char path[512], line[4096], *c[MAX_COLUMNS];
    unsigned n_rows = 0;
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/dev/truth/%s.parts.tsv", corpus, id);
    f = fopen(path, "re");
    if (!f)
        return;
    while (fgets(line, sizeof(line), f)) {
        split(line, c);
        if (strcmp(c[0], "whole") == 0 || (c[0][0] == 'p' && c[0][1] >= '1' && c[0][1] <= '9'))
            check_row(id, disk, t, c, &n_rows);
    }
    (void)fclose(f);
    if (n_rows && n_rows != t->n)
        wrong(id, "%zu volumes, truth %u", t->n, n_rows);
}

/* Volumes whose decrypted content is the truth have no row: the type follows from the group. */
static void check_encrypted(const char *id, const char *group, struct blkdev *disk)
{
    const char *type = strcmp(group, "luks") == 0 ? "crypto_LUKS" : "BitLocker";
    struct vd_err err = VD_ERR_INIT;
    struct volume_content content;

    if (volume_recognise(disk, &content, &err))
        wrong(id, "%s", err.msg);
    else if (strcmp(content.type, type) != 0 || !content.encrypted || content.ambiguous)
        wrong(id, "type \"%s\"%s%s, expected %s", content.type,
              content.encrypted ? " encrypted" : "", content.ambiguous ? " ambiguous" : "", type);
}

/* Tables that were stored without their disk, and what fdisk -l says of them once the file has the
 * disk's size: sectors of `unit` bytes, by start. */
static const struct bare_table {
    const char *id;
    uint64_t unit, n_sectors;
    size_t n;
    struct {
        unsigned number;
        uint64_t first, n;
    } v[3];
} bare_tables[] = {
    {"pt-gpt", 512, 61440000, 2, {{1, 40, 409600}, {2, 411648, 61026304}}},
    {"pt-gpt-4k", 4096, 4192, 3, {{1, 256, 257}, {2, 768, 257}, {3, 1280, 2907}}},
    {"pt-gpt-hybrid", 512, 4096, 3, {{2, 34, 2014}, {1, 2048, 1025}, {3, 3073, 990}}},
    {"pt-mbr", 512, 125827072, 2, {{1, 2048, 1024000}, {2, 1026048, 124801024}}},
};

static void check_bare(const struct bare_table *bare, struct blkdev *file)
{
    struct blk_part part[2] = {{.dev = blk_ref(file), .size = file->size}, {.hole = BLK_ZEROS}};
    struct vd_err err = VD_ERR_INIT;
    struct blkdev *disk = NULL;
    struct volume_table t;
    size_t i;

    part[1].size = bare->unit * bare->n_sectors - file->size;
    if (blk_concat_new(part, 2, bare->id, &disk, &err) || volume_scan(disk, &t, &err)) {
        wrong(bare->id, "%s", err.msg);
        return;
    }
    qsort(t.v, t.n, sizeof(t.v[0]), by_start);
    if (t.n != bare->n)
        wrong(bare->id, "%zu volumes, fdisk %zu", t.n, bare->n);
    for (i = 0; i < t.n && i < bare->n; i++)
        if (t.v[i].number != bare->v[i].number || t.v[i].cut ||
            t.v[i].start != bare->v[i].first * bare->unit ||
            t.v[i].size != bare->v[i].n * bare->unit)
            wrong(bare->id, "p%u at %" PRIu64 " differs from fdisk", t.v[i].number, t.v[i].start);
    volume_table_clear(&t);
    blk_unref(disk);
}

/* Cases that truth cannot decide: labels of other systems, tables without their disk. */
static bool special(const char *id, struct blkdev *file, const struct volume_table *t)
{
    size_t i;

    if (strcmp(id, "pt-apm") == 0 || strcmp(id, "pt-bsd") == 0) {
        if (t->scheme != VOLUME_NONE || t->n != 1 || t->facts.n != 1)
            wrong(id, "%s, %zu facts", volume_scheme_name(t->scheme), t->facts.n);
        return true;
    }
    for (i = 0; i < sizeof(bare_tables) / sizeof(bare_tables[0]); i++) {
        if (strcmp(id, bare_tables[i].id) != 0)
            continue;
        if (t->scheme == VOLUME_NONE || t->facts.n < 2)
            wrong(id, "a table without its disk gives %zu facts", t->facts.n);
        check_bare(&bare_tables[i], file);
        return true;
    }
    return false;
}

static void check_case(const char *corpus, const char *id, const char *group, const char *file)
{
    struct vd_err err = VD_ERR_INIT;
    struct volume_table table;
    struct blkdev *disk = open_image(corpus, id, file);

    if (!disk)
        return;
    n_checked++;
    if (volume_scan(disk, &table, &err)) {
        wrong(id, "%s", err.msg);
        blk_unref(disk);
        return;
    }
    if (table.n)
        qsort(table.v, table.n, sizeof(table.v[0]), by_start);
    if (verbose)
        print_table(id, &table);
    if (!special(id, disk, &table)) {
        check_truth(corpus, id, disk, &table);
        if (strcmp(group, "bde") == 0 || strcmp(group, "bitlk") == 0 || strcmp(group, "luks") == 0)
            check_encrypted(id, group, disk);
    }
    volume_table_clear(&table);
    blk_unref(disk);
}

int main(int argc, char **argv)
{
    const char *corpus = getenv("VDISKFS_CORPUS"), *file; /* NOLINT(concurrency-mt-unsafe) */
    char path[512], line[16384], *c[MAX_COLUMNS];
    FILE *f;

    verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    if (!corpus)
        corpus = TEST_DEFAULT_CORPUS;
    (void)snprintf(path, sizeof(path), "%s/dev/MANIFEST.tsv", corpus);
    f = fopen(path, "re");
    if (!f) {
        printf("SKIP: no corpus (%s: %s); set VDISKFS_CORPUS\n", path, strerror(errno));
        return 77;
    }
    while (fgets(line, sizeof(line), f)) {
        split(line, c);
        file = raw_file(c[0], c[1], c[2]);
        if (file)
            check_case(corpus, c[0], c[1], file);
    }
    (void)fclose(f);
    printf("%u images checked, %u differences\n", n_checked, n_wrong);
    return n_wrong || !n_checked;
}
