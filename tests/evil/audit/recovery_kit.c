/* SPDX-License-Identifier: Apache-2.0 */
/* See recovery_kit.h. */
#include "recovery_kit.h"

#include "audit/audit.h"
#include "audit/merge.h"
#include "audit/record.h"
#include "base/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *top;
struct vd_err err;
const char *second;
unsigned n_kept;
char expected[MAX_KEPT][160];

/* ---- faults ---- */

enum fault fault;
unsigned fault_at, calls;

/* Is it this call that fails?  A kill does not return. */
static bool faulty(void)
{
    calls++;
    if (fault == FAULT_NONE || fault == FAULT_SHORT || calls != fault_at)
        return false;
    if (fault == FAULT_KILL)
        _exit(KILLED);
    errno = ENOSPC;
    return true;
}

#define WRAP(name, params, args)                                                                   \
    int __real_##name params;                                                                      \
    int __wrap_##name params;                                                                      \
    int __wrap_##name params                                                                       \
    {                                                                                              \
        return faulty() ? -1 : __real_##name args;                                                 \
    }

WRAP(fsync, (int fd), (fd))
WRAP(fdatasync, (int fd), (fd))
WRAP(fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(unlinkat, (int fd, const char *name, int flags), (fd, name, flags))
WRAP(renameat2, (int a, const char *from, int b, const char *to, unsigned flags),
     (a, from, b, to, flags))

ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    if (faulty())
        return -1;
    if (fault == FAULT_SHORT && calls == fault_at) { /* part of it, then the end */
        (void)!__real_write(fd, bytes, len / 2);
        _exit(KILLED);
    }
    return __real_write(fd, bytes, len);
}

/* ---- session directories in memory ---- */

void shot_take(struct shot *shot, const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;

    assert_non_null(d);
    shot->n = 0;
    while ((e = readdir(d))) {
        char path[1024];
        struct stat st;
        FILE *f;

        if (e->d_name[0] == '.')
            continue;
        assert_true(shot->n < MAX_FILES);
        (void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        f = fopen(path, "rb");
        assert_non_null(f);
        assert_int_equal(fstat(fileno(f), &st), 0);
        (void)snprintf(shot->file[shot->n].name, sizeof(shot->file[0].name), "%.60s", e->d_name);
        shot->file[shot->n].len = (size_t)st.st_size;
        shot->file[shot->n].bytes = malloc((size_t)st.st_size + 1);
        assert_non_null(shot->file[shot->n].bytes);
        assert_int_equal(fread(shot->file[shot->n].bytes, 1, (size_t)st.st_size, f), st.st_size);
        (void)fclose(f);
        shot->n++;
    }
    (void)closedir(d);
}

void shot_free(struct shot *shot)
{
    while (shot->n)
        free(shot->file[--shot->n].bytes);
}

size_t shot_find(const struct shot *shot, const char *name)
{
    size_t i;

    for (i = 0; i < shot->n; i++)
        if (strcmp(shot->file[i].name, name) == 0)
            return i;
    fail_msg("no file %s", name);
    return 0;
}

void put_file(const char *dir, const char *name, const uint8_t *bytes, size_t len)
{
    char path[1024];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    (void)unlink(path);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(__real_write(fd, bytes, len), len);
    (void)close(fd);
}

static void empty_dir(const char *dir)
{
    DIR *d = opendir(dir);
    const struct dirent *e;

    if (!d) {
        assert_int_equal(mkdir(dir, 0700), 0);
        return;
    }
    while ((e = readdir(d)))
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            assert_int_equal(__real_unlinkat(dirfd(d), e->d_name, 0), 0);
    (void)closedir(d);
}

void shot_put(const struct shot *shot, const char *dir)
{
    size_t i;

    empty_dir(dir);
    for (i = 0; i < shot->n; i++)
        put_file(dir, shot->file[i].name, shot->file[i].bytes, shot->file[i].len);
}

/* Everything but ring.wal and the times is what it was: nothing was rewritten. */
void shot_still_there(const struct shot *shot, const char *dir)
{
    struct shot now;
    size_t i;

    shot_take(&now, dir);
    for (i = 0; i < shot->n; i++) {
        size_t j;

        if (strcmp(shot->file[i].name, "ring.wal") == 0)
            continue;
        j = shot_find(&now, shot->file[i].name);
        assert_int_equal(now.file[j].len, shot->file[i].len);
        assert_memory_equal(now.file[j].bytes, shot->file[i].bytes, now.file[j].len);
    }
    shot_free(&now);
}

/* ---- the log under test ---- */

struct shot crashed; /* SEALED reads in frames, UNSEALED in the ring */
struct shot sealed;  /* the same a moment later: all in frames */
static char session_name[37];
char work[512]; /* a directory with the session's name */

void log_reads(struct audit_ring *ring, unsigned from, unsigned n, bool wait)
{
    unsigned i;

    for (i = from; i < from + n; i++) {
        /* a range each, so that they can be told apart when they are merged */
        const struct audit_event e = {
            .op = AUDIT_READ, .obj = 7, .off = UINT64_C(1000) * i, .len = 100};
        uint64_t seq = audit_log(ring, &e);

        if (wait && i % 3 == 2)
            assert_ok(audit_wait(ring, seq, &err));
    }
}

int setup(void **state)
{
    static const char boot[] = "0123-boot";
    const struct audit_field field = {AUDIT_T_BOOT_ID, boot, sizeof(boot) - 1};
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN, .fields = &field, .n_fields = 1};
    struct audit_writer *w;
    struct audit_ring *ring;
    char where[512];

    (void)state;
    if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
        (void)setenv("TMPDIR", "/dev/shm", 1); /* thousands of syncs */
    top = test_tmpdir();
    {
        const struct audit_config config = {
            .dir = top, .ring_bytes = 1, .segment_bytes = 2000, .epoch_records = 4};

        assert_ok(audit_open(&config, &w, &ring, &err));
    }
    (void)snprintf(where, sizeof(where), "%s", audit_session_dir(w));
    (void)snprintf(session_name, sizeof(session_name), "%s", audit_session_id(w));
    assert_ok(audit_wait(ring, audit_log(ring, &open), &err));
    log_reads(ring, 0, SEALED, true);
    log_reads(ring, SEALED, UNSEALED, false);
    shot_take(&crashed, where);
    {
        const struct audit_event e = {.op = AUDIT_GETATTR};

        assert_ok(audit_wait(ring, audit_log(ring, &e), &err));
    }
    shot_take(&sealed, where);
    audit_forget_writer(w);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    empty_dir(where);
    assert_int_equal(rmdir(where), 0);
    (void)snprintf(where, sizeof(where), "%s/work", top);
    assert_int_equal(mkdir(where, 0700), 0);
    (void)snprintf(work, sizeof(work), "%s/work/%s", top, session_name);
    return 0;
}

int teardown(void **state)
{
    (void)state;
    shot_free(&crashed);
    shot_free(&sealed);
    test_rmdir(top);
    return 0;
}

static int count_reads(void *ctx, const struct audit_seen *seen, struct vd_err *e)
{
    struct reads *reads = ctx;
    struct audit_record r;
    struct audit_merged m;
    size_t i;

    assert_int_equal(audit_record_decode(seen->bytes, seen->len, &r, e), 0);
    if (r.op != AUDIT_READ) {
        reads->other++;
        return 0;
    }
    (void)audit_record_merged(&r, &m);
    reads->recovered += (r.flags & AUDIT_F_RECOVERED) != 0;
    for (i = 0; i < m.n_ranges; i++) {
        uint64_t off, len;

        audit_merged_range(&r, &m, i, &off, &len);
        reads->n = reads->n >= 0 && off == UINT64_C(1000) * (uint64_t)reads->n ? reads->n + 1 : -1;
    }
    return 0;
}

void verify_work(struct audit_report *r, struct reads *reads)
{
    *reads = (struct reads){0};
    assert_ok(audit_verify(work, NULL, count_reads, reads, r, &err));
}

/* Keeps the directory at hand for the second verifier. */
void keep(void)
{
    char path[600], hex[65];
    struct audit_report r;
    struct reads reads;
    struct shot shot;

    if (!second || n_kept == MAX_KEPT)
        return;
    verify_work(&r, &reads);
    vd_sha256_hex(r.leaf, hex);
    (void)snprintf(expected[n_kept], sizeof(expected[0]), "%s frames=%" PRIu64 " records=%" PRIu64,
                   audit_verdict_text(r.verdict), r.frames, r.records);
    (void)snprintf(path, sizeof(path), "%s/keep-%u", top, n_kept++);
    shot_take(&shot, work);
    shot_put(&shot, path);
    shot_free(&shot);
}

void assert_recovered(int64_t reads_expected)
{
    struct audit_report r;
    struct reads reads;

    verify_work(&r, &reads);
    if (r.verdict != AUDIT_INTACT_OPEN || !r.has_close || r.close_result != -AUDIT_CLOSE_RECOVERED)
        fail_msg("%s, closed %d: %s", audit_verdict_text(r.verdict), r.has_close, r.reason);
    assert_true(r.recoveries >= 1);
    assert_int_equal(r.checkpoint_size, r.frames);
    assert_int_equal(reads.n, reads_expected);
}

void recover_work(struct audit_recovery *out)
{
    assert_ok(audit_recover(work, PROGRAM, out, &err));
}

bool exists(const char *name)
{
    char path[1024];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/%s", work, name);
    return lstat(path, &st) == 0;
}

const char *last_segment(const struct shot *shot)
{
    const char *last = "";
    size_t i;

    for (i = 0; i < shot->n; i++)
        if (strstr(shot->file[i].name, ".vlog") && strcmp(shot->file[i].name, last) > 0)
            last = shot->file[i].name;
    return last;
}
