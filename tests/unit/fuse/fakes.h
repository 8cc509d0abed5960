/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stand-ins for what src/fuse stands on, in memory and with switches for faults: the audit ring
 * (keeps every event), the channel to the supervisor (knows processes, mounts for real), the tree.
 *
 *   /          disk.img (4 MiB)  bad.img (4 MiB, one unreadable page)  zero (empty)
 *   /p1/fs/    file (1 MiB)  link -> file  dir/sub/deep  hard1 = hard2  broken (no attributes)
 *   /many/     MANY files, /bad/ a directory that fails after 3 entries
 */
#ifndef VD_TEST_FUSE_FAKES_H
#define VD_TEST_FUSE_FAKES_H

#include "testlib.h"

#include "audit/audit.h"
#include "proc/proc.h"
#include "tree/tree.h"

#include <stdatomic.h>

/* ---- audit ---- */

struct fake_record {
    uint64_t seq;
    enum audit_op op;
    uint64_t obj, off, len;
    uint32_t proc;
    int32_t result;
    uint8_t flags;
    char path[256], name[256], key[64], text[256];
    uint32_t pid, uid;
};

struct audit_ring *fake_ring_new(void);
void fake_ring_free(struct audit_ring *ring);
/* Makes audit_failed true. */
void fake_ring_break(struct audit_ring *ring, bool broken);
/* What audit_state answers while the ring is not broken. */
void fake_ring_set(struct audit_ring *ring, enum audit_state state);
size_t fake_ring_count(struct audit_ring *ring);
/* Copy of record `i`. */
struct fake_record fake_ring_at(struct audit_ring *ring, size_t i);
/* The records of `op` so far (obj 0: any). */
size_t fake_ring_count_of(struct audit_ring *ring, enum audit_op op, uint64_t obj);
bool fake_ring_last_of(struct audit_ring *ring, enum audit_op op, struct fake_record *out);
/* The highest sequence number that audit_wait was asked for. */
uint64_t fake_ring_waited(struct audit_ring *ring);

/* ---- channel ---- */

struct proc_channel {
    atomic_uint asked;    /* calls of proc_channel_identify */
    atomic_uint run;      /* what start_time answers: changing it is a new process */
    atomic_uint tgid;     /* the process of every thread; 0: each is its own */
    atomic_bool gone;     /* identify answers VD_ENOENT */
    atomic_bool no_room;  /* … and gives no descriptors to watch with */
    atomic_int look;      /* enum proc_look: what proc_mark_look answers */
    atomic_uint looked;   /* calls of proc_mark_look */
    atomic_uint close;    /* of these closely */
    int fuse_fd, stop_fd; /* for serve_mount */
    atomic_bool mounted;
};

/* ---- tree ---- */

enum {
    NODE_ROOT = 1,
    NODE_DISK,
    NODE_BAD_IMG,
    NODE_ZERO,
    NODE_P1,
    NODE_FS,
    NODE_FILE,
    NODE_LINK,
    NODE_DIR,
    NODE_SUB,
    NODE_DEEP,
    NODE_HARD,
    NODE_BROKEN,
    NODE_MANY,
    NODE_BAD_DIR,
    NODE_FIRST_OF_MANY = 1000
};

#define MANY         3000u
#define DISK_BYTES   (4u << 20)
#define FILE_BYTES   (1u << 20)
#define BAD_PAGE_OFF (2u << 20) /* of bad.img: these 4 KiB cannot be read */

/* The byte at `off` of every file. */
uint8_t fake_tree_byte(uint64_t node, uint64_t off);

extern atomic_uint fake_tree_depth; /* what the last tree_readlink was told */

#endif
