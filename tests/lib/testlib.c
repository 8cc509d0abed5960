/* SPDX-License-Identifier: Apache-2.0 */
#include "testlib.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int test_contains(const char *haystack, const char *needle)
{
    return strstr(haystack, needle) != NULL;
}

char *test_tmpdir(void)
{
    const char *base = getenv("TMPDIR");
    char path[512];
    char *dir;

    (void)snprintf(path, sizeof(path), "%s/vdiskfs-test-XXXXXX", base && *base ? base : "/tmp");
    dir = strdup(path);
    if (!dir || !mkdtemp(dir))
        fail_msg("cannot make a temporary directory %s", path);
    return dir;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void test_rmdir(char *dir)
{
    if (dir)
        (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

void test_write_file(const char *dir, const char *name, const void *bytes, size_t len)
{
    char path[4096];
    FILE *f;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "wb");
    if (!f || fwrite(bytes, 1, len, f) != len || fclose(f))
        fail_msg("cannot write %s", path);
}

void test_fill(void *bytes, size_t len, uint64_t seed)
{
    uint8_t *p = bytes;
    uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    size_t i;

    for (i = 0; i < len; i++) { /* xorshift64 */
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        p[i] = (uint8_t)(x >> 32);
    }
}
