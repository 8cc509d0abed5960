/* SPDX-License-Identifier: Apache-2.0 */
/* The error object: formatting, prefixing and the two tables from class to errno and exit code. */
#include "base/err.h"

#include "base/text.h"
#include "vdiskfs/exit_codes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int posix;
    int exit_code;
    const char *name;
} class_table[VD_CLASS_COUNT] = {
    [VD_OK] = {0, VD_EXIT_OK, "no error"},
    [VD_EIO] = {EIO, VD_EXIT_CANNOT_OPEN, "I/O error"},
    [VD_ECORRUPT] = {EIO, VD_EXIT_CANNOT_OPEN, "corrupt"},
    [VD_EUNSUPPORTED] = {EIO, VD_EXIT_CANNOT_OPEN, "unsupported"},
    [VD_ELIMIT] = {EIO, VD_EXIT_CANNOT_OPEN, "limit exceeded"},
    [VD_ENOTFORMAT] = {EIO, VD_EXIT_CANNOT_OPEN, "unknown format"},
    [VD_EKEY] = {EIO, VD_EXIT_KEY, "key needed or wrong"},
    [VD_ENOMEM] = {ENOMEM, VD_EXIT_CANNOT_OPEN, "out of memory"},
    [VD_EUSAGE] = {EINVAL, VD_EXIT_USAGE, "usage"},
    [VD_ECHAIN] = {EIO, VD_EXIT_CHAIN, "chain refused"},
    [VD_ENOENT] = {ENOENT, VD_EXIT_CANNOT_OPEN, "not found"},
    [VD_EREFUSED] = {EACCES, VD_EXIT_CANNOT_OPEN, "refused"},
    [VD_EAUDIT] = {EIO, VD_EXIT_AUDIT, "audit log unavailable"},
    [VD_EMOUNT] = {EIO, VD_EXIT_MOUNT, "mount failed"},
    [VD_EDIFF] = {EIO, VD_EXIT_DIFFERENCE, "difference found"},
};

static int class_of(int rc)
{
    int cls = rc < 0 ? -rc : rc;

    return cls < VD_CLASS_COUNT ? cls : VD_EIO;
}

__attribute__((format(printf, 2, 0))) static void set_text(struct vd_err *err, const char *fmt,
                                                           va_list ap)
{
    char raw[VD_ERR_MSG_MAX];

    (void)vsnprintf(raw, sizeof(raw), fmt, ap);
    vd_text_printable(raw, strlen(raw), err->msg, sizeof(err->msg));
}

void vd_err_set(struct vd_err *err, enum vd_class cls, const char *fmt, ...)
{
    va_list ap;

    if (!err)
        return;
    vd_err_clear(err);
    err->cls = cls;
    va_start(ap, fmt);
    set_text(err, fmt, ap);
    va_end(ap);
}

void vd_err_set_errno(struct vd_err *err, enum vd_class cls, int host_errno, const char *fmt, ...)
{
    char reason[128];
    va_list ap;
    size_t used;

    if (!err)
        return;
    vd_err_clear(err);
    err->cls = cls;
    err->host_errno = host_errno;
    va_start(ap, fmt);
    set_text(err, fmt, ap);
    va_end(ap);
    used = strlen(err->msg);
    (void)snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
                   strerror_r(host_errno, reason, sizeof(reason)));
}

void vd_err_prefix(struct vd_err *err, const char *fmt, ...)
{
    char raw[VD_ERR_MSG_MAX], prefix[VD_ERR_MSG_MAX], rest[VD_ERR_MSG_MAX];
    va_list ap;
    size_t used;

    if (!err)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(raw, sizeof(raw), fmt, ap);
    va_end(ap);
    vd_text_printable(raw, strlen(raw), prefix, sizeof(prefix));
    memcpy(rest, err->msg, sizeof(rest));
    used = vd_text_copy(err->msg, sizeof(err->msg), prefix);
    used += vd_text_copy(err->msg + used, sizeof(err->msg) - used, ": ");
    (void)vd_text_copy(err->msg + used, sizeof(err->msg) - used, rest);
}

void vd_err_clear(struct vd_err *err)
{
    if (!err)
        return;
    err->cls = VD_OK;
    err->host_errno = 0;
    err->has_offset = false;
    err->offset = 0;
    err->msg[0] = '\0';
}

int vd_class_errno(int rc)
{
    return class_table[class_of(rc)].posix;
}

int vd_class_exit(int rc)
{
    return class_table[class_of(rc)].exit_code;
}

const char *vd_class_name(int rc)
{
    return class_table[class_of(rc)].name;
}
