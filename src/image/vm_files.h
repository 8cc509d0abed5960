/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VMware virtual machine's own text files say of its snapshots: NAME.vmsd (the snapshot
 * tree) and NAME.vmx (the configuration) beside the image.  Hyper-V has no readable equivalent.
 *
 * These files are evidence like any other: hostile, perhaps stale.  They give names and dates to
 * points of a chain; which files make the chain and whether they fit is decided without them.
 */
#ifndef VD_IMAGE_VM_FILES_H
#define VD_IMAGE_VM_FILES_H

#include "base/err.h"
#include "base/facts.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A file is at most this long: 1,024 snapshots of ten lines of 100 bytes. */
#define VM_MAX_FILE (1u << 20)

/* Snapshots of one .vmsd, and disks of one snapshot (4 adapters of 64 SCSI disks and some). */
#define VM_MAX_SNAPSHOTS 2048
#define VM_MAX_DISKS     512

/* .vmsd and .vmx files of the directories that are looked at. */
#define VM_MAX_FILES 64

/* "Not a member of the chain", "no parent". */
#define VM_NONE SIZE_MAX

/* A disk as it was in use when the snapshot was taken: the file that was frozen by it. */
struct vm_disk {
    unsigned number; /* M of diskM; .vmx: counted */
    char *file; /* bare name, bytes as in the file (UTF-8 where the encoding is known).  Owned */
    char *path; /* as written, printable.  Owned */
    char *node; /* "scsi0:0", printable; NULL: not told.  Owned */
};

struct vm_snapshot {
    uint64_t uid;
    size_t parent;     /* index in vm_snapshots.v, or VM_NONE (a root) */
    char *name;        /* display name, UTF-8, one line of text is not promised; may hold anything
                          printable (vd_text_printable).  NULL: not told.  Owned */
    char *description; /* printable; NULL: not told.  Owned */
    bool has_created;
    int64_t created_sec; /* since 1970-01-01 UTC */
    uint32_t created_nsec;
    struct vm_disk *disk; /* owned */
    size_t n_disks;
    size_t member; /* member of the chain that this snapshot froze (index in chain.v), or VM_NONE:
                      the disk lies on another branch or belongs to another machine */
};

/* The snapshot tree of one virtual machine that the chain belongs to. */
struct vm_snapshots {
    char *file;    /* name of the .vmsd, printable.  Owned */
    unsigned dir;  /* directory of the source that it lies in */
    char *machine; /* displayName of the .vmx beside it, printable; NULL: not told.  Owned */
    struct vm_snapshot *v; /* in the order of the file; parents may come after children.  Owned */
    size_t n;
    size_t current; /* index of the snapshot that the machine's present state is based on, or
                       VM_NONE.  "You are here" hangs below it */
};

/* All of them; part of struct chain.  Usually one. */
struct vm_files {
    struct vm_snapshots *v; /* owned */
    size_t n;
};

/* Decodes the text of a .vmsd.  Pure.  Oddities become facts (warnings) that name `file` (printable).
 * Snapshots without a number of their own are left out (warning); a parent that is not there or a
 * circle of parents makes a root (warning).  VD_ELIMIT: too many snapshots or disks; VD_ECORRUPT: not
 * text.  On success the caller clears *out (vm_snapshots_clear); `member` is VM_NONE everywhere. */
int vm_snapshots_decode(const char *text, size_t len, const char *file, struct vm_snapshots *out,
                        struct vd_facts *facts, struct vd_err *err);
void vm_snapshots_clear(struct vm_snapshots *snapshots);

/* What is used of a .vmx. */
struct vm_config {
    char *machine;        /* displayName, printable; may be NULL.  Owned */
    struct vm_disk *disk; /* every NODE.fileName that names a .vmdk; owned */
    size_t n_disks;
};

int vm_config_decode(const char *text, size_t len, const char *file, struct vm_config *out,
                     struct vd_facts *facts, struct vd_err *err);
void vm_config_clear(struct vm_config *config);

/* Releases everything; accepts a zeroed struct. */
void vm_files_clear(struct vm_files *files);

#endif
