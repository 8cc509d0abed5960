/* SPDX-License-Identifier: Apache-2.0 */
/* The journal of ext3/4, replayed in memory. */
#ifndef VD_FS_EXT_JOURNAL_H
#define VD_FS_EXT_JOURNAL_H

#include "fs/ext/ext_priv.h"

/* Replays the volume's journal: on success *out is a layer over x->vol that shows each block as the
 * committed transactions leave it (caller owns it), or NULL when there is nothing to replay.  What
 * was done, and what could not be done, is added to `facts`.  Errors: memory, limits; damage and
 * read errors end the replay after the last good transaction and are facts. */
int ext_journal_replay(const struct ext_fs *x, struct vd_facts *facts, struct blkdev **out,
                       struct vd_err *err);

/* ---- ext_journal_log.c: decoding ---- */
#define JBD_DESCRIPTOR 1u
#define JBD_COMMIT     2u
#define JBD_REVOKE     5u

#define JBD_INCOMPAT_64BIT       0x2u
#define JBD_INCOMPAT_CSUM_V2     0x8u
#define JBD_INCOMPAT_CSUM_V3     0x10u
#define JBD_INCOMPAT_FAST_COMMIT 0x20u

struct jbd_super {
    uint32_t block_size, first, end, start, sequence, incompat;
    uint32_t n_fast; /* blocks of the fast-commit area, from `end` */
    uint32_t csum_seed;
};

struct jbd_header {
    uint32_t type, sequence;
};

#define JBD_TAG_ESCAPED 1u

/* One block of a transaction: the copy at `log_block` is the content of `fs_block`. */
struct jbd_tag {
    uint64_t fs_block;
    uint32_t log_block, sequence, csum;
    uint8_t escaped;
};

/* Pure.  VD_ECORRUPT: not a journal, or impossible numbers; VD_EUNSUPPORTED: unknown features. */
int jbd_super_decode(const uint8_t *b, uint64_t journal_bytes, struct jbd_super *out,
                     struct vd_err *err);
/* False without the magic number. */
bool jbd_header_decode(const uint8_t *b, struct jbd_header *out);
/* Checksums of a descriptor or revoke block (at its end) and of a commit block. */
bool jbd_tail_ok(const struct jbd_super *j, const uint8_t *b);
bool jbd_commit_ok(const struct jbd_super *j, const uint8_t *b);
/* Checksum of a data block as it lies in the log. */
bool jbd_data_ok(const struct jbd_super *j, const struct jbd_tag *tag, const uint8_t *b);
/* The next tag of a descriptor block at *at (start: 0); false at its end.  log_block is not set. */
bool jbd_tag_next(const struct jbd_super *j, const uint8_t *b, size_t *at, struct jbd_tag *out);
/* Number of revoked blocks in a revoke block, and each of them. */
size_t jbd_revoke_count(const struct jbd_super *j, const uint8_t *b);
uint64_t jbd_revoke_entry(const struct jbd_super *j, const uint8_t *b, size_t i);

#endif
