/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th call that writes the log fails, for every n: no space (for what is reserved ahead, or for
 * everything), I/O errors, short writes.  A scripted run meanwhile serves "evidence", each piece with a
 * record of its own, the way a request is served.  What must hold each time: nothing is served after the
 * failure until it is over, the log is never TAMPERED, everything that was served is in it (or in
 * the ring), and when the failure passes, service resumes and the log is closed INTACT.
 *
 * The calls are caught by the linker (--wrap).  Each run is a process of its own, several at a time.
 * The directories that the runs leave are given to the independent verifier at the end.
 */
#include "testlib.h"

#include "audit/audit.h"
#include "audit/verify.h"
#include "audit/writer.h"
#include "base/bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_A_TIME 24
#define PIECES    260 /* what the scripted run serves when nothing fails */

enum fault {
    NO_SPACE_AHEAD, /* new files and reserving: ENOSPC; what is reserved can be written */
    NO_SPACE,       /* writing too */
    IO_ERROR,       /* all of these: EIO, for a while */
    IO_ERROR_STAYS, /* … for ever, syncing too */
    SHORT_WRITE,    /* writes put half of it down, then ENOSPC for a while */
    FAULTS
};

static const char *const fault_name[] = {"no space ahead", "no space", "EIO for a while",
                                         "EIO for ever", "short write, then no space"};

/* ---- catching calls ---- */

static struct {
    atomic_bool armed;
    enum fault fault;
    unsigned at;         /* the call that fails first, from 1 */
    atomic_uint calls;   /* of the kind that can fail */
    atomic_bool failing; /* since `at`, until it is over */
} plan;

/* Counts a call; does it fail? */
static bool hit(void)
{
    if (!atomic_load(&plan.armed))
        return false;
    if (atomic_fetch_add(&plan.calls, 1) + 1 == plan.at)
        atomic_store(&plan.failing, true);
    return atomic_load(&plan.failing);
}

static int error_of(void)
{
    static const int lack[] = {ENOSPC, EDQUOT, EFBIG}; /* disk, quota, limit of a file's size */

    return plan.fault == IO_ERROR || plan.fault == IO_ERROR_STAYS ? EIO : lack[plan.at % 3];
}

ssize_t __real_write(int fd, const void *bytes, size_t n);
ssize_t __wrap_write(int fd, const void *bytes, size_t n);
int __real_fallocate64(int fd, int mode, off_t off, off_t len);
int __wrap_fallocate64(int fd, int mode, off_t off, off_t len);
int __real_posix_fallocate64(int fd, off_t off, off_t len);
int __wrap_posix_fallocate64(int fd, off_t off, off_t len);
int __real_openat64(int dir, const char *name, int flags, ...);
int __wrap_openat64(int dir, const char *name, int flags, ...);
int __real_mkdirat(int dir, const char *name, mode_t mode);
int __wrap_mkdirat(int dir, const char *name, mode_t mode);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

ssize_t __wrap_write(int fd, const void *bytes, size_t n)
{
    static atomic_bool half; /* the first failing write goes half through */

    if (plan.fault == NO_SPACE_AHEAD || !hit())
        return __real_write(fd, bytes, n);
    if (plan.fault == SHORT_WRITE && n > 1 && !atomic_exchange(&half, true))
        return __real_write(fd, bytes, n / 2);
    errno = error_of();
    return -1;
}

int __wrap_fallocate64(int fd, int mode, off_t off, off_t len)
{
    if (plan.fault == SHORT_WRITE || !hit())
        return __real_fallocate64(fd, mode, off, len);
    errno = error_of();
    return -1;
}

int __wrap_posix_fallocate64(int fd, off_t off, off_t len)
{
    return plan.fault != SHORT_WRITE && hit() ? error_of() : __real_posix_fallocate64(fd, off, len);
}

int __wrap_openat64(int dir, const char *name, int flags, ...)
{
    if (plan.fault != SHORT_WRITE && flags & O_CREAT && hit()) {
        errno = error_of();
        return -1;
    }
    return __real_openat64(dir, name, flags, 0600);
}

int __wrap_mkdirat(int dir, const char *name, mode_t mode)
{
    if (plan.fault == SHORT_WRITE || !hit())
        return __real_mkdirat(dir, name, mode);
    errno = error_of();
    return -1;
}

int __wrap_fdatasync(int fd)
{
    if (plan.fault != IO_ERROR_STAYS || !hit())
        return __real_fdatasync(fd);
    errno = EIO;
    return -1;
}

/* ---- the scripted run, in a process of its own ---- */

static char *dir;
static char path[512];
static struct audit_writer *writer;
static struct audit_ring *ring;
static struct vd_err err;
static uint64_t served, refused;

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "%s, call %u: line %d: %s: %s [%s] %s\n",                        \
                          fault_name[plan.fault], plan.at, __LINE__, #cond, path, err.msg, seen);  \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static char seen[512];

static void nap_ms(long ms)
{
    const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&t, NULL);
}

/* One request as src/fuse serves it; was it answered with evidence (or the refusal it asked for)? */
static bool request(enum audit_op op, uint64_t number)
{
    static const char text[2000] = "piece";
    const struct audit_field field = {AUDIT_T_TEXT, text, sizeof(text)};
    const struct audit_event event = {.op = op, .off = number, .fields = &field, .n_fields = 1};
    enum audit_state state = audit_state(ring);
    uint64_t seq;

    if (state != AUDIT_READY && !(state == AUDIT_RESERVED && audit_is_critical(op)))
        return false;
    seq = audit_log(ring, &event);
    if (seq == AUDIT_NOT_LOGGED)
        return false;
    if (audit_is_critical(op) && audit_wait(ring, seq, &err))
        return false;
    return !audit_failed(ring);
}

/* A request that failed late may be in the log all the same: numbers are given once. */
static uint64_t next_number = 1;
static bool answered[4 * PIECES + 1];

static bool serve(enum audit_op op)
{
    uint64_t number = next_number++;

    MUST(number < sizeof(answered));
    answered[number] = request(op, number);
    served += answered[number] && op == AUDIT_READ;
    return answered[number];
}

/* While it fails: was anything served after that was noticed? */
static void nothing_served(void)
{
    int i;

    for (i = 0; i < 40; i++) {
        MUST(!serve(AUDIT_READ));
        refused++;
        nap_ms(2);
    }
    if (audit_state(ring) == AUDIT_RESERVED) /* what was refused is still recorded */
        MUST(serve(AUDIT_REFUSED));
}

static void until_ready(void)
{
    int i;

    for (i = 0; i < 1500 && audit_state(ring) != AUDIT_READY; i++)
        nap_ms(5);
    MUST(audit_state(ring) == AUDIT_READY);
}

static bool passes(void)
{
    return plan.fault != IO_ERROR_STAYS;
}

/* The failure may hit the audit thread, after the last request was answered. */
static void serve_all(void)
{
    unsigned i;

    for (i = 0; i < PIECES; i++) {
        if (!serve(i % 20 == 19 ? AUDIT_REFUSED : AUDIT_READ) && audit_state(ring) != AUDIT_READY) {
            nothing_served();
            if (!passes())
                return;
            atomic_store(&plan.failing, false);
            until_ready();
        }
        if (i % 50 == 0)
            nap_ms(30); /* the audit thread does something on its own */
    }
}

static int count(void *ctx, const struct audit_seen *record, struct vd_err *e)
{
    uint64_t *found = ctx, number = vd_le64(record->bytes + AUDIT_R_OFF);
    uint16_t op = vd_le16(record->bytes + AUDIT_R_OP);

    (void)e;
    if (op != AUDIT_READ && op != AUDIT_REFUSED)
        return 0;
    if (number <= found[0] || number >= next_number) /* each once, in order */
        return -VD_ECORRUPT;
    for (found[0]++; found[0] < number; found[0]++)
        if (answered[found[0]])
            return -VD_ECORRUPT;
    found[1] += answered[number];
    return 0;
}

static void check_log(bool closed)
{
    struct audit_report r;
    uint64_t found[2] = {0, 0}, total = 0, i;

    MUST(audit_verify(path, NULL, count, found, &r, &err) == 0);
    (void)snprintf(seen, sizeof(seen), "%s: %s", audit_verdict_text(r.verdict), r.reason);
    MUST(r.verdict != AUDIT_TAMPERED);
    for (i = 1; i < next_number; i++)
        total += answered[i];
    if (closed)
        MUST(r.verdict == AUDIT_INTACT_CLOSED && found[1] == total);
    else
        MUST(found[1] + r.unsealed >= total); /* the rest waits in the ring */
}

static void open_log(void)
{
    const struct audit_event open = {.op = AUDIT_SESSION_OPEN};
    const struct audit_config config = {
        .dir = dir,
        .ring_bytes = 1,
        .reserve_bytes = 1,
        .low_bytes = 1,
        .segment_bytes = 128 * 1024,
        .epoch_records = 60,
        .sync_ms = 100,
    };

    atomic_store(&plan.armed, true);
    if (audit_open(&config, &writer, &ring, &err)) { /* not mounted, then */
        MUST(atomic_load(&plan.failing));
        MUST(rmdir(dir) == 0); /* nothing is left behind */
        _exit(0);
    }
    (void)snprintf(path, sizeof(path), "%s", audit_session_dir(writer));
    if (audit_wait(ring, audit_log(ring, &open), &err)) {
        MUST(atomic_load(&plan.failing));
        (void)audit_close(writer, AUDIT_CLOSE_FAILED, &err);
        check_log(false);
        _exit(0);
    }
}

static void scripted_run(void)
{
    bool failed;

    open_log();
    MUST(audit_start(writer, &err) == 0);
    serve_all();
    failed = atomic_load(&plan.failing) && !passes();
    /* What fails from here on fails until after the close; but for the disk that is just full: the
     * reserve is for that. */
    if (audit_close(writer, AUDIT_CLOSE_CLEAN, &err)) {
        MUST(atomic_load(&plan.failing) && plan.fault != NO_SPACE_AHEAD);
        check_log(false);
    } else {
        check_log(!failed);
    }
    atomic_store(&plan.armed, false);
    /* 2: the n-th call was not reached, the sweep is over */
    _exit(atomic_load(&plan.calls) < plan.at ? 2 : refused ? 3 : 0);
}

/* ---- the sweep ---- */

static struct {
    unsigned runs, stopped;
} total;

static pid_t start(enum fault fault, unsigned at, const char *root)
{
    pid_t pid = fork();

    if (pid == 0) {
        (void)signal(SIGXFSZ, SIG_IGN);
        (void)alarm(60);
        plan.fault = fault;
        plan.at = at;
        if (asprintf(&dir, "%s/%u-%u", root, fault, at) < 0 || mkdir(dir, 0700))
            _exit(9);
        scripted_run();
    }
    assert_true(pid > 0);
    return pid;
}

/* Waits for one; true when it had nothing left to fail. */
static bool reap(void)
{
    int status;

    assert_true(wait(&status) > 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) == 1 || WEXITSTATUS(status) > 3)
        fail_msg("a run ended with status %#x", (unsigned)status);
    total.stopped += WEXITSTATUS(status) == 3;
    total.runs += WEXITSTATUS(status) != 2;
    return WEXITSTATUS(status) == 2;
}

static void sweep(enum fault fault, const char *root)
{
    unsigned at = 1, running = 0;
    bool over = false;

    total.runs = total.stopped = 0;
    while (!over || running) {
        if (!over && running < AT_A_TIME) {
            (void)start(fault, at++, root);
            running++;
            continue;
        }
        over = reap() || over;
        running--;
    }
    print_message(
        "%-28s %3u calls failed, service stopped in %3u runs, evidence served after that: 0\n",
        fault_name[fault], total.runs, total.stopped);
    assert_true(total.runs > 5 && total.stopped > 0);
}

/* All logs of the sweep through the independent verifier. */
static void second_opinion(const char *root)
{
#ifdef VERIFY_AUDIT_LOG
    char command[1024], line[1024];
    unsigned n = 0, closed = 0;
    FILE *f;

    if (system("command -v openssl >/dev/null && command -v python3 >/dev/null") != 0) {
        print_message("second verifier: SKIPPED, python3 or openssl(1) is missing\n");
        return;
    }
    (void)snprintf(command, sizeof(command), "python3 %s $(ls -d %s/*/* | awk 'NR %% %s == 0')",
                   VERIFY_AUDIT_LOG, root, getenv("VDISKFS_FAULTS_ALL") ? "1" : "12");
    f = popen(command, "r");
    assert_non_null(f);
    while (fgets(line, sizeof(line), f)) {
        n++;
        closed += strncmp(line, "INTACT closed", 13) == 0;
        if (strstr(line, "TAMPERED"))
            fail_msg("%s", line);
    }
    (void)pclose(f);
    print_message("second verifier: %u logs, %u closed, TAMPERED 0\n", n, closed);
    assert_true(n > 5 && closed > 3);
#else
    (void)root;
#endif
}

static void every_call(void **state)
{
    char *root;
    int fault;

    (void)state;
    if (access("/dev/shm", W_OK) == 0)
        (void)setenv("TMPDIR", "/dev/shm", 0);
    root = test_tmpdir();
    for (fault = 0; fault < FAULTS; fault++)
        sweep((enum fault)fault, root);
    second_opinion(root);
    test_rmdir(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
