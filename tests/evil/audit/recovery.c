/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery of logs that were left open: a last frame cut at every byte, a recovery that is itself
 * killed or refused at every one of its system calls, rings that somebody changed, logs that must be
 * left as they are.  After each of them all records are there, once and in order.
 *
 *     evil_audit_recovery [VERIFY_AUDIT_LOG]      (the second verifier must agree on the results)
 */
#include "recovery_kit.h"

#include "audit/record.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- crashes ---- */

/* The frame that holds what the ring has, written in part. */
static void cut_at_every_byte(void **state)
{
    const char *name = last_segment(&sealed);
    size_t whole = shot_find(&sealed, name), from = 0, cut, i;

    (void)state;
    for (i = 0; i < crashed.n; i++)
        if (strcmp(crashed.file[i].name, name) == 0)
            from = crashed.file[i].len;
    assert_true(sealed.file[whole].len > from + 192);
    for (cut = from; cut <= sealed.file[whole].len; cut++) {
        struct audit_recovery out;
        struct shot now;

        shot_put(&crashed, work);
        put_file(work, name, sealed.file[whole].bytes, cut);
        recover_work(&out);
        assert_true(out.done && out.ring_removed && !out.remark[0]);
        assert_int_equal(out.lost, 0);
        /* a frame that is whole has them already: none of them comes twice */
        assert_int_equal(out.records, cut == sealed.file[whole].len ? 0 : UNSEALED);
        assert_int_equal(out.before.torn_bytes, cut == sealed.file[whole].len ? 0 : cut - from);
        assert_recovered(SEALED + UNSEALED);
        shot_take(&now, work);
        i = shot_find(&now, name);
        assert_int_equal(now.file[i].len, cut);
        assert_memory_equal(now.file[i].bytes, sealed.file[whole].bytes, cut);
        shot_free(&now);
        if (cut % 40 == 0)
            keep();
        recover_work(&out); /* again: nothing to do */
        assert_false(out.done);
    }
    print_message("%zu cuts, all records there\n", cut - from);
}

/* Zeros where a power failure swallowed a page. */
static void zeros_at_the_end(void **state)
{
    const char *name = last_segment(&crashed);
    size_t i = shot_find(&crashed, name), n;
    uint8_t *bytes = calloc(1, crashed.file[i].len + 9000);
    struct audit_recovery out;

    (void)state;
    assert_non_null(bytes);
    memcpy(bytes, crashed.file[i].bytes, crashed.file[i].len);
    for (n = 1; n < 9000; n += 2221) {
        shot_put(&crashed, work);
        put_file(work, name, bytes, crashed.file[i].len + n);
        recover_work(&out);
        assert_int_equal(out.before.torn_bytes, n);
        assert_recovered(SEALED + UNSEALED);
        keep();
    }
    free(bytes);
}

/* What the record RECOVERED tells. */
static int see_recovered(void *ctx, const struct audit_seen *seen, struct vd_err *e)
{
    char *text = ctx;
    struct audit_record r;
    struct audit_piece piece;

    assert_int_equal(audit_record_decode(seen->bytes, seen->len, &r, e), 0);
    if (r.op != AUDIT_RECOVERED)
        return 0;
    assert_int_equal(r.len, UNSEALED);
    assert_true(audit_record_find(&r, AUDIT_T_TEXT, &piece));
    (void)snprintf(text, 1024, "%.*s", (int)piece.len, (const char *)piece.bytes);
    return 0;
}

static void what_is_told(void **state)
{
    struct audit_recovery out;
    struct audit_report r;
    char text[1024] = "", want[128];
    struct stat st;
    size_t i;

    (void)state;
    shot_put(&crashed, work);
    recover_work(&out);
    assert_ok(audit_verify(work, NULL, see_recovered, text, &r, &err));
    (void)snprintf(want, sizeof(want), "by uid %u with " PROGRAM, (unsigned)getuid());
    assert_true(test_contains(text, want));
    assert_true(test_contains(text, "boot of the crash 0123-boot"));
    (void)snprintf(want, sizeof(want), "%u records", UNSEALED);
    assert_true(test_contains(text, want));
    shot_still_there(&crashed, work);
    for (i = 0; i < crashed.n; i++) {
        char path[1024];

        (void)snprintf(path, sizeof(path), "%s/%s", work, crashed.file[i].name);
        if (strcmp(crashed.file[i].name, "ring.wal") == 0)
            continue;
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0400);
    }
}

/* ---- a recovery that is stopped ---- */

static int child_recovers(void)
{
    pid_t pid = fork();
    int status = 0;

    assert_true(pid >= 0);
    if (pid == 0) {
        struct audit_recovery out;
        int rc;

        calls = 0;
        rc = audit_recover(work, PROGRAM, &out, &err);
        _exit(rc == 0 ? 0 : rc == -VD_EAUDIT ? 1 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* Cut in the middle of the frame, an unfinished claim in the ring. */
static void put_hard_case(void)
{
    const char *name = last_segment(&sealed);
    size_t i = shot_find(&sealed, name);

    shot_put(&crashed, work);
    put_file(work, name, sealed.file[i].bytes, sealed.file[i].len - 100);
}

static void stopped(enum fault how, int ends_with)
{
    unsigned n, states[2] = {0};

    for (n = 1;; n++) {
        struct audit_recovery out;
        struct audit_report r;
        struct reads reads;
        int code;

        put_hard_case();
        fault = how;
        fault_at = n;
        code = child_recovers();
        fault = FAULT_NONE;
        if (code != ends_with && code != 0)
            fail_msg("call %u: exit code %d", n, code);
        verify_work(&r, &reads);
        if (r.verdict == AUDIT_TAMPERED || r.verdict == AUDIT_INTACT_CLOSED)
            fail_msg("call %u: %s: %s", n, audit_verdict_text(r.verdict), r.reason);
        states[r.has_close]++;
        if (n % 3 == 1)
            keep();
        if (how != FAULT_ENOSPC && n % 3 == 0) { /* stopped again, elsewhere */
            fault = how;
            fault_at = n / 2 + 1;
            (void)child_recovers();
            fault = FAULT_NONE;
        }
        recover_work(&out);
        assert_recovered(SEALED + UNSEALED);
        assert_false(exists("ring.wal") || exists("recovery.new") ||
                     exists("recovery.checkpoints.new"));
        if (code == 0 && n > 40) /* past its last call */
            break;
    }
    print_message("%u places: %u times as it was, %u times recovered\n", n, states[0], states[1]);
    assert_true(states[0] > (how == FAULT_SHORT ? 1 : 5) && states[1] > 1);
}

static void killed_at_every_call(void **state)
{
    (void)state;
    stopped(FAULT_KILL, KILLED);
}

static void killed_in_every_write(void **state)
{
    (void)state;
    stopped(FAULT_SHORT, KILLED);
}

static void no_space_at_every_call(void **state)
{
    (void)state;
    stopped(FAULT_ENOSPC, 1);
}

/* ---- the second verifier ---- */

static void second_agrees(void **state)
{
    unsigned i, wrong = 0, n = 0;

    (void)state;
    if (!second || system("command -v python3 openssl >/dev/null") != 0) {
        print_message("the second verifier or openssl(1) is not there: SKIPPED\n");
        skip();
    }
    for (i = 0; i < n_kept; i += 40) {
        char command[8192], line[1024];
        size_t len = (size_t)snprintf(command, sizeof(command), "python3 '%s'", second);
        unsigned j;
        FILE *f;

        for (j = i; j < n_kept && j < i + 40; j++)
            len += (size_t)snprintf(command + len, sizeof(command) - len, " '%s/keep-%u'", top, j);
        f = popen(command, "re");
        assert_non_null(f);
        for (j = i; j < n_kept && j < i + 40; j++, n++) {
            assert_non_null(fgets(line, sizeof(line), f));
            if (strncmp(line, expected[j], strlen(expected[j])) != 0 ||
                line[strlen(expected[j])] != ' ') {
                print_message("case %u: ours \"%s\", second %s", j, expected[j], line);
                wrong++;
            }
        }
        (void)pclose(f);
    }
    print_message("%u logs, %u disagreements\n", n, wrong);
    assert_int_equal(wrong, 0);
    assert_true(n > 60);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(zeros_at_the_end),
        cmocka_unit_test(what_is_told),
        cmocka_unit_test(killed_at_every_call),
        cmocka_unit_test(killed_in_every_write),
        cmocka_unit_test(no_space_at_every_call),
        cmocka_unit_test(claims_and_forbidden_records),
        cmocka_unit_test(random_rings),
        cmocka_unit_test(no_ring_or_another),
        cmocka_unit_test(tampered_in_use_linked),
        cmocka_unit_test(stale_checkpoints),
        cmocka_unit_test(nothing_sealed),
        cmocka_unit_test(closed_but_not_signed),
        cmocka_unit_test(full_at_the_close),
        cmocka_unit_test(all_of_a_directory),
        cmocka_unit_test(second_agrees),
    };

    second = argc > 1 ? argv[1] : NULL;
    return cmocka_run_group_tests(tests, setup, teardown);
}
