/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls.  Each probe is one function: 0 when the call succeeded, else its errno.  Where success
 * would leave something behind outside the mount (swap, process accounting), it is undone.
 */
#include "prober.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#ifndef F_SET_RW_HINT
#define F_SET_RW_HINT (1024 + 12)
#endif

/* Numbers of calls that the C library may not know yet; the same on all architectures. */
enum { NR_FCHMODAT2 = 452, NR_SETXATTRAT = 463, NR_REMOVEXATTRAT = 466, NR_FILE_SETATTR = 469 };

static int answer(long rc)
{
    return rc < 0 ? errno : 0;
}

static int open_object(const struct target *t)
{
    return open(t->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (t->is_dir ? O_DIRECTORY : 0));
}

static int open_outside(const struct target *t)
{
    char path[4200];

    (void)snprintf(path, sizeof(path), "%s/probe-source", t->outside);
    return open(path, O_RDWR | O_CLOEXEC);
}

/* The errno of `expr`, which uses a read-only descriptor `fd` of the object. */
#define WITH_FD(name, expr)                                                                        \
    static int name(const struct target *t)                                                        \
    {                                                                                              \
        int fd = open_object(t);                                                                   \
                                                                                                   \
        return fd < 0 ? errno : answer(expr);                                                      \
    }

/* The errno of `expr`, which uses paths only. */
#define WITH_PATH(name, expr)                                                                      \
    static int name(const struct target *t)                                                        \
    {                                                                                              \
        return answer(expr);                                                                       \
    }

/* ---- open ---- */

WITH_PATH(open_rdonly, open(t->path, O_RDONLY | O_NONBLOCK))
WITH_PATH(open_wronly, open(t->path, O_WRONLY | O_NONBLOCK))
WITH_PATH(open_rdwr, open(t->path, O_RDWR | O_NONBLOCK))
WITH_PATH(open_trunc, open(t->path, O_RDONLY | O_TRUNC | O_NONBLOCK))
WITH_PATH(open_append, open(t->path, O_WRONLY | O_APPEND | O_NONBLOCK))
WITH_PATH(open_creat, open(t->path, O_RDONLY | O_CREAT | O_NONBLOCK, 0600))
WITH_PATH(open_excl, open(t->path, O_RDWR | O_CREAT | O_EXCL | O_NONBLOCK, 0600))
WITH_PATH(open_new_rdonly, open(t->fresh, O_RDONLY | O_CREAT, 0600))
WITH_PATH(open_new_rdwr, open(t->fresh, O_RDWR | O_CREAT, 0600))
WITH_PATH(creat_new, creat(t->fresh, 0600))
WITH_PATH(open_tmpfile, open(t->path, O_TMPFILE | O_RDWR, 0600))
WITH_PATH(open_path, open(t->path, O_PATH))
WITH_PATH(open_nofollow, open(t->path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK))

static int openat2_new(const struct target *t)
{
    struct open_how how = {.flags = O_RDWR | O_CREAT, .mode = 0600};

    return answer(syscall(SYS_openat2, AT_FDCWD, t->fresh, &how, sizeof(how)));
}

static int reopen_by_proc(const struct target *t)
{
    char path[64];
    int fd = open_object(t);

    if (fd < 0)
        return errno;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return answer(open(path, O_RDWR | O_NONBLOCK));
}

static int handle_of(const char *path, int flags, struct file_handle *h)
{
    int mount_id;

    h->handle_bytes = MAX_HANDLE_SZ;
    return name_to_handle_at(AT_FDCWD, path, h, &mount_id, flags);
}

union handle {
    struct file_handle h;
    unsigned char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

static int get_handle(const struct target *t)
{
    union handle u;

    return answer(handle_of(t->path, 0, &u.h));
}

static int open_handle(const struct target *t)
{
    union handle u;
    int mount = open(t->mount, O_RDONLY | O_DIRECTORY);

    if (mount < 0 || handle_of(t->path, 0, &u.h) != 0)
        return errno;
    return answer(open_by_handle_at(mount, &u.h, O_RDWR | O_NONBLOCK));
}

/* ---- writing through a read-only descriptor ---- */

static char byte[1] = "x";
static struct iovec vec = {byte, 1};

WITH_FD(write_fd, write(fd, byte, 1))
WITH_FD(pwrite_fd, pwrite(fd, byte, 1, 0))
WITH_FD(pwritev2_fd, pwritev2(fd, &vec, 1, 0, 0))
WITH_FD(sendfile_fd, sendfile(fd, open_outside(t), NULL, 16))
WITH_FD(copy_range_in, copy_file_range(open_outside(t), NULL, fd, NULL, 16, 0))
WITH_FD(copy_range_out, copy_file_range(fd, NULL, open_outside(t), NULL, 16, 0))
WITH_FD(ftruncate_fd, ftruncate(fd, 0))
WITH_FD(fallocate_fd, fallocate(fd, 0, 0, 4096))
WITH_FD(fallocate_punch, fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096))
WITH_FD(fallocate_zero, fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, 4096))
WITH_FD(fallocate_collapse, fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096))

static int splice_fd(const struct target *t)
{
    int pipe_fd[2], fd = open_object(t);

    if (fd < 0 || pipe(pipe_fd) != 0 || write(pipe_fd[1], byte, 1) != 1)
        return errno;
    return answer(splice(pipe_fd[0], NULL, fd, NULL, 1, SPLICE_F_NONBLOCK));
}

static int posix_fallocate_fd(const struct target *t)
{
    int fd = open_object(t);

    return fd < 0 ? errno : posix_fallocate(fd, 0, 4096);
}

static int io_submit_write(const struct target *t)
{
    struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_nbytes = 1}, *list = &cb;
    aio_context_t context = 0;
    int fd = open_object(t);

    if (fd < 0 || syscall(SYS_io_setup, 1, &context) != 0)
        return errno;
    cb.aio_fildes = (uint32_t)fd;
    cb.aio_buf = (uint64_t)(uintptr_t)byte;
    return answer(syscall(SYS_io_submit, context, 1, &list));
}

/* ---- names ---- */

WITH_PATH(mkdir_new, mkdir(t->fresh, 0700))
WITH_PATH(mkdir_existing, mkdir(t->path, 0700))
WITH_PATH(mknod_reg, mknod(t->fresh, S_IFREG | 0600, 0))
WITH_PATH(mknod_chr, mknod(t->fresh, S_IFCHR | 0600, 0x103))
WITH_PATH(mkfifo_new, mkfifo(t->fresh, 0600))
WITH_PATH(mknod_existing, mknod(t->path, S_IFREG | 0600, 0))
WITH_PATH(symlink_new, symlink("target", t->fresh))
WITH_PATH(symlink_existing, symlink("target", t->path))
WITH_PATH(link_inside, link(t->path, t->fresh))
WITH_PATH(unlink_object, unlink(t->path))
WITH_PATH(unlink_missing, unlink(t->fresh))
WITH_PATH(rmdir_object, rmdir(t->path))
WITH_PATH(rename_inside, rename(t->path, t->fresh))
WITH_PATH(rename_noreplace, renameat2(AT_FDCWD, t->path, AT_FDCWD, t->fresh, RENAME_NOREPLACE))
WITH_PATH(rename_exchange, renameat2(AT_FDCWD, t->path, AT_FDCWD, t->other, RENAME_EXCHANGE))
WITH_PATH(rename_whiteout, renameat2(AT_FDCWD, t->path, AT_FDCWD, t->fresh, RENAME_WHITEOUT))
WITH_FD(link_by_fd, linkat(fd, "", AT_FDCWD, t->fresh, AT_EMPTY_PATH))

static const char *outside_name(const struct target *t, const char *name, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s/%s", t->outside, name);
    return buf;
}

static int link_out(const struct target *t)
{
    char path[4200];

    return answer(link(t->path, outside_name(t, "probe-new", path, sizeof(path))));
}

static int link_in(const struct target *t)
{
    char path[4200];

    return answer(link(outside_name(t, "probe-source", path, sizeof(path)), t->fresh));
}

static int rename_out(const struct target *t)
{
    char path[4200];

    return answer(rename(t->path, outside_name(t, "probe-new", path, sizeof(path))));
}

static int rename_in(const struct target *t)
{
    char path[4200];

    return answer(rename(outside_name(t, "probe-source", path, sizeof(path)), t->fresh));
}

/* By a relative name: the address has room for 107 bytes only. */
static int bind_new(const struct target *t)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", strrchr(t->fresh, '/') + 1);
    if (fd < 0 || chdir(t->dir) != 0)
        return errno;
    return answer(bind(fd, (const struct sockaddr *)&address, sizeof(address)));
}

/* ---- attributes ---- */

static const struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
static const struct timespec times[2] = {{1, 0}, {1, 0}};

WITH_PATH(truncate_object, truncate(t->path, 0))
WITH_PATH(chmod_object, chmod(t->path, 0600))
WITH_FD(fchmod_object, fchmod(fd, 0600))
WITH_PATH(fchmodat2_object, syscall(NR_FCHMODAT2, AT_FDCWD, t->path, 0600, 0))
WITH_PATH(fchmodat2_link, syscall(NR_FCHMODAT2, AT_FDCWD, t->path, 0600, AT_SYMLINK_NOFOLLOW))
WITH_PATH(chown_object, chown(t->path, 1, 1))
WITH_FD(fchown_object, fchown(fd, 1, 1))
WITH_PATH(lchown_object, lchown(t->path, 1, 1))
WITH_PATH(utimens_now, utimensat(AT_FDCWD, t->path, NULL, 0))
WITH_PATH(utimens_times, utimensat(AT_FDCWD, t->path, times, 0))
WITH_PATH(utimens_omit, utimensat(AT_FDCWD, t->path, omit, 0))
WITH_PATH(utimens_link, utimensat(AT_FDCWD, t->path, times, AT_SYMLINK_NOFOLLOW))
WITH_FD(futimens_object, futimens(fd, times))
WITH_PATH(utime_object, utime(t->path, NULL))

static int truncate_same(const struct target *t)
{
    struct stat st;

    return stat(t->path, &st) != 0 ? errno : answer(truncate(t->path, st.st_size));
}

/* An access list (version, then tag, permission, id of each entry): owner, group and other read. */
static const struct {
    uint32_t version;
    struct {
        uint16_t tag, perm;
        uint32_t id;
    } entry[3];
} acl = {2, {{1, 4, UINT32_MAX}, {4, 4, UINT32_MAX}, {0x20, 4, UINT32_MAX}}};

static const uint32_t acl_version_0[8] = {0};

WITH_PATH(setxattr_user, setxattr(t->path, "user.probe", byte, 1, 0))
WITH_PATH(setxattr_trusted, setxattr(t->path, "trusted.probe", byte, 1, 0))
WITH_PATH(setxattr_capability, setxattr(t->path, "security.capability", byte, 1, 0))
WITH_PATH(setxattr_acl, setxattr(t->path, "system.posix_acl_access", &acl, sizeof(acl), 0))
WITH_PATH(setxattr_bad_acl,
          setxattr(t->path, "system.posix_acl_access", acl_version_0, sizeof(acl_version_0), 0))
WITH_FD(fsetxattr_user, fsetxattr(fd, "user.probe", byte, 1, 0))
WITH_PATH(lsetxattr_user, lsetxattr(t->path, "user.probe", byte, 1, 0))
WITH_PATH(lsetxattr_trusted, lsetxattr(t->path, "trusted.probe", byte, 1, 0))
WITH_PATH(removexattr_user, removexattr(t->path, "user.probe"))
WITH_PATH(lremovexattr_trusted, lremovexattr(t->path, "trusted.probe"))
WITH_PATH(removexattrat_user, syscall(NR_REMOVEXATTRAT, AT_FDCWD, t->path, 0, "user.probe"))

static int setxattrat_user(const struct target *t)
{
    struct {
        uint64_t value;
        uint32_t size, flags;
    } args = {(uint64_t)(uintptr_t)byte, 1, 0};

    return answer(syscall(NR_SETXATTRAT, AT_FDCWD, t->path, 0, "user.probe", &args, sizeof(args)));
}

static int file_setattr_object(const struct target *t)
{
    struct {
        uint64_t flags;
        uint32_t extent_size, extents, project, cow_extent_size;
    } args = {.flags = 8 /* FS_XFLAG_IMMUTABLE */};

    return answer(syscall(NR_FILE_SETATTR, AT_FDCWD, t->path, &args, sizeof(args), 0));
}

/* ---- memory ---- */

static int map(const struct target *t, int prot, int flags, char **out)
{
    int fd = open_object(t);
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, prot, flags, fd, 0);

    *out = p;
    return p == MAP_FAILED ? errno : 0;
}

static int mmap_shared_write(const struct target *t)
{
    char *p;

    return map(t, PROT_READ | PROT_WRITE, MAP_SHARED, &p);
}

static int mmap_shared_read(const struct target *t)
{
    char *p;

    return map(t, PROT_READ, MAP_SHARED, &p);
}

static int mprotect_write(const struct target *t)
{
    char *p;
    int error = map(t, PROT_READ, MAP_SHARED, &p);

    return error ? error : answer(mprotect(p, 4096, PROT_READ | PROT_WRITE));
}

static int mmap_private_store(const struct target *t)
{
    char *p;
    int error = map(t, PROT_READ | PROT_WRITE, MAP_PRIVATE, &p);

    if (!error)
        *(volatile char *)p = 'x';
    return error;
}

static int mmap_exec(const struct target *t)
{
    char *p;

    return map(t, PROT_READ | PROT_EXEC, MAP_PRIVATE, &p);
}

static int madvise_remove(const struct target *t)
{
    char *p;
    int error = map(t, PROT_READ, MAP_SHARED, &p);

    return error ? error : answer(madvise(p, 4096, MADV_REMOVE));
}

/* ---- asking, locking, syncing ---- */

static char page[8192];

WITH_PATH(access_write, access(t->path, W_OK))
WITH_PATH(access_exec, access(t->path, X_OK))
WITH_PATH(faccessat_read, faccessat(AT_FDCWD, t->path, R_OK, AT_EACCESS))
WITH_PATH(faccessat_exec, faccessat(AT_FDCWD, t->path, X_OK, AT_EACCESS))
WITH_FD(lease_read, fcntl(fd, F_SETLEASE, F_RDLCK))
WITH_FD(lease_write, fcntl(fd, F_SETLEASE, F_WRLCK))
WITH_FD(flock_exclusive, flock(fd, LOCK_EX | LOCK_NB))
WITH_FD(add_seals, fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE))
WITH_FD(set_append, fcntl(fd, F_SETFL, O_APPEND))
WITH_FD(notify_dir, fcntl(fd, F_NOTIFY, DN_MODIFY))
WITH_FD(fsync_fd, fsync(fd))
WITH_FD(fdatasync_fd, fdatasync(fd))
WITH_FD(syncfs_fd, syncfs(fd))
WITH_FD(sync_range, sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE))
WITH_FD(readahead_fd, readahead(fd, 0, 4096))
WITH_FD(read_fd, read(fd, page, sizeof(page)))
WITH_FD(seek_data, lseek(fd, 0, SEEK_DATA))
WITH_FD(seek_hole, lseek(fd, 0, SEEK_HOLE))

static int lock_of(const struct target *t, short type)
{
    struct flock lock = {.l_type = type};
    int fd = open_object(t);

    return fd < 0 ? errno : answer(fcntl(fd, F_SETLK, &lock));
}

static int lock_write(const struct target *t)
{
    return lock_of(t, F_WRLCK);
}

static int lock_read(const struct target *t)
{
    return lock_of(t, F_RDLCK);
}

static int rw_hint(const struct target *t)
{
    uint64_t hint = 2; /* RWH_WRITE_LIFE_SHORT */
    int fd = open_object(t);

    return fd < 0 ? errno : answer(fcntl(fd, F_SET_RW_HINT, &hint));
}

static int fadvise(const struct target *t)
{
    int fd = open_object(t);

    return fd < 0 ? errno : posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

/* ---- the system ---- */

static int swapon_object(const struct target *t)
{
    int error = answer(swapon(t->path, 0));

    if (!error)
        (void)swapoff(t->path);
    return error;
}

static int acct_object(const struct target *t)
{
    int error = answer(acct(t->path));

    if (!error)
        (void)acct(NULL);
    return error;
}

static char quota[256];

/* QCMD of the header shifts into the sign bit. */
static int quota_command(unsigned command)
{
    return (int)(command << SUBCMDSHIFT | USRQUOTA);
}

WITH_PATH(quota_get, quotactl(quota_command(Q_GETQUOTA), t->path, 0, quota))
WITH_FD(quota_set_fd, syscall(SYS_quotactl_fd, fd, quota_command(Q_SETQUOTA), 0, quota))
WITH_FD(quota_on_fd, syscall(SYS_quotactl_fd, fd, quota_command(Q_QUOTAON), 0, quota))

const struct probe calls[] = {
    {"open(O_RDONLY)", ON_FILE | ON_DIR, open_rdonly},
    {"open(O_WRONLY)", ON_FILE | ON_DIR, open_wronly},
    {"open(O_RDWR)", ON_FILE | ON_DIR, open_rdwr},
    {"open(O_RDONLY|O_TRUNC)", ON_FILE | ON_DIR, open_trunc},
    {"open(O_WRONLY|O_APPEND)", ON_FILE | ON_DIR, open_append},
    {"open(O_RDONLY|O_CREAT) existing", ON_FILE | ON_DIR, open_creat},
    {"open(O_CREAT|O_EXCL) existing", ON_FILE | ON_DIR | ON_LINK, open_excl},
    {"open(O_RDONLY|O_CREAT) new", ON_NEW, open_new_rdonly},
    {"open(O_RDWR|O_CREAT) new", ON_NEW, open_new_rdwr},
    {"creat new", ON_NEW, creat_new},
    {"open(O_TMPFILE|O_RDWR)", ON_DIR, open_tmpfile},
    {"openat2(O_CREAT) new open", ON_NEW, openat2_new},
    {"open(O_PATH)", ON_FILE | ON_DIR | ON_LINK, open_path},
    {"open(O_WRONLY|O_NOFOLLOW)", ON_LINK, open_nofollow},
    {"open /proc/self/fd/N O_RDWR", ON_FILE | ON_DIR, reopen_by_proc},
    {"write(rdonly fd)", ON_FILE, write_fd},
    {"pwrite(rdonly fd)", ON_FILE, pwrite_fd},
    {"pwritev2(rdonly fd)", ON_FILE, pwritev2_fd},
    {"sendfile(->rdonly fd)", ON_FILE, sendfile_fd},
    {"copy_file_range(->rdonly fd)", ON_FILE, copy_range_in},
    {"splice(pipe->rdonly fd)", ON_FILE, splice_fd},
    {"copy_file_range(mnt->outside) [read]", ON_FILE, copy_range_out},
    {"truncate", ON_FILE | ON_DIR, truncate_object},
    {"truncate same size", ON_FILE, truncate_same},
    {"ftruncate(rdonly fd)", ON_FILE, ftruncate_fd},
    {"fallocate(0)", ON_FILE, fallocate_fd},
    {"fallocate(PUNCH|KEEP)", ON_FILE, fallocate_punch},
    {"fallocate(ZERO_RANGE)", ON_FILE, fallocate_zero},
    {"fallocate(COLLAPSE)", ON_FILE, fallocate_collapse},
    {"posix_fallocate", ON_FILE, posix_fallocate_fd},
    {"mkdir new", ON_NEW, mkdir_new},
    {"mkdir existing", ON_FILE | ON_DIR | ON_LINK, mkdir_existing},
    {"mknod S_IFREG new", ON_NEW, mknod_reg},
    {"mknod S_IFCHR new", ON_NEW | AS_ROOT, mknod_chr},
    {"mkfifo new", ON_NEW, mkfifo_new},
    {"mknod existing", ON_FILE | ON_DIR | ON_LINK, mknod_existing},
    {"bind(AF_UNIX) new", ON_NEW, bind_new},
    {"symlink new", ON_NEW, symlink_new},
    {"symlink existing", ON_FILE | ON_DIR | ON_LINK, symlink_existing},
    {"link in mnt", ON_FILE | ON_DIR | ON_LINK | AS_ROOT, link_inside},
    {"link mnt->outside", ON_FILE | ON_DIR | ON_LINK, link_out},
    {"link outside->mnt", ON_NEW, link_in},
    {"linkat(AT_EMPTY_PATH fd)", ON_FILE | AS_ROOT, link_by_fd},
    {"unlink", ON_FILE | ON_DIR | ON_LINK | AS_ROOT, unlink_object},
    {"unlink nonexistent", ON_NEW, unlink_missing},
    {"rmdir", ON_DIR | AS_ROOT, rmdir_object},
    {"rename in mnt", ON_FILE | ON_DIR | ON_LINK | AS_ROOT, rename_inside},
    {"rename mnt->outside", ON_FILE | ON_DIR | ON_LINK, rename_out},
    {"rename outside->mnt", ON_NEW, rename_in},
    {"renameat2 NOREPLACE", ON_FILE | ON_DIR | ON_LINK | AS_ROOT, rename_noreplace},
    {"renameat2 EXCHANGE", ON_FILE | ON_LINK | AS_ROOT, rename_exchange},
    {"renameat2 WHITEOUT", ON_FILE | ON_LINK | AS_ROOT, rename_whiteout},
    {"chmod", ON_FILE | ON_DIR | AS_ROOT, chmod_object},
    {"fchmod", ON_FILE | ON_DIR | AS_ROOT, fchmod_object},
    {"fchmodat2(452)", ON_FILE | ON_DIR | AS_ROOT | RECENT, fchmodat2_object},
    {"fchmodat2(452) NOFOLLOW", ON_LINK | AS_ROOT | RECENT, fchmodat2_link},
    {"chown", ON_FILE | ON_DIR | AS_ROOT, chown_object},
    {"fchown", ON_FILE | ON_DIR | AS_ROOT, fchown_object},
    {"lchown symlink", ON_LINK | AS_ROOT, lchown_object},
    {"utimensat(NULL)", ON_FILE | ON_DIR | AS_ROOT, utimens_now},
    {"utimensat(times)", ON_FILE | ON_DIR | AS_ROOT, utimens_times},
    {"utimensat(OMIT,OMIT)", ON_FILE | ON_DIR, utimens_omit},
    {"futimens(rdonly fd)", ON_FILE | ON_DIR | AS_ROOT, futimens_object},
    {"utime", ON_FILE | ON_DIR | AS_ROOT, utime_object},
    {"utimensat symlink NOFOLLOW", ON_LINK | AS_ROOT, utimens_link},
    {"setxattr user.", ON_FILE | ON_DIR | AS_ROOT, setxattr_user},
    {"setxattr trusted.", ON_FILE | ON_DIR | AS_ROOT, setxattr_trusted},
    {"setxattr security.capability", ON_FILE | ON_DIR | AS_ROOT, setxattr_capability},
    {"setxattr system.posix_acl_access", ON_FILE | ON_DIR | AS_ROOT, setxattr_bad_acl},
    {"setxattr system.posix_acl_access valid", ON_FILE | ON_DIR | AS_ROOT, setxattr_acl},
    {"fsetxattr", ON_FILE | ON_DIR | AS_ROOT, fsetxattr_user},
    {"lsetxattr symlink", ON_LINK | AS_ROOT, lsetxattr_user},
    {"lsetxattr trusted. symlink", ON_LINK | AS_ROOT, lsetxattr_trusted},
    {"removexattr", ON_FILE | ON_DIR | AS_ROOT, removexattr_user},
    {"lremovexattr trusted. symlink", ON_LINK | AS_ROOT, lremovexattr_trusted},
    {"setxattrat(463)", ON_FILE | ON_DIR | AS_ROOT | RECENT, setxattrat_user},
    {"removexattrat(466)", ON_FILE | ON_DIR | AS_ROOT | RECENT, removexattrat_user},
    {"file_setattr(469)", ON_FILE | ON_DIR | AS_ROOT | RECENT, file_setattr_object},
    {"mmap SHARED PROT_WRITE(rdonly fd)", ON_FILE, mmap_shared_write},
    {"mmap SHARED PROT_READ", ON_FILE, mmap_shared_read},
    {"mprotect(+W) shared", ON_FILE, mprotect_write},
    {"mmap PRIVATE PROT_WRITE + store", ON_FILE, mmap_private_store},
    {"mmap PROT_EXEC", ON_FILE, mmap_exec},
    {"madvise(MADV_REMOVE) shared ro map", ON_FILE, madvise_remove},
    {"access(W_OK)", ON_FILE | ON_DIR | AS_ROOT, access_write},
    {"access(X_OK)", ON_FILE | ON_DIR, access_exec},
    {"faccessat2(R_OK)", ON_FILE | ON_DIR, faccessat_read},
    {"fcntl F_SETLEASE F_RDLCK", ON_FILE | AS_ROOT, lease_read},
    {"fcntl F_SETLEASE F_WRLCK", ON_FILE | AS_ROOT, lease_write},
    {"fcntl F_SETLK F_WRLCK rdonly fd", ON_FILE, lock_write},
    {"fcntl F_SETLK F_RDLCK", ON_FILE, lock_read},
    {"flock LOCK_EX", ON_FILE | ON_DIR, flock_exclusive},
    {"fcntl F_SET_RW_HINT", ON_FILE | AS_ROOT, rw_hint},
    {"fcntl F_ADD_SEALS", ON_FILE, add_seals},
    {"fcntl F_SETFL O_APPEND", ON_FILE, set_append},
    {"fcntl F_NOTIFY(dir)", ON_DIR, notify_dir},
    {"fsync(rdonly fd)", ON_FILE | ON_DIR, fsync_fd},
    {"fdatasync", ON_FILE | ON_DIR, fdatasync_fd},
    {"syncfs", ON_FILE | ON_DIR, syncfs_fd},
    {"sync_file_range", ON_FILE, sync_range},
    {"posix_fadvise DONTNEED", ON_FILE, fadvise},
    {"readahead", ON_FILE, readahead_fd},
    {"io_submit PWRITE", ON_FILE, io_submit_write},
    {"swapon", ON_FILE | AS_ROOT, swapon_object},
    {"acct(file)", ON_FILE | AS_ROOT, acct_object},
    {"quotactl Q_GETQUOTA", ON_FILE | AS_ROOT, quota_get},
    {"quotactl_fd Q_SETQUOTA", ON_FILE | ON_DIR | AS_ROOT | RECENT, quota_set_fd},
    {"quotactl_fd Q_QUOTAON", ON_FILE | ON_DIR | AS_ROOT | RECENT, quota_on_fd},
    {"name_to_handle_at", ON_FILE | ON_DIR, get_handle},
    {"open_by_handle_at O_RDWR", ON_FILE | ON_DIR | AS_ROOT, open_handle},
    {"execve-check: faccessat X", ON_FILE, faccessat_exec},
    {"read 8192", ON_FILE, read_fd},
    {"lseek SEEK_DATA", ON_FILE, seek_data},
    {"lseek SEEK_HOLE", ON_FILE, seek_hole},
};
const size_t n_calls = sizeof(calls) / sizeof(calls[0]);
