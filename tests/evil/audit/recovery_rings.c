/* SPDX-License-Identifier: Apache-2.0 */
/* Recoveries of rings that somebody changed, of logs without one, and of logs that must be left alone. */
#include "recovery_kit.h"

#include "audit/record.h"
#include "base/bytes.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- rings ---- */

static uint8_t *slot(const struct shot *shot, uint64_t seq)
{
    return shot->file[shot_find(shot, RING_FILE)].bytes + AUDIT_RING_HEADER +
           seq % 1024 * AUDIT_SLOT;
}

static uint64_t next_seq(void)
{
    struct audit_report r;
    struct reads reads;

    shot_put(&crashed, work);
    verify_work(&r, &reads);
    assert_int_equal(r.unsealed, UNSEALED);
    return r.next_seq;
}

static void put_record(const struct shot *shot, uint64_t seq, unsigned op, unsigned flags)
{
    const struct audit_event e = {.op = (enum audit_op)op, .flags = (uint8_t)flags, .len = 1};
    uint8_t record[AUDIT_MAX_RECORD];

    assert_int_equal(audit_record_encode(&e, 1, 1, record), 1);
    audit_record_finish(record, 1, seq);
    memcpy(slot(shot, seq), record, AUDIT_SLOT);
}

/* Claims, holes, and records that only the sealing process makes, between good ones. */
void claims_and_forbidden_records(void **state)
{
    static const unsigned forbidden[] = {AUDIT_SESSION_CLOSE, AUDIT_LOST, AUDIT_RECOVERED};
    uint64_t seq = next_seq() + UNSEALED;
    struct audit_recovery out;
    struct audit_report r;
    struct reads reads;
    size_t i;

    (void)state;
    vd_put_le64(slot(&crashed, seq), AUDIT_RING_CLAIMED | 2); /* three slots */
    put_record(&crashed, seq + 3, AUDIT_GETATTR, 0);
    for (i = 0; i < 3; i++)
        put_record(&crashed, seq + 10 + i, forbidden[i], 0); /* six slots without meaning before */
    put_record(&crashed, seq + 13, AUDIT_GETATTR, AUDIT_F_RECOVERED);
    put_record(&crashed, seq + 14, AUDIT_GETATTR, AUDIT_F_MERGED);
    put_record(&crashed, seq + 15, AUDIT_GETATTR, 0);
    put_record(&crashed, seq + 17, AUDIT_GETATTR, 0);
    slot(&crashed, seq + 17)[AUDIT_R_MONO] ^= 1; /* a wrong checksum is nothing */
    shot_put(&crashed, work);
    recover_work(&out);
    assert_int_equal(out.records, UNSEALED + 2);
    assert_int_equal(out.lost_slots, 3 + 6 + 4 + 1);
    assert_int_equal(out.lost, 1 + 1 + 4 + 1);
    verify_work(&r, &reads);
    assert_int_equal(r.lost, out.lost);
    assert_recovered(SEALED + UNSEALED);
    keep();
    memset(slot(&crashed, seq), 0, 18 * AUDIT_SLOT);
}

/* Whatever a ring holds: the log is recovered and in order, or left alone. */
void random_rings(void **state)
{
    uint64_t seq = next_seq(), seed;
    size_t ring = shot_find(&crashed, RING_FILE), len = crashed.file[ring].len;
    uint8_t *original = malloc(len), noise[64];
    unsigned done = 0, refused = 0, n = getenv("VDISKFS_ROUNDS") ? 20000 : 300;

    (void)state;
    assert_non_null(original);
    memcpy(original, crashed.file[ring].bytes, len);
    for (seed = 1; seed <= n; seed++) {
        struct audit_recovery out;
        struct audit_report r;
        struct reads reads;
        size_t i;

        memcpy(crashed.file[ring].bytes, original, len);
        test_fill(noise, sizeof(noise), seed);
        for (i = 0; i < 1u + noise[0] % 12; i++) {
            uint64_t at = seq + noise[2 * i + 1] % (noise[20] & 1 ? 12 : 200);

            switch (noise[2 * i + 2] % 5) {
            case 0:
                test_fill(slot(&crashed, at), AUDIT_SLOT, seed * 31 + i);
                break;
            case 1: /* any operation and flags, checksum right */
                put_record(&crashed, at, noise[30 + i] % 70, noise[45 + i] % 16);
                break;
            case 2:
                vd_put_le64(slot(&crashed, at), AUDIT_RING_CLAIMED | noise[30 + i]);
                break;
            case 3:
                slot(&crashed, at)[noise[30 + i] % 64] ^= (uint8_t)(1 << noise[45 + i] % 8);
                break;
            default:
                if (noise[50] % 8 == 0)
                    crashed.file[ring].bytes[noise[30 + i] % 40] ^= noise[45 + i];
                else
                    vd_put_le64(slot(&crashed, at), 0);
            }
        }
        shot_put(&crashed, work);
        if (audit_recover(work, PROGRAM, &out, &err)) {
            refused++;
            shot_still_there(&crashed, work);
            continue;
        }
        done++;
        verify_work(&r, &reads);
        if (r.verdict != AUDIT_INTACT_OPEN || !r.has_close)
            fail_msg("seed %" PRIu64 ": %s: %s", seed, audit_verdict_text(r.verdict), r.reason);
        shot_still_there(&crashed, work);
        if (seed % 30 == 0)
            keep();
    }
    memcpy(crashed.file[ring].bytes, original, len);
    free(original);
    print_message("%u rings recovered, %u refused\n", done, refused);
    assert_true(done > n / 2);
}

void no_ring_or_another(void **state)
{
    size_t ring = shot_find(&crashed, RING_FILE);
    struct audit_recovery out;
    char path[1024];

    (void)state;
    shot_put(&crashed, work);
    (void)snprintf(path, sizeof(path), "%s/" RING_FILE, work);
    assert_int_equal(unlink(path), 0);
    recover_work(&out);
    assert_true(out.done && !out.ring_removed && test_contains(out.remark, "missing"));
    assert_recovered(SEALED);
    keep();
    crashed.file[ring].bytes[AUDIT_W_SESSION] ^= 1;
    shot_put(&crashed, work);
    recover_work(&out);
    assert_true(out.done && !out.ring_removed && test_contains(out.remark, "another session"));
    assert_true(exists(RING_FILE)); /* it is not ours to remove */
    assert_recovered(SEALED);
    keep();
    crashed.file[ring].bytes[AUDIT_W_SESSION] ^= 1;
    crashed.file[ring].len--;
    shot_put(&crashed, work);
    crashed.file[ring].len++;
    recover_work(&out);
    assert_true(test_contains(out.remark, "has not the size"));
    assert_true(exists(RING_FILE));
}

/* ---- what is left alone, and what is not ---- */

static void not_recovered(enum vd_class cls, const char *text)
{
    struct audit_recovery out;
    struct shot before, after;
    size_t i;

    shot_take(&before, work);
    assert_fails(audit_recover(work, PROGRAM, &out, &err), cls, text);
    shot_take(&after, work);
    assert_int_equal(before.n, after.n);
    for (i = 0; i < before.n; i++) {
        size_t j = shot_find(&after, before.file[i].name);

        assert_int_equal(after.file[j].len, before.file[i].len);
        assert_memory_equal(after.file[j].bytes, before.file[i].bytes, after.file[j].len);
    }
    shot_free(&before);
    shot_free(&after);
}

void tampered_in_use_linked(void **state)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    size_t i = shot_find(&crashed, "000000.vlog");
    struct audit_recovery out;
    char path[1024], other[1024];
    int fd;

    (void)state;
    crashed.file[i].bytes[300] ^= 1;
    shot_put(&crashed, work);
    crashed.file[i].bytes[300] ^= 1;
    not_recovered(VD_EDIFF, "TAMPERED at frame");

    shot_put(&crashed, work);
    (void)snprintf(path, sizeof(path), "%s/" RING_FILE, work);
    fd = open(path, O_RDWR);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    not_recovered(VD_EAUDIT, "in use");
    (void)close(fd);

    (void)snprintf(other, sizeof(other), "%s/elsewhere", top);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    assert_fails(audit_recover(work, PROGRAM, &out, &err), VD_EREFUSED, "ring.wal");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_fails(audit_recover(work, PROGRAM, &out, &err), VD_EREFUSED, "no regular file");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(audit_recover(work, PROGRAM, &out, &err) < 0);
    assert_int_equal(rmdir(path), 0);
    assert_fails(audit_recover("/nonexistent", PROGRAM, &out, &err), VD_ENOENT, "session");
    assert_fails(audit_recover(other, PROGRAM, &out, &err), VD_EUSAGE, "session");

    /* names that the recovery wants: links are not followed */
    shot_put(&crashed, work);
    (void)snprintf(path, sizeof(path), "%s/recovery.new", work);
    assert_int_equal(symlink(other, path), 0);
    recover_work(&out);
    assert_recovered(SEALED + UNSEALED);
    assert_int_equal(unlink(other), 0);
}

/* Checkpoints without their segment are kept, not written over. */
void stale_checkpoints(void **state)
{
    struct audit_recovery out;
    char name[64];
    int i;

    (void)state;
    (void)snprintf(name, sizeof(name), "checkpoints.%06lu",
                   strtoul(last_segment(&crashed), NULL, 10) + 1);
    for (i = 0; i < 2; i++) {
        char aside[80];

        shot_put(&crashed, work);
        put_file(work, name, (const uint8_t *)"somebody", 8);
        (void)snprintf(aside, sizeof(aside), "%s.stale-0", name);
        if (i)
            put_file(work, aside, (const uint8_t *)"earlier", 7);
        recover_work(&out);
        assert_true(test_contains(out.remark, "without its segment"));
        assert_true(exists(aside));
        (void)snprintf(aside, sizeof(aside), "%s.stale-1", name);
        assert_int_equal(exists(aside), i);
        assert_recovered(SEALED + UNSEALED);
        keep();
    }
}

/* A crash before the first frame: what the ring has is all there is. */
void nothing_sealed(void **state)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct audit_recovery out;
    struct audit_writer *w;
    struct audit_ring *ring;
    char saved[512], dir[512];
    const struct audit_config config = {.dir = dir, .ring_bytes = 1};

    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/none", top);
    assert_ok(audit_open(&config, &w, &ring, &err));
    (void)audit_log(ring, &open);
    log_reads(ring, 0, 3, false);
    (void)snprintf(saved, sizeof(saved), "%s", work);
    (void)snprintf(work, sizeof(work), "%s", audit_session_dir(w));
    audit_forget_writer(w);
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    recover_work(&out);
    assert_int_equal(out.records, 4);
    assert_recovered(3);
    keep();
    recover_work(&out);
    assert_false(out.done);
    (void)snprintf(work, sizeof(work), "%s", saved);
}

/* A clean close whose last checkpoint was not written any more. */
void closed_but_not_signed(void **state)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct audit_recovery out;
    struct audit_writer *w;
    struct audit_ring *ring;
    char saved[512], dir[512], path[600];
    const struct audit_config config = {.dir = dir, .ring_bytes = 1};
    struct audit_report r;
    struct reads reads;
    struct shot shot;
    size_t i, j;

    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/closed", top);
    assert_ok(audit_open(&config, &w, &ring, &err));
    assert_ok(audit_wait(ring, audit_log(ring, &open), &err));
    log_reads(ring, 0, 3, true);
    (void)snprintf(saved, sizeof(saved), "%s", work);
    (void)snprintf(work, sizeof(work), "%s", audit_session_dir(w));
    shot_take(&shot, work);
    i = shot_find(&shot, RING_FILE);
    j = shot_find(&shot, "checkpoints");
    assert_ok(audit_close(w, AUDIT_CLOSE_CLEAN, &err));
    recover_work(&out);
    assert_false(out.done); /* closed as it should be */
    put_file(work, RING_FILE, shot.file[i].bytes, shot.file[i].len);
    recover_work(&out); /* but for the ring, which is spent */
    assert_true(!out.done && out.ring_removed);
    (void)snprintf(path, sizeof(path), "%s/checkpoints", work);
    put_file(work, "checkpoints", shot.file[j].bytes, shot.file[j].len);
    put_file(work, RING_FILE, shot.file[i].bytes, shot.file[i].len);
    verify_work(&r, &reads);
    assert_int_equal(r.verdict, AUDIT_TORN_TAIL);
    recover_work(&out);
    assert_true(out.done && out.ring_removed);
    assert_recovered(3);
    keep();
    shot_free(&shot);
    (void)snprintf(work, sizeof(work), "%s", saved);
}

/* The disk is full while the program ends. */
void full_at_the_close(void **state)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    struct audit_recovery out;
    struct audit_writer *w;
    struct audit_ring *ring;
    char saved[512], dir[512];
    const struct audit_config config = {.dir = dir, .ring_bytes = 1};
    struct rlimit limit;
    struct audit_report r;
    struct reads reads;
    rlim_t was;

    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/full", top);
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_ok(audit_open(&config, &w, &ring, &err));
    assert_ok(audit_wait(ring, audit_log(ring, &open), &err));
    log_reads(ring, 0, 300, false);
    (void)snprintf(saved, sizeof(saved), "%s", work);
    (void)snprintf(work, sizeof(work), "%s", audit_session_dir(w));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    was = limit.rlim_cur;
    limit.rlim_cur = 1500;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_fails(audit_close(w, AUDIT_CLOSE_CLEAN, &err), VD_EAUDIT, "cannot");
    assert_fails(audit_recover(work, PROGRAM, &out, &err), VD_EAUDIT, "cannot be written");
    limit.rlim_cur = was;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    verify_work(&r, &reads);
    assert_int_equal(r.verdict, AUDIT_TORN_TAIL);
    assert_true(r.torn_bytes > 0);
    recover_work(&out);
    assert_int_equal(out.records, 300);
    assert_recovered(300);
    keep();
    (void)snprintf(work, sizeof(work), "%s", saved);
}

static int count_left(void *ctx, const char *path, struct vd_err *e)
{
    struct audit_recovery out;

    ++*(unsigned *)ctx;
    return audit_recover(path, PROGRAM, &out, e);
}

void all_of_a_directory(void **state)
{
    uint64_t running = 0;
    char dir[512];
    unsigned n = 0;

    (void)state;
    (void)snprintf(dir, sizeof(dir), "%s/work", top);
    shot_put(&crashed, work);
    assert_ok(audit_left_each(dir, count_left, &n, &running, &err));
    assert_int_equal(n, 1);
    assert_int_equal(running, 0);
    assert_ok(audit_left_each(dir, count_left, &n, &running, &err));
    assert_int_equal(n, 1);
    assert_recovered(SEALED + UNSEALED);
}
