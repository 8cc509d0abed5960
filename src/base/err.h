/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one error object and its one way to the user.
 *
 * A function that can fail returns 0 or a negative vd_class and takes, as its last argument, a
 * caller-owned `struct vd_err *` (NULL is allowed: the class alone is then all the caller gets).
 * The level that finds the fault writes the message; every level above may put one prefix in
 * front of it that says what was being read.  The result reads like a path:
 *
 *     server-000002.vmdk: extent 3: grain table 17: lies past the end of the file (offset 0x…)
 *
 * Nothing here allocates, exits or prints.
 */
#ifndef VD_BASE_ERR_H
#define VD_BASE_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Classes are chosen by what the caller does next.  Functions return them negated. */
enum vd_class {
    VD_OK = 0,
    VD_EIO,          /* the medium failed, or evidence ended early: the bytes cannot be had */
    VD_ECORRUPT,     /* the bytes are there but break the format: never called I/O */
    VD_EUNSUPPORTED, /* the format is understood, this feature of it is not */
    VD_ELIMIT,       /* a bound of base/limits.h, or an address past the end */
    VD_ENOTFORMAT,   /* a probe's answer: not this format */
    VD_EKEY,         /* a key is needed or was wrong */
    VD_ENOMEM,       /* out of memory */
    VD_EUSAGE,       /* the caller (or the command line) asked for something impossible */
    VD_ECHAIN,       /* a member of a chain is missing, is the wrong one, or forms a cycle */
    VD_ENOENT,       /* a name that is not there */
    VD_EREFUSED,     /* the sandbox or the evidence rule refuses (symlink, FIFO, device …) */
    VD_EAUDIT,       /* the audit log is not available */
    VD_EMOUNT,       /* mounting failed */
    VD_EDIFF,        /* a verification found a difference */
    VD_CLASS_COUNT
};

#define VD_ERR_MSG_MAX 1024

/* Fixed size, no pointers: may be copied, sent over a socket, or live on the stack. */
struct vd_err {
    enum vd_class cls;
    int host_errno;           /* errno of the failed system call, 0 if there was none */
    bool has_offset;          /* `offset` holds the first bad byte position (of the layer asked) */
    uint64_t offset;          /* bytes */
    char msg[VD_ERR_MSG_MAX]; /* NUL-terminated, printable: control bytes are escaped on entry */
};

#define VD_ERR_INIT                                                                                \
    {                                                                                              \
        .cls = VD_OK                                                                               \
    }

/* The three below are macros so that the compiler and the analyser see the result: -cls of a constant
 * is never 0, and what a caller reads after success is then known to be set. */

/* Sets `err` (if not NULL) to class and message and returns -cls.  A message that does not fit
 * is cut; bytes that are not printable ASCII or valid UTF-8 are shown as \xHH, so hostile names
 * may be passed with %s. */
#define vd_fail(err, cls, ...)                                                                     \
    __extension__({                                                                                \
        const enum vd_class vd_fail_cls = (cls);                                                   \
        vd_err_set((err), vd_fail_cls, __VA_ARGS__);                                               \
        -(int)vd_fail_cls;                                                                         \
    })

/* As vd_fail, and appends ": strerror(host_errno)". */
#define vd_fail_errno(err, cls, host_errno, ...)                                                   \
    __extension__({                                                                                \
        const enum vd_class vd_fail_cls = (cls);                                                   \
        vd_err_set_errno((err), vd_fail_cls, (host_errno), __VA_ARGS__);                           \
        -(int)vd_fail_cls;                                                                         \
    })

/* Puts "PREFIX: " in front of the message and returns `rc` unchanged.  No-op for rc == 0. */
#define vd_prefix(err, rc, ...)                                                                    \
    __extension__({                                                                                \
        const int vd_prefix_rc = (rc);                                                             \
        if (vd_prefix_rc)                                                                          \
            vd_err_prefix((err), __VA_ARGS__);                                                     \
        vd_prefix_rc;                                                                              \
    })

/* Records the first bad byte position, keeps the message; returns `rc`. */
static inline int vd_at(struct vd_err *err, int rc, uint64_t offset)
{
    if (err && rc) {
        err->has_offset = true;
        err->offset = offset;
    }
    return rc;
}

/* What the macros call; `err` may be NULL. */
void vd_err_set(struct vd_err *err, enum vd_class cls, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void vd_err_set_errno(struct vd_err *err, enum vd_class cls, int host_errno, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void vd_err_prefix(struct vd_err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forgets an error that was handled. */
void vd_err_clear(struct vd_err *err);

/* The errno a FUSE request answers for a result of this code (0 or negative class): one table. */
int vd_class_errno(int rc);

/* The exit code of the programs for a result of this code: one table (design, section 9). */
int vd_class_exit(int rc);

/* A short English word for the class ("corrupt", "I/O error" …); never NULL. */
const char *vd_class_name(int rc);

#endif
