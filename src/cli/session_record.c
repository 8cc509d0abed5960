/* SPDX-License-Identifier: Apache-2.0 */
/* Builds the session header of the log (docs/formats/audit-log.md, "The session header").  The
 * fields follow what NIST SP 800-53 AU-3 and ISO/IEC 27037 ask a record to tell.  Secrets are never
 * on the command line, so the command line can be kept whole. */
#include "cli/session_record.h"

#include "base/text.h"
#include "base/version.h"
#include "tree/case.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define MAX_FIELDS 32

struct fields {
    struct audit_field v[MAX_FIELDS];
    size_t n;
};

static void add(struct fields *f, enum audit_tag tag, const char *text)
{
    if (text && text[0] && f->n < MAX_FIELDS)
        f->v[f->n++] = (struct audit_field){tag, text, strlen(text)};
}

/* First line of a small file of the host, or "". */
static void read_line(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");

    out[0] = '\0';
    if (!f)
        return;
    if (!fgets(out, (int)size, f))
        out[0] = '\0';
    out[strcspn(out, "\n")] = '\0';
    (void)fclose(f);
}

static void describe_zone(char *out, size_t size)
{
    time_t now = time(NULL);
    struct tm tm;

    out[0] = '\0';
    if (localtime_r(&now, &tm))
        (void)strftime(out, size, "%Z (UTC%z)", &tm);
}

/* `seq` is that of the record before. */
static uint64_t log_options(struct audit_ring *ring, const struct options *o, uint64_t seq)
{
    size_t i;

    for (i = 0; i < o->n_given; i++) {
        const struct audit_field field = {AUDIT_T_TEXT, o->given[i], strlen(o->given[i])};
        const struct audit_event event = {.op = AUDIT_OPTION, .fields = &field, .n_fields = 1};

        seq = audit_log(ring, &event);
    }
    return seq;
}

uint64_t session_record_open(struct audit_ring *ring, const struct mount_run *run,
                             const struct audit_previous *previous)
{
    const struct options *o = run->options;
    char kernel[512] = "", machine[64], boot[64], zone[64];
    struct vd_str command = VD_STR_INIT;
    struct fields f = {.n = 0};
    struct audit_event event = {.op = AUDIT_SESSION_OPEN};
    uint32_t uid = getuid(), gid = getgid();
    struct utsname host;
    uint64_t seq;
    int i;

    if (uname(&host) == 0) {
        (void)snprintf(kernel, sizeof(kernel), "%s %s %s %s", host.sysname, host.release,
                       host.version, host.machine);
        add(&f, AUDIT_T_HOST, host.nodename);
    }
    read_line("/etc/machine-id", machine, sizeof(machine));
    read_line("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
    describe_zone(zone, sizeof(zone));
    add(&f, AUDIT_T_VERSION, "vdiskfs " VD_VERSION " (" VD_BUILD ")");
    add(&f, AUDIT_T_LIBRARIES, case_library_versions());
    add(&f, AUDIT_T_KERNEL, kernel);
    add(&f, AUDIT_T_MACHINE_ID, machine);
    add(&f, AUDIT_T_BOOT_ID, boot);
    add(&f, AUDIT_T_TIMEZONE, zone);
    add(&f, AUDIT_T_PATH, run->image->full);
    for (i = 0; i < CUSTODY_FIELDS; i++)
        add(&f, custody_tag((enum custody_field)i), o->custody.v[i]);
    add(&f, AUDIT_T_MODE, options_audit_mode(o));
    add(&f, AUDIT_T_PREVIOUS, previous->text);
    add(&f, AUDIT_T_PREVIOUS_NOTE, previous->note);
    f.v[f.n++] = (struct audit_field){AUDIT_T_UID, &uid, sizeof(uid)};
    f.v[f.n++] = (struct audit_field){AUDIT_T_GID, &gid, sizeof(gid)};
    for (i = 0; i < run->argc; i++)
        vd_str_add_bytes(&command, run->argv[i], strlen(run->argv[i]) + 1);
    if (command.len && !command.failed)
        f.v[f.n++] = (struct audit_field){AUDIT_T_COMMAND_LINE, command.p, command.len - 1};
    event.fields = f.v;
    event.n_fields = f.n;
    seq = audit_log(ring, &event);
    vd_str_clear(&command);
    return log_options(ring, o, seq);
}
