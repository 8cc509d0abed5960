/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write prober: issues every modifying system call there is against objects of a mount and
 * says what each answered.
 *
 *   prober MOUNT FILE DIR SYMLINK DISKIMG OUTSIDE_DIR
 *       prints call <TAB> object <TAB> errno
 *   prober --check ro|rw MOUNT FILE DIR SYMLINK DISKIMG OUTSIDE_DIR
 *       also compares with write-calls.tsv (or the file named by VDISKFS_WRITE_CALLS) and prints
 * every difference; exit 1 if there is any
 *
 * FILE, DIR, SYMLINK and DISKIMG are paths below MOUNT, FILE and DISKIMG not empty; OUTSIDE_DIR is
 * writable and on another file system.  Each call runs in a process of its own that is killed after
 * TIMEOUT_S seconds, so that the prober ends whatever the mount does.
 */
#include "prober.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMEOUT_S 15
#define FRESH     ".vdiskfs-probe"
#define MAX_ROWS  1024

enum { OBJECTS = 5 };

/* What is expected: one line of the table. */
struct row {
    char call[80], object[16], ro[16], rw[16];
    bool seen;
};

static struct row rows[MAX_ROWS];
static size_t n_rows;

static const char *errno_name(int error, char *buf, size_t size)
{
    const char *name = error ? strerrorname_np(error) : "OK";

    if (error == EOPNOTSUPP) /* glibc says ENOTSUP for the same number */
        name = "EOPNOTSUPP";
    if (name)
        (void)snprintf(buf, size, "%s", name);
    else
        (void)snprintf(buf, size, "%d", error);
    return buf;
}

/* Runs one probe in a child; the answer as text. */
static void run_probe(const struct probe *p, const struct target *t, char *out, size_t size)
{
    struct pollfd answer;
    int fd[2], error = -1, status = 0;
    pid_t child;

    if (pipe2(fd, O_CLOEXEC) != 0 || (child = fork()) < 0) {
        (void)snprintf(out, size, "CANNOT-RUN");
        return;
    }
    if (child == 0) {
        (void)close(fd[0]);
        (void)alarm(TIMEOUT_S * 2); /* should the parent die first */
        error = p->run(t);
        _exit(write(fd[1], &error, sizeof(error)) != (ssize_t)sizeof(error));
    }
    (void)close(fd[1]);
    answer = (struct pollfd){.fd = fd[0], .events = POLLIN};
    if (poll(&answer, 1, TIMEOUT_S * 1000) == 1 &&
        read(fd[0], &error, sizeof(error)) == (ssize_t)sizeof(error)) {
        (void)errno_name(error, out, size);
    } else if (answer.revents) {
        (void)snprintf(out, size, "DIED");
    } else {
        (void)snprintf(out, size, "TIMEOUT");
        (void)kill(child, SIGKILL);
    }
    (void)close(fd[0]);
    (void)waitpid(child, &status, 0);
}

static bool load_table(const char *path)
{
    FILE *f = fopen(path, "r");
    char line[512];

    if (!f) {
        (void)fprintf(stderr, "prober: %s: %s\n", path, strerror(errno));
        return false;
    }
    while (fgets(line, sizeof(line), f)) {
        struct row *r = &rows[n_rows];

        if (line[0] == '#' || line[0] == '\n')
            continue;
        if (n_rows == MAX_ROWS || sscanf(line, "%79[^\t]\t%15[^\t]\t%15[^\t]\t%15[^\t\n]", r->call,
                                         r->object, r->ro, r->rw) != 4) {
            (void)fprintf(stderr, "prober: %s: bad line: %s", path, line);
            (void)fclose(f);
            return false;
        }
        n_rows++;
    }
    (void)fclose(f);
    return true;
}

static struct row *find_row(const char *call, const char *object)
{
    size_t i;

    for (i = 0; i < n_rows; i++)
        if (strcmp(rows[i].call, call) == 0 && strcmp(rows[i].object, object) == 0)
            return &rows[i];
    return NULL;
}

/* Compares one answer; 1 for a difference. */
static unsigned compare(const struct probe *p, const char *object, const char *mode,
                        const char *answer)
{
    struct row *r = find_row(p->call, object);
    const char *expected;

    if (!r) {
        (void)fprintf(stderr, "%s on %s: not in the table (answered %s)\n", p->call, object,
                      answer);
        return 1;
    }
    r->seen = true;
    expected = strcmp(mode, "ro") == 0 ? r->ro : r->rw;
    if (strcmp(expected, answer) == 0)
        return 0;
    if (p->flags & RECENT && strcmp(answer, "ENOSYS") == 0)
        return 0;
    (void)fprintf(stderr, "%s on %s, %s: %s instead of %s\n", p->call, object, mode, answer,
                  expected);
    return 1;
}

/* Every probe that applies to the object.  mode NULL: no comparison. */
static unsigned probe_object(const char *object, unsigned kind, const struct target *t,
                             const char *mode)
{
    unsigned differences = 0;
    char answer[32];
    size_t i;

    for (i = 0; i < n_calls + n_ioctls; i++) {
        const struct probe *p = i < n_calls ? &calls[i] : &ioctls[i - n_calls];

        if (!(p->flags & kind))
            continue;
        if (p->flags & AS_ROOT && geteuid() != 0) {
            struct row *r = mode ? find_row(p->call, object) : NULL;

            if (r)
                r->seen = true;
            continue;
        }
        run_probe(p, t, answer, sizeof(answer));
        (void)printf("%s\t%s\t%s\n", p->call, object, answer);
        (void)fflush(stdout);
        if (mode)
            differences += compare(p, object, mode, answer);
    }
    return differences;
}

/* The directory that holds `path`, in buf. */
static const char *parent_of(const char *path, char *buf, size_t size)
{
    char *slash;

    (void)snprintf(buf, size, "%s", path);
    slash = strrchr(buf, '/');
    if (slash && slash != buf)
        *slash = '\0';
    return buf;
}

static unsigned probe_all(char **arg, const char *mode)
{
    const char *mount = arg[0], *outside = arg[5];
    struct object {
        const char *name, *path, *other;
        unsigned kind;
    } const object[OBJECTS] = {
        {"file", arg[1], arg[3], ON_FILE},    {"disk.img", arg[4], arg[1], ON_FILE},
        {"new", arg[1], arg[3], ON_NEW},      {"dir", arg[2], arg[4], ON_DIR},
        {"symlink", arg[3], arg[1], ON_LINK},
    };
    static char dir[4096], fresh[4200];
    unsigned differences = 0;
    size_t i;

    for (i = 0; i < OBJECTS; i++) {
        struct target t = {
            .path = object[i].path,
            .other = object[i].other,
            .outside = outside,
            .mount = mount,
            .is_dir = object[i].kind == ON_DIR,
            .dir = parent_of(object[i].path, dir, sizeof(dir)),
            .fresh = fresh,
        };

        (void)snprintf(fresh, sizeof(fresh), "%s/%s", dir, FRESH);
        differences += probe_object(object[i].name, object[i].kind, &t, mode);
    }
    for (i = 0; mode && i < n_rows; i++) {
        if (!rows[i].seen) {
            (void)fprintf(stderr, "%s on %s: in the table, but not tried\n", rows[i].call,
                          rows[i].object);
            differences++;
        }
    }
    return differences;
}

/* The calls would do harm on an ordinary file system: every object must lie on one FUSE mount that
 * holds nothing of ours. */
static bool is_safe(char **arg)
{
    struct statfs fs;
    struct stat mount, st;
    int i;

    if (statfs(arg[0], &fs) != 0 || fs.f_type != FUSE_SUPER_MAGIC || stat(arg[0], &mount) != 0) {
        (void)fprintf(stderr, "prober: %s is not a FUSE mount\n", arg[0]);
        return false;
    }
    for (i = 1; i <= 4; i++) {
        if (lstat(arg[i], &st) != 0 || st.st_dev != mount.st_dev) {
            (void)fprintf(stderr, "prober: %s does not lie on %s\n", arg[i], arg[0]);
            return false;
        }
    }
    if (stat(arg[5], &st) != 0 || st.st_dev == mount.st_dev) {
        (void)fprintf(stderr, "prober: %s is not a directory elsewhere\n", arg[5]);
        return false;
    }
    return true;
}

/* A regular file outside the mount, source and target of calls that cross its border. */
static bool make_outside(const char *dir, char *path, size_t size)
{
    static const char text[8192] = "outside";
    int fd;
    bool ok;

    (void)snprintf(path, size, "%s/probe-source", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ok = fd >= 0 && write(fd, text, sizeof(text)) == (ssize_t)sizeof(text);
    if (!ok)
        (void)fprintf(stderr, "prober: %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

int main(int argc, char **argv)
{
    const char *mode = NULL, *table = getenv("VDISKFS_WRITE_CALLS");
    char source[4200];
    unsigned differences;

    if (argc > 2 && strcmp(argv[1], "--check") == 0) {
        mode = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc != 7 || (mode && strcmp(mode, "ro") != 0 && strcmp(mode, "rw") != 0)) {
        (void)fprintf(stderr, "usage: prober [--check ro|rw] MOUNT FILE DIR SYMLINK DISKIMG "
                              "OUTSIDE_DIR\n");
        return 2;
    }
    if (!is_safe(argv + 1) || (mode && !load_table(table ? table : PROBER_TABLE)) ||
        !make_outside(argv[6], source, sizeof(source)))
        return 2;
    (void)signal(SIGPIPE, SIG_IGN);
    differences = probe_all(argv + 1, mode);
    (void)unlink(source);
    if (differences)
        (void)fprintf(stderr, "prober: %u differences\n", differences);
    return differences != 0;
}
