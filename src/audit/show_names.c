/* SPDX-License-Identifier: Apache-2.0 */
/* Names of operations and tags, as docs/formats/audit-log.md has them.  Constant tables. */
#include "audit/show.h"
#include "vdiskfs/audit_format.h"

#include <strings.h>

static const struct {
    uint16_t op;
    const char *name;
} ops[] = {
    {AUDIT_SESSION_OPEN, "SESSION_OPEN"},
    {AUDIT_OPTION, "OPTION"},
    {AUDIT_EVIDENCE, "EVIDENCE"},
    {AUDIT_FACT, "FACT"},
    {AUDIT_WARNING, "WARNING"},
    {AUDIT_MOUNTED, "MOUNTED"},
    {AUDIT_SESSION_CLOSE, "SESSION_CLOSE"},
    {AUDIT_WORKER_DIED, "WORKER_DIED"},
    {AUDIT_EVIDENCE_CHANGED, "EVIDENCE_CHANGED"},
    {AUDIT_POLICY, "POLICY"},
    {AUDIT_LOST, "LOST"},
    {AUDIT_RECOVERED, "RECOVERED"},
    {AUDIT_EVIDENCE_HASH, "EVIDENCE_HASH"},
    {AUDIT_PROC, "PROC"},
    {AUDIT_LOOKUP, "LOOKUP"},
    {AUDIT_GETATTR, "GETATTR"},
    {AUDIT_READLINK, "READLINK"},
    {AUDIT_OPEN, "OPEN"},
    {AUDIT_READ, "READ"},
    {AUDIT_RELEASE, "RELEASE"},
    {AUDIT_OPENDIR, "OPENDIR"},
    {AUDIT_READDIR, "READDIR"},
    {AUDIT_RELEASEDIR, "RELEASEDIR"},
    {AUDIT_GETXATTR, "GETXATTR"},
    {AUDIT_LISTXATTR, "LISTXATTR"},
    {AUDIT_STATFS, "STATFS"},
    {AUDIT_ACCESS, "ACCESS"},
    {AUDIT_FSYNC, "FSYNC"},
    {AUDIT_LSEEK, "LSEEK"},
    {AUDIT_IOCTL, "IOCTL"},
    {AUDIT_REFUSED, "REFUSED"},
    {AUDIT_IOERR, "IOERR"},
};

static const struct {
    uint8_t tag;
    uint8_t kind;
    const char *name;
} tags[] = {
    {AUDIT_T_PATH, AUDIT_KIND_TEXT, "path"},
    {AUDIT_T_NAME, AUDIT_KIND_TEXT, "name"},
    {AUDIT_T_KEY, AUDIT_KIND_TEXT, "key"},
    {AUDIT_T_TEXT, AUDIT_KIND_TEXT, "text"},
    {AUDIT_T_PID, AUDIT_KIND_U32, "pid"},
    {AUDIT_T_UID, AUDIT_KIND_U32, "uid"},
    {AUDIT_T_GID, AUDIT_KIND_U32, "gid"},
    {AUDIT_T_START, AUDIT_KIND_U64, "start"},
    {AUDIT_T_LOGIN_UID, AUDIT_KIND_U32, "login_uid"},
    {AUDIT_T_SESSION_ID, AUDIT_KIND_U32, "session_id"},
    {AUDIT_T_COMM, AUDIT_KIND_TEXT, "comm"},
    {AUDIT_T_EXE, AUDIT_KIND_TEXT, "exe"},
    {AUDIT_T_DEV, AUDIT_KIND_U64, "dev"},
    {AUDIT_T_INO, AUDIT_KIND_U64, "ino"},
    {AUDIT_T_MTIME, AUDIT_KIND_TIME, "mtime"},
    {AUDIT_T_CTIME, AUDIT_KIND_TIME, "ctime"},
    {AUDIT_T_SHA256, AUDIT_KIND_HEX, "sha256"},
    {AUDIT_T_SPAN, AUDIT_KIND_HEX, "span"},
    {AUDIT_T_RANGES, AUDIT_KIND_HEX, "ranges"},
    {AUDIT_T_VERSION, AUDIT_KIND_TEXT, "version"},
    {AUDIT_T_LIBRARIES, AUDIT_KIND_TEXT, "libraries"},
    {AUDIT_T_KERNEL, AUDIT_KIND_TEXT, "kernel"},
    {AUDIT_T_HOST, AUDIT_KIND_TEXT, "host"},
    {AUDIT_T_MACHINE_ID, AUDIT_KIND_TEXT, "machine_id"},
    {AUDIT_T_BOOT_ID, AUDIT_KIND_TEXT, "boot_id"},
    {AUDIT_T_TIMEZONE, AUDIT_KIND_TEXT, "timezone"},
    {AUDIT_T_COMMAND_LINE, AUDIT_KIND_TEXT, "command_line"},
    {AUDIT_T_SANDBOX, AUDIT_KIND_TEXT, "sandbox"},
    {AUDIT_T_EVIDENCE_ID, AUDIT_KIND_TEXT, "evidence_id"},
    {AUDIT_T_CASE_ID, AUDIT_KIND_TEXT, "case_id"},
    {AUDIT_T_EXAMINER, AUDIT_KIND_TEXT, "examiner"},
    {AUDIT_T_PURPOSE, AUDIT_KIND_TEXT, "purpose"},
    {AUDIT_T_WITNESS, AUDIT_KIND_TEXT, "witness"},
    {AUDIT_T_PREVIOUS, AUDIT_KIND_TEXT, "previous"},
    {AUDIT_T_MODE, AUDIT_KIND_TEXT, "mode"},
    {AUDIT_T_PREVIOUS_NOTE, AUDIT_KIND_TEXT, "previous_note"},
    {AUDIT_T_ORGANISATION, AUDIT_KIND_TEXT, "organisation"},
    {AUDIT_T_AUTHORITY, AUDIT_KIND_TEXT, "authority"},
    {AUDIT_T_LOCATION, AUDIT_KIND_TEXT, "location"},
    {AUDIT_T_CHANGES, AUDIT_KIND_TEXT, "changes"},
};

const char *audit_op_name(unsigned op)
{
    size_t i;

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (ops[i].op == op)
            return ops[i].name;
    return NULL;
}

unsigned audit_op_number(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (strcasecmp(ops[i].name, name) == 0)
            return ops[i].op;
    return 0;
}

const char *audit_tag_name(unsigned tag, enum audit_tag_kind *out_kind)
{
    size_t i;

    *out_kind = AUDIT_KIND_TEXT;
    for (i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
        if (tags[i].tag == tag) {
            *out_kind = (enum audit_tag_kind)tags[i].kind;
            return tags[i].name;
        }
    return NULL;
}
