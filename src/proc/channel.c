/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's end of the channel: asks the supervisor for what the sandbox forbids.  One request
 * at a time, one answer each; a mutex orders the threads.  No call-back runs and no evidence is
 * read while it is held.
 */
#include "proc/channel.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int proc_channel_new(int sock, int stop_fd, unsigned n_dirs, struct proc_channel **out,
                     struct vd_err *err)
{
    struct proc_channel *ch = calloc(1, sizeof(*ch));

    if (ch)
        ch->reply = calloc(1, sizeof(*ch->reply));
    if (!ch || !ch->reply) {
        free(ch);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    (void)pthread_mutex_init(&ch->lock, NULL);
    ch->sock = sock;
    ch->stop_fd = stop_fd;
    ch->n_dirs = n_dirs;
    *out = ch;
    return 0;
}

void proc_channel_free(struct proc_channel *channel)
{
    if (!channel)
        return;
    opened_clear(&channel->files);
    (void)pthread_mutex_destroy(&channel->lock);
    (void)close(channel->sock);
    (void)close(channel->stop_fd);
    free(channel->reply);
    free(channel);
}

static int fail_socket(struct vd_err *err, int why)
{
    if (why == EPIPE || why == ECONNRESET || why == ENOTCONN || why == EBADF)
        return vd_fail(err, VD_EIO, "the supervisor is gone");
    return vd_fail_errno(err, VD_EIO, why, "cannot talk to the supervisor");
}

static int fail_answer(struct vd_err *err)
{
    return vd_fail(err, VD_EIO, "the supervisor's answer is not the one expected");
}

/* Is the answer of `len` bytes complete?  `used` is what its kind puts into `u`. */
static int check_answer(const struct proc_reply *reply, size_t len, uint32_t kind, size_t used,
                        struct vd_err *err)
{
    if (len < PROC_REPLY_HEAD || len > sizeof(*reply) || reply->kind != kind)
        return fail_answer(err);
    if (reply->rc) {
        if (len < PROC_REPLY_HEAD + sizeof(reply->u.err) || reply->rc > 0)
            return fail_answer(err);
        proc_err_from_wire(&reply->u.err, reply->rc, err);
        return reply->rc;
    }
    return len < PROC_REPLY_HEAD + used ? fail_answer(err) : 0;
}

static void close_all(const int *fds, size_t n)
{
    size_t i;

    for (i = 0; i < n; i++)
        (void)close(fds[i]);
}

/* One request and its answer in ch->reply; the lock is held.  *out_len (may be NULL) is the
 * answer's length.  `fds` (may be NULL) get the `n` descriptors that belong to it; *out_cut_fd: they
 * came, but there was no room for them. */
static int transact_fds(struct proc_channel *ch, const struct proc_request *rq, size_t used,
                        size_t *out_len, int *fds, size_t n, bool *out_cut_fd, struct vd_err *err)
{
    size_t len = 0, came = n;
    int why, rc;
    bool cut = false;

    why = proc_packet_send(ch->sock, rq, sizeof(*rq), -1, true);
    if (why == 0)
        why = proc_packet_recv_fds(ch->sock, ch->reply, sizeof(*ch->reply), &len, fds, &came, &cut,
                                   true);
    if (why)
        return fail_socket(err, why);
    if (!fds)
        came = 0;
    if (len == 0)
        return fail_socket(err, EPIPE);
    rc = check_answer(ch->reply, len, rq->kind, used, err);
    if (rc == 0 && fds && came != n && !cut)
        rc = fail_answer(err);
    if (rc) {
        close_all(fds, came);
        return rc;
    }
    if (out_len)
        *out_len = len;
    if (fds)
        *out_cut_fd = cut;
    return 0;
}

/* As transact_fds for one descriptor or none; *out_fd is -1 when it was lost. */
static int transact(struct proc_channel *ch, const struct proc_request *rq, size_t used,
                    size_t *out_len, int *out_fd, bool *out_cut_fd, struct vd_err *err)
{
    int fd = -1, rc;

    rc = transact_fds(ch, rq, used, out_len, out_fd ? &fd : NULL, 1, out_cut_fd, err);
    if (rc == 0 && out_fd)
        *out_fd = *out_cut_fd ? -1 : fd;
    return rc;
}

/* As transact, for answers with a descriptor.  When no number was free for it, files that nobody
 * uses are closed and the question is asked once more. */
static int transact_fd(struct proc_channel *ch, const struct proc_request *rq, size_t used,
                       int *out_fd, struct vd_err *err)
{
    bool cut = false;
    int rc = transact(ch, rq, used, NULL, out_fd, &cut, err);

    if (rc == 0 && cut && opened_prune(&ch->files))
        rc = transact(ch, rq, used, NULL, out_fd, &cut, err);
    if (rc == 0 && cut)
        rc = vd_fail(err, VD_ELIMIT, "too many open files (limit %ld)", sysconf(_SC_OPEN_MAX));
    return rc;
}

/* ---- evidence ---- */

/* Wraps a new descriptor, or finds that the file is open already under another name.  Takes the
 * descriptor in any case. */
static int share_file(struct proc_channel *ch, unsigned dir, const char *name, int new_fd,
                      const struct evidence_id *id, struct blkdev **out, struct vd_err *err)
{
    VD_AUTO(fd) int fd = new_fd;
    struct blkdev *file = opened_by_id(&ch->files, id);
    int rc;

    if (file) {
        *out = blk_ref(file);
        return 0;
    }
    if (ch->files.n >= VD_MAX_EVIDENCE && !opened_prune(&ch->files))
        return vd_fail(err, VD_ELIMIT, "%s: more than %d evidence files are open", name,
                       VD_MAX_EVIDENCE);
    rc = evidence_new(fd, id, name, &file, err);
    if (rc)
        return rc;
    (void)vd_take_fd(&fd);
    rc = opened_add(&ch->files, dir, name, id, file, err);
    if (rc)
        blk_unref(file);
    else
        *out = file;
    return rc;
}

static int channel_open(void *ctx, unsigned dir, const char *name, struct blkdev **out,
                        struct vd_err *err)
{
    struct proc_channel *ch = ctx;
    struct proc_request rq = {.kind = PROC_OPEN, .dir = dir};
    struct evidence_id id;
    struct blkdev *file;
    int rc, fd = -1;

    if (dir >= ch->n_dirs)
        return vd_fail(err, VD_EUSAGE, "there is no evidence directory %u", dir);
    if (!blk_source_name_ok(name))
        return vd_fail(err, VD_EREFUSED, "\"%s\" is not a bare file name", name);
    (void)vd_text_copy(rq.u.name, sizeof(rq.u.name), name);

    VD_LOCKED(&ch->lock);
    file = opened_by_name(&ch->files, dir, name);
    if (file) {
        *out = blk_ref(file);
        return 0;
    }
    rc = transact_fd(ch, &rq, sizeof(id), &fd, err);
    if (rc)
        return rc;
    id = ch->reply->u.id;
    return share_file(ch, dir, name, fd, &id, out, err);
}

struct name_list {
    char **v;
    size_t n;
};

static void name_list_clear(struct name_list *list)
{
    size_t i;

    for (i = 0; i < list->n; i++)
        free(list->v[i]);
    free(list->v);
}

/* Appends the names of the answer in ch->reply (`len` bytes in all). */
static int take_names(const struct proc_reply *reply, size_t len, struct name_list *list,
                      struct vd_err *err)
{
    const char *p = reply->u.names, *end = (const char *)reply + len;
    uint32_t i;
    char **v;

    if (reply->n_names > (size_t)(end - p) || list->n + reply->n_names > VD_MAX_DIR_NAMES)
        return fail_answer(err);
    if (reply->n_names == 0)
        return reply->more ? fail_answer(err) : 0;
    v = realloc(list->v, (list->n + reply->n_names) * sizeof(char *));
    if (!v)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    list->v = v;
    for (i = 0; i < reply->n_names; i++) {
        size_t name_len = strnlen(p, (size_t)(end - p));

        if (p + name_len >= end)
            return fail_answer(err);
        v[list->n] = strdup(p);
        if (!v[list->n])
            return vd_fail(err, VD_ENOMEM, "out of memory");
        list->n++;
        p += name_len + 1;
    }
    return 0;
}

/* All names of a directory; packet by packet under one lock, so that they belong together. */
static int fetch_names(struct proc_channel *ch, unsigned dir, struct name_list *list,
                       struct vd_err *err)
{
    struct proc_request rq = {.kind = PROC_LIST, .dir = dir};
    size_t len = 0;
    int rc;

    VD_LOCKED(&ch->lock);
    do {
        rq.index = (uint32_t)list->n;
        rc = transact(ch, &rq, 0, &len, NULL, NULL, err);
        if (rc == 0)
            rc = take_names(ch->reply, len, list, err);
    } while (rc == 0 && ch->reply->more);
    return rc;
}

static int channel_list(void *ctx, unsigned dir, int (*fn)(void *fn_ctx, const char *name),
                        void *fn_ctx, struct vd_err *err)
{
    struct proc_channel *ch = ctx;
    struct name_list list = {0};
    size_t i;
    int rc;

    if (dir >= ch->n_dirs)
        return vd_fail(err, VD_EUSAGE, "there is no evidence directory %u", dir);
    rc = fetch_names(ch, dir, &list, err);
    for (i = 0; rc == 0 && i < list.n && !fn(fn_ctx, list.v[i]); i++)
        ;
    name_list_clear(&list);
    return rc;
}

void proc_channel_source(struct proc_channel *channel, struct blk_source *out)
{
    *out = (struct blk_source){
        .open = channel_open,
        .list = channel_list,
        .n_dirs = channel->n_dirs,
        .ctx = channel,
    };
}

/* ---- the rest ---- */

int proc_channel_identify(struct proc_channel *channel, pid_t pid, struct proc_identity *out,
                          int out_fds[PROC_WATCH_FDS], struct vd_err *err)
{
    struct proc_request rq = {.kind = PROC_WHO, .pid = (int32_t)pid};
    bool cut = false;
    int rc;

    out_fds[PROC_WATCH_COMM] = out_fds[PROC_WATCH_STATM] = -1;

    if (pid <= 0) /* the requester lives in another process namespace */
        return vd_fail(err, VD_ENOENT, "process %d lies outside of this process namespace",
                       (int)pid);
    VD_LOCKED(&channel->lock);
    rc = transact_fds(channel, &rq, sizeof(*out), NULL, out_fds, PROC_WATCH_FDS, &cut, err);
    if (rc || cut)
        out_fds[PROC_WATCH_COMM] = out_fds[PROC_WATCH_STATM] = -1;
    if (rc)
        return rc;
    *out = channel->reply->u.identity;
    if (out->mark.comm_len > sizeof(out->mark.comm))
        out->mark.comm_len = 0;
    return 0;
}

int proc_channel_mount(struct proc_channel *channel, int *out_fuse_fd, struct vd_err *err)
{
    struct proc_request rq = {.kind = PROC_MOUNT};
    bool cut = false;
    int rc;

    VD_LOCKED(&channel->lock);
    (void)opened_prune(&channel->files); /* this question cannot be asked twice: make room first */
    rc = transact(channel, &rq, 0, NULL, out_fuse_fd, &cut, err);
    if (rc == 0 && cut)
        rc = vd_fail(err, VD_ELIMIT, "too many open files (limit %ld)", sysconf(_SC_OPEN_MAX));
    return rc;
}

int proc_channel_mounted(struct proc_channel *channel, struct vd_err *err)
{
    struct proc_request rq = {.kind = PROC_MOUNTED};

    VD_LOCKED(&channel->lock);
    return transact(channel, &rq, 0, NULL, NULL, NULL, err);
}

int proc_channel_result(struct proc_channel *channel, int rc, const struct vd_err *result,
                        struct vd_err *err)
{
    struct proc_request rq = {.kind = PROC_RESULT, .rc = rc};
    int why;

    proc_err_to_wire(result, rc, &rq.u.err);
    VD_LOCKED(&channel->lock);
    why = proc_packet_send(channel->sock, &rq, sizeof(rq), -1, true);
    return why ? fail_socket(err, why) : 0;
}

int proc_channel_stop_fd(const struct proc_channel *channel)
{
    return channel->stop_fd;
}

const char *proc_channel_sandbox(const struct proc_channel *channel)
{
    return channel->sandbox;
}
