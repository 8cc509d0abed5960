/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exporting logs: what all formats share.  The formats are in files of their own (export_form.h); they
 * are documented in docs/formats/audit-export.md.  Streams: memory does not depend on the log, except for
 * CASE, which bounds what it keeps.  One thread.
 */
#include "audit/export.h"

#include "audit/export_form.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define OUT_BYTES ((size_t)1 << 18)

static const struct {
    const char *name;
    const struct export_form *form;
} formats[] = {
    [AUDIT_EXPORT_TIMESKETCH] = {"timesketch", &export_timesketch},
    [AUDIT_EXPORT_CSV] = {"csv", &export_csv},
    [AUDIT_EXPORT_CASE] = {"case", &export_case},
};

int audit_export_format_number(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (strcasecmp(formats[i].name, name) == 0)
            return (int)i;
    return -1;
}

/* ---- output ---- */

static int put_out(struct audit_export *x, size_t at_least, struct vd_err *err)
{
    int rc;

    if (x->out.failed || x->w.line.failed || x->w.cut.failed || x->message.failed)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    if (x->out.len < at_least || x->out.len == 0)
        return 0;
    rc = x->options.write(x->options.ctx, x->out.p, x->out.len, err);
    x->out.len = 0;
    return rc;
}

/* ---- sentences ---- */

static void add_range(struct vd_str *s, const struct audit_record *r)
{
    vd_str_add(s, ", ");
    show_add_u64(s, r->len);
    vd_str_add(s, " bytes at ");
    show_add_u64(s, r->off);
}

static void add_piece(struct vd_str *s, const char *before, const struct audit_piece *p,
                      const char *after)
{
    vd_str_add(s, before);
    vd_str_add_bytes(s, p->bytes, p->len);
    vd_str_add(s, after);
}

void export_message(struct audit_export *x, const struct show_item *item)
{
    const struct audit_record *r = &item->r;
    char op[AUDIT_OP_TEXT];
    const char *error = audit_result_name(r);
    struct audit_piece p;

    x->message.len = 0;
    vd_str_add(&x->message, audit_op_text(r->op, op));
    if (item->path) {
        vd_str_add_bytes(&x->message, " /", r->obj ? 2 : 1);
        vd_str_add_bytes(&x->message, item->path, item->path_len);
    } else if (r->obj) {
        vd_str_add(&x->message, " object ");
        show_add_u64(&x->message, r->obj);
    }
    if (audit_record_find(r, AUDIT_T_NAME, &p))
        add_piece(&x->message, " \"", &p, "\"");
    if (audit_record_find(r, AUDIT_T_KEY, &p))
        add_piece(&x->message, " ", &p, "");
    if (r->op == AUDIT_READ || r->op == AUDIT_IOERR)
        add_range(&x->message, r);
    if (item->proc && item->proc->comm.bytes) {
        add_piece(&x->message, r->op == AUDIT_PROC ? " " : " by ", &item->proc->comm, " (pid ");
        show_add_u64(&x->message, item->proc->pid);
        vd_str_add(&x->message, ")");
    }
    if (audit_record_find(r, AUDIT_T_TEXT, &p))
        add_piece(&x->message, ": ", &p, "");
    if (error) {
        vd_str_add(&x->message, ": ");
        vd_str_add(&x->message, error);
    }
}

void export_verdict_message(struct audit_export *x)
{
    const struct audit_report *r = x->known;

    x->message.len = 0;
    vd_str_addf(&x->message,
                "The log of session %s did not verify: %s%s%s. The %" PRIu64
                " intact records in front of that follow.",
                x->session, x->verdict, r->reason[0] ? ": " : "", r->reason, r->records);
}

const char *export_time_name(const struct audit_record *r)
{
    return audit_op_is_access(r->op) ? "Access Time" : "Session Event Time";
}

/* ---- sessions ---- */

int audit_export_open(const struct audit_export_options *options, struct audit_export **out,
                      struct vd_err *err)
{
    struct audit_export *x = calloc(1, sizeof(*x));
    int rc = 0;

    if (!x)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    x->options = *options;
    x->form = formats[options->format].form;
    if (x->form->open)
        rc = x->form->open(x, err);
    if (rc) {
        audit_export_free(x);
        return rc;
    }
    *out = x;
    return 0;
}

static void describe(struct audit_export *x, const struct audit_report *r)
{
    size_t i, n = 0;

    for (i = 0; i < 16; i++)
        n += (size_t)snprintf(x->session + n, sizeof(x->session) - n,
                              i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                              r->session[i]);
    if (r->verdict == AUDIT_TAMPERED)
        (void)snprintf(x->verdict, sizeof(x->verdict), "%s at frame %" PRIu64,
                       audit_verdict_text(r->verdict), r->bad_frame);
    else
        (void)snprintf(x->verdict, sizeof(x->verdict), "%s%s", audit_verdict_text(r->verdict),
                       r->verdict != AUDIT_INTACT_OPEN ? ""
                       : r->live                       ? " (in use)"
                       : r->has_close                  ? " (closed after a recovery)"
                                                       : " (crash)");
}

int audit_export_begin(struct audit_export *x, const struct audit_report *known, const char *path,
                       struct vd_err *err)
{
    int rc;

    x->known = known;
    x->path = path;
    x->taken = 0;
    describe(x, known);
    show_view_free(x->view);
    x->view = show_view_new(err);
    if (!x->view)
        return -VD_ENOMEM;
    rc = x->form->begin ? x->form->begin(x, err) : 0;
    return rc ? rc : put_out(x, OUT_BYTES, err);
}

int audit_export_record(void *ctx, const struct audit_seen *seen, struct vd_err *err)
{
    struct audit_export *x = ctx;
    struct show_item item;
    int rc;

    if (x->taken == x->known->records)
        return 0;
    x->taken++;
    rc = show_view_take(x->view, seen, &item, err);
    if (rc || !audit_filter_wants(&x->options.filter, x->view, &item, &x->unplaced))
        return rc;
    x->lines++;
    rc = x->form->record(x, &item, err);
    return rc ? rc : put_out(x, OUT_BYTES, err);
}

int audit_export_end(struct audit_export *x, const struct audit_report *second, const char *note,
                     struct vd_err *err)
{
    const struct audit_report *known = x->known;
    int rc = 0;

    /* The same number of frames has the same tree head; a log in use may have grown. */
    if (x->taken != known->records ||
        memcmp(second->session, known->session, sizeof(known->session)) != 0 ||
        strcmp(second->first_key, known->first_key) != 0 ||
        (second->frames == known->frames &&
         memcmp(second->root, known->root, sizeof(known->root)) != 0) ||
        (second->verdict > AUDIT_INTACT_OPEN) != (known->verdict > AUDIT_INTACT_OPEN))
        rc = vd_fail(err, VD_EIO, "the log was changed while it was read");
    if (rc == 0 && x->form->end)
        rc = x->form->end(x, second, note, err);
    return rc ? rc : put_out(x, OUT_BYTES, err);
}

int audit_export_finish(struct audit_export *x, struct vd_err *err)
{
    int rc = x->form->finish ? x->form->finish(x, err) : 0;

    return rc ? rc : put_out(x, 1, err);
}

uint64_t audit_export_records(const struct audit_export *x)
{
    return x->lines;
}

uint64_t audit_export_unplaced(const struct audit_export *x)
{
    return x->unplaced;
}

void audit_export_free(struct audit_export *x)
{
    if (!x)
        return;
    if (x->form->free)
        x->form->free(x);
    show_view_free(x->view);
    show_writer_clear(&x->w);
    vd_str_clear(&x->out);
    vd_str_clear(&x->message);
    free(x);
}
