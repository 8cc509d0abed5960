/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting and unmounting with a real kernel, as root and as an ordinary user.  Everything happens
 * in a mount namespace of its own, so nothing can be left behind.  The worker is a trivial FUSE
 * server: one root directory with one file.
 */
#define FUSE_USE_VERSION 312
#include "fuse/mountpoint.h"

#include "fuse/mountinfo.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <grp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SKIPPED 77

static char *tmp;
static char mnt[600];

/* ---- the server ---- */

static void fill_attr(fuse_ino_t ino, struct stat *st)
{
    memset(st, 0, sizeof(*st));
    st->st_ino = ino;
    st->st_mode = ino == 1 ? S_IFDIR | 0555 : S_IFREG | 0444;
    st->st_nlink = 1;
    st->st_size = ino == 1 ? 0 : 5;
    st->st_uid = getuid();
    st->st_gid = getgid();
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;

    (void)fi;
    fill_attr(ino, &st);
    (void)fuse_reply_attr(req, &st, 0);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param e = {.ino = 2};

    (void)parent;
    if (strcmp(name, "file") != 0) {
        (void)fuse_reply_err(req, ENOENT);
        return;
    }
    fill_attr(2, &e.attr);
    (void)fuse_reply_entry(req, &e);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    fi->direct_io = 1;
    (void)fuse_reply_open(req, fi);
}

/* Offset 4 never comes back: a request that is in flight when the worker ends. */
static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
                    struct fuse_file_info *fi)
{
    struct shared *s = fuse_req_userdata(req);
    size_t left;

    (void)ino;
    (void)fi;
    if (off == 4) {
        atomic_store(&s->go, 1);
        return;
    }
    off = off < 5 ? off : 5;
    left = 5 - (size_t)off;
    (void)fuse_reply_buf(req, &"hello"[off], left < size ? left : size);
}

static const struct fuse_lowlevel_ops ops = {
    .getattr = op_getattr, .lookup = op_lookup, .open = op_open, .read = op_read};

/* Serves until unmounted or told to stop; `value[6]` makes it deaf to that, `value[7]` crash. */
static int serve(struct proc_channel *ch, struct shared *s, struct fuse_session *se, int fd,
                 struct vd_err *err)
{
    struct fuse_buf buf = {0};
    bool told = false;

    for (;;) {
        struct pollfd fds[] = {{.fd = fd, .events = POLLIN},
                               {.fd = proc_channel_stop_fd(ch), .events = POLLIN}};
        int n;

        check(poll(fds, 2, 10000) >= 0);
        if (fds[1].revents && !atomic_load(&s->value[6]))
            break;
        n = fuse_session_receive_buf(se, &buf);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            break;
        fuse_session_process_buf(se, &buf);
        if (!told) { /* FUSE_INIT was answered */
            told = true;
            atomic_store(&s->worker_pid, (int)getpid());
            check(proc_channel_mounted(ch, err) == 0);
        }
        if (atomic_load(&s->value[7]) && atomic_load(&s->go))
            (void)kill(getpid(), SIGKILL);
    }
    free(buf.mem);
    return 0;
}

static int w_serve(struct proc_channel *ch, void *arg, struct vd_err *err)
{
    char arg0[] = "test", *argv[] = {arg0, NULL}, where[32];
    struct fuse_args args = FUSE_ARGS_INIT(1, argv);
    struct fuse_session *se;
    int rc, fd = -1;

    rc = proc_channel_mount(ch, &fd, err);
    if (rc)
        return rc;
    se = fuse_session_new(&args, &ops, sizeof(ops), arg);
    check(se != NULL);
    (void)snprintf(where, sizeof(where), "/dev/fd/%d", fd);
    check(fuse_session_mount(se, where) == 0);
    rc = serve(ch, arg, se, fd, err);
    fuse_session_destroy(se);
    return rc;
}

/* ---- the supervisor's side ---- */

struct side {
    struct shared *s;
    struct mountpoint_options options;
    struct mountpoint *mp;
};

static int do_mount(void *ctx, int *out_fd, struct vd_err *err)
{
    struct side *side = ctx;

    return mountpoint_mount(&side->options, &side->mp, out_fd, err);
}

static int on_mounted(void *ctx, struct vd_err *err)
{
    struct side *side = ctx;

    (void)err;
    atomic_store(&side->s->ready, 1);
    return 0;
}

static void on_unmount(void *ctx)
{
    struct side *side = ctx;

    mountpoint_unmount(side->mp);
}

/* Runs the pair while `client` runs in a process of its own; *out_client is that one's result. */
static int run_mount(struct side *side, int (*client)(struct shared *s), int *out_client,
                     bool *out_died, struct vd_err *err)
{
    static const char *dir;
    struct proc_config config;
    int rc, status = -1;
    pid_t pid;

    dir = tmp;
    config = pair_config(&dir, w_serve, side->s);
    config.mount = do_mount;
    config.mounted = on_mounted;
    config.unmount = on_unmount;
    config.ctx = side;
    pid = fork();
    if (pid == 0)
        _exit(wait_for(&side->s->ready, 10000) ? client(side->s) : 99);
    rc = proc_run(&config, out_died, err);
    (void)waitpid(pid, &status, 0);
    *out_client = WIFEXITED(status) ? WEXITSTATUS(status) : 98;
    return rc;
}

static bool is_mounted(const struct mountinfo *m, const void *ctx)
{
    return strcmp(m->path, ctx) == 0;
}

static bool mounted_at(const char *path)
{
    struct mountinfo m;

    if (mountinfo_find(is_mounted, path, &m, NULL))
        return false;
    mountinfo_clear(&m);
    return true;
}

/* ---- clients ---- */

#define want(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "line %d: not true: %s (errno %d)\n", __LINE__, #cond, errno);   \
            (void)kill(getppid(), SIGTERM);                                                        \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static const char *file_path(void)
{
    static char path[700];

    (void)snprintf(path, sizeof(path), "%s/file", mnt);
    return path;
}

static int read_hello(void)
{
    char buf[8];
    int fd = open(file_path(), O_RDONLY);

    want(fd >= 0);
    want(read(fd, buf, sizeof(buf)) == 5 && memcmp(buf, "hello", 5) == 0);
    want(close(fd) == 0);
    want(open(file_path(), O_WRONLY) < 0 && errno == EROFS);
    return 0;
}

static int client_unmounts(struct shared *s)
{
    (void)s;
    want(read_hello() == 0);
    want(umount2(mnt, 0) == 0);
    return 0;
}

static int client_signals(struct shared *s)
{
    (void)s;
    want(read_hello() == 0);
    want(kill(getppid(), SIGTERM) == 0);
    return 0;
}

static int client_helper(struct shared *s)
{
    char command[700];

    (void)s;
    want(read_hello() == 0);
    (void)snprintf(command, sizeof(command), "fusermount3 -u '%s'", mnt);
    want(system(command) == 0);
    return 0;
}

/* Keeps a file open over the end. */
static int client_busy(struct shared *s)
{
    int fd = open(file_path(), O_RDONLY);
    char buf[8];
    long long start = now_ns();

    (void)s;
    want(fd >= 0 && read(fd, buf, 2) > 0);
    want(kill(getppid(), SIGTERM) == 0);
    while (mounted_at(mnt) && now_ns() - start < 3000000000LL)
        (void)usleep(1000);
    want(!mounted_at(mnt));
    while (pread(fd, buf, 2, 0) > 0 && now_ns() - start < 5000000000LL)
        (void)usleep(1000);
    want(errno == ENOTCONN || errno == ECONNABORTED);
    return 0;
}

static int client_busy_and_deaf(struct shared *s)
{
    atomic_store(&s->value[6], 1);
    return client_busy(s);
}

/* Has a request in flight when the worker is killed. */
static int client_in_flight(struct shared *s)
{
    long long start;
    struct stat st;
    char buf[8];
    int fd = open(file_path(), O_RDONLY);

    want(fd >= 0);
    atomic_store(&s->value[7], 1);
    start = now_ns();
    want(pread(fd, buf, 1, 4) < 0 && (errno == ECONNABORTED || errno == ENOTCONN));
    want(now_ns() - start < 3000000000LL);
    want(stat(mnt, &st) < 0 && errno == ENOTCONN); /* dead, not empty */
    return 0;
}

/* ---- running tests in a namespace ---- */

/* An ordinary user needs a /dev/fuse that is open to everybody; udev sees to that, but not every
 * test machine has udev.  Only in this namespace. */
static int open_device_to_all(void)
{
    char node[700];
    struct stat st;

    if (stat("/dev/fuse", &st) || (st.st_mode & 0666) == 0666)
        return 0;
    (void)snprintf(node, sizeof(node), "%s/fuse", tmp);
    if (mknod(node, S_IFCHR | 0666, st.st_rdev) && errno != EEXIST)
        return -1;
    return chmod(node, 0666) || mount(node, "/dev/fuse", NULL, MS_BIND, NULL) ? -1 : 0;
}

static int in_namespace(bool as_user, int (*body)(void))
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
            _exit(SKIPPED);
        if (as_user && open_device_to_all())
            _exit(SKIPPED);
        if (as_user && (setgroups(0, NULL) || setresgid(65534, 65534, 65534) ||
                        setresuid(65534, 65534, 65534)))
            _exit(1);
        (void)alarm(60); /* an unmount that asks its own mount would wait for ever */
        _exit(body());
    }
    (void)waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

static void expect(bool as_user, int (*body)(void))
{
    int rc;

    assert_int_equal(chown(mnt, as_user ? 65534 : 0, (gid_t)-1), 0);
    rc = in_namespace(as_user, body);
    if (rc == SKIPPED) {
        print_message("SKIPPED: no mount namespace\n");
        skip();
    }
    assert_int_equal(rc, 0);
}

#define need(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            (void)fprintf(stderr, "line %d: not true: %s (errno %d)\n", __LINE__, #cond, errno);   \
            return 1;                                                                              \
        }                                                                                          \
    } while (0)

static struct side new_side(const char *fsname, const char *extra)
{
    return (struct side){.s = shared_new(),
                         .options = {.path = mnt, .fsname = fsname, .extra = extra}};
}

static int run_client(int (*client)(struct shared *s))
{
    struct side side = new_side("/evidence/x.vmdk", NULL);
    struct vd_err err = VD_ERR_INIT;
    int result, rc;
    bool died;

    rc = run_mount(&side, client, &result, &died, &err);
    if (rc)
        (void)fprintf(stderr, "%s\n", err.msg);
    need(rc == 0 && !died && result == 0);
    mountpoint_free(side.mp, false);
    need(!mounted_at(mnt));
    shared_free(side.s);
    return 0;
}

static int body_unmounts(void)
{
    return run_client(client_unmounts);
}

static int body_signals(void)
{
    return run_client(client_signals);
}

static int body_helper(void)
{
    return run_client(client_helper);
}

static int body_busy(void)
{
    return run_client(client_busy);
}

/* A server that goes on for the sake of open handles is cut off; that is a clean end. */
static int body_busy_and_deaf(void)
{
    return run_client(client_busy_and_deaf);
}

static int body_dies(void)
{
    struct side side = new_side("x", NULL);
    struct vd_err err = VD_ERR_INIT;
    bool died = false;
    int result;

    need(run_mount(&side, client_in_flight, &result, &died, &err) == -VD_EIO);
    need(died && result == 0 && strstr(err.msg, "signal 9"));
    mountpoint_free(side.mp, true);
    need(mounted_at(mnt)); /* the dead mount stays */
    {
        struct mountpoint_options again = {.path = mnt, .fsname = "y"};
        struct mountpoint *mp = NULL;
        int fd;

        need(mountpoint_mount(&again, &mp, &fd, &err) == -VD_EMOUNT);
        need(strstr(err.msg, "dead FUSE mount"));
    }
    shared_free(side.s);
    return 0;
}

/* A dead mount can be removed by the one who made it. */
static int body_dies_and_is_removed(void)
{
    struct side side = new_side("x", NULL);
    struct vd_err err = VD_ERR_INIT;
    bool died = false;
    int result;

    need(run_mount(&side, client_in_flight, &result, &died, &err) == -VD_EIO && result == 0);
    mountpoint_free(side.mp, false);
    need(!mounted_at(mnt));
    shared_free(side.s);
    return 0;
}

#define UNUSUAL "/e v,i\\d\ne\tn\xc3\xa9/x,ro,rw\\,.vmdk"

static bool has_source(const char *source)
{
    char line[8192], wanted[600];
    size_t n = 0;
    bool found = false;
    FILE *f = fopen("/proc/self/mountinfo", "re");

    for (; *source; source++) /* as the kernel shows it */
        n += (size_t)(strchr(" \t\n\\", *source)
                          ? snprintf(wanted + n, sizeof(wanted) - n, "\\%03o", (unsigned)*source)
                          : snprintf(wanted + n, sizeof(wanted) - n, "%c", *source));
    while (f && !found && fgets(line, sizeof(line), f))
        found = strstr(line, " - fuse.vdiskfs ") && strstr(line, wanted);
    if (f)
        (void)fclose(f);
    return found;
}

/* Nobody serves this mount: everything must work without asking it anything. */
static int body_unserved(void)
{
    struct mountpoint_options options = {.path = mnt, .fsname = UNUSUAL, .extra = "noatime,,sync"};
    struct mountpoint *mp = NULL;
    struct vd_err err = VD_ERR_INIT;
    int fd = -1, fds = count_fds(), rc = mountpoint_mount(&options, &mp, &fd, &err);
    char *text;

    if (rc)
        (void)fprintf(stderr, "%s\n", err.msg);
    need(rc == 0);
    need(fcntl(fd, F_GETFD) == FD_CLOEXEC);
    text = mountpoint_in_force(mp);
    need(text && strstr(text, "ro,nosuid,nodev,noexec") && strstr(text, "fuse.vdiskfs"));
    need(strstr(text, "default_permissions") && strstr(text, "noatime"));
    free(text);
    need(has_source(UNUSUAL));
    mountpoint_unmount(mp);
    need(!mounted_at(mnt));
    need(mountpoint_in_force(mp) == NULL);
    mountpoint_unmount(mp);
    mountpoint_free(mp, false);
    (void)close(fd);
    need(count_fds() == fds);
    return 0;
}

static int body_refusals(void)
{
    static const struct {
        const char *path, *extra;
        int cls;
        const char *text;
    } table[] = {
        {mnt, "rw", VD_EUSAGE, "always ro"},
        {mnt, "noatime,suid", VD_EUSAGE, "\"suid\""},
        {mnt, "dev", VD_EUSAGE, "refused"},
        {mnt, "exec", VD_EUSAGE, "refused"},
        {mnt, "fd=5", VD_EUSAGE, "unknown mount option \"fd=5\""},
        {mnt, "user_id=0", VD_EUSAGE, "unknown"},
        {mnt, "allow_others", VD_EUSAGE, "unknown"},
        {"/nonexistent/x", NULL, VD_EMOUNT, "No such file"},
        {"/etc/passwd", NULL, VD_EMOUNT, "not a directory"},
    };
    struct vd_err err = VD_ERR_INIT;
    int fds = count_fds();
    size_t i;

    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct mountpoint_options options = {
            .path = table[i].path, .fsname = "x", .extra = table[i].extra};
        struct mountpoint *mp = NULL;
        int fd = -1, rc = mountpoint_mount(&options, &mp, &fd, &err);

        if (rc != -table[i].cls || mp || fd != -1 || !strstr(err.msg, table[i].text) ||
            strncmp(err.msg, table[i].path, strlen(table[i].path)) != 0) {
            (void)fprintf(stderr, "%zu: %d %s\n", i, rc, err.msg);
            return 1;
        }
    }
    need(!mounted_at(mnt) && count_fds() == fds);
    return 0;
}

/* What fusermount3 says reaches the user. */
static int body_user_refused(void)
{
    struct mountpoint_options options = {.path = mnt, .fsname = "x", .extra = "allow_other"};
    struct mountpoint *mp = NULL;
    struct vd_err err = VD_ERR_INIT;
    char line[200];
    int fd;
    FILE *f = fopen("/etc/fuse.conf", "re");

    while (f && fgets(line, sizeof(line), f))
        if (strncmp(line, "user_allow_other", 16) == 0)
            options.path = "/"; /* allowed here; then this is not */
    if (f)
        (void)fclose(f);
    need(mountpoint_mount(&options, &mp, &fd, &err) == -VD_EMOUNT);
    need(strstr(err.msg, "fusermount3:"));
    return 0;
}

/* ---- only our own mount ---- */

static struct mountpoint *mount_it(int *out_fd)
{
    struct mountpoint_options options = {.path = mnt, .fsname = "x"};
    struct mountpoint *mp = NULL;
    struct vd_err err = VD_ERR_INIT;

    if (mountpoint_mount(&options, &mp, out_fd, &err))
        (void)fprintf(stderr, "%s\n", err.msg);
    return mp;
}

static int body_replaced(void)
{
    struct mountpoint *mp;
    int fd = -1;

    mp = mount_it(&fd);
    need(mp && umount2(mnt, MNT_DETACH) == 0 && close(fd) == 0);
    need(mount("other", mnt, "tmpfs", 0, NULL) == 0);
    mountpoint_free(mp, false);
    need(mounted_at(mnt));
    return 0;
}

static int body_covered(void)
{
    struct mountinfo m;
    struct mountpoint *mp;
    int fd = -1;

    mp = mount_it(&fd);
    need(mp && mount("other", mnt, "tmpfs", 0, NULL) == 0);
    mountpoint_unmount(mp);
    need(mountinfo_find(is_mounted, mnt, &m, NULL) == 0);
    need(strcmp(m.fstype, "tmpfs") == 0); /* still on top */
    mountinfo_clear(&m);
    need(umount2(mnt, 0) == 0);
    mountpoint_free(mp, false); /* now it can go */
    need(!mounted_at(mnt));
    return close(fd);
}

static bool is_fusectl(const struct mountinfo *m, const void *ctx)
{
    (void)ctx;
    return strcmp(m->fstype, "fusectl") == 0;
}

static bool has_fusectl(void)
{
    struct mountinfo m;

    if (mountinfo_find(is_fusectl, NULL, &m, NULL))
        return false;
    mountinfo_clear(&m);
    return true;
}

static int body_moved(void)
{
    char other[700];
    struct mountpoint *mp;
    int fd = -1;

    (void)snprintf(other, sizeof(other), "%s/moved here", tmp);
    need(mkdir(other, 0700) == 0);
    mp = mount_it(&fd);
    need(mp && mount(mnt, other, NULL, MS_MOVE, NULL) == 0);
    need(mounted_at(other));
    mountpoint_free(mp, false);
    /* Without the kernel's list of connections its numbers could be another mount's by now. */
    need(mounted_at(other) == !has_fusectl());
    if (mounted_at(other))
        need(umount2(other, MNT_DETACH) == 0);
    need(rmdir(other) == 0);
    return close(fd);
}

/* The same image mounted again at the same place gets the same numbers; the first supervisor,
 * which is only now cleaning up, must leave it alone.  Needs the kernel's list of connections. */
static int body_numbers_used_again(void)
{
    struct mountpoint *first, *second;
    struct mountinfo a, b;
    int fd = -1, fd2 = -1;
    bool same;

    if (mount("fusectl", "/sys/fs/fuse/connections", "fusectl", 0, NULL) && errno != EBUSY)
        return SKIPPED;
    first = mount_it(&fd);
    need(first && mountinfo_find(is_mounted, mnt, &a, NULL) == 0);
    need(umount2(mnt, 0) == 0 && close(fd) == 0);
    second = mount_it(&fd2);
    need(second && mountinfo_find(is_mounted, mnt, &b, NULL) == 0);
    same = a.id == b.id && a.minor == b.minor;
    if (!same)
        (void)fprintf(stderr, "note: this kernel gave other numbers\n");
    mountpoint_free(first, false);
    need(mounted_at(mnt));
    mountpoint_free(second, false);
    need(!mounted_at(mnt));
    mountinfo_clear(&a);
    mountinfo_clear(&b);
    return close(fd2);
}

/* ---- all ---- */

#define ROOT_TEST(name)                                                                            \
    static void root_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        expect(false, body_##name);                                                                \
    }
#define USER_TEST(name)                                                                            \
    static void user_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        expect(true, body_##name);                                                                 \
    }

ROOT_TEST(unmounts)
ROOT_TEST(signals)
ROOT_TEST(helper)
ROOT_TEST(busy)
ROOT_TEST(busy_and_deaf)
ROOT_TEST(dies)
ROOT_TEST(dies_and_is_removed)
ROOT_TEST(unserved)
ROOT_TEST(refusals)
ROOT_TEST(replaced)
ROOT_TEST(covered)
ROOT_TEST(moved)
ROOT_TEST(numbers_used_again)
USER_TEST(signals)
USER_TEST(helper)
USER_TEST(busy)
USER_TEST(dies)
USER_TEST(dies_and_is_removed)
USER_TEST(refusals)
USER_TEST(user_refused)

static int body_unserved_by_user(void)
{
    struct mountpoint *mp;
    int fd = -1;

    mp = mount_it(&fd);
    need(mp && mounted_at(mnt));
    mountpoint_free(mp, false);
    need(!mounted_at(mnt));
    return close(fd);
}

static int body_source_by_user(void)
{
    struct mountpoint_options options = {.path = mnt, .fsname = UNUSUAL};
    struct mountpoint *mp = NULL;
    struct vd_err err = VD_ERR_INIT;
    int fd = -1;

    need(mountpoint_mount(&options, &mp, &fd, &err) == 0);
    need(has_source(UNUSUAL));
    mountpoint_free(mp, false);
    return close(fd);
}

USER_TEST(unserved_by_user)
USER_TEST(source_by_user)

static int set_up(void **state)
{
    (void)state;
    tmp = test_tmpdir();
    (void)snprintf(mnt, sizeof(mnt), "%s/mnt", tmp);
    return chmod(tmp, 0755) || mkdir(mnt, 0755);
}

static int tear_down(void **state)
{
    (void)state;
    test_rmdir(tmp);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(root_unmounts),
        cmocka_unit_test(root_signals),
        cmocka_unit_test(root_helper),
        cmocka_unit_test(root_busy),
        cmocka_unit_test(root_busy_and_deaf),
        cmocka_unit_test(root_dies),
        cmocka_unit_test(root_dies_and_is_removed),
        cmocka_unit_test(root_unserved),
        cmocka_unit_test(root_refusals),
        cmocka_unit_test(root_replaced),
        cmocka_unit_test(root_covered),
        cmocka_unit_test(root_moved),
        cmocka_unit_test(root_numbers_used_again),
        cmocka_unit_test(user_signals),
        cmocka_unit_test(user_helper),
        cmocka_unit_test(user_busy),
        cmocka_unit_test(user_dies),
        cmocka_unit_test(user_dies_and_is_removed),
        cmocka_unit_test(user_refusals),
        cmocka_unit_test(user_user_refused),
        cmocka_unit_test(user_unserved_by_user),
        cmocka_unit_test(user_source_by_user),
    };

    if (geteuid() != 0 || access("/dev/fuse", F_OK) || access("/usr/bin/fusermount3", X_OK)) {
        (void)printf("SKIPPED: needs root, /dev/fuse and fusermount3 (package fuse3)\n");
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
