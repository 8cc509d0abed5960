/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CSV after RFC 4180: a header line, CRLF, UTF-8, every text quoted.  A text that a spreadsheet would take
 * for a formula gets an apostrophe in front, and so does one that begins with an apostrophe: taking away
 * one leading apostrophe gives the value back.  Columns: docs/formats/audit-export.md.  One thread.
 */
#include "audit/export_form.h"

#include <string.h>

/* The first columns are those that Timesketch asks for: it takes the file as well. */
static const char header[] =
    "message,datetime,timestamp_desc,session,log_verdict,seq,frame,time,op,result,error,path,name,"
    "offset,length,reads,until,ranges,proc,pid,comm,uid,gid,exe,obj,flags,text,details,cut\r\n";

static int open_csv(struct audit_export *x, struct vd_err *err)
{
    (void)err;
    vd_str_add(&x->out, header);
    return 0;
}

/* Would a program take the cell for a formula?  Blanks in front do not help everywhere; the wide forms
 * are what some input methods write. */
static bool is_formula(const char *p, size_t len)
{
    static const char *const wide[] = {"\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d",
                                       "\xef\xbc\xa0", "\xe2\x88\x92"}; /* ＝ ＋ － ＠ − */
    size_t i;

    while (len && *p == ' ') {
        p++;
        len--;
    }
    for (i = 0; i < sizeof(wide) / sizeof(wide[0]); i++)
        if (len >= 3 && memcmp(p, wide[i], 3) == 0)
            return true;
    return len && strchr("=+-@'|%\t\r\n", *p);
}

static void cell(struct audit_export *x, const char *column, const void *p, size_t len, size_t max)
{
    vd_str_add_bytes(&x->out, "\"'", is_formula(p, len) ? 2 : 1);
    if (!show_add_value(&x->out, SHOW_CSV, p, len, max)) {
        vd_str_add_bytes(&x->w.cut, ",", x->w.cut.len > 0);
        vd_str_add(&x->w.cut, column);
    }
    vd_str_add_bytes(&x->out, "\",", 2);
}

static void text(struct audit_export *x, const char *column, const void *p, size_t len)
{
    if (p)
        cell(x, column, p, len, EXPORT_MAX_TEXT);
    else
        vd_str_add_bytes(&x->out, ",", 1);
}

static void string(struct audit_export *x, const char *value)
{
    text(x, "", value, value ? strlen(value) : 0);
}

static void number(struct audit_export *x, bool there, uint64_t v)
{
    if (there)
        show_add_u64(&x->out, v);
    vd_str_add_bytes(&x->out, ",", 1);
}

static void moment(struct audit_export *x, int64_t ns, unsigned digits, const char *zone)
{
    char when[SHOW_TIME];

    vd_str_add_bytes(&x->out, when, show_time_text(ns, digits, zone, when));
    vd_str_add_bytes(&x->out, ",", 1);
}

static void begin_line(struct audit_export *x, int64_t real_ns, const char *time_name)
{
    x->w.cut.len = 0;
    cell(x, "message", x->message.p, x->message.len, EXPORT_MAX_MESSAGE);
    moment(x, real_ns, 6, "+00:00");
    string(x, time_name);
    string(x, x->session);
    string(x, x->verdict);
}

static void end_line(struct audit_export *x)
{
    vd_str_add_bytes(&x->out, "\"", 1);
    vd_str_add_bytes(&x->out, x->w.cut.p, x->w.cut.failed ? 0 : x->w.cut.len);
    vd_str_add_bytes(&x->out, "\"\r\n", 3);
}

static int begin(struct audit_export *x, struct vd_err *err)
{
    int i;

    (void)err;
    if (x->known->verdict <= AUDIT_INTACT_OPEN)
        return 0;
    export_verdict_message(x);
    begin_line(x, x->options.now_ns, "Log Verification Time");
    vd_str_add_bytes(&x->out, ",,", 2); /* seq, frame */
    moment(x, x->options.now_ns, 9, "Z");
    string(x, "VERDICT");
    for (i = 0; i < 17; i++) /* result to flags */
        vd_str_add_bytes(&x->out, ",", 1);
    string(x, x->known->reason);
    vd_str_add_bytes(&x->out, ",", 1); /* details */
    end_line(x);
    return 0;
}

static void ranges(struct audit_export *x, const struct audit_record *r)
{
    struct audit_merged merged;

    if (!(r->flags & AUDIT_F_MERGED) || !audit_record_merged(r, &merged)) {
        vd_str_add_bytes(&x->out, ",,,", 3);
        return;
    }
    number(x, true, merged.count);
    moment(x, merged.last_real_ns, 9, "Z");
    x->w.line.len = 0;
    if (merged.n_ranges > 1)
        show_add_ranges(&x->w.line, r, &merged);
    text(x, "ranges", x->w.line.len ? x->w.line.p : NULL, x->w.line.len);
}

static void process(struct audit_export *x, const struct show_item *item)
{
    static const struct show_proc nobody;
    const struct show_proc *p = item->proc ? item->proc : &nobody;

    number(x, item->r.proc != 0, item->r.proc);
    number(x, p->has_pid, p->pid);
    text(x, "comm", p->comm.bytes, p->comm.len);
    number(x, p->has_uid, p->uid);
    number(x, p->has_gid, p->gid);
    text(x, "exe", p->exe.bytes, p->exe.len);
}

/* What has no column of its own, as `show` writes it; it is escaped already. */
static void details(struct audit_export *x, const struct audit_record *r)
{
    static const uint8_t told[] = {AUDIT_T_PATH, AUDIT_T_NAME, AUDIT_T_TEXT, 0};
    static const uint8_t told_proc[] = {AUDIT_T_PATH, AUDIT_T_NAME, AUDIT_T_TEXT,
                                        AUDIT_T_PID,  AUDIT_T_UID,  AUDIT_T_GID,
                                        AUDIT_T_COMM, AUDIT_T_EXE,  0};
    size_t i, start;

    x->w.form = SHOW_TEXT;
    x->w.max_value = EXPORT_MAX_TEXT;
    x->w.line.len = 0;
    if (!(r->flags & AUDIT_F_MERGED))
        show_put_fields(&x->w, r, r->op == AUDIT_PROC ? told_proc : told);
    if (!x->w.line.len) {
        vd_str_add_bytes(&x->out, ",", 1);
        return;
    }
    if (x->w.line.len > EXPORT_MAX_TEXT) { /* escapes: longer than what they stand for */
        for (x->w.line.len = EXPORT_MAX_TEXT; x->w.line.len && x->w.line.p[x->w.line.len] != ' ';)
            x->w.line.len--;
        vd_str_add(&x->w.cut, x->w.cut.len ? ",details" : "details");
    }
    vd_str_add_bytes(&x->out, "\"", 1); /* begins with a key: no formula */
    for (start = i = 0; i < x->w.line.len; i++)
        if (x->w.line.p[i] == '"') {
            vd_str_add_bytes(&x->out, x->w.line.p + start, i + 1 - start);
            start = i;
        }
    vd_str_add_bytes(&x->out, x->w.line.p + start, x->w.line.len - start);
    vd_str_add_bytes(&x->out, "\",", 2);
}

static void flags(struct audit_export *x, uint8_t v)
{
    x->w.form = SHOW_TEXT;
    x->w.line.len = 0;
    show_put_flags(&x->w, v);
    text(x, "flags", x->w.line.len ? x->w.line.p + strlen("flags=") : NULL,
         x->w.line.len - (x->w.line.len ? strlen("flags=") : 0));
}

static int record(struct audit_export *x, const struct show_item *item, struct vd_err *err)
{
    const struct audit_record *r = &item->r;
    struct audit_piece name, words;
    char op[AUDIT_OP_TEXT];

    (void)err;
    if (!audit_record_find(r, AUDIT_T_NAME, &name))
        name.bytes = NULL;
    if (!audit_record_find(r, AUDIT_T_TEXT, &words))
        words.bytes = NULL;
    export_message(x, item);
    begin_line(x, r->real_ns, export_time_name(r));
    number(x, true, r->seq);
    number(x, true, item->frame_no);
    moment(x, r->real_ns, 9, "Z");
    string(x, audit_op_text(r->op, op));
    show_add_i64(&x->out, r->result);
    vd_str_add_bytes(&x->out, ",", 1);
    string(x, audit_result_name(r));
    text(x, "path", item->path, item->path_len);
    text(x, "name", name.bytes, name.bytes ? name.len : 0);
    number(x, true, r->off);
    number(x, true, r->len);
    ranges(x, r);
    process(x, item);
    number(x, r->obj != 0, r->obj);
    flags(x, r->flags);
    text(x, "text", words.bytes, words.bytes ? words.len : 0);
    details(x, r);
    end_line(x);
    return 0;
}

const struct export_form export_csv = {.open = open_csv, .begin = begin, .record = record};
