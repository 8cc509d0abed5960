/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the older points of a chain: see snapshots.h.  Pure but for memory; one thread makes
 * them, afterwards they are immutable. */
#include "tree/snapshots.h"

#include "base/limits.h"
#include "base/text.h"
#include "tree/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* prefix + escaped name, cut so that suffix still fits, + suffix.  NULL: out of memory. */
static char *compose(const char *prefix, const char *name, const char *suffix)
{
    struct vd_str escaped = VD_STR_INIT, out = VD_STR_INIT;
    size_t room = VD_MAX_NAME - strlen(prefix) - strlen(suffix);

    names_escape(&escaped, name, strlen(name));
    if (!escaped.failed) {
        vd_str_add(&out, prefix);
        vd_str_add_bytes(&out, escaped.p, names_cut(escaped.p, escaped.len, room));
        vd_str_add(&out, suffix);
    } else {
        out.failed = true;
    }
    vd_str_clear(&escaped);
    return vd_str_take(&out);
}

static bool link_taken(const struct snapshot_names *names, size_t before, const char *link)
{
    size_t i;

    for (i = 0; i < before; i++)
        if (names->v[i].link && strcmp(names->v[i].link, link) == 0)
            return true;
    return false;
}

/* The number makes a repeated name unique; when somebody really called a snapshot NAME~NN, twice. */
static char *unique_link(const struct snapshot_names *names, size_t number, int width,
                         const char *name)
{
    char suffix[64] = "";
    char *link = compose("", name, suffix);
    unsigned round;

    for (round = 1; link && link_taken(names, number, link); round++) {
        free(link);
        if (round == 1)
            (void)snprintf(suffix, sizeof(suffix), "~%0*zu", width, number);
        else
            (void)snprintf(suffix, sizeof(suffix), "~%0*zu~%u", width, number, round);
        link = compose("", name, suffix);
    }
    return link;
}

static bool name_one(const struct chain *chain, struct snapshot_names *names, size_t number,
                     int width)
{
    struct snapshot_name *s = &names->v[number];
    size_t member = chain->n - 1 - number;
    const char *name = chain->name ? chain->name[member].name : NULL;
    char prefix[32];

    (void)snprintf(prefix, sizeof(prefix), "%0*zu_", width, number);
    s->dir = compose(prefix, chain->v[member]->name, "");
    if (!s->dir)
        return false;
    if (!name || !name[0])
        return true;
    s->link = unique_link(names, number, width, name);
    s->target = malloc(strlen(s->dir) + sizeof("../"));
    if (!s->link || !s->target)
        return false;
    (void)snprintf(s->target, strlen(s->dir) + sizeof("../"), "../%s", s->dir);
    names->n_links++;
    return true;
}

int snapshots_digits(const struct chain *chain)
{
    int digits = snprintf(NULL, 0, "%zu", chain->n - 1);

    return digits < 2 ? 2 : digits;
}

int snapshots_names(const struct chain *chain, size_t member, struct snapshot_names *out,
                    struct vd_err *err)
{
    struct snapshot_names names = {.n = chain->n - 1 - member};
    int width = snapshots_digits(chain);
    bool ok = true;
    size_t i;

    if (names.n) {
        names.v = calloc(names.n, sizeof(*names.v));
        ok = names.v != NULL;
    }
    for (i = 0; ok && i < names.n; i++)
        ok = name_one(chain, &names, i, width);
    if (!ok) {
        snapshots_clear(&names);
        return vd_fail(err, VD_ENOMEM, "no memory for the names of the snapshots");
    }
    *out = names;
    return 0;
}

void snapshots_clear(struct snapshot_names *names)
{
    size_t i;

    for (i = 0; names->v && i < names->n; i++) {
        free(names->v[i].dir);
        free(names->v[i].link);
        free(names->v[i].target);
    }
    free(names->v);
    *names = (struct snapshot_names){0};
}
