/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timesketch: one JSON object per line, with the three fields that its importer asks for (message,
 * datetime, timestamp_desc) and all fields of `show --json`.  Rules of its importer and of OpenSearch
 * behind it: docs/formats/audit-export.md.  One thread.
 */
#include "audit/export_form.h"

#include <string.h>

static void begin_line(struct audit_export *x, int64_t real_ns, const char *time_name)
{
    char when[SHOW_TIME];
    int64_t us = real_ns / 1000 - (real_ns % 1000 < 0);

    x->w.line.len = x->w.cut.len = 0;
    x->w.form = SHOW_JSON;
    x->w.small_integers = true;
    vd_str_add_bytes(&x->w.line, "{", 1);
    x->w.max_value = EXPORT_MAX_MESSAGE;
    show_put_text(&x->w, "message", x->message.p, x->message.len);
    x->w.max_value = EXPORT_MAX_TEXT;
    show_put_text(&x->w, "datetime", when, show_time_text(real_ns, 6, "+00:00", when));
    show_put_i64(&x->w, "timestamp", us);
    show_put_string(&x->w, "timestamp_desc", time_name);
    show_put_string(&x->w, "data_type", "vdiskfs:audit");
    show_put_string(&x->w, "session", x->session);
    show_put_string(&x->w, "log_verdict", x->verdict);
}

static void end_line(struct audit_export *x)
{
    if (x->w.cut.len) {
        struct vd_str cut = x->w.cut;

        x->w.cut = (struct vd_str)VD_STR_INIT; /* the list itself is short enough */
        show_put_text(&x->w, "cut", cut.p, cut.len);
        x->w.cut = cut;
    }
    vd_str_add_bytes(&x->w.line, "}\n", 2);
    vd_str_add_bytes(&x->out, x->w.line.p, x->w.line.failed ? 0 : x->w.line.len);
}

static int begin(struct audit_export *x, struct vd_err *err)
{
    (void)err;
    if (x->known->verdict <= AUDIT_INTACT_OPEN)
        return 0;
    export_verdict_message(x);
    begin_line(x, x->options.now_ns, "Log Verification Time");
    show_put_string(&x->w, "op", "VERDICT");
    show_put_string(&x->w, "text", x->known->reason);
    end_line(x);
    return 0;
}

static void put_proc(struct audit_export *x, const struct show_item *item)
{
    const struct show_proc *p = item->proc;

    if (item->r.proc == 0 || item->r.op == AUDIT_PROC)
        return;
    show_put_u64(&x->w, "proc", item->r.proc);
    if (!p)
        return;
    if (p->has_pid)
        show_put_u64(&x->w, "pid", p->pid);
    if (p->comm.bytes)
        show_put_text(&x->w, "comm", p->comm.bytes, p->comm.len);
    if (p->has_uid)
        show_put_u64(&x->w, "uid", p->uid);
    if (p->has_gid)
        show_put_u64(&x->w, "gid", p->gid);
    if (p->exe.bytes)
        show_put_text(&x->w, "exe", p->exe.bytes, p->exe.len);
}

/* Numbers of objects use all 64 bits and are names rather than quantities: text. */
static void put_object(struct audit_export *x, uint64_t obj)
{
    if (!obj)
        return;
    show_put_key(&x->w, "obj");
    vd_str_add_bytes(&x->w.line, "\"", 1);
    show_add_u64(&x->w.line, obj);
    vd_str_add_bytes(&x->w.line, "\"", 1);
}

/* Tags that have keys above already, where the record does not bring its own process. */
static const uint8_t told_merged[] = {AUDIT_T_SPAN, AUDIT_T_RANGES, AUDIT_T_PATH, 0};
static const uint8_t told_of_proc[] = {
    AUDIT_T_PATH, AUDIT_T_PID, AUDIT_T_UID, AUDIT_T_GID, AUDIT_T_COMM, AUDIT_T_EXE, 0};
static const uint8_t told_path[] = {AUDIT_T_PATH, 0};

static int record(struct audit_export *x, const struct show_item *item, struct vd_err *err)
{
    const struct audit_record *r = &item->r;
    char op[AUDIT_OP_TEXT];
    const char *error = audit_result_name(r);

    (void)err;
    export_message(x, item);
    begin_line(x, r->real_ns, export_time_name(r));
    show_put_u64(&x->w, "seq", r->seq);
    show_put_u64(&x->w, "frame", item->frame_no);
    show_put_time(&x->w, "time", r->real_ns);
    show_put_u64(&x->w, "boot_ns", r->mono_ns);
    show_put_string(&x->w, "op", audit_op_text(r->op, op));
    show_put_i64(&x->w, "result", r->result);
    if (error)
        show_put_string(&x->w, "error", error);
    put_proc(x, item);
    put_object(x, r->obj);
    if (item->path)
        show_put_text(&x->w, "path", item->path, item->path_len);
    show_put_u64(&x->w, "offset", r->off);
    show_put_u64(&x->w, "length", r->len);
    show_put_flags(&x->w, r->flags);
    show_put_merged(&x->w, r);
    show_put_fields(&x->w, r,
                    r->flags & AUDIT_F_MERGED                      ? told_merged
                    : item->proc && r->proc && r->op != AUDIT_PROC ? told_of_proc
                                                                   : told_path);
    end_line(x);
    return 0;
}

const struct export_form export_timesketch = {.begin = begin, .record = record};
