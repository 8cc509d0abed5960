/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tables that are filled while a log goes by: processes (PROC records) and paths of objects (PATH
 * fields, and look-ups in directories whose path is known); see show_view.h.  What is learnt comes from
 * verified frames only.
 */
#include "audit/show_view.h"

#include "base/bytes.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY_BYTES ((size_t)32 << 20) /* of each table */
#define ROOT_NODE    1                  /* inode number of the root of a FUSE mount */

struct show_view *show_view_new(struct vd_err *err)
{
    struct show_view *view = calloc(1, sizeof(*view));

    if (!view || show_memory_init(&view->procs, MEMORY_BYTES) ||
        show_memory_init(&view->paths, MEMORY_BYTES)) {
        show_view_free(view);
        (void)vd_fail(err, VD_ENOMEM, "out of memory");
        return NULL;
    }
    return view;
}

void show_view_free(struct show_view *view)
{
    if (!view)
        return;
    show_memory_clear(&view->procs);
    show_memory_clear(&view->paths);
    free(view);
}

static bool number_of(const struct audit_piece *p, uint32_t *out)
{
    if (p->len == 4)
        *out = vd_le32(p->bytes);
    return p->len == 4;
}

/* The first field of each kind counts, as in audit_record_find. */
static void decode_proc(const struct audit_record *r, struct show_proc *out)
{
    struct audit_piece p;
    size_t pos = 0;

    *out = (struct show_proc){0};
    while (audit_record_next(r, &pos, &p)) {
        if (p.tag == AUDIT_T_PID && !out->has_pid)
            out->has_pid = number_of(&p, &out->pid);
        else if (p.tag == AUDIT_T_UID && !out->has_uid)
            out->has_uid = number_of(&p, &out->uid);
        else if (p.tag == AUDIT_T_GID && !out->has_gid)
            out->has_gid = number_of(&p, &out->gid);
        else if (p.tag == AUDIT_T_COMM && !out->comm.bytes)
            out->comm = p;
        else if (p.tag == AUDIT_T_EXE && !out->exe.bytes)
            out->exe = p;
    }
}

static const struct show_proc *find_proc(struct show_view *v, const struct audit_record *r)
{
    struct audit_record proc;
    const uint8_t *bytes;
    size_t len;

    if (r->op == AUDIT_PROC) {
        v->last_proc = 0;
        decode_proc(r, &v->proc);
        return &v->proc;
    }
    if (r->proc == 0)
        return NULL;
    if (v->last_proc == r->proc)
        return &v->proc;
    bytes = show_recall(&v->procs, r->proc, &len);
    if (!bytes || audit_record_decode(bytes, len, &proc, NULL))
        return NULL;
    decode_proc(&proc, &v->proc);
    v->last_proc = r->proc;
    return &v->proc;
}

static void find_path(struct show_view *v, struct show_item *item)
{
    struct audit_piece p;

    item->path = NULL;
    item->path_len = 0;
    if (audit_record_find(&item->r, AUDIT_T_PATH, &p)) {
        item->path = (const char *)p.bytes;
        item->path_len = p.len;
    } else if (item->r.obj) {
        item->path = (const char *)show_recall(&v->paths, item->r.obj, &item->path_len);
        if (!item->path && item->r.obj == ROOT_NODE)
            item->path = "";
    }
}

static bool join(struct show_view *v, const struct show_item *item, size_t *out_len)
{
    struct audit_piece name;
    size_t len = item->path_len;

    if (!item->path || !audit_record_find(&item->r, AUDIT_T_NAME, &name) ||
        len + 1 + name.len > sizeof(v->joined))
        return false;
    memcpy(v->joined, item->path, len);
    if (len)
        v->joined[len++] = '/';
    memcpy(v->joined + len, name.bytes, name.len);
    *out_len = len + name.len;
    return true;
}

bool show_view_child(struct show_view *view, const struct show_item *item, const char **out,
                     size_t *out_len)
{
    uint16_t op = item->r.op;

    *out = view->joined;
    return (op == AUDIT_LOOKUP || op == AUDIT_REFUSED || op == AUDIT_IOERR) && item->r.obj &&
           join(view, item, out_len);
}

/* Learns from a record what later ones need.  `item` has its own path already, and keeps it: the
 * tables copy, and what they forget is what was not met for longest. */
static void learn(struct show_view *v, const struct show_item *item, const struct audit_seen *seen)
{
    const struct audit_record *r = &item->r;
    size_t len;

    if (r->op == AUDIT_PROC) {
        v->last_proc = 0;
        show_remember(&v->procs, r->off, seen->bytes, seen->len);
    } else if (r->op == AUDIT_LOOKUP && !r->result && r->off && join(v, item, &len)) {
        show_remember(&v->paths, r->off, v->joined, len);
    }
}

int show_view_take(struct show_view *view, const struct audit_seen *seen, struct show_item *out,
                   struct vd_err *err)
{
    struct audit_piece p;
    int rc = audit_record_decode(seen->bytes, seen->len, &out->r, err);

    if (rc)
        return rc; /* cannot be: the verifier accepted it */
    out->frame_no = seen->frame_no;
    if (out->r.obj && audit_record_find(&out->r, AUDIT_T_PATH, &p))
        show_remember(&view->paths, out->r.obj, p.bytes, p.len);
    find_path(view, out);
    learn(view, out, seen);
    find_path(view, out); /* the tables may have moved */
    out->proc = find_proc(view, &out->r);
    return 0;
}
