/* SPDX-License-Identifier: Apache-2.0 */
/* Names of operations and tags, as docs/formats/audit-log.md has them.  Constant tables. */
#include "audit/show_names.h"

#include "audit/record.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const ops[] = {
    [AUDIT_SESSION_OPEN] = "SESSION_OPEN",
    [AUDIT_OPTION] = "OPTION",
    [AUDIT_EVIDENCE] = "EVIDENCE",
    [AUDIT_FACT] = "FACT",
    [AUDIT_WARNING] = "WARNING",
    [AUDIT_MOUNTED] = "MOUNTED",
    [AUDIT_SESSION_CLOSE] = "SESSION_CLOSE",
    [AUDIT_WORKER_DIED] = "WORKER_DIED",
    [AUDIT_EVIDENCE_CHANGED] = "EVIDENCE_CHANGED",
    [AUDIT_POLICY] = "POLICY",
    [AUDIT_LOST] = "LOST",
    [AUDIT_RECOVERED] = "RECOVERED",
    [AUDIT_EVIDENCE_HASH] = "EVIDENCE_HASH",
    [AUDIT_PROC] = "PROC",
    [AUDIT_LOOKUP] = "LOOKUP",
    [AUDIT_GETATTR] = "GETATTR",
    [AUDIT_READLINK] = "READLINK",
    [AUDIT_OPEN] = "OPEN",
    [AUDIT_READ] = "READ",
    [AUDIT_RELEASE] = "RELEASE",
    [AUDIT_OPENDIR] = "OPENDIR",
    [AUDIT_READDIR] = "READDIR",
    [AUDIT_RELEASEDIR] = "RELEASEDIR",
    [AUDIT_GETXATTR] = "GETXATTR",
    [AUDIT_LISTXATTR] = "LISTXATTR",
    [AUDIT_STATFS] = "STATFS",
    [AUDIT_ACCESS] = "ACCESS",
    [AUDIT_FSYNC] = "FSYNC",
    [AUDIT_LSEEK] = "LSEEK",
    [AUDIT_IOCTL] = "IOCTL",
    [AUDIT_REFUSED] = "REFUSED",
    [AUDIT_IOERR] = "IOERR",
};

static const struct {
    const char *name;
    enum audit_tag_kind kind;
} tags[] = {
    [AUDIT_T_PATH] = {"path", AUDIT_KIND_TEXT},
    [AUDIT_T_NAME] = {"name", AUDIT_KIND_TEXT},
    [AUDIT_T_KEY] = {"key", AUDIT_KIND_TEXT},
    [AUDIT_T_TEXT] = {"text", AUDIT_KIND_TEXT},
    [AUDIT_T_PID] = {"pid", AUDIT_KIND_U32},
    [AUDIT_T_UID] = {"uid", AUDIT_KIND_U32},
    [AUDIT_T_GID] = {"gid", AUDIT_KIND_U32},
    [AUDIT_T_START] = {"start", AUDIT_KIND_U64},
    [AUDIT_T_LOGIN_UID] = {"login_uid", AUDIT_KIND_U32},
    [AUDIT_T_SESSION_ID] = {"session_id", AUDIT_KIND_U32},
    [AUDIT_T_COMM] = {"comm", AUDIT_KIND_TEXT},
    [AUDIT_T_EXE] = {"exe", AUDIT_KIND_TEXT},
    [AUDIT_T_DEV] = {"dev", AUDIT_KIND_U64},
    [AUDIT_T_INO] = {"ino", AUDIT_KIND_U64},
    [AUDIT_T_MTIME] = {"mtime", AUDIT_KIND_TIME},
    [AUDIT_T_CTIME] = {"ctime", AUDIT_KIND_TIME},
    [AUDIT_T_SHA256] = {"sha256", AUDIT_KIND_HEX},
    [AUDIT_T_SPAN] = {"span", AUDIT_KIND_HEX},
    [AUDIT_T_RANGES] = {"ranges", AUDIT_KIND_HEX},
    [AUDIT_T_TTY] = {"tty", AUDIT_KIND_TEXT},
    [AUDIT_T_VERSION] = {"version", AUDIT_KIND_TEXT},
    [AUDIT_T_LIBRARIES] = {"libraries", AUDIT_KIND_TEXT},
    [AUDIT_T_KERNEL] = {"kernel", AUDIT_KIND_TEXT},
    [AUDIT_T_HOST] = {"host", AUDIT_KIND_TEXT},
    [AUDIT_T_MACHINE_ID] = {"machine_id", AUDIT_KIND_TEXT},
    [AUDIT_T_BOOT_ID] = {"boot_id", AUDIT_KIND_TEXT},
    [AUDIT_T_TIMEZONE] = {"timezone", AUDIT_KIND_TEXT},
    [AUDIT_T_COMMAND_LINE] = {"command_line", AUDIT_KIND_TEXT},
    [AUDIT_T_SANDBOX] = {"sandbox", AUDIT_KIND_TEXT},
    [AUDIT_T_EVIDENCE_ID] = {"evidence_id", AUDIT_KIND_TEXT},
    [AUDIT_T_CASE_ID] = {"case_id", AUDIT_KIND_TEXT},
    [AUDIT_T_EXAMINER] = {"examiner", AUDIT_KIND_TEXT},
    [AUDIT_T_PURPOSE] = {"purpose", AUDIT_KIND_TEXT},
    [AUDIT_T_WITNESS] = {"witness", AUDIT_KIND_TEXT},
    [AUDIT_T_PREVIOUS] = {"previous", AUDIT_KIND_TEXT},
    [AUDIT_T_MODE] = {"mode", AUDIT_KIND_TEXT},
    [AUDIT_T_PREVIOUS_NOTE] = {"previous_note", AUDIT_KIND_TEXT},
    [AUDIT_T_ORGANISATION] = {"organisation", AUDIT_KIND_TEXT},
    [AUDIT_T_AUTHORITY] = {"authority", AUDIT_KIND_TEXT},
    [AUDIT_T_LOCATION] = {"location", AUDIT_KIND_TEXT},
    [AUDIT_T_CHANGES] = {"changes", AUDIT_KIND_TEXT},
};

const char *audit_op_name(unsigned op)
{
    return op < sizeof(ops) / sizeof(ops[0]) ? ops[op] : NULL;
}

const char *audit_op_text(unsigned op, char buffer[AUDIT_OP_TEXT])
{
    const char *name = audit_op_name(op);

    if (name)
        return name;
    (void)snprintf(buffer, AUDIT_OP_TEXT, "OP%u", op);
    return buffer;
}

const char *audit_result_name(const struct audit_record *r)
{
    if (r->result >= 0 || r->result == INT32_MIN || r->op == AUDIT_SESSION_CLOSE)
        return NULL;
    return strerrorname_np(-r->result);
}

unsigned audit_op_number(const char *name)
{
    unsigned long v;
    unsigned i;
    char *end;

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++)
        if (ops[i] && strcasecmp(ops[i], name) == 0)
            return i;
    if (strncasecmp(name, "OP", 2) != 0 || !isdigit((unsigned char)name[2]))
        return 0;
    v = strtoul(name + 2, &end, 10);
    return *end || v > UINT16_MAX ? 0 : (unsigned)v;
}

bool audit_op_is_access(unsigned op)
{
    return op >= AUDIT_LOOKUP;
}

const char *audit_tag_name(unsigned tag, enum audit_tag_kind *out_kind)
{
    *out_kind = AUDIT_KIND_TEXT;
    if (tag >= sizeof(tags) / sizeof(tags[0]) || !tags[tag].name)
        return NULL;
    *out_kind = tags[tag].kind;
    return tags[tag].name;
}
