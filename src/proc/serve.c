/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's answers.  The worker is taken for hostile: requests are decoded and checked
 * before they are looked at, every one gets exactly one answer, answers never wait (a worker that
 * does not take them has broken the protocol), and what is opened is in the log before the
 * descriptor leaves.  Thread rule: the thread of proc_run.
 */
#include "proc/supervisor.h"

#include "base/bytes.h"
#include "base/cleanup.h"
#include "proc/identity.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Sends the first `used` bytes of reply.u.  On failure the worker is marked, not waited for. */
static void send_reply_fds(struct supervisor *s, size_t used, const int *fds, size_t n)
{
    int why = proc_packet_send_fds(s->sock, &s->reply, PROC_REPLY_HEAD + used, fds, n, false);

    if (why == EAGAIN || why == ETOOMANYREFS)
        s->broken = "it does not take its answers";
    /* Other failures: the worker is ending, which is noticed elsewhere. */
}

static void send_reply(struct supervisor *s, size_t used, int fd)
{
    send_reply_fds(s, used, &fd, fd >= 0);
}

/* A fresh answer: no byte of an older one (or of the stack) goes along. */
static struct proc_reply *new_reply(struct supervisor *s, uint32_t kind)
{
    memset(&s->reply, 0, sizeof(s->reply));
    s->reply.kind = kind;
    return &s->reply;
}

static void send_error(struct supervisor *s, uint32_t kind, int rc, const struct vd_err *err)
{
    struct proc_reply *reply = new_reply(s, kind);

    reply->rc = rc;
    proc_err_to_wire(err, rc, &reply->u.err);
    send_reply(s, sizeof(reply->u.err), -1);
}

/* ---- evidence ---- */

static int log_evidence(struct supervisor *s, enum audit_op op, const struct proc_request *rq,
                        const struct evidence_id *id, struct vd_err *err)
{
    const char *text = id->noatime ? "noatime"
                                   : "atime: the host did not allow O_NOATIME, reading may change "
                                     "the access time of this file";
    const char *dir = s->config->dirs[rq->dir];
    uint8_t dev[8], ino[8], mtime[8], ctime[8];
    const struct audit_field fields[] = {
        {AUDIT_T_NAME, rq->u.name, strlen(rq->u.name)},
        {AUDIT_T_KEY, dir, strlen(dir)},
        {AUDIT_T_DEV, dev, sizeof(dev)},
        {AUDIT_T_INO, ino, sizeof(ino)},
        {AUDIT_T_MTIME, mtime, sizeof(mtime)},
        {AUDIT_T_CTIME, ctime, sizeof(ctime)},
        {AUDIT_T_TEXT, text, strlen(text)},
    };
    struct audit_event event = {
        .op = op,
        .len = id->size,
        .fields = fields,
        .n_fields = sizeof(fields) / sizeof(fields[0]),
    };
    uint64_t seq;

    vd_put_le64(dev, id->dev);
    vd_put_le64(ino, id->ino);
    vd_put_le64(mtime, (uint64_t)evidence_time_ns(id->mtime_sec, id->mtime_nsec));
    vd_put_le64(ctime, (uint64_t)evidence_time_ns(id->ctime_sec, id->ctime_nsec));
    seq = audit_log(s->config->ring, &event);
    if (seq == AUDIT_NOT_LOGGED || audit_state(s->config->ring) != AUDIT_READY)
        return vd_fail(err, VD_EAUDIT, "the audit log does not take the record of opening %s",
                       rq->u.name);
    return audit_is_critical(op) ? audit_wait(s->config->ring, seq, err) : 0;
}

/* The record of an opened file: once per file, and again when it is no longer what it was. */
static int note_evidence(struct supervisor *s, const struct proc_request *rq,
                         const struct evidence_id *id, struct vd_err *err)
{
    enum seen_answer seen;
    int rc = seen_add(&s->seen, id, &seen, err);

    if (rc || !s->config->ring || seen == SEEN_SAME)
        return rc;
    return log_evidence(s, seen == SEEN_NEW ? AUDIT_EVIDENCE : AUDIT_EVIDENCE_CHANGED, rq, id, err);
}

static int open_one(struct supervisor *s, const struct proc_request *rq, int *out_fd,
                    struct evidence_id *out_id, struct vd_err *err)
{
    const char *block = s->config->block_device;
    bool allow_block = rq->dir == 0 && block && strcmp(block, rq->u.name) == 0;
    VD_AUTO(fd) int fd = -1;
    int rc;

    rc = evidence_open_beneath(s->dirs[rq->dir], rq->u.name, allow_block, &fd, out_id, err);
    if (rc == 0)
        rc = note_evidence(s, rq, out_id, err);
    if (rc == 0)
        *out_fd = vd_take_fd(&fd);
    return rc;
}

static void answer_open(struct supervisor *s, const struct proc_request *rq)
{
    VD_AUTO(fd) int fd = -1;
    struct vd_err err = VD_ERR_INIT;
    struct evidence_id id;
    int rc = open_one(s, rq, &fd, &id, &err);

    if (rc) {
        send_error(s, rq->kind, rc, &err);
        return;
    }
    new_reply(s, rq->kind)->u.id = id;
    send_reply(s, sizeof(id), fd);
}

static void forget_names(struct supervisor *s)
{
    evidence_list_free(s->names, s->n_names);
    s->names = NULL;
    s->n_names = 0;
}

/* Names from number `index` on, as many as fit; returns the bytes used. */
static size_t pack_names(const struct supervisor *s, size_t index, struct proc_reply *reply)
{
    size_t used = 0;

    for (; index < s->n_names; index++) {
        size_t size = strlen(s->names[index]) + 1;

        if (size > sizeof(reply->u.names) - used)
            break;
        memcpy(reply->u.names + used, s->names[index], size);
        used += size;
        reply->n_names++;
    }
    reply->more = index < s->n_names;
    return used;
}

static void answer_list(struct supervisor *s, const struct proc_request *rq)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_reply *reply;
    size_t used;
    int rc = 0;

    if (rq->index == 0) {
        forget_names(s);
        s->names_dir = rq->dir;
        rc = evidence_list(s->dirs[rq->dir], &s->names, &s->n_names, &err);
    } else if (rq->dir != s->names_dir || rq->index >= s->n_names) {
        rc = vd_fail(&err, VD_EUSAGE, "no listing of directory %u is at name %u", rq->dir,
                     rq->index);
    }
    if (rc) {
        send_error(s, rq->kind, rc, &err);
        return;
    }
    reply = new_reply(s, rq->kind);
    used = pack_names(s, rq->index, reply);
    if (!reply->more)
        forget_names(s);
    send_reply(s, used, -1);
}

/* ---- the rest ---- */

static void answer_who(struct supervisor *s, const struct proc_request *rq)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_identity identity;
    int fds[PROC_WATCH_FDS];
    int rc = proc_identity_read((pid_t)rq->pid, &identity, fds, &err);

    if (rc) {
        send_error(s, rq->kind, rc, &err);
        return;
    }
    new_reply(s, rq->kind)->u.identity = identity;
    send_reply_fds(s, sizeof(identity), fds, PROC_WATCH_FDS);
    (void)close(fds[PROC_WATCH_COMM]);
    (void)close(fds[PROC_WATCH_STATM]);
}

static int mount_once(struct supervisor *s, int *out_fd, struct vd_err *err)
{
    int rc;

    if (!s->config->mount)
        return vd_fail(err, VD_EUSAGE, "this program does not mount");
    if (s->has_mount)
        return vd_fail(err, VD_EUSAGE, "the mount was asked for twice");
    if (s->stop_signal)
        return vd_fail(err, VD_EMOUNT, "not mounted: the program was told to stop");
    rc = s->config->mount(s->config->ctx, out_fd, err);
    s->has_mount = rc == 0;
    return rc;
}

/* The supervisor keeps no copy of the descriptor: when the worker dies the kernel must see the last
 * one closed and end the connection, or clients would wait for ever. */
static void answer_mount(struct supervisor *s, const struct proc_request *rq)
{
    VD_AUTO(fd) int fd = -1;
    struct vd_err err = VD_ERR_INIT;
    int rc = mount_once(s, &fd, &err);

    if (rc) {
        send_error(s, rq->kind, rc, &err);
        return;
    }
    (void)new_reply(s, rq->kind);
    send_reply(s, 0, fd);
}

static void answer_mounted(struct supervisor *s, const struct proc_request *rq)
{
    struct vd_err err = VD_ERR_INIT;
    int rc = 0;

    if (!s->has_mount || s->is_mounted) {
        send_error(s, rq->kind,
                   vd_fail(&err, VD_EUSAGE, "there is no mount that could become usable"), &err);
        return;
    }
    s->is_mounted = true;
    if (s->config->mounted)
        rc = s->config->mounted(s->config->ctx, &err);
    if (rc) {
        send_error(s, rq->kind, rc, &err);
        return;
    }
    (void)new_reply(s, rq->kind);
    send_reply(s, 0, -1);
}

static void take_result(struct supervisor *s, const struct proc_request *rq)
{
    if (s->has_result)
        return; /* the first word counts */
    s->has_result = true;
    s->result = rq->rc;
    proc_err_from_wire(&rq->u.err, rq->rc, &s->result_err);
}

void serve_packet(struct supervisor *s, const void *bytes, size_t len)
{
    struct vd_err err = VD_ERR_INIT;
    struct proc_request rq;
    uint32_t kind = 0;
    int rc = proc_request_decode(bytes, len, s->n_dirs, &rq, &err);

    if (rc) { /* answered under the kind it claims, so that an honest mistake is understood */
        if (len >= sizeof(kind))
            memcpy(&kind, bytes, sizeof(kind));
        send_error(s, kind, rc, &err);
        return;
    }
    switch ((enum proc_request_kind)rq.kind) {
    case PROC_OPEN:
        answer_open(s, &rq);
        break;
    case PROC_LIST:
        answer_list(s, &rq);
        break;
    case PROC_WHO:
        answer_who(s, &rq);
        break;
    case PROC_MOUNT:
        answer_mount(s, &rq);
        break;
    case PROC_MOUNTED:
        answer_mounted(s, &rq);
        break;
    case PROC_RESULT:
        take_result(s, &rq);
        break;
    }
}

void serve_last_packet(struct supervisor *s, const void *bytes, size_t len)
{
    struct proc_request rq;

    if (proc_request_decode(bytes, len, s->n_dirs, &rq, NULL) == 0 && rq.kind == PROC_RESULT)
        take_result(s, &rq);
}

void serve_clear(struct supervisor *s)
{
    forget_names(s);
    seen_clear(&s->seen);
}
