/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens an image with its chain, without a mount, and prints what it is or compares it:
 *
 *     image_check hash IMAGE            size and SHA-256 of the disk
 *     image_check compare IMAGE RAW     every byte, in reads of many sizes, and the map
 *     image_check partly IMAGE RAW      every sector is as in RAW, or an error; prints how many failed
 *
 * Exit 0: as said; 1: different; 2: usage or host error; 3: refused, the reason on stderr.
 */
#include "image/chain.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t)1 << 20)

static int hash(struct blkdev *disk)
{
    VD_AUTO(free) uint8_t *buf = malloc(CHUNK);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint8_t digest[32];
    struct vd_err err = VD_ERR_INIT;
    uint64_t off;
    int i, rc = 0;

    if (!buf || !md || EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
        return 2;
    for (off = 0; off < disk->size && rc == 0; off += CHUNK) {
        size_t n = (size_t)vd_min(CHUNK, disk->size - off);

        rc = blk_read(disk, off, buf, n, &err);
        if (rc == 0)
            rc = EVP_DigestUpdate(md, buf, n) == 1 ? 0 : -1;
    }
    if (rc == 0 && EVP_DigestFinal_ex(md, digest, NULL) == 1) {
        printf("%" PRIu64 " ", disk->size);
        for (i = 0; i < 32; i++)
            printf("%02x", digest[i]);
        printf("\n");
    }
    EVP_MD_CTX_free(md);
    if (rc)
        (void)fprintf(stderr, "read: %s\n", err.msg);
    return rc ? 1 : 0;
}

/* One read against the raw file. */
static int same(struct blkdev *disk, int raw, uint64_t off, size_t n, uint8_t *a, uint8_t *b)
{
    struct vd_err err = VD_ERR_INIT;

    memset(a, 0xa5, n);
    if (blk_read(disk, off, a, n, &err)) {
        (void)fprintf(stderr, "read of %zu at %" PRIu64 ": %s\n", n, off, err.msg);
        return 1;
    }
    if (pread(raw, b, n, (off_t)off) != (ssize_t)n) {
        (void)fprintf(stderr, "raw file: %s\n", strerror(errno));
        return 2;
    }
    if (memcmp(a, b, n) != 0) {
        (void)fprintf(stderr, "different bytes in a read of %zu at %" PRIu64 "\n", n, off);
        return 1;
    }
    return 0;
}

/* Of a large disk most is holes: where the raw file has one, every 16th piece is enough. */
static int may_skip(struct blkdev *disk, int raw, uint64_t off, uint64_t len)
{
    off_t data;

    if (disk->size <= (uint64_t)1 << 30 || off / CHUNK % 16 == 0)
        return 0;
    data = lseek(raw, (off_t)off, SEEK_DATA);
    return data < 0 ? errno == ENXIO : (uint64_t)data >= off + len;
}

/* Everything once, by the map's runs: what is no data must be zeros in the raw file. */
static int compare_runs(struct blkdev *disk, int raw, uint8_t *a, uint8_t *b)
{
    struct vd_err err = VD_ERR_INIT;
    struct blk_extent ext;
    uint64_t off;
    int rc = 0;

    for (off = 0; off < disk->size && rc == 0; off += ext.len) {
        if (blk_map(disk, off, CHUNK, &ext, &err) || ext.status == BLK_UNREADABLE) {
            (void)fprintf(stderr, "map at %" PRIu64 ": %s\n", off, err.msg);
            return 1;
        }
        if (may_skip(disk, raw, off, ext.len))
            continue;
        rc = same(disk, raw, off, (size_t)ext.len, a, b);
        if (rc == 0 && ext.status != BLK_DATA && !vd_all_zero(b, (size_t)ext.len)) {
            (void)fprintf(stderr, "the map denies data at %" PRIu64 "\n", off);
            rc = 1;
        }
    }
    return rc;
}

/* Reads of odd sizes at odd places: single bytes, across grains, backwards. */
static int compare_odd(struct blkdev *disk, int raw, uint8_t *a, uint8_t *b)
{
    uint64_t x = 0x9e3779b97f4a7c15u, off;
    int i, rc = 0;

    for (off = disk->size; off > 0 && off + 20000 > disk->size && rc == 0; off--)
        rc = same(disk, raw, off - 1, 1, a, b);
    for (i = 0; i < 1500 && rc == 0; i++) {
        size_t n;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        off = x % disk->size;
        n = 1 + (size_t)((x >> 20) % (i % 10 ? 5000 : 300000));
        rc = same(disk, raw, off, (size_t)vd_min(n, disk->size - off), a, b);
    }
    for (off = 65536; off <= disk->size && off <= 64u * 65536 && rc == 0; off += 65536)
        rc = same(disk, raw, off - 3, (size_t)vd_min(7, disk->size - off + 3), a, b);
    return rc;
}

/* One piece against the raw file; its sectors are counted if it cannot be read. */
static int piece(struct blkdev *disk, int raw, uint64_t off, size_t n, uint64_t *io_failed)
{
    static uint8_t a[65536], b[65536];

    if (blk_read(disk, off, a, n, NULL)) {
        *io_failed += vd_div_up(n, 512);
        return n > 4096 ? -1 : 0;
    }
    if (pread(raw, b, n, (off_t)off) == (ssize_t)n && memcmp(a, b, n) == 0)
        return 0;
    (void)fprintf(stderr, "different bytes at %" PRIu64 "\n", off);
    return 1;
}

/* A damaged image: every piece right, or an error. */
static int partly(struct blkdev *disk, const char *raw_name)
{
    VD_AUTO(fd) int raw = open(raw_name, O_RDONLY | O_CLOEXEC);
    uint64_t off, in, n_failed = 0, ignored = 0;
    struct stat st;
    int rc = 0;

    if (raw < 0 || fstat(raw, &st) || (uint64_t)st.st_size != disk->size)
        return 2;
    for (off = 0; off < disk->size && rc == 0; off += 65536) {
        uint64_t n = vd_min(65536, disk->size - off);

        rc = piece(disk, raw, off, (size_t)n, &ignored);
        for (in = 0; rc < 0 && in < n; in += 4096) {
            rc = piece(disk, raw, off + in, (size_t)vd_min(4096, n - in), &n_failed);
            rc = rc ? rc : in + 4096 < n ? -1 : 0;
        }
    }
    if (rc == 0)
        printf("%" PRIu64 "\n", n_failed);
    return rc;
}

static int compare(struct blkdev *disk, const char *raw_name)
{
    VD_AUTO(fd) int raw = open(raw_name, O_RDONLY | O_CLOEXEC);
    VD_AUTO(free) uint8_t *a = malloc(CHUNK);
    VD_AUTO(free) uint8_t *b = malloc(CHUNK);
    struct stat st;
    int rc;

    if (raw < 0 || !a || !b || fstat(raw, &st))
        return 2;
    if ((uint64_t)st.st_size != disk->size) {
        (void)fprintf(stderr, "the disk has %" PRIu64 " bytes, the raw file %" PRIu64 "\n",
                      disk->size, (uint64_t)st.st_size);
        return 1;
    }
    rc = compare_runs(disk, raw, a, b);
    return rc ? rc : compare_odd(disk, raw, a, b);
}

static int run(struct blkdev *disk, int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "hash") == 0)
        return hash(disk);
    if (argc == 4 && strcmp(argv[1], "compare") == 0)
        return compare(disk, argv[3]);
    if (argc == 4 && strcmp(argv[1], "partly") == 0)
        return partly(disk, argv[3]);
    return 2;
}

int main(int argc, char **argv)
{
    VD_AUTO(free) char *dir_copy = argc > 2 ? strdup(argv[2]) : NULL;
    VD_AUTO(free) char *name_copy = argc > 2 ? strdup(argv[2]) : NULL;
    VD_AUTO(blk) struct blkdev *disk = NULL;
    struct rlimit limit;
    struct blk_source source;
    struct chain *chain = NULL;
    struct vd_err err = VD_ERR_INIT;
    const char *dirs[1];
    int rc;

    if (!dir_copy || !name_copy)
        return 2;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    dirs[0] = dirname(dir_copy);
    if (evidence_dir_source(dirs, 1, &source, &err)) {
        (void)fprintf(stderr, "%s\n", err.msg);
        return 2;
    }
    rc = chain_open(&source, basename(name_copy), NULL, &chain, &err);
    if (rc == 0)
        rc = chain_point(chain, 0, &disk, &err);
    if (rc)
        (void)fprintf(stderr, "%s: %s\n", vd_class_name(rc), err.msg);
    rc = rc ? 3 : run(disk, argc, argv);
    chain_free(chain);
    evidence_dir_source_free(&source);
    return rc;
}
