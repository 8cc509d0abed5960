/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and dates for the points of a chain, from the virtual machine's own files beside it.
 *
 * A .vmsd belongs to the chain when one of its snapshots names a member's file, or when the .vmx of
 * the same name does.  A member is known by its file name and by the names that its child calls it
 * (it may have been renamed since); in another directory than the .vmsd only where the .vmsd gives
 * a path that leads out of its own.  snapshotN.diskM.fileName is the file that was in use when the
 * snapshot was taken: what that member holds was frozen then.
 *
 * The files may be wrong or planted.  They name things; they decide nothing.  One thread.
 */
#include "base/cleanup.h"
#include "image/chain_priv.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Warnings that one file may add. */
#define MAX_WARNINGS 16

/* A name of a member, and how much it is worth: 0 = its file name, 1 = what its child calls it. */
struct known {
    char *name; /* printable; owned */
    size_t member;
    unsigned rank;
};

struct config {
    struct vm_config c;
    unsigned dir;
    char *name; /* borrowed from the index */
    bool has_member;
};

struct vm {
    struct chain_walk *w;
    struct known *known; /* sorted by name without case; owned */
    size_t n_known;
    struct config *config; /* owned */
    size_t n_config;
};

/* ---- names of members ---- */

static int compare_known(const void *a, const void *b)
{
    const struct known *x = a, *y = b;
    int order = strcasecmp(x->name, y->name);

    if (order == 0)
        order = (x->rank > y->rank) - (x->rank < y->rank);
    return order ? order : (x->member > y->member) - (x->member < y->member);
}

static char *printable_copy(const char *text)
{
    size_t len = strlen(text), size = 4 * len + 1;
    char *out = malloc(size);

    if (out)
        vd_text_printable(text, len, out, size);
    return out;
}

static bool add_known(struct vm *vm, const char *name, size_t member, unsigned rank)
{
    struct known *k = &vm->known[vm->n_known];

    *k = (struct known){printable_copy(name), member, rank};
    vm->n_known += k->name != NULL;
    return k->name != NULL;
}

static int learn_names(struct vm *vm, struct vd_err *err)
{
    const struct chain *chain = vm->w->chain;
    bool ok = true;
    size_t i, n = 1; /* never nothing, whatever the chain */
    unsigned k;

    for (i = 0; i < chain->n; i++)
        n += 1 + chain->v[i]->n_parent_hints;
    vm->known = calloc(n, sizeof(*vm->known));
    if (!vm->known)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < chain->n && ok; i++) {
        ok = add_known(vm, chain->v[i]->name, i, 0); /* printable once more: the same text */
        for (k = 0; i + 1 < chain->n && k < chain->v[i]->n_parent_hints && ok; k++)
            ok = add_known(vm, chain->v[i]->parent_hint[k], i + 1, 1);
    }
    if (!ok)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    qsort(vm->known, vm->n_known, sizeof(*vm->known), compare_known);
    return 0;
}

/* Does the path lead out of the directory that its file lies in? */
static bool leads_elsewhere(const char *path)
{
    return strpbrk(path, "/\\") != NULL;
}

/* The member that `disk`, named by a file of directory `dir`, is; VM_NONE: no member.  An exact name
 * is better than one that differs in case, a file name better than a hint. */
static size_t member_of(const struct vm *vm, unsigned dir, const struct vm_disk *disk)
{
    VD_AUTO(free) char *name = printable_copy(disk->file);
    size_t low = 0, high = vm->n_known, best = VM_NONE;
    unsigned best_rank = UINT32_MAX;

    if (!name)
        return VM_NONE;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcasecmp(vm->known[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < vm->n_known && strcasecmp(vm->known[low].name, name) == 0; low++) {
        const struct known *k = &vm->known[low];
        unsigned rank = k->rank + (strcmp(k->name, name) != 0 ? 2 : 0);

        if (vm->w->chain->v[k->member]->dir != dir && !leads_elsewhere(disk->path))
            continue;
        if (rank < best_rank) {
            best_rank = rank;
            best = k->member;
        }
    }
    return best;
}

/* ---- reading ---- */

/* The whole text of a small file; the caller frees. */
static int read_text(const struct chain_walk *w, const struct chain_text_file *file, char **out,
                     size_t *out_len, struct vd_err *err)
{
    VD_AUTO(blk) struct blkdev *dev = NULL;
    VD_AUTO(free) char *text = NULL;
    int rc = w->source->open(w->source->ctx, file->dir, file->name, &dev, err);

    if (rc)
        return rc;
    if (dev->size > VM_MAX_FILE)
        return vd_fail(err, VD_ELIMIT, "%s: too large for such a file (at most %u bytes)",
                       dev->label, VM_MAX_FILE);
    text = malloc((size_t)dev->size + 1);
    if (!text)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    rc = blk_read(dev, 0, text, (size_t)dev->size, err);
    if (rc)
        return rc;
    *out_len = (size_t)dev->size;
    *out = vd_take(&text);
    return 0;
}

static bool has_suffix(const char *name, const char *suffix)
{
    const char *dot = strrchr(name, '.');

    return dot && strcasecmp(dot, suffix) == 0;
}

/* Facts of one file: only the first few, so that it cannot drown what others have to say. */
static void take_facts(struct chain_walk *w, const struct vd_facts *facts, const char *file)
{
    size_t i;

    for (i = 0; i < facts->n && i < MAX_WARNINGS; i++)
        vd_fact_add(&w->chain->facts, facts->v[i].kind, facts->v[i].key, "%s", facts->v[i].value);
    if (facts->n > MAX_WARNINGS)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "vmsd", "%s: %zu more such warnings", file,
                    facts->n + facts->dropped - MAX_WARNINGS);
}

/* 0, or the failure if memory ran out; other failures are told and the file is left aside (*out_ok
 * false). */
static int tolerate(struct chain_walk *w, int rc, const struct vd_err *why, bool *out_ok,
                    struct vd_err *err)
{
    *out_ok = rc == 0;
    if (rc == -VD_ENOMEM) {
        if (err)
            *err = *why;
        return rc;
    }
    if (rc)
        vd_fact_add(&w->chain->facts, VD_FACT_WARNING, "vm_files",
                    "names and dates of snapshots may be missing: %s", why->msg);
    return 0;
}

/* ---- .vmx ---- */

static int read_config(struct vm *vm, const struct chain_text_file *file, struct vd_err *err)
{
    struct config *config = &vm->config[vm->n_config];
    VD_AUTO(free) char *text = NULL;
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err why = VD_ERR_INIT;
    size_t len = 0, i;
    bool ok;
    int rc = read_text(vm->w, file, &text, &len, &why);

    *config = (struct config){.dir = file->dir, .name = file->name};
    if (rc == 0)
        rc = vm_config_decode(text, len, file->name, &config->c, &facts, &why);
    vd_facts_clear(&facts); /* a name in an unknown character set is the only one */
    rc = tolerate(vm->w, rc, &why, &ok, err);
    if (!ok)
        return rc;
    vm->n_config++;
    for (i = 0; i < config->c.n_disks && !config->has_member; i++)
        config->has_member = member_of(vm, file->dir, &config->c.disk[i]) != VM_NONE;
    return 0;
}

/* The .vmx with the name of this .vmsd; NULL: there is none. */
static const struct config *config_of(const struct vm *vm, const struct chain_text_file *file)
{
    size_t stem = strlen(file->name) - strlen(".vmsd"), i;

    for (i = 0; i < vm->n_config; i++)
        if (vm->config[i].dir == file->dir && strlen(vm->config[i].name) == stem + strlen(".vmx") &&
            strncasecmp(vm->config[i].name, file->name, stem) == 0)
            return &vm->config[i];
    return NULL;
}

/* ---- .vmsd ---- */

/* Finds the members; how many snapshots have one. */
static size_t find_members(const struct vm *vm, struct vm_snapshots *s)
{
    size_t i, k, n = 0;

    for (i = 0; i < s->n; i++) {
        struct vm_snapshot *snapshot = &s->v[i];

        for (k = 0; k < snapshot->n_disks && snapshot->member == VM_NONE; k++)
            snapshot->member = member_of(vm, s->dir, &snapshot->disk[k]);
        n += snapshot->member != VM_NONE;
    }
    return n;
}

static int keep_snapshots(struct chain *chain, struct vm_snapshots *s, struct vd_err *err)
{
    struct vm_snapshots *v = realloc(chain->vm.v, (chain->vm.n + 1) * sizeof(*v));

    if (!v)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    chain->vm.v = v;
    v[chain->vm.n++] = *s;
    *s = (struct vm_snapshots){0};
    return 0;
}

/* Decides whether the tree is this chain's, and keeps it then. */
static int judge(struct vm *vm, const struct config *config, struct vm_snapshots *s,
                 const struct vd_facts *facts, struct vd_err *err)
{
    size_t n = find_members(vm, s);

    if (n == 0 && !(config && config->has_member))
        return 0;
    if (config && config->c.machine) {
        s->machine = strdup(config->c.machine);
        if (!s->machine)
            return vd_fail(err, VD_ENOMEM, "out of memory");
    }
    take_facts(vm->w, facts, s->file);
    vd_fact_add(&vm->w->chain->facts, VD_FACT_INFO, "vmsd",
                "%s: %zu snapshots%s%s; %zu of them froze a member of this chain", s->file, s->n,
                s->machine ? " of " : "", s->machine ? s->machine : "", n);
    return keep_snapshots(vm->w->chain, s, err);
}

static int read_snapshots(struct vm *vm, const struct chain_text_file *file, struct vd_err *err)
{
    VD_AUTO(free) char *label = printable_copy(file->name), *text = NULL;
    struct vd_facts facts = VD_FACTS_INIT;
    struct vd_err why = VD_ERR_INIT;
    struct vm_snapshots s = {0};
    size_t len = 0;
    bool ok;
    int rc = label ? read_text(vm->w, file, &text, &len, &why) : -VD_ENOMEM;

    if (rc == 0)
        rc = vm_snapshots_decode(text, len, label, &s, &facts, &why);
    rc = tolerate(vm->w, rc, &why, &ok, err);
    if (ok) {
        s.dir = file->dir;
        rc = judge(vm, config_of(vm, file), &s, &facts, err);
        vm_snapshots_clear(&s);
    }
    vd_facts_clear(&facts);
    return rc;
}

/* ---- names of points ---- */

static char *copy_or_null(const char *text, bool *io_ok)
{
    char *copy = text ? strdup(text) : NULL;

    *io_ok = *io_ok && (!text || copy);
    return copy;
}

/* Two snapshots cannot have frozen one file: the first of the files counts. */
static int name_point(struct chain *chain, const struct vm_snapshots *s,
                      const struct vm_snapshot *snapshot, bool *named, struct vd_err *err)
{
    struct chain_name *name = &chain->name[snapshot->member];
    bool ok = true;

    if (named[snapshot->member]) {
        if (snapshot->name && name->name && strcmp(snapshot->name, name->name) == 0)
            return 0; /* a copy of the same .vmsd */
        vd_fact_add(&chain->facts, VD_FACT_WARNING, "vmsd",
                    "%s: snapshot \"%s\" names the file %s, and so does another snapshot", s->file,
                    snapshot->name ? snapshot->name : "", chain->v[snapshot->member]->name);
        return 0;
    }
    named[snapshot->member] = true;
    name->name = copy_or_null(snapshot->name, &ok);
    name->description = copy_or_null(snapshot->description, &ok);
    name->has_created = snapshot->has_created;
    name->created_sec = snapshot->created_sec;
    name->created_nsec = snapshot->created_nsec;
    return ok ? 0 : vd_fail(err, VD_ENOMEM, "out of memory");
}

static int name_points(struct chain *chain, struct vd_err *err)
{
    VD_AUTO(free) bool *named = calloc(chain->n, sizeof(*named));
    size_t i, k;
    int rc = 0;

    chain->name = calloc(chain->n, sizeof(*chain->name));
    if (!chain->name || !named)
        return vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < chain->vm.n; i++)
        for (k = 0; k < chain->vm.v[i].n && rc == 0; k++)
            if (chain->vm.v[i].v[k].member != VM_NONE)
                rc = name_point(chain, &chain->vm.v[i], &chain->vm.v[i].v[k], named, err);
    return rc;
}

static int read_all(struct vm *vm, struct vd_err *err)
{
    const struct chain_index *index = &vm->w->index;
    int rc = learn_names(vm, err);
    size_t i;

    vm->config = calloc(index->n_text, sizeof(*vm->config));
    if (rc == 0 && !vm->config)
        rc = vd_fail(err, VD_ENOMEM, "out of memory");
    for (i = 0; i < index->n_text && rc == 0; i++)
        if (has_suffix(index->text[i].name, ".vmx"))
            rc = read_config(vm, &index->text[i], err);
    for (i = 0; i < index->n_text && rc == 0; i++)
        if (has_suffix(index->text[i].name, ".vmsd"))
            rc = read_snapshots(vm, &index->text[i], err);
    if (rc == 0 && index->n_text_left_out)
        vd_fact_add(&vm->w->chain->facts, VD_FACT_WARNING, "vm_files",
                    "%zu .vmsd and .vmx files were not looked at (the first %d were)",
                    index->n_text_left_out, VM_MAX_FILES);
    return rc;
}

int chain_vm_read(struct chain_walk *w, struct vd_err *err)
{
    struct vm vm = {.w = w};
    size_t i;
    int rc;

    if (w->index.n_text == 0)
        return 0;
    rc = read_all(&vm, err);
    if (rc == 0 && w->chain->vm.n)
        rc = name_points(w->chain, err);
    for (i = 0; i < vm.n_config; i++)
        vm_config_clear(&vm.config[i].c);
    for (i = 0; i < vm.n_known; i++)
        free(vm.known[i].name);
    free(vm.config);
    free(vm.known);
    return rc;
}
