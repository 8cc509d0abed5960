/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes user.vdiskfs.*: what stat(2) has no room for.  Values are text without a line
 * end, except link_raw.  An attribute that does not apply is not listed (ENODATA).
 *
 * Linux gives user.* attributes to regular files and directories only (xattr(7)): of a symbolic link
 * or a device the kernel answers ENODATA without asking.  There the same attributes are listed
 * without "user.", as vdiskfs.*, which the kernel passes on; both spellings are answered.
 *
 * The evidence's own security.*, trusted.* and system.* attributes are never shown: no part of the
 * kernel may act on them.
 *
 *   kind        file directory symlink char-device block-device fifo socket stream;
 *               disk volume gap info synthetic for what is not in a file system
 *   point       of everything under snapshots/NN_…, and of the root of a chain: number of the point
 *               in time, counted from the base
 *   member      of snapshots/NN_…, of links to it, and of the root: file name of the newest member
 *               that makes this point
 *   snapshot, snapshot_description, snapshot_created
 *               likewise: what the virtual machine's files say of the snapshot that froze it
 *   start       disk offset of a volume image or gap, bytes
 *   address     address of the object in its file system (inode number, MFT entry)
 *   stream_id   NTFS attribute id of a stream
 *   sequence    NTFS sequence number
 *   mode uid gid       as they stand in the evidence (mode octal)
 *   mtime atime ctime btime fn_mtime fn_atime fn_ctime fn_btime    ISO 8601, UTC, nanoseconds
 *   allocated   bytes allocated
 *   flags       words: compressed encrypted sparse deleted reparse meta
 *   streams     names of the alternate data streams, one per line, escaped as names are
 *   link_raw    target of a symbolic link, the bytes of the evidence
 *   size_raw    size, when it is too large for stat(2)
 * Any thread; may block on the evidence.
 */
#include "tree/names.h"
#include "tree/timetext.h"
#include "tree/tree_private.h"

#include "base/cleanup.h"
#include "base/limits.h"

#include <inttypes.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "user.vdiskfs."
#define SHORT  "vdiskfs." /* for what is neither regular file nor directory */

/* What a getter gets.  `attr` is zero for what is not in a file system. */
struct subject {
    const struct chain *chain;
    struct place place;
    bool in_fs;
    struct fs_attr attr;
};

/* Appends the value; -VD_ENOENT: does not apply. */
typedef int getter(const struct subject *s, struct vd_str *out, struct vd_err *err);

static int get_kind(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    static const char *const of_object[] = {
        [FS_FILE] = "file",           [FS_DIR] = "directory",         [FS_SYMLINK] = "symlink",
        [FS_CHARDEV] = "char-device", [FS_BLOCKDEV] = "block-device", [FS_FIFO] = "fifo",
        [FS_SOCKET] = "socket"};
    const char *text = "synthetic";

    (void)err;
    switch (s->place.what) {
    case PLACE_DIR:
    case PLACE_LINK:
        break;
    case PLACE_IMAGE:
        text = s->place.volume ? "volume" : s->place.id.kind == NODE_GAP ? "gap" : "disk";
        break;
    case PLACE_TEXT:
        text = "info";
        break;
    case PLACE_OBJECT:
        text = of_object[s->attr.kind];
        break;
    case PLACE_STREAM:
        text = "stream";
        break;
    }
    vd_str_add(out, text);
    return 0;
}

/* Is it the top of a point, or a link to it? */
static bool is_point(const struct subject *s)
{
    const struct node *id = &s->place.id;

    return s->chain->n > 1 && id->kind == NODE_SYNTHETIC && !node_view_volume(id->view) &&
           (id->payload == NODE_DIR || id->payload == NODE_NAME_LINK);
}

static int get_point(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!node_view_point(s->place.id.view) && !is_point(s))
        return -VD_ENOENT;
    vd_str_addf(out, "%zu", case_point_number(s->chain, s->place.member));
    return 0;
}

static int get_member(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!is_point(s))
        return -VD_ENOENT;
    vd_str_add(out, s->chain->v[s->place.member]->name);
    return 0;
}

/* What the virtual machine's files say of the point, or NULL. */
static const struct chain_name *name_of(const struct subject *s)
{
    return is_point(s) && s->chain->name ? &s->chain->name[s->place.member] : NULL;
}

static int get_snapshot(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    const struct chain_name *name = name_of(s);

    (void)err;
    if (!name || !name->name)
        return -VD_ENOENT;
    vd_str_add(out, name->name);
    return 0;
}

static int get_snapshot_description(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    const struct chain_name *name = name_of(s);

    if (!name || !name->description)
        return -VD_ENOENT;
    if (strlen(name->description) > XATTR_SIZE_MAX)
        return vd_fail(err, VD_ELIMIT,
                       "the description is longer than an extended attribute can be");
    vd_str_add(out, name->description);
    return 0;
}

static int get_snapshot_created(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    const struct chain_name *name = name_of(s);
    char text[TIMETEXT_MAX];

    (void)err;
    if (!name || !name->has_created)
        return -VD_ENOENT;
    timetext_format(name->created_sec, name->created_nsec, text);
    vd_str_add(out, text);
    return 0;
}

static int get_start(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (s->place.what != PLACE_IMAGE)
        return -VD_ENOENT;
    vd_str_addf(out, "%" PRIu64, s->place.volume ? s->place.volume->part.start : s->place.start);
    return 0;
}

static int get_address(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!s->in_fs)
        return -VD_ENOENT;
    vd_str_addf(out, "%" PRIu64, s->place.id.addr);
    return 0;
}

static int get_stream_id(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (s->place.what != PLACE_STREAM)
        return -VD_ENOENT;
    vd_str_addf(out, "%u", s->place.id.stream);
    return 0;
}

static int get_sequence(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!s->in_fs || !tree_is_ntfs(&s->place))
        return -VD_ENOENT;
    vd_str_addf(out, "%" PRIu32, s->attr.sequence);
    return 0;
}

static int get_mode(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!s->attr.has_owner)
        return -VD_ENOENT;
    vd_str_addf(out, "%04" PRIo32, s->attr.mode);
    return 0;
}

static int get_uid(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!s->attr.has_owner)
        return -VD_ENOENT;
    vd_str_addf(out, "%" PRIu32, s->attr.uid);
    return 0;
}

static int get_gid(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!s->attr.has_owner)
        return -VD_ENOENT;
    vd_str_addf(out, "%" PRIu32, s->attr.gid);
    return 0;
}

static int put_time(const struct fs_time *t, struct vd_str *out)
{
    char text[TIMETEXT_MAX];

    if (!t->known)
        return -VD_ENOENT;
    timetext_format(t->sec, t->nsec, text);
    vd_str_add(out, text);
    return 0;
}

#define TIME_GETTER(field)                                                                         \
    static int get_##field(const struct subject *s, struct vd_str *out, struct vd_err *err)        \
    {                                                                                              \
        (void)err;                                                                                 \
        return put_time(&s->attr.field, out);                                                      \
    }

TIME_GETTER(mtime)
TIME_GETTER(atime)
TIME_GETTER(ctime)
TIME_GETTER(btime)
TIME_GETTER(fn_mtime)
TIME_GETTER(fn_atime)
TIME_GETTER(fn_ctime)
TIME_GETTER(fn_btime)

static int get_allocated(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (!s->attr.allocated)
        return -VD_ENOENT;
    vd_str_addf(out, "%" PRIu64, s->attr.allocated);
    return 0;
}

static int get_flags(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    static const struct {
        uint32_t bit;
        const char *word;
    } words[] = {{FS_ATTR_COMPRESSED, "compressed"}, {FS_ATTR_ENCRYPTED, "encrypted"},
                 {FS_ATTR_SPARSE, "sparse"},         {FS_ATTR_DELETED, "deleted"},
                 {FS_ATTR_REPARSE, "reparse"},       {FS_ATTR_META, "meta"}};
    size_t i;

    (void)err;
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (s->attr.flags & words[i].bit)
            vd_str_addf(out, "%s%s", out->len ? " " : "", words[i].word);
    return out->len ? 0 : -VD_ENOENT;
}

static int put_stream(void *ctx, const struct fs_stream *stream)
{
    struct vd_str *out = ctx;

    if (out->len)
        vd_str_add(out, "\n");
    names_escape_part(out, stream->name, strlen(stream->name));
    return out->failed || out->len > XATTR_SIZE_MAX;
}

static int get_streams(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    int rc;

    if (s->place.what != PLACE_OBJECT || !tree_is_ntfs(&s->place))
        return -VD_ENOENT;
    rc = fs_streams(s->place.fs, s->place.id.addr, put_stream, out, err);
    if (rc)
        return rc;
    if (out->len > XATTR_SIZE_MAX)
        return vd_fail(err, VD_ELIMIT,
                       "the names of the streams need more than the %d bytes that an extended "
                       "attribute can hold",
                       XATTR_SIZE_MAX);
    return out->len ? 0 : -VD_ENOENT;
}

static int get_link_raw(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    char *raw = NULL;
    size_t len = 0;
    int rc;

    if (s->place.what != PLACE_OBJECT || s->attr.kind != FS_SYMLINK)
        return -VD_ENOENT;
    rc = fs_readlink(s->place.fs, s->place.id.addr, &raw, &len, err);
    if (rc)
        return rc;
    vd_str_add_bytes(out, raw, len);
    free(raw);
    return 0;
}

static int get_size_raw(const struct subject *s, struct vd_str *out, struct vd_err *err)
{
    (void)err;
    if (s->attr.size <= VD_MAX_SIZE)
        return -VD_ENOENT;
    vd_str_addf(out, "%" PRIu64, s->attr.size);
    return 0;
}

static const struct {
    const char *name;
    getter *get;
} table[] = {
    {"kind", get_kind},
    {"point", get_point},
    {"member", get_member},
    {"snapshot", get_snapshot},
    {"snapshot_description", get_snapshot_description},
    {"snapshot_created", get_snapshot_created},
    {"start", get_start},
    {"address", get_address},
    {"stream_id", get_stream_id},
    {"sequence", get_sequence},
    {"mode", get_mode},
    {"uid", get_uid},
    {"gid", get_gid},
    {"mtime", get_mtime},
    {"atime", get_atime},
    {"ctime", get_ctime},
    {"btime", get_btime},
    {"fn_mtime", get_fn_mtime},
    {"fn_atime", get_fn_atime},
    {"fn_ctime", get_fn_ctime},
    {"fn_btime", get_fn_btime},
    {"allocated", get_allocated},
    {"flags", get_flags},
    {"streams", get_streams},
    {"link_raw", get_link_raw},
    {"size_raw", get_size_raw},
};

#define TABLE_N (sizeof(table) / sizeof(table[0]))

static void vd_auto_subject(struct subject *s)
{
    tree_leave(&s->place);
}

static int find_subject(struct tree *tree, uint64_t node, struct subject *out, struct vd_err *err)
{
    int rc = tree_find(tree, node, &out->place, err);

    if (rc)
        return rc;
    out->chain = tree->chain;
    out->in_fs = out->place.what == PLACE_OBJECT || out->place.what == PLACE_STREAM;
    return out->in_fs ? tree_fs_attr(&out->place, &out->attr, err) : 0;
}

static int take(struct vd_str *s, char **out, size_t *out_len, struct vd_err *err)
{
    size_t len = s->len;
    char *p = vd_str_take(s);

    if (!p)
        return vd_fail(err, VD_ENOMEM, "no memory for an extended attribute");
    *out = p;
    *out_len = len;
    return 0;
}

int tree_listxattr(struct tree *tree, uint64_t node, char **out, size_t *out_len,
                   struct vd_err *err)
{
    struct vd_str names = VD_STR_INIT;
    VD_AUTO(subject) struct subject s = {0};
    const char *prefix = PREFIX;
    size_t i;
    int rc = find_subject(tree, node, &s, err);

    if (rc)
        return rc;
    if (s.place.what == PLACE_LINK || (s.in_fs && s.attr.kind != FS_FILE && s.attr.kind != FS_DIR))
        prefix = SHORT;
    for (i = 0; i < TABLE_N; i++) {
        struct vd_str value = VD_STR_INIT;

        /* One that exists but cannot be read is listed; reading it gives the error. */
        if (table[i].get(&s, &value, NULL) != -VD_ENOENT) {
            vd_str_add(&names, prefix);
            vd_str_add_bytes(&names, table[i].name, strlen(table[i].name) + 1);
        }
        vd_str_clear(&value);
    }
    return take(&names, out, out_len, err);
}

int tree_getxattr(struct tree *tree, uint64_t node, const char *name, char **out, size_t *out_len,
                  struct vd_err *err)
{
    struct vd_str value = VD_STR_INIT;
    VD_AUTO(subject) struct subject s = {0};
    size_t i;
    int rc;

    if (strncmp(name, PREFIX, strlen(PREFIX)) == 0)
        name += strlen(PREFIX);
    else if (strncmp(name, SHORT, strlen(SHORT)) == 0)
        name += strlen(SHORT);
    else
        return vd_fail(err, VD_ENOENT, "no such attribute");
    for (i = 0; i < TABLE_N && strcmp(table[i].name, name) != 0; i++)
        ;
    if (i == TABLE_N)
        return vd_fail(err, VD_ENOENT, "no such attribute");
    rc = find_subject(tree, node, &s, err);
    if (!rc)
        rc = table[i].get(&s, &value, err);
    if (rc == -VD_ENOENT)
        rc = vd_fail(err, VD_ENOENT, "attribute does not apply");
    if (!rc)
        rc = take(&value, out, out_len, err);
    vd_str_clear(&value);
    return rc;
}
