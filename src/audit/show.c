/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdiskctl audit show: every record as one line, text or JSON.  The records come from the
 * verifier's walk, so what is shown is what was verified: no index, no second way to read.
 *
 * What a line needs besides its record (who a process number is, which path an object number has) comes
 * from audit/show_view.h; how hostile text becomes a line from audit/show_put.h.  One thread.
 */
#include "audit/show.h"

#include "audit/show_put.h"
#include "audit/show_view.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define FOLLOW_MS 50 /* a sealed record is looked for this often */

struct show {
    const struct audit_show_options *options;
    struct audit_shown *shown;
    FILE *out;
    struct show_view *view;
    struct show_writer w;
};

/* ---- one line ---- */

static void put_proc(struct show *s, const struct show_item *item)
{
    const struct show_proc *p = item->proc;
    struct audit_piece own;

    if (item->r.proc == 0 || item->r.op == AUDIT_PROC)
        return;
    show_put_u64(&s->w, "proc", item->r.proc);
    if (!p)
        return;
    if (p->has_pid && !audit_record_find(&item->r, AUDIT_T_PID, &own))
        show_put_u64(&s->w, "pid", p->pid);
    if (p->comm.bytes && !audit_record_find(&item->r, AUDIT_T_COMM, &own))
        show_put_text(&s->w, "comm", p->comm.bytes, p->comm.len);
    if (p->has_uid && !audit_record_find(&item->r, AUDIT_T_UID, &own))
        show_put_u64(&s->w, "uid", p->uid);
    if (p->has_gid && !audit_record_find(&item->r, AUDIT_T_GID, &own))
        show_put_u64(&s->w, "gid", p->gid);
    if (p->exe.bytes && !audit_record_find(&item->r, AUDIT_T_EXE, &own))
        show_put_text(&s->w, "exe", p->exe.bytes, p->exe.len);
}

static void put_result(struct show *s, const struct audit_record *r)
{
    const char *name = audit_result_name(r);

    if (s->options->json) {
        show_put_i64(&s->w, "result", r->result);
        if (name)
            show_put_string(&s->w, "error", name);
    } else if (r->result == 0) {
        show_put_string(&s->w, "result", "OK");
    } else if (name) {
        show_put_string(&s->w, "result", name);
    } else {
        show_put_i64(&s->w, "result", r->result);
    }
}

static void put_head(struct show *s, const struct audit_record *r, uint64_t frame_no)
{
    char when[SHOW_TIME], op[AUDIT_OP_TEXT];
    const char *name = audit_op_text(r->op, op);

    if (s->options->json) {
        vd_str_add_bytes(&s->w.line, "{", 1);
        show_put_time(&s->w, "time", r->real_ns);
        show_put_u64(&s->w, "boot_ns", r->mono_ns);
        show_put_u64(&s->w, "seq", r->seq);
        show_put_u64(&s->w, "frame", frame_no);
        show_put_string(&s->w, "op", name);
    } else {
        vd_str_add_bytes(&s->w.line, when, show_time_text(r->real_ns, 9, "Z", when));
        show_put_u64(&s->w, "seq", r->seq);
        show_put_u64(&s->w, "frame", frame_no);
        vd_str_add_bytes(&s->w.line, " ", 1);
        vd_str_add(&s->w.line, name);
    }
}

static void put_line(struct show *s, const struct show_item *item)
{
    static const uint8_t told[] = {AUDIT_T_SPAN, AUDIT_T_RANGES, AUDIT_T_PATH, 0};
    bool merged = item->r.flags & AUDIT_F_MERGED;

    s->w.line.len = 0;
    put_head(s, &item->r, item->frame_no);
    put_result(s, &item->r);
    put_proc(s, item);
    show_put_u64(&s->w, "obj", item->r.obj);
    if (item->path)
        show_put_text(&s->w, "path", item->path, item->path_len);
    show_put_u64(&s->w, "off", item->r.off);
    show_put_u64(&s->w, "len", item->r.len);
    show_put_flags(&s->w, item->r.flags);
    show_put_merged(&s->w, &item->r);
    show_put_fields(&s->w, &item->r, merged ? told : item->path ? told + 2 : NULL);
    vd_str_add(&s->w.line, s->options->json ? "}\n" : "\n");
}

/* ---- the walk ---- */

static int show_record(void *ctx, const struct audit_seen *seen, struct vd_err *err)
{
    struct show *s = ctx;
    struct show_item item;
    int rc = show_view_take(s->view, seen, &item, err);

    if (rc || !audit_filter_wants(&s->options->filter, s->view, &item, &s->shown->unplaced))
        return rc;
    put_line(s, &item);
    if (s->w.line.failed)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (fwrite(s->w.line.p, 1, s->w.line.len, s->out) != s->w.line.len) {
        s->shown->reader_gone =
            errno == EPIPE || (errno == EINTR && s->options->stop && *s->options->stop);
        return vd_fail(err, VD_EIO, "the output cannot be written");
    }
    s->shown->lines++;
    return 0;
}

/* Nothing more is there at the moment: shows what there is, and waits a little. */
static bool show_idle(void *ctx)
{
    struct show *s = ctx;
    struct pollfd fd = {.fd = fileno(s->out)};

    if (fflush(s->out) || (s->options->stop && *s->options->stop))
        return false;
    /* A reader that is gone is seen although there is nothing to write. */
    if (poll(&fd, 1, FOLLOW_MS) == 1 && fd.revents & (POLLERR | POLLHUP | POLLNVAL))
        s->shown->reader_gone = true;
    return !s->shown->reader_gone && !(s->options->stop && *s->options->stop);
}

static int show_open(struct show *s, const struct audit_show_options *options, FILE *out,
                     struct audit_shown *shown, struct vd_err *err)
{
    *shown = (struct audit_shown){0};
    *s = (struct show){.options = options,
                       .shown = shown,
                       .out = out,
                       .w = {.form = options->json ? SHOW_JSON : SHOW_TEXT}};
    s->view = show_view_new(err);
    return s->view ? 0 : -VD_ENOMEM;
}

static int show_close(struct show *s, int rc)
{
    show_view_free(s->view);
    show_writer_clear(&s->w);
    return s->shown->reader_gone ? 0 : rc;
}

int audit_show(const char *path, const struct audit_show_options *options, FILE *out,
               struct audit_shown *shown, struct audit_report *report, struct vd_err *err)
{
    struct show s;
    const struct audit_verify_options how = {.idle = options->follow ? show_idle : NULL,
                                             .idle_ctx = &s};
    int rc = show_open(&s, options, out, shown, err);

    if (rc == 0)
        rc = audit_verify(path, &how, show_record, &s, report, err);
    return show_close(&s, rc);
}

int audit_show_bytes(const uint8_t *const *bytes, const size_t *len, size_t n_segments,
                     const struct audit_show_options *options, FILE *out, struct audit_shown *shown,
                     struct audit_report *report, struct vd_err *err)
{
    struct show s;
    int rc = show_open(&s, options, out, shown, err);

    if (rc == 0)
        rc =
            audit_verify_bytes(bytes, len, n_segments, NULL, 0, NULL, show_record, &s, report, err);
    return show_close(&s, rc);
}
