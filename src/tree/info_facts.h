/* SPDX-License-Identifier: Apache-2.0 */
/* All facts of a case in one list, for the text and the JSON. */
#ifndef VD_TREE_INFO_FACTS_H
#define VD_TREE_INFO_FACTS_H

#include "tree/case.h"

enum info_scope {
    INFO_CHAIN, /* the chain as a whole */
    INFO_IMAGE, /* member `index` of the chain */
    INFO_LAYER, /* a layer of the reconstructed disk */
    INFO_TABLE, /* the partition table */
    INFO_VOLUME /* volume `index` */
};

struct info_fact {
    enum info_scope scope;
    size_t index;
    enum vd_fact_kind kind;
    char *layer, *key, *value; /* owned, printable */
};

struct info_facts {
    struct info_fact *v;
    size_t n, cap;
    size_t n_of[VD_FACT_WARNING + 1]; /* by kind; VD_MAX_FACTS of each */
    size_t dropped;                   /* over that */
    bool failed;                      /* memory ran out */
};

/* Collects; test `failed`.  *out is the caller's (info_facts_clear). */
void info_facts_collect(const struct vd_point *c, struct info_facts *out);
/* Those of one volume only. */
void info_facts_collect_volume(const struct vd_point *c, size_t i, struct info_facts *out);
void info_facts_clear(struct info_facts *facts);

/* "pN" of volume i. */
void info_volume_name(const struct vd_point *c, size_t i, char out[16]);

/* A printable copy of evidence text; NULL when memory ran out; caller frees. */
char *info_printable(const char *text);

/* What a volume without a file system is: the reason in words; never NULL. */
const char *info_not_shown(const struct case_volume *v);

/* Where in the chain a member stands: "only member", "tip", "member", "base". */
const char *info_role(const struct chain *chain, size_t i);

#endif
