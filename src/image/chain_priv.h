/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of chain_*.c share while a chain is being opened. */
#ifndef VD_IMAGE_CHAIN_PRIV_H
#define VD_IMAGE_CHAIN_PRIV_H

#include "base/text.h"
#include "image/chain.h"
#include "image/chain_index.h"

struct chain_walk {
    const struct blk_source *source;
    const struct chain_options *options;
    const char *tip_name; /* bare, as it is */
    struct chain *chain;
    struct chain_index index;
    /* For the parent looked for now (chain_parent.c): */
    struct vd_str reasons;
    size_t n_reasons;
    struct image *misfit; /* a hinted file that opens but has another identity; owned */
    /* What searching may still cost, for the whole chain. */
    uint64_t steps_left, compare_left;
};

/* Entries of one identity that are followed; bytes of copies that are compared: a quarter of a second
 * each. */
#define CHAIN_SEARCH_STEPS  (UINT64_C(1) << 26)
#define CHAIN_COMPARE_BYTES (UINT64_C(256) << 20)

/* The member whose parent is looked for. */
const struct image *chain_last(const struct chain *chain);

const char *chain_identity_or_none(const char *identity);

/* Does one of the hints of `child` name the file `name`? */
bool chain_is_hinted(const struct image *child, const char *name);

/* Builds the index.  0; positive: it cannot be built, *why says it; negative: memory. */
int chain_walk_index(struct chain_walk *w, struct vd_err *why, struct vd_err *err);

/* ---- chain_parent.c ---- */

/* The parent of the last member, by hints and then by identity; VD_ECHAIN with the reasons.  The
 * caller owns *out. */
int chain_parent_find(struct chain_walk *w, struct image **out, struct vd_err *err);

/* The same when the user said which file it is. */
int chain_parent_take(struct chain_walk *w, const char *name, struct image **out,
                      struct vd_err *err);

/* chain=: the list ended before the chain did. */
int chain_parent_missing(struct chain_walk *w, struct vd_err *err);

/* Adds what the link between the last two members is worth to the facts. */
void chain_link_report(struct chain *chain);

/* ---- chain_compare.c ---- */

/* Are two members that claim to be the same really equal: size, parent, and every byte that a reader
 * could get from them?  *out_same; if not, or if telling would cost more than *io_left (bytes read),
 * the reason is in `why`.  Failure: memory only. */
int chain_compare(const struct image *a, const struct image *b, uint64_t *io_left, bool *out_same,
                  char *why, size_t why_size, struct vd_err *err);

/* ---- chain_newer.c ---- */

/* Warns when the file that was named is not the newest state, and names the newer files. */
int chain_newer_report(struct chain_walk *w, struct vd_err *err);

/* ---- chain_vm.c ---- */

/* Reads the .vmsd and .vmx files that the index found; fills chain->vm and chain->name. */
int chain_vm_read(struct chain_walk *w, struct vd_err *err);

/* ---- chain_snapshot.c ---- */

/* snapshot=: sets chain->point, or VD_EUSAGE with what there is. */
int chain_snapshot_resolve(struct chain *chain, const char *text, struct vd_err *err);

#endif
