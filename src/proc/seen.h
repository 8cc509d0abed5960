/* SPDX-License-Identifier: Apache-2.0 */
/* The evidence files that were opened so far, to log each once and to bound their number. */
#ifndef VD_PROC_SEEN_H
#define VD_PROC_SEEN_H

#include "blk/evidence.h"

#include <stddef.h>

/* A hash set keyed by (dev, ino).  Not thread-safe. */
struct seen {
    struct evidence_id *v;
    bool *used;
    size_t n, cap; /* cap: 0 or a power of two */
};

enum seen_answer { SEEN_NEW, SEEN_SAME, SEEN_CHANGED /* other size or times than before */ };

/* Notes the file.  VD_ELIMIT when it would be number VD_MAX_EVIDENCE + 1. */
int seen_add(struct seen *s, const struct evidence_id *id, enum seen_answer *out,
             struct vd_err *err);
void seen_clear(struct seen *s);

#endif
