/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of .vmsd and .vmx (vm_text.h).  There is no published specification; the keys are those
 * of Broadcom's knowledge-base articles 304387 and 337269 and of files of Workstation, Fusion and
 * ESXi:
 *
 *     snapshot.numSnapshots, snapshot.current (uid)
 *     snapshotN.uid, .parent (uid), .displayName, .description,
 *              .createTimeHigh, .createTimeLow    halves of microseconds since 1970, signed decimal
 *              .diskM.fileName, .diskM.node       the disk file that was in use, and is now frozen
 *
 * Entries that are more than numSnapshots are left over from deleted snapshots.  Everything is bounded
 * by the length of the file.  Pure; any thread.
 */
#include "image/vm_files.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "image/vm_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Highest N of snapshotN that is looked at: numbers are given out densely. */
#define MAX_NUMBER 4096

static bool text_is(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && strncasecmp(text, word, len) == 0;
}

/* Keeps the first value of a key; later ones are ignored. */
static void keep_text(struct vm_reading *r, const struct vm_line *line, char **slot)
{
    VD_AUTO(free) char *text = *slot ? NULL : vm_text_value(r, line);

    if (text && text[0])
        *slot = vm_text_printable(r, text);
}

/* ---- disks ---- */

static void disk_clear(struct vm_disk *disk)
{
    free(disk->file);
    free(disk->path);
    free(disk->node);
}

/* The disk with this number, added when it is new; NULL: too many, or memory. */
static struct vm_disk *disk_at(struct vm_reading *r, struct vm_disk **v, size_t *n, unsigned number)
{
    struct vm_disk *grown;
    size_t i;

    for (i = 0; i < *n; i++)
        if ((*v)[i].number == number)
            return &(*v)[i];
    if (*n == VM_MAX_DISKS)
        return NULL;
    grown = realloc(*v, (*n + 1) * sizeof(*grown));
    if (!grown) {
        r->no_memory = true;
        return NULL;
    }
    *v = grown;
    grown[*n] = (struct vm_disk){.number = number};
    return &grown[(*n)++];
}

static void disk_set_file(struct vm_reading *r, const struct vm_line *line, struct vm_disk *disk)
{
    VD_AUTO(free) char *path = disk->file ? NULL : vm_text_value(r, line);

    if (!path)
        return;
    disk->file = strdup(vd_text_basename(path));
    disk->path = vm_text_printable(r, path);
    r->no_memory = r->no_memory || !disk->file;
}

/* Disks without a file say nothing. */
static void drop_empty_disks(struct vm_disk *v, size_t *n)
{
    size_t i, kept = 0;

    for (i = 0; i < *n; i++) {
        if (v[i].file && v[i].file[0] && v[i].path)
            v[kept++] = v[i];
        else
            disk_clear(&v[i]);
    }
    *n = kept;
}

/* ---- .vmsd ---- */

struct entry {
    struct vm_snapshot snapshot;
    unsigned number; /* N of snapshotN */
    int64_t rank;    /* how many have a lower number */
    bool has_uid, has_parent, has_high, has_low;
    int64_t parent_uid, high, low;
};

struct vmsd {
    struct vm_reading r;
    const char *file;
    struct vd_facts *facts;
    struct entry *v; /* in the order of the file */
    size_t n;
    uint16_t slot[MAX_NUMBER]; /* index in v + 1, by number */
    bool too_many, has_count, has_current;
    int64_t count, current;
};

static void snapshot_clear(struct vm_snapshot *s)
{
    size_t i;

    for (i = 0; i < s->n_disks; i++)
        disk_clear(&s->disk[i]);
    free(s->disk);
    free(s->name);
    free(s->description);
}

static struct entry *entry_at(struct vmsd *d, uint64_t number)
{
    struct entry *grown;

    if (number >= MAX_NUMBER) {
        d->too_many = true;
        return NULL;
    }
    if (d->slot[number])
        return &d->v[d->slot[number] - 1];
    if (d->n == VM_MAX_SNAPSHOTS) {
        d->too_many = true;
        return NULL;
    }
    if ((d->n & (d->n - 1)) == 0) { /* full at powers of two */
        grown = realloc(d->v, (d->n ? 2 * d->n : 1) * sizeof(*grown));
        if (!grown) {
            d->r.no_memory = true;
            return NULL;
        }
        d->v = grown;
    }
    d->v[d->n] = (struct entry){.number = (unsigned)number,
                                .snapshot = {.parent = VM_NONE, .member = VM_NONE}};
    d->slot[number] = (uint16_t)++d->n;
    return &d->v[d->n - 1];
}

static void take_disk_key(struct vmsd *d, const struct vm_line *line, const char *rest, size_t len,
                          struct entry *e)
{
    struct vm_disk *disk;
    uint64_t number;

    rest = vm_text_numbered(rest, len, "disk", &number, &len);
    if (!rest || (!text_is(rest, len, "fileName") && !text_is(rest, len, "node")))
        return;
    disk = disk_at(&d->r, &e->snapshot.disk, &e->snapshot.n_disks, (unsigned)number);
    if (!disk) {
        d->too_many = true;
        return;
    }
    if (text_is(rest, len, "node"))
        keep_text(&d->r, line, &disk->node);
    else
        disk_set_file(&d->r, line, disk);
}

static void take_snapshot_key(struct vmsd *d, const struct vm_line *line, const char *rest,
                              size_t len, struct entry *e)
{
    int64_t n;

    if (text_is(rest, len, "displayName"))
        keep_text(&d->r, line, &e->snapshot.name);
    else if (text_is(rest, len, "description"))
        keep_text(&d->r, line, &e->snapshot.description);
    else if (text_is(rest, len, "uid") && !e->has_uid && vm_text_number(line, &n) && n >= 0) {
        e->has_uid = true;
        e->snapshot.uid = (uint64_t)n;
    } else if (text_is(rest, len, "parent") && !e->has_parent)
        e->has_parent = vm_text_number(line, &e->parent_uid);
    else if (text_is(rest, len, "createTimeHigh") && !e->has_high)
        e->has_high = vm_text_number(line, &e->high);
    else if (text_is(rest, len, "createTimeLow") && !e->has_low)
        e->has_low = vm_text_number(line, &e->low);
    else
        take_disk_key(d, line, rest, len, e);
}

static void take_line(struct vmsd *d, const struct vm_line *line)
{
    uint64_t number;
    size_t len;
    const char *rest = vm_text_numbered(line->key, line->key_len, "snapshot", &number, &len);

    if (rest) {
        struct entry *e = entry_at(d, number);

        if (e)
            take_snapshot_key(d, line, rest, len, e);
    } else if (vm_text_key_is(line, "snapshot.numSnapshots") && !d->has_count) {
        d->has_count = vm_text_number(line, &d->count);
    } else if (vm_text_key_is(line, "snapshot.current") && !d->has_current) {
        d->has_current = vm_text_number(line, &d->current);
    }
}

/* Microseconds since 1970-01-01 UTC, in two signed halves. */
static void set_time(struct entry *e)
{
    uint64_t high = (uint64_t)e->high & UINT32_MAX, low = (uint64_t)e->low & UINT32_MAX;
    int64_t us = (int64_t)(high << 32 | low), sec = us / 1000000, rest = us % 1000000;

    if (!e->has_high || !e->has_low || us == 0)
        return;
    if (rest < 0) {
        sec--;
        rest += 1000000;
    }
    e->snapshot.has_created = true;
    e->snapshot.created_sec = sec;
    e->snapshot.created_nsec = (uint32_t)rest * 1000;
}

static void set_ranks(struct vmsd *d)
{
    int64_t rank = 0;
    size_t i;

    for (i = 0; i < MAX_NUMBER; i++)
        if (d->slot[i])
            d->v[d->slot[i] - 1].rank = rank++;
}

/* Entries of no use go, the rest is moved to *out.  Their parents are still uids. */
static int take_entries(struct vmsd *d, int64_t **out_parent, struct vm_snapshots *out)
{
    size_t i;

    out->v = calloc(d->n ? d->n : 1, sizeof(*out->v));
    *out_parent = calloc(d->n ? d->n : 1, sizeof(**out_parent));
    if (!out->v || !*out_parent)
        return -1;
    set_ranks(d);
    for (i = 0; i < d->n; i++) {
        struct entry *e = &d->v[i];
        const char *name = e->snapshot.name ? e->snapshot.name : "";

        drop_empty_disks(e->snapshot.disk, &e->snapshot.n_disks);
        set_time(e);
        if (d->has_count && e->rank >= d->count) {
            vd_fact_add(d->facts, VD_FACT_WARNING, "vmsd",
                        "%s: the file counts %" PRId64 " snapshots; snapshot%u \"%s\" is left over "
                        "from a deleted one: not used",
                        d->file, d->count, e->number, name);
            continue;
        }
        if (!e->has_uid) {
            vd_fact_add(d->facts, VD_FACT_WARNING, "vmsd",
                        "%s: snapshot%u \"%s\" has no uid: left out", d->file, e->number, name);
            continue;
        }
        (*out_parent)[out->n] = e->has_parent && e->parent_uid > 0 ? e->parent_uid : 0;
        out->v[out->n++] = e->snapshot;
        e->snapshot = (struct vm_snapshot){0};
    }
    return 0;
}

/* Sorted uids: 2,048 snapshots are looked up once each. */
struct uid_row {
    uint64_t uid;
    size_t at;
};

static int compare_uids(const void *a, const void *b)
{
    const struct uid_row *x = a, *y = b;

    return x->uid != y->uid ? (x->uid > y->uid) - (x->uid < y->uid)
                            : (x->at > y->at) - (x->at < y->at);
}

/* The first snapshot of the file with this uid. */
static size_t find_uid(const struct uid_row *rows, size_t n, int64_t uid)
{
    size_t low = 0, high = n;

    if (uid <= 0)
        return VM_NONE;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (rows[middle].uid < (uint64_t)uid)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && rows[low].uid == (uint64_t)uid ? rows[low].at : VM_NONE;
}

/* A circle of parents has no root: each of its members is cut off its parent. */
static bool in_circle(const struct vm_snapshots *s, size_t i)
{
    size_t at = s->v[i].parent, steps;

    for (steps = 0; steps < s->n && at != VM_NONE; steps++, at = s->v[at].parent)
        if (at == i)
            return true;
    return false;
}

static int link_parents(struct vmsd *d, const int64_t *parent, struct vm_snapshots *out)
{
    VD_AUTO(free) struct uid_row *rows = calloc(out->n ? out->n : 1, sizeof(*rows));
    size_t i;

    if (!rows)
        return -1;
    for (i = 0; i < out->n; i++)
        rows[i] = (struct uid_row){out->v[i].uid, i};
    qsort(rows, out->n, sizeof(*rows), compare_uids);
    for (i = 1; i < out->n; i++)
        if (rows[i].uid == rows[i - 1].uid)
            vd_fact_add(d->facts, VD_FACT_WARNING, "vmsd",
                        "%s: two snapshots have the uid %" PRIu64, d->file, rows[i].uid);
    for (i = 0; i < out->n; i++) {
        out->v[i].parent = find_uid(rows, out->n, parent[i]);
        if (parent[i] > 0 && out->v[i].parent == VM_NONE)
            vd_fact_add(d->facts, VD_FACT_WARNING, "vmsd",
                        "%s: the parent %" PRId64 " of snapshot %" PRIu64 " is not listed", d->file,
                        parent[i], out->v[i].uid);
    }
    for (i = 0; i < out->n; i++)
        if (in_circle(out, i)) {
            vd_fact_add(d->facts, VD_FACT_WARNING, "vmsd",
                        "%s: snapshot %" PRIu64 " is its own ancestor", d->file, out->v[i].uid);
            out->v[i].parent = VM_NONE;
        }
    out->current = find_uid(rows, out->n, d->has_current ? d->current : 0);
    if (d->has_current && d->current > 0 && out->current == VM_NONE)
        vd_fact_add(d->facts, VD_FACT_WARNING, "vmsd",
                    "%s: the current snapshot, %" PRId64 ", is not listed", d->file, d->current);
    return 0;
}

static void vmsd_clear(struct vmsd *d)
{
    size_t i;

    for (i = 0; i < d->n; i++)
        snapshot_clear(&d->v[i].snapshot);
    free(d->v);
    free(d);
}

static void report_reading(const struct vm_reading *r, const char *file, struct vd_facts *facts)
{
    if (r->unconverted)
        vd_fact_add(facts, VD_FACT_WARNING, "vm_encoding",
                    "%s: the character set it names is not known here; other than ASCII is shown "
                    "byte by byte",
                    file);
}

static int check_text(const char *text, size_t len, const char *file, struct vd_err *err)
{
    if (len > VM_MAX_FILE)
        return vd_fail(err, VD_ELIMIT, "%s: %zu bytes are too many for such a file (at most %u)",
                       file, len, VM_MAX_FILE);
    if (memchr(text, '\0', len))
        return vd_fail(err, VD_ECORRUPT, "%s: not text (it holds NUL bytes)", file);
    return 0;
}

static int vmsd_finish(struct vmsd *d, struct vm_snapshots *out, struct vd_err *err)
{
    VD_AUTO(free) int64_t *parent = NULL;

    if (d->too_many)
        return vd_fail(err, VD_ELIMIT, "%s: more than %d snapshots, or %d disks in one of them",
                       d->file, VM_MAX_SNAPSHOTS, VM_MAX_DISKS);
    if (d->r.no_memory || take_entries(d, &parent, out) || link_parents(d, parent, out))
        return vd_fail(err, VD_ENOMEM, "out of memory");
    out->file = strdup(d->file);
    if (!out->file)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    report_reading(&d->r, d->file, d->facts);
    return 0;
}

int vm_snapshots_decode(const char *text, size_t len, const char *file, struct vm_snapshots *out,
                        struct vd_facts *facts, struct vd_err *err)
{
    struct vm_snapshots snapshots = {.current = VM_NONE};
    const char *p = text;
    struct vmsd *d;
    struct vm_line line;
    int rc = check_text(text, len, file, err);

    if (rc)
        return rc;
    d = calloc(1, sizeof(*d));
    if (!d)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    d->file = file;
    d->facts = facts;
    d->r.charset = vm_text_charset(text, len);
    while (!d->r.no_memory && vm_text_line(&p, text + len, &line))
        take_line(d, &line);
    rc = vmsd_finish(d, &snapshots, err);
    vmsd_clear(d);
    if (rc)
        vm_snapshots_clear(&snapshots);
    else
        *out = snapshots;
    return rc;
}

void vm_snapshots_clear(struct vm_snapshots *snapshots)
{
    size_t i;

    for (i = 0; i < snapshots->n; i++)
        snapshot_clear(&snapshots->v[i]);
    free(snapshots->v);
    free(snapshots->file);
    free(snapshots->machine);
    *snapshots = (struct vm_snapshots){0};
}

/* ---- .vmx ---- */

/* "scsi0:0.fileName": a disk of the machine (adapters scsi, sata, nvme, ide). */
static bool is_disk_key(const struct vm_line *line, size_t *out_node_len)
{
    static const char *const adapter[] = {"scsi", "sata", "nvme", "ide"};
    static const char suffix[] = ".fileName";
    size_t n = sizeof(suffix) - 1, i;

    if (line->key_len <= n || strncasecmp(line->key + line->key_len - n, suffix, n) != 0)
        return false;
    *out_node_len = line->key_len - n;
    for (i = 0; i < sizeof(adapter) / sizeof(adapter[0]); i++)
        if (strncasecmp(line->key, adapter[i], strlen(adapter[i])) == 0)
            return true;
    return false;
}

static bool ends_in_vmdk(const struct vm_line *line)
{
    return line->value_len > 5 && strncasecmp(line->value + line->value_len - 5, ".vmdk", 5) == 0;
}

static void take_config_line(struct vm_reading *r, const struct vm_line *line,
                             struct vm_config *out)
{
    struct vm_disk *disk;
    size_t node_len;

    if (vm_text_key_is(line, "displayName"))
        keep_text(r, line, &out->machine);
    if (!is_disk_key(line, &node_len) || !ends_in_vmdk(line))
        return;
    disk = disk_at(r, &out->disk, &out->n_disks, (unsigned)out->n_disks);
    if (!disk)
        return;
    disk_set_file(r, line, disk);
    disk->node = calloc(1, 4 * node_len + 1);
    r->no_memory = r->no_memory || !disk->node;
    if (disk->node)
        vd_text_printable(line->key, node_len, disk->node, 4 * node_len + 1);
}

int vm_config_decode(const char *text, size_t len, const char *file, struct vm_config *out,
                     struct vd_facts *facts, struct vd_err *err)
{
    struct vm_config config = {0};
    struct vm_reading r = {0};
    const char *p = text;
    struct vm_line line;
    int rc = check_text(text, len, file, err);

    if (rc)
        return rc;
    r.charset = vm_text_charset(text, len);
    while (!r.no_memory && vm_text_line(&p, text + len, &line))
        take_config_line(&r, &line, &config);
    drop_empty_disks(config.disk, &config.n_disks);
    if (r.no_memory) {
        vm_config_clear(&config);
        return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    report_reading(&r, file, facts);
    *out = config;
    return 0;
}

void vm_config_clear(struct vm_config *config)
{
    size_t i;

    for (i = 0; i < config->n_disks; i++)
        disk_clear(&config->disk[i]);
    free(config->disk);
    free(config->machine);
    *config = (struct vm_config){0};
}

void vm_files_clear(struct vm_files *files)
{
    size_t i;

    for (i = 0; i < files->n; i++)
        vm_snapshots_clear(&files->v[i]);
    free(files->v);
    *files = (struct vm_files){0};
}
