/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a session: directory, ring, segments; opening and closing the log.
 *
 *   DIR/<uuid>/ring.wal  000000.vlog  000001.vlog …  checkpoints  key.pub
 *
 * The UUID is of version 7 (RFC 9562, section 5.7): it begins with the time, so names sort by it.
 * Everything is created exclusively beneath descriptors of the directories.  The ring's file is
 * locked while the supervisor lives: a verifier tells a running log from a crashed one by it.
 */
#include "audit/record.h"
#include "audit/writer.h"
#include "base/bytes.h"
#include "base/range.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_RING          ((size_t)16 << 20)
#define DEFAULT_SEAL_MS       100
#define DEFAULT_SYNC_MS       1000
#define DEFAULT_SEGMENT       (UINT64_C(1) << 30)
#define DEFAULT_EPOCH_MS      60000
#define DEFAULT_EPOCH_RECORDS 1000000
#define DEFAULT_HEARTBEAT_MS  60000
#define CLOSE_GRACE_NS        UINT64_C(2000000000)
#define CHECKPOINT_NS         UINT64_C(1000000000)

/* ---- directories ---- */

char *audit_default_dir(void)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char *dir = NULL;

    if (geteuid() == 0)
        return strdup("/var/log/vdiskfs");
    if (state && state[0] == '/') /* relative ones are to be ignored: XDG base directories */
        return asprintf(&dir, "%s/vdiskfs", state) < 0 ? NULL : dir;
    if (home && home[0] == '/')
        return asprintf(&dir, "%s/.local/state/vdiskfs", home) < 0 ? NULL : dir;
    return NULL;
}

/* mkdir -p with mode 0700. */
static int make_dirs(const char *dir, struct vd_err *err)
{
    char *path = strdup(dir), *slash;

    if (!path)
        return vd_fail(err, VD_ENOMEM, "%s: out of memory", dir);
    for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700); /* what matters is whether the last one can be opened */
        *slash = '/';
    }
    (void)mkdir(path, 0700);
    free(path);
    return 0;
}

static void uuid_new(uint8_t out[16])
{
    uint64_t ms = audit_clock_ns(CLOCK_REALTIME) / 1000000;
    size_t have = 0;
    int i;

    while (have < 16) {
        ssize_t n = getrandom(out + have, 16 - have, 0);

        if (n > 0)
            have += (size_t)n;
    }
    for (i = 0; i < 6; i++)
        out[i] = (uint8_t)(ms >> (40 - 8 * i));
    out[6] = (uint8_t)((out[6] & 0x0f) | 0x70);
    out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
}

static void uuid_text(const uint8_t u[16], char out[37])
{
    (void)snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                   u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12],
                   u[13], u[14], u[15]);
}

static int open_dirs(struct audit_writer *w, const char *dir, struct vd_err *err)
{
    int rc = make_dirs(dir, err);

    if (rc)
        return rc;
    w->base_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->base_fd < 0)
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s: cannot open the audit directory", dir);
    w->base = realpath(dir, NULL);
    uuid_new(w->session);
    uuid_text(w->session, w->id);
    if (!w->base || asprintf(&w->dir, "%s/%s", w->base, w->id) < 0) {
        w->dir = NULL;
        return vd_fail(err, VD_EAUDIT, "%s: cannot resolve the audit directory", dir);
    }
    if (mkdirat(w->base_fd, w->id, 0700))
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s: cannot create", w->dir);
    w->dir_fd = openat(w->base_fd, w->id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (w->dir_fd < 0 || file_identify(w->dir_fd, &w->dir_file))
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s: cannot open", w->dir);
    return 0;
}

/* ---- files ---- */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

void segment_name(uint32_t number, char out[SEGMENT_NAME_SIZE])
{
    (void)snprintf(out, SEGMENT_NAME_SIZE, "%06u.vlog", number);
}

int file_identify(int fd, struct file_id *out)
{
    struct stat st;

    if (fstat(fd, &st))
        return errno;
    out->dev = st.st_dev;
    out->ino = st.st_ino;
    return 0;
}

int segment_create(struct audit_writer *w, uint32_t number)
{
    char name[SEGMENT_NAME_SIZE];
    struct file_id id;
    uint64_t allocated = 0;
    int fd, error;

    segment_name(number, name);
    fd = openat(w->dir_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                0600);
    if (fd < 0)
        return errno;
    error = file_identify(fd, &id);
    if (error == 0)
        error = space_for_segment(w, fd, &allocated);
    if (error) { /* it is empty, and nothing has counted on it */
        (void)unlinkat(w->dir_fd, name, 0);
        (void)close(fd);
        return error;
    }
    if (w->segment_fd >= 0) {
        space_give_back(w->segment_fd);
        (void)fchmod(w->segment_fd, 0400);
        (void)close(w->segment_fd);
    }
    w->segment_fd = fd;
    w->segment = number;
    w->segment_file = id;
    w->segment_bytes = 0;
    w->allocated = allocated;
    w->segment_new = true;
    return 0;
}

/* File systems on which a mapped, preallocated file can still run out of space or lose its mapping:
 * a store into the ring would then be a SIGBUS. */
static const struct {
    unsigned long type;
    const char *name;
} unfit[] = {
    {0x6969, "NFS"},      {0xff534d42, "CIFS"}, {0xfe534d42, "SMB"}, {0x517b, "SMB"},
    {0x65735546, "FUSE"}, {0x2fc12fc1, "ZFS"},  {0x01021997, "9p"},  {0xca451a4e, "bcachefs"},
};

static int check_file_system(int fd, const char *dir, struct vd_err *err)
{
    struct statfs fs;
    size_t i;
    int flags = 0;

    if (fstatfs(fd, &fs))
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s: statfs", dir);
    for (i = 0; i < sizeof(unfit) / sizeof(unfit[0]); i++)
        if (((unsigned long)fs.f_type & 0xffffffffu) == unfit[i].type)
            return vd_fail(err, VD_EAUDIT,
                           "%s: is on %s, where the log's ring cannot be kept safely; name a local "
                           "directory with audit=DIR",
                           dir, unfit[i].name);
    if ((unsigned long)fs.f_type == BTRFS_SUPER_MAGIC &&
        (ioctl(fd, FS_IOC_GETFLAGS, &flags) || (flags |= FS_NOCOW_FL, 0) ||
         ioctl(fd, FS_IOC_SETFLAGS, &flags)))
        return vd_fail_errno(err, VD_EAUDIT, errno,
                             "%s: cannot switch copy-on-write off for the log's ring", dir);
    return 0;
}

static int open_ring(struct audit_writer *w, size_t bytes, struct vd_err *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    uint64_t n_slots = RING_MIN_SLOTS;
    int rc;

    while (n_slots < RING_MAX_SLOTS && n_slots * AUDIT_SLOT < bytes)
        n_slots *= 2;
    w->ring_fd =
        openat(w->dir_fd, RING_NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (w->ring_fd < 0)
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s/%s: cannot create", w->dir, RING_NAME);
    rc = check_file_system(w->ring_fd, w->dir, err);
    if (rc)
        return rc;
    rc = posix_fallocate(w->ring_fd, 0, (off_t)(AUDIT_RING_HEADER + n_slots * AUDIT_SLOT));
    if (rc)
        return vd_fail_errno(err, VD_EAUDIT, rc, "%s/%s: cannot reserve space", w->dir, RING_NAME);
    rc = ring_init(&w->ring, w->ring_fd, n_slots, w->session, err);
    if (rc)
        return rc;
    /* The mapping keeps the opened file alive in the worker too: the lock, a hint for verifiers
     * (verify.c), is held through another opening that only the supervisor has. */
    close_fd(&w->ring_fd);
    w->ring_fd = openat(w->dir_fd, RING_NAME, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (w->ring_fd < 0 || file_identify(w->ring_fd, &w->ring_file))
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s/%s: cannot open", w->dir, RING_NAME);
    (void)fcntl(w->ring_fd, F_OFD_SETLK, &lock);
    return 0;
}

static int open_segment(struct audit_writer *w, struct vd_err *err)
{
    int error = segment_create(w, 0);

    if (space_is_lack(error))
        return vd_fail_errno(err, VD_EAUDIT, error,
                             "%s: cannot reserve %llu KiB for the first segment", w->dir,
                             (unsigned long long)(w->reserve + AUDIT_MAX_FRAME) / 1024);
    if (error)
        return vd_fail_errno(err, VD_EAUDIT, error, "%s: cannot create the first segment", w->dir);
    if (fsync(w->dir_fd) || fsync(w->base_fd))
        return vd_fail_errno(err, VD_EAUDIT, errno, "%s: fsync", w->dir);
    w->segment_new = false;
    return 0;
}

void writer_free(struct audit_writer *w)
{
    ring_clear(&w->ring);
    close_fd(&w->segment_fd);
    close_fd(&w->ring_fd);
    close_fd(&w->dir_fd);
    close_fd(&w->base_fd);
    checkpoint_clear(w);
    vd_sha256_free(w->sha);
    (void)pthread_mutex_destroy(&w->ring.lock);
    (void)pthread_mutex_destroy(&w->inline_lock);
    free(w->dir);
    free(w->base);
    free(w);
}

/* Leaves nothing behind of a session that never began. */
static void discard(struct audit_writer *w)
{
    char name[SEGMENT_NAME_SIZE];

    segment_name(0, name);
    if (w->dir_fd >= 0) {
        if (w->segment_fd >= 0)
            (void)unlinkat(w->dir_fd, name, 0);
        if (w->ring.shared || w->ring_fd >= 0)
            (void)unlinkat(w->dir_fd, RING_NAME, 0);
        if (w->checkpoints_fd >= 0) {
            (void)unlinkat(w->dir_fd, AUDIT_CHECKPOINTS, 0);
            (void)unlinkat(w->dir_fd, AUDIT_KEY_FILE, 0);
        }
        (void)unlinkat(w->base_fd, w->id, AT_REMOVEDIR);
    }
    writer_free(w);
}

struct audit_writer *writer_new(const struct audit_config *config)
{
    struct audit_writer *w = calloc(1, sizeof(*w));
    unsigned seal_ms = config->seal_ms ? config->seal_ms : DEFAULT_SEAL_MS;

    if (!w)
        return NULL;
    w->base_fd = w->dir_fd = w->ring_fd = w->segment_fd = w->checkpoints_fd = -1;
    w->ring.lifeline[0] = w->ring.lifeline[1] = -1;
    w->epoch_ns = (uint64_t)(config->epoch_ms ? config->epoch_ms : DEFAULT_EPOCH_MS) * 1000000;
    w->epoch_records = config->epoch_records ? config->epoch_records : DEFAULT_EPOCH_RECORDS;
    w->heartbeat_ns =
        (uint64_t)(config->heartbeat_ms ? config->heartbeat_ms : DEFAULT_HEARTBEAT_MS) * 1000000;
    /* A quarter of each is left for waking up, hashing, writing and syncing. */
    w->seal_ns = (uint64_t)seal_ms * 750000;
    w->sync_ns = (uint64_t)(config->sync_ms ? config->sync_ms : DEFAULT_SYNC_MS) * 750000;
    w->checkpoint_ns = w->sync_ns / 3 * 4 > CHECKPOINT_NS ? w->sync_ns / 3 * 4 : CHECKPOINT_NS;
    if (config->flush == AUDIT_FLUSH_CRITICAL) /* with the checkpoint that ends the epoch */
        w->sync_ns = w->checkpoint_ns = w->epoch_ns;
    w->full_policy = config->full;
    w->notice = config->notice;
    w->give_up = config->give_up;
    w->notice_ctx = config->notice_ctx;
    w->anchor = config->anchor;
    w->anchor_ctx = config->anchor_ctx;
    w->head_limit = UINT64_MAX;
    w->segment_max = config->segment_bytes ? config->segment_bytes : DEFAULT_SEGMENT;
    (void)pthread_mutex_init(&w->ring.lock, NULL);
    (void)pthread_mutex_init(&w->inline_lock, NULL);
    w->ring.writer = w;
    w->ring.writer_pid = getpid();
    return w;
}

int audit_open(const struct audit_config *config, struct audit_writer **out_writer,
               struct audit_ring **out_ring, struct vd_err *err)
{
    struct audit_writer *w = writer_new(config);
    int rc;

    if (!w)
        return vd_fail(err, VD_ENOMEM, "audit log: out of memory");
    rc = vd_sha256_init(err);
    if (rc == 0 && !(w->sha = vd_sha256_new()))
        rc = vd_fail(err, VD_ENOMEM, "audit log: out of memory");
    if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->ring.lifeline))
        rc = vd_fail_errno(err, VD_EAUDIT, errno, "audit log: socketpair");
    if (rc == 0)
        rc = open_dirs(w, config->dir, err);
    if (rc == 0)
        rc = open_ring(w, config->ring_bytes ? config->ring_bytes : DEFAULT_RING, err);
    space_init(w, config);
    if (rc == 0)
        rc = checkpoint_open(w, config->lab_key, err);
    if (rc == 0)
        rc = open_segment(w, err);
    if (rc) {
        discard(w);
        return rc;
    }
    *out_writer = w;
    *out_ring = &w->ring;
    return 0;
}

const char *audit_session_dir(const struct audit_writer *writer)
{
    return writer->dir;
}

const char *audit_session_id(const struct audit_writer *writer)
{
    return writer->id;
}

void audit_first_key(const struct audit_writer *writer, char out[192])
{
    _Static_assert(NOTE_KEY_TEXT <= 192, "room for a key");
    note_key_text(note_signer_key(writer->signer), out);
}

void audit_note_mount(struct audit_writer *w, uint32_t major, uint32_t minor,
                      const char *mountpoint)
{
    uint8_t *fixed = (uint8_t *)w->ring.shared;
    size_t len = strlen(mountpoint);

    if (len < AUDIT_RING_HEADER - AUDIT_W_PLACE) /* else it stays empty */
        memcpy(fixed + AUDIT_W_PLACE, mountpoint, len + 1);
    vd_put_le32(fixed + AUDIT_W_MOUNT, major);
    vd_put_le32(fixed + AUDIT_W_MOUNT + 4, minor);
}

void audit_lab_key(const struct audit_writer *writer, char out[192])
{
    out[0] = '\0';
    if (writer->lab)
        note_key_text(note_signer_key(writer->lab), out);
}

void audit_forget_writer(struct audit_writer *w)
{
    w->ring.worker = true;
    w->ring.writer = NULL;
    close_fd(&w->ring.lifeline[0]);
    checkpoint_clear(w);
    close_fd(&w->segment_fd);
    close_fd(&w->ring_fd);
    close_fd(&w->dir_fd);
    close_fd(&w->base_fd);
}

int audit_start(struct audit_writer *w, struct vd_err *err)
{
    sigset_t all, old;
    int rc;

    close_fd(&w->ring.lifeline[1]);
    w->ring.writer = NULL; /* from here on the thread seals */
    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGBUS);                  /* sigbus.c */
    (void)pthread_sigmask(SIG_SETMASK, &all, &old); /* SIGXFSZ too: it becomes EFBIG */
    rc = pthread_create(&w->thread, NULL, writer_main, w);
    (void)pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc) {
        w->ring.writer = w;
        w->ring.writer_pid = getpid();
        return vd_fail_errno(err, VD_EAUDIT, rc, "audit log: cannot start its thread");
    }
    w->started = true;
    return 0;
}

/* ---- closing ---- */

static void stop_thread(struct audit_writer *w)
{
    if (!w->started)
        return;
    atomic_store(&w->stop, true);
    atomic_store(&w->ring.shared->sleeping, RING_AWAKE);
    ring_futex_wake(&w->ring.shared->sleeping, INT32_MAX);
    (void)pthread_join(w->thread, NULL);
    w->started = false;
}

/* Takes everything that was claimed before the ring was closed. */
static bool drain(struct audit_writer *w)
{
    const struct timespec pause = {0, 1000000};
    uint64_t start = audit_clock_ns(CLOCK_MONOTONIC);

    (void)atomic_fetch_or(&w->ring.shared->head, RING_CLOSED);
    w->head_limit = writer_head(w);
    close_fd(&w->ring.lifeline[1]);
    w->flush = true;
    for (;;) {
        if (!writer_step(w))
            return false;
        if (w->cursor >= w->head_limit)
            return true;
        if (ring_other_dead(&w->ring) || audit_clock_ns(CLOCK_MONOTONIC) - start > CLOSE_GRACE_NS)
            w->skip_holes = true;
        else
            (void)nanosleep(&pause, NULL);
    }
}

static bool append_event(struct audit_writer *w, const struct audit_event *event)
{
    uint8_t record[AUDIT_MAX_RECORD];
    size_t slots = audit_record_encode(event, (int64_t)audit_clock_ns(CLOCK_REALTIME),
                                       audit_clock_ns(CLOCK_BOOTTIME), record);

    if (!writer_room(w, slots) && !writer_seal(w, 0))
        return false;
    writer_append(w, record, slots);
    return true;
}

/* A warning that found no room in the ring. */
static bool append_warning(struct audit_writer *w)
{
    const struct audit_field fields[2] = {{AUDIT_T_KEY, "audit", 5},
                                          {AUDIT_T_TEXT, w->warning, strlen(w->warning)}};
    const struct audit_event event = {.op = AUDIT_WARNING, .fields = fields, .n_fields = 2};

    return !w->warning[0] || append_event(w, &event);
}

bool writer_append_close(struct audit_writer *w, enum audit_close_reason how)
{
    static const char *const reasons[] = {"clean",
                                          "stopped by a signal",
                                          "the worker died",
                                          "the mount never became usable",
                                          "recovered after a crash",
                                          "the log could not be written (audit_full=unmount)"};
    uint64_t dropped = atomic_load(&w->ring.shared->dropped);
    char text[160];
    struct audit_field field = {AUDIT_T_TEXT, text, 0};
    const struct audit_event event = {.op = AUDIT_SESSION_CLOSE,
                                      .len = w->lost,
                                      .result = -(int32_t)how,
                                      .fields = &field,
                                      .n_fields = 1};

    (void)snprintf(text, sizeof(text), "%s", reasons[how]);
    if (dropped)
        (void)snprintf(text, sizeof(text),
                       "%s; %llu events could not be recorded, their requests were answered EIO",
                       reasons[how], (unsigned long long)dropped);
    field.len = strlen(text);
    if (!append_warning(w) || !append_event(w, &event))
        return false;
    return writer_seal(w, AUDIT_FRAME_CLOSE) && writer_sync(w) && checkpoint_step(w, true);
}

int audit_close(struct audit_writer *w, enum audit_close_reason how, struct vd_err *err)
{
    int rc = 0;

    if (!w)
        return 0;
    if (w->ring.worker) { /* audit_forget_writer left only memory */
        writer_free(w);
        return 0;
    }
    stop_thread(w);
    w->ring.writer = NULL;
    if (!drain(w) || !writer_append_close(w, how)) {
        rc = vd_fail_errno(err, VD_EAUDIT, w->error, "%s: cannot close the audit log", w->dir);
        space_give_back(w->segment_fd);
        space_give_back(w->checkpoints_fd);
    } else if (space_give_back(w->segment_fd), space_give_back(w->checkpoints_fd),
               fchmod(w->segment_fd, 0400) || fchmod(w->checkpoints_fd, 0400) ||
                   unlinkat(w->dir_fd, RING_NAME, 0) || fsync(w->dir_fd)) {
        rc = vd_fail_errno(err, VD_EAUDIT, errno, "%s: cannot finish the audit log", w->dir);
    }
    writer_free(w);
    return rc;
}
