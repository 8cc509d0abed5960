/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes that say who they are: every access leaves a trace that names its maker, so that a test
 * can compare it with what the log says (t_who.py).  The traces are a look-up of a name that does
 * not exist, "MARK=COMM" in the mount's root, and an O_DIRECT read of one block of disk.img that no
 * other process reads.
 *
 *   whoactor fork|reuse MOUNT N FIRST      N processes, one after the other, with names of their own;
 *                                          reuse: with process numbers out of REUSED
 *   whoactor exec MOUNT N FIRST DIR        as fork; then each executes DIR/x00000 … and reads on
 *   whoactor after MOUNT MARK BLOCK FD     the second half of exec
 *   whoactor lookup MOUNT MARK [BLOCK]     a trace (and a read) under the name of this process
 *   whoactor threads MOUNT N FIRST         N threads with names of their own
 *   whoactor name MOUNT MARK HEX           under the name given as hexadecimal bytes
 *   whoactor ids MOUNT MARK UID            as user 0, then as UID
 *   whoactor ahead MOUNT N                 N processes that start read-ahead and end at once
 *
 * Prints what was done; reuse: how many processes got the number that was meant for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCK  4096
#define REUSED 3 /* process numbers that are used again and again */

static const char *mount;

static void fail(const char *what)
{
    (void)fprintf(stderr, "whoactor: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void name_self(const char *name)
{
    (void)prctl(PR_SET_NAME, name, 0, 0, 0);
}

static void leave_name(const char *mark, const char *comm)
{
    char path[4200];
    struct stat st;

    (void)snprintf(path, sizeof(path), "%s/%s=%s", mount, mark, comm);
    if (lstat(path, &st) == 0 || errno != ENOENT)
        fail(path);
}

static int open_disk(int flags)
{
    char path[4200];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/disk.img", mount);
    fd = open(path, O_RDONLY | flags);
    if (fd < 0)
        fail(path);
    return fd;
}

static void read_block(int fd, long block)
{
    static __thread char buffer[BLOCK] __attribute__((aligned(BLOCK)));

    if (pread(fd, buffer, BLOCK, block * BLOCK) != BLOCK)
        fail("pread");
}

static void wait_for(pid_t pid)
{
    int status = -1;

    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        (void)fprintf(stderr, "whoactor: a process failed (%d)\n", status);
        exit(1);
    }
}

/* The next process shall get this number, if it is free. */
static void want_number(pid_t number)
{
    int fd = open("/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC);
    char text[16];
    int n = snprintf(text, sizeof(text), "%d", (int)number - 1);

    if (fd < 0 || write(fd, text, (size_t)n) != n)
        fail("ns_last_pid");
    (void)close(fd);
}

static void short_life(const char *mark, long i, long block)
{
    char comm[16];

    (void)snprintf(comm, sizeof(comm), "%c%05u", mark[0], (unsigned)i % 100000u);
    name_self(comm);
    leave_name(mark, comm);
    read_block(open_disk(O_DIRECT), block);
    _exit(0);
}

static int run_many(const char *mark, bool reuse, long n, long first)
{
    pid_t wanted[REUSED] = {0}, pid;
    long i, got = 0;

    for (i = 0; i < n; i++) {
        if (reuse && wanted[i % REUSED])
            want_number(wanted[i % REUSED]);
        pid = fork();
        if (pid == 0)
            short_life(mark, i, first + i);
        got += pid == wanted[i % REUSED];
        wanted[i % REUSED] = pid; /* another one, should somebody else have got the number */
        wait_for(pid);
    }
    (void)printf("%ld\n", got);
    return 0;
}

static int run_exec(long n, long first, const char *dir)
{
    char comm[16], program[4200], block[32], fd_text[16];
    long i;
    pid_t pid;

    for (i = 0; i < n; i++) {
        pid = fork();
        if (pid == 0) {
            int fd = open_disk(O_DIRECT); /* as a shell does for "<file", under its own name */

            (void)snprintf(comm, sizeof(comm), "e%05u", (unsigned)i % 100000u);
            name_self(comm);
            leave_name("exec", comm);
            read_block(fd, first + 2 * i);
            (void)snprintf(program, sizeof(program), "%s/x%05ld", dir, i);
            (void)snprintf(block, sizeof(block), "%ld", first + 2 * i + 1);
            (void)snprintf(fd_text, sizeof(fd_text), "%d", fd);
            (void)execl(program, program, "after", mount, "exec", block, fd_text, NULL);
            fail(program);
        }
        wait_for(pid);
    }
    return 0;
}

static void own_name(char comm[16])
{
    (void)prctl(PR_GET_NAME, comm, 0, 0, 0);
}

struct job {
    long i, block;
};

static void *thread_life(void *arg)
{
    const struct job *job = arg;
    char comm[16];

    (void)snprintf(comm, sizeof(comm), "t%05u", (unsigned)job->i % 100000u);
    name_self(comm);
    leave_name("threads", comm);
    read_block(open_disk(O_DIRECT), job->block);
    return NULL;
}

static int run_threads(long n, long first)
{
    pthread_t *thread = calloc((size_t)n, sizeof(*thread));
    struct job *job = calloc((size_t)n, sizeof(*job));
    long i;

    name_self("main-thread");
    for (i = 0; thread && job && i < n; i++) {
        job[i] = (struct job){i, first + i};
        if (pthread_create(&thread[i], NULL, thread_life, &job[i]) != 0)
            fail("thread");
    }
    for (i = 0; thread && i < n; i++)
        (void)pthread_join(thread[i], NULL);
    free(thread);
    free(job);
    (void)printf("%ld\n", (long)getpid());
    return 0;
}

static int run_named(const char *mark, const char *hex)
{
    char name[16] = "";
    size_t i;

    for (i = 0; i < sizeof(name) - 1 && hex[2 * i] && hex[2 * i + 1]; i++) {
        const char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};

        name[i] = (char)strtoul(digits, NULL, 16);
    }
    name_self(name);
    leave_name(mark, hex);
    return 0;
}

static int run_ids(const char *mark, uid_t uid)
{
    char comm[16];

    leave_name(mark, "0");
    if (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)
        fail("setuid");
    (void)snprintf(comm, sizeof(comm), "%u", (unsigned)uid);
    leave_name(mark, comm);
    return 0;
}

static int run_ahead(long n)
{
    char comm[16], byte;
    long i;

    for (i = 0; i < n; i++) {
        pid_t pid = fork();

        if (pid == 0) {
            (void)snprintf(comm, sizeof(comm), "a%05u", (unsigned)i % 100000u);
            name_self(comm);
            if (pread(open_disk(0), &byte, 1, (i + 17) << 20) != 1)
                fail("pread");
            _exit(0);
        }
        wait_for(pid);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *how = argc > 3 ? argv[1] : "";
    char comm[16] = "";

    mount = argc > 3 ? argv[2] : "";
    own_name(comm);
    if (strcmp(how, "fork") == 0 && argc == 5)
        return run_many("fork", false, atol(argv[3]), atol(argv[4]));
    if (strcmp(how, "reuse") == 0 && argc == 5)
        return run_many("reuse", true, atol(argv[3]), atol(argv[4]));
    if (strcmp(how, "exec") == 0 && argc == 6)
        return run_exec(atol(argv[3]), atol(argv[4]), argv[5]);
    if (strcmp(how, "threads") == 0 && argc == 5)
        return run_threads(atol(argv[3]), atol(argv[4]));
    if (strcmp(how, "name") == 0 && argc == 5)
        return run_named(argv[3], argv[4]);
    if (strcmp(how, "ids") == 0 && argc == 5)
        return run_ids(argv[3], (uid_t)atol(argv[4]));
    if (strcmp(how, "ahead") == 0 && argc == 4)
        return run_ahead(atol(argv[3]));
    if (strcmp(how, "after") == 0 && argc == 6) {
        read_block(atoi(argv[5]), atol(argv[4])); /* first of all, as cat would */
        leave_name(argv[3], comm);
        return 0;
    }
    if (strcmp(how, "lookup") == 0) {
        leave_name(argv[3], comm);
        if (argc > 4)
            read_block(open_disk(O_DIRECT), atol(argv[4]));
        (void)printf("%ld\n", (long)getpid());
        return 0;
    }
    (void)fprintf(stderr, "usage: see the head of whoactor.c\n");
    return 2;
}
